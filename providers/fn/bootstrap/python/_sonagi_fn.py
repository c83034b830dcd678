"""Runs functions written for Fn's Python FDK, with the FDK itself, unmodified.

Started with `stem` it boots first, before anybody knows whose function it will run: it imports the FDK and what that
needs, then waits on descriptor 3 to be told what to run: a length, then that many bytes, strings with a NUL after each
(working directory, number of arguments, arguments, variables). Nothing of a tenant is here until then. From then on
everything is as if `fdk SCRIPT [ENTRYPOINT]` had been started for the function.
"""

import os
import sys

_CHANNEL = 3
_CODE = "/function"
# Where the FDK of the platform is, and where a function's own packages are in its folder.
_BUNDLE = "/python"
_OWN = "/function/python"


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


def _receive():
    """The launch; ends the process if there will be none."""
    data = b""
    wanted = 4
    while len(data) < wanted:
        part = os.read(_CHANNEL, wanted - len(data))
        if not part:
            os._exit(0)
        data += part
        if wanted == 4 and len(data) == 4:
            wanted += int.from_bytes(data, "little")
    return data[4:].split(b"\0")[:-1]


def _become(strings):
    """Takes over folder and variables of the function; its arguments."""
    import time

    os.chdir(strings[0])
    count = 2 + int(strings[1])
    here = os.environb
    zone = here.get(b"TZ")
    wanted = {}
    for variable in strings[count:]:
        name, _, value = variable.partition(b"=")
        wanted[name] = value
    for name in [name for name in here if name not in wanted]:
        del here[name]
    for name, value in wanted.items():
        if here.get(name) != value:
            here[name] = value
    if here.get(b"TZ") != zone:
        time.tzset()
    return [os.fsdecode(argument) for argument in strings[2:count]]


def _give_way(booted):
    """Modules that the function brings itself, under the name of one that was loaded ahead, are found instead of it."""
    own = set()
    for folder in (_CODE, _OWN):
        try:
            own.update(entry.partition(".")[0] for entry in os.listdir(folder))
        except OSError:
            pass
    for name in own & booted:
        for loaded in [module for module in sys.modules if module == name or module.startswith(name + ".")]:
            del sys.modules[loaded]


def _preload():
    """The FDK and what functions commonly import; names of the top modules that this loaded."""
    before = set(sys.modules)
    sys.path.insert(0, _BUNDLE)
    for name in ("fdk", "fdk.scripts.fdk", "io", "json", "logging", "datetime", "urllib.parse", "random", "base64", "uuid"):
        try:
            __import__(name)
        except Exception:
            # Built without it; a function that needs it is told so itself.
            pass
    sys.path.remove(_BUNDLE)
    return {name.partition(".")[0] for name in set(sys.modules) - before}


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["stem"]:
        booted = _preload()
        zygote = os.environ.get("SONAGI_ZYGOTE")
        if zygote:
            _branch(zygote)
        os.write(_CHANNEL, b"R")
        # The program and this file come first.
        arguments = _become(_receive())
        arguments = arguments[arguments.index("/var/runtime/bootstrap.py") + 1 :]
        _give_way(booted)
    os.close(_CHANNEL)
    os.makedirs("/tmp/iofs", exist_ok=True)
    sys.path.remove("/var/runtime")
    sys.path[:0] = [_CODE, _OWN, _BUNDLE]
    for module in ("_sonagi_fn",):
        sys.modules.pop(module, None)
    form, script = arguments[0], arguments[1]
    if form == "fdk":
        sys.argv = ["/python/bin/fdk", *arguments[1:]]
        from fdk.scripts.fdk import main as run

        sys.exit(run())
    import runpy

    sys.argv = arguments[1:]
    runpy.run_path(script, run_name="__main__")
