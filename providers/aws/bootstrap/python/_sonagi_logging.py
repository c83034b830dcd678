"""The root logger as Lambda sets it up. Loaded when a function first imports `logging`.

Formats and fields are those of AWS's runtime interface client for Python (awslambdaric 4.2.2, read for facts). A record
is one line of output: line breaks inside it become carriage returns.
"""

import os
import sys
import time

_PLAIN = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"

# Attributes of a record that are not the function's own.
_RESERVED = frozenset(
    "name msg args levelname levelno pathname filename module exc_info exc_text stack_info lineno funcName created msecs "
    "relativeCreated thread threadName processName process taskName aws_request_id tenant_id".split()
)


def configure(logging, state):
    """Gives the root logger its handler; `state` tells which event is being worked on."""

    class LambdaLoggerHandler(logging.Handler):
        def emit(self, record):
            try:
                line = self.format(record)
                sys.stdout.write(line.replace("\n", "\r") + "\n")
                sys.stdout.flush()
            except Exception:
                self.handleError(record)

    class LambdaLoggerFilter(logging.Filter):
        def filter(self, record):
            record.aws_request_id = state.request_id
            record.tenant_id = state.tenant_id
            return True

    class JsonFormatter(logging.Formatter):
        def format(self, record):
            return _json_line(logging, self, record)

    logging.Formatter.converter = time.gmtime
    handler = LambdaLoggerHandler()
    if os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON":
        handler.setFormatter(JsonFormatter(datefmt="%Y-%m-%dT%H:%M:%SZ"))
    else:
        handler.setFormatter(logging.Formatter(_PLAIN, "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(LambdaLoggerFilter())
    root = logging.getLogger()
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    level = {"TRACE": "DEBUG"}.get(level, level)
    if level in ("CRITICAL", "FATAL", "ERROR", "WARN", "WARNING", "INFO", "DEBUG", "NOTSET"):
        root.setLevel(level)
    root.addHandler(handler)


def _json_line(logging, formatter, record):
    import json

    level = logging.getLevelName(min(50, max(0, record.levelno)) // 10 * 10)
    fields = {
        "timestamp": formatter.formatTime(record, formatter.datefmt),
        "level": level,
        "message": record.msg if isinstance(record.msg, dict) and not record.args else record.getMessage(),
        "logger": record.name,
    }
    if record.exc_info:
        import traceback

        kind, error, trace = record.exc_info
        fields["stackTrace"] = traceback.format_tb(trace)
        fields["errorType"] = kind.__name__ if kind else None
        fields["errorMessage"] = str(error)
    fields["requestId"] = record.aws_request_id
    if record.exc_info:
        fields["location"] = "%s:%s:%s" % (record.pathname, record.funcName, record.lineno)
    fields["tenantId"] = record.tenant_id
    for name, value in record.__dict__.items():
        if name not in _RESERVED and name not in fields:
            fields[name] = value
    return json.dumps({k: v for k, v in fields.items() if v is not None}, ensure_ascii=False, default=str)
