"""Runs OpenWhisk actions written in Python.

Speaks frames over descriptor 3: length (4 bytes, little endian, of what follows), type (1 byte), id (4 bytes), JSON.
Waits for `I` (initialize) and `R` (run), answers `i` and `r` with a status of the proxy's /init and /run, and its body.
Source of what actions see: the launcher of apache/openwhisk-runtime-python (commit 9a873ec) behind the action loop of
apache/openwhisk-runtime-go (commit 1b00151).

Started with `stem`, it boots first, says `R`, and takes a launch.
"""
import json
import os
import socket
import struct
import sys

_ROOT = "/action"
_MARK = "\x1e"
_HEAD = struct.Struct("<IcI")
_FAILED_BUILD = "The action failed to generate or locate a binary. See logs for details."
_FAILED_START = "Cannot start action. Check logs for details."


class _Marked:
    """Standard error, each line marked, because it shares a pipe with standard output."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, out):
        self._out = out
        self._fresh = True

    def write(self, text):
        parts = []
        for line in text.splitlines(True):
            if self._fresh:
                parts.append(_MARK)
            parts.append(line)
            self._fresh = line.endswith("\n")
        self._out.flush()
        os.write(2, "".join(parts).encode("utf-8", "backslashreplace"))
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        pass

    def fileno(self):
        return 2

    def isatty(self):
        return False

    def writable(self):
        return True

    def readable(self):
        return False


def _source_path(message):
    if message["form"] != "archive":
        return _ROOT + "/exec"
    # `file.function` names a file of the archive, as for Node; otherwise the entry is upstream's.
    file, _, _ = message["main"].rpartition(".")
    path = _ROOT + "/" + (file.replace(".", "/") or "__main__") + ".py"
    return path if os.path.exists(path) else None


def _activate():
    """A folder `virtualenv` brings its own packages."""
    folder = _ROOT + "/virtualenv"
    if not os.path.isdir(folder):
        return True
    script = folder + "/bin/activate_this.py"
    if not os.path.exists(script):
        sys.stderr.write("Invalid virtualenv. Zip file does not include 'activate_this.py'.\n")
        return False
    with open(script) as file:
        exec(compile(file.read(), script, "exec"), {"__file__": script, "__name__": "__main__"})
    return True


class _Refused(Exception):
    """The text with which an initialization is refused."""

    status = 502


class _Missing(_Refused):
    """There is no code."""

    status = 403


def _load(message):
    import types

    path = _source_path(message)
    if path is None:
        sys.stderr.write("Zip file does not include __main__.py\n")
        raise _Refused(_FAILED_BUILD)
    sys.path.insert(0, _ROOT)
    if message["form"] == "archive":
        os.chdir(_ROOT)
        if not _activate():
            raise _Refused(_FAILED_BUILD)
    with open(path, "rb") as file:
        source = file.read()
    if not source and message["form"] != "archive":
        raise _Missing("Missing main/no code to execute.")
    try:
        code = compile(source, "__main__.py", "exec")
    except (SyntaxError, ValueError):
        _trace()
        raise _Refused(_FAILED_BUILD) from None
    module = types.ModuleType("main__")
    module.__file__ = path
    sys.modules["main__"] = module
    try:
        exec(code, module.__dict__)
        return getattr(module, message["main"].rpartition(".")[2])
    except BaseException:
        _trace()
        raise _Refused(_FAILED_START) from None


def _trace():
    import traceback

    traceback.print_exc(file=sys.stderr)


def _initialize(message):
    os.environ.update(message["env"])
    try:
        entry = _load(message)
    except _Refused as refused:
        return None, (refused.status, {"error": str(refused)})
    return entry, (200, {"ok": True})


def _run(entry, message):
    for key, text in message.items():
        if key != "value" and isinstance(text, str):
            os.environ["__OW_" + key.upper()] = text
    try:
        result = entry(message["value"])
    except Exception as error:
        _trace()
        result = {"error": str(error)}
    if result is None or isinstance(result, (dict, list)):
        return 200, result
    return 502, {"error": "The action did not return a dictionary or array."}


def _answer(channel, kind, number, status, body):
    # A result that is no JSON ends the process, as it does upstream.
    text = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    sys.stdout.flush()
    head = _HEAD.pack(7 + len(text), kind, number) + struct.pack("<H", status)
    channel.sendall(head + text)


def _read(channel, buffer, count):
    while len(buffer) < count:
        data = channel.recv(max(65536, count - len(buffer)))
        if not data:
            os._exit(0)
        buffer += data
    taken = bytes(buffer[:count])
    del buffer[:count]
    return taken


def _launch(channel, buffer):
    """Waits, booted, for what to run: a working directory, a program that this one stands for, variables."""
    channel.sendall(b"R")
    size = struct.unpack("<I", _read(channel, buffer, 4))[0]
    strings = _read(channel, buffer, size).split(b"\0")[:-1]
    os.chdir(strings[0])
    os.environb.clear()
    for variable in strings[2 + int(strings[1]) :]:
        name, _, value = variable.partition(b"=")
        os.environb[name] = value


def serve():
    """Never returns: the process ends with its channel."""
    channel = socket.socket(fileno=3)
    buffer = bytearray()
    if sys.argv[1:2] == ["stem"]:
        _launch(channel, buffer)
    sys.argv = [""]
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    sys.stderr = _Marked(sys.stdout)
    channel.sendall(_HEAD.pack(5, b"B", 0))
    entry = None
    while True:
        length, kind, number = _HEAD.unpack(_read(channel, buffer, _HEAD.size))
        message = json.loads(_read(channel, buffer, length - 5))
        if kind == b"I":
            entry, (status, body) = _initialize(message)
            _answer(channel, b"i", number, status, body)
        else:
            status, body = _run(entry, message)
            try:
                _answer(channel, b"r", number, status, body)
            except (TypeError, ValueError, RecursionError):
                _trace()
                os._exit(1)
