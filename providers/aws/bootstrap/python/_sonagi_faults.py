"""Errors of functions: the document that goes to the caller, the line that goes to the log. Loaded at the first error.

Shapes and texts are those of AWS's runtime interface client for Python (awslambdaric 4.2.2, read for facts).
"""

import os
import sys
import time
import traceback

import _sonagi_json
import _sonagi_runtime

_HERE = os.path.dirname(os.path.abspath(__file__))


def describe(error, request_id):
    """The error document."""
    if isinstance(error, _sonagi_runtime.Fault):
        return _document(error.message, error.kind, error.trace, request_id)
    frames = _function_frames(error.__traceback__)
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:
        text = ""
    return _document(text, name, traceback.format_list(frames), request_id)


def report(error, request_id):
    """Logs an error of a handler; the body to send."""
    document = describe(error, request_id)
    log(document)
    return _sonagi_json.dumps(document).encode("utf-8", "backslashreplace")


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
