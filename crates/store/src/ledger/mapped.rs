//! A file of fixed size, mapped into memory: what is stored into it is the kernel's at that instant, and outlives the
//! process without a system call. The only unsafe code of this crate.
#![expect(
    unsafe_code,
    reason = "mapping a file is unsafe: another writer could change or cut the memory"
)]

use std::fs::File;
use std::io;

use memmap2::{MmapMut, MmapOptions};

/// The mapped content of a file.
#[derive(Debug)]
pub(super) struct Mapped {
    map: MmapMut,
}

impl Mapped {
    /// Maps the whole of a file that is open for reading and writing. Its size must not change while this value lives.
    pub(super) fn new(file: &File) -> io::Result<Self> {
        let length = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut options = MmapOptions::new();
        options.len(length);
        // SAFETY: the memory is valid and only ours as long as nobody else writes or cuts the file. It lies in the state
        // directory, which is closed to other users and locked by this process, and this process maps each ring once
        // and never changes its size. Its blocks were allocated when it was made, so a full disk cannot fault a store.
        let map = unsafe { options.map_mut(file) }?;
        Ok(Self { map })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map
    }
}
