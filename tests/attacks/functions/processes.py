"""Attacks on processes and namespaces (numbers 13 to 21)."""
import ctypes
import os
import signal
import sys
import threading
import time

from attack import libc, name_of, syscall, tried


def list_proc(event):
    own = {os.getpid(), os.getppid()}
    numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    steps = {"number": "few" if len(numbers) <= 4 else "many: %r" % numbers}
    for number in numbers:
        try:
            line = open("/proc/%d/cmdline" % number).read()
        except OSError:
            continue
        if "sonagi" in line or "systemd" in line or "cargo" in line:
            steps[str(number)] = "of the host: " + line
    return steps


def kills(event):
    steps = {"init": tried(lambda: os.kill(1, signal.SIGKILL))}
    if os.getppid() > 1:
        steps["parent"] = tried(lambda: os.kill(os.getppid(), signal.SIGKILL))
    mine = {int(name) for name in os.listdir("/proc/self/task")} | {os.getpid()}
    reached = [number for number in range(2, 32769) if number not in mine and tried(lambda: os.kill(number, 0)) == "done"]
    steps["others"] = "none" if not reached else "reached: %r" % reached[:5]
    steps["host numbers"] = tried(lambda: os.kill(event["daemon"], signal.SIGKILL)) if event["daemon"] not in mine else "ESRCH"
    return steps


def spy(event):
    null = ctypes.c_void_p()
    steps = {"ptrace %d" % number: syscall(101, 16, number, null, null) for number in {1, os.getppid() or 1}}
    steps["traceme"] = syscall(101, 0, 0, null, null)
    steps["readv"] = syscall(310, 1, null, 0, null, 0, 0)
    steps["writev"] = syscall(311, 1, null, 0, null, 0, 0)
    steps["pidfd_getfd"] = syscall(438, 0, 0, 0)
    for name in ["mem", "environ", "maps", "syscall"]:
        steps[name] = tried(lambda: open("/proc/1/" + name, "rb").read(1))
    for name in ["root", "cwd", "exe"]:
        steps[name] = tried(lambda: os.readlink("/proc/1/" + name))
    return steps


def fork_bomb(event):
    children, end, came = [], time.monotonic() + 20, "no end"
    while time.monotonic() < end:
        try:
            child = os.fork()
        except OSError as error:
            came = name_of(error.errno)
            break
        if child == 0:
            signal.pause()
            os._exit(0)
        children.append(child)
        if len(children) > 5000:
            break
    for child in children:
        os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
    return {"fork": came}


def thread_bomb(event):
    threading.stack_size(65536)
    stop, came, threads = threading.Event(), "no end", []
    for _ in range(5000):
        thread = threading.Thread(target=stop.wait, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            came = "refused"
            break
        threads.append(thread)
    stop.set()
    for thread in threads:
        thread.join()
    return {"threads": came}


def daemonize(event):
    if os.fork() == 0:
        os.setsid()
        for number in [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]:
            signal.signal(number, signal.SIG_IGN)
        if os.fork() == 0:
            os.execv(sys.executable, [sys.executable, "-c", "while True: pass", event["mark"]])
        os._exit(0)
    os.wait()
    return {"daemon": "started"}


def zombies(event):
    def count():
        return len([name for name in os.listdir("/proc") if name.isdigit()])

    base = count()
    for _ in range(event["many"] // 100):
        child = os.fork()
        if child == 0:
            for _ in range(100):
                if os.fork() == 0:
                    os._exit(0)
            os._exit(0)
        os.waitpid(child, 0)
    end = time.monotonic() + 5
    while count() > base and time.monotonic() < end:
        time.sleep(0.01)
    return {"zombies": "reaped" if count() <= base else "%d left" % (count() - base)}


def sleep_on(event):
    time.sleep(600)


def spin_on(event):
    while True:
        pass


def namespaces(event):
    null = ctypes.c_void_p()
    flags = {"mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000,
             "pid": 0x20000000, "net": 0x40000000, "time": 0x80}
    steps = {}
    for name, flag in flags.items():
        steps["unshare " + name] = syscall(272, flag)
        if name != "time":
            steps["clone " + name] = syscall(56, ctypes.c_ulong(flag | 17), null, null, null, null)
    steps["unshare user and all"] = syscall(272, 0x7E020000)
    for name in os.listdir("/proc/self/ns"):
        steps["setns " + name] = tried(lambda: enter("/proc/self/ns/" + name))
    return steps


def enter(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if libc.syscall(308, descriptor, 0) < 0:
            raise OSError(ctypes.get_errno(), path)
    finally:
        os.close(descriptor)


def clone3(event):
    return {"clone3": syscall(435, (ctypes.c_ulong * 11)(0x10000000, 0, 0, 0, 17), 88)}
