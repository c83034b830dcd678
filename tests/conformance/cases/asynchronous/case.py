"""Asynchronous invocation: configuration, destinations, limits, loops (contract 7.2, 7.3, 7.5)."""

import json
import time

import kit

api = kit.client()

# Keeps what it is given, and tells when asked.
SINK = """
SEEN = []
def handler(event, context):
    if event.get("ask"):
        return SEEN
    SEEN.append(event)
"""
FAILS = "def handler(event, context):\n    raise ValueError('no ' + event['n'])\n"
NONE = "doesn't have an EventInvokeConfig"


def sink_of(functions):
    """A function that keeps what it is given. It runs once at a time, so all of it is in one instance."""
    made = functions.create(kit.python(SINK))
    api.put_function_concurrency(FunctionName=made["FunctionName"], ReservedConcurrentExecutions=1)
    return made


def records(sink, wanted):
    """What the sink has been given, once it is so many."""
    seen = []
    for _ in range(300):
        try:
            seen = kit.payload(api.invoke(FunctionName=sink, Payload=b'{"ask":1}'))
        except api.exceptions.TooManyRequestsException:
            pass
        if len(seen) >= wanted:
            return seen
        time.sleep(0.1)
    raise AssertionError(f"{len(seen)} of {wanted} records came: {seen}")


def send(name, event, **options):
    answer = api.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event).encode(), **options)
    kit.equal(answer["StatusCode"], 202)
    return answer["ResponseMetadata"]["RequestId"]


def test_configuration_has_its_shape_and_is_kept_for_each_qualifier():
    with kit.Functions() as functions:
        made = functions.create()
        name, arn = made["FunctionName"], made["FunctionArn"]
        with kit.refused("ResourceNotFoundException", 404, NONE):
            api.get_function_event_invoke_config(FunctionName=name)
        with kit.refused("ResourceNotFoundException", 404, NONE):
            api.update_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
        put = api.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
        kit.equal(put["FunctionArn"], arn + ":$LATEST")
        kit.equal(put["MaximumRetryAttempts"], 1)
        assert "MaximumEventAgeInSeconds" not in put
        kit.equal(put["DestinationConfig"], {"OnSuccess": {}, "OnFailure": {}})
        assert abs(put["LastModified"].timestamp() - time.time()) < 300
        updated = api.update_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=60)
        kit.equal((updated["MaximumRetryAttempts"], updated["MaximumEventAgeInSeconds"]), (1, 60))
        replaced = api.put_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=90)
        assert "MaximumRetryAttempts" not in replaced
        version = api.publish_version(FunctionName=name)["Version"]
        api.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
        queue = "arn:aws:sqs:us-east-1:000000000000:some"
        for qualifier in (version, "live"):
            config = {"OnFailure": {"Destination": queue}}
            put = api.put_function_event_invoke_config(FunctionName=name, Qualifier=qualifier, DestinationConfig=config)
            kit.equal(put["FunctionArn"], f"{arn}:{qualifier}")
            kit.equal(put["DestinationConfig"]["OnFailure"], {"Destination": queue})
        listed = api.list_function_event_invoke_configs(FunctionName=name, MaxItems=2)
        more = api.list_function_event_invoke_configs(FunctionName=name, Marker=listed["NextMarker"])
        found = [item["FunctionArn"] for page in (listed, more) for item in page["FunctionEventInvokeConfigs"]]
        kit.equal(found, [f"{arn}:$LATEST", f"{arn}:1", f"{arn}:live"])
        api.delete_function_event_invoke_config(FunctionName=name, Qualifier="live")
        with kit.refused("ResourceNotFoundException", 404, NONE):
            api.delete_function_event_invoke_config(FunctionName=name, Qualifier="live")
        kit.equal(api.get_function_event_invoke_config(FunctionName=name)["MaximumEventAgeInSeconds"], 90)


def test_configuration_is_checked():
    with kit.Functions() as functions:
        made = functions.create()
        name = made["FunctionName"]

        def put(**settings):
            return api.put_function_event_invoke_config(FunctionName=name, **settings)

        with kit.refused("InvalidParameterValueException", 400, "at least one of error handling or destination"):
            put()
        with kit.refused("InvalidParameterValueException", 400, "as a destination for itself"):
            put(DestinationConfig={"OnSuccess": {"Destination": made["FunctionArn"]}})
        with kit.refused("InvalidParameterValueException", 400, "does not exist"):
            put(DestinationConfig={"OnSuccess": {"Destination": made["FunctionArn"] + "x"}})
        with kit.refused("InvalidParameterValueException", 400, "no such destination"):
            put(DestinationConfig={"OnSuccess": {"Destination": "arn:aws:sns:us-east-1:000000000000:t"}})
        with kit.refused("ResourceNotFoundException", 404):
            api.put_function_event_invoke_config(FunctionName=name, Qualifier="nothing", MaximumRetryAttempts=0)


def test_records_go_to_functions():
    with kit.Functions() as functions:
        sink = sink_of(functions)
        good, bad = functions.create(), functions.create(kit.python(FAILS))
        config = {"OnSuccess": {"Destination": sink["FunctionArn"]}, "OnFailure": {"Destination": sink["FunctionArn"]}}
        for function in (good, bad):
            api.put_function_event_invoke_config(
                FunctionName=function["FunctionName"], MaximumRetryAttempts=0, DestinationConfig=config
            )
        succeeded = send(good["FunctionName"], {"n": "1"})
        failed = send(bad["FunctionName"], {"n": "2"})
        seen = {record["requestContext"]["requestId"]: record for record in records(sink["FunctionName"], 2)}
        record = seen[succeeded]
        kit.equal(record["version"], "1.0")
        kit.equal(record["requestContext"]["functionArn"], good["FunctionArn"] + ":$LATEST")
        kit.equal(record["requestContext"]["condition"], "Success")
        kit.equal(record["requestContext"]["approximateInvokeCount"], 1)
        kit.equal(record["requestPayload"], {"n": "1"})
        kit.equal(record["responseContext"], {"statusCode": 200, "executedVersion": "$LATEST"})
        kit.equal(record["responsePayload"], {"n": "1"})
        record = seen[failed]
        kit.equal(record["requestContext"]["condition"], "RetriesExhausted")
        kit.equal(record["responseContext"]["functionError"], "Unhandled")
        kit.equal(record["responsePayload"]["errorMessage"], "no 2")
        kit.equal(record["responsePayload"]["errorType"], "ValueError")


def test_a_stopped_function_drops_its_events_to_the_destination():
    with kit.Functions() as functions:
        sink, stopped = sink_of(functions), functions.create()
        config = {"OnFailure": {"Destination": sink["FunctionArn"]}}
        name = stopped["FunctionName"]
        api.put_function_event_invoke_config(FunctionName=name, DestinationConfig=config)
        api.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        send(name, {"n": 1})
        (record,) = records(sink["FunctionName"], 1)
        kit.equal(record["requestContext"]["condition"], "ZeroReservedConcurrency")
        kit.equal(record["requestContext"]["approximateInvokeCount"], 0)
        assert "responsePayload" not in record and "responseContext" not in record


def test_loops_are_stopped():
    # The SDKs inside functions pass the trace header on; here the case does.
    source = "import os\ndef handler(event, context):\n    return os.environ['_X_AMZN_TRACE_ID']\n"
    passed_on = {}
    looping = kit.client()

    def pass_on(request, **_):
        for name, value in passed_on.items():
            request.headers[name] = value

    looping.meta.events.register("before-sign.lambda.Invoke", pass_on)
    with kit.Functions() as functions:
        name = functions.create(kit.python(source))["FunctionName"]
        sink = sink_of(functions)
        config = {"OnFailure": {"Destination": sink["FunctionArn"]}}
        api.put_function_event_invoke_config(FunctionName=name, DestinationConfig=config)
        for _ in range(16):
            passed_on["X-Amzn-Trace-Id"] = kit.payload(looping.invoke(FunctionName=name))
        with kit.refused("RecursiveInvocationException", 400, "recursive loop"):
            looping.invoke(FunctionName=name)
        looping.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
        (record,) = records(sink["FunctionName"], 1)
        kit.equal(record["requestContext"]["approximateInvokeCount"], 0)
        kit.equal(api.invoke(FunctionName=name)["StatusCode"], 200)
        api.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
        kit.equal(looping.invoke(FunctionName=name)["StatusCode"], 200)
