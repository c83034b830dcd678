//! What every [`ArtifactStore`] does.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed check")]

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use sonagi_model::{ArchiveLimits, ArtifactRef, Digest};

use crate::{ArchiveProblem, ArtifactError, ArtifactStore};

/// All checks, on an empty store.
///
/// # Panics
/// When one fails.
pub async fn check(store: &dyn ArtifactStore) {
    an_archive_comes_back_exactly(store).await;
    the_same_bytes_are_the_same_artifact(store).await;
    what_is_no_archive_is_refused(store).await;
    what_is_not_stored_is_missing(store).await;
    removed_artifacts_are_gone(store).await;
    assert_eq!(store.stored_bytes(), 0, "the checks remove what they made");
}

/// A zip archive of these files, stored without compression.
/// Source: PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12, 4.3.16.
///
/// # Panics
/// When a name or a file is too large for the format's fields.
#[must_use]
pub fn zip(files: &[(&str, &[u8])]) -> Bytes {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let offset = u32::try_from(out.len()).unwrap();
        let mut fields = Vec::new();
        fields.extend([20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0]);
        fields.extend(crc32(content).to_le_bytes());
        fields.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
        fields.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
        fields.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        fields.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&fields);
        out.extend(name.as_bytes());
        out.extend(*content);
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&fields);
        directory.extend([0; 6]);
        directory.extend((0o100_644_u32 << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = u32::try_from(out.len()).unwrap();
    let count = u16::try_from(files.len()).unwrap().to_le_bytes();
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count);
    out.extend(count);
    out.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out.into()
}

/// CRC-32 as in zip archives, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}

async fn an_archive_comes_back_exactly(store: &dyn ArtifactStore) {
    let archive = zip(&[("main.txt", b"exact"), ("lib/other.txt", b"")]);
    let artifact = store.put(archive.clone(), &ArchiveLimits::default()).await.unwrap();
    assert_eq!(artifact.digest, Digest::from_bytes(Sha256::digest(&archive).into()));
    assert_eq!(artifact.size, archive.len() as u64);
    assert_eq!(store.stored_bytes(), artifact.size);
    assert_eq!(store.archive(&artifact).await.unwrap(), archive);
    let first = store.tree(&artifact).await.unwrap();
    assert_eq!(store.tree(&artifact).await.unwrap().path, first.path);
    assert!(
        !first.path.to_string_lossy().contains(&artifact.digest.to_string()),
        "{first:?}"
    );
    store.remove(&artifact.digest).await.unwrap();
}

async fn the_same_bytes_are_the_same_artifact(store: &dyn ArtifactStore) {
    let archive = zip(&[("main.txt", b"same")]);
    let limits = ArchiveLimits::default();
    let artifact = store.put(archive.clone(), &limits).await.unwrap();
    for again in super::at_once((0..4).map(|_| store.put(archive.clone(), &limits))).await {
        assert_eq!(again.unwrap(), artifact);
    }
    assert_eq!(store.stored_bytes(), artifact.size);
    let other = store.put(zip(&[("main.txt", b"other")]), &limits).await.unwrap();
    assert_ne!((other.digest, other.tree), (artifact.digest, artifact.tree));
    for digest in [artifact.digest, other.digest] {
        store.remove(&digest).await.unwrap();
    }
}

async fn what_is_no_archive_is_refused(store: &dyn ArtifactStore) {
    for bytes in [&b""[..], b"not a zip", b"PK\x05\x06\0\0"] {
        let refused = store
            .put(Bytes::copy_from_slice(bytes), &ArchiveLimits::default())
            .await;
        let unreadable = matches!(refused, Err(ArtifactError::Refused(ArchiveProblem::Unreadable(_))));
        assert!(unreadable, "{bytes:?}: {refused:?}");
    }
    let archive = zip(&[("main.txt", b"large")]);
    let limits = ArchiveLimits {
        packed: archive.len() as u64 - 1,
        ..ArchiveLimits::default()
    };
    let refused = store.put(archive, &limits).await;
    assert!(
        matches!(refused, Err(ArtifactError::Refused(ArchiveProblem::PackedSize { .. }))),
        "{refused:?}"
    );
    assert_eq!(store.stored_bytes(), 0, "nothing of a refused archive stays");
}

async fn what_is_not_stored_is_missing(store: &dyn ArtifactStore) {
    let digest = Digest::from_bytes([9; 32]);
    let artifact = ArtifactRef {
        digest,
        size: 1,
        tree: digest,
        unpacked_size: 1,
    };
    let (archive, tree) = (store.archive(&artifact).await, store.tree(&artifact).await);
    assert!(
        matches!(archive, Err(ArtifactError::Missing(missing)) if missing == digest),
        "{archive:?}"
    );
    assert!(
        matches!(tree, Err(ArtifactError::Missing(missing)) if missing == digest),
        "{tree:?}"
    );
}

async fn removed_artifacts_are_gone(store: &dyn ArtifactStore) {
    let archive = zip(&[("main.txt", b"removed")]);
    let artifact = store.put(archive.clone(), &ArchiveLimits::default()).await.unwrap();
    store.remove(&artifact.digest).await.unwrap();
    store.remove(&artifact.digest).await.unwrap();
    assert!(matches!(store.tree(&artifact).await, Err(ArtifactError::Missing(_))));
    assert!(matches!(store.archive(&artifact).await, Err(ArtifactError::Missing(_))));
    assert_eq!(store.put(archive, &ArchiveLimits::default()).await.unwrap(), artifact);
    store.remove(&artifact.digest).await.unwrap();
}
