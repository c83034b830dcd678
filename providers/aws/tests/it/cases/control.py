"""The parts of the control API that the conformance cases do not look at."""

import base64
import hashlib
import json

import boto3
import kit

api = kit.client()


def test_create_get_delete():
    with kit.Functions() as functions:
        code = kit.python()
        made = functions.create(code, Tags={"team": "blue"})
        name, digest = made["FunctionName"], base64.b64encode(hashlib.sha256(code).digest()).decode()
        kit.equal((made["CodeSha256"], made["CodeSize"], made["State"]), (digest, len(code), "Active"))
        kit.equal((made["LastUpdateStatus"], made["Version"], made["Timeout"]), ("Successful", "$LATEST", 3))
        assert "Environment" not in made
        for form in (name, made["FunctionArn"], f"000000000000:function:{name}", f"{name}:$LATEST"):
            kit.equal(api.get_function(FunctionName=form)["Configuration"]["RevisionId"], made["RevisionId"])
        kit.equal(api.get_function(FunctionName=name)["Tags"], {"team": "blue"})
        for waiter in ("function_exists", "function_active_v2", "function_updated_v2", "function_active", "function_updated"):
            api.get_waiter(waiter).wait(FunctionName=name)
        with kit.refused("ResourceConflictException", 409, f"Function already exist: {name}"):
            functions.create(FunctionName=name)
        changed = api.update_function_code(FunctionName=name, ZipFile=kit.python("x = 1"), DryRun=True)
        assert changed["CodeSha256"] != digest
        kit.equal(api.get_function_configuration(FunctionName=name)["CodeSha256"], digest)
        with kit.refused("PreconditionFailedException", 412):
            api.update_function_code(FunctionName=name, ZipFile=code, RevisionId=kit.name())
        published = api.update_function_code(FunctionName=name, ZipFile=kit.python("x = 1"), Publish=True)
        kit.equal((published["Version"], published["FunctionArn"]), ("1", made["FunctionArn"] + ":1"))
        kit.equal(api.delete_function(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"], 204)
        with kit.refused("ResourceNotFoundException", 404, f"Function not found: {made['FunctionArn']}"):
            api.get_function(FunctionName=name)
        with kit.refused("InvalidParameterValueException", 400, "NoSuchBucket"):
            functions.create(Code={"S3Bucket": "bucket", "S3Key": "key"})
        with kit.refused("ResourceNotFoundException", 404, "Functions from 'eu-west-1' are not reachable in this region"):
            api.get_function(FunctionName="arn:aws:lambda:eu-west-1:000000000000:function:f")


def test_everything_round_trips():
    with kit.Functions() as functions:
        given = {
            "Description": "words", "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
            "DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:000000000000:q"},
            "KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k", "TracingConfig": {"Mode": "Active"},
            "Architectures": ["arm64"], "EphemeralStorage": {"Size": 1024}, "SnapStart": {"ApplyOn": "PublishedVersions"},
            "LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "LogGroup": "/my/group"},
        }
        made = functions.create(**given)
        kit.equal(made["VpcConfig"], given["VpcConfig"] | {"VpcId": "", "Ipv6AllowedForDualStack": False})
        kit.equal(made["LoggingConfig"], given["LoggingConfig"] | {"SystemLogLevel": "INFO"})
        kit.equal(made["SnapStart"], {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"})
        for key in ("Description", "DeadLetterConfig", "KMSKeyArn", "TracingConfig", "Architectures", "EphemeralStorage"):
            kit.equal(made[key], given[key])
        back = api.update_function_configuration(
            FunctionName=made["FunctionName"], LoggingConfig={"LogFormat": "Text"}, KMSKeyArn="",
            DeadLetterConfig={"TargetArn": ""}, Environment={"Variables": {}},
        )
        kit.equal(back["LoggingConfig"], {"LogFormat": "Text", "LogGroup": "/my/group"})
        assert "KMSKeyArn" not in back and "DeadLetterConfig" not in back
        kit.equal(back["Environment"], {"Variables": {}})


def test_a_runtime_that_this_host_lacks():
    with kit.refused("InvalidParameterValueException", 400, "nodejs26.x is not available on this host"):
        kit.Functions().create(Runtime="nodejs26.x")
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        with kit.refused("InvalidParameterValueException", 400, "this host has others"):
            api.update_function_configuration(FunctionName=name, Runtime="nodejs26.x")


def test_several_violations_are_reported_together():
    with kit.refused("ValidationException", 400, "2 validation errors detected: Value 'nobody' at 'role'", "'timeout'"):
        kit.Functions().create(Role="nobody", Timeout=901)


def test_names():
    for bad in ("a/b", "a b", "x" * 141, "arn:aws:lambda:us-east-1:000000000000:function:a b"):
        with kit.refused("ValidationException", 400):
            kit.Functions().create(FunctionName=bad)
    with kit.refused("InvalidParameterValueException", 400):
        kit.Functions().create(FunctionName="x" * 65)


def test_an_update_without_a_difference_keeps_the_revision_published():
    with kit.Functions() as functions:
        made = functions.create(Publish=True)
        name = made["FunctionName"]
        same = api.update_function_code(FunctionName=name, ZipFile=kit.python())
        assert same["RevisionId"] != api.get_function_configuration(FunctionName=name, Qualifier="1")["RevisionId"]
        kit.equal(api.publish_version(FunctionName=name)["Version"], "1")
        kit.equal(api.publish_version(FunctionName=name, Description="other words")["Version"], "1")
        api.update_function_configuration(FunctionName=name, Description="changed")
        second = api.publish_version(FunctionName=name, Description="of the version")
        kit.equal((second["Version"], second["Description"]), ("2", "of the version"))
        kit.equal(api.publish_version(FunctionName=name)["Version"], "2")
        api.delete_function(FunctionName=name, Qualifier="2")
        kit.equal(api.publish_version(FunctionName=name)["Version"], "3")


def test_an_alias_of_latest_follows_it():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        api.create_alias(FunctionName=name, Name="dev", FunctionVersion="$LATEST")
        for number in range(12):
            source = f"def handler(e, c): return {number}"
            api.update_function_code(FunctionName=name, ZipFile=kit.python(source))
        answer = api.invoke(FunctionName=name, Qualifier="dev")
        kit.equal((kit.payload(answer), answer["ExecutedVersion"]), (11, "$LATEST"))
        kit.equal(api.get_alias(FunctionName=name, Name="dev")["FunctionVersion"], "$LATEST")


def test_listing_every_version_in_pages():
    with kit.Functions(kit.client(region_name="ap-south-1")) as functions:
        far = functions.client
        names = sorted(functions.create()["FunctionName"] for _ in range(3))
        for name in names:
            far.publish_version(FunctionName=name)
        found, marker = [], {}
        while True:
            page = far.list_functions(FunctionVersion="ALL", MaxItems=2, **marker)
            found += [(f["FunctionName"], f["Version"]) for f in page["Functions"]]
            if "NextMarker" not in page:
                break
            marker = {"Marker": page["NextMarker"]}
        kit.equal(found, [(name, version) for name in names for version in ("$LATEST", "1")])
        with kit.refused("InvalidParameterValueException", 400):
            far.list_functions(Marker="!")


def test_aliases_and_versions_in_pages():
    with kit.Functions() as functions:
        name = functions.create(Publish=True)["FunctionName"]
        for alias in ("c", "a", "b"):
            api.create_alias(FunctionName=name, Name=alias, FunctionVersion="1")
        found = [a["Name"] for page in api.get_paginator("list_aliases").paginate(
            FunctionName=name, PaginationConfig={"PageSize": 2}) for a in page["Aliases"]]
        kit.equal(found, ["a", "b", "c"])
        found = [v["Version"] for page in api.get_paginator("list_versions_by_function").paginate(
            FunctionName=name, PaginationConfig={"PageSize": 1}) for v in page["Versions"]]
        kit.equal(found, ["$LATEST", "1"])


def test_reserved_concurrency():
    with kit.Functions() as functions:
        name, other = functions.create()["FunctionName"], functions.create()["FunctionName"]
        assert "ReservedConcurrentExecutions" not in api.get_function_concurrency(FunctionName=name)
        kit.equal(api.delete_function_concurrency(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"], 204)
        api.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=5)
        kit.equal(api.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"], 5)
        kit.equal(api.get_function(FunctionName=name)["Concurrency"], {"ReservedConcurrentExecutions": 5})
        with kit.refused("InvalidParameterValueException", 400, "below its minimum value of [100]"):
            api.put_function_concurrency(FunctionName=other, ReservedConcurrentExecutions=896)
        api.put_function_concurrency(FunctionName=other, ReservedConcurrentExecutions=895)
        settings = api.get_account_settings()
        kit.equal(settings["AccountLimit"]["UnreservedConcurrentExecutions"], 100)
        with kit.refused("InvalidParameterValueException", 400):
            api.put_function_concurrency(FunctionName=f"{name}:$LATEST", ReservedConcurrentExecutions=1)


def test_account_settings_count():
    with kit.Functions() as functions:
        functions.create()
        usage = api.get_account_settings()["AccountUsage"]
        assert usage["FunctionCount"] >= 1 and usage["TotalCodeSize"] > 0, usage


def test_provisioned_concurrency_has_lambdas_rules():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        put = lambda qualifier, count: api.put_provisioned_concurrency_config(
            FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count)
        get = lambda qualifier: api.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
        listed = lambda: api.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
        kit.equal(listed(), [])
        with kit.refused("InvalidParameterValueException", 400, "unpublished function versions"):
            put("$LATEST", 1)
        with kit.refused("ResourceNotFoundException", 404):
            put("1", 1)
        api.publish_version(FunctionName=name)
        api.create_alias(FunctionName=name, Name="prod", FunctionVersion="1")
        api.create_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
        with kit.refused("InvalidParameterValueException", 400, "unpublished function versions"):
            put("live", 1)
        with kit.refused("ProvisionedConcurrencyConfigNotFoundException", 404, "No Provisioned Concurrency Config"):
            get("1")
        answer = put("prod", 3)
        kit.equal(answer["ResponseMetadata"]["HTTPStatusCode"], 202)
        kit.equal(answer["RequestedProvisionedConcurrentExecutions"], 3)
        shown = get("prod")
        kit.equal((shown["Status"], shown["AvailableProvisionedConcurrentExecutions"]), ("READY", 3))
        assert shown["LastModified"].endswith("+0000"), shown
        with kit.refused("ResourceConflictException", 409, "pointed by a Provisioned Concurrency alias"):
            put("1", 1)
        kit.equal([entry["FunctionArn"].rsplit(":", 1)[1] for entry in listed()], ["prod"])
        with kit.refused("InvalidParameterValueException", 400, "unpublished function versions"):
            api.update_alias(FunctionName=name, Name="prod", FunctionVersion="$LATEST")
        # Within what the function or the account has.
        with kit.refused("InvalidParameterValueException", 400, "minimum value of [100]"):
            put("prod", 901)
        with kit.refused("InvalidParameterValueException", 400, "total provisioned"):
            api.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
        api.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=4)
        with kit.refused("InvalidParameterValueException", 400, "reservedConcurrentExecution"):
            put("prod", 5)
        put("prod", 4)
        api.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="prod")
        api.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="prod")
        put("1", 1)
        with kit.refused("ResourceConflictException", 409, "already Provisioned version"):
            put("prod", 1)
        api.delete_alias(FunctionName=name, Name="prod")
        api.delete_function(FunctionName=name, Qualifier="1")
        kit.equal(listed(), [])


def test_what_is_not_offered_says_so():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        kit.equal(api.list_event_source_mappings()["EventSourceMappings"], [])
        kit.equal(api.list_layers()["Layers"], [])
        kit.equal(api.list_layer_versions(LayerName="l")["LayerVersions"], [])
        kit.equal(api.list_function_event_invoke_configs(FunctionName=name)["FunctionEventInvokeConfigs"], [])
        kit.equal(api.get_function_recursion_config(FunctionName=name)["RecursiveLoop"], "Terminate")
        api.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
        kit.equal(api.get_function_recursion_config(FunctionName=name)["RecursiveLoop"], "Allow")
        kit.equal(api.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"], "Auto")
        api.get_function_code_signing_config(FunctionName=name)
        with kit.refused("ResourceNotFoundException", 404, "doesn't have an EventInvokeConfig"):
            api.get_function_event_invoke_config(FunctionName=name)
        with kit.refused("ResourceNotFoundException", 404):
            api.get_layer_version(LayerName="l", VersionNumber=1)
        with kit.refused("InvalidParameterValueException", 400, "not offered"):
            api.create_event_source_mapping(FunctionName=name, EventSourceArn="arn:aws:kinesis:us-east-1:000000000000:stream/s",
                                            StartingPosition="LATEST")
        with kit.refused("InvalidParameterValueException", 400, "Could not unzip uploaded file"):
            api.publish_layer_version(LayerName="l", Content={"ZipFile": b"x"})
        with kit.refused("InvalidParameterValueException", 400, "does not exist"):
            api.update_function_configuration(
                FunctionName=name, Layers=["arn:aws:lambda:us-east-1:000000000000:layer:l:1"])
        with kit.refused("InvalidParameterValueException", 400, "not offered"):
            api.list_capacity_providers()


def test_other_services():
    who = kit.client("sts").get_caller_identity()
    kit.equal((who["Account"], who["Arn"]), ("000000000000", "arn:aws:iam::000000000000:root"))
    with kit.refused("InvalidAction", 400):
        kit.client("iam").get_role(RoleName="r")
    kit.equal(kit.client("s3").list_buckets()["Buckets"], [])
    kit.equal(kit.client("sqs").list_queues().get("QueueUrls", []), [])
    with kit.refused("UnknownOperationException", 400, "dynamodb"):
        kit.client("dynamodb").list_tables()


def test_large_requests():
    with kit.refused("RequestEntityTooLargeException", 413, "Zipped size must be smaller than 52428800 bytes"):
        kit.Functions().create(b"PK\x03\x04" + bytes(52_428_800))
    with kit.refused("RequestEntityTooLargeException", 413, "70167211 bytes for the CreateFunction operation"):
        kit.Functions().create(b"PK\x03\x04" + bytes(53_000_000))
    with kit.refused("InvalidParameterValueException", 400, "Could not unzip uploaded file."):
        kit.Functions().create(b"not a zip")


def test_statements_are_json():
    with kit.Functions() as functions:
        made = functions.create()
        name = made["FunctionName"]
        before = api.get_function_configuration(FunctionName=name)["RevisionId"]
        added = api.add_permission(
            FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal="events.amazonaws.com",
            SourceArn="arn:aws:events:us-east-1:000000000000:rule/r", RevisionId=before)
        kit.equal(json.loads(added["Statement"])["Resource"], made["FunctionArn"])
        policy = api.get_policy(FunctionName=name)
        assert policy["RevisionId"] != before
        with kit.refused("PreconditionFailedException", 412):
            api.remove_permission(FunctionName=name, StatementId="s", RevisionId=before)
        api.remove_permission(FunctionName=name, StatementId="s", RevisionId=policy["RevisionId"])
        with kit.refused("PolicyLengthExceededException", 400):
            for number in range(200):
                api.add_permission(FunctionName=name, StatementId=f"s{number}", Action="lambda:InvokeFunction",
                                   Principal="events.amazonaws.com", SourceArn="arn:aws:events:us-east-1:0:" + "r" * 200)


def test_a_model_without_retries_sees_every_answers_request_id():
    answer = boto3.client("lambda").list_functions()
    assert len(answer["ResponseMetadata"]["RequestId"]) == 36
