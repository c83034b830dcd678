//! The filter on the kernel of this host.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops, wherever it is")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use rustix::net::{AddressFamily, Protocol, SocketType};
use rustix::thread::UnshareFlags;
use sonagi_sandbox_linux::seccomp;

/// Runs `body` in a thread that is confined. The filter is the thread's own and ends with it.
fn confined<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            seccomp::confine_thread().expect("the kernel takes the program");
            body()
        });
        thread.join().unwrap()
    })
}

fn socket(family: u16, kind: u32, protocol: u32) -> Result<(), Errno> {
    let protocol = std::num::NonZeroU32::new(protocol).map(Protocol::from_raw);
    rustix::net::socket(AddressFamily::from_raw(family), SocketType::from_raw(kind), protocol).map(drop)
}

#[test]
fn refused_calls_fail_as_the_table_says() {
    let dir = tempfile::tempdir().unwrap();
    let node = dir.path().join("node");
    confined(|| {
        assert_eq!(
            rustix::mount::mount("none", "/mnt", "tmpfs", MountFlags::empty(), None),
            Err(Errno::PERM)
        );
        assert_eq!(
            rustix::mount::fsopen("tmpfs", rustix::mount::FsOpenFlags::empty()).err(),
            Some(Errno::PERM)
        );
        assert_eq!(rustix::process::chroot("/"), Err(Errno::PERM));
        for flag in [UnshareFlags::NEWUSER, UnshareFlags::NEWNET, UnshareFlags::FILES] {
            // Names of the library differ by version; all end in the same call.
            assert_eq!(unshare(flag), Err(Errno::PERM), "{flag:?}");
        }
        assert_eq!(rustix::system::sethostname(b"x"), Err(Errno::PERM));
        for kind in [FileType::CharacterDevice, FileType::BlockDevice] {
            assert_eq!(
                rustix::fs::mknodat(CWD, &node, kind, Mode::RUSR, 0),
                Err(Errno::PERM),
                "{kind:?}"
            );
        }
        rustix::fs::mknodat(CWD, &node, FileType::Fifo, Mode::RUSR, 0).unwrap();
        for family in [17, 38, 40, 44, 9, 15, 30, 31] {
            assert_eq!(socket(family, 3, 0), Err(Errno::AFNOSUPPORT), "{family}");
        }
        assert_eq!(socket(2, 3, 1), Err(Errno::PERM), "raw");
        assert_eq!(socket(2, 1, 262), Err(Errno::PROTONOSUPPORT), "multipath TCP");
        assert_eq!(socket(16, 3, 12), Err(Errno::PROTONOSUPPORT), "netfilter");
        for (family, kind) in [(1, 1), (2, 1), (10, 2), (16, 3)] {
            // A host without IPv6 says so itself.
            assert!(
                matches!(socket(family, kind, 0), Ok(()) | Err(Errno::AFNOSUPPORT)) || family != 10,
                "{family}"
            );
        }
    });
}

#[expect(deprecated, reason = "safe here: the call is refused and nothing is unshared")]
fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    rustix::thread::unshare(flags)
}

/// Makes each call that it is told the number of, with zeros, and prints what came of it.
const CALLS: &str = "
import ctypes, sys
library = ctypes.CDLL(None, use_errno=True)
for number in sys.argv[1].split():
    ctypes.set_errno(0)
    result = library.syscall(int(number), 0, 0, 0, 0, 0, 0)
    print(number, result, ctypes.get_errno())
";

/// Numbers that newer kernels keep from every filter, for debuggers: `uretprobe` and `uprobe` of x86-64. Elsewhere than in
/// code that the kernel has put there itself they end the process (SIGILL). Seen on Linux 6.18.
const UNFILTERED: [u32; 2] = [335, 336];

#[test]
fn the_kernel_refuses_every_number_that_the_table_refuses() {
    let mut table: Vec<_> = seccomp::refused().collect();
    if cfg!(target_arch = "x86_64") {
        table.retain(|(number, _)| !UNFILTERED.contains(number));
    }
    let numbers: Vec<String> = table.iter().map(|(number, _)| number.to_string()).collect();
    let output = confined(|| Command::new("python3").args(["-c", CALLS, &numbers.join(" ")]).output()).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let expected: Vec<String> = (table.iter())
        .map(|(number, errno)| match errno {
            Some(errno) => format!("{number} -1 {}", errno.raw_os_error()),
            None => format!("{number} 0 0"),
        })
        .collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{output:?}");
    // Of about 470 numbers, holes included, a good part is refused.
    assert!(expected.len() > 100, "{} numbers", expected.len());
}

#[test]
fn flushing_the_host_is_a_pretence() {
    let file = tempfile::tempfile().unwrap();
    confined(|| {
        rustix::fs::sync();
        rustix::fs::syncfs(&file).unwrap();
        rustix::fs::fsync(&file).unwrap();
    });
}

#[test]
fn ordinary_programs_go_on() {
    let dir = tempfile::tempdir().unwrap();
    confined(|| {
        // A thread: the C library tries clone3 first.
        assert_eq!(std::thread::spawn(|| 7).join().unwrap(), 7);
        // A process with output.
        let output = Command::new("/bin/sh")
            .args(["-c", "echo $((6 * 7)); echo err >&2"])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "42\n");
        // Files.
        let path = dir.path().join("file");
        File::create(&path).unwrap().write_all(b"text").unwrap();
        fs::rename(&path, dir.path().join("other")).unwrap();
        assert_eq!(fs::read(dir.path().join("other")).unwrap(), b"text");
        // Loopback TCP.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(b"x").unwrap();
        let mut got = [0];
        listener.accept().unwrap().0.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"x");
    });
}

#[test]
fn what_a_confined_thread_starts_is_confined() {
    let output = confined(|| {
        Command::new("/usr/bin/env")
            .args(["unshare", "--mount", "true"])
            .env_clear()
            .env("PATH", "/usr/bin")
            .output()
    })
    .unwrap();
    assert!(!output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("Operation not permitted"),
        "{output:?}"
    );
}
