"""EventBridge: buses, rules, targets, patterns, input transformers, destinations of functions."""

import json
import time

import kit

api = kit.client()
events = kit.client("events")
ACCOUNT = "000000000000"

SINK = """
SEEN = []
def handler(event, context):
    if isinstance(event, dict) and event.get("ask"):
        return SEEN
    SEEN.append(event)
"""


def sink_of(functions):
    """A function that keeps what it is given. It runs once at a time, so all of it is in one instance."""
    made = functions.create(kit.python(SINK))
    api.put_function_concurrency(FunctionName=made["FunctionName"], ReservedConcurrentExecutions=1)
    return made


def records(sink, wanted, limit=30):
    """What the sink has been given, once it is so many."""
    seen, end = [], time.time() + limit
    while time.time() < end:
        try:
            seen = kit.payload(api.invoke(FunctionName=sink, Payload=b'{"ask":1}'))
        except api.exceptions.TooManyRequestsException:
            pass
        if len(seen) >= wanted:
            return seen
        time.sleep(0.1)
    raise AssertionError(f"{len(seen)} of {wanted} came: {seen}")


def put(source, detail, kind="t", **more):
    entry = {"Source": source, "DetailType": kind, "Detail": json.dumps(detail)} | more
    answer = events.put_events(Entries=[entry])
    kit.equal(answer["FailedEntryCount"], 0)
    return answer["Entries"][0]["EventId"]


def test_events_reach_the_targets_of_rules_that_match():
    with kit.Functions() as functions:
        sink = sink_of(functions)
        source, rule = kit.name("shop"), kit.name("r")
        pattern = {"source": [source], "detail": {"total": [{"numeric": [">", 10]}]}}
        arn = events.put_rule(Name=rule, EventPattern=json.dumps(pattern), Description="d")["RuleArn"]
        kit.equal(arn, f"arn:aws:events:us-east-1:{ACCOUNT}:rule/{rule}")
        kit.equal(events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": sink["FunctionArn"]}])["FailedEntryCount"], 0)
        put(source, {"total": 5})
        put("other", {"total": 50})
        sent = put(source, {"total": 50}, "order", Resources=["a", "b"], Time=1_700_000_000)
        seen = records(sink["FunctionName"], 1)
        kit.equal(
            seen,
            [
                {
                    "version": "0",
                    "id": sent,
                    "detail-type": "order",
                    "source": source,
                    "account": ACCOUNT,
                    "time": "2023-11-14T22:13:20Z",
                    "region": "us-east-1",
                    "resources": ["a", "b"],
                    "detail": {"total": 50},
                }
            ],
        )
        described = events.describe_rule(Name=rule)
        kit.equal((described["State"], described["EventBusName"], described["Description"]), ("ENABLED", "default", "d"))
        events.disable_rule(Name=rule)
        kit.equal(events.describe_rule(Name=rule)["State"], "DISABLED")
        put(source, {"total": 51})
        events.enable_rule(Name=rule)
        put(source, {"total": 52})
        kit.equal([event["detail"]["total"] for event in records(sink["FunctionName"], 2)], [50, 52])
        with kit.refused("ValidationException", 400, "Rule can't be deleted since it has targets."):
            events.delete_rule(Name=rule)
        kit.equal(events.list_rule_names_by_target(TargetArn=sink["FunctionArn"])["RuleNames"], [rule])
        gone = events.remove_targets(Rule=rule, Ids=["1", "9"])
        kit.equal((gone["FailedEntryCount"], gone["FailedEntries"][0]["TargetId"]), (1, "9"))
        kit.equal(events.list_targets_by_rule(Rule=rule)["Targets"], [])
        events.delete_rule(Name=rule)
        events.delete_rule(Name=rule)
        with kit.refused("ResourceNotFoundException", 400, f"Rule {rule} does not exist on EventBus default."):
            events.describe_rule(Name=rule)


def test_buses_are_apart_and_send_to_each_other_once():
    with kit.Functions() as functions:
        sink = sink_of(functions)
        one, two, rule, source = kit.name("bus"), kit.name("bus"), kit.name("r"), kit.name("s")
        arns = [events.create_event_bus(Name=name, Tags=[{"Key": "k", "Value": "v"}])["EventBusArn"] for name in (one, two)]
        kit.equal(arns[0], f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/{one}")
        with kit.refused("ResourceAlreadyExistsException", 400):
            events.create_event_bus(Name=one)
        names = [bus["Name"] for bus in events.list_event_buses()["EventBuses"]]
        assert {"default", one, two} <= set(names), names
        kit.equal(events.list_tags_for_resource(ResourceARN=arns[0])["Tags"], [{"Key": "k", "Value": "v"}])
        pattern = json.dumps({"source": [source]})
        # A ring: from one to two and back; it stops after the first hop.
        for bus, to in ((one, arns[1]), (two, arns[0])):
            events.put_rule(Name=rule, EventBusName=bus, EventPattern=pattern)
            targets = [{"Id": "bus", "Arn": to}]
            if bus == two:
                targets.append({"Id": "sink", "Arn": sink["FunctionArn"]})
            events.put_targets(Rule=rule, EventBusName=bus, Targets=targets)
        sent = put(source, {"n": 1}, EventBusName=arns[0])
        put(source, {"n": 2})
        seen = records(sink["FunctionName"], 1)
        kit.equal([(event["id"], event["detail"]["n"]) for event in seen], [(sent, 1)])
        with kit.refused("ValidationException", 400, "Event bus can't be deleted since it has rules."):
            events.delete_event_bus(Name=one)
        for bus in (one, two):
            events.remove_targets(Rule=rule, EventBusName=bus, Ids=["bus", "sink"])
            events.delete_rule(Name=rule, EventBusName=bus)
            events.delete_event_bus(Name=bus)
        with kit.refused("ResourceNotFoundException", 400, f"Event bus {one} does not exist."):
            events.describe_event_bus(Name=one)
        with kit.refused("ValidationException", 400):
            events.delete_event_bus(Name="default")


def test_inputs_are_shaped_for_each_target():
    with kit.Functions() as functions:
        sink = sink_of(functions)
        source, rule = kit.name("s"), kit.name("r")
        events.put_rule(Name=rule, EventPattern=json.dumps({"source": [source]}))
        arn = sink["FunctionArn"]
        transformer = {
            "InputPathsMap": {"who": "$.detail.who", "n": "$.detail.n"},
            "InputTemplate": '{"text": "hi <who>", "n": <n>, "rule": "<aws.events.rule-name>"}',
        }
        events.put_targets(
            Rule=rule,
            Targets=[
                {"Id": "1", "Arn": arn, "Input": '{"constant": true}'},
                {"Id": "2", "Arn": arn, "InputPath": "$.detail.n"},
                {"Id": "3", "Arn": arn, "InputTransformer": transformer},
            ],
        )
        put(source, {"who": 'an "x"', "n": 7})
        seen = records(sink["FunctionName"], 3)
        expected = [{"constant": True}, 7, {"text": 'hi an "x"', "n": 7, "rule": rule}]
        kit.equal(sorted(map(json.dumps, seen)), sorted(map(json.dumps, expected)))
        kept = events.list_targets_by_rule(Rule=rule)["Targets"]
        kit.equal(kept[2]["InputTransformer"], transformer)


def test_results_of_functions_go_to_a_bus():
    with kit.Functions() as functions:
        sink, worker = sink_of(functions), functions.create()
        rule = kit.name("r")
        pattern = {"source": ["lambda"], "detail": {"requestPayload": {"mark": [rule]}}}
        events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": sink["FunctionArn"]}])
        bus = events.describe_event_bus()["Arn"]
        api.put_function_event_invoke_config(
            FunctionName=worker["FunctionName"], DestinationConfig={"OnSuccess": {"Destination": bus}}
        )
        api.invoke(FunctionName=worker["FunctionName"], InvocationType="Event", Payload=json.dumps({"mark": rule}))
        (seen,) = records(sink["FunctionName"], 1)
        kit.equal(seen["detail-type"], "Lambda Function Invocation Result - Success")
        kit.equal(seen["resources"], [bus, worker["FunctionArn"] + ":$LATEST"])
        kit.equal(seen["detail"]["responsePayload"], {"mark": rule})


def test_patterns_are_tried_and_wrong_ones_refused():
    event = json.dumps(
        {
            "id": "1",
            "account": ACCOUNT,
            "source": "s",
            "time": "2026-01-01T00:00:00Z",
            "region": "us-east-1",
            "resources": [],
            "detail-type": "t",
            "detail": {"name": "file.png", "ip": "10.0.0.7"},
        }
    )

    def tried(pattern):
        return events.test_event_pattern(EventPattern=json.dumps(pattern), Event=event)["Result"]

    assert tried({"detail": {"name": [{"suffix": ".png"}], "ip": [{"cidr": "10.0.0.0/24"}]}})
    assert tried({"$or": [{"source": ["x"]}, {"detail": {"name": [{"wildcard": "f*.png"}]}}]})
    assert not tried({"detail": {"name": [{"anything-but": {"prefix": "file"}}]}})
    for pattern, reason in (
        ('{"a": "x"}', '"a" must be an object or an array'),
        ('{"a": [{"nope": 1}]}', "Unrecognized match type nope"),
        ("{}", "Empty objects are not allowed"),
    ):
        with kit.refused("InvalidEventPatternException", 400, f"Event pattern is not valid. Reason: {reason}"):
            events.test_event_pattern(EventPattern=pattern, Event=event)
        with kit.refused("InvalidEventPatternException", 400, reason):
            events.put_rule(Name="wrong", EventPattern=pattern)
    with kit.refused("ValidationException", 400, "id is a required field"):
        events.test_event_pattern(EventPattern='{"a": [1]}', Event="{}")


def test_wrong_requests_are_refused_in_the_words_of_the_service():
    with kit.refused("ValidationException", 400, "EventPattern or ScheduleExpression must be specified"):
        events.put_rule(Name="wrong")
    for expression in ("rate(1 minutes)", "rate(5 seconds)", "cron(0 12 * * * *)", "at(2026-11-24T12:00:00)"):
        with kit.refused("ValidationException", 400, "Parameter ScheduleExpression is not valid."):
            events.put_rule(Name="wrong", ScheduleExpression=expression)
    with kit.refused("ResourceNotFoundException", 400, "Event bus nowhere does not exist."):
        events.put_rule(Name="wrong", EventBusName="nowhere", EventPattern='{"a": [1]}')
    rule = kit.name("r")
    events.put_rule(Name=rule, EventPattern='{"source": ["never"]}')
    with kit.refused("ValidationException", 400, "Provided Arn is not in correct format."):
        events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": "nonsense"}])
    with kit.refused("ValidationException", 400, "Only one of Input, InputPath, or InputTransformer"):
        arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:x"
        events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": arn, "Input": "1", "InputPath": "$"}])
    events.delete_rule(Name=rule)
    answer = events.put_events(
        Entries=[
            {"Source": "s", "DetailType": "t", "Detail": "{}"},
            {"DetailType": "t", "Detail": "{}"},
            {"Source": "s", "DetailType": "t", "Detail": "nonsense"},
            {"Source": "aws.s3", "DetailType": "t", "Detail": "{}"},
        ]
    )
    kit.equal(answer["FailedEntryCount"], 3)
    codes = [entry.get("ErrorCode") for entry in answer["Entries"]]
    kit.equal(codes, [None, "InvalidArgument", "MalformedDetail", "NotAuthorizedForSourceException"])
    with kit.refused("ValidationException", 400, "less than or equal to 10"):
        events.put_events(Entries=[{"Source": "s", "DetailType": "t", "Detail": "{}"}] * 11)


def test_lists_come_in_pages():
    made = sorted(kit.name("page") for _ in range(5))
    for rule in made:
        events.put_rule(Name=rule, EventPattern='{"source": ["never"]}')
    found, token = [], None
    while True:
        more = {"NextToken": token} if token else {}
        page = events.list_rules(NamePrefix="page-", Limit=2, **more)
        assert len(page["Rules"]) <= 2
        found += [rule["Name"] for rule in page["Rules"]]
        token = page.get("NextToken")
        if not token:
            break
    kit.equal(found, made)
    for rule in made:
        events.delete_rule(Name=rule)
