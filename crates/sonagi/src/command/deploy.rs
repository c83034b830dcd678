//! `sonagi deploy`: from source code to a URL.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sonagi_api::{Client, DeployRequest, Deployed, FunctionEgress, Interpreter, Settings, UrlAccess};
use tokio::time::Instant;

use crate::context::Global;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::progress::watch;
use crate::project::manifest::Manifest;
use crate::project::source::{Install, Options, Source};
use crate::project::whole::Whole;
use crate::project::{Project, Wish};
use crate::{output, values};

/// Make source code live: a folder, a file, or a zip archive
///
/// What kind of function it is is read from the files and said aloud; dependencies (requirements.txt, package.json,
/// Cargo.toml) are installed. A folder with OpenWhisk's `manifest.yaml` is a project: all that it describes is made, and
/// `--env` and the environment give the variables that it names. A `sonagi.toml` in the folder may set name, as, runtime, handler, memory, timeout, scratch, egress,
/// description, url and [env]; flags win over it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sonagi deploy                          the current folder
  sonagi deploy hello.py
  sonagi deploy app --name shop --memory 512 --timeout 30s --env MODE=fast
  sonagi deploy build/function.zip --runtime python3.11 --handler app.handler
  sonagi deploy shop --env DB=local      a folder with manifest.yaml, with a value for its $DB
  sonagi deploy app --url signed         only signed requests reach its URL; `none`: it has none")]
pub struct Deploy {
    #[command(flatten)]
    wanted: Wanted,
}

// What is to be deployed, and how; of `sonagi dev` too. (A doc comment would become the help of the command.)
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// What to deploy
    #[arg(default_value = ".")]
    path: PathBuf,

    /// Name of the function [default: the folder's or file's]
    #[arg(long)]
    name: Option<String>,

    /// Runtime, in the provider's words [default: by the files]
    #[arg(long)]
    runtime: Option<String>,

    /// Entry point, in the provider's words [default: by the files]
    #[arg(long)]
    handler: Option<String>,

    /// Memory of an instance, MiB
    #[arg(long, value_name = "SIZE", value_parser = values::mebibytes)]
    memory: Option<u32>,

    /// Longest time of a call, for instance 30s
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    timeout: Option<std::time::Duration>,

    /// Size of /tmp, MiB
    #[arg(long, value_name = "SIZE", value_parser = values::mebibytes)]
    scratch: Option<u32>,

    /// What it reaches outside: what all functions do (default), or nothing (none) [default: as it is]
    #[arg(long, value_name = "REACH", value_parser = values::egress())]
    egress: Option<FunctionEgress>,

    /// Set a variable; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::variable)]
    env: Vec<(String, String)>,

    /// Who may reach its URL: public, signed or none [default: public for a new function]
    #[arg(long, value_name = "ACCESS", value_parser = PossibleValuesParser::new(["public", "signed", "none"]).map(access))]
    url: Option<UrlAccess>,

    /// A sentence about it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// Provider whose function it is [default: by the files]
    #[arg(long = "as", value_name = "PROVIDER")]
    provider: Option<String>,

    /// Install nothing: take the folder as it is, dependencies included
    #[arg(long)]
    prebuilt: bool,

    /// Install and build again, even if nothing has changed
    #[arg(long, conflicts_with = "prebuilt")]
    rebuild: bool,

    /// Where installed dependencies are kept [default: `build-cache` in the state directory]
    #[arg(long, env = "SONAGI_BUILD_CACHE", value_name = "DIR", hide_env_values = true)]
    cache: Option<PathBuf>,
}

fn access(text: String) -> UrlAccess {
    match text.as_str() {
        "signed" => UrlAccess::Signed,
        "none" => UrlAccess::None,
        _ => UrlAccess::Public,
    }
}

/// What is printed for programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    deployed: &'a Deployed,
    runtime: &'a str,
    handler: &'a str,
    /// From sending the archive until calls run it, milliseconds.
    live_ms: f64,
}

/// A project as it was read.
#[derive(Debug)]
pub(super) struct Reading {
    source: Source,
    manifest: Manifest,
    pub(super) project: Project,
    name: String,
}

/// What is sent to the platform.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) request: DeployRequest,
    pub(super) archive: Vec<u8>,
}

impl Prepared {
    /// Tells apart what would make a difference.
    pub(super) fn fingerprint(&self) -> Result<Vec<u8>> {
        let request = serde_json::to_vec(&self.request)
            .map_err(|error| Failure::caused(Exit::Failure, "the request cannot be written as JSON", &error))?;
        let mut digest = Sha256::new();
        digest.update((request.len() as u64).to_le_bytes());
        digest.update(request);
        digest.update(&self.archive);
        Ok(digest.finalize().to_vec())
    }
}

impl Deploy {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result {
        if let Some((source, whole)) = self.wanted.whole()? {
            return self.several(global, source, &whole).await;
        }
        let reading = self.wanted.read()?;
        // The platform is asked before anything is built: it says which interpreters it has, and that it is there.
        let client = global.client()?;
        let status = client.status().await?;
        let (project, name) = (&reading.project, &reading.name);
        let runtime = project.runtime_name(&status.interpreters)?;
        output::note(&format!(
            "{name}: read as {} ({runtime}, handler {}) because {}",
            project.dialect.title, project.handler, project.because
        ));
        let cache = self.wanted.cache(|| Ok(global.data()?.join("build-cache")))?;
        let handler = project.handler.clone();
        let prepared = self
            .wanted
            .prepare(reading, global, &status.interpreters, &runtime, cache)
            .await?;
        let access = prepared.request.url;
        let (deployed, live_ms) = send(&client, &prepared.request, prepared.archive).await?;
        let report = Report {
            deployed: &deployed,
            runtime: &runtime,
            handler: &handler,
            live_ms,
        };
        global.format().print(&report, || text(&report))?;
        say_next(&deployed, access);
        Ok(())
    }
}

impl Deploy {
    /// Deploys a project of several functions.
    async fn several(&self, global: &Global, source: Source, whole: &Whole) -> Result {
        let wanted = &self.wanted;
        let flags = [
            ("--name", wanted.name.is_some()),
            ("--runtime", wanted.runtime.is_some()),
            ("--handler", wanted.handler.is_some()),
            ("--memory", wanted.memory.is_some()),
            ("--timeout", wanted.timeout.is_some()),
            ("--scratch", wanted.scratch.is_some()),
            ("--egress", wanted.egress.is_some()),
            ("--url", wanted.url.is_some()),
            ("--description", wanted.description.is_some()),
        ];
        if let Some((flag, _)) = flags.iter().find(|(_, given)| *given) {
            let message = format!("{flag} is for one function, and {} describes several", whole.file);
            return Err(Failure::usage(message).hint("write it there, or deploy the folder of one function"));
        }
        let client = global.client()?;
        let status = client.status().await?;
        let how = super::whole::How {
            interpreters: &status.interpreters,
            install: wanted.install(),
            cache: wanted.cache(|| Ok(global.data()?.join("build-cache")))?,
            variables: &wanted.env,
        };
        super::whole::deploy(global, &client, source, whole, how).await
    }
}

impl Wanted {
    /// The project of several functions that is deployed, if it is one.
    fn whole(&self) -> Result<Option<(Source, Whole)>> {
        let source = Source::open(&self.path)?;
        let wish = Wish {
            provider: self.provider.clone().or(source.manifest()?.provider),
            ..Wish::default()
        };
        Ok(source.whole(&wish).map(|whole| (source, whole)))
    }

    /// What is deployed.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the project.
    pub(super) fn read(&self) -> Result<Reading> {
        let source = Source::open(&self.path)?;
        let manifest = source.manifest()?;
        let wish = Wish {
            provider: self.provider.clone().or_else(|| manifest.provider.clone()),
            runtime: self.runtime.clone().or_else(|| manifest.runtime.clone()),
            handler: self.handler.clone().or_else(|| manifest.handler.clone()),
        };
        let project = source.recognize(&wish)?;
        let given = self.name.as_deref().or(manifest.name.as_deref());
        let name = source.name(given.or(project.name.as_deref()))?;
        Ok(Reading {
            source,
            manifest,
            project,
            name,
        })
    }

    /// Where installed dependencies are kept.
    pub(super) fn cache(&self, otherwise: impl FnOnce() -> Result<PathBuf>) -> Result<PathBuf> {
        self.cache.clone().map_or_else(otherwise, Ok)
    }

    /// Installs, builds and packs.
    pub(super) async fn prepare(
        &self,
        reading: Reading,
        global: &Global,
        interpreters: &[Interpreter],
        runtime: &str,
        cache: PathBuf,
    ) -> Result<Prepared> {
        let options = Options {
            interpreters,
            runtime,
            install: self.install(),
            cache,
        };
        let project = reading.project;
        let archive = reading.source.make(&project, &options).await?;
        let request = self.request(global, reading.manifest, reading.name, &project, runtime);
        Ok(Prepared { request, archive })
    }

    const fn install(&self) -> Install {
        match (self.prebuilt, self.rebuild) {
            (true, _) => Install::Nothing,
            (false, true) => Install::Again,
            (false, false) => Install::Needed,
        }
    }

    fn request(
        &self,
        global: &Global,
        manifest: Manifest,
        name: String,
        project: &Project,
        runtime: &str,
    ) -> DeployRequest {
        let scope = global.scope();
        let mut environment = manifest.env;
        environment.extend(self.env.iter().cloned());
        DeployRequest {
            name,
            provider: scope.namespace.is_none().then(|| project.dialect.provider.to_owned()),
            namespace: scope.namespace,
            account: scope.account,
            settings: Settings {
                runtime: Some(runtime.to_owned()),
                handler: Some(project.handler.clone()),
                memory_mib: self.memory.or(manifest.memory),
                timeout_ms: self.timeout.or(manifest.timeout).map(values::milliseconds),
                scratch_mib: self.scratch.or(manifest.scratch),
                egress: self.egress.or(manifest.egress),
                set_environment: environment,
                description: self.description.clone().or(manifest.description),
                ..Settings::default()
            },
            url: self.url.or(manifest.url),
        }
    }
}

async fn send(client: &Client, request: &DeployRequest, archive: Vec<u8>) -> Result<(Deployed, f64)> {
    let begun = Instant::now();
    let deployed = watch("sending the archive", client.deploy(request, archive.into())).await?;
    Ok((deployed, begun.elapsed().as_secs_f64() * 1000.0))
}

fn text(report: &Report<'_>) -> String {
    let deployed = report.deployed;
    let mut pairs = vec![
        (
            "function",
            format!(
                "{} ({})",
                deployed.name,
                if deployed.created { "new" } else { "updated" }
            ),
        ),
        (
            "digest",
            format!("sha256:{} ({})", deployed.digest, output::bytes(deployed.size)),
        ),
        ("revision", deployed.revision.clone()),
        ("live in", format!("{:.1} ms", report.live_ms)),
    ];
    pairs.extend(deployed.url.clone().map(|url| ("url", url)));
    output::pairs(&pairs)
}

fn say_next(deployed: &Deployed, access: Option<UrlAccess>) {
    let name = shell(&deployed.name);
    if let Some(url) = &deployed.url
        && access != Some(UrlAccess::Signed)
    {
        output::next(&format!("curl {}", shell(url)));
    }
    output::next(&format!("sonagi invoke {name} '{{}}'"));
}

/// Quotes a word for a shell if it needs it.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        for (word, expected) in [
            ("hello", "hello"),
            ("http://a.localhost:4747/", "http://a.localhost:4747/"),
            ("a b", "'a b'"),
            ("$LATEST", "'$LATEST'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(shell(word), expected);
        }
    }
}
