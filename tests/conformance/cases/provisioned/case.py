"""Provisioned concurrency: instances that are loaded before anybody calls (contract 1.5, 3.3, 3.9, 7.1)."""

import json

import kit

api = kit.client()

# What runs at import runs when the instance is loaded, whoever calls later sees when that was.
SOURCE = """
import os, time
loaded = time.time()
print("loading")
def handler(event, context):
    return {"kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "loaded": loaded, "pid": id(context),
            "stream": context.log_stream_name, "version": context.function_version}
"""


def put(name, qualifier, count):
    return api.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count)


def get(name, qualifier):
    return api.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)


def ready(name, qualifier):
    return kit.eventually("READY", lambda: get(name, qualifier)["Status"] == "READY" and get(name, qualifier))


def call(name, qualifier):
    return kit.payload(api.invoke(FunctionName=name, Qualifier=qualifier))


def published(functions, source=SOURCE, **options):
    name = functions.create(kit.python(source), **options)["FunctionName"]
    api.publish_version(FunctionName=name)
    return name


def test_instances_are_loaded_before_the_first_call():
    with kit.Functions() as functions:
        name = published(functions)
        answer = put(name, "1", 1)
        kit.equal(answer["ResponseMetadata"]["HTTPStatusCode"], 202)
        assert answer["Status"] in ("IN_PROGRESS", "READY"), answer
        shown = ready(name, "1")
        kit.equal((shown["RequestedProvisionedConcurrentExecutions"], shown["AvailableProvisionedConcurrentExecutions"],
                   shown["AllocatedProvisionedConcurrentExecutions"]), (1, 1, 1))
        answer = api.invoke(FunctionName=name, Qualifier="1", LogType="Tail")
        kit.equal(kit.payload(answer)["kind"], "provisioned-concurrency")
        assert "Init Duration" not in kit.tail(answer), "the call did not wait for it"
        kit.equal(call(name, "$LATEST")["kind"], "on-demand")


def test_an_alias_takes_its_instances_along():
    with kit.Functions() as functions:
        name = published(functions)
        api.create_alias(FunctionName=name, Name="prod", FunctionVersion="1")
        put(name, "prod", 1)
        ready(name, "prod")
        first = call(name, "prod")
        kit.equal((first["kind"], first["version"]), ("provisioned-concurrency", "1"))
        api.update_function_code(FunctionName=name, ZipFile=kit.python(SOURCE + "# two\n"), Publish=True)
        api.update_alias(FunctionName=name, Name="prod", FunctionVersion="2")
        ready(name, "prod")
        second = call(name, "prod")
        kit.equal((second["kind"], second["version"]), ("provisioned-concurrency", "2"))
        # The version that the alias left is called on demand again.
        kit.equal(call(name, "1")["kind"], "on-demand")
        api.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="prod")
        with kit.refused("ProvisionedConcurrencyConfigNotFoundException", 404):
            get(name, "prod")


def test_an_instance_that_dies_is_replaced():
    with kit.Functions() as functions:
        source = SOURCE + """
serve = handler
def handler(event, context):
    if event.get("die"):
        os._exit(3)
    return serve(event, context)
"""
        name = published(functions, source)
        put(name, "1", 1)
        ready(name, "1")
        before = call(name, "1")
        api.invoke(FunctionName=name, Qualifier="1", Payload=json.dumps({"die": True}).encode())
        ready(name, "1")
        after = call(name, "1")
        assert after["stream"] != before["stream"], after
        kit.equal(after["kind"], "provisioned-concurrency")


def test_code_that_does_not_load_is_a_failure_that_says_so():
    with kit.Functions() as functions:
        name = published(functions, "raise ValueError('no')\ndef handler(event, context): pass\n")
        put(name, "1", 1)
        failed = kit.eventually("FAILED", lambda: get(name, "1")["Status"] == "FAILED" and get(name, "1"))
        kit.equal((failed["StatusReason"], failed["AvailableProvisionedConcurrentExecutions"]),
                  ("FUNCTION_ERROR_INIT_FAILURE", 0))
