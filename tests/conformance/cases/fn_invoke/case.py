"""Calls: by id, by trigger, detached; what goes in and what comes out."""

import json
import time

from fnkit import App, equal, invoke, node, ok, python, refused, send

ECHO = """
import io, json
from fdk import response

def handler(ctx, data: io.BytesIO = None):
    seen = {
        "body": data.getvalue().decode("latin1"), "headers": ctx.Headers(), "call": ctx.CallID(), "deadline": ctx.Deadline(),
        "method": ctx.Method(), "url": ctx.RequestURL(), "config": dict(ctx.Config()),
        "app": [ctx.AppID(), ctx.AppName()], "fn": [ctx.FnID(), ctx.FnName()],
    }
    headers = {"Content-Type": "application/json", "X-Own": "1"}
    return response.Response(ctx, response_data=json.dumps(seen), headers=headers, status_code=202)
"""
NODE_ECHO = """
const fdk = require('@fnproject/fdk');
fdk.handle((input, ctx) => {
  ctx.httpGateway.statusCode = 418;
  ctx.httpGateway.setResponseHeader('Return-Header', 'one', 'two');
  ctx.responseContentType = 'application/json';
  return { input, headers: ctx.headers, url: ctx.httpGateway.requestURL, method: ctx.httpGateway.method };
});
"""


def test_a_call_by_id():
    with App(config={"LEVEL": "app", "ONLY": "app", "FN_FN_ID": "spoofed"}) as app:
        fn = app.fn(python(ECHO), config={"LEVEL": "fn"})
        headers = {"Content-Type": "text/plain", "X-Two": "1", "Fn-Intent": "httprequest", "Fn-Http-Method": "PUT", "Fn-Call-Id": "mine"}
        answer = invoke(fn, b"hello", headers)
        equal(answer.status, 200)
        seen = answer.json
        equal((seen["body"], seen["method"], seen["url"]), ("hello", None, None))
        equal(seen["call"], answer.call)
        equal(len(answer.call), 26)
        equal((seen["app"], seen["fn"]), ([app.id, app.name], [fn["id"], fn["name"]]))
        equal((seen["config"]["LEVEL"], seen["config"]["ONLY"], seen["config"]["FN_FN_ID"]), ("fn", "app", fn["id"]))
        equal((seen["config"]["FN_FORMAT"], seen["config"]["FN_TYPE"], seen["config"]["FN_MEMORY"]), ("http-stream", "sync", "256"))
        given = {key.lower(): value for key, value in seen["headers"].items()}
        equal((given["content-type"], given["x-two"]), ("text/plain", "1"))
        assert not {"fn-intent", "fn-http-method", "authorization"} & set(given), given
        assert len(seen["deadline"]) == 20 and seen["deadline"].endswith("Z"), seen
        equal((answer.headers["X-Own"], answer.headers["Content-Type"]), ("1", "application/json"))
        assert answer.headers["Fn-Fdk-Version"].startswith("fdk-python/"), answer.headers.items()
        equal(int(answer.headers["Content-Length"]), len(answer.body))
        equal(invoke(fn).json["body"], "")
        # What is changed is seen by the next call.
        ok("PUT", f"/v2/apps/{app.id}", {"config": {"ONLY": "new"}})
        equal(invoke(fn).json["config"]["ONLY"], "new")
        refused(405, "Method not allowed: GET", "GET", f"/invoke/{fn['id']}")
        refused(404, "Fn not found", "POST", "/invoke/x")


def test_a_trigger_is_a_gateway():
    with App() as app:
        fn = app.fn(python(ECHO))
        source = app.trigger(fn, "/a/b")["annotations"]["fnproject.io/trigger/httpEndpoint"]
        path = source.split("/", 3)[3]
        answer = send("PUT", f"/{path}?x=1&y=%20", b"data", {"Content-Type": "text/x", "Authorization": "Basic eA=="}, token=None)
        equal(answer.status, 202)
        seen = answer.json
        equal((seen["body"], seen["method"]), ("data", "PUT"))
        equal(seen["url"], f"{source}?x=1&y=%20")
        equal(seen["headers"]["authorization"], "Basic eA==")
        equal((answer.headers["X-Own"], answer.headers["Fn-Fdk-Version"], len(answer.call)), ("1", None, 26))
        equal(send("GET", f"/{path}", token=None).json["method"], "GET")
        refused(404, "Trigger not found", "GET", f"/{path}/c", token=None)
        refused(404, "Trigger not found", "GET", f"/{path.upper().replace('T/', 't/', 1).replace(app.name.upper(), app.name)}", token=None)
        refused(404, "App not found", "GET", "/t/nobody/x", token=None)


def test_a_node_function():
    with App() as app:
        fn = app.fn(node(NODE_ECHO))
        answer = invoke(fn, {"a": [1, "é"]}, {"X-Many": "1"})
        equal((answer.status, answer.json["input"]), (200, {"a": [1, "é"]}))
        equal(answer.json["headers"]["X-Many"], ["1"])
        # A plain call sees what the FDK says to a gateway.
        equal((answer.headers["Fn-Http-Status"], answer.headers.get_all("Fn-Http-H-Return-Header")), ("418", ["one", "two"]))
        app.trigger(fn, "/n")
        answer = send("POST", f"/t/{app.name}/n?q=1", {"b": 2}, {"X-One": "1"}, token=None)
        equal((answer.status, answer.headers.get_all("Return-Header")), (418, ["one", "two"]))
        equal((answer.json["method"], answer.json["input"]), ("POST", {"b": 2}))
        assert answer.json["url"].endswith(f"/t/{app.name}/n?q=1")
        equal(answer.json["headers"]["Fn-Http-H-X-One"], ["1"])
        equal([key for key in answer.headers if key.lower().startswith("fn-")], ["Fn-Call-Id"] if "Fn-Call-Id" in answer.headers.keys() else ["fn-call-id"])


COUNT = """
import os, time
def handler(ctx, data=None):
    time.sleep(float(data.getvalue() or b"0"))
    print("ran", flush=True)
    return "done"
"""


def test_detached_calls_are_not_waited_for():
    with App() as app:
        fn = app.fn(python(COUNT), timeout=60)
        equal(invoke(fn, b"0").text, "done")
        begun = time.monotonic()
        answer = invoke(fn, b"50", {"Fn-Invoke-Type": "detached"})
        equal((answer.status, answer.body, len(answer.call)), (202, b"", 26))
        app.trigger(fn, "/d")
        answer = send("POST", f"/t/{app.name}/d", b"0", {"Fn-Invoke-Type": "detached"}, token=None)
        equal((answer.status, answer.body), (202, b""))
        assert time.monotonic() - begun < 45
        equal(invoke(fn, b"0", {"Fn-Invoke-Type": "sync"}).text, "done")
        refused(404, "Fn not found", "POST", "/invoke/x", b"", headers={"Fn-Invoke-Type": "detached"})


def test_an_image_is_told_that_it_is_not_run():
    with App() as app:
        fn = ok("POST", "/v2/fns", {"name": "f", "app_id": app.id, "image": "fnproject/hello:0.0.1"})
        answer = refused(404, "Failed to pull image 'fnproject/hello:0.0.1'", "POST", f"/invoke/{fn['id']}")
        equal(len(answer.call), 26)


def test_many_calls_at_once_have_their_own_answers():
    from concurrent.futures import ThreadPoolExecutor

    with App() as app:
        functions = [app.fn(python(ECHO)), app.fn(node(NODE_ECHO))]

        def one(number):
            answer = invoke(functions[number % 2], {"n": number})
            seen = answer.json
            return (answer.status, json.loads(seen["body"])["n"] if "body" in seen else seen["input"]["n"])

        with ThreadPoolExecutor(8) as pool:
            equal(list(pool.map(one, range(120))), [(200, number) for number in range(120)])
