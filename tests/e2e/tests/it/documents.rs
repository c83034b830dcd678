//! The commands that documents show can be run as they stand.

use std::fs;

use sonagi_e2e::blocks;
use sonagi_testkit::{Platform, checkout, installed, platform};
use tokio::process::Command;

/// Documents whose marked blocks are run.
const DOCUMENTS: &[&str] = &["README.md", "README.ko.md"];

#[tokio::test(flavor = "multi_thread")]
async fn every_marked_command_works() {
    for document in DOCUMENTS {
        let text = fs::read_to_string(checkout(document)).expect("the document");
        let blocks = blocks::marked(&text);
        assert!(!blocks.is_empty(), "{document} has no block to run");
        run(document, &blocks).await;
    }
}

/// Both languages show the same commands.
#[test]
fn translations_show_the_same_commands() {
    let commands = |document: &str| blocks::marked(&fs::read_to_string(checkout(document)).expect("the document"));
    assert_eq!(commands(DOCUMENTS[0]), commands(DOCUMENTS[1]));
}

async fn run(document: &str, blocks: &[String]) {
    // The documents start a platform by hand at the default address; here one runs already, and the commands find it.
    let platform = Platform::up().await;
    let folder = tempfile::tempdir().expect("a folder");
    let script = format!("set -euo pipefail\n{}", blocks.join("\n"));
    let mut command = Command::new("bash");
    command
        .args(["-c", &script])
        .current_dir(folder.path())
        .env("SONAGI_DATA", platform.data());
    let programs = platform::binary().parent().expect("a folder").to_owned();
    let path = std::env::var("PATH").unwrap_or_default();
    let python = installed("python/boto3/bin");
    command.env("PATH", format!("{}:{}:{path}", programs.display(), python.display()));
    let ended = sonagi_testkit::clients::run(command, &Vec::new()).await;
    let printed = ended.expect(document);
    println!("{document}:\n{printed}");
}
