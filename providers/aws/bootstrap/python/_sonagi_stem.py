"""The runtime of Python functions, booted ahead of demand: before anybody knows whose function it will run.

It imports what functions commonly import, goes through one event from its arrival to its answer so that nothing happens
for the first time later, and then waits on the channel (descriptor 3) to be told what to run: a length, then that many
bytes, strings with a NUL after each (working directory, number of arguments, arguments, variables). Nothing of a tenant
is here until then. From then on everything is as if the interpreter had been started for the function.

Lambda has loaded some of these modules before it looks at a function, so that their names mean the standard library
whatever the function brings; the others give way to modules of the function's own.
"""

import os
import sys
import time

import _socket

# What Lambda has loaded as well comes first; then what functions commonly import.
_COMMON = (
    "json logging traceback decimal typing datetime base64 hashlib uuid random time math urllib.parse dataclasses "
    "functools collections.abc copy itertools hmac string pathlib tempfile subprocess socket struct io"
).split()


def _preload(names):
    import _sonagi_logging

    for name in names:
        try:
            __import__(name)
        except Exception:
            # Built without it; a function that needs it is told so itself.
            pass


def _rehearse(runtime):
    """An event of each kind, from the import of its module to its answer, over a pair of sockets."""
    ours, theirs = _socket.socketpair()
    channel = runtime.Channel(ours)
    os.environ["_HANDLER"] = "_sonagi_rehearsal.handler"
    handler = runtime.load(channel)
    text = b'{"headers": {"a": "b"}, "body": "{}", "n": [1, 2.5, null, true]}'
    bodies = (b"E", text), (b"M", runtime.marshal.dumps(runtime._sonagi_json.loads(text), 2))
    texts = (b"Root=1", b"arn", b"", b'{"client": {}}', b"")
    sizes = [len(text) for text in texts]
    for kind, body in bodies:
        length = runtime.EVENT.size - 4 + sum(sizes) + len(body)
        theirs.sendall(runtime.EVENT.pack(length, ord(kind), b"1" * 36, 1, *sizes) + b"".join(texts) + body)
        runtime.serve_one(channel, handler)
        theirs.recv(65536)
    ours.close()
    theirs.close()
    runtime.State.request_id, runtime.State.tenant_id = "", None
    sys.modules.pop("_sonagi_rehearsal", None)


def _branch(library):
    """Goes on as a zygote: returns in each process that is forked from this one, in its cell, with its channel."""
    import ctypes
    import gc

    hooks = [
        ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p)
        for name in ("PyOS_BeforeFork", "PyOS_AfterFork_Parent", "PyOS_AfterFork_Child")
    ]
    # Called with the interpreter's lock held: there is one thread, and it returns from here in another process.
    branch = ctypes.PyDLL(library).sonagi_branch
    # What is here stays as it is, so that its memory stays shared.
    gc.collect()
    gc.freeze()
    if branch(*hooks) != 0:
        os._exit(1)


def _receive(channel):
    """The launch; ends the process if there will be none."""
    data = b""
    wanted = 4
    while len(data) < wanted:
        part = channel.recv(wanted - len(data))
        if not part:
            os._exit(0)
        data += part
        if wanted == 4 and len(data) == 4:
            wanted += int.from_bytes(data, "little")
    return data[4:].split(b"\0")[:-1]


def _become(strings, booted):
    """Takes over the folder, arguments and variables of the function."""
    os.chdir(strings[0])
    count = 2 + int(strings[1])
    wanted = {}
    for variable in strings[count:]:
        name, _, value = variable.partition(b"=")
        wanted[name] = value
    here = os.environb
    zone = here.get(b"TZ")
    # Most of it is the same already.
    for name in [name for name in here if name not in wanted]:
        del here[name]
    for name, value in wanted.items():
        if here.get(name) != value:
            here[name] = value
    if here.get(b"TZ") != zone:
        time.tzset()
    _give_way(booted)


def _give_way(booted):
    """Modules that the function brings itself, under the name of one that was loaded ahead, are found instead of it."""
    own = set()
    root = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    for folder in (root, "/opt/python"):
        try:
            own.update(entry.partition(".")[0] for entry in os.listdir(folder))
        except OSError:
            pass
    for name in own & booted:
        for loaded in [module for module in sys.modules if module == name or module.startswith(name + ".")]:
            del sys.modules[loaded]


def main():
    import _sonagi_runtime as runtime

    lambdas = frozenset(sys.modules) | runtime._LOADED_ON_LAMBDA
    _preload(_COMMON)
    _rehearse(runtime)
    zygote = os.environ.get("SONAGI_ZYGOTE")
    if zygote:
        _branch(zygote)
        # Once more: a forked process has yet to take its own copies of the pages that are written to.
        _rehearse(runtime)
    booted = {name for name in sys.modules if "." not in name} - lambdas
    channel = runtime.open_channel()
    channel.send(b"R")
    strings = _receive(channel.socket)
    _become(strings, booted)
    runtime.main(channel)
