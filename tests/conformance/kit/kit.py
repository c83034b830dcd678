"""Runs one case: every test_* function of a file, against any endpoint, with real boto3.

    python kit.py CASE/case.py

reads the endpoint and the keys from the variables that every AWS client reads (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION), so the same case runs against any implementation. Prints one line per
function and ends with status 1 if one failed.
"""

import base64
import contextlib
import importlib.util
import io
import os
import sys
import time
import traceback
import urllib.parse
import uuid
import zipfile

import boto3
import botocore.config
import botocore.exceptions

ROLE = "arn:aws:iam::000000000000:role/conformance"
ECHO = "def handler(event, context):\n    return event\n"
LIMIT = 60


def endpoint():
    return os.environ["AWS_ENDPOINT_URL"]


def client(service="lambda", **options):
    """A client that tries once, so that an error is the answer to the first request."""
    config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=LIMIT)
    return boto3.client(service, config=options.pop("config", config), **options)


def archive(files):
    """A zip of {path: text or bytes}; the mode of a pair (content, mode) is kept."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for path, content in files.items():
            content, mode = content if isinstance(content, tuple) else (content, 0o644)
            info = zipfile.ZipInfo(path, date_time=(2026, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o100000 | mode) << 16
            out.writestr(info, content)
    return buffer.getvalue()


def folder_archive(folder, more=None):
    """A zip of everything in a folder, and more files."""
    files = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            with open(path, "rb") as file:
                files[os.path.relpath(path, folder)] = (file.read(), os.stat(path).st_mode & 0o777)
    return archive(files | (more or {}))


def python(source=ECHO):
    return archive({"app.py": source})


def node(source, name="index.mjs"):
    return archive({name: source})


def name(prefix="f"):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


PYTHON = "python3.11"
NODE = "nodejs20.x"


class Functions:
    """Creates functions and deletes what it created."""

    def __init__(self, made_by=None):
        self.client = made_by or client()
        self.made = []

    def create(self, code=None, **options):
        options = {
            "FunctionName": name(),
            "Role": ROLE,
            "Runtime": PYTHON,
            "Handler": "app.handler",
            "Code": {"ZipFile": code if code is not None else python()},
        } | options
        answer = self.client.create_function(**options)
        self.made.append(options["FunctionName"])
        return answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for made in self.made:
            with contextlib.suppress(botocore.exceptions.ClientError):
                self.client.delete_function(FunctionName=made)


@contextlib.contextmanager
def refused(code, status, *texts):
    """What is inside must be refused with this error."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        answer = error.response
        found = (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"])
        assert found == (code, status), f"expected {code} {status}, got {found}: {answer['Error']}"
        message = answer["Error"].get("Message") or answer.get("message") or ""
        for text in texts:
            assert text in message, f"{text!r} is not in {message!r}"
        return
    raise AssertionError(f"expected {code} {status}, but it succeeded")


def payload(answer):
    """The JSON of an Invoke answer."""
    import json

    return json.loads(answer["Payload"].read())


def tail(answer):
    return base64.b64decode(answer["LogResult"]).decode()


def eventually(what, look, limit=LIMIT):
    end = time.monotonic() + limit
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"waited {limit} s in vain for {what}"
        time.sleep(0.02)


def equal(found, expected):
    assert found == expected, f"\n  expected {expected!r}\n  found    {found!r}"


def url_request(url, method="GET", path="/", body=None, headers=None, query=""):
    """Calls a function URL: its host as Host header, the connection to the endpoint. Returns status, headers, body."""
    import http.client

    target = urllib.parse.urlsplit(endpoint())
    host = urllib.parse.urlsplit(url).netloc
    connection = http.client.HTTPConnection(target.hostname, target.port, timeout=LIMIT)
    connection.putrequest(method, path + query, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", host)
    for key, value in (headers or {}).items():
        connection.putheader(key, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def main(path):
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    sys.modules["kit"] = sys.modules[__name__]
    spec = importlib.util.spec_from_file_location("case", path)
    case = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(case)
    tests = [(key, value) for key, value in vars(case).items() if key.startswith("test_")]
    failed = 0
    for key, test in tests:
        begun = time.monotonic()
        try:
            test()
            print(f"ok     {key} ({time.monotonic() - begun:.2f} s)", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED {key}\n{traceback.format_exc()}", flush=True)
    print(f"{len(tests) - failed} of {len(tests)} ok")
    return 1 if failed or not tests else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
