//! Where things are in the checkout.

use std::path::{Path, PathBuf};

/// The checkout that this program was built from.
#[derive(Debug, Clone)]
pub struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// Finds it: the parent of this crate's folder.
    pub fn locate() -> Self {
        let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self {
            root: crate_folder
                .parent()
                .expect("xtask lies in a folder of the checkout")
                .to_owned(),
        }
    }

    /// Its top folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path in it.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// A path in the folder for everything that is installed; ignored by git.
    pub fn cache(&self, relative: &str) -> PathBuf {
        self.root.join(".cache").join(relative)
    }
}
