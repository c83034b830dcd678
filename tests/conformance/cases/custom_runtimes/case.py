"""Custom runtimes: the official Python client and Rust crate, unmodified, and one in bash."""

import os

import kit

api = kit.client()
CHECKOUT = os.environ["SONAGI_CHECKOUT"]
CUSTOM = {"Runtime": "provided.al2023", "Handler": "app.handler", "MemorySize": 256, "Timeout": 20}


def official_python(functions, source):
    """The real awslambdaric, started by a bootstrap that runs the interpreter this test runs on."""
    packages = os.path.join(CHECKOUT, ".cache/python/awslambdaric")
    start = "#!/bin/sh\ncd /var/task\nexport PYTHONPATH=/var/task\nexec python3 -m awslambdaric \"$_HANDLER\"\n"
    more = {"bootstrap": (start, 0o755), "app.py": source}
    return functions.create(kit.folder_archive(packages, more), **CUSTOM)["FunctionName"]


def test_official_python_client():
    with kit.Functions() as functions:
        name = official_python(functions, "def handler(e, c):\n    print('seen')\n    return {'got': e, 'id': c.aws_request_id}")
        for start in ("cold", "warm"):
            answer = api.invoke(FunctionName=name, Payload=b'{"a":1}', LogType="Tail")
            assert "FunctionError" not in answer, (start, kit.payload(answer), kit.tail(answer))
            seen = kit.payload(answer)
            kit.equal((seen["got"], seen["id"]), ({"a": 1}, answer["ResponseMetadata"]["RequestId"]))
            assert "seen" in kit.tail(answer)


def test_official_python_client_errors():
    with kit.Functions() as functions:
        answer = api.invoke(FunctionName=official_python(functions, "def handler(e, c): raise ValueError('no')"))
        error = kit.payload(answer)
        kit.equal((answer["FunctionError"], error["errorType"], error["errorMessage"]), ("Unhandled", "ValueError", "no"))
        answer = api.invoke(FunctionName=official_python(functions, "import missing_module"))
        kit.equal((answer["FunctionError"], kit.payload(answer)["errorType"]), ("Unhandled", "Runtime.ImportModuleError"))


def test_official_rust_crate():
    program = os.path.join(CHECKOUT, "target/examples/debug/bootstrap")
    with open(program, "rb") as file:
        code = kit.archive({"bootstrap": (file.read(), 0o755)})
    with kit.Functions() as functions:
        name = functions.create(code, **CUSTOM)["FunctionName"]
        for _ in range(3):
            answer = api.invoke(FunctionName=name, Payload=b'{"name":"rust"}', LogType="Tail")
            assert "FunctionError" not in answer, (kit.payload(answer), kit.tail(answer))
            seen = kit.payload(answer)
            kit.equal((seen["message"], seen["request"]), ("hello, rust", answer["ResponseMetadata"]["RequestId"]))


def test_bash():
    with kit.Functions() as functions:
        name = functions.create(kit.folder_archive(os.path.join(CHECKOUT, "examples/bash-bootstrap")), **CUSTOM)["FunctionName"]
        answer = api.invoke(FunctionName=name, Payload=b'{"a":1}', LogType="Tail")
        assert "FunctionError" not in answer, (kit.payload(answer), kit.tail(answer))
        kit.equal(kit.payload(answer), {"echo": {"a": 1}})


def test_bootstraps_that_cannot_run():
    cases = [
        ({"app.py": "x"}, "Runtime.InvalidEntrypoint"),
        ({"bootstrap": ("#!/bin/sh\n", 0o644)}, "Runtime.InvalidEntrypoint"),
        ({"bootstrap": ("#!/bin/sh\nexit 3\n", 0o755)}, "Runtime.ExitError"),
    ]
    with kit.Functions() as functions:
        for files, kind in cases:
            answer = api.invoke(FunctionName=functions.create(kit.archive(files), **CUSTOM)["FunctionName"])
            kit.equal((answer["FunctionError"], kit.payload(answer)["errorType"]), ("Unhandled", kind))
