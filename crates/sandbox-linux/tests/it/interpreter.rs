//! Interpreters of this host, run in a root that has nothing but their mounts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops, wherever it is")]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::LazyLock;

use sonagi_ports::{Interpreter, Interpreters, Language, Mount};
use sonagi_sandbox_linux::interpreter::{Host, HostInterpreters, Search};

/// Made once for all tests. The folder stays until the program ends.
static HOST: LazyLock<(tempfile::TempDir, HostInterpreters)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let host = HostInterpreters::open(folder.path(), &Search::of_environment(Vec::new())).unwrap();
    (folder, host)
});

/// What a cell has by itself, then the mounts, then the program as a user without rights.
const ENTER: &str = r#"
set -e
root=$1; shift
mount -t tmpfs -o mode=755 none "$root"
mkdir -p "$root/usr" "$root/proc" "$root/dev" "$root/etc"
mkdir -m 1777 "$root/tmp"
for name in bin sbin lib lib64; do ln -s "usr/$name" "$root/$name"; done
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
for name in null zero urandom; do : > "$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"; done
cp /etc/ld.so.cache "$root/etc/ld.so.cache"
while [ "$1" != -- ]; do
    mkdir -p "$root/$2"
    mount --bind "$1" "$root/$2"
    mount -o "remount,bind,ro,nosuid,nodev$3" "$root/$2"
    shift 3
done
shift
chroot=$(command -v chroot)
exec env -i $SET "$chroot" --userspec=1000:1000 "$root" "$@"
"#;

fn run(mounts: &[Mount], environment: &[(String, String)], command: &[&str]) -> Output {
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests mount: run them as root"
    );
    let root = tempfile::tempdir().unwrap();
    let mut enter = Command::new("unshare");
    enter
        .args(["--mount", "--pid", "--fork", "sh", "-c", ENTER, "sh"])
        .arg(root.path());
    for mount in mounts {
        enter
            .arg(&mount.source)
            .arg(&mount.target)
            .arg(if mount.executable { "" } else { ",noexec" });
    }
    let set: Vec<_> = environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    enter
        .arg("--")
        .args(command)
        .env("SET", set.join(" "))
        .output()
        .unwrap()
}

fn printed(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn all(language: Language) -> Vec<Interpreter> {
    let host = &HOST.1;
    let all = host
        .all()
        .into_iter()
        .filter(|interpreter| interpreter.language == language);
    // Found by its whole version, as its tree is made only then.
    all.map(|interpreter| host.find(language, &interpreter.version).unwrap())
        .collect()
}

const PYTHON: &str = "
import sys, json, ssl, sqlite3, ctypes, decimal, hashlib, lzma, bz2, uuid, asyncio, subprocess, multiprocessing
paths = ssl.get_default_verify_paths()
context = ssl.create_default_context()
try:
    import zoneinfo
    zoneinfo.ZoneInfo('Asia/Seoul')
except ModuleNotFoundError:
    assert sys.version_info < (3, 9)
assert sqlite3.connect(':memory:').execute('select 42').fetchone() == (42,)
assert ctypes.CDLL(None).getpid() > 0
assert subprocess.check_output(['/bin/sh', '-c', 'echo ok']) == b'ok\\n'
import importlib.util
assert importlib.util.find_spec('pip') is None, 'packages of the host are visible'
stale = [m.__name__ for m in list(sys.modules.values()) if getattr(m, '__cached__', None) and not __import__('os').path.exists(m.__cached__)]
print('.'.join(map(str, sys.version_info[:3])), len(context.get_ca_certs()) > 50 or bool(paths.cafile), len(stale))
";

#[test]
fn every_python_runs_with_its_mounts_alone() {
    let found = all(Language::Python);
    assert!(!found.is_empty(), "these tests need a CPython 3 on the host");
    for python in found {
        let output = run(&python.mounts, &python.environment, &[&python.program, "-c", PYTHON]);
        assert_eq!(
            printed(&output),
            format!("{} True 0", python.version),
            "{}",
            python.program
        );
        assert!(python.mounts.len() <= 3, "{:?}", python.mounts);
    }
}

#[test]
fn every_node_runs_with_its_mounts_alone() {
    let found = all(Language::Node);
    assert!(!found.is_empty(), "these tests need a Node.js on the host");
    for node in found {
        let script = "const c = require('crypto'), z = require('zlib'), cp = require('child_process');
            z.gunzipSync(z.gzipSync('x')); c.createHash('sha256').update('x').digest('hex');
            if (cp.execSync('echo ok').toString() !== 'ok\\n') throw 1;
            require('tls').createSecureContext();
            console.log(process.versions.node, new Intl.DateTimeFormat('ko', {timeZone: 'Asia/Seoul'}).format(0) !== '')";
        let output = run(&node.mounts, &node.environment, &[&node.program, "-e", script]);
        assert_eq!(printed(&output), format!("{} true", node.version), "{}", node.program);
    }
}

#[test]
fn the_base_system_runs_shell_bootstraps() {
    let script = "set -e; printf 'a b\\n' | sed s/b/c/ | tr a A | cut -d' ' -f1,2 | grep A | tail -n 1 | head -c 3; \
                  mkdir /tmp/x; date -u +%Y > /tmp/x/y; cat /tmp/x/y > /dev/null; TZ=Asia/Seoul date > /dev/null; \
                  env true; sleep 0; test -s /etc/ssl/certs/ca-certificates.crt";
    let base = HOST.1.base_system();
    for shell in ["/bin/sh", "/usr/bin/bash"] {
        assert_eq!(printed(&run(base, &[], &[shell, "-c", script])), "A c", "{shell}");
    }
}

#[test]
fn a_shell_bootstrap_can_execute_an_interpreter() {
    let python = all(Language::Python).remove(0);
    let script = format!("exec {} -c 'print(6 * 7)'", python.program);
    assert_eq!(
        printed(&run(&python.mounts, &python.environment, &["/bin/sh", "-c", &script])),
        "42"
    );
}

#[test]
fn what_must_not_be_visible_is_not() {
    let python = all(Language::Python).remove(0);
    let script = "import os
for path in ['/root/.ssh', '/home', '/var', '/boot', '/etc/shadow', '/etc/passwd', '/usr/bin/su', '/usr/bin/mount', '/usr/bin/gcc', '/etc/ssl/private']:
    assert not os.path.exists(path), path
import sysconfig
library = sysconfig.get_path('stdlib')
assert not os.path.exists(library + '/site-packages') and not os.path.exists(library + '/test')
for folder, _, files in os.walk('/usr'):
    for name in files:
        found = os.lstat(os.path.join(folder, name))
        assert found.st_mode & 0o6000 == 0, name
print('ok')";
    assert_eq!(
        printed(&run(
            &python.mounts,
            &python.environment,
            &[&python.program, "-c", script]
        )),
        "ok"
    );
}

#[test]
fn the_folder_is_kept_and_cleaned() {
    let folder = tempfile::tempdir().unwrap();
    let search = Search {
        host: Host::Left,
        ..Search::default()
    };
    let first = HostInterpreters::open(folder.path(), &search).unwrap();
    assert!(first.all().is_empty() && first.find(Language::Python, "3").is_none());
    std::fs::create_dir(folder.path().join("new-1-draft")).unwrap();
    let again = HostInterpreters::open(folder.path(), &search).unwrap();
    assert_eq!(again.base_system(), first.base_system());
    let left: Vec<PathBuf> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(left.len(), 3, "{left:?}");
}
