"""Apps, functions, triggers, uploads: what Fn's API answers."""

import base64
import re

from fnkit import App, archive, equal, name, ok, refused, send, upload, PYTHON

ID = re.compile(r"^[0-9A-HJKMNP-TV-Z]{26}$")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
IMAGE = "fnproject/hello:0.0.1"


def test_apps_are_made_and_refused():
    called = name()
    app = ok("POST", "/v2/apps", {"name": called, "config": {"A": "1"}, "annotations": {"k": [1]}})
    assert ID.match(app["id"]) and TIME.match(app["created_at"]), app
    equal(app["created_at"], app["updated_at"])
    equal((app["name"], app["config"], app["annotations"]), (called, {"A": "1"}, {"k": [1]}))
    for body, status, message in [
        ({}, 400, "Missing Name"),
        ({"name": ""}, 400, "Missing Name"),
        ({"name": "a b"}, 400, "Invalid app name"),
        ({"name": "x" * 256}, 400, "App name must be 255 characters or less"),
        ({"name": called}, 409, "App already exists"),
        ({"name": name(), "id": "x"}, 400, "App ID cannot be supplied on create"),
        ({"name": name(), "shape": "ARM"}, 400, "Invalid app shape"),
        ({"name": name(), "syslog_url": "http://x"}, 400, "invalid syslog url: "),
        ({"name": name(), "annotations": {"a b": 1}}, 400, "Invalid annotation key, "),
        ({"name": name(), "annotations": {"k" * 129: 1}}, 400, "Invalid annotation key length, "),
        ({"name": name(), "annotations": {"k": ""}}, 400, "Invalid annotation value, "),
        ({"name": name(), "annotations": {"k": "v" * 513}}, 400, "Invalid annotation value length, "),
        ({"name": name(), "annotations": {f"k{n}": 1 for n in range(101)}}, 400, "Invalid annotation change, "),
        ({"name": 1}, 400, "Invalid JSON"),
        ([], 400, "Invalid JSON"),
        (b"", 400, "Invalid JSON"),
        (b"{", 400, "Invalid JSON"),
    ]:
        refused(status, message, "POST", "/v2/apps", body)
    refused(404, "App not found", "GET", "/v2/apps/x")
    refused(404, "App not found", "DELETE", "/v2/apps/x")
    refused(404, "App not found", "PUT", "/v2/apps/x", {})
    equal(send("DELETE", f"/v2/apps/{app['id']}").status, 204)
    refused(404, "App not found", "GET", f"/v2/apps/{app['id']}")


def test_apps_are_changed_by_key():
    app = ok("POST", "/v2/apps", {"name": name(), "config": {"A": "1", "B": "2"}, "annotations": {"k": 1, "l": 2}})
    path = f"/v2/apps/{app['id']}"
    same = ok("PUT", path, {"config": {"A": "1"}})
    equal(same["updated_at"], app["updated_at"])
    new = ok("PUT", path, {"config": {"A": "", "C": "3"}, "annotations": {"k": "", "l": None, "m": {"x": 1}}})
    equal((new["config"], new["annotations"]), ({"B": "2", "C": "3"}, {"m": {"x": 1}}))
    # What a client got it may send back.
    equal(ok("PUT", path, new), new)
    refused(409, "Could not update - name is immutable", "PUT", path, {"name": name()})
    refused(400, "App ID in path does not match ID in body", "PUT", path, {"id": "x"})
    send("DELETE", path)


def test_lists_come_in_pages():
    names = sorted(name("page") for _ in range(5))
    apps = [ok("POST", "/v2/apps", {"name": called}) for called in reversed(names)]
    equal([app["name"] for app in ok("GET", f"/v2/apps?name={names[2]}")["items"]], [names[2]])
    equal(ok("GET", f"/v2/apps?name={name()}")["items"], [])
    with App() as app:
        fns = sorted(name("p") for _ in range(3))
        for called in reversed(fns):
            ok("POST", "/v2/fns", {"name": called, "app_id": app.id, "image": IMAGE})
        first = ok("GET", f"/v2/fns?app_id={app.id}&per_page=2")
        equal([fn["name"] for fn in first["items"]], fns[:2])
        equal(base64.urlsafe_b64decode(first["next_cursor"] + "==").decode(), fns[1])
        second = ok("GET", f"/v2/fns?app_id={app.id}&per_page=2&cursor={first['next_cursor']}")
        equal(([fn["name"] for fn in second["items"]], "next_cursor" in second), (fns[2:], False))
        full = ok("GET", f"/v2/fns?app_id={app.id}&per_page=3")
        empty = ok("GET", f"/v2/fns?app_id={app.id}&per_page=3&cursor={full['next_cursor']}")
        equal((empty["items"], "next_cursor" in empty), ([], False))
        for size in ("0", "-3", "x", "1000"):
            equal(len(ok("GET", f"/v2/fns?app_id={app.id}&per_page={size}")["items"]), 3)
        equal(ok("GET", "/v2/fns?app_id=nobody")["items"], [])
    for app in apps:
        send("DELETE", f"/v2/apps/{app['id']}")


def test_functions_are_made_changed_and_refused():
    with App() as app:
        made = {"name": "f.v1", "app_id": app.id, "image": IMAGE}
        fn = ok("POST", "/v2/fns", made)
        equal((fn["memory"], fn["timeout"], fn["idle_timeout"]), (128, 30, 30))
        assert ID.match(fn["id"]) and fn["created_at"] == fn["updated_at"]
        endpoint = fn["annotations"]["fnproject.io/fn/invokeEndpoint"]
        assert endpoint.startswith("http://") and endpoint.endswith(f"/invoke/{fn['id']}"), endpoint
        equal(ok("GET", f"/v2/fns/{fn['id']}"), fn)
        other = {**made, "name": name()}
        for body, status, message in [
            ({**other, "app_id": ""}, 400, "Missing AppID on Fn"),
            ({**other, "name": ""}, 400, "Missing Fn name"),
            ({**other, "image": ""}, 400, "Missing image on Fn"),
            ({**other, "app_id": "nobody"}, 404, "App not found"),
            ({**other, "name": "a b"}, 400, "name must be a valid string"),
            ({**other, "name": "x" * 256}, 400, "Fn name must be 255 characters or less"),
            ({**other, "memory": 8193}, 400, "memory value is out of range. It should be between 0 and 8192"),
            ({**other, "timeout": 301}, 400, "timeout value is out of range, must be between 0 and 300"),
            ({**other, "timeout": -1}, 400, "timeout value is out of range, must be between 0 and 300"),
            ({**other, "idle_timeout": 3601}, 400, "idle_timeout value is out of range, must be between 0 and 3600"),
            ({**other, "memory": -1}, 400, "Invalid JSON"),
            ({**other, "config": {"A": 1}}, 400, "Invalid JSON"),
            (made, 409, "Fn with specified name already exists"),
            ({**other, "id": fn["id"]}, 400, "ID cannot be provided for Fn creation"),
            ({**other, "image": "sonagi.local/x@sha256:00"}, 404, "Failed to pull image 'sonagi.local/x@sha256:00'"),
        ]:
            refused(status, message, "POST", "/v2/fns", body)
        refused(400, "Missing AppID on Fn", "GET", "/v2/fns")
        path = f"/v2/fns/{fn['id']}"
        new = ok("PUT", path, {"memory": 256, "timeout": 0, "config": {"A": "1"}, "name": "ignored", "app_id": "ignored"})
        equal((new["memory"], new["timeout"], new["config"], new["name"]), (256, 30, {"A": "1"}, "f.v1"))
        same = ok("PUT", path, {**ok("GET", path)})
        equal(same["updated_at"], new["updated_at"])
        refused(404, "Fn not found", "GET", "/v2/fns/x")
        refused(404, "Fn not found", "PUT", "/v2/fns/x", {})
        equal(send("GET", f"{path}/calls").status, 410)
        equal(send("DELETE", path).status, 204)
        refused(404, "Fn not found", "DELETE", path)


def test_triggers_are_made_changed_and_refused():
    with App() as app, App() as foreign:
        fn = ok("POST", "/v2/fns", {"name": "f", "app_id": app.id, "image": IMAGE})
        elsewhere = ok("POST", "/v2/fns", {"name": "g", "app_id": foreign.id, "image": IMAGE})
        made = {"name": "t", "app_id": app.id, "fn_id": fn["id"], "type": "http", "source": "/a/b"}
        trigger = ok("POST", "/v2/triggers", made)
        endpoint = trigger["annotations"]["fnproject.io/trigger/httpEndpoint"]
        assert endpoint.endswith(f"/t/{app.name}/a/b"), endpoint
        equal(ok("GET", f"/v2/triggers/{trigger['id']}"), trigger)
        other = {**made, "name": "u", "source": "/u"}
        for body, status, message in [
            ({**other, "app_id": ""}, 400, "Missing App ID on Trigger"),
            ({**other, "name": ""}, 400, "Missing name on Trigger"),
            ({**other, "fn_id": ""}, 400, "Missing Fn ID on Trigger"),
            ({**other, "type": "x"}, 400, "Trigger Type Not Supported"),
            ({**other, "source": ""}, 400, "Missing Trigger Source"),
            ({**other, "source": "u"}, 400, "Missing Trigger Source Prefix '/'"),
            ({**other, "app_id": "nobody"}, 404, "App not found"),
            ({**other, "fn_id": "nobody"}, 404, "Fn not found"),
            ({**other, "fn_id": elsewhere["id"]}, 400, "Invalid Fn ID - not owned by specified app"),
            ({**other, "name": "a b"}, 400, "Invalid name for Trigger"),
            ({**other, "name": "t"}, 409, "Trigger already exists"),
            ({**other, "source": "/a/b"}, 409, "Trigger with the same type and source exists on this app"),
        ]:
            refused(status, message, "POST", "/v2/triggers", body)
        refused(400, "Missing App ID on Trigger", "GET", "/v2/triggers")
        equal([t["name"] for t in ok("GET", f"/v2/triggers?app_id={app.id}&fn_id={fn['id']}")["items"]], ["t"])
        equal(ok("GET", f"/v2/triggers?app_id={app.id}&name=x")["items"], [])
        new = ok("PUT", f"/v2/triggers/{trigger['id']}", {"source": "/c", "name": "v", "annotations": {"k": 1}})
        equal((new["source"], new["name"], new["annotations"]["k"]), ("/c", "v", 1))
        refused(404, "Trigger not found", "GET", "/v2/triggers/x")
        # What a function had goes with it.
        equal(send("DELETE", f"/v2/fns/{fn['id']}").status, 204)
        refused(404, "Trigger not found", "GET", f"/v2/triggers/{trigger['id']}")


def test_uploads_are_their_content():
    files = {"func.yaml": PYTHON % "up", "func.py": "def handler(ctx, data=None):\n    return 'x'\n"}
    one, two = upload(files), upload(files)
    equal(one, two)
    assert re.match(r"^sonagi\.local/up@sha256:[0-9a-f]{64}$", one["image"]), one
    equal((one["image"].rsplit("@", 1)[1], one["runtime"]), (one["digest"], "python"))
    assert upload(files, "other")["image"].startswith("sonagi.local/other@")
    zipped = {"Content-Type": "application/zip"}
    for body, part in [
        (b"", "the body is empty"),
        (b"not a zip", "the uploaded folder was refused"),
        (archive({"func.py": "x"}), "the archive has no func.yaml"),
        (archive({"func.yaml": "name: x\n"}), "func.yaml: schema_version is missing"),
        (archive({"func.yaml": PYTHON.replace("python", "java11", 1) % "x"}), "runtime \"java11\" is not available"),
        (archive({"../func.yaml": PYTHON % "x"}), "the uploaded folder was refused"),
        (archive({**files, "requirements.txt": "left_pad\n"}), "requirements.txt asks for \"left-pad\""),
    ]:
        refused(400, part, "POST", "/v2/sources?name=x", body, headers=zipped)


def test_what_is_not_there():
    refused(404, "Path not found: GET /v2/x", "GET", "/v2/x")
    refused(405, "Method not allowed: PATCH /v2/apps", "PATCH", "/v2/apps")
    equal(ok("GET", "/version")["version"], "0.3.753")
    for token in (None, "wrong"):
        equal(send("GET", "/v2/apps", token=token).status, 401)
