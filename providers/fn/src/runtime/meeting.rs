//! Where the function is met: the socket that it makes in its own `/tmp/iofs`, looked up from outside.
//!
//! Whatever is in that folder is the function's to choose, so no link is followed but the one form that the contract has,
//! and no name leaves the folder. The socket is then held by its inode: what becomes of its name does not matter.
//! Source: fnproject/fn 0.3.753, `api/agent/agent.go` (`checkSocketDestination`): a socket, or a relative link to one in the
//! same folder.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use tokio::net::unix::pipe::Receiver;

/// The folder, in the scratch space.
const FOLDER: &str = "iofs";
/// The name that says that the socket is ready.
const NAME: &str = "lsnr.sock";
/// Looks without an event, where the host has no room for another watch.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(2);

/// No socket can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// What is there is not what the contract allows; what it is.
    Name(&'static str),
    /// The system refused a look.
    System(Errno),
}

impl From<Errno> for Unfit {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

/// Waits until the function's socket is there. Without a bound of its own; cancel safe.
pub(super) async fn wait(scratch: &OwnedFd) -> Result<OwnedFd, Unfit> {
    let watch = Watch::new();
    watch.add(scratch.as_fd());
    let mut folder: Option<OwnedFd> = None;
    loop {
        if folder.is_none() {
            folder = find_folder(scratch.as_fd())?;
            if let Some(folder) = &folder {
                watch.add(folder.as_fd());
            }
        }
        // Looked at after it is watched: nothing happens unseen in between.
        if let Some(folder) = &folder
            && let Some(socket) = find(folder.as_fd())?
        {
            return Ok(socket);
        }
        watch.changed().await;
    }
}

fn find_folder(scratch: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    present(rustix::fs::openat(scratch, FOLDER, flags, Mode::empty()))
}

/// The socket, if its name is there.
pub(super) fn find(folder: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Unfit> {
    let Some(stat) = present(rustix::fs::statat(folder, NAME, AtFlags::SYMLINK_NOFOLLOW))? else {
        return Ok(None);
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket => open(folder, NAME.as_bytes()).map(Some),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(folder, NAME, Vec::new())?;
            let target = target.as_bytes();
            if target.contains(&b'/') || matches!(target, b"" | b"." | b"..") {
                return Err(Unfit::Name("the link leads out of its folder"));
            }
            open(folder, target).map(Some)
        }
        FileType::RegularFile
        | FileType::Directory
        | FileType::Fifo
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Err(Unfit::Name("it is no socket")),
    }
}

fn open(folder: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Unfit> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Err(Unfit::Name("the link leads nowhere")),
        Err(errno) => return Err(errno.into()),
    };
    if FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode) == FileType::Socket {
        Ok(opened)
    } else {
        Err(Unfit::Name("the link leads to no socket"))
    }
}

fn present<T>(found: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The path under which this process can use a descriptor as a name.
pub(super) fn path(descriptor: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// Tells of new names in folders, or, where the host has no room for that, of time passing.
struct Watch(Option<Receiver>);

impl Watch {
    fn new() -> Self {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok();
        // Read as a pipe is.
        Self(events.and_then(|events| Receiver::from_owned_fd_unchecked(events).ok()))
    }

    fn add(&self, folder: BorrowedFd<'_>) {
        let Some(events) = &self.0 else { return };
        let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        if let Err(errno) = inotify::add_watch(events.as_fd(), path(folder), flags) {
            tracing::debug!(%errno, "a folder of an instance cannot be watched");
        }
    }

    async fn changed(&self) {
        let Some(events) = &self.0 else {
            return tokio::time::sleep(PAUSE).await;
        };
        // A watch that could not be added says nothing: then time has to do.
        let slow = tokio::time::sleep(PAUSE * 25);
        let heard = async {
            if events.readable().await.is_ok() {
                // What happened is looked up, not read.
                let _ = events.try_read(&mut [0; 4096]);
            }
        };
        tokio::select! {
            () = heard => {}
            () = slow => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use super::*;

    fn folder(path: &Path) -> OwnedFd {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).unwrap()
    }

    #[test]
    fn only_sockets_in_the_folder_are_taken() {
        type Make = fn(&Path);
        let table: [(Make, Option<bool>); 9] = [
            (|_| {}, None),
            (|dir| drop(UnixListener::bind(dir.join(NAME)).unwrap()), Some(true)),
            (
                |dir| {
                    drop(UnixListener::bind(dir.join("phony")).unwrap());
                    symlink("phony", dir.join(NAME)).unwrap();
                },
                Some(true),
            ),
            (
                |dir| {
                    drop(UnixListener::bind(dir.join("phony")).unwrap());
                    symlink(dir.join("phony"), dir.join(NAME)).unwrap();
                },
                Some(false),
            ),
            (|dir| symlink("../x", dir.join(NAME)).unwrap(), Some(false)),
            (|dir| symlink("nowhere", dir.join(NAME)).unwrap(), Some(false)),
            (|dir| std::fs::write(dir.join(NAME), "").unwrap(), Some(false)),
            (|dir| std::fs::create_dir(dir.join(NAME)).unwrap(), Some(false)),
            (
                |dir| {
                    drop(UnixListener::bind(dir.join("real")).unwrap());
                    symlink("real", dir.join("phony")).unwrap();
                    symlink("phony", dir.join(NAME)).unwrap();
                },
                Some(false),
            ),
        ];
        for (at, (make, expected)) in table.into_iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            make(dir.path());
            let found = find(folder(dir.path()).as_fd());
            let shown = match &found {
                Ok(None) => None,
                Ok(Some(_)) => Some(true),
                Err(_) => Some(false),
            };
            assert_eq!(shown, expected, "case {at}: {found:?}");
        }
    }

    #[tokio::test]
    async fn a_socket_is_seen_when_it_comes() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = folder(dir.path());
        let function = async {
            tokio::task::yield_now().await;
            std::fs::create_dir(dir.path().join(FOLDER)).unwrap();
            tokio::task::yield_now().await;
            let listener = tokio::net::UnixListener::bind(dir.path().join("iofs/phony")).unwrap();
            symlink("phony", dir.path().join("iofs").join(NAME)).unwrap();
            listener
        };
        let (socket, listener) = tokio::join!(wait(&scratch), function);
        let socket = socket.unwrap();
        let (dialed, accepted) = tokio::join!(tokio::net::UnixStream::connect(path(socket.as_fd())), listener.accept());
        assert!(dialed.is_ok() && accepted.is_ok());
    }
}
