"""Limits and the error each gives (contract 3.8)."""

import kit

api = kit.client()
INVALID = ("InvalidParameterValueException", 400)


def refuses(error, status, *texts, **options):
    with kit.Functions() as functions, kit.refused(error, status, *texts):
        functions.create(**options)


def test_names():
    for bad in ("a b", "a/b", "a.b"):
        with kit.Functions() as functions:
            try:
                functions.create(FunctionName=bad)
                raise AssertionError(f"{bad!r} was accepted")
            except api.exceptions.ClientError as error:
                kit.equal(error.response["ResponseMetadata"]["HTTPStatusCode"], 400)


def test_timeout_and_memory():
    for options in ({"Timeout": 0}, {"Timeout": 901}, {"MemorySize": 127}, {"MemorySize": 10241}):
        raw = kit.client(config=kit.botocore.config.Config(parameter_validation=False))
        with kit.Functions(raw) as functions:
            try:
                functions.create(**options)
                raise AssertionError(f"{options} was accepted")
            except api.exceptions.ClientError as error:
                kit.equal(error.response["ResponseMetadata"]["HTTPStatusCode"], 400)


def test_runtime():
    refuses(*INVALID, "failed to satisfy constraint: Member must satisfy enum value set", Runtime="cobol1.x")


def test_runtime_and_handler_are_mandatory():
    with kit.refused(*INVALID, "Runtime and Handler are mandatory"):
        api.create_function(FunctionName=kit.name(), Role=kit.ROLE, Code={"ZipFile": kit.python()})


def test_no_zip():
    refuses(*INVALID, "Could not unzip uploaded file", code=b"not a zip archive")


def test_path_escapes_are_refused():
    for bad in ("../escape.py", "/etc/escape.py", "a/../../escape.py"):
        refuses("InvalidParameterValueException", 400, code=kit.archive({bad: "x"}))


def test_a_bomb_is_refused():
    refuses(*INVALID, code=kit.archive({"app.py": kit.ECHO, "zero": b"\0" * (300 * 1024 * 1024)}))


def test_environment():
    refuses(*INVALID, "exceeded the 4KB limit", Environment={"Variables": {"AA": "x" * 5000}})
    refuses("ValidationException", 400, Environment={"Variables": {"A": "too short a name"}})
    refuses(*INVALID, "AWS_REGION", Environment={"Variables": {"AWS_REGION": "x"}})


def test_role():
    refuses("ValidationException", 400, "failed to satisfy constraint", Role="nobody")


def test_sync_payload():
    with kit.Functions() as functions:
        name = functions.create(MemorySize=256, Timeout=30)["FunctionName"]
        fits = b'"' + b"x" * (6_291_456 - 2 - 100_000) + b'"'
        kit.equal(len(kit.payload(api.invoke(FunctionName=name, Payload=fits))), len(fits) - 2)
        with kit.refused("RequestTooLargeException", 413):
            api.invoke(FunctionName=name, Payload=b'"' + b"x" * 6_291_456 + b'"')
        with kit.refused("RequestTooLargeException", 413):
            api.invoke(FunctionName=name, InvocationType="Event", Payload=b'"' + b"x" * 1_100_000 + b'"')


def test_sync_result():
    with kit.Functions() as functions:
        source = "def handler(e, c): return 'x' * 6291557"
        name = functions.create(kit.python(source), MemorySize=256, Timeout=30)["FunctionName"]
        answer = api.invoke(FunctionName=name)
        kit.equal(answer["FunctionError"], "Unhandled")
        error = kit.payload(answer)
        kit.equal(error["errorType"], "Function.ResponseSizeTooLarge")
        assert "Response payload size exceeded maximum allowed payload size (6291556 bytes)" in error["errorMessage"], error


def test_account_settings():
    settings = api.get_account_settings()
    kit.equal(settings["AccountLimit"]["CodeSizeZipped"], 52428800)
    kit.equal(settings["AccountLimit"]["CodeSizeUnzipped"], 262144000)
    with kit.Functions() as functions:
        before = settings["AccountUsage"]["FunctionCount"]
        functions.create()
        assert api.get_account_settings()["AccountUsage"]["FunctionCount"] >= before + 1
