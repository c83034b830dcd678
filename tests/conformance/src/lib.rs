//! Conformance with providers, judged by their own clients, unmodified and in pinned versions.
//!
//! A case is a folder below `cases/` with one script: `case.py` (boto3, run by `kit/kit.py`), `case.sh` (the AWS
//! command line) or `case.cjs` (the JavaScript SDK; OpenWhisk's clients where the name begins with `openwhisk_`). Those that
//! begin with `fn_` are for Fn, whose FDKs can be installed, and no client. Scripts know nothing of Sonagi: they read the
//! address and the keys from the variables that the clients read. With `SONAGI_ENDPOINT` set to an address, and the clients'
//! variables to keys for it, the same cases run against whatever is there; without, each case gets a platform of its own.

use std::ffi::OsString;
use std::fs;

use sonagi_testkit::{Client, Environment, Platform, Setup, checkout, installed};

/// The folder of all cases.
const CASES: &str = "tests/conformance/cases";

/// Names of all cases.
///
/// # Panics
/// The folder cannot be read.
#[must_use]
pub fn cases() -> Vec<String> {
    let entries = fs::read_dir(checkout(CASES)).expect("the folder of cases").flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Runs one case.
///
/// # Panics
/// It fails; what it printed is shown.
pub async fn run(case: &str) {
    let whisk = case.starts_with("openwhisk_");
    let (platform, environment) = endpoint(case).await;
    let folder = checkout(CASES).join(case);
    let (client, arguments): (Client, Vec<OsString>) = if folder.join("case.py").exists() {
        (
            Client::Boto3,
            vec![
                checkout("tests/conformance/kit/kit.py").into(),
                folder.join("case.py").into(),
            ],
        )
    } else if folder.join("case.cjs").exists() {
        let client = if whisk { Client::OpenWhisk } else { Client::JavaScript };
        (client, vec![folder.join("case.cjs").into()])
    } else {
        (Client::Shell, vec![folder.join("case.sh").into()])
    };
    let ended = client.run(arguments, &environment).await;
    println!("{}", ended.stdout);
    record(case, &ended.stdout);
    assert!(
        ended.success,
        "case {case}: status {:?}\n{}\n{}",
        ended.code, ended.stdout, ended.stderr
    );
    drop(platform);
}

/// Keeps what a case printed, where `cargo xtask compat` asks for it.
fn record(case: &str, printed: &str) {
    if let Some(folder) = std::env::var_os("SONAGI_CONFORMANCE_RESULTS") {
        let folder = std::path::PathBuf::from(folder);
        fs::create_dir_all(&folder).expect("the folder of results");
        fs::write(folder.join(format!("{case}.txt")), printed).expect("a result");
    }
}

/// Where to test: a platform made now, or what the variables name.
async fn endpoint(case: &str) -> (Option<Platform>, Environment) {
    let checkout = checkout("").to_string_lossy().into_owned();
    let mut environment = vec![("SONAGI_CHECKOUT".to_owned(), checkout)];
    // `aws` and a python3 that functions are not run by, for the shell.
    let path = std::env::var("PATH").unwrap_or_default();
    let tools = installed("python/awscli/bin");
    environment.push(("PATH".to_owned(), format!("{path}:{}", tools.display())));
    if let Ok(address) = std::env::var("SONAGI_ENDPOINT") {
        environment.push(("AWS_ENDPOINT_URL".to_owned(), address));
        let given = |name: &str| {
            name.starts_with("AWS_") || name.starts_with("OW_") || name.starts_with("__OW_") || name.starts_with("FN_")
        };
        environment.extend(std::env::vars().filter(|(name, _)| given(name)));
        return (None, environment);
    }
    let platform = Setup::new().set("keep-alive", "20s").start().await;
    if case.starts_with("fn_") {
        let added = ["account", "add", "other", "--provider", "fn"];
        drop(platform.cli().run(&added).await.expect("a second account"));
        let other = platform.clients_of("fn", Some("other")).await;
        let token = other.into_iter().find(|(name, _)| name == "FN_TOKEN");
        environment.extend(token.map(|(_, token)| ("FN_OTHER_TOKEN".to_owned(), token)));
        environment.extend(platform.clients_of("fn", None).await);
    } else if case.starts_with("openwhisk_") {
        let added = ["account", "add", "other", "--provider", "openwhisk"];
        drop(platform.cli().run(&added).await.expect("a second namespace"));
        let other = platform.clients_of("openwhisk", Some("other")).await;
        let auth = other.into_iter().find(|(name, _)| name == "OW_AUTH");
        environment.extend(auth.map(|(_, auth)| ("OW_OTHER_AUTH".to_owned(), auth)));
        environment.extend(platform.clients_of("openwhisk", None).await);
    } else {
        environment.extend(platform.aws().await);
    }
    (Some(platform), environment)
}
