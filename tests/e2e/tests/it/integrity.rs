//! No byte is executed whose digest was not checked.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use sonagi_e2e::{call, deploy, python};
use sonagi_testkit::{Platform, Setup};

const MARK: &[u8] = b"unmistakable-text-of-this-function";

/// Every file below a folder that holds the mark.
fn holding(folder: &Path, mark: &[u8], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            holding(&path, mark, found);
        } else if fs::read(&path).is_ok_and(|bytes| bytes.windows(mark.len()).any(|window| window == mark)) {
            found.push(path);
        }
    }
}

/// Flips one bit of the mark in a file, keeping size and times as far as a writer can.
fn flip(file: &Path) {
    let mut bytes = fs::read(file).expect("readable");
    let at = bytes
        .windows(MARK.len())
        .position(|window| window == MARK)
        .expect("the mark is in it");
    bytes[at] ^= 1;
    let times = fs::metadata(file).expect("metadata");
    fs::write(file, bytes).expect("writable by root");
    let handle = fs::File::options().write(true).open(file).expect("a handle");
    let modified = times.modified().expect("a time");
    handle
        .set_times(fs::FileTimes::new().set_modified(modified))
        .expect("times can be set");
}

async fn deployed(name: &str) -> (Platform, PathBuf) {
    let platform = Setup::new().set("cells", 0).start().await;
    let text = String::from_utf8_lossy(MARK).into_owned();
    let project = python(name, &format!("'{text}'"));
    deploy(&platform, &project, &[]).await;
    deploy(&platform, &python("neighbor", "'unharmed'"), &[]).await;
    let mut found = Vec::new();
    holding(&platform.data().join("artifacts"), MARK, &mut found);
    let tree = found
        .into_iter()
        .find(|file| file.ends_with("app.py"))
        .expect("the unpacked file");
    (platform, tree)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_the_tree_is_refused() {
    let (platform, file) = deployed("flipped-tree").await;
    flip(&file);
    refused_while_others_go_on(&platform, "flipped-tree").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_the_stored_archive_is_refused() {
    let (mut platform, _) = deployed("flipped-zip").await;
    // The archive is compressed, so the mark is not in it: the digest names the file.
    let shown = platform.native("GET", "/functions/flipped-zip", "").await;
    let digest = shown["digest"]
        .as_str()
        .expect("a digest")
        .trim_start_matches("sha256:")
        .to_owned();
    platform.stop().await;
    let mut archives = Vec::new();
    named(&platform.data().join("artifacts"), &digest[4..], &mut archives);
    let archive = archives
        .into_iter()
        .find(|path| path.is_file())
        .expect("a file named by the digest");
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&archive, bytes).unwrap();
    // The unpacked tree may stand for the archive while it is whole; with both gone or damaged nothing may run.
    let mut trees = Vec::new();
    holding(&platform.data().join("artifacts"), MARK, &mut trees);
    for file in trees.iter().filter(|file| file.ends_with("app.py")) {
        flip(file);
    }
    platform.start().await;
    refused_while_others_go_on(&platform, "flipped-zip").await;
}

fn named(folder: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.to_string_lossy().contains(name) {
            found.push(path.clone());
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            named(&path, name, found);
        }
    }
}

/// The first call is refused; a later one may run only what was uploaded, unpacked anew from a whole archive.
async fn refused_while_others_go_on(platform: &Platform, name: &str) {
    let path = format!("/functions/{name}/invoke");
    let whole = format!("\"{}\"", String::from_utf8_lossy(MARK));
    for call in 0..3 {
        let answer = platform.native_answer("POST", &path, "{}").await;
        let ran = answer.status.is_success() && !answer.headers.contains_key("sonagi-failed");
        assert!(
            !ran || (call > 0 && answer.text() == whole),
            "call {call}: {} {}",
            answer.status,
            answer.text()
        );
    }
    assert!(platform.log().contains("damaged"), "{}", platform.log());
    assert_eq!(call(platform, "neighbor", &json!({})).await, json!("unharmed"));
}
