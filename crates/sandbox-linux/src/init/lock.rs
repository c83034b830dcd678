//! What every process of a tenant has given up before anything of a tenant is near it. One sequence, whether the process
//! executes a program later (the stem of the init) or goes on as what it is (one forked from a zygote).

use crate::{landlock, sys};
use crate::wire::{FILTER_MAX, Report, Step};

/// `EINVAL`.
pub const INVALID: i32 = 22;

/// A step that failed, with the error number.
pub type Failure = (Step, i32);

pub trait At<T> {
    /// Names the step that an error number belongs to.
    fn at(self, step: Step) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, i32> {
    fn at(self, step: Step) -> Result<T, Failure> {
        self.map_err(|errno| (step, errno))
    }
}

/// Who the process becomes.
pub struct Ids {
    /// User and group on the host.
    pub host: u32,
    /// User inside.
    pub uid: u32,
    /// Group inside.
    pub gid: u32,
}

/// Says something on a socket.
pub fn report(socket: i32, report: Report) {
    // The other side may be gone, and then there is nobody to tell.
    let _ = sys::write(socket, &report.to_bytes());
}

/// The order matters: the namespace must belong to the instance's own user, or what it uses up is charged to the host's
/// root; and a bounding set dropped before entering it comes back full. `enter_user_namespace` is called as that user.
pub fn lock_down(
    ids: &Ids,
    filter: &[u8],
    enter_user_namespace: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    sys::start_session().at(Step::Session)?;
    sys::drop_groups().at(Step::DropGroups)?;
    sys::take_ids(ids.host, ids.host).at(Step::HostIds)?;
    enter_user_namespace()?;
    sys::take_ids(ids.uid, ids.gid).at(Step::InnerIds)?;
    sys::drop_capabilities().at(Step::Capabilities)?;
    sys::set_no_new_privs().at(Step::Privileges)?;
    // Credential changes have cleared it.
    sys::die_with_parent().at(Step::ParentDeath)?;
    fixed_limits()?;
    landlock::restrict().at(Step::Landlock)?;
    sys::load_filter(filter).at(Step::LoadFilter)
}

/// Resource limits that are the same for every instance. Numbers of resources: Linux
/// `include/uapi/asm-generic/resource.h`.
fn fixed_limits() -> Result<(), Failure> {
    const STACK: usize = 3;
    const CORE: usize = 4;
    const MEMLOCK: usize = 8;
    const SIGPENDING: usize = 11;
    const MSGQUEUE: usize = 12;
    const NICE: usize = 13;
    const RTPRIO: usize = 14;
    for (resource, value) in [
        (CORE, 0),
        (MEMLOCK, 64 * 1024),
        (SIGPENDING, 1024),
        (MSGQUEUE, 0),
        (NICE, 0),
        (RTPRIO, 0),
    ] {
        sys::limit(resource, value, Some(value)).at(Step::Limit)?;
    }
    sys::limit(STACK, 8 * 1024 * 1024, None).at(Step::Limit)
}

/// Resource limits of the process that depend on whose it is.
pub fn own_limits(file_size: u64, processes: u64, descriptors: u64) -> Result<(), Failure> {
    const FSIZE: usize = 1;
    const NPROC: usize = 6;
    const NOFILE: usize = 7;
    for (resource, value) in [(FSIZE, file_size), (NPROC, processes), (NOFILE, descriptors)] {
        sys::limit(resource, value, Some(value)).at(Step::Limit)?;
    }
    Ok(())
}

/// The whole seccomp program in a file.
pub fn read_filter(file: i32) -> Result<&'static [u8], Failure> {
    let buffer = sys::map(FILTER_MAX * 8).at(Step::Filter)?;
    let mut len = 0;
    loop {
        match sys::read_at(file, &mut buffer[len..], len).at(Step::Filter)? {
            0 => break,
            got => len += got,
        }
    }
    sys::close(file);
    Ok(&buffer[..len])
}
