//! What the program may do with files, said a second time: where the kernel has Landlock, the rules of the mounts hold even
//! if a mount were wrong.
//!
//! Everything may be read and executed, as far as the mounts let it; only the scratch space, the shared memory and the
//! devices may be written. What is mounted later counts as part of the folder above it, except for its own root, so the
//! scratch space has to be there already. Source of all constants: Linux `include/uapi/linux/landlock.h`.

use crate::sys;

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;
const MAKE_SOCK: u64 = 1 << 9;
const MAKE_FIFO: u64 = 1 << 10;
const MAKE_BLOCK: u64 = 1 << 11;
const MAKE_SYM: u64 = 1 << 12;
/// Since version 2. Before it no file can be moved to another folder, so older versions are not used.
const REFER: u64 = 1 << 13;
/// Since version 3.
const TRUNCATE: u64 = 1 << 14;
/// Since version 5.
const IOCTL_DEV: u64 = 1 << 15;
/// Abstract sockets and signals end at the domain. Since version 6.
const SCOPES: u64 = 1 | 2;

/// First version that is used.
const VERSION_MIN: u32 = 2;

const READ: u64 = EXECUTE | READ_FILE | READ_DIR;
const WRITE: u64 = READ
    | WRITE_FILE
    | REMOVE_DIR
    | REMOVE_FILE
    | MAKE_DIR
    | MAKE_REG
    | MAKE_SOCK
    | MAKE_FIFO
    | MAKE_SYM
    | REFER
    | TRUNCATE;
const DEVICE: u64 = READ_FILE | WRITE_FILE | TRUNCATE;

/// Paths end with a NUL.
const RULES: [(&[u8], u64); 8] = [
    (b"/\0", READ),
    (b"/tmp\0", WRITE),
    (b"/dev/shm\0", WRITE),
    (b"/dev/null\0", DEVICE),
    (b"/dev/zero\0", DEVICE),
    (b"/dev/full\0", DEVICE),
    (b"/dev/random\0", DEVICE),
    (b"/dev/urandom\0", DEVICE),
];

/// What a kernel with this version can be told to refuse.
const fn handled(version: u32) -> u64 {
    let mut all = WRITE | MAKE_CHAR | MAKE_BLOCK;
    if version < 3 {
        all &= !TRUNCATE;
    }
    if version >= 5 {
        all |= IOCTL_DEV;
    }
    all
}

/// Restricts this process and all that it will start, for ever. Does nothing where the kernel has no Landlock, or one
/// that is too old. To be called after `no_new_privs` was set.
pub fn restrict() -> Result<(), i32> {
    let Some(version) = sys::landlock_version().filter(|version| *version >= VERSION_MIN) else {
        return Ok(());
    };
    let handled = handled(version);
    let scopes = if version >= 6 { SCOPES } else { 0 };
    let rules = sys::landlock_rules(handled, scopes)?;
    for (path, access) in RULES {
        let place = sys::open_place(path)?;
        let added = sys::landlock_allow(rules, place, access & handled);
        sys::close(place);
        added?;
    }
    let done = sys::landlock_restrict(rules);
    sys::close(rules);
    done
}
