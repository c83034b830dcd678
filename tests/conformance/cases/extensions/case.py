"""Extensions: programs in layers and parts of runtimes hear of every event and of the end; telemetry reaches them."""

import time

from kit import Functions, archive, client, equal, eventually, name, payload, python, refused, tail

# An extension in the manner of the documentation. What it hears is written to a file that the function can read.
COMMON = '''#!/usr/bin/env python3
import json, os, sys, threading, time, urllib.request

API = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"]
NAME = os.path.basename(__file__)

def call(method, path, body=None, **headers):
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(API + path, data, headers, method=method)) as answer:
        return answer.headers, answer.read()

def register(*events):
    headers, body = call("POST", "/2020-01-01/extension/register", {"events": events},
        Lambda_Extension_Name=NAME, Lambda_Extension_Accept_Feature="accountId")
    return headers["Lambda-Extension-Identifier"], json.loads(body)

def following(own):
    headers, body = call("GET", "/2020-01-01/extension/event/next", Lambda_Extension_Identifier=own)
    assert headers["Lambda-Extension-Event-Identifier"]
    return json.loads(body)

def note(what):
    with open("/tmp/" + NAME, "a") as file:
        file.write(json.dumps(what) + "\\n")
'''

LISTENER = COMMON + '''
import datetime, hashlib, hmac, urllib.parse

def put(bucket, key, body):
    # Signed with the keys of the instance, without an SDK.
    host = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": now,
               "x-amz-security-token": os.environ["AWS_SESSION_TOKEN"]}
    signed = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\\n" for name in sorted(headers))
    canonical = f"PUT\\n/{bucket}/{key}\\n\\n{lines}\\n{signed}\\n{digest}"
    scope = f"{now[:8]}/{os.environ['AWS_REGION']}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\\n{now}\\n{scope}\\n" + hashlib.sha256(canonical.encode()).hexdigest()
    secret = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in scope.split("/"):
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
    credential = os.environ["AWS_ACCESS_KEY_ID"] + "/" + scope
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}"
    url = os.environ["AWS_ENDPOINT_URL"] + f"/{bucket}/{key}"
    urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers, method="PUT")).read()
own, function = register("INVOKE", "SHUTDOWN")
note({"function": function, "hidden": [key for key in os.environ if key.startswith("_") or "CONTEXT_MISSING" in key]})
while True:
    event = following(own)
    note(event)
    if event["eventType"] == "SHUTDOWN":
        if "FAREWELL" in os.environ:
            put(*os.environ["FAREWELL"].split(), json.dumps(event).encode())
        sys.exit(0)
    print("said by the extension", flush=True)
    time.sleep(float(os.environ.get("LINGER", "0")))
'''

HANDLER = '''
import json, os, time
def handler(event, context):
    if "exit" in event:
        os._exit(event["exit"])
    time.sleep(event.get("sleep", 0))
    print("said by the function")
    heard = {}
    for name in event.get("read", ()):
        with open("/tmp/" + name) as file:
            heard[name] = [json.loads(line) for line in file]
    return {"id": context.aws_request_id, "instance": context.log_stream_name, "heard": heard}
'''


class Made(Functions):
    """Functions with extensions."""

    def layer(self, **files):
        files = {f"extensions/{path}": (text, 0o755) for path, text in files.items()}
        answer = self.client.publish_layer_version(LayerName=name("l"), Content={"ZipFile": archive(files)})
        return answer["LayerVersionArn"]

    def extended(self, variables=None, handler=HANDLER, options=None, **files):
        variables = {"Environment": {"Variables": variables or {}}}
        layers = [self.layer(**files)] if files else []
        made = self.create(python(handler), Layers=layers, **({"Timeout": 5, "MemorySize": 256} | variables | (options or {})))
        return made["FunctionName"]

    def call(self, function, **event):
        import json

        return self.client.invoke(FunctionName=function, Payload=json.dumps(event))


def test_an_extension_hears_of_every_event():
    with Made() as made:
        function = made.extended(listener=LISTENER)
        first = payload(made.call(function))
        second = payload(made.call(function, read=["listener"]))
        equal(first["instance"], second["instance"])
        begun, *events = second["heard"]["listener"]
        equal(begun["hidden"], [])
        told = begun["function"]
        equal((told["functionName"], told["functionVersion"]), (function, "$LATEST"))
        equal((told["handler"], told["accountId"]), ("app.handler", "000000000000"))
        equal([event["eventType"] for event in events[:1]], ["INVOKE"])
        equal(events[0]["requestId"], first["id"])
        assert events[0]["invokedFunctionArn"].endswith(f":function:{function}"), events[0]
        equal(events[0]["tracing"]["type"], "X-Amzn-Trace-Id")
        assert events[0]["deadlineMs"] > time.time() * 1000 - 60_000, events[0]


def test_the_answer_does_not_wait_for_extensions_and_the_next_event_does():
    with Made() as made:
        function = made.extended({"LINGER": "1"}, options={"Timeout": 10}, listener=LISTENER)
        first = payload(made.call(function))
        begun = time.monotonic()
        second = payload(made.call(function))
        took = time.monotonic() - begun
        # The instance was not free: another one was started, or the event waited.
        assert first["instance"] != second["instance"] or took > 0.5, took
        answer = made.client.invoke(FunctionName=function, LogType="Tail")
        log = tail(answer)
        assert "said by the extension" in log and "said by the function" in log, log
        billed = int(log.split("Billed Duration: ")[1].split(" ")[0])
        assert billed >= 1000, log


def farewell(made, bucket, change, variables=None, options=None):
    """What the extension hears at the end of an instance that ends by this."""
    key = name("k")
    function = made.extended({"FAREWELL": f"{bucket} {key}"} | (variables or {}), options=options, listener=LISTENER)
    made.call(function)
    change(function)
    s3 = client("s3")

    def look():
        import json

        found = s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents")
        return found and json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    told = eventually("the farewell", look)
    s3.delete_object(Bucket=bucket, Key=key)
    assert told["deadlineMs"] > time.time() * 1000 - 60_000, told
    return told["shutdownReason"]


def test_extensions_hear_of_the_end():
    s3, bucket = client("s3"), name("b")
    s3.create_bucket(Bucket=bucket)
    with Made() as made:
        retire = lambda function: made.client.update_function_configuration(FunctionName=function, Description="new")
        equal(farewell(made, bucket, retire), "spindown")

        def late(function):
            answer = made.call(function, sleep=30)
            equal(payload(answer)["errorType"], "Sandbox.Timedout")

        equal(farewell(made, bucket, late, options={"Timeout": 1}), "timeout")

        def crash(function):
            answer = made.call(function, exit=3)
            equal(payload(answer)["errorType"], "Runtime.ExitError")

        equal(farewell(made, bucket, crash), "failure")
    s3.delete_bucket(Bucket=bucket)


def test_extensions_that_fail_fail_the_instance():
    with Made() as made:
        ends = COMMON + 'register("INVOKE")\nsys.exit(3)\n'
        answer = made.call(made.extended(ends=ends))
        equal(answer["FunctionError"], "Unhandled")
        error = payload(answer)
        equal((error["errorType"], "exit status 3" in error["errorMessage"]), ("Extension.Crash", True))

        refuses = COMMON + """
own, _ = register("INVOKE")
call("POST", "/2020-01-01/extension/init/error", {}, Lambda_Extension_Identifier=own,
    Lambda_Extension_Function_Error_Type="Extension.NoConfig")
time.sleep(60)
"""
        error = payload(made.call(made.extended(refuses=refuses)))
        equal((error["errorType"], "Extension.NoConfig" in error["errorMessage"]), ("Extension.InitError", True))

        later = COMMON + 'own, _ = register("INVOKE")\nfollowing(own)\ntime.sleep(0.3)\nos.kill(os.getpid(), 9)\n'
        function = made.extended(later=later)
        error = payload(made.call(function, sleep=3))
        equal((error["errorType"], "signal: killed" in error["errorMessage"]), ("Extension.Crash", True))

        layer = made.client.publish_layer_version(
            LayerName=name("l"), Content={"ZipFile": archive({"extensions/plain": ("no program", 0o644)})}
        )
        made.client.update_function_configuration(FunctionName=function, Layers=[layer["LayerVersionArn"]])
        equal(payload(made.call(function))["errorType"], "PermissionDenied")
        # Switched off by a file of a layer.
        off = made.client.publish_layer_version(
            LayerName=name("l"), Content={"ZipFile": archive({"disable-extensions-jwigqn8j": ""})}
        )
        arns = [layer["LayerVersionArn"], off["LayerVersionArn"]]
        made.client.update_function_configuration(FunctionName=function, Layers=arns)
        assert payload(made.call(function))["instance"]


SHELL = """#!/bin/bash
# What the documentation shows for shells.
set -e
api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
id=$(curl -s -o /dev/null -D - -X POST "$api/register" -H "Lambda-Extension-Name: $(basename "$0")" \\
    -d '{"events": ["INVOKE"]}' | tr -d '\\r' | sed -n 's/^[Ll]ambda-[Ee]xtension-[Ii]dentifier: //p')
while true; do
    curl -s "$api/event/next" -H "Lambda-Extension-Identifier: $id" >> /tmp/shell
    echo >> /tmp/shell
done
"""


def test_shells_and_custom_runtimes():
    loop = """#!/bin/sh
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
while true; do
  id=$(curl -sD - -o /dev/null "$api/next" | tr -d '\\r' | sed -n 's/^[Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d: //p')
  curl -s -X POST -d "[\\"$(tr -d '\\n' < /tmp/shell | sed 's/\\"/./g')\\"]" "$api/$id/response" > /dev/null
done
"""
    with Made() as made:
        options = {"Runtime": "provided.al2023", "Code": {"ZipFile": archive({"bootstrap": (loop, 0o755)})}}
        arn = made.layer(shell=SHELL)
        function = made.create(Layers=[arn], **options)["FunctionName"]
        made.call(function)
        assert ".eventType.:.INVOKE." in payload(made.call(function))[0]


INTERNAL = '''
import json, os, threading, urllib.request
API = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2020-01-01/extension/"
HEARD = []
def post(path, body, **headers):
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    return urllib.request.urlopen(urllib.request.Request(API + path, body and json.dumps(body).encode(), headers))
own = post("register", {"events": ["INVOKE"]}, Lambda_Extension_Name="inside").headers["Lambda-Extension-Identifier"]
try:
    post("register", {"events": ["SHUTDOWN"]}, Lambda_Extension_Name="other")
except urllib.error.HTTPError as error:
    HEARD.append([error.code, json.loads(error.read())["errorType"]])
def listen():
    while True:
        HEARD.append(json.loads(post("event/next", None, Lambda_Extension_Identifier=own).read())["eventType"])
threading.Thread(target=listen, daemon=True).start()
def handler(event, context):
    return HEARD
'''


def test_internal_extensions():
    with Made() as made:
        function = made.extended(handler=INTERNAL)
        made.call(function)
        heard = payload(made.call(function))
        equal(heard[:2], [[403, "Extension.InvalidEventType"], "INVOKE"])


TELEMETRY = COMMON + '''
from http.server import BaseHTTPRequestHandler, HTTPServer
DONE = threading.Condition()
SEEN = []

class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        items = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(items, list)
        with DONE:
            for item in items:
                note(item)
                if item["type"] == "platform.runtimeDone":
                    SEEN.append(item["record"]["requestId"])
            DONE.notify_all()
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass

server = HTTPServer(("0.0.0.0", 9003), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
own, _ = register("INVOKE", "SHUTDOWN")
wanted = {
    "schemaVersion": "2022-12-13", "types": ["platform", "function", "extension"],
    "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:9003"},
}
_, body = call("PUT", "/2022-07-01/telemetry", wanted, Lambda_Extension_Identifier=own)
assert body == b'"OK"', body
try:
    call("PUT", "/2022-07-01/telemetry", wanted | {"types": ["nonsense"]}, Lambda_Extension_Identifier=own)
except urllib.error.HTTPError as error:
    note({"type": "refused", "record": [error.code, json.loads(error.read())["errorType"]]})
print("ready to receive", flush=True)
while True:
    event = following(own)
    if event["eventType"] == "SHUTDOWN":
        sys.exit(0)
    # As those do that send everything away before they let the instance rest.
    with DONE:
        DONE.wait_for(lambda: event["requestId"] in SEEN, 5)
'''


def test_telemetry_reaches_its_subscribers():
    with Made() as made:
        function = made.extended(telemetry=TELEMETRY)
        first = payload(made.call(function))

        def look():
            heard = payload(made.call(function, read=["telemetry"]))["heard"]["telemetry"]
            reports = [item for item in heard if item["type"] == "platform.report"]
            return heard if any(item["record"]["requestId"] == first["id"] for item in reports) else None

        heard = eventually("the report", look)
        kinds = [item["type"] for item in heard]
        for kind in (
            "platform.initStart", "platform.initRuntimeDone", "platform.initReport", "platform.telemetrySubscription",
            "platform.extension", "platform.start", "platform.runtimeDone", "platform.report", "function", "extension",
        ):
            assert kind in kinds, (kind, kinds)
        records = {kind: next(item["record"] for item in heard if item["type"] == kind) for kind in kinds}
        equal(records["refused"], [400, "ValidationError"])
        equal(records["function"], "said by the function")
        equal(records["extension"], "ready to receive")
        start = records["platform.initStart"]
        equal((start["initializationType"], start["phase"], start["functionName"]), ("on-demand", "init", function))
        equal(start["instanceMaxMemory"], 256 * 1024 * 1024)
        equal(records["platform.telemetrySubscription"]["types"], ["platform", "function", "extension"])
        done = records["platform.runtimeDone"]
        equal((done["requestId"], done["status"]), (first["id"], "success"))
        assert done["metrics"]["durationMs"] > 0 and done["metrics"]["producedBytes"] > 0, done
        report = records["platform.report"]
        equal((report["requestId"], report["status"]), (first["id"], "success"))
        equal(report["metrics"]["memorySizeMB"], 256)
        assert report["metrics"]["initDurationMs"] > 0, report
        for item in heard:
            assert item["type"] == "refused" or item["time"].endswith("Z"), item


def test_lines_of_the_platform_in_json():
    import json

    with Made() as made:
        logging = {"LogFormat": "JSON", "SystemLogLevel": "DEBUG"}
        function = made.extended(options={"LoggingConfig": logging})
        log = tail(made.client.invoke(FunctionName=function, LogType="Tail")).splitlines()
        system = [json.loads(line) for line in log if '"type":"platform.' in line]
        equal([line["type"] for line in system], ["platform.start", "platform.runtimeDone", "platform.report"])
        assert not any(line.startswith(("START", "END", "REPORT")) for line in log), log
        made.client.update_function_configuration(
            FunctionName=function, LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": "WARN"}
        )
        log = tail(made.client.invoke(FunctionName=function, LogType="Tail"))
        assert "platform." not in log, log
        with refused("InvalidParameterValueException", 400):
            made.client.update_function_configuration(
                FunctionName=function, LoggingConfig={"LogFormat": "Text", "SystemLogLevel": "WARN"}
            )
