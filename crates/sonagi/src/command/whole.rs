//! `sonagi deploy` of a project of several functions: dependencies are installed here, everything else is the provider's.

use std::path::PathBuf;

use serde::Serialize;
use sonagi_api::{Client, Interpreter, ProjectDeployed, ProjectRequest};
use tokio::time::Instant;

use super::deploy::shell;
use crate::context::Global;
use crate::failure::Result;
use crate::output;
use crate::progress::watch;
use crate::project::source::{Install, Options, Source};
use crate::project::whole::Whole;

/// What is printed for programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    deployed: &'a ProjectDeployed,
    /// From sending the archive until calls run it, milliseconds.
    live_ms: f64,
}

/// How it is deployed.
#[derive(Debug)]
pub(super) struct How<'a> {
    pub(super) interpreters: &'a [Interpreter],
    pub(super) install: Install,
    pub(super) cache: PathBuf,
    /// Values for variables, over those of the environment.
    pub(super) variables: &'a [(String, String)],
}

/// Does it.
pub(super) async fn deploy(global: &Global, client: &Client, source: Source, whole: &Whole, how: How<'_>) -> Result {
    output::note(&format!(
        "read as a project of {} because {} describes it",
        whole.dialect.provider, whole.file
    ));
    let given = |name: &str| how.variables.iter().rev().find(|(known, _)| known == name);
    let variables = whole.variables(|name| match given(name) {
        Some((_, value)) => Some(value.clone()),
        None => std::env::var(name).ok(),
    });
    let options = Options {
        interpreters: how.interpreters,
        runtime: "",
        install: how.install,
        cache: how.cache,
    };
    let archive = source.make_whole(whole, &options).await?;
    let scope = global.scope();
    let request = ProjectRequest {
        provider: scope.namespace.is_none().then(|| whole.dialect.provider.to_owned()),
        namespace: scope.namespace,
        account: scope.account,
        variables,
    };
    let begun = Instant::now();
    let deployed = watch("sending the archive", client.deploy_project(&request, archive.into())).await?;
    let report = Report {
        deployed: &deployed,
        live_ms: begun.elapsed().as_secs_f64() * 1000.0,
    };
    global.format().print(&report, || text(&deployed))?;
    for note in &deployed.notes {
        output::note(note);
    }
    if let Some(made) = deployed.made.iter().find(|made| made.kind == "action") {
        output::next(&format!("sonagi invoke {} '{{}}'", shell(&made.name)));
    }
    Ok(())
}

fn text(deployed: &ProjectDeployed) -> String {
    let rows = deployed.made.iter().map(|made| {
        let change = if made.created { "new" } else { "updated" };
        let url = made.url.clone().unwrap_or_default();
        [made.kind.clone(), made.name.clone(), change.to_owned(), url]
    });
    output::table(["KIND", "NAME", "CHANGE", "URL"], rows)
}
