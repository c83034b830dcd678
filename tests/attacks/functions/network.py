"""Attacks over the network (numbers 39 to 44), and on what the platform tells (45, 48)."""
import fcntl
import os
import socket
import struct
import time

from attack import tried

REFUSALS = {"ECONNREFUSED", "ENETUNREACH", "EHOSTUNREACH", "EACCES", "EPERM", "EADDRNOTAVAIL", "TimeoutError", "ETIMEDOUT", "EINVAL", "EAFNOSUPPORT"}


def connect(host, port):
    return tried(lambda: socket.create_connection((host, port), 1).close())


def refused(came):
    return "refused" if came in REFUSALS else came


def host(event):
    steps = {}
    for address in ["127.0.0.1", "::1", "0.0.0.0", "::", "127.1.2.3", "::ffff:127.0.0.1"] + event["addresses"]:
        for port in event["ports"]:
            steps["%s %d" % (address, port)] = refused(connect(address, port))
    return steps


def metadata(event):
    steps = {}
    for address in ["169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200"]:
        steps[address] = refused(connect(address, 80))
    return steps


def abstract_sockets(event):
    names = [line.split()[-1] for line in open("/proc/net/unix") if "@" in line]
    return {"abstract names": "none" if not names else repr(names[:3])}


def listen(event):
    """Listens for as long as the event says, and tells whether anybody came."""
    server = socket.socket(socket.AF_INET6)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind(("::", event["port"]))
    server.listen()
    server.settimeout(event["seconds"])
    came = tried(lambda: server.accept())
    server.close()
    return {"bound": "done", "visitor": "nobody" if came == "TimeoutError" else came}


def reach(event):
    """Tries every address that another instance could have: on links and beside them."""
    steps = {}
    own = [line.split()[1] for line in open("/proc/net/route").readlines()[1:]]
    for address in ["127.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3", "192.168.0.1", "172.17.0.1", "100.64.0.1", "100.64.0.2"]:
        steps[address] = refused(connect(address, event["port"]))
    arp = open("/proc/net/arp").readlines()[1:]
    steps["neighbors"] = "none" if not arp else repr(arp)
    return steps


def configure(event):
    SIOCSIFADDR, SIOCSIFFLAGS, SIOCADDRT, SIOCSIFHWADDR = 0x8916, 0x8914, 0x890B, 0x8924
    plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    address = struct.pack("16sH2s4s8s", b"lo", socket.AF_INET, b"", socket.inet_aton("10.9.8.7"), b"")
    steps = {
        "address": tried(lambda: fcntl.ioctl(plain, SIOCSIFADDR, address)),
        "down": tried(lambda: fcntl.ioctl(plain, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", 0, b""))),
        "hardware": tried(lambda: fcntl.ioctl(plain, SIOCSIFHWADDR, address)),
        "raw": tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 255)),
        "sniff": tried(lambda: socket.socket(17, socket.SOCK_RAW, 0x0300)),
        "transparent": tried(lambda: plain.setsockopt(socket.IPPROTO_IP, 19, 1)),
        "device": tried(lambda: plain.setsockopt(socket.SOL_SOCKET, 36, struct.pack("I", 1))),
    }
    netlink = socket.socket(16, socket.SOCK_RAW, 0)
    request = struct.pack("=IHHIIBBHiII", 32, 16, 5, 1, 0, 0, 0, 0, 1, 0, 1)
    netlink.send(request)
    answer = netlink.recv(4096)
    steps["netlink"] = tried(lambda: (_ for _ in ()).throw(OSError(-struct.unpack("i", answer[16:20])[0], "")))
    return steps


def resolve(event):
    begun = time.monotonic()
    came = tried(lambda: socket.getaddrinfo("name.invalid", 80))
    took = time.monotonic() - begun
    return {"name": "refused" if came != "done" else came, "took": "short" if took < 1 else "%.2f s" % took}


def tells(event):
    """Everything that the instance is told, for the test to look through."""
    steps = {"environment": dict(os.environ)}
    for name in ("cmdline", "environ", "cgroup", "mountinfo"):
        steps[name] = open("/proc/self/" + name, errors="replace").read()
    return steps


seen = None


def remember(event):
    global seen
    before, seen = seen, event["word"]
    return {"before": before or "nothing"}
