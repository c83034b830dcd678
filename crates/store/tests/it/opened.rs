//! A temporary state directory with everything open.

use sonagi_store::{Options, StateDir, Stores};
use tempfile::TempDir;

/// Stores on a directory that goes away with them.
#[derive(Debug)]
pub struct Opened {
    pub stores: Stores,
    pub dir: StateDir,
    pub folder: TempDir,
}

impl Opened {
    pub fn new(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(folder.path()).unwrap();
        let stores = sonagi_store::open(&dir, options).unwrap();
        Self { stores, dir, folder }
    }

    /// Closes everything and opens it again, as a restart does.
    pub async fn restart(self, options: Options) -> Self {
        let Self { stores, dir, folder } = self;
        stores.close().await;
        drop((stores, dir));
        let dir = StateDir::open(folder.path()).unwrap();
        let stores = sonagi_store::open(&dir, options).unwrap();
        Self { stores, dir, folder }
    }
}
