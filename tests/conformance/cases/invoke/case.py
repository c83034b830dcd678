"""Invoke of every kind, and every way in which a function fails (contract 1.8, 3.4, 6.2)."""

import base64
import json
import re

import kit

api = kit.client()


def test_every_json_value_goes_through():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        for value in (None, True, 1, 1.5, "text", "é\u2028😀", [], [1, [2]], {}, {"a": {"b": None}}):
            answer = api.invoke(FunctionName=name, Payload=json.dumps(value).encode())
            kit.equal((answer["StatusCode"], answer["ExecutedVersion"]), (200, "$LATEST"))
            kit.equal(kit.payload(answer), value)
            assert "FunctionError" not in answer
        kit.equal(kit.payload(api.invoke(FunctionName=name)), {})


def test_no_json_is_refused():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        for kind in ("RequestResponse", "Event"):
            for bad in (b"{", b"nope", b"\xff\xfe"):
                with kit.refused("InvalidRequestContentException", 400, "Could not parse request body into json"):
                    api.invoke(FunctionName=name, InvocationType=kind, Payload=bad)


def test_the_context_object_is_complete():
    source = """
import os
def handler(event, c):
    return {
        "name": c.function_name, "version": c.function_version, "arn": c.invoked_function_arn,
        "memory": c.memory_limit_in_mb, "id": c.aws_request_id, "group": c.log_group_name,
        "stream": c.log_stream_name, "left": c.get_remaining_time_in_millis(),
        "client": c.client_context and c.client_context.custom, "identity": c.identity is not None,
        "env": {k: os.environ.get(k) for k in ("AWS_REGION", "AWS_LAMBDA_FUNCTION_NAME", "AWS_EXECUTION_ENV",
            "LAMBDA_TASK_ROOT", "_HANDLER", "TZ", "AWS_LAMBDA_INITIALIZATION_TYPE")},
        "cwd": os.getcwd(),
    }
"""
    with kit.Functions() as functions:
        made = functions.create(kit.python(source), Timeout=10)
        name = made["FunctionName"]
        context = base64.b64encode(json.dumps({"custom": {"k": "v"}, "client": {}, "env": {}}).encode()).decode()
        answer = api.invoke(FunctionName=name, ClientContext=context)
        seen = kit.payload(answer)
        kit.equal(seen["id"], answer["ResponseMetadata"]["RequestId"])
        kit.equal((seen["name"], seen["version"], seen["arn"]), (name, "$LATEST", made["FunctionArn"]))
        kit.equal((seen["memory"], seen["group"], seen["client"]), ("128", f"/aws/lambda/{name}", {"k": "v"}))
        assert 0 < seen["left"] <= 10_000, seen["left"]
        assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", seen["stream"]), seen["stream"]
        expected = {
            "AWS_REGION": "us-east-1", "AWS_LAMBDA_FUNCTION_NAME": name, "AWS_EXECUTION_ENV": f"AWS_Lambda_{kit.PYTHON}",
            "LAMBDA_TASK_ROOT": "/var/task", "_HANDLER": "app.handler", "TZ": ":UTC",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        }
        kit.equal(seen["env"], expected)
        kit.equal(seen["cwd"], "/var/task")


def test_the_handler_raises():
    with kit.Functions() as functions:
        name = functions.create(kit.python("def handler(e, c): raise ValueError('no')"))["FunctionName"]
        answer = api.invoke(FunctionName=name)
        kit.equal((answer["StatusCode"], answer["FunctionError"]), (200, "Unhandled"))
        error = kit.payload(answer)
        kit.equal((error["errorType"], error["errorMessage"]), ("ValueError", "no"))
        kit.equal(error["requestId"], answer["ResponseMetadata"]["RequestId"])
        assert any("app.py" in line for line in error["stackTrace"]), error


def test_timeout():
    source = "import time\ndef handler(e, c):\n    time.sleep(e.get('s', 0))\n    return 'done'"
    with kit.Functions() as functions:
        name = functions.create(kit.python(source), Timeout=1)["FunctionName"]
        answer = api.invoke(FunctionName=name, Payload=b'{"s":30}', LogType="Tail")
        kit.equal(answer["FunctionError"], "Unhandled")
        request = answer["ResponseMetadata"]["RequestId"]
        error = kit.payload(answer)
        kit.equal(error["errorType"], "Sandbox.Timedout")
        kit.equal(error["errorMessage"], f"RequestId: {request} Error: Task timed out after 1.00 seconds")
        assert "Task timed out after 1.00 seconds" in kit.tail(answer), kit.tail(answer)
        assert "Status: timeout" in kit.tail(answer), kit.tail(answer)
        kit.equal(kit.payload(api.invoke(FunctionName=name, Payload=b"{}")), "done")


def test_exits():
    source = "import os, signal\ndef handler(e, c):\n    if 'signal' in e: os.kill(os.getpid(), e['signal'])\n    os._exit(e['code'])"
    cases = [
        ({"code": 0}, "Runtime exited without providing a reason"),
        ({"code": 3}, "Runtime exited with error: exit status 3"),
        ({"signal": 9}, "Runtime exited with error: signal: killed"),
    ]
    with kit.Functions() as functions:
        name = functions.create(kit.python(source))["FunctionName"]
        for event, text in cases:
            answer = api.invoke(FunctionName=name, Payload=json.dumps(event).encode())
            kit.equal(answer["FunctionError"], "Unhandled")
            error = kit.payload(answer)
            kit.equal(error["errorType"], "Runtime.ExitError")
            kit.equal(error["errorMessage"], f"RequestId: {answer['ResponseMetadata']['RequestId']} Error: {text}")


def test_out_of_memory():
    source = "def handler(e, c):\n    hold = [b'x' * 1048576 * 16 for _ in range(64)]\n    return len(hold)"
    with kit.Functions() as functions:
        name = functions.create(kit.python(source), MemorySize=128, Timeout=30)["FunctionName"]
        answer = api.invoke(FunctionName=name)
        kit.equal(answer["FunctionError"], "Unhandled")
        error = kit.payload(answer)
        kit.equal(error["errorType"], "Runtime.OutOfMemory")
        assert "Runtime exited with error: signal: killed" in error["errorMessage"], error


def test_initialization_fails():
    cases = [
        ("import nothing_of_this_name", "app.handler", "Runtime.ImportModuleError"),
        ("def other(e, c): pass", "app.handler", "Runtime.HandlerNotFound"),
        ("def broken(:", "app.handler", "Runtime.UserCodeSyntaxError"),
        ("x = 1", "handler", "Runtime.MalformedHandlerName"),
        ("import missing_module_for_init", "none.handler", "Runtime.ImportModuleError"),
    ]
    with kit.Functions() as functions:
        for source, handler, kind in cases:
            name = functions.create(kit.python(source), Handler=handler)["FunctionName"]
            answer = api.invoke(FunctionName=name)
            kit.equal(answer["FunctionError"], "Unhandled")
            kit.equal(kit.payload(answer)["errorType"], kind)


def test_no_json_result():
    with kit.Functions() as functions:
        name = functions.create(kit.python("def handler(e, c): return {1, 2}"))["FunctionName"]
        answer = api.invoke(FunctionName=name)
        kit.equal(answer["FunctionError"], "Unhandled")
        kit.equal(kit.payload(answer)["errorType"], "Runtime.MarshalError")


def test_dry_run_runs_nothing():
    with kit.Functions() as functions:
        name = functions.create(kit.python("raise SystemExit(1)"))["FunctionName"]
        answer = api.invoke(FunctionName=name, InvocationType="DryRun")
        kit.equal((answer["StatusCode"], answer["Payload"].read()), (204, b""))
        with kit.refused("ResourceNotFoundException", 404):
            api.invoke(FunctionName=kit.name(), InvocationType="DryRun")


def test_the_log_tail():
    with kit.Functions() as functions:
        source = "print('at init')\ndef handler(e, c):\n    print('line one')\n    print('é' * 3)\n    return 1"
        name = functions.create(kit.python(source))["FunctionName"]
        for start in ("cold", "warm"):
            answer = api.invoke(FunctionName=name, LogType="Tail")
            log, request = kit.tail(answer), answer["ResponseMetadata"]["RequestId"]
            assert f"START RequestId: {request} Version: $LATEST\n" in log, log
            assert "line one\nééé\n" in log, log
            assert f"END RequestId: {request}\n" in log, log
            report = next(line for line in log.splitlines() if line.startswith("REPORT"))
            fields = r"REPORT RequestId: \S+\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\tMax Memory Used: \d+ MB\t"
            assert re.match(fields, report), report
            kit.equal("Init Duration: " in report, start == "cold")
        assert "LogResult" not in api.invoke(FunctionName=name)


def test_the_log_tail_is_the_last_4_kb():
    with kit.Functions() as functions:
        source = "def handler(e, c):\n    for i in range(2000): print('line %05d' % i)"
        name = functions.create(kit.python(source))["FunctionName"]
        log = kit.tail(api.invoke(FunctionName=name, LogType="Tail"))
        assert len(log.encode()) <= 4096 and "line 01999" in log and "REPORT" in log, log[-500:]


def test_event_is_accepted_and_runs():
    with kit.Functions() as functions:
        marker = "import os\ndef handler(e, c):\n    print('ran with', e['n'])"
        name = functions.create(kit.python(marker))["FunctionName"]
        answer = api.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n":42}')
        kit.equal((answer["StatusCode"], answer["Payload"].read()), (202, b""))
        assert "ExecutedVersion" not in answer


def test_invoke_async():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        answer = api.invoke_async(FunctionName=name, InvokeArgs=b"{}")
        kit.equal((answer["ResponseMetadata"]["HTTPStatusCode"], answer["Status"]), (202, 202))


def test_state_is_kept_between_calls_and_init_runs_once():
    source = "import os\ncount = 0\ndef handler(e, c):\n    global count\n    count += 1\n    return [os.getpid(), count]"
    with kit.Functions() as functions:
        name = functions.create(kit.python(source))["FunctionName"]
        first, second = (kit.payload(api.invoke(FunctionName=name)) for _ in range(2))
        kit.equal((first[0], first[1], second[1]), (second[0], 1, 2))
