//! Help and errors, as recorded in `tests/golden`. `SONAGI_RECORD=1 cargo test -p sonagi` records them anew.

use std::fs;
use std::path::Path;

use super::run::{command, run};

/// Compares with a recorded text.
#[track_caller]
fn compare(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("SONAGI_RECORD").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        found == expected,
        "{name} differs from what is recorded; found:\n{found}"
    );
}

const COMMANDS: &[&str] = &[
    "up",
    "new",
    "deploy",
    "dev",
    "invoke",
    "logs",
    "runs",
    "events",
    "replay",
    "dlq",
    "on",
    "show",
    "ls",
    "rm",
    "env",
    "config",
    "usage",
    "versions",
    "alias",
    "rollback",
    "account",
    "backup",
    "key",
    "restore",
    "doctor",
    "compat",
    "completions",
];

#[tokio::test]
async fn help_is_as_recorded() {
    let home = tempfile::tempdir().unwrap();
    compare("help/sonagi.txt", &run(command(&["--help"], home.path())).await.good());
    for name in COMMANDS {
        compare(
            &format!("help/{name}.txt"),
            &run(command(&[name, "--help"], home.path())).await.good(),
        );
    }
}

#[tokio::test]
async fn errors_are_as_recorded() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("empty")).unwrap();
    fs::write(home.path().join("bad.toml"), "keep-alive = \"soon\"\n").unwrap();
    fs::create_dir_all(home.path().join("full")).unwrap();
    fs::write(home.path().join("full/file"), "").unwrap();
    let cases: &[(&str, &[&str], i32)] = &[
        ("no-platform", &["ls"], 6),
        ("no-platform-json", &["ls", "--output", "json"], 6),
        ("nobody-answers", &["ls", "--server", "127.0.0.1:1"], 6),
        ("bad-address", &["ls", "--server", "ftp://x"], 2),
        ("unknown-command", &["delpoy"], 2),
        ("no-argument", &["invoke"], 2),
        ("bad-variable", &["deploy", "--env", "X"], 2),
        ("bad-size", &["deploy", "--memory", "lots"], 2),
        ("bad-split", &["alias", "f", "a", "1", "--split", "2=3"], 2),
        ("half-an-alias", &["alias", "f", "a"], 2),
        ("nothing-there", &["deploy", "nowhere"], 3),
        ("no-function", &["deploy", "empty"], 7),
        ("not-empty", &["new", "full", "--template", "bash"], 4),
        ("changes-need-a-function", &["config", "--memory", "256"], 2),
        ("bad-config-file", &["up", "--config", "bad.toml"], 2),
    ];
    for (name, arguments, code) in cases {
        let ended = run(command(arguments, home.path())).await;
        assert_eq!(ended.stdout, "", "{name}: errors go to standard error");
        compare(&format!("errors/{name}.txt"), &ended.failed(*code));
    }
}

#[tokio::test]
async fn completions_are_complete() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = run(command(&["completions", shell], home.path())).await.good();
        assert!(COMMANDS.iter().all(|name| script.contains(name)), "{shell}");
    }
}
