"""Another account sees nothing, and cannot be seen."""

import os

from fnkit import App, equal, invoke, name, node, ok, python, refused, send, upload

OTHER = os.environ["FN_OTHER_TOKEN"]
HELLO = "def handler(ctx, data=None):\n    return 'hello of %s'\n"


def test_another_token_finds_nothing():
    with App() as app:
        fn = app.fn(python(HELLO % "one"))
        trigger = app.trigger(fn, "/x")
        for method, path, body, message in [
            ("GET", f"/v2/apps/{app.id}", None, "App not found"),
            ("PUT", f"/v2/apps/{app.id}", {}, "App not found"),
            ("DELETE", f"/v2/apps/{app.id}", None, "App not found"),
            ("GET", f"/v2/fns/{fn['id']}", None, "Fn not found"),
            ("PUT", f"/v2/fns/{fn['id']}", {}, "Fn not found"),
            ("DELETE", f"/v2/fns/{fn['id']}", None, "Fn not found"),
            ("GET", f"/v2/triggers/{trigger['id']}", None, "Trigger not found"),
            ("PUT", f"/v2/triggers/{trigger['id']}", {}, "Trigger not found"),
            ("DELETE", f"/v2/triggers/{trigger['id']}", None, "Trigger not found"),
            ("POST", f"/invoke/{fn['id']}", None, "Fn not found"),
            ("POST", "/v2/fns", {"name": "f", "app_id": app.id, "image": "x"}, "App not found"),
        ]:
            refused(404, message, method, path, body, token=OTHER)
        for path in ("/v2/apps", f"/v2/fns?app_id={app.id}", f"/v2/triggers?app_id={app.id}"):
            equal(ok("GET", path, token=OTHER)["items"], [])
        # An upload is its account's, whoever knows its digest.
        mine = ok("POST", "/v2/apps", {"name": name()}, token=OTHER)
        body = {"name": "f", "app_id": mine["id"], "image": fn["image"]}
        refused(404, "Failed to pull image", "POST", "/v2/fns", body, token=OTHER)
        equal(send("DELETE", f"/v2/apps/{mine['id']}", token=OTHER).status, 204)


def test_apps_of_one_name_are_two():
    called = name()
    ids = {}
    for token, who in (("", "first"), (OTHER, "other")):
        app = ok("POST", "/v2/apps", {"name": called}, token=token)
        image = upload(python(HELLO % who), "f", token=token)["image"]
        fn = ok("POST", "/v2/fns", {"name": "f", "app_id": app["id"], "image": image, "memory": 256}, token=token)
        body = {"name": "t", "app_id": app["id"], "fn_id": fn["id"], "type": "http", "source": "/t"}
        trigger = ok("POST", "/v2/triggers", body, token=token)
        equal(invoke(fn, token=token).text, f"hello of {who}")
        path = "/" + trigger["annotations"]["fnproject.io/trigger/httpEndpoint"].split("/", 3)[3]
        equal(send("GET", path, token=None).text, f"hello of {who}")
        ids[token] = app["id"]
    for token, app in ids.items():
        equal(send("DELETE", f"/v2/apps/{app}", token=token).status, 204)


def test_functions_do_not_see_each_other():
    look = """
const fdk = require('@fnproject/fdk');
const fs = require('fs');
fdk.handle((input) => {
  if (input) fs.writeFileSync('/tmp/mine', input);
  return [fs.existsSync('/tmp/mine'), fs.readdirSync('/tmp/iofs').sort(), fs.readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name)).length];
}, { inputMode: 'string' });
"""
    with App() as app:
        one, two = app.fn(node(look)), app.fn(node(look))
        equal(invoke(one, b"x").json[:2], [True, ["lsnr.sock", "lsnr.sock.tmp"]])
        seen = invoke(two, b"").json
        equal(seen[:2], [False, ["lsnr.sock", "lsnr.sock.tmp"]])
        assert seen[2] <= 4, seen
