"""Invocations against a stand-in for the engine: what each outcome looks like to the real client."""

import base64
import json

import kit

api = kit.client()


def played(functions, name):
    return functions.create(Handler=f"play.{name}")["FunctionName"]


def test_payloads_and_headers():
    with kit.Functions() as functions:
        source = "def handler(e, c): return {'event': e, 'arn': c.invoked_function_arn, 'id': c.aws_request_id, 'trace': c.trace, 'client': c.client}"
        made = functions.create(kit.python(source), Publish=True)
        name = made["FunctionName"]
        context = base64.b64encode(b'{"custom":{"k":"v"}}').decode()
        answer = api.invoke(FunctionName=name, Payload='"é\u2028"'.encode(), ClientContext=context, LogType="Tail")
        seen, headers = kit.payload(answer), answer["ResponseMetadata"]["HTTPHeaders"]
        kit.equal((seen["event"], seen["arn"], seen["client"]), ("é\u2028", made["FunctionArn"], '{"custom":{"k":"v"}}'))
        kit.equal(seen["id"], answer["ResponseMetadata"]["RequestId"])
        kit.equal(seen["trace"], headers["x-amzn-trace-id"])
        kit.equal((answer["StatusCode"], answer["ExecutedVersion"], headers["content-type"]), (200, "$LATEST", "application/json"))
        assert base64.b64decode(answer["LogResult"]).decode().startswith(f"START RequestId: {seen['id']}")
        for form in (f"{name}:1", made["FunctionArn"] + ":1"):
            answer = api.invoke(FunctionName=form)
            kit.equal((kit.payload(answer)["arn"], answer["ExecutedVersion"]), (made["FunctionArn"] + ":1", "1"))
        kit.equal(kit.payload(api.invoke(FunctionName=name))["event"], {})


def test_function_failures():
    cases = {
        "exit0": ("Runtime.ExitError", "Runtime exited without providing a reason"),
        "exit3": ("Runtime.ExitError", "Runtime exited with error: exit status 3"),
        "oom": ("Runtime.OutOfMemory", "Runtime exited with error: signal: killed"),
        "large": ("Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size (6291556 bytes)."),
        "entry": ("Runtime.InvalidEntrypoint", "no such file"),
        "init": ("Runtime.ImportModuleError", ""),
    }
    with kit.Functions() as functions:
        for name, (kind, text) in cases.items():
            answer = api.invoke(FunctionName=played(functions, name))
            kit.equal((answer["StatusCode"], answer["FunctionError"]), (200, "Unhandled"))
            error = kit.payload(answer)
            kit.equal(error["errorType"], kind)
            assert text in error.get("errorMessage", ""), error
        raised = functions.create(kit.python("def handler(e, c): raise ValueError('no')"))["FunctionName"]
        kit.equal(kit.payload(api.invoke(FunctionName=raised))["errorMessage"], "no")
        slow = functions.create(kit.python("import time\ndef handler(e, c): time.sleep(60)"), Timeout=1)["FunctionName"]
        error = kit.payload(api.invoke(FunctionName=slow))
        kit.equal(error["errorType"], "Sandbox.Timedout")
        assert error["errorMessage"].endswith("Error: Task timed out after 1.00 seconds"), error


def test_refusals_and_platform_failures():
    cases = {
        "reserved": ("TooManyRequestsException", 429, "Rate Exceeded."),
        "account": ("TooManyRequestsException", 429, "Rate Exceeded."),
        "node": ("ServiceUnavailableException", 503, "no room"),
        "stopping": ("ServiceUnavailableException", 503, "stopping"),
        "damaged": ("InvalidZipFileException", 502, "damaged"),
        "platform": ("ServiceException", 500, "could not run"),
    }
    with kit.Functions() as functions:
        for name, (code, status, text) in cases.items():
            function = played(functions, name)
            for call in (api.invoke, api.invoke_with_response_stream):
                with kit.refused(code, status, text):
                    call(FunctionName=function)
        try:
            api.invoke(FunctionName=played(functions, "reserved"))
        except api.exceptions.TooManyRequestsException as error:
            kit.equal(error.response["Reason"], "ReservedFunctionConcurrentInvocationLimitExceeded")
            kit.equal(error.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"], "1")
        try:
            api.invoke(FunctionName=played(functions, "platform"))
        except api.exceptions.ServiceException as error:
            assert "secret" not in str(error.response), error.response


def test_bad_input():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        for bad in (b"{", b"\xff", b"[1,]"):
            with kit.refused("InvalidRequestContentException", 400, "Could not parse request body into json"):
                api.invoke(FunctionName=name, Payload=bad)
        with kit.refused("InvalidRequestContentException", 400):
            api.invoke(FunctionName=name, ClientContext="!")
        with kit.refused("ValidationException", 400, "'invocationType'"):
            api.invoke(FunctionName=name, InvocationType="Later")
        with kit.refused("RequestTooLargeException", 413, "Request must be smaller than 6291456 bytes"):
            api.invoke(FunctionName=name, Payload=b'"' + b"x" * 6_291_455 + b'"')
        with kit.refused("RequestTooLargeException", 413, "Request must be smaller than 1048576 bytes"):
            api.invoke(FunctionName=name, InvocationType="Event", Payload=b'"' + b"x" * 1_048_575 + b'"')
        kit.equal(len(kit.payload(api.invoke(FunctionName=name, Payload=b'"' + b"x" * 6_291_454 + b'"'))), 6_291_454)
        with kit.refused("ResourceNotFoundException", 404, f"{name}:7"):
            api.invoke(FunctionName=name, Qualifier="7")


def test_events_and_dry_runs():
    with kit.Functions() as functions:
        name = functions.create(Publish=True, Handler="play.nothing")["FunctionName"]
        answer = api.invoke(FunctionName=name, InvocationType="DryRun")
        kit.equal((answer["StatusCode"], answer["Payload"].read()), (204, b""))
        for qualifier in ({}, {"Qualifier": "1"}):
            answer = api.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n":1}', **qualifier)
            kit.equal((answer["StatusCode"], answer["Payload"].read()), (202, b""))
            assert "ExecutedVersion" not in answer
        kit.equal(api.invoke_async(FunctionName=name, InvokeArgs=b"{}")["Status"], 202)


def events(answer):
    found = list(answer["EventStream"])
    body = b"".join(event["PayloadChunk"]["Payload"] for event in found if "PayloadChunk" in event)
    return body, found[-1]["InvokeComplete"], len(found)


def test_streams():
    with kit.Functions() as functions:
        answer = api.invoke_with_response_stream(FunctionName=played(functions, "stream"))
        kit.equal((answer["StatusCode"], answer["ExecutedVersion"]), (200, "$LATEST"))
        kit.equal(answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-remapped-content-type"], "text/plain")
        kit.equal(events(answer), (b"one;two", {}, 3))
        kit.equal(api.invoke(FunctionName=played(functions, "stream"))["Payload"].read(), b"one;two")
        body, end, _ = events(api.invoke_with_response_stream(FunctionName=functions.create()["FunctionName"], Payload=b'{"a":1}'))
        kit.equal((json.loads(body), end), ({"a": 1}, {}))
        for name, text, first in (("late", "too late", b"one;"), ("early", "too late", b""), ("cut", "Task timed out", b"one;"), ("oom", "Runtime.OutOfMemory", b"")):
            body, end, _ = events(api.invoke_with_response_stream(FunctionName=played(functions, name)))
            kit.equal((body, end["ErrorCode"]), (first, "Unhandled"))
            assert text in end["ErrorDetails"], end
        answer = api.invoke(FunctionName=played(functions, "late"))
        kit.equal((answer["FunctionError"], kit.payload(answer)["errorType"]), ("Unhandled", "TypeError"))
        answer = api.invoke_with_response_stream(FunctionName=functions.create()["FunctionName"], LogType="Tail")
        assert base64.b64decode(events(answer)[1]["LogResult"]).startswith(b"START RequestId: ")
