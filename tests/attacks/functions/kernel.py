"""Attacks on the kernel's surface (numbers 22 to 30)."""
import ctypes
import errno
import fcntl
import os
import socket
import subprocess
import time

from attack import in_child, libc, name_of, syscall, tried

NULL = ctypes.c_void_p()


def rare_calls(event):
    calls = {"bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425, "keyctl": 250, "add_key": 248,
             "request_key": 249, "init_module": 175, "finit_module": 313, "kexec_load": 246, "reboot": 169, "swapon": 167,
             "acct": 163, "quotactl": 179, "syslog": 103, "vmsplice": 278, "fanotify_init": 300, "iopl": 172, "ioperm": 173,
             "memfd_secret": 447, "modify_ldt": 154, "lookup_dcookie": 212, "mbind": 237, "move_pages": 279, "kcmp": 312}
    return {name: syscall(number, 0, 0, 0, 0, 0, 0) for name, number in calls.items()}


def sockets(event):
    opened = []
    for family in range(51):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
            if family == 16:
                continue
            if tried(lambda: socket.socket(family, kind).close()) == "done":
                opened.append("%d/%d" % (family, kind))
    for protocol in range(22):
        if tried(lambda: socket.socket(16, socket.SOCK_RAW, protocol).close()) == "done":
            opened.append("netlink %d" % protocol)
    for name, kind, protocol in [("sctp", 1, 132), ("mptcp", 1, 262), ("dccp", 6, 33), ("icmp raw", 3, 1)]:
        if tried(lambda: socket.socket(2, kind, protocol).close()) == "done":
            opened.append(name)
    # A 32-bit family: the kernel looks at the lower half only.
    high = ctypes.c_ulong(0x100000000 + 38)
    allowed = {"1/1", "1/2", "1/3", "1/5", "2/1", "2/2", "10/1", "10/2", "netlink 0"}
    return {"opened": "only the allowed" if set(opened) <= allowed else repr(sorted(set(opened) - allowed)),
            "alg": tried(lambda: socket.socket(38, 5, 0)), "alg, high bits": syscall(41, high, 5, 0)}


def foreign_calls(event):
    return {kind: str(subprocess.run(["/var/task/foreign", kind]).returncode) for kind in ("int80", "x32")}


def personality(event):
    return {hex(flag): syscall(135, ctypes.c_ulong(flag)) for flag in (0x40000, 0x400000, 0x8, 0x100000)}


def push_input(event):
    steps = {}
    for request in (0x5412, 0x541C, 0x5423):
        for descriptor in (0, 1, 2):
            for high in (0, 1 << 32, 0xFFFFFFFF << 32):
                steps["%x %d %x" % (request, descriptor, high)] = syscall(16, descriptor, ctypes.c_ulong(request | high), b"x")
    return steps


def clocks(event):
    moment = (ctypes.c_long * 2)(1, 1)
    return {"settimeofday": syscall(164, moment, NULL), "clock_settime": syscall(227, 0, moment),
            "sethostname": syscall(170, b"x", 1), "setdomainname": syscall(171, b"x", 1)}


def settings(event):
    steps = {}
    for path in ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches",
                 "/proc/sys/kernel/modprobe", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/vm/overcommit_memory",
                 "/sys/fs/cgroup/release_agent", "/sys/kernel/uevent_helper", "/proc/self/oom_score_adj_x",
                 "/proc/sys/fs/binfmt_misc/register", "/proc/1/oom_score_adj", "/proc/irq/default_smp_affinity"]:
        steps[path] = tried(lambda: open(path, "w").write("0"))
    for path in ["/proc/kcore", "/proc/kallsyms", "/proc/keys", "/proc/timer_list", "/proc/kmsg", "/proc/slabinfo", "/proc/config.gz"]:
        steps[path] = read_nothing(path)
    for folder, _, files in os.walk("/sys"):
        if "release_agent" in files:
            steps[folder] = "release_agent"
    return steps


def read_nothing(path):
    try:
        return "done" if os.read(os.open(path, os.O_RDONLY), 64) else "empty"
    except OSError as error:
        return name_of(error.errno)


def every_call(event):
    came = {}
    for number in range(480):
        came[number] = in_child(lambda: libc.syscall(ctypes.c_long(number), 0, 0, 0, 0, 0, 0), 0.1)
    # By itself, by the alarm, or by a fault that a call without arguments brings its caller: all the process's own.
    expected = ("exit 0", "signal 4", "signal 6", "signal 11", "signal 14", "signal 31")
    odd = {number: end for number, end in came.items() if end not in expected}
    return {"ends": "as expected" if not odd else repr(odd)}


def rights(event):
    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

    held = (ctypes.c_uint32 * 6)()
    header = Header(0x20080522, 0)
    libc.syscall(125, ctypes.byref(header), held)
    steps = {"held": "none" if not any(held) else repr(list(held))}
    everything = (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)
    steps["capset"] = syscall(126, ctypes.byref(header), everything)
    steps["ambient"] = syscall(157, 47, 2, 21, 0, 0)
    for name, step in {"setuid": lambda: os.setuid(0), "setgid": lambda: os.setgid(0), "setgroups": lambda: os.setgroups([0]),
                       "setresuid": lambda: os.setresuid(0, 0, 0), "chown": own}.items():
        steps[name] = tried(step)
    open("/tmp/capable", "w").close()
    value = b"\x01\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0"
    steps["file capability"] = tried(lambda: os.setxattr("/tmp/capable", "security.capability", value))
    steps["trusted"] = tried(lambda: os.setxattr("/tmp/capable", "trusted.x", b"1"))
    return steps


def own():
    open("/tmp/owned", "w").close()
    os.chown("/tmp/owned", 0, 0)
