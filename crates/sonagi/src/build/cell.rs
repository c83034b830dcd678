//! The processes that become a cell. The command line starts itself again, twice: the *outer* process leaves the host's
//! namespaces and waits; the *inner* one is the first process of the new pid namespace, builds the root, gives up its
//! rights and becomes the step. When the inner one ends, the kernel ends everything that the step left running; when the
//! command line ends, the kernel ends both.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::StatVfsMountFlags;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, mount_remount, unmount,
};
use rustix::process::{
    Resource, Rlimit, Signal, getegid, geteuid, pivot_root, set_parent_process_death_signal, setrlimit, setsid,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use super::namespaces::{self, User};
use super::plan::{BUILD, NOBODY, Plan};

/// First argument of the outer process.
pub const OUTER: &str = "__build-cell";
/// First argument of the inner process.
const INNER: &str = "__build-step";
/// Exit status when the cell itself failed, and the mark that its message begins with.
pub const CELL_FAILED: u8 = 125;
/// Begins the one line on standard error that says why the cell failed.
pub const MARK: &str = "sonagi build cell: ";

/// If this process was started as a part of a cell, does that work and never returns. Must be called while the process
/// has one thread.
pub fn maybe_run() {
    let failed = match std::env::args().nth(1).as_deref() {
        Some(OUTER) => outer(),
        Some(INNER) => inner(),
        _ => return,
    };
    let Err(error) = failed;
    let _ = writeln!(io::stderr(), "{MARK}{error}");
    std::process::exit(i32::from(CELL_FAILED));
}

/// A step of making the cell that failed.
fn at(what: &str, path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    let place = format!("{what} {}", path.display());
    move |error| io::Error::new(error.kind(), format!("{place}: {error}"))
}

fn outer() -> io::Result<std::convert::Infallible> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut plan = Vec::new();
    io::stdin().lock().read_to_end(&mut plan)?;
    let (uid, gid) = (geteuid(), getegid());
    namespaces::leave(if uid.is_root() { User::Kept } else { User::New })?;
    if !uid.is_root() {
        // Root inside is this user outside; a group map needs `setgroups` to be denied first. user_namespaces(7).
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {} 1", uid.as_raw()))?;
        fs::write("/proc/self/gid_map", format!("0 {} 1", gid.as_raw()))?;
    }
    let mut child = Command::new("/proc/self/exe")
        .arg(INNER)
        .stdin(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&plan)?;
    }
    let status = child.wait()?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    std::process::exit(code)
}

fn inner() -> io::Result<std::convert::Infallible> {
    let mut text = Vec::new();
    io::stdin().lock().read_to_end(&mut text)?;
    let plan: Plan = serde_json::from_slice(&text)?;
    let (program, arguments) = plan.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    // Read before the rights are given up. In a new user namespace this is root too, of that namespace only.
    let real_root =
        fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.split_whitespace().nth(2) == Some("4294967295"));
    build_root(&plan)?;
    setsid()?;
    bound()?;
    give_up_rights(if real_root { Rights::OfRoot } else { Rights::OfNamespace })?;
    // Only now: a change of uid clears it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let error = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(plan.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&plan.directory)
        .stdin(Stdio::null())
        .exec();
    Err(at("executing", Path::new(program))(error))
}

/// The system's folders that every step sees, read-only.
const SYSTEM: &[&str] = &[
    "/usr", "/etc", "/opt", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
];
/// Devices that every step sees.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom"];

fn build_root(plan: &Plan) -> io::Result<()> {
    let root = &plan.root;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let tmpfs = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", root, "tmpfs", tmpfs, c"mode=0755,size=16m,nr_inodes=4096")
        .map_err(|error| at("mounting", root)(error.into()))?;
    for path in SYSTEM.iter().map(Path::new) {
        match fs::symlink_metadata(path) {
            Ok(data) if data.is_symlink() => std::os::unix::fs::symlink(fs::read_link(path)?, inside(root, path))?,
            Ok(_) => show(root, path, path)?,
            Err(_) => {}
        }
    }
    let build = make_folder(root, Path::new(BUILD))?;
    bind(&plan.build, &build)?;
    for shown in &plan.shown {
        // Something that lies in a folder of the system is there already.
        if shown.target.starts_with(BUILD) || inside(root, &shown.target).symlink_metadata().is_err() {
            show(root, &shown.source, &shown.target)?;
        }
    }
    std::os::unix::fs::symlink(format!("{BUILD}/tmp"), root.join("tmp"))?;
    devices(root)?;
    let proc = make_folder(root, Path::new("/proc"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", &proc, "proc", flags, None).map_err(|error| at("mounting", &proc)(error.into()))?;
    enter(root)
}

fn devices(root: &Path) -> io::Result<()> {
    make_folder(root, Path::new("/dev"))?;
    for device in DEVICES {
        let source = Path::new("/dev").join(device);
        let target = inside(root, &source);
        fs::File::create(&target)?;
        bind(&source, &target)?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        std::os::unix::fs::symlink(target, root.join("dev").join(name))?;
    }
    let shm = make_folder(root, Path::new("/dev/shm"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", &shm, "tmpfs", flags, c"mode=1777,size=64m").map_err(|error| at("mounting", &shm)(error.into()))
}

/// Makes `root` the root, forgets the old one, and lets nobody write to the new one.
fn enter(root: &Path) -> io::Result<()> {
    std::env::set_current_dir(root)?;
    // The old root is mounted over the new one and taken away at once. pivot_root(2), "pivot_root(".", ".")".
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")?;
    mount_remount(
        "/",
        MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV,
        c"mode=0755,size=16m,nr_inodes=4096",
    )?;
    Ok(())
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn make_folder(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let folder = inside(root, path);
    fs::create_dir_all(&folder).map_err(at("making", &folder))?;
    Ok(folder)
}

fn bind(source: &Path, target: &Path) -> io::Result<()> {
    mount_bind_recursive(source, target).map_err(|error| at("binding", source)(error.into()))
}

fn show(root: &Path, source: &Path, path: &Path) -> io::Result<()> {
    let target = inside(root, path);
    if source.is_dir() {
        make_folder(root, path)?;
    } else {
        if let Some(parent) = path.parent() {
            make_folder(root, parent)?;
        }
        fs::File::create(&target).map_err(at("making", &target))?;
    }
    bind(source, &target)?;
    // In a user namespace, flags that the host has set on a mount must be kept.
    let found = rustix::fs::statvfs(&target)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    for (seen, kept) in [
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if found.contains(seen) {
            flags |= kept;
        }
    }
    mount_remount(&target, flags, c"").map_err(|error| at("making read-only", &target)(error.into()))
}

/// Bounds what the step may use, beside its time.
fn bound() -> io::Result<()> {
    let both = |value| Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    setrlimit(Resource::Core, both(0))?;
    setrlimit(Resource::Fsize, both(2 << 30))?;
    setrlimit(Resource::Nofile, both(4096))?;
    setrlimit(Resource::Nproc, both(4096))?;
    Ok(())
}

/// Whose rights the inner process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rights {
    /// The host's root.
    OfRoot,
    /// Root of the new user namespace, which is an ordinary user of the host.
    OfNamespace,
}

fn give_up_rights(rights: Rights) -> io::Result<()> {
    if rights == Rights::OfRoot {
        let (uid, gid) = (
            rustix::process::Uid::from_raw(NOBODY),
            rustix::process::Gid::from_raw(NOBODY),
        );
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
    }
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )?;
    Ok(())
}

/// Gives a folder with everything in it to the uid of steps, if this process is root. Links are not followed.
pub fn give(path: &Path) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY))?;
    if path.symlink_metadata()?.is_dir() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        for entry in fs::read_dir(path)? {
            give(&entry?.path())?;
        }
    }
    Ok(())
}
