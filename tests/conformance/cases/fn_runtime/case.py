"""How functions fail, and what is left of their containers."""

import time

from fnkit import App, equal, invoke, node, ok, python, refused

INIT = "Container failed to initialize, please ensure you are using the latest fdk and check the logs"

SERVES = """
import io, json, os, sys, time
COUNT = 0

def handler(ctx, data: io.BytesIO = None):
    global COUNT
    COUNT += 1
    wish = json.loads(data.getvalue() or b"{}")
    if "raise" in wish:
        raise Exception(wish["raise"])
    if "late" in wish:
        raise TimeoutError()
    if "sleep" in wish:
        time.sleep(wish["sleep"])
    if "exit" in wish:
        os._exit(wish["exit"])
    if "memory" in wish:
        hold = bytearray(wish["memory"] << 20)
        for at in range(0, len(hold), 4096):
            hold[at] = 1
    if "write" in wish:
        with open("/tmp/file", "wb") as file:
            file.write(b"x" * (wish["write"] << 20))
    if "big" in wish:
        return "x" * wish["big"]
    from fdk import response
    return response.Response(ctx, response_data=json.dumps([os.getpid(), COUNT, os.getuid()]), headers={"Content-Type": "application/json"})
"""


def failed(fn, wish, status, message):
    answer = invoke(fn, wish)
    equal((answer.status, answer.json), (status, {"message": message}))
    equal(len(answer.call), 26)


def test_errors_of_a_function():
    with App() as app:
        fn = app.fn(python(SERVES), timeout=4)
        first = invoke(fn, {}).json
        assert first[2] != 0, "not root"
        failed(fn, {"raise": "boom"}, 502, "function failed")
        failed(fn, {"late": 1}, 504, "Timed out")
        # Its container has stayed.
        equal(invoke(fn, {}).json[1], 4)
        begun = time.monotonic()
        failed(fn, {"sleep": 20}, 504, "Timed out")
        assert 3.5 < time.monotonic() - begun < 19
        equal(invoke(fn, {"sleep": 0}).json[1], 1)
        failed(fn, {"exit": 3}, 502, "error receiving function response")
        failed(fn, {"memory": 2000}, 502, "error receiving function response")
        failed(fn, {"big": 7 << 20}, 502, "function response body too large")
        equal(invoke(fn, {"big": 6 << 20}).status, 200)
        equal(invoke(fn, {"write": 1}).status, 200)


def test_a_container_is_kept_for_its_idle_timeout():
    with App() as app:
        kept = app.fn(python(SERVES), idle_timeout=600)
        gone = app.fn(python(SERVES), idle_timeout=1)
        equal(invoke(kept, {}).json[1], 1)
        invoke(gone, {})
        # Nothing tells from outside that a container is gone but a call, which keeps it if it is not.
        for pause in (2, 4, 8, 16):
            time.sleep(pause)
            if invoke(gone, {}).json[1] == 1:
                break
        else:
            raise AssertionError("a container outlives its idle timeout")
        # Frozen meanwhile, and thawed.
        equal(invoke(kept, {}).json[1], 2)


def test_a_module_is_loaded_by_the_first_call():
    with App() as app:
        fn = app.fn(python("import nothing_of_that_name\n\ndef handler(ctx, data=None):\n    return 'x'\n"))
        for _ in range(2):
            failed(fn, {}, 502, "function failed")


def test_a_node_function_that_fails():
    source = "const fdk = require('@fnproject/fdk');\nfdk.handle((i) => { if (i === 'null') return null; throw new Error('boom'); }, {inputMode: 'string'});\n"
    with App() as app:
        fn = app.fn(node(source))
        answer = invoke(fn, b"x")
        equal((answer.status, answer.json), (502, {"message": "function failed"}))


def native(script, **more):
    text = "schema_version: 20180708\nname: n\nruntime: go\n"
    return {"func.yaml": text, "func": ("#!/usr/bin/env python3\n" + script, 0o755), **more}


def test_starts_that_fail():
    with App() as app:
        for files in [
            {"func.yaml": python("")["func.yaml"], "README": "no func.py"},
            node("process.exit(3)"),
            node("const fs = require('fs'); fs.writeFileSync('/tmp/iofs/lsnr.sock', ''); setInterval(() => {}, 1000)"),
            node("const fs = require('fs'); fs.mkdirSync('/tmp/iofs/lsnr.sock'); setInterval(() => {}, 1000)"),
            node("const fs = require('fs'); fs.symlinkSync('/tmp/other', '/tmp/iofs/lsnr.sock'); setInterval(() => {}, 1000)"),
            node("const fs = require('fs'); fs.symlinkSync('../other', '/tmp/iofs/lsnr.sock'); setInterval(() => {}, 1000)"),
            node("const fs = require('fs'); fs.symlinkSync('nowhere', '/tmp/iofs/lsnr.sock'); setInterval(() => {}, 1000)"),
        ]:
            answer = invoke(app.fn(files), b"{}")
            equal((answer.status, answer.json), (502, {"message": INIT}))
        fn = app.fn(node("setInterval(() => {}, 1000)"))
        begun = time.monotonic()
        answer = invoke(fn, b"{}")
        text = "Container initialization timed out, please ensure you are using the latest fdk and check the logs"
        equal((answer.status, answer.json), (504, {"message": text}))
        assert 4.5 < time.monotonic() - begun < 25


RAW = """
const net = require('net');
const fs = require('fs');
const server = net.createServer((socket) => {
  let text = '';
  socket.on('data', (data) => {
    text += data;
    if (!text.includes('\\r\\n\\r\\n')) return;
    %s
  });
  socket.on('error', () => {});
});
server.listen('/tmp/iofs/phony.sock', () => {
  fs.chmodSync('/tmp/iofs/phony.sock', 0o666);
  fs.symlinkSync('phony.sock', '/tmp/iofs/lsnr.sock');
});
"""


def test_answers_that_are_none():
    with App() as app:
        for answer, status, message in [
            ("socket.end('HTTP/1.1 500 No\\r\\nContent-Length: 0\\r\\n\\r\\n');", 502, "invalid function response"),
            ("socket.end('HTTP/1.1 201 Yes\\r\\nContent-Length: 0\\r\\n\\r\\n');", 502, "invalid function response"),
            ("socket.end();", 502, "error receiving function response"),
            ("socket.end('garbage\\r\\n\\r\\n');", 502, "error receiving function response"),
            ("socket.end('HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\nshort');", 502, "error receiving function response"),
            ("socket.end('HTTP/1.1 200 OK\\r\\nX: ' + 'x'.repeat(100000) + '\\r\\n\\r\\n');", 502, "function response header too large"),
            ("", 504, "Timed out"),
        ]:
            fn = app.fn(node(RAW % answer), timeout=2 if not answer else 30)
            found = invoke(fn, b"{}")
            equal((found.status, found.json), (status, {"message": message}))
        fn = app.fn(node(RAW % "socket.end('HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nKeep-Alive: 1\\r\\nSet-Cookie: a\\r\\nSet-Cookie: b\\r\\n\\r\\nwhole');"))
        for _ in range(2):
            found = invoke(fn, b"{}")
            equal((found.status, found.text), (200, "whole"))
            equal((found.headers.get_all("Set-Cookie"), found.headers["Keep-Alive"]), (["a", "b"], None))


def test_a_program_of_its_own():
    script = """
import os, socket
path = os.environ["FN_LISTENER"][len("unix:"):]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
os.chmod(path, 0o666)
listener.listen()
while True:
    connection, _ = listener.accept()
    heard = connection.recv(65536)
    body = heard.split(b"\\r\\n")[0]
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
    connection.close()
"""
    shell = "schema_version: 20180708\nname: n\nruntime: python\nentrypoint: python3 main.py\n"
    with App() as app:
        fn = app.fn({"func.yaml": shell, "main.py": script})
        for _ in range(2):
            answer = invoke(fn, b"{}")
            equal((answer.status, answer.text), (200, "POST /call HTTP/1.1"))
        refused(400, "the folder has no executable", "POST", "/v2/sources?name=x", __import__("fnkit").archive({"func.yaml": native("")["func.yaml"]}))
