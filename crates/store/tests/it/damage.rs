//! Bytes that changed on disk are found before they are run, set aside, and made good where that can be done.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sonagi_model::{ArchiveLimits, ArtifactRef};
use sonagi_ports::{ArtifactError, ArtifactStore, TreeCheck};
use sonagi_store::Options;

use crate::opened::Opened;
use crate::raw_zip::{Entry, archive};

/// Above the size up to which every tree is hashed at every start.
const LARGE: usize = 300 * 1024;

fn large(filler: u8) -> Bytes {
    let content = vec![filler; LARGE];
    archive(&[
        Entry::file("large", content),
        Entry::file("d/small", "small"),
        Entry::link("link", "large"),
    ])
}

fn small(text: &str) -> Bytes {
    archive(&[
        Entry::file("main", text),
        Entry::file("d/small", "small"),
        Entry::link("link", "main"),
    ])
}

async fn put(store: &dyn ArtifactStore, bytes: &Bytes) -> ArtifactRef {
    store.put(bytes.clone(), &ArchiveLimits::default()).await.unwrap()
}

async fn tree(store: &dyn ArtifactStore, artifact: &ArtifactRef) -> (PathBuf, TreeCheck) {
    let tree = store.tree(artifact).await.unwrap();
    (tree.path, tree.check)
}

async fn is_damaged(store: &dyn ArtifactStore, artifact: &ArtifactRef) -> bool {
    let (tree, expected) = (store.tree(artifact).await, artifact.digest);
    matches!(tree, Err(ArtifactError::Damaged { digest, .. }) if digest == expected)
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn archive_path(opened: &Opened, artifact: &ArtifactRef) -> PathBuf {
    let digest = artifact.digest.to_string();
    opened
        .dir
        .path()
        .join(format!("artifacts/sha256/{}/{digest}.zip", &digest[..2]))
}

#[tokio::test]
async fn a_flipped_byte_in_the_archive_is_refused_until_the_same_bytes_are_put_again() {
    let opened = Opened::new(Options::default());
    for bytes in [small("code"), large(1)] {
        let store = opened.stores.artifacts.as_ref();
        let (artifact, other) = (put(store, &bytes).await, put(store, &small("other")).await);
        flip(&archive_path(&opened, &artifact), 40);
        assert!(is_damaged(store, &artifact).await);
        assert!(is_damaged(store, &artifact).await, "and stays so");
        assert!(matches!(
            store.archive(&artifact).await,
            Err(ArtifactError::Damaged { .. })
        ));
        assert_eq!(store.stored_bytes(), other.size);
        let set_aside = opened
            .dir
            .path()
            .join(format!("artifacts/quarantine/{}.zip", artifact.digest));
        assert!(set_aside.exists());
        tree(store, &other).await;
        assert_eq!(put(store, &bytes).await, artifact);
        tree(store, &artifact).await;
        assert_eq!(store.archive(&artifact).await.unwrap(), bytes);
        assert!(!set_aside.exists());
        store.remove(&artifact.digest).await.unwrap();
    }
}

#[tokio::test]
async fn a_flipped_byte_found_while_fetching_the_archive_is_refused_too() {
    let opened = Opened::new(Options::default());
    let store = opened.stores.artifacts.clone();
    let artifact = put(store.as_ref(), &small("code")).await;
    flip(&archive_path(&opened, &artifact), 40);
    assert!(matches!(
        store.archive(&artifact).await,
        Err(ArtifactError::Damaged { .. })
    ));
    assert!(is_damaged(store.as_ref(), &artifact).await);
    drop(store);
    let opened = opened.restart(Options::default()).await;
    assert!(
        is_damaged(opened.stores.artifacts.as_ref(), &artifact).await,
        "after a restart as well"
    );
    opened.stores.artifacts.remove(&artifact.digest).await.unwrap();
    assert!(matches!(
        opened.stores.artifacts.tree(&artifact).await,
        Err(ArtifactError::Missing(_))
    ));
}

type Harm = fn(&Path);

/// What can happen to a tree. The paths are in both archives, except that the first file is named apart.
const HARM: [(&str, Harm); 9] = [
    ("flipped byte", |tree| {
        flip(&first_file(tree), 100 % fs::read(first_file(tree)).unwrap().len())
    }),
    ("flipped byte, time set back", |tree| {
        let path = first_file(tree);
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        flip(&path, 0);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }),
    ("longer", |tree| {
        fs::write(tree.join("d/small"), "small and more").unwrap()
    }),
    ("removed file", |tree| fs::remove_file(tree.join("d/small")).unwrap()),
    ("removed folder", |tree| fs::remove_dir_all(tree.join("d")).unwrap()),
    ("added file", |tree| {
        fs::write(tree.join("d/sitecustomize.py"), "import evil").unwrap()
    }),
    ("executable", |tree| {
        fs::set_permissions(tree.join("d/small"), fs::Permissions::from_mode(0o755)).unwrap();
    }),
    ("other link", |tree| {
        fs::remove_file(tree.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", tree.join("link")).unwrap();
    }),
    ("file replaced by a pipe", |tree| {
        fs::remove_file(tree.join("d/small")).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            tree.join("d/small"),
            rustix::fs::FileType::Fifo,
            mode,
            0,
        )
        .unwrap();
    }),
];

fn first_file(tree: &Path) -> PathBuf {
    ["main", "large"]
        .map(|name| tree.join(name))
        .into_iter()
        .find(|path| path.exists())
        .unwrap()
}

#[tokio::test]
async fn a_changed_tree_is_refused_once_and_unpacked_anew() {
    let opened = Opened::new(Options::default());
    let store = opened.stores.artifacts.as_ref();
    let other = put(store, &small("other")).await;
    for bytes in [small("code"), large(2)] {
        let artifact = put(store, &bytes).await;
        for (name, harm) in HARM {
            let (path, _) = tree(store, &artifact).await;
            harm(&path);
            assert!(is_damaged(store, &artifact).await, "{name}");
            assert!(
                opened
                    .dir
                    .path()
                    .join(format!("artifacts/quarantine/{}.tree", artifact.digest))
                    .is_dir()
            );
            tree(store, &other).await;
            assert_eq!(
                tree(store, &artifact).await,
                (path.clone(), TreeCheck::Unpacked),
                "{name}"
            );
            assert!(path.join("d/small").is_file());
        }
        let (path, _) = tree(store, &artifact).await;
        HARM[0].1(&path);
        assert_eq!(
            put(store, &bytes).await,
            artifact,
            "putting the same bytes makes the tree good as well"
        );
        tree(store, &artifact).await;
    }
}

#[tokio::test]
async fn a_tree_whose_bytes_are_right_is_hashed_once_and_known_again() {
    let opened = Opened::new(Options::default());
    let store = opened.stores.artifacts.as_ref();
    let artifact = put(store, &large(3)).await;
    let (path, check) = tree(store, &artifact).await;
    assert_eq!(check, TreeCheck::Manifest);
    fs::write(path.join("d/small"), "small").unwrap();
    assert_eq!(tree(store, &artifact).await.1, TreeCheck::Hashed);
    assert_eq!(tree(store, &artifact).await.1, TreeCheck::Manifest);
    let stored = archive_path(&opened, &artifact);
    fs::write(&stored, fs::read(&stored).unwrap()).unwrap();
    assert_eq!(tree(store, &artifact).await.1, TreeCheck::Hashed);
    assert_eq!(tree(store, &artifact).await.1, TreeCheck::Manifest);
    let opened = opened.restart(Options::default()).await;
    assert_eq!(
        tree(opened.stores.artifacts.as_ref(), &artifact).await,
        (path, TreeCheck::Manifest)
    );
}

#[tokio::test]
async fn a_lost_tree_or_manifest_is_made_again_and_unpacked_once() {
    let opened = Opened::new(Options::default());
    let store = opened.stores.artifacts.clone();
    let artifact = put(store.as_ref(), &large(4)).await;
    let (path, _) = tree(store.as_ref(), &artifact).await;
    fs::remove_dir_all(&path).unwrap();
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (store, artifact) = (Arc::clone(&store), artifact.clone());
        starts.spawn(async move { store.tree(&artifact).await.unwrap().check });
    }
    let checks = starts.join_all().await;
    assert_eq!(
        checks.iter().filter(|check| **check == TreeCheck::Unpacked).count(),
        1,
        "{checks:?}"
    );

    let manifest = opened
        .dir
        .path()
        .join(format!("artifacts/manifests/{}.json", artifact.digest));
    let mut opened = opened;
    for damage in [
        "{}",
        "",
        &fs::read_to_string(&manifest).unwrap().replace("d/small", "d/other"),
    ] {
        fs::write(&manifest, damage).unwrap();
        opened = opened.restart(Options::default()).await;
        let store = opened.stores.artifacts.as_ref();
        assert_eq!(tree(store, &artifact).await, (path.clone(), TreeCheck::Hashed));
        assert_eq!(tree(store, &artifact).await.1, TreeCheck::Manifest);
    }
}

#[tokio::test]
async fn what_an_interrupted_process_left_is_swept() {
    let opened = Opened::new(Options::default());
    let artifact = put(opened.stores.artifacts.as_ref(), &small("kept")).await;
    let (kept, _) = tree(opened.stores.artifacts.as_ref(), &artifact).await;
    let artifacts = opened.dir.path().join("artifacts");
    let half = format!(".{}.tmp", "0".repeat(32));
    let left = [
        "tmp/half",
        "trees/orphan",
        "manifests/orphan.json",
        "sha256/ab/half",
        "../ledger/half",
        "../half",
    ]
    .map(|path| artifacts.join(path.replace("half", &half)));
    for path in &left {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "half").unwrap();
    }
    let opened = opened.restart(Options::default()).await;
    for path in left {
        assert!(!path.exists(), "{}", path.display());
    }
    assert_eq!(tree(opened.stores.artifacts.as_ref(), &artifact).await.0, kept);
    assert_eq!(opened.stores.artifacts.stored_bytes(), artifact.size);
}
