"""Attacks on files (numbers 1 to 12)."""
import ctypes
import os
import shutil
import stat
import subprocess
import sys
import uuid

from attack import in_child, libc, syscall, tried


def host_files(event):
    steps = {path: tried(lambda: open(path).read()) for path in
             ["/etc/shadow", "/etc/ssh/sshd_config", "/etc/ssh/ssh_host_ed25519_key", event["data"] + "/token"]}
    for path in ["/root", "/home", "/var/lib", "/run", "/boot", "/mnt", "/media", "/srv", "/var/log", event["data"]]:
        # A folder above the interpreter's own prefix may be there; then nothing else is in it.
        steps[path] = tried(lambda: os.listdir(path))
        if steps[path] == "done" and all(sys.prefix.startswith(os.path.join(path, name)) for name in os.listdir(path)):
            steps[path] = "ENOENT"
    return steps


def write_code(event):
    folders = ["/", "/usr/bin", "/usr/lib", "/var/task", "/opt", "/etc", "/dev", "/proc", "/var", sys.prefix,
               os.path.dirname(os.__file__), os.path.join(os.path.dirname(os.__file__), "__pycache__")]
    return {folder: tried(lambda: open(os.path.join(folder, "attack"), "w")) for folder in folders}


def append_etc(event):
    return {path: tried(lambda: open(path, "a").write("x::0:0::/:/bin/sh\n")) for path in
            ["/etc/passwd", "/etc/group", "/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf"]}


def walk(event):
    found = {}
    for folder, folders, files in os.walk("/"):
        if folder.startswith("/proc"):
            folders.clear()
            continue
        for name in files:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISSOCK(mode) or name.endswith((".db", ".sqlite")) or name in ("token", "endpoint"):
                found[path] = "found"
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                found[path] = "privileged program"
    for line in open("/proc/self/mountinfo"):
        for word in ("attack-", "neighbor", "000000000000"):
            if word in line.split()[3]:
                found[line] = "telling source"
    return found or {"walk": "nothing"}


def setuid(event):
    copy = "/tmp/sh-" + uuid.uuid4().hex
    shutil.copy("/bin/sh", copy)
    steps = {"chmod": tried(lambda: os.chmod(copy, 0o6755))}
    ran = subprocess.run([copy, "-p", "-c", "while read a b c d; do case $a in Uid:) echo $b $c;; esac; done < /proc/self/status"],
                         capture_output=True, text=True)
    steps["uids"] = "same" if ran.stdout.split() == [str(os.getuid())] * 2 else "changed: %r" % ran
    steps["su"] = tried(lambda: os.execv("/usr/bin/su", ["su"]))
    return steps


def devices(event):
    steps = {}
    for kind, name in [(stat.S_IFBLK, "block"), (stat.S_IFCHR, "char")]:
        steps[name] = tried(lambda: os.mknod("/tmp/" + uuid.uuid4().hex, kind | 0o666, os.makedev(1, 3)))
    for name in ["mem", "kmem", "kmsg", "kvm", "fuse", "sda", "vda", "net/tun", "loop0", "loop-control", "ptmx", "port"]:
        steps[name] = tried(lambda: open("/dev/" + name, "rb"))
    return steps


def symlink(event):
    link = "/tmp/" + uuid.uuid4().hex
    os.symlink("/etc/shadow", link)
    os.symlink(event["data"] + "/token", link + "2")
    return {"shadow": tried(lambda: open(link).read()), "token": tried(lambda: open(link + "2").read())}


def handles(event):
    class Handle(ctypes.Structure):
        _fields_ = [("size", ctypes.c_uint), ("kind", ctypes.c_int), ("bytes", ctypes.c_ubyte * 8)]

    folder = os.open("/", os.O_RDONLY)
    steps = {}
    for inode in [2, 128, 12, 64]:
        handle = Handle(8, 1)
        handle.bytes[0] = inode
        steps["inode %d" % inode] = syscall(304, folder, ctypes.byref(handle), os.O_RDONLY)
    steps["name"] = syscall(303, folder, b"etc", ctypes.byref(Handle(8, 1)), ctypes.byref(ctypes.c_int()), 0)
    os.close(folder)
    return steps


def runtime_binary(event):
    steps = {}
    for path in ["/proc/self/exe", "/proc/1/exe", "/proc/%d/exe" % os.getppid()]:
        for flags in [os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC]:
            steps["%s %d" % (path, flags)] = tried(lambda: os.close(os.open(path, flags)))
        steps[path + " append"] = tried(lambda: open(path, "ab"))
    try:
        child = subprocess.Popen(["/proc/self/exe", "-c", "input()"], stdin=subprocess.PIPE)
    except PermissionError:
        # A kernel with landlock does not even run it by that name: /proc is no place to run programs from.
        steps["run"] = "EACCES"
        return steps
    steps["while it runs"] = tried(lambda: open("/proc/%d/exe" % child.pid, "r+b"))
    child.kill()
    child.wait()
    return steps


def descriptors(event):
    steps = {}
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError:
            continue
        if stat.S_ISDIR(mode):
            steps[name] = "folder " + os.readlink("/proc/self/fd/" + name)
        steps[name + " up"] = tried(lambda: os.stat("../../../../etc/shadow", dir_fd=descriptor))
        steps[name + " chdir"] = tried(lambda: os.fchdir(descriptor))
    os.chdir("/var/task")
    return steps


def mounts(event):
    folder = "/tmp/" + uuid.uuid4().hex
    os.mkdir(folder)
    null = ctypes.c_void_p()
    steps = {
        "chroot": tried(lambda: os.chroot(folder)),
        "pivot_root": syscall(155, b".", b"."),
        "umount proc": syscall(166, b"/proc", 2),
        "umount tmp": syscall(166, b"/tmp", 2),
        "remount": syscall(165, b"none", b"/", null, ctypes.c_ulong(0x20), null),
        "remount bind": syscall(165, b"none", b"/var/task", null, ctypes.c_ulong(0x1020), null),
        "bind": syscall(165, b"/", folder.encode(), null, ctypes.c_ulong(0x1000), null),
        "tmpfs": syscall(165, b"none", folder.encode(), b"tmpfs", ctypes.c_ulong(0), null),
        "proc": syscall(165, b"none", folder.encode(), b"proc", ctypes.c_ulong(0), null),
        "cgroup": syscall(165, b"none", folder.encode(), b"cgroup2", ctypes.c_ulong(0), null),
        "open_tree": syscall(428, -100, b"/", 1),
        "move_mount": syscall(429, -100, b"/", -100, folder.encode(), 0),
        "fsopen": syscall(430, b"tmpfs", 0),
        "fspick": syscall(433, -100, b"/", 0),
        "mount_setattr": syscall(442, -100, b"/", 0, null, 0),
    }
    os.rmdir(folder)
    return steps


def links(event):
    mine = "/tmp/" + uuid.uuid4().hex
    open(mine, "w").close()
    return {
        "link out": tried(lambda: os.link("/var/task/attack.py", mine + "l")),
        "link in": tried(lambda: os.link(mine, "/var/task/l")),
        "rename out": tried(lambda: os.rename("/var/task/attack.py", mine + "r")),
        "rename in": tried(lambda: os.rename(mine, "/var/task/attack.py")),
        "link shm": tried(lambda: os.link(mine, "/dev/shm/" + uuid.uuid4().hex)),
        "unlink": tried(lambda: os.unlink("/var/task/attack.py")),
    }


def leave_file(event):
    seen = "there" if os.path.exists("/tmp/left-by-another") else "gone"
    open("/tmp/left-by-another", "w").write("#!/bin/sh\n")
    os.chmod("/tmp/left-by-another", 0o755)
    return {"earlier file": seen}
