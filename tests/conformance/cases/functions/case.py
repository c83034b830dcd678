"""CreateFunction, GetFunction, updates, listing, deletion and the waiters (contract 3.3, 3.5, 3.6, 3.8)."""

import base64
import hashlib
import re

import kit

api = kit.client()


def test_create_answers_the_whole_configuration():
    with kit.Functions() as functions:
        code = kit.python()
        made = functions.create(code, MemorySize=256, Timeout=7, Description="d", Environment={"Variables": {"AA": "1"}})
        kit.equal(made["ResponseMetadata"]["HTTPStatusCode"], 201)
        kit.equal(made["CodeSha256"], base64.b64encode(hashlib.sha256(code).digest()).decode())
        kit.equal(made["CodeSize"], len(code))
        expected = {
            "Runtime": kit.PYTHON, "Role": kit.ROLE, "Handler": "app.handler", "Description": "d", "Timeout": 7,
            "MemorySize": 256, "Version": "$LATEST", "TracingConfig": {"Mode": "PassThrough"}, "State": "Active",
            "LastUpdateStatus": "Successful", "PackageType": "Zip", "Architectures": ["x86_64"],
            "EphemeralStorage": {"Size": 512}, "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
            "Environment": {"Variables": {"AA": "1"}},
            "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{made['FunctionName']}"},
        }
        kit.equal({key: made.get(key) for key in expected}, expected)
        assert re.fullmatch(r"arn:aws:lambda:us-east-1:\d{12}:function:" + made["FunctionName"], made["FunctionArn"]), made
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", made["LastModified"]), made["LastModified"]
        assert re.fullmatch(r"[0-9a-f-]{36}", made["RevisionId"])
        assert made["RuntimeVersionConfig"]["RuntimeVersionArn"].startswith("arn:aws:lambda:us-east-1::runtime:")


def test_defaults_are_those_of_the_service():
    with kit.Functions() as functions:
        made = functions.create()
        kit.equal((made["Timeout"], made["MemorySize"], made["Description"]), (3, 128, ""))
        assert "Environment" not in made, made["Environment"]


def test_get_by_every_form_of_the_name():
    with kit.Functions() as functions:
        made = functions.create(Tags={"team": "blue"})
        arn, name = made["FunctionArn"], made["FunctionName"]
        account = arn.split(":")[4]
        for form in (name, arn, f"{account}:function:{name}", f"{name}:$LATEST", f"{arn}:$LATEST"):
            got = api.get_function(FunctionName=form)
            kit.equal(got["Configuration"]["CodeSha256"], made["CodeSha256"])
        got = api.get_function(FunctionName=name)
        kit.equal(got["Tags"], {"team": "blue"})
        kit.equal(got["Code"]["RepositoryType"], "S3")
        kit.equal(api.get_function_configuration(FunctionName=name)["RevisionId"], made["RevisionId"])


def test_the_code_location_downloads_the_archive():
    import urllib.request

    with kit.Functions() as functions:
        code = kit.python()
        name = functions.create(code)["FunctionName"]
        location = api.get_function(FunctionName=name)["Code"]["Location"]
        with urllib.request.urlopen(location, timeout=kit.LIMIT) as answer:
            kit.equal(answer.read(), code)


def test_missing_functions():
    missing = kit.name()
    with kit.refused("ResourceNotFoundException", 404, f"Function not found: arn:aws:lambda:us-east-1:"):
        api.get_function(FunctionName=missing)
    with kit.refused("ResourceNotFoundException", 404):
        api.get_function_configuration(FunctionName=missing)
    with kit.refused("ResourceNotFoundException", 404):
        api.delete_function(FunctionName=missing)
    with kit.refused("ResourceNotFoundException", 404):
        api.update_function_code(FunctionName=missing, ZipFile=kit.python())
    with kit.refused("ResourceNotFoundException", 404):
        api.update_function_configuration(FunctionName=missing, Timeout=5)
    with kit.refused("ResourceNotFoundException", 404):
        api.invoke(FunctionName=missing)


def test_another_region_is_not_reachable():
    with kit.refused("ResourceNotFoundException", 404, "eu-west-1"):
        api.get_function(FunctionName="arn:aws:lambda:eu-west-1:000000000000:function:x")


def test_the_same_name_twice():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        with kit.refused("ResourceConflictException", 409, f"Function already exist: {name}"):
            functions.create(FunctionName=name)


def test_update_code_and_revision_lock():
    with kit.Functions() as functions:
        made = functions.create()
        name, code = made["FunctionName"], kit.python("def handler(e, c): return 'new'")
        with kit.refused("PreconditionFailedException", 412, "The Revision Id provided does not match"):
            api.update_function_code(FunctionName=name, ZipFile=code, RevisionId="00000000-0000-0000-0000-000000000000")
        tried = api.update_function_code(FunctionName=name, ZipFile=code, DryRun=True)
        assert tried["CodeSha256"] != made["CodeSha256"]
        kit.equal(api.get_function_configuration(FunctionName=name)["CodeSha256"], made["CodeSha256"])
        updated = api.update_function_code(FunctionName=name, ZipFile=code, RevisionId=made["RevisionId"])
        assert updated["RevisionId"] != made["RevisionId"]
        kit.equal(updated["LastUpdateStatus"], "Successful")
        kit.equal(kit.payload(api.invoke(FunctionName=name)), "new")


def test_update_configuration():
    with kit.Functions() as functions:
        source = "import os\ndef handler(e, c): return [os.environ.get('AA'), c.memory_limit_in_mb]"
        made = functions.create(kit.python(source), Environment={"Variables": {"AA": "1"}})
        name = made["FunctionName"]
        kit.equal(kit.payload(api.invoke(FunctionName=name)), ["1", "128"])
        changed = api.update_function_configuration(
            FunctionName=name, Timeout=9, MemorySize=192, Description="x", Environment={"Variables": {"AA": "2"}}
        )
        kit.equal((changed["Timeout"], changed["MemorySize"], changed["Description"]), (9, 192, "x"))
        kit.equal(changed["Handler"], "app.handler")
        kit.equal(kit.payload(api.invoke(FunctionName=name)), ["2", "192"])
        with kit.refused("PreconditionFailedException", 412):
            api.update_function_configuration(FunctionName=name, Timeout=3, RevisionId=made["RevisionId"])


def test_waiters_return_at_once():
    with kit.Functions() as functions:
        name = functions.create(Publish=True)["FunctionName"]
        for waiter in ("function_exists", "function_active_v2", "function_updated_v2", "function_active", "function_updated"):
            api.get_waiter(waiter).wait(FunctionName=name)
        api.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1")


def test_list_pages():
    with kit.Functions() as functions:
        made = {functions.create(FunctionName=kit.name("page"))["FunctionName"] for _ in range(7)}
        seen, marker, pages = set(), None, 0
        while True:
            page = api.list_functions(MaxItems=3, **({"Marker": marker} if marker else {}))
            assert len(page["Functions"]) <= 3
            seen |= {function["FunctionName"] for function in page["Functions"]}
            assert all("State" not in function for function in page["Functions"])
            pages += 1
            marker = page.get("NextMarker")
            if not marker:
                break
        assert made <= seen and pages >= 3
        names = {f["FunctionName"] for page in api.get_paginator("list_functions").paginate() for f in page["Functions"]}
        assert made <= names


def test_delete():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        kit.equal(api.delete_function(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"], 204)
        with kit.refused("ResourceNotFoundException", 404):
            api.get_function(FunctionName=name)
        functions.create(FunctionName=name)
        kit.equal(kit.payload(api.invoke(FunctionName=name, Payload=b"1")), 1)


def test_buckets_are_refused_clearly():
    with kit.Functions() as functions, kit.refused("InvalidParameterValueException", 400):
        functions.create(Code={"S3Bucket": "bucket", "S3Key": "k"})
