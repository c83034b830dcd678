//! Whether the kernel has Landlock. The init applies it (`src/init/landlock.rs`).

/// The version of Landlock that this kernel has; `None` without it, or when it is switched off. Functions are restricted
/// by it from version 2 on (Linux 5.19).
#[must_use]
pub fn version() -> Option<u32> {
    /// Source: Linux `include/uapi/linux/landlock.h`.
    const CREATE_RULESET_VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the kernel takes no attributes, and answers with a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(version).ok()
}
