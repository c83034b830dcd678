//! Backups of a working store, restored into an empty directory and compared.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bytes::Bytes;
use sonagi_ports::fake::sample;
use sonagi_ports::{Change, EventStatus, Lease, Progress, QueuedEvent, Record, Settlement};
use sonagi_store::{Backup, BackupError, Options, StateDir, restore};

use crate::opened::Opened;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_restored_whole() {
    let opened = Opened::new(Options::default());
    let (stores, function) = (&opened.stores, sample::function("kept"));
    let changes = vec![Change::Put(Record::Function(function.clone()))];
    stores.metadata.commit(changes).await.unwrap();
    let large = QueuedEvent {
        payload: Bytes::from(vec![b'x'; 300_000]),
        ..sample::event(&function, sample::NOW)
    };
    stores.events.accept(large.clone(), None, Lease::Free).await.unwrap();
    let run = sample::run(&function, sample::NOW);
    stores.runs.append(&run).unwrap();

    // Events come and go while the backup is made; large ones, whose files must stay as long as they are named.
    let begun = stores.events.totals().await.unwrap();
    let load = async {
        for _ in 0..40 {
            let event = QueuedEvent {
                id: sonagi_model::EventId::generate(),
                ..large.clone()
            };
            stores.events.accept(event.clone(), None, Lease::Taken).await.unwrap();
            let end = Settlement::new(EventStatus::Cancelled, sample::NOW, Progress::default());
            stores.events.settle(event.id, end, None, Vec::new()).await.unwrap();
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let (backup, target) = (folder.path().join("backup"), folder.path().join("restored"));
    let maker: Backup = stores.backup();
    let ((), written) = tokio::join!(load, maker.write(&backup));
    let written = written.unwrap();
    assert!(written.files >= 3 && written.bytes > 300_000, "{written:?}");

    let key = opened.dir.path().join("master.key");
    assert_eq!(restore(&backup, &target, Some(&key)).unwrap(), written);
    let dir = StateDir::open(&target).unwrap();
    assert_ne!(dir.node(), opened.dir.node(), "a node of its own");
    let restored = sonagi_store::open(&dir, Options::default()).unwrap();
    assert_eq!(
        restored.metadata.load().await.unwrap(),
        stores.metadata.load().await.unwrap()
    );
    assert_eq!(restored.events.load(large.id).await.unwrap(), Some(large));
    assert_eq!(restored.runs.attempts(run.invocation).await.unwrap(), [run]);
    let totals = restored.events.totals().await.unwrap();
    assert!(totals.accepted >= begun.accepted && totals.missing() == 0, "{totals:?}");
    for event in restored.events.recent(Default::default()).await.unwrap() {
        let content = restored.events.content(event.id).await.unwrap();
        assert_eq!(content.map(|content| content.len()), event.kept.then_some(300_000));
    }
    restored.close().await;
}

#[tokio::test]
async fn what_is_no_backup_or_no_room_is_refused() {
    let opened = Opened::new(Options::default());
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    opened.stores.backup().write(&backup).await.unwrap();
    let key = opened.dir.path().join("master.key");
    let refused = |result: Result<_, BackupError>| result.unwrap_err().to_string();
    let full = refused(opened.stores.backup().write(&backup).await);
    assert!(full.ends_with("is not empty"), "{full}");
    let full = refused(restore(&backup, opened.dir.path(), Some(&key)));
    assert!(full.ends_with("is not empty"), "{full}");
    let nothing = folder.path().join("nothing");
    fs::create_dir(&nothing).unwrap();
    let none = refused(restore(&nothing, &folder.path().join("a"), None));
    assert!(none.ends_with("is no backup: it has no backup.json"), "{none}");
    let sealed = refused(restore(&backup, &folder.path().join("c"), None));
    assert!(
        sealed.contains("is sealed with key") && sealed.contains("--key-file"),
        "{sealed}"
    );
    let other = folder.path().join("other");
    fs::write(&other, "0".repeat(64)).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
    let sealed = refused(restore(&backup, &folder.path().join("c"), Some(&other)));
    assert!(sealed.contains("other is key"), "{sealed}");
    flip(&backup.join("sonagi.db"));
    let damaged = refused(restore(&backup, &folder.path().join("b"), Some(&key)));
    assert!(damaged.contains("sonagi.db is damaged"), "{damaged}");
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}
