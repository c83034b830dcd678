//! Archives that want to get out, to fill the disk, or to be two things at once; and honest ones.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use bytes::Bytes;
use sonagi_model::ArchiveLimits;
use sonagi_ports::{ArchiveProblem, ArtifactError, TreeCheck};
use sonagi_store::Options;

use crate::opened::Opened;
use crate::raw_zip::{Entry, archive, deflated, end_record};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Unreadable,
    PackedSize,
    UnpackedSize,
    Entries,
    Ratio,
    Path,
    Kind,
    Conflict,
}

fn refusal(problem: &ArchiveProblem) -> Refusal {
    match problem {
        ArchiveProblem::Unreadable(_) => Refusal::Unreadable,
        ArchiveProblem::PackedSize { .. } => Refusal::PackedSize,
        ArchiveProblem::UnpackedSize { .. } => Refusal::UnpackedSize,
        ArchiveProblem::Entries { .. } => Refusal::Entries,
        ArchiveProblem::Ratio { .. } => Refusal::Ratio,
        ArchiveProblem::Path { .. } => Refusal::Path,
        ArchiveProblem::Kind { .. } => Refusal::Kind,
        ArchiveProblem::Conflict { .. } => Refusal::Conflict,
    }
}

/// Changes the 32-bit field at a place in the only local header and the only central header of an archive.
fn with_size(archive: &Bytes, size: u32) -> Bytes {
    let mut bytes = archive.to_vec();
    let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    bytes[22..26].copy_from_slice(&size.to_le_bytes());
    bytes[central + 24..central + 28].copy_from_slice(&size.to_le_bytes());
    bytes.into()
}

fn ordinary() -> Bytes {
    archive(&[Entry::file("a", "one"), Entry::file("b", "two")])
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn paths_and_kinds() -> Vec<(&'static str, Bytes, Refusal)> {
    let named = |name: &[u8]| archive(&[Entry::file("ok", ""), Entry::file(name, "x")]);
    let mode = |mode| archive(&[Entry::of_mode("x", "y", mode)]);
    let mut hard_link = vec![0x0d, 0, 13, 0];
    hard_link.extend([0; 12]);
    hard_link.push(b'a');
    vec![
        ("zip slip", named(b"../../../../../../tmp/escaped"), Refusal::Path),
        ("slip behind a folder", named(b"a/b/../../../escaped"), Refusal::Path),
        ("absolute", named(b"/tmp/escaped"), Refusal::Path),
        ("backslash", named(b"..\\..\\escaped"), Refusal::Path),
        ("drive letter", named(b"C:/escaped"), Refusal::Path),
        ("NUL", named(b"a\0b"), Refusal::Path),
        ("control character", named(b"a\x1b[2Jb"), Refusal::Path),
        ("not UTF-8", named(b"a\xff\xfeb"), Refusal::Path),
        ("long path", named("x/".repeat(600).as_bytes()), Refusal::Path),
        (
            "deep path",
            named(format!("{}f", "d/".repeat(40)).as_bytes()),
            Refusal::Path,
        ),
        ("device", mode(0o020_666), Refusal::Kind),
        ("block device", mode(0o060_666), Refusal::Kind),
        ("named pipe", mode(0o010_666), Refusal::Kind),
        ("socket", mode(0o140_666), Refusal::Kind),
        (
            "hard link",
            archive(&[Entry {
                extra: hard_link,
                ..Entry::file("x", "")
            }]),
            Refusal::Kind,
        ),
        (
            "encrypted",
            archive(&[Entry {
                flags: 1,
                ..Entry::file("x", "y")
            }]),
            Refusal::Kind,
        ),
        ("link to /etc", archive(&[Entry::link("l", "/etc")]), Refusal::Path),
        (
            "link out",
            archive(&[Entry::file("d/f", ""), Entry::link("d/l", "../../x")]),
            Refusal::Path,
        ),
        (
            "link to nothing",
            archive(&[Entry::link("l", "nothing")]),
            Refusal::Path,
        ),
        (
            "links in a circle",
            archive(&[Entry::link("a", "b"), Entry::link("b", "a")]),
            Refusal::Path,
        ),
        (
            "chain of links",
            archive(&[
                Entry::file("d/e/f", ""),
                Entry::link("d/e/up", "../.."),
                Entry::link("x", "d/e/up/../etc"),
            ]),
            Refusal::Path,
        ),
        (
            "file through a link",
            archive(&[Entry::link("l", "/tmp"), Entry::file("l/escaped", "x")]),
            Refusal::Conflict,
        ),
        (
            "link in place of a folder",
            archive(&[Entry::file("l/x", "x"), Entry::link("l", "/tmp")]),
            Refusal::Conflict,
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn lies() -> Vec<(&'static str, Bytes, Refusal)> {
    let file = || Entry::file("a", "content");
    let two_ends = [ordinary().as_ref(), end_record(0, 0, 0).as_slice()].concat();
    let mut commented = ordinary().to_vec();
    let end = commented.len() - 2;
    commented[end..].copy_from_slice(&22_u16.to_le_bytes());
    commented.extend(end_record(0, 0, commented.len() as u32));
    let bomb = deflated(&[("zeros", &vec![0; 4_000_000], 0o644)]);
    vec![
        ("twice the same name", archive(&[file(), file()]), Refusal::Conflict),
        (
            "twice the same path",
            archive(&[file(), Entry::file("./a", "x")]),
            Refusal::Conflict,
        ),
        (
            "another local name",
            archive(&[Entry {
                local_name: Some(b"b".to_vec()),
                ..file()
            }]),
            Refusal::Conflict,
        ),
        (
            "another local size",
            archive(&[Entry {
                local_size: Some(3),
                ..file()
            }]),
            Refusal::Conflict,
        ),
        (
            "another local encryption",
            archive(&[Entry {
                local_flags: Some(1),
                ..file()
            }]),
            Refusal::Conflict,
        ),
        (
            "overlapping",
            archive(&[
                file(),
                Entry {
                    offset: Some(0),
                    ..file()
                },
            ]),
            Refusal::Conflict,
        ),
        (
            "overlapping, by another name inside",
            archive(&[
                Entry::file("outer", archive(&[file()])),
                Entry {
                    offset: Some(35),
                    ..file()
                },
            ]),
            Refusal::Conflict,
        ),
        (
            "stored in two sizes",
            archive(&[Entry {
                size: Some(3),
                ..file()
            }]),
            Refusal::Conflict,
        ),
        (
            "wrong checksum",
            archive(&[Entry { crc: Some(1), ..file() }]),
            Refusal::Unreadable,
        ),
        (
            "unknown method",
            archive(&[Entry { method: 93, ..file() }]),
            Refusal::Unreadable,
        ),
        (
            "local header outside",
            archive(&[Entry {
                offset: Some(1 << 30),
                ..file()
            }]),
            Refusal::Unreadable,
        ),
        ("no entries", archive(&[]), Refusal::Unreadable),
        (
            "bytes behind the end",
            [ordinary().as_ref(), b"x"].concat().into(),
            Refusal::Unreadable,
        ),
        (
            "bytes before the beginning",
            [b"#!/bin/sh\n", ordinary().as_ref()].concat().into(),
            Refusal::Unreadable,
        ),
        ("two ends", two_ends.into(), Refusal::Unreadable),
        (
            "an end in the comment of another",
            commented.into(),
            Refusal::Unreadable,
        ),
        ("bomb", bomb.clone(), Refusal::Ratio),
        (
            "bomb that says it is small",
            with_size(&bomb, 1000),
            Refusal::Unreadable,
        ),
        (
            "fewer bytes than said",
            with_size(&deflated(&[("x", b"abc", 0o644)]), 100),
            Refusal::Unreadable,
        ),
    ]
}

async fn refused(opened: &Opened, bytes: Bytes, limits: &ArchiveLimits) -> Option<ArchiveProblem> {
    match opened.stores.artifacts.put(bytes, limits).await {
        Ok(_) => None,
        Err(ArtifactError::Refused(problem)) => Some(problem),
        Err(error) => panic!("{error}"),
    }
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[tokio::test]
async fn hostile_archives_are_refused_and_leave_nothing() {
    let opened = Opened::new(Options::default());
    for (name, bytes, expected) in paths_and_kinds().into_iter().chain(lies()) {
        let problem = refused(&opened, bytes, &ArchiveLimits::default()).await;
        assert_eq!(problem.as_ref().map(refusal), Some(expected), "{name}: {problem:?}");
    }
    let artifacts = opened.dir.path().join("artifacts");
    for folder in ["sha256", "trees", "manifests", "quarantine", "tmp"] {
        assert_eq!(count(&artifacts.join(folder)), 0, "{folder}");
    }
    assert_eq!(opened.stores.artifacts.stored_bytes(), 0);
    assert!(!Path::new("/tmp/escaped").exists());
}

#[tokio::test]
async fn an_archive_cut_anywhere_or_with_any_byte_changed_harms_nobody() {
    let opened = Opened::new(Options::default());
    let whole = archive(&[
        Entry::file("a", "one"),
        Entry::link("l", "a"),
        Entry::file("d/b", "two"),
    ]);
    for length in 0..whole.len() {
        let problem = refused(&opened, whole.slice(..length), &ArchiveLimits::default()).await;
        assert_eq!(
            problem.as_ref().map(refusal),
            Some(Refusal::Unreadable),
            "cut at {length}: {problem:?}"
        );
    }
    for at in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0xff;
        // Some bytes mean nothing here (times); the others are refused. Neither may panic or fail otherwise.
        refused(&opened, bytes.into(), &ArchiveLimits::default()).await;
    }
}

#[tokio::test]
async fn limits_are_those_given() {
    let opened = Opened::new(Options::default());
    let names: Vec<String> = (0..11).map(|i| format!("f{i}")).collect();
    let files: Vec<Entry> = names.iter().map(|name| Entry::file(name, "0123456789")).collect();
    let eleven = archive(&files);
    let cases = [
        (
            ArchiveLimits {
                packed: 100,
                ..ArchiveLimits::default()
            },
            Some(Refusal::PackedSize),
        ),
        (
            ArchiveLimits {
                unpacked: 109,
                ..ArchiveLimits::default()
            },
            Some(Refusal::UnpackedSize),
        ),
        (
            ArchiveLimits {
                entries: 10,
                ..ArchiveLimits::default()
            },
            Some(Refusal::Entries),
        ),
        (
            ArchiveLimits {
                ratio: 0,
                ..ArchiveLimits::default()
            },
            Some(Refusal::Ratio),
        ),
        (
            ArchiveLimits {
                path_bytes: 2,
                ..ArchiveLimits::default()
            },
            Some(Refusal::Path),
        ),
        (
            ArchiveLimits {
                unpacked: 110,
                entries: 11,
                path_bytes: 3,
                depth: 0,
                ..ArchiveLimits::default()
            },
            None,
        ),
    ];
    for (limits, expected) in cases {
        let problem = refused(&opened, eleven.clone(), &limits).await;
        assert_eq!(problem.as_ref().map(refusal), expected, "{limits:?}: {problem:?}");
    }
    // Folders that nobody lists count as well.
    let hidden = archive(&[Entry::file("a/b/c/d/e/f/g/h", "")]);
    let problem = refused(
        &opened,
        hidden,
        &ArchiveLimits {
            entries: 1,
            ..ArchiveLimits::default()
        },
    )
    .await;
    assert_eq!(problem.as_ref().map(refusal), Some(Refusal::Entries));
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn an_honest_archive_becomes_its_tree() {
    let opened = Opened::new(Options::default());
    let bytes = archive(&[
        Entry::of_mode("folder/", "", 0o040_700),
        Entry::file("folder/é.txt", "text"),
        Entry::of_mode("bootstrap", "#!/bin/sh\n", 0o104_711),
        Entry::of_mode("plain", "data", 0),
        Entry::of_mode("secret", "data", 0o100_600),
        Entry::link("lib/current", "../folder"),
        Entry::link("lib/deep", "current/é.txt"),
        Entry::file("empty", ""),
    ]);
    let artifact = opened
        .stores
        .artifacts
        .put(bytes, &ArchiveLimits::default())
        .await
        .unwrap();
    let tree = opened.stores.artifacts.tree(&artifact).await.unwrap();
    let at = |path: &str| tree.path.join(path);
    assert_eq!(tree.check, TreeCheck::Hashed, "a small tree is hashed every time");
    for folder in ["", "folder", "lib"] {
        assert_eq!(mode(&at(folder)), 0o755, "{folder}");
    }
    for (file, expected) in [
        ("folder/é.txt", 0o644),
        ("bootstrap", 0o755),
        ("plain", 0o644),
        ("secret", 0o644),
    ] {
        assert_eq!(mode(&at(file)), expected, "{file}");
        assert_eq!(
            fs::metadata(at(file)).unwrap().uid(),
            rustix::process::geteuid().as_raw()
        );
    }
    assert_eq!(fs::read_to_string(at("lib/deep")).unwrap(), "text");
    assert_eq!(fs::read_link(at("lib/current")).unwrap(), Path::new("../folder"));
    assert_eq!(artifact.unpacked_size, 22);
    assert_eq!(count(&opened.dir.path().join("artifacts/tmp")), 0);
}

#[tokio::test]
async fn the_tree_digest_is_of_the_tree_and_not_of_its_packing() {
    let opened = Opened::new(Options::default());
    let text = "text ".repeat(100);
    let limits = ArchiveLimits::default();
    let stored = archive(&[Entry::file("d/a", &text), Entry::file("b", "b")]);
    let packed = deflated(&[("b", b"b", 0o600), ("d/", b"", 0o700), ("d/a", text.as_bytes(), 0o644)]);
    let program = archive(&[Entry::of_mode("d/a", &text, 0o100_755), Entry::file("b", "b")]);
    let one = opened.stores.artifacts.put(stored, &limits).await.unwrap();
    let two = opened.stores.artifacts.put(packed, &limits).await.unwrap();
    let three = opened.stores.artifacts.put(program, &limits).await.unwrap();
    assert_eq!(one.tree, two.tree);
    assert_ne!(one.digest, two.digest);
    assert_ne!(one.tree, three.tree);
    let first = opened.stores.artifacts.tree(&one).await.unwrap();
    let second = opened.stores.artifacts.tree(&two).await.unwrap();
    assert_ne!(first.path, second.path);
}
