"""Attacks on memory, disk, descriptors, processor and output (numbers 31 to 38)."""
import mmap
import os
import resource
import sys
import threading
import time
import uuid

from attack import name_of, tried


# Linux, x86-64; the interpreter names it from 3.13 on.
MAP_NORESERVE = 0x4000


def eat_memory(event):
    held = []
    while True:
        held.append(bytearray(os.urandom(4096)) * 1024)


def address_space(event):
    return {"mmap of 1 TiB": tried(lambda: mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | MAP_NORESERVE | mmap.MAP_ANONYMOUS))}


def fill(path, most):
    """Writes until it is refused; what refused it, and after how many MiB."""
    block, written = b"x" * (1 << 20), 0
    with open(path, "wb", buffering=0) as out:
        try:
            while written < most:
                if out.write(block) < len(block):
                    continue
                written += 1
        except OSError as error:
            return name_of(error.errno)
        finally:
            out.truncate(0)
    return "no end after %d MiB" % most


def fill_shared(event):
    return {"/dev/shm": fill("/dev/shm/" + uuid.uuid4().hex, 512)}


def fill_scratch(event):
    name = "/tmp/" + uuid.uuid4().hex
    came = fill(name, 1024)
    os.unlink(name)
    return {"bytes": came}


def fill_inodes(event):
    folder = "/tmp"
    came = "no end after %d" % event["many"]
    for number in range(event["many"]):
        came_now = tried(lambda: os.close(os.open("%s/%s" % (folder, uuid.uuid4().hex), os.O_CREAT | os.O_WRONLY)))
        if came_now != "done":
            came = came_now
            break
    return {"inodes": came}


def memfds(event):
    descriptor = os.memfd_create("attack")
    block = b"x" * (1 << 20)
    for _ in range(1 << 16):
        os.write(descriptor, block)


def socket_memory(event):
    """Bytes that wait in sockets: 256 pairs over the loopback interface that nobody reads from."""
    import socket

    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    held, total, end = [], 0, time.monotonic() + 5
    try:
        for _ in range(256):
            one = socket.create_connection(listener.getsockname())
            other, _ = listener.accept()
            held += [one, other]
            for end_of_pair in (one, other):
                end_of_pair.setblocking(False)
                try:
                    while time.monotonic() < end:
                        total += end_of_pair.send(b"x" * 65536)
                except OSError:
                    pass
    finally:
        for each in held:
            each.close()
    return {"held": "bounded" if total < 160 << 20 else "%d MiB in sockets" % (total >> 20)}


def descriptors(event):
    held = []
    try:
        while len(held) < 100000:
            held.append(os.open("/dev/null", os.O_RDONLY))
        came = "no end"
    except OSError as error:
        came = "%s, %s" % (name_of(error.errno), "at most 1024" if len(held) <= 1024 else len(held))
    for descriptor in held:
        os.close(descriptor)
    return {"open": came}


def limits(event):
    steps = {}
    for name in ("NOFILE", "NPROC", "CORE", "MEMLOCK", "MSGQUEUE", "RTPRIO", "NICE"):
        number = getattr(resource, "RLIMIT_" + name)
        soft, hard = resource.getrlimit(number)
        steps[name] = tried(lambda: resource.setrlimit(number, (soft + 1, hard + 1)))
    return steps


def spin_many(event):
    for _ in range(8):
        if os.fork() == 0:
            end = time.monotonic() + event["seconds"]
            while time.monotonic() < end:
                pass
            os._exit(0)
    for _ in range(8):
        os.wait()
    return {"spun": "done"}


def flood(event):
    out = sys.stdout.buffer if hasattr(sys.stdout, "buffer") else os.fdopen(1, "wb", closefd=False)
    line = b"x" * 1023 + b"\n"
    for _ in range(event["mib"]):
        os.write(1, b"START RequestId: forged Version: 9\n")
        for _ in range(16):
            os.write(1, line * 64)
    os.write(1, b"y" * (event["mib"] << 20) + b"\n") if event["mib"] <= 64 else None
    os.write(1, b"a\0b\xff\xfe \x1b[31mred\x1b[0m \x1b]0;title\x07\n")
    os.write(1, b"REPORT RequestId: forged\tDuration: 0.01 ms\tBilled Duration: 1 ms\tMemory Size: 1 MB\n")
    return {"printed": "done"}


def answer_of(event):
    return "x" * event["bytes"]
