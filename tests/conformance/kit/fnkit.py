"""What cases of Fn share: requests by hand (there is no client of Fn on PyPI or npm; its command line sends nothing else),
and functions written with the real FDKs.

Reads the address and the token from the variables that Fn's command line reads: FN_API_URL, FN_TOKEN.
"""

import http.client
import io
import json
import os
import urllib.parse
import uuid
import zipfile

LIMIT = 60

PYTHON = """schema_version: 20180708
name: %s
version: 0.0.1
runtime: python
entrypoint: /python/bin/fdk /function/func.py handler
"""
NODE = """schema_version: 20180708
name: %s
version: 0.0.1
runtime: node
entrypoint: node func.js
"""


class Answer:
    def __init__(self, answer):
        self.status = answer.status
        self.headers = answer.headers
        self.body = answer.read()

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def call(self):
        return self.headers["Fn-Call-Id"]


def address():
    target = urllib.parse.urlsplit(os.environ["FN_API_URL"])
    return target.hostname, target.port


def send(method, path, body=None, headers=None, token="", limit=LIMIT):
    """One request. `token` None leaves it out; what is no bytes is sent as JSON."""
    headers = dict(headers or {})
    token = os.environ.get("FN_TOKEN", "") if token == "" else token
    if token:
        headers.setdefault("Authorization", "Bearer " + token)
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    connection = http.client.HTTPConnection(*address(), timeout=limit)
    try:
        connection.request(method, path, body, headers)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def ok(method, path, body=None, **options):
    answer = send(method, path, body, **options)
    assert answer.status == 200, f"{method} {path}: {answer.status} {answer.text}"
    return answer.json


def refused(status, message, method, path, body=None, **options):
    """The request must be refused with this status and the beginning of this message, in one JSON object."""
    answer = send(method, path, body, **options)
    assert answer.status == status, f"{method} {path}: expected {status} {message!r}, got {answer.status} {answer.text}"
    found = answer.json
    assert list(found) == ["message"] and found["message"].startswith(message), f"{method} {path}: {found}, not {message!r}"
    return answer


def equal(found, expected):
    assert found == expected, f"\n  expected {expected!r}\n  found    {found!r}"


def name(prefix="a"):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def archive(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for path, content in files.items():
            content, mode = content if isinstance(content, tuple) else (content, 0o644)
            info = zipfile.ZipInfo(path, date_time=(2026, 1, 1, 0, 0, 0))
            info.external_attr = (0o100000 | mode) << 16
            out.writestr(info, content)
    return buffer.getvalue()


def upload(files, called=None, **options):
    path = "/v2/sources" + (f"?name={called}" if called else "")
    return ok("POST", path, archive(files), headers={"Content-Type": "application/zip"}, **options)


def python(source):
    return {"func.yaml": PYTHON % "f", "func.py": source, "requirements.txt": "fdk>=0.1.128\n"}


def node(source):
    package = {"name": "f", "main": "func.js", "dependencies": {"@fnproject/fdk": ">=0.0.76"}}
    return {"func.yaml": NODE % "f", "func.js": source, "package.json": json.dumps(package)}


class App:
    """An app that is gone at the end."""

    def __init__(self, **members):
        self.id = ok("POST", "/v2/apps", {"name": name(), **members})["id"]
        self.name = ok("GET", f"/v2/apps/{self.id}")["name"]

    def fn(self, files, **members):
        image = upload(files, "f")["image"]
        members = {"name": name("f"), "app_id": self.id, "image": image, "memory": 256, **members}
        return ok("POST", "/v2/fns", members)

    def trigger(self, function, source):
        members = {"name": name("t"), "app_id": self.id, "fn_id": function["id"], "type": "http", "source": source}
        return ok("POST", "/v2/triggers", members)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        send("DELETE", f"/v2/apps/{self.id}")


def invoke(function, body=None, headers=None, **options):
    return send("POST", f"/invoke/{function['id']}", body, headers, **options)
