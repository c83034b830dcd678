"""Errors of functions: the document that goes to the caller, the line that goes to the log. Loaded at the first error.

Shapes and texts are those of AWS's runtime interface client for Python (awslambdaric 4.2.2, read for facts).
"""

import os
import sys
import time
import traceback

import _sonagi_json
import _sonagi_runtime

# An X-Ray cause that would not fit a header is left out.
_CAUSE_BYTES = 1024 * 1024

_HERE = os.path.dirname(os.path.abspath(__file__))


def describe(error, request_id):
    """The error document, and the cause for X-Ray."""
    if isinstance(error, _sonagi_runtime.Fault):
        document = _document(error.message, error.kind, error.trace, request_id)
        return document, _cause("LambdaValidationError", error.message, [])
    frames = _function_frames(error.__traceback__)
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:
        text = ""
    document = _document(text, name, traceback.format_list(frames), request_id)
    return document, _cause(name, text, frames)


def report(error, request_id):
    """Logs an error of a handler; the body to send, and one more header line."""
    document, cause = describe(error, request_id)
    log(document)
    body = _sonagi_json.dumps(document).encode("utf-8", "backslashreplace")
    import json

    cause = json.dumps(cause).encode()
    if len(cause) >= _CAUSE_BYTES:
        return body, b""
    return body, b"Lambda-Runtime-Function-Xray-Error-Cause: " + cause + b"\r\n"


def log(document):
    """One line of output, however long the trace."""
    if os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON":
        stamp = {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "level": "ERROR"}
        line = _sonagi_json.dumps({**stamp, **document})
    else:
        line = "\r".join(_lines(document))
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except Exception:
        # The function may have closed or replaced its output; its error still reaches the caller.
        pass


def _lines(document):
    head = "[ERROR]"
    kind, message = document["errorType"], document["errorMessage"]
    if kind:
        head += " " + kind
    if message:
        head += (":" if kind else "") + " " + message
    yield from head.splitlines() or [head]
    yield "Traceback (most recent call last):"
    for entry in document["stackTrace"]:
        for line in entry.splitlines() or [""]:
            # No-break spaces keep the indentation where log viewers trim lines.
            bare = line.lstrip(" ")
            yield "\u00a0" * (len(line) - len(bare)) + bare


def _document(message, kind, trace, request_id):
    return {
        "errorMessage": message or "",
        "errorType": kind or "",
        "requestId": request_id or "",
        "stackTrace": trace or [],
    }


def _function_frames(tb):
    """Frames from the function on; those above it are the runtime's own and importlib's."""
    frames = traceback.extract_tb(tb)
    for index, frame in enumerate(frames):
        if os.path.dirname(frame.filename) != _HERE:
            return [tuple(frame) for frame in frames[index:]]
    return [tuple(frame) for frame in frames]


def _cause(kind, message, frames):
    stack = [{"label": label, "path": path, "line": line} for path, line, label, _ in frames]
    return {
        "working_directory": _working_directory(),
        "exceptions": [{"message": message, "type": kind, "stack": stack}],
        "paths": list({path for path, _, _, _ in frames}),
    }


def _working_directory():
    try:
        return os.getcwd()
    except OSError:
        return ""
