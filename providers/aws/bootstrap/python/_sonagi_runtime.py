"""The runtime of Python functions: takes events from the platform, calls the handler, gives answers back.

Written for a fast start and a short path per event. Only modules that the interpreter has built in, or loads anyway,
are imported here; JSON, logging and tracebacks come from modules of their own, when they are needed. An event costs one
read and one write: an answer asks for the next event as well.

What the function sees follows AWS's runtime interface client for Python (awslambdaric 4.2.2, read for facts):
handler names, context, error documents, log lines. Two things differ from a plain
interpreter, as on Lambda: `site` is not imported (nothing of the host's packages is visible), and variables such as
PYTHONPATH are honored.
"""

import marshal
import os
import sys
import time

import _socket
import _sonagi_json
import _struct

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


# === the channel to the platform (frames: channel.rs of the platform describes them)

EVENT = _struct.Struct("<IB36sqHHHII")
_HEAD = _struct.Struct("<IBH")
_INT = _struct.Struct("@i")
# The kind of an event that is not JSON text.
_MARSHALLED = ord("M")
# The content type of JSON.
_JSON = b""
_JOIN_BYTES = 262144


class Channel:
    """The sockets that the platform gave this process: events come through one, answers go through the other.

    While this process sleeps in a read, nothing that it has sent through the same socket must be under way: the kernel
    would wake it when that is read.
    """

    def __init__(self, socket):
        self.socket = socket
        self.receive = socket.recv_into
        self.send = socket.sendall
        self.buffer = memoryview(bytearray(65536))
        self.arn = None

    def take_way_back(self):
        """Waits for the first frame, which brings the socket for answers."""
        data, beside, _, _ = self.socket.recvmsg(5, _socket.CMSG_SPACE(_INT.size), _socket.MSG_CMSG_CLOEXEC)
        while data and len(data) < 5:
            data += self.socket.recv(5 - len(data))
        if not data:
            os._exit(0)
        descriptor = _INT.unpack(beside[0][2])[0]
        self.send = _socket.socket(fileno=descriptor).sendall

    def event(self):
        """The next event: id, deadline, trace, texts (tenant, client context, identity; empty if absent), body, its reader."""
        buffer = self.buffer
        have = self._read(buffer)
        while have < 4:
            have += self._read(buffer[have:])
        length, kind, request_id, deadline, trace, arn, tenant, context, identity = EVENT.unpack_from(buffer)
        length += 4
        data = buffer if have >= length else self._rest(buffer[:have], length)
        at = EVENT.size
        end = at + trace
        trace = bytes(data[at:end]) if trace else None
        if arn:
            at, end = end, end + arn
            self.arn = str(data[at:end], "utf-8", "replace")
        texts = None
        if tenant or context or identity:
            texts = []
            for size in (tenant, context, identity):
                at, end = end, end + size
                texts.append(bytes(data[at:end]))
        read = marshal.loads if kind == _MARSHALLED else _sonagi_json.loads
        return str(request_id, "ascii"), deadline, trace, texts, data[end:length], read

    def ready(self):
        self._send(b"\x01\0\0\0N")

    def answer(self, body, content_type):
        """Gives an answer and asks for the next event, as every answer does."""
        self._frame(b"R", content_type, body)

    def error(self, body):
        self._frame(b"F", b"", body)

    def init_error(self, kind, body):
        self._frame(b"I", kind.encode("ascii", "backslashreplace")[:1000], body)

    def _frame(self, kind, text, body):
        head = _HEAD.pack(len(text) + len(body) + 3, kind[0], len(text)) + text
        if len(body) > _JOIN_BYTES:
            # Joining would copy the body.
            self._send(head)
            self._send(body)
        else:
            self._send(head + body)

    def _send(self, data):
        try:
            self.send(data)
        except OSError:
            os._exit(1)

    def _read(self, buffer):
        """Reads into a buffer; how much there was."""
        try:
            count = self.receive(buffer)
        except OSError:
            os._exit(1)
        if not count:
            # The platform is gone, or does not want this process any more.
            os._exit(0)
        return count

    def _rest(self, data, length):
        whole = bytearray(length)
        view = memoryview(whole)
        have = len(data)
        view[:have] = data
        while have < length:
            have += self._read(view[have:])
        return view


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


class _Names:
    """What is the same in every context."""

    log_group = log_stream = function = memory = version = None

    @classmethod
    def load(cls):
        environment = os.environ.get
        cls.log_group = environment("AWS_LAMBDA_LOG_GROUP_NAME")
        cls.log_stream = environment("AWS_LAMBDA_LOG_STREAM_NAME")
        cls.function = environment("AWS_LAMBDA_FUNCTION_NAME")
        cls.memory = environment("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        cls.version = environment("AWS_LAMBDA_FUNCTION_VERSION")


class LambdaContext:
    """What a handler gets beside the event. Names and types are Lambda's."""

    def __init__(self, request_id, deadline, arn, texts):
        self.aws_request_id = request_id
        self.log_group_name = _Names.log_group
        self.log_stream_name = _Names.log_stream
        self.function_name = _Names.function
        self.memory_limit_in_mb = _Names.memory
        self.function_version = _Names.version
        self.invoked_function_arn = arn
        self.tenant_id = None
        self._epoch_deadline_time_in_ms = deadline
        self._w3c = {}
        self.client_context = None
        if texts is None:
            return
        tenant, context, identity = texts
        if tenant:
            self.tenant_id = tenant.decode("utf-8", "replace")
        if context:
            document = self._document(context, "Client Context")
            self._w3c = _w3c_fields(document)
            self.client_context = ClientContext(document)
        if identity:
            self.identity = CognitoIdentity(self._document(identity, "Cognito Identity"))

    def __getattr__(self, name):
        """Called for what is not there yet: hardly any function looks at the identity."""
        if name != "identity":
            raise AttributeError("'LambdaContext' object has no attribute '%s'" % name)
        self.identity = CognitoIdentity({})
        return self.identity

    @staticmethod
    def _document(value, title):
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


def load(channel):
    """Finds the handler, or reports why not and ends the process."""
    try:
        return find_handler(os.environ.get("_HANDLER", ""))
    except Exception as error:
        import _sonagi_faults

        document = _sonagi_faults.describe(error, None)
        _sonagi_faults.log(document)
        flush()
        channel.init_error(document["errorType"], _sonagi_json.dumps(document).encode("utf-8", "backslashreplace"))
        sys.exit(1)


def serve(channel, handler):
    channel.ready()
    while True:
        serve_one(channel, handler)


def serve_one(channel, handler):
    request_id, deadline, trace, texts, body, read = channel.event()
    State.request_id = request_id
    State.tenant_id = texts[0].decode() if texts and texts[0] else None
    _trace(trace)
    try:
        context = LambdaContext(request_id, deadline, channel.arn, texts)
        answer = call(handler, context, body, read)
    except Exception as error:
        import _sonagi_faults

        body = _sonagi_faults.report(error, request_id)
        flush()
        channel.error(body)
        return
    flush()
    channel.answer(*answer)


# What `os.environ` looks up. The C library, which keeps every value that a variable has ever had, is not told: the trace
# is another in each event, and a busy process would grow by a hundred bytes an event until it is out of memory.
_VARIABLES = os.environ._data
_TRACE = os.environ.encodekey("_X_AMZN_TRACE_ID")


def _trace(trace):
    if trace is not None:
        _VARIABLES[_TRACE] = trace
    else:
        _VARIABLES.pop(_TRACE, None)


def call(handler, context, body, read):
    """The answer to one event, as bytes, and its content type."""
    try:
        event = read(body)
    except Exception as error:
        raise Fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % error)
    result = handler(event, context)
    if isinstance(result, bytes):
        return result, b"application/unknown"
    try:
        return _sonagi_json.dumps(result).encode(), _JSON
    except Exception as error:
        raise Fault("Runtime.MarshalError", "Unable to marshal response: %s" % error)


def flush():
    """Output of an event belongs to it: it is on its way before the answer is. A function may have closed the streams."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


def restore(channel):
    """SnapStart: the platform takes no snapshots, so the hooks run one after the other."""
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") != "snap-start":
        return
    import snapshot_restore_py

    for hooks, kind, post, status in (
        (snapshot_restore_py.get_before_snapshot, "Runtime.BeforeSnapshotError", channel.init_error, 64),
        (snapshot_restore_py.get_after_restore, "Runtime.AfterRestoreError", channel.init_error, 65),
    ):
        try:
            for function, args, kwargs in hooks():
                function(*args, **kwargs)
        except BaseException as error:
            import _sonagi_faults

            document = _sonagi_faults.describe(error, None)
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


def open_channel():
    """The channel is descriptor 3. Programs that the function starts do not get it."""
    channel = _socket.socket(fileno=3)
    os.set_inheritable(3, False)
    return Channel(channel)


def main(channel=None):
    # A whole line is written at once; what is left of a line goes out with the answer.
    sys.stdout.reconfigure(line_buffering=True)
    sys.meta_path.insert(0, StandardLibraryFirst(search_path()))
    if "logging" in sys.modules:
        import _sonagi_logging

        _sonagi_logging.configure(sys.modules["logging"], State)
    builtins()
    channel = channel or open_channel()
    channel.take_way_back()
    handler = load(channel)
    restore(channel)
    _Names.load()
    serve(channel, handler)
