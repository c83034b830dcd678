//! What a function sees, and what it may do.

use std::collections::HashSet;
use std::fs;

use sonagi_model::Mebibytes;

use sonagi_sandbox_linux::{Options, ProcView};

use crate::node::{on_node, on_node_with, read_line};

crate::tests![
    it_has_no_rights,
    every_instance_has_a_user_of_its_own,
    it_sees_its_own_processes_only,
    nothing_of_the_host_is_there,
    nothing_but_scratch_can_be_written,
    landlock_says_it_again,
    it_has_three_descriptors,
    proc_tells_about_the_instance,
    strict_proc_shows_processes_only,
    it_is_in_namespaces_of_its_own,
    it_cannot_change_its_mounts,
    it_cannot_reach_its_init,
    the_network_is_the_loopback_interface,
];

fn it_has_no_rights() {
    on_node(|node| async move {
        let status = node
            .output("grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status; id -u; id -g; umask")
            .await;
        let mut sets = 0;
        for line in status.lines() {
            if let Some((name, value)) = line.split_once(":\t") {
                match name {
                    "NoNewPrivs" => assert_eq!(value, "1"),
                    "Seccomp" => assert_eq!(value, "2"),
                    "Groups" => assert_eq!(value.trim(), ""),
                    set => {
                        assert_eq!(value, "0000000000000000", "{set}");
                        sets += 1;
                    }
                }
            }
        }
        assert_eq!(sets, 5, "{status}");
        assert!(status.ends_with("1000\n1000\n0022\n"), "{status}");
    });
}

fn every_instance_has_a_user_of_its_own() {
    on_node(|node| async move {
        let mut users = HashSet::new();
        let mut kept = Vec::new();
        for _ in 0..3 {
            let started = node
                .start(node.plan("cat /proc/self/uid_map /proc/self/gid_map; sleep 1000"))
                .await
                .unwrap();
            let (line, pipe) = read_line(started.output).await;
            let mut numbers = line.split_whitespace();
            assert_eq!(
                (numbers.next(), numbers.clone().nth(1)),
                (Some("1000"), Some("1")),
                "{line}"
            );
            let user: u32 = numbers.next().unwrap().parse().unwrap();
            assert!((1_000_000_000..2_000_000_000).contains(&user), "{user}");
            assert!(users.insert(user), "{user} twice");
            kept.push((started.sandbox, pipe));
        }
        for (sandbox, _) in kept {
            sandbox.destroy().await;
        }
        let again = node.output("cat /proc/self/uid_map").await;
        let user: u32 = again.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(
            !users.contains(&user),
            "one that was just given back is used again last"
        );
    });
}

fn it_sees_its_own_processes_only() {
    on_node(|node| async move {
        let seen = node
            .output("echo $$; echo /proc/[0-9]*; kill -9 1; sleep 0; kill -0 1 || echo refused")
            .await;
        // The init is the first process; it belongs to somebody else and cannot be seen or signalled.
        assert!(seen.starts_with("2\n/proc/2\n"), "{seen}");
        assert!(seen.ends_with("refused\n"), "{seen}");
    });
}

fn nothing_of_the_host_is_there() {
    on_node(|node| async move {
        let names = node
            .output("echo /* /etc/* /dev/* /home/* /root/* /var/* /run/*; hostname; cat /etc/hostname")
            .await;
        assert_eq!(
            names,
            "/bin /dev /etc /lib /lib64 /opt /proc /sbin /tmp /usr /var \
             /etc/group /etc/hostname /etc/hosts /etc/nsswitch.conf /etc/passwd /etc/resolv.conf \
             /dev/fd /dev/full /dev/null /dev/random /dev/shm /dev/stderr /dev/stdin /dev/stdout /dev/urandom /dev/zero \
             /home/* /root/* /var/task /run/*\nsonagi\nsonagi\n"
        );
        let mounts = node.output("cat /proc/self/mountinfo").await;
        // Sources are seen: that of the code, but nothing else of the node's folder.
        let folder = node.folder.path().to_str().unwrap();
        let shown: Vec<_> = mounts.lines().filter(|line| line.contains(folder)).collect();
        assert_eq!(shown.len(), 1, "{mounts}");
        assert!(shown[0].contains(" /var/task ro,nosuid,nodev"), "{}", shown[0]);
        for line in mounts
            .lines()
            .filter(|line| !line.contains(" /tmp ") && !line.contains(" /dev/shm "))
        {
            let writable_proc = line.contains(" /proc rw,");
            assert!(line.contains(" ro,") || writable_proc, "can be written: {line}");
            assert!(line.contains("nosuid"), "{line}");
        }
    });
}

fn nothing_but_scratch_can_be_written() {
    on_node(|node| async move {
        fs::write(node.code.join("file"), "content").unwrap();
        let program = "
import os
for path in ['/x', '/usr/x', '/usr/bin/x', '/var/x', '/var/task/x', '/var/task/file', '/etc/passwd', '/etc/x', '/dev/x',
             '/proc/sys/kernel/core_pattern', '/proc/meminfo', '/tmp/x', '/dev/shm/x']:
    try:
        with open(path, 'a') as file: file.write('x')
        print(path, 'written')
    except OSError as error:
        print(path, error.strerror)
os.mkfifo('/tmp/fifo')
try: os.mknod('/tmp/device', 0o666 | 0o020000, os.makedev(1, 3))
except OSError as error: print('device', error.strerror)
";
        let expected = [
            "/x Read-only file system",
            "/usr/x Read-only file system",
            "/usr/bin/x Read-only file system",
            "/var/x Read-only file system",
            "/var/task/x Read-only file system",
            "/var/task/file Permission denied",
            "/etc/passwd Permission denied",
            "/etc/x Read-only file system",
            "/dev/x Read-only file system",
            "/proc/sys/kernel/core_pattern Permission denied",
            "/proc/meminfo Permission denied",
            "/tmp/x written",
            "/dev/shm/x written",
            "device Operation not permitted",
        ];
        assert_eq!(node.python(program).await.lines().collect::<Vec<_>>(), expected);
        assert_eq!(fs::read_to_string(node.code.join("file")).unwrap(), "content");
        assert_eq!(
            node.output("ls /tmp /dev/shm | wc -l").await,
            "3\n",
            "the next instance finds nothing"
        );
    });
}

/// What no mount and no user id refuses, and Landlock does. Where the kernel has none, the same is allowed.
fn landlock_says_it_again() {
    on_node(|node| async move {
        let program = "
import ctypes, errno, fcntl, os, socket
version = ctypes.CDLL(None).syscall(444, None, 0, 1)
def tried(action):
    try: action(); return 'done'
    except OSError as error: return errno.errorcode[error.errno]
def write(path):
    with open(path, 'w') as file: file.write('x')
print(tried(lambda: write('/proc/self/comm')) == ('EACCES' if version >= 2 else 'done'))
os.makedirs('/tmp/a/b'); write('/tmp/a/b/file'); os.rename('/tmp/a/b/file', '/tmp/file'); os.link('/tmp/file', '/tmp/a/link')
os.truncate('/tmp/file', 0); os.remove('/tmp/file'); os.rmdir('/tmp/a/b'); os.symlink('x', '/tmp/link'); os.mkfifo('/tmp/fifo')
socket.socket(socket.AF_UNIX).bind('/tmp/socket'); socket.socket(socket.AF_UNIX).bind('\\0abstract')
for device in ('null', 'zero', 'full', 'random', 'urandom'): open('/dev/' + device, 'rb').close()
write('/dev/null'); write('/dev/shm/x'); write('/dev/stderr')
child = os.fork()
if child == 0:
    import time; time.sleep(60)
os.kill(child, 9); print(os.waitpid(child, 0)[1])
";
        assert_eq!(node.python(program).await, "xTrue\n9\n");
    });
}

fn it_has_three_descriptors() {
    on_node(|node| async move {
        let program = "
import os
own = os.open('/proc/self/fd', os.O_RDONLY)
names = [name for name in os.listdir('/proc/self/fd') if name != str(own)]
print([(name, os.readlink('/proc/self/fd/' + name).split(':')[0]) for name in names if int(name) < own])
print(os.getsid(0) == os.getpid())
";
        assert_eq!(
            node.python(program).await,
            "[('0', '/dev/null'), ('1', 'pipe'), ('2', 'pipe')]\nTrue\n"
        );
    });
}

fn proc_tells_about_the_instance() {
    on_node(|node| async move {
        let mut plan =
            node.plan("head -1 /proc/meminfo; cat /proc/uptime /proc/loadavg; grep -c ^processor /proc/cpuinfo");
        plan.limits.memory = Mebibytes(100);
        let output = node.run_plan(plan).await.output;
        let processors = std::thread::available_parallelism().unwrap();
        assert_eq!(
            output,
            format!("MemTotal:         102400 kB\n1.00 1.00\n0.00 0.00 0.00 1/1 1\n{processors}\n")
        );
        let masked = node
            .output("cat /proc/kallsyms /proc/interrupts /proc/keys /proc/config.gz 2>/dev/null | wc -c; ls /proc/acpi | wc -l")
            .await;
        assert_eq!(masked, "0\n0\n");
        assert_eq!(
            node.output("cat /proc/self/cgroup | cut -d: -f3 | sort -u").await,
            "/\n"
        );
    });
}

/// With Python, which asks for processors and memory in three ways, and with Node.js where the host has it.
fn strict_proc_shows_processes_only() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        proc_view: ProcView::Strict,
        ..Options::new(folder.path())
    };
    on_node_with(folder, &options, |node| async move {
        let program = "
import os
print([name for name in os.listdir('/proc') if not name.isdigit()])
print(os.cpu_count() > 0, os.sysconf('SC_NPROCESSORS_ONLN') > 0, os.sysconf('SC_PHYS_PAGES') > 0)
print(os.path.exists('/proc/meminfo'), os.path.exists('/proc/sys'), open('/proc/self/comm').read().strip())
";
        let seen = node.python(program).await;
        assert!(
            seen.starts_with("['self', 'thread-self']\nTrue True True\nFalse False python3"),
            "{seen}"
        );
        if fs::exists("/usr/bin/node").unwrap() {
            let script = "console.log(require('os').cpus().length, require('os').totalmem() > 0)";
            assert_eq!(node.output(&format!("node -e \"{script}\"")).await, "0 true\n");
        }
    });
}

fn it_is_in_namespaces_of_its_own() {
    on_node(|node| async move {
        let inside = node
            .output("for n in mnt pid net ipc uts cgroup user; do readlink /proc/self/ns/$n; done")
            .await;
        assert_eq!(inside.lines().count(), 7);
        for line in inside.lines() {
            let name = line.split(':').next().unwrap();
            let ours = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
            assert_ne!(ours.to_str().unwrap(), line);
        }
        // Namespaces of a second one differ from those of the first.
        let other = node
            .output("for n in mnt pid net ipc uts cgroup user; do readlink /proc/self/ns/$n; done")
            .await;
        assert!(inside.lines().zip(other.lines()).filter(|(a, b)| a == b).count() <= 7);
    });
}

fn it_cannot_change_its_mounts() {
    on_node(|node| async move {
        let program = "
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def said(name, result): print(name, os.strerror(ctypes.get_errno()) if result else 'done')
said('mount', libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))
said('remount', libc.mount(None, b'/', None, 32, None))
said('umount', libc.umount2(b'/proc', 2))
said('unshare', libc.unshare(0x10000000))
said('chroot', libc.chroot(b'/tmp'))
said('pivot_root', libc.syscall(155, b'/tmp', b'/tmp'))
said('setns', libc.setns(os.open('/proc/self/ns/mnt', 0), 0))
said('sethostname', libc.sethostname(b'x', 1))
";
        let denied = "Operation not permitted";
        let expected: Vec<_> = [
            "mount",
            "remount",
            "umount",
            "unshare",
            "chroot",
            "pivot_root",
            "setns",
            "sethostname",
        ]
        .map(|name| format!("{name} {denied}"))
        .to_vec();
        assert_eq!(node.python(program).await.lines().collect::<Vec<_>>(), expected);
    });
}

fn it_cannot_reach_its_init() {
    on_node(|node| async move {
        let tried = node
            .output("for f in mem environ root cwd exe maps; do head -c1 /proc/1/$f 2>&1; done; true")
            .await;
        assert_eq!(tried.matches("No such file or directory").count(), 6, "{tried}");
        assert_eq!(tried.lines().count(), 6, "{tried}");
    });
}

fn the_network_is_the_loopback_interface() {
    on_node(|node| async move {
        let program = "
import socket
print([name for _, name in socket.if_nameindex()])
for address in ('127.0.0.1', '10.0.0.1', '169.254.169.254'):
    s = socket.socket(); s.settimeout(5)
    print(address, s.connect_ex((address, 80)))
try: socket.getaddrinfo('example.com', 80)
except OSError as error: print(type(error).__name__)
s = socket.socket(); s.bind(('127.0.0.1', 8080)); print('bound')
";
        // ECONNREFUSED on the own loopback, ENETUNREACH elsewhere.
        assert_eq!(
            node.python(program).await,
            "['lo']\n127.0.0.1 111\n10.0.0.1 101\n169.254.169.254 101\ngaierror\nbound\n"
        );
    });
}
