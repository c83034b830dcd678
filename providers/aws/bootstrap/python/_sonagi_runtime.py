"""The runtime of Python functions: takes events from the Runtime API, calls the handler, gives answers back.

Written for a fast start and a short path per event. Only modules that the interpreter has built in, or loads anyway,
are imported here; JSON, logging and tracebacks come from modules of their own, when they are needed. HTTP is spoken
over a bare socket, with one write per event: the answer and the request for the next event go out together.

What the function sees follows AWS's runtime interface client for Python (awslambdaric 4.2.2, read for facts):
Runtime API 2018-06-01, handler names, context, error documents, log lines. Two things differ from a plain
interpreter, as on Lambda: `site` is not imported (nothing of the host's packages is visible), and variables such as
PYTHONPATH are honored.
"""

import os
import sys
import time

import _socket
import _sonagi_json

# What Lambda's runtime has loaded before it looks at the function: these names mean the standard library, whatever
# modules the function brings.
_LOADED_ON_LAMBDA = frozenset(
    "abc codecs collections contextlib copyreg decimal encodings enum functools importlib io json keyword linecache "
    "logging math numbers operator os re reprlib stat string textwrap threading token tokenize traceback types warnings "
    "weakref".split()
)

_HERE = __file__.rpartition("/")[0]


class Fault(Exception):
    """An error of the runtime's own: its type, its text, a trace made of text or None."""

    def __init__(self, kind, message, trace=None):
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.trace = trace


class State:
    """What the log handler reads about the event being worked on."""

    request_id = ""
    tenant_id = None


class StandardLibraryFirst:
    """Finds the modules above in the standard library only, and sets up logging when it is first imported.

    Importing `logging` takes longer than everything else here together, and many functions never do it.
    """

    def __init__(self, path):
        self.path = path

    def find_spec(self, name, path=None, target=None):
        if path is not None or name not in _LOADED_ON_LAMBDA:
            return None
        import _frozen_importlib_external as machinery

        spec = machinery.PathFinder.find_spec(name, self.path)
        if name == "logging" and spec is not None:
            load = spec.loader.exec_module

            def load_and_configure(module):
                load(module)
                import _sonagi_logging

                _sonagi_logging.configure(module, State)

            spec.loader.exec_module = load_and_configure
        return spec


# === Runtime API


class Disconnected(Exception):
    """The connection ended before the answer did."""


class Connection:
    """One kept connection to the Runtime API."""

    def __init__(self, address):
        self.address = address
        self.socket = None
        self.buffer = b""

    def open(self):
        if self.socket is not None:
            self.socket.close()
        self.socket = None
        self.buffer = b""
        host, _, port = self.address.partition(":")
        socket = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        try:
            socket.connect((host, int(port)))
        except OSError as error:
            raise Disconnected from error
        socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self.socket = socket

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Disconnected from error

    def receive(self):
        """One answer: its status, its head as bytes, its body."""
        data = self.buffer
        end = data.find(b"\r\n\r\n")
        while end < 0:
            data += self._read()
            end = data.find(b"\r\n\r\n")
        head = data[:end]
        length = _content_length(head)
        start = end + 4
        missing = start + length - len(data)
        if missing <= 0:
            self.buffer = data[start + length :]
            return int(head[9:12]), head, data[start : start + length]
        self.buffer = b""
        body = bytearray(length)
        view = memoryview(body)
        have = len(data) - start
        view[:have] = data[start:]
        while have < length:
            have += self._read_into(view[have:])
        return int(head[9:12]), head, bytes(body)

    def _read(self):
        try:
            data = self.socket.recv(65536)
        except OSError as error:
            raise Disconnected from error
        if not data:
            raise Disconnected
        return data

    def _read_into(self, view):
        try:
            count = self.socket.recv_into(view)
        except OSError as error:
            raise Disconnected from error
        if not count:
            raise Disconnected
        return count


def _content_length(head):
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    if at < 0:
        return 0
    end = lower.find(b"\r\n", at + 2)
    return int(lower[at + 17 : end if end >= 0 else len(lower)])


class RuntimeApi:
    """The calls of the Runtime API that this runtime makes."""

    def __init__(self, address):
        self.connection = Connection(address)
        host = b"Host: " + address.encode() + b"\r\n"
        version = "%d.%d.%d" % sys.version_info[:3]
        self.common = host + b"User-Agent: sonagi-python/" + version.encode() + b"\r\n"
        self.next = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n" + self.common + b"\r\n"

    def first(self):
        self.connection.open()
        self.connection.send(self.next)
        return self._event()

    def answer(self, request_id, kind, content_type, body, more=b""):
        """Gives an answer and waits for the next event."""
        head = b"POST /2018-06-01/runtime/invocation/%b/%b HTTP/1.1\r\n%bContent-Type: %b\r\n%bContent-Length: %d\r\n\r\n" % (
            request_id.encode(),
            kind,
            self.common,
            content_type,
            more,
            len(body),
        )
        try:
            if len(body) > 262144:
                # Joining would copy the body; the request for the next event still goes out with its end.
                self.connection.send(head)
                self.connection.send(body)
                self.connection.send(self.next)
            else:
                self.connection.send(head + body + self.next)
            self.connection.receive()
            return self._event()
        except Disconnected:
            # The platform closes a connection whose answer it refused to read to the end (it was too large). Whether the
            # answer counted, it knows: an event that comes again was not answered, and cannot be by this process.
            event = self.first()
            if event[0].get(b"lambda-runtime-aws-request-id") == request_id.encode():
                os._exit(1)
            return event

    def init_error(self, kind, body):
        self._post(b"init/error", kind, body)

    def restore_error(self, kind, body):
        self._post(b"restore/error", kind, body)

    def restore_next(self):
        self.connection.open()
        self.connection.send(b"GET /2018-06-01/runtime/restore/next HTTP/1.1\r\n" + self.common + b"\r\n")
        status, _, _ = self.connection.receive()
        if status != 200:
            raise Fault("Runtime.RestoreError", "restore/next was answered with status %d" % status)

    def _post(self, path, kind, body):
        self.connection.open()
        self.connection.send(
            b"POST /2018-06-01/runtime/%b HTTP/1.1\r\n%bContent-Type: application/json\r\n"
            b"Lambda-Runtime-Function-Error-Type: %b\r\nContent-Length: %d\r\n\r\n"
            % (path, self.common, kind.encode("ascii", "backslashreplace"), len(body))
            + body
        )
        self.connection.receive()

    def _event(self):
        status, head, body = self.connection.receive()
        if status != 200:
            sys.stderr.write("the Runtime API answered next with status %d\n" % status)
            sys.stderr.flush()
            os._exit(1)
        headers = {}
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        return headers, body


# === Context


class Fields:
    """An object with the attributes of a JSON document, None for those that it lacks."""

    __slots__ = ()

    def __init__(self, document):
        for name in self.__slots__:
            setattr(self, name, document.get(name))

    def __repr__(self):
        fields = ",".join("%s=%s" % (name, getattr(self, name)) for name in self.__slots__)
        return "%s([%s])" % (type(self).__name__, fields)


class CognitoIdentity(Fields):
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self, document):
        self.cognito_identity_id = document.get("cognitoIdentityId")
        self.cognito_identity_pool_id = document.get("cognitoIdentityPoolId")


class Client(Fields):
    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")


class ClientContext(Fields):
    __slots__ = ("custom", "env", "client")

    def __init__(self, document):
        super().__init__(document)
        if self.client is not None:
            self.client = Client(self.client)


class LambdaContext:
    """What a handler gets beside the event. Names and types are Lambda's."""

    def __init__(self, headers):
        environment = os.environ.get
        text = lambda name: headers[name].decode("utf-8", "replace") if name in headers else None
        self.aws_request_id = text(b"lambda-runtime-aws-request-id")
        self.log_group_name = environment("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = environment("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = environment("AWS_LAMBDA_FUNCTION_NAME")
        self.memory_limit_in_mb = environment("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.function_version = environment("AWS_LAMBDA_FUNCTION_VERSION")
        self.invoked_function_arn = text(b"lambda-runtime-invoked-function-arn")
        self.tenant_id = text(b"lambda-runtime-aws-tenant-id")
        self._epoch_deadline_time_in_ms = int(headers.get(b"lambda-runtime-deadline-ms", 0))
        self._w3c = {}
        self.client_context = None
        self.identity = CognitoIdentity({})
        document = self._document(headers, b"lambda-runtime-client-context", "Client Context")
        if document is not None:
            self._w3c = _w3c_fields(document)
            self.client_context = ClientContext(document)
        document = self._document(headers, b"lambda-runtime-cognito-identity", "Cognito Identity")
        if document is not None:
            self.identity = CognitoIdentity(document)

    @staticmethod
    def _document(headers, name, title):
        value = headers.get(name)
        if not value:
            return None
        try:
            return _sonagi_json.loads(value)
        except Exception as error:
            raise Fault("Runtime.LambdaContextUnmarshalError", "Unable to parse %s JSON: %s" % (title, error))

    def get_remaining_time_in_millis(self):
        return max(self._epoch_deadline_time_in_ms - int(time.time() * 1000), 0)

    def w3c(self):
        return dict(self._w3c)

    def log(self, msg):
        sys.stdout.write(str(msg))
        sys.stdout.flush()

    def __repr__(self):
        names = (
            "aws_request_id log_group_name log_stream_name function_name memory_limit_in_mb function_version "
            "invoked_function_arn client_context identity tenant_id"
        )
        fields = ",".join("%s=%s" % (name, getattr(self, name)) for name in names.split())
        return "LambdaContext([%s])" % fields


def _w3c_fields(document):
    """Takes the trace context out of a client context: functions see it through `w3c()` only."""
    raw = document.pop("w3c", None) if isinstance(document, dict) else None
    if not isinstance(raw, dict):
        return {}
    names = ("traceparent", "tracestate", "baggage")
    return {name: raw[name] for name in names if isinstance(raw.get(name), str)}


# === The function


def find_handler(name):
    """The function that `_HANDLER` names: everything after the last dot is looked up in the module before it."""
    module_name, dot, attribute = name.rpartition(".")
    if not dot:
        text = "Bad handler '%s': not enough values to unpack (expected 2, got 1)" % name
        raise Fault("Runtime.MalformedHandlerName", text)
    if module_name.partition(".")[0] in sys.builtin_module_names:
        text = "Cannot use built-in module %s as a handler module" % module_name
        raise Fault("Runtime.BuiltInModuleConflict", text)
    try:
        imported = module_name.replace("/", ".")
        __import__(imported)
        module = sys.modules[imported]
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", "Unable to import module '%s': %s" % (module_name, error))
    except SyntaxError as error:
        trace = ['  File "%s" Line %s\n    %s' % (error.filename, error.lineno, error.text)]
        raise Fault("Runtime.UserCodeSyntaxError", "Syntax error in module '%s': %s" % (module_name, error), trace)
    try:
        return getattr(module, attribute)
    except AttributeError:
        text = "Handler '%s' missing on module '%s'" % (attribute, module_name)
        raise Fault("Runtime.HandlerNotFound", text)


def load(api):
    """Finds the handler, or reports why not and ends the process."""
    try:
        return find_handler(os.environ.get("_HANDLER", ""))
    except Exception as error:
        import _sonagi_faults

        document, _ = _sonagi_faults.describe(error, None)
        _sonagi_faults.log(document)
        flush()
        api.init_error(document["errorType"], _sonagi_json.dumps(document).encode("utf-8", "backslashreplace"))
        sys.exit(1)


def serve(api, handler):
    trace = None
    headers, body = api.first()
    while True:
        request_id = headers[b"lambda-runtime-aws-request-id"].decode()
        State.request_id = request_id
        tenant = headers.get(b"lambda-runtime-aws-tenant-id")
        State.tenant_id = tenant.decode() if tenant else None
        if headers.get(b"lambda-runtime-trace-id") != trace:
            trace = headers.get(b"lambda-runtime-trace-id")
            if trace:
                os.environ["_X_AMZN_TRACE_ID"] = trace.decode()
            else:
                os.environ.pop("_X_AMZN_TRACE_ID", None)
        kind, content_type, more = b"response", b"application/json", b""
        try:
            answer, content_type = call(handler, headers, body)
        except Exception as error:
            import _sonagi_faults

            kind = b"error"
            answer, more = _sonagi_faults.report(error, request_id)
        flush()
        headers, body = api.answer(request_id, kind, content_type, answer, more)


def call(handler, headers, body):
    """The answer to one event, as bytes, and its content type."""
    context = LambdaContext(headers)
    event = body
    if headers.get(b"content-type") == b"application/json":
        try:
            event = _sonagi_json.loads(body)
        except Exception as error:
            raise Fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % error)
    result = handler(event, context)
    if isinstance(result, bytes):
        return result, b"application/unknown"
    try:
        return _sonagi_json.dumps(result).encode(), b"application/json"
    except Exception as error:
        raise Fault("Runtime.MarshalError", "Unable to marshal response: %s" % error)


def flush():
    """Output of an event belongs to it: it is on its way before the answer is. A function may have closed the streams."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


def restore(api):
    """SnapStart: the platform takes no snapshots, so the hooks run one after the other."""
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") != "snap-start":
        return
    import snapshot_restore_py

    for hooks, kind, post, status in (
        (snapshot_restore_py.get_before_snapshot, "Runtime.BeforeSnapshotError", api.init_error, 64),
        (snapshot_restore_py.get_after_restore, "Runtime.AfterRestoreError", api.restore_error, 65),
    ):
        try:
            for function, args, kwargs in hooks():
                function(*args, **kwargs)
            if status == 64:
                api.restore_next()
        except BaseException as error:
            import _sonagi_faults

            document, _ = _sonagi_faults.describe(error, None)
            _sonagi_faults.log(document)
            flush()
            post(kind, _sonagi_json.dumps(document).encode("utf-8", "backslashreplace"))
            sys.exit(status)


def search_path():
    """The function's code first, then layers, then what PYTHONPATH named, this folder, the standard library."""
    user = [entry for entry in os.environ.get("PYTHONPATH", "").split(":") if entry]
    standard = [entry for entry in sys.path if entry not in user and entry != _HERE]
    packages = "/opt/python/lib/python%d.%d/site-packages" % sys.version_info[:2]
    layers = [packages, "/opt/python"]
    own = [] if _HERE in user else [_HERE]
    sys.path[:] = [os.environ.get("LAMBDA_TASK_ROOT", "/var/task"), *layers, *user, *own, *standard]
    return standard


def builtins():
    """`exit` and `quit` come from `site`, which is not imported; functions use them."""
    import builtins

    def leave(code=None):
        raise SystemExit(code)

    builtins.exit = builtins.quit = leave


def main():
    # A whole line is written at once; what is left of a line goes out with the answer.
    sys.stdout.reconfigure(line_buffering=True)
    sys.meta_path.insert(0, StandardLibraryFirst(search_path()))
    if "logging" in sys.modules:
        import _sonagi_logging

        _sonagi_logging.configure(sys.modules["logging"], State)
    builtins()
    api = RuntimeApi(os.environ["AWS_LAMBDA_RUNTIME_API"])
    handler = load(api)
    restore(api)
    serve(api, handler)
