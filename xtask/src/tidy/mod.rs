//! `cargo xtask tidy`: what the compiler does not check. Crate arrows, licenses, sources and bans come from
//! `cargo metadata` and `deny.toml`; the rest reads the files that git tracks or would track.

mod arrows;
mod deny;
mod license;
mod manifests;
mod source;
mod text;
mod tree;

use anyhow::{Context, Result, bail};

use crate::checkout::Checkout;

/// Runs every check and prints each finding.
///
/// # Errors
/// Something was found, or the checkout cannot be read.
pub fn run(checkout: &Checkout) -> Result<()> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(checkout.path("Cargo.toml"))
        .exec()
        .context("cargo metadata")?;
    let policy = deny::Policy::read(&checkout.path("deny.toml"))?;
    let files = tree::files(checkout)?;

    let mut findings = arrows::check(&arrows::members(&metadata));
    findings.extend(policy.check(&deny::third_party(&metadata)));
    findings.extend(manifests::check(&files));
    findings.extend(text::check(&files));
    findings.extend(source::check(&files));
    for line in tree::long_files(&files) {
        println!("tidy: note: {line}");
    }
    for finding in &findings {
        println!("tidy: {finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} findings", findings.len());
    }
    println!(
        "tidy: {} files, {} crates of ours, nothing found",
        files.len(),
        metadata.workspace_members.len()
    );
    Ok(())
}
