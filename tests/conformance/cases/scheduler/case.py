"""EventBridge Scheduler: schedules, groups, idempotency, context attributes, what follows the last tick; scheduled rules."""

import datetime
import json
import time

import kit

api = kit.client()
scheduler = kit.client("scheduler")
ACCOUNT = "000000000000"
OFF = {"Mode": "OFF"}

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


def target(arn=f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:none", **more):
    return {"Arn": arn, "RoleArn": kit.ROLE} | more


def soon(seconds=2, zone=datetime.timezone.utc):
    moment = datetime.datetime.now(zone) + datetime.timedelta(seconds=seconds)
    return f"at({moment:%Y-%m-%dT%H:%M:%S})"


def wait_gone(name):
    for _ in range(100):
        try:
            scheduler.get_schedule(Name=name)
        except scheduler.exceptions.ResourceNotFoundException:
            return
        time.sleep(0.1)
    raise AssertionError(f"{name} is still there")


def test_a_schedule_ticks_once_with_its_input_and_goes():
    with kit.Functions() as functions:
        sink = sink_of(functions)
        name = kit.name("once")
        attributes = ("schedule-arn", "scheduled-time", "execution-id", "attempt-number")
        text = json.dumps({key: f"<aws.scheduler.{key}>" for key in attributes})
        expression = soon()
        arn = scheduler.create_schedule(
            Name=name,
            ScheduleExpression=expression,
            FlexibleTimeWindow=OFF,
            ActionAfterCompletion="DELETE",
            Target=target(sink["FunctionArn"], Input=text),
        )["ScheduleArn"]
        kit.equal(arn, f"arn:aws:scheduler:us-east-1:{ACCOUNT}:schedule/default/{name}")
        (seen,) = records(sink["FunctionName"], 1)
        kit.equal(seen["schedule-arn"], arn)
        kit.equal(seen["scheduled-time"], expression[3:-1] + "Z")
        kit.equal(seen["attempt-number"], "1")
        kit.equal(len(seen["execution-id"]), 36)
        wait_gone(name)


def test_a_rate_begins_at_once_and_zones_are_kept():
    with kit.Functions() as functions:
        sink = sink_of(functions)
        name = kit.name("rate")
        scheduler.create_schedule(
            Name=name, ScheduleExpression="rate(1 hour)", FlexibleTimeWindow=OFF, Target=target(sink["FunctionArn"])
        )
        (seen,) = records(sink["FunctionName"], 1)
        kit.equal((seen["source"], seen["detail"], seen["account"]), ("aws.scheduler", "{}", ACCOUNT))
        scheduler.update_schedule(
            Name=name,
            ScheduleExpression="cron(0 12 ? * MON-FRI *)",
            ScheduleExpressionTimezone="Europe/Berlin",
            FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15},
            State="DISABLED",
            Description="noon",
            StartDate=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
            EndDate=datetime.datetime(2099, 1, 1, tzinfo=datetime.timezone.utc),
            Target=target(sink["FunctionArn"], RetryPolicy={"MaximumRetryAttempts": 3}),
        )
        found = scheduler.get_schedule(Name=name)
        kit.equal(found["ScheduleExpressionTimezone"], "Europe/Berlin")
        kit.equal(found["FlexibleTimeWindow"], {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15})
        kit.equal((found["State"], found["Description"], found["EndDate"].year), ("DISABLED", "noon", 2099))
        kit.equal(found["Target"]["RetryPolicy"], {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 86400})
        scheduler.delete_schedule(Name=name)
        with kit.refused("ResourceNotFoundException", 404, f"Schedule {name} does not exist."):
            scheduler.delete_schedule(Name=name)


def test_a_time_in_another_zone_is_that_zone_s():
    with kit.Functions() as functions:
        sink = sink_of(functions)
        expression = soon(2, datetime.timezone(datetime.timedelta(hours=9)))
        scheduler.create_schedule(
            Name=kit.name("seoul"),
            ScheduleExpression=expression,
            ScheduleExpressionTimezone="Asia/Seoul",
            FlexibleTimeWindow=OFF,
            ActionAfterCompletion="DELETE",
            Target=target(sink["FunctionArn"], Input='{"here": 1}'),
        )
        kit.equal(records(sink["FunctionName"], 1), [{"here": 1}])


def test_a_schedule_puts_events_on_a_bus():
    events = kit.client("events")
    with kit.Functions() as functions:
        sink = sink_of(functions)
        rule, source = kit.name("r"), kit.name("s")
        events.put_rule(Name=rule, EventPattern=json.dumps({"source": [source]}))
        events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": sink["FunctionArn"]}])
        scheduler.create_schedule(
            Name=kit.name("bus"),
            ScheduleExpression=soon(1),
            FlexibleTimeWindow=OFF,
            ActionAfterCompletion="DELETE",
            Target=target(
                events.describe_event_bus()["Arn"],
                EventBridgeParameters={"Source": source, "DetailType": "tick"},
                Input='{"n": 1}',
            ),
        )
        (seen,) = records(sink["FunctionName"], 1)
        kit.equal((seen["detail-type"], seen["detail"]), ("tick", {"n": 1}))


def test_a_client_token_makes_a_request_the_same():
    name, token = kit.name("token"), kit.name("t")
    request = dict(
        Name=name, ScheduleExpression="rate(1 day)", FlexibleTimeWindow=OFF, Target=target(), ClientToken=token
    ) | {"State": "DISABLED"}
    first = scheduler.create_schedule(**request)["ScheduleArn"]
    kit.equal(scheduler.create_schedule(**request)["ScheduleArn"], first)
    with kit.refused("ConflictException", 409, f"Schedule {name} already exists."):
        scheduler.create_schedule(**(request | {"ClientToken": token + "x"}))
    scheduler.delete_schedule(Name=name)


def test_groups_hold_schedules_and_go_with_them():
    group = kit.name("group")
    arn = scheduler.create_schedule_group(Name=group, Tags=[{"Key": "k", "Value": "v"}])["ScheduleGroupArn"]
    kit.equal(arn, f"arn:aws:scheduler:us-east-1:{ACCOUNT}:schedule-group/{group}")
    with kit.refused("ConflictException", 409):
        scheduler.create_schedule_group(Name=group)
    kit.equal(scheduler.list_tags_for_resource(ResourceArn=arn)["Tags"], [{"Key": "k", "Value": "v"}])
    scheduler.tag_resource(ResourceArn=arn, Tags=[{"Key": "l", "Value": "w"}])
    scheduler.untag_resource(ResourceArn=arn, TagKeys=["k"])
    kit.equal(scheduler.list_tags_for_resource(ResourceArn=arn)["Tags"], [{"Key": "l", "Value": "w"}])
    names = sorted(kit.name("s") for _ in range(3))
    for name in names:
        scheduler.create_schedule(
            Name=name, GroupName=group, ScheduleExpression="rate(1 day)", FlexibleTimeWindow=OFF, Target=target(), State="DISABLED"
        )
    page = scheduler.list_schedules(GroupName=group, MaxResults=2)
    more = scheduler.list_schedules(GroupName=group, NextToken=page["NextToken"])
    kit.equal([item["Name"] for item in page["Schedules"] + more["Schedules"]], names)
    kit.equal(scheduler.list_schedules(GroupName=group, State="ENABLED")["Schedules"], [])
    groups = [item["Name"] for item in scheduler.list_schedule_groups()["ScheduleGroups"]]
    assert {"default", group} <= set(groups), groups
    scheduler.delete_schedule_group(Name=group)
    with kit.refused("ResourceNotFoundException", 404):
        scheduler.get_schedule_group(Name=group)
    with kit.refused("ResourceNotFoundException", 404):
        scheduler.get_schedule(Name=names[0], GroupName=group)
    with kit.refused("ValidationException", 400):
        scheduler.delete_schedule_group(Name="default")


def test_wrong_requests_are_refused():
    def create(**more):
        request = dict(Name="wrong", ScheduleExpression="rate(1 day)", FlexibleTimeWindow=OFF, Target=target())
        scheduler.create_schedule(**(request | more))

    for expression in ("rate(5)", "rate(10 minutess)", "cron(* * * *)", "at(tomorrow)", "every day"):
        with kit.refused("ValidationException", 400, f"Invalid Schedule Expression {expression}."):
            create(ScheduleExpression=expression)
    with kit.refused("ValidationException", 400, "Invalid ScheduleExpressionTimezone Cat/Dog."):
        create(ScheduleExpressionTimezone="Cat/Dog")
    with kit.refused("ValidationException", 400, "MaximumWindowInMinutes"):
        create(FlexibleTimeWindow={"Mode": "FLEXIBLE"})
    with kit.refused("ValidationException", 400, "Provided Arn is not in correct format."):
        create(Target=target("nonsense"))
    with kit.refused("ResourceNotFoundException", 404, "Schedule group nowhere does not exist."):
        create(GroupName="nowhere")


def test_a_scheduled_rule_is_kept_and_described():
    events = kit.client("events")
    rule = kit.name("scheduled")
    events.put_rule(Name=rule, ScheduleExpression="rate(5 minutes)")
    kit.equal(events.describe_rule(Name=rule)["ScheduleExpression"], "rate(5 minutes)")
    events.put_rule(Name=rule, ScheduleExpression="cron(0/5 8-17 ? * MON-FRI *)", State="DISABLED")
    found = events.describe_rule(Name=rule)
    kit.equal((found["ScheduleExpression"], found["State"]), ("cron(0/5 8-17 ? * MON-FRI *)", "DISABLED"))
    events.delete_rule(Name=rule)
