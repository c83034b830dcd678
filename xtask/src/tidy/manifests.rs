//! Versions of dependencies stand in the workspace manifest and nowhere else.

use toml::{Table, Value};

use super::tree::File;

const SECTIONS: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

/// Dependencies of our crates that do not say `workspace = true`.
pub fn check(files: &[File]) -> Vec<String> {
    let members = ["crates/", "providers/", "tests/", "bench/", "xtask/"];
    let manifests = files.iter().filter(|file| file.path.ends_with("/Cargo.toml"));
    let ours = manifests.filter(|file| members.iter().any(|folder| file.path.starts_with(folder)));
    ours.flat_map(|file| manifest(&file.path, &file.text)).collect()
}

fn manifest(path: &str, text: &str) -> Vec<String> {
    let manifest: Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![format!("{path}: {error}")],
    };
    // A manifest that is a workspace of its own stands outside ours.
    if manifest.contains_key("workspace") {
        return Vec::new();
    }
    // A crate's tests may use the crate itself with another feature.
    let own = manifest
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(Value::as_str);
    let targets = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::values);
    let tables = std::iter::once(&manifest).chain(targets.filter_map(Value::as_table));
    let sections = tables.flat_map(|table| SECTIONS.iter().filter_map(|name| table.get(*name)?.as_table()));
    let named = sections.flat_map(Table::iter);
    let others = named.filter(|(name, _)| Some(name.as_str()) != own);
    let elsewhere = others.filter(|(_, value)| value.get("workspace").and_then(Value::as_bool) != Some(true));
    elsewhere
        .map(|(name, _)| format!("{path}: {name} must be `{name}.workspace = true`"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_in_a_member_is_found_in_every_section() {
        let check = |text| manifest("crates/x/Cargo.toml", text).len();
        assert_eq!(
            check("[dependencies]\na.workspace = true\nb = { workspace = true, optional = true }"),
            0
        );
        assert_eq!(check("[dependencies]\na = \"1\""), 1);
        assert_eq!(check("[dev-dependencies]\na = { version = \"1\" }"), 1);
        assert_eq!(check("[build-dependencies]\na = { path = \"../a\" }"), 1);
        assert_eq!(check("[target.'cfg(unix)'.dependencies]\na = \"1\""), 1);
        assert_eq!(
            check("[package]\nname = \"x\"\n[dev-dependencies]\nx = { path = \".\" }"),
            0
        );
        assert_eq!(check("[workspace]\n[dependencies]\na = \"1\""), 0);
        assert_eq!(check("not toml"), 1);
    }
}
