"""Layers: published, listed, joined in order under /opt, shared by policy, kept by functions that have them."""

import base64
import contextlib
import hashlib
import urllib.request

from kit import Functions, archive, client, equal, name, node, payload, python, refused


@contextlib.contextmanager
def layers(functions):
    made = []

    def publish(files, **options):
        options = {"LayerName": name("l"), "Content": {"ZipFile": archive(files)}} | options
        answer = functions.publish_layer_version(**options)
        made.append((answer["LayerArn"], answer["Version"]))
        return answer

    try:
        yield publish
    finally:
        for arn, version in made:
            functions.delete_layer_version(LayerName=arn.rsplit(":", 1)[1], VersionNumber=version)


def test_versions_are_published_and_listed():
    with Functions() as functions, layers(functions.client) as publish:
        own = name("l")
        files = {"python/shared.py": "VALUE = 1\n"}
        first = publish(
            files, LayerName=own, Description="one", CompatibleRuntimes=["python3.11"], LicenseInfo="MIT",
            CompatibleArchitectures=["x86_64"],
        )
        packed = archive(files)
        equal((first["Version"], first["Content"]["CodeSize"]), (1, len(packed)))
        equal(first["Content"]["CodeSha256"], base64.b64encode(hashlib.sha256(packed).digest()).decode())
        equal((first["LicenseInfo"], first["CompatibleRuntimes"]), ("MIT", ["python3.11"]))
        with urllib.request.urlopen(first["Content"]["Location"]) as answer:
            equal(answer.read(), packed)
        second = publish({"python/shared.py": "VALUE = 2\n"}, LayerName=own)
        equal(second["LayerVersionArn"], f"{second['LayerArn']}:2")
        get = functions.client.get_layer_version
        equal(get(LayerName=own, VersionNumber=1)["Description"], "one")
        equal(get(LayerName=first["LayerArn"], VersionNumber=2)["Version"], 2)
        by_arn = functions.client.get_layer_version_by_arn(Arn=first["LayerVersionArn"])
        equal(by_arn["Content"]["CodeSha256"], first["Content"]["CodeSha256"])
        listed = functions.client.list_layer_versions(LayerName=own)["LayerVersions"]
        equal([found["Version"] for found in listed], [2, 1])
        pages = functions.client.get_paginator("list_layer_versions").paginate(
            LayerName=own, PaginationConfig={"PageSize": 1}
        )
        equal([found["Version"] for page in pages for found in page["LayerVersions"]], [2, 1])
        newest = {found["LayerName"]: found["LatestMatchingVersion"] for found in functions.client.list_layers()["Layers"]}
        equal(newest[own]["Version"], 2)
        fitting = functions.client.list_layers(CompatibleRuntime="python3.11")["Layers"]
        equal([found["LatestMatchingVersion"]["Version"] for found in fitting if found["LayerName"] == own], [1])
        functions.client.delete_layer_version(LayerName=own, VersionNumber=2)
        functions.client.delete_layer_version(LayerName=own, VersionNumber=2)
        with refused("ResourceNotFoundException", 404):
            get(LayerName=own, VersionNumber=2)
        equal(publish(files, LayerName=own)["Version"], 3)


READ = """
import os, subprocess, sys
import one, both
def handler(event, context):
    return {
        "one": one.VALUE, "both": both.VALUE, "path": sys.path.index("/opt/python") > sys.path.index("/var/task"),
        "tool": subprocess.run(["tool"], capture_output=True, text=True).stdout.strip(),
        "data": open("/opt/data.txt").read(), "written": written(),
    }
def written():
    try:
        open("/opt/data.txt", "w")
        return True
    except OSError:
        return False
"""


def test_functions_have_their_layers():
    with Functions() as functions, layers(functions.client) as publish:
        one = publish({"python/one.py": "VALUE = 1\n", "python/both.py": "VALUE = 1\n", "data.txt": "first"})
        two = publish({"python/both.py": "VALUE = 2\n", "bin/tool": ("#!/bin/sh\necho tool\n", 0o755)})
        arns = [one["LayerVersionArn"], two["LayerVersionArn"]]
        made = functions.create(python(READ), Layers=arns)
        equal([layer["Arn"] for layer in made["Layers"]], arns)
        equal(made["Layers"][0]["CodeSize"], one["Content"]["CodeSize"])
        call = lambda: payload(functions.client.invoke(FunctionName=made["FunctionName"]))
        equal(call(), {"one": 1, "both": 2, "path": True, "tool": "tool", "data": "first", "written": False})
        version = functions.client.publish_version(FunctionName=made["FunctionName"])["Version"]
        # The other way round, the other one wins.
        turned = functions.client.update_function_configuration(FunctionName=made["FunctionName"], Layers=arns[::-1])
        equal([layer["Arn"] for layer in turned["Layers"]], arns[::-1])
        equal(call()["both"], 1)
        published = functions.client.invoke(FunctionName=made["FunctionName"], Qualifier=version)
        equal(payload(published)["both"], 2)
        # What is deleted stays with those who have it, also in their next instance.
        for layer in (one, two):
            functions.client.delete_layer_version(LayerName=layer["LayerArn"].rsplit(":", 1)[1], VersionNumber=1)
        functions.client.update_function_configuration(FunctionName=made["FunctionName"], Timeout=5)
        equal(call()["one"], 1)
        found = functions.client.get_function_configuration(FunctionName=made["FunctionName"])
        equal(len(found["Layers"]), 2)
        with refused("InvalidParameterValueException", 400, "does not exist"):
            functions.client.update_function_configuration(FunctionName=made["FunctionName"], Layers=arns)
        gone = functions.client.update_function_configuration(FunctionName=made["FunctionName"], Layers=[])
        equal(gone.get("Layers", []), [])
        equal(payload(functions.client.invoke(FunctionName=made["FunctionName"]))["errorType"], "Runtime.ImportModuleError")


def test_other_runtimes_find_theirs():
    with Functions() as functions, layers(functions.client) as publish:
        packages = publish({"nodejs/node_modules/shared/index.js": "exports.value = 'node';\n"})
        source = "exports.handler = async () => require('shared').value;\n"
        made = functions.create(
            node(source, "index.js"), Runtime="nodejs20.x", Handler="index.handler", Layers=[packages["LayerVersionArn"]]
        )
        equal(payload(functions.client.invoke(FunctionName=made["FunctionName"])), "node")
        loop = """#!/bin/sh
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
while true; do
  id=$(curl -sD - -o /dev/null "$api/next" | tr -d '\\r' | sed -n 's/^[Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d: //p')
  curl -s -X POST -d '"bootstrap of a layer"' "$api/$id/response" > /dev/null
done
"""
        runtime = publish({"bootstrap": (loop, 0o755)})
        made = functions.create(
            archive({"nothing": ""}), Runtime="provided.al2023", Handler="x", Layers=[runtime["LayerVersionArn"]]
        )
        equal(payload(functions.client.invoke(FunctionName=made["FunctionName"])), "bootstrap of a layer")


def test_what_is_refused():
    with Functions() as functions, layers(functions.client) as publish:
        own = name("l")
        made = [publish({"a": "1"}, LayerName=own)["LayerVersionArn"] for _ in range(2)]
        with refused("InvalidParameterValueException", 400, "Two different versions of the same layer"):
            functions.create(Layers=made)
        others = [publish({f"x{number}": ""})["LayerVersionArn"] for number in range(5)]
        with refused("InvalidParameterValueException", 400, "Cannot reference more than 5 layers"):
            functions.create(Layers=[made[0], *others])
        functions.create(Layers=others)
        with refused("InvalidParameterValueException", 400):
            publish({}, Content={"ZipFile": b"no zip"})
        with refused("InvalidParameterValueException", 400, "Layer Version Cannot be less than 1"):
            functions.client.get_layer_version(LayerName=own, VersionNumber=0)


def test_policies_of_versions():
    with Functions() as functions, layers(functions.client) as publish:
        own = name("l")
        publish({"a": "1"}, LayerName=own)
        with refused("ResourceNotFoundException", 404):
            functions.client.get_layer_version_policy(LayerName=own, VersionNumber=1)
        rule = dict(LayerName=own, VersionNumber=1, StatementId="s", Action="lambda:GetLayerVersion", Principal="*")
        added = functions.client.add_layer_version_permission(**rule)
        assert '"Principal":"*"' in added["Statement"], added
        with refused("ResourceConflictException", 409):
            functions.client.add_layer_version_permission(**rule)
        policy = functions.client.get_layer_version_policy(LayerName=own, VersionNumber=1)
        equal(policy["RevisionId"], added["RevisionId"])
        functions.client.remove_layer_version_permission(LayerName=own, VersionNumber=1, StatementId="s")
        with refused("ResourceNotFoundException", 404):
            functions.client.get_layer_version_policy(LayerName=own, VersionNumber=1)


def test_layers_come_from_buckets():
    s3 = client("s3")
    bucket = name("b")
    s3.create_bucket(Bucket=bucket)
    with Functions() as functions, layers(functions.client) as publish:
        s3.put_object(Bucket=bucket, Key="layer.zip", Body=archive({"python/shared.py": "VALUE = 'bucket'\n"}))
        layer = publish({}, Content={"S3Bucket": bucket, "S3Key": "layer.zip"})
        code = python("import shared\ndef handler(e, c):\n    return shared.VALUE\n")
        made = functions.create(code, Layers=[layer["LayerVersionArn"]])
        equal(payload(functions.client.invoke(FunctionName=made["FunctionName"])), "bucket")
    s3.delete_object(Bucket=bucket, Key="layer.zip")
    s3.delete_bucket(Bucket=bucket)
