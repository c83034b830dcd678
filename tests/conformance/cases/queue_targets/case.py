"""Queues at the end of everything that sends: schedules, rules, buckets, functions' results; what becomes of what they do
not take; dead letters that are moved back; permissions."""

import contextlib
import datetime
import json

import botocore.exceptions
import kit

api, sqs, events, scheduler = (kit.client(name) for name in ("lambda", "sqs", "events", "scheduler"))
ACCOUNT = "000000000000"


class World:
    """What is made here goes with it."""

    def __init__(self):
        self.undo = contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.undo.close()

    def later(self, call, **options):
        def undo():
            with contextlib.suppress(botocore.exceptions.ClientError):
                call(**options)

        self.undo.callback(undo)

    def queue(self, fifo=False, **attributes):
        name = kit.name("q") + (".fifo" if fifo else "")
        if fifo:
            attributes["FifoQueue"] = "true"
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self.later(sqs.delete_queue, QueueUrl=url)
        return url, f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"

    def rule(self, source, *targets):
        name = kit.name("rule")
        events.put_rule(Name=name, EventPattern=json.dumps({"source": [source]}))
        self.later(events.delete_rule, Name=name)
        put = events.put_targets(Rule=name, Targets=list(targets))
        self.later(events.remove_targets, Rule=name, Ids=[target["Id"] for target in targets])
        kit.equal(put["FailedEntryCount"], 0)

    def soon(self, **target):
        name = kit.name("tick")
        moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
        scheduler.create_schedule(
            Name=name, ScheduleExpression=f"at({moment:%Y-%m-%dT%H:%M:%S})", FlexibleTimeWindow={"Mode": "OFF"},
            Target={"RoleArn": kit.ROLE} | target)
        self.later(scheduler.delete_schedule, Name=name)


def receive(url, count=1):
    """So many messages, with everything, deleted."""
    found = []

    def look():
        answer = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"])
        for message in answer.get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            found.append(message)
        return len(found) >= count

    kit.eventually(f"{count} messages", look)
    return found


def texts(message):
    return {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}


def test_schedules_send_to_queues():
    with World() as world:
        (plain, plain_arn), (fifo, fifo_arn) = world.queue(), world.queue(fifo=True, ContentBasedDeduplication="true")
        world.soon(Arn=plain_arn, Input='{"a": "<aws.scheduler.scheduled-time>"}')
        world.soon(Arn=fifo_arn, Input="hello", SqsParameters={"MessageGroupId": "g"})
        message = receive(plain)[0]
        kit.equal(len(json.loads(message["Body"])["a"]), len("2026-11-24T12:00:00Z"))
        assert "MessageAttributes" not in message, message
        assert message["Attributes"]["SenderId"], message
        message = receive(fifo)[0]
        kit.equal((message["Body"], message["Attributes"]["MessageGroupId"]), ("hello", "g"))
        assert "MessageAttributes" not in message, message


def test_rules_send_to_queues_of_both_kinds():
    with World() as world:
        (plain, plain_arn), (fifo, fifo_arn) = world.queue(), world.queue(fifo=True)
        source = kit.name("source")
        world.rule(
            source,
            {"Id": "plain", "Arn": plain_arn},
            {"Id": "fifo", "Arn": fifo_arn, "SqsParameters": {"MessageGroupId": "g"}, "InputPath": "$.detail"})
        entries = [{"Source": source, "DetailType": "t", "Detail": json.dumps({"n": n})} for n in range(3)]
        kit.equal(events.put_events(Entries=entries)["FailedEntryCount"], 0)
        got = [json.loads(message["Body"]) for message in receive(plain, 3)]
        kit.equal(sorted(event["detail"]["n"] for event in got), [0, 1, 2])
        kit.equal({event["source"] for event in got}, {source})
        got = receive(fifo, 3)
        kit.equal(sorted(json.loads(message["Body"])["n"] for message in got), [0, 1, 2])
        kit.equal({message["Attributes"]["MessageGroupId"] for message in got}, {"g"})


def test_what_a_queue_does_not_take_goes_to_the_dead_letter_queue():
    with World() as world:
        letters, letters_arn = world.queue()
        _, gone_arn = world.queue()
        sqs.delete_queue(QueueUrl=gone_arn.rsplit(":", 1)[1])
        dead = {"DeadLetterConfig": {"Arn": letters_arn},
                "RetryPolicy": {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}}
        world.soon(Arn=gone_arn, Input='"tick"', **dead)
        letter = receive(letters)[0]
        kit.equal(letter["Body"], '"tick"')
        said = texts(letter)
        kit.equal((said["TARGET_ARN"], said["RETRY_ATTEMPTS"]), (gone_arn, "0"))
        assert said["SCHEDULE_ARN"].startswith("arn:aws:scheduler:") and said["EXECUTION_ID"], said
        assert said["ERROR_CODE"] and "does not exist" in said["ERROR_MESSAGE"], said
        source = kit.name("source")
        world.rule(source, {"Id": "gone", "Arn": gone_arn, **dead},
                   {"Id": "none", "Arn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{kit.name()}", **dead})
        events.put_events(Entries=[{"Source": source, "DetailType": "t", "Detail": "{}"}])
        said = [texts(letter) for letter in receive(letters, 2)]
        kit.equal(sorted(one["TARGET_ARN"].split(":")[2] for one in said), ["lambda", "sqs"])
        assert all(":rule/" in one["RULE_ARN"] for one in said), said


def test_buckets_tell_queues():
    s3 = kit.client("s3")
    with World() as world:
        queue, arn = world.queue()
        bucket = kit.name("b")
        s3.create_bucket(Bucket=bucket)
        world.later(s3.delete_bucket, Bucket=bucket)
        world.later(s3.delete_object, Bucket=bucket, Key="in/a")

        def put(target):
            rule = {"Id": "new", "QueueArn": target, "Events": ["s3:ObjectCreated:*"],
                    "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}]}}}
            s3.put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [rule]})

        with kit.refused("InvalidArgument", 400, "Unable to validate the following destination configurations"):
            put(arn + "x")
        with kit.refused("InvalidArgument", 400, "FIFO"):
            put(world.queue(fifo=True)[1])
        put(arn)
        test = json.loads(receive(queue)[0]["Body"])
        kit.equal((test["Event"], test["Bucket"]), ("s3:TestEvent", bucket))
        s3.put_object(Bucket=bucket, Key="out/a", Body=b"x")
        world.later(s3.delete_object, Bucket=bucket, Key="out/a")
        s3.put_object(Bucket=bucket, Key="in/a", Body=b"hello")
        record = json.loads(receive(queue)[0]["Body"])["Records"][0]
        kit.equal((record["eventName"], record["s3"]["object"]["key"]), ("ObjectCreated:Put", "in/a"))


def test_dead_letters_are_moved_back():
    with World() as world:
        letters, letters_arn = world.queue()
        policy = json.dumps({"deadLetterTargetArn": letters_arn, "maxReceiveCount": 1})
        work, work_arn = world.queue(RedrivePolicy=policy, VisibilityTimeout="0")
        other, other_arn = world.queue()
        with kit.refused("InvalidParameterValue", 400, "must be configured as a Dead Letter Queue"):
            sqs.start_message_move_task(SourceArn=other_arn)
        with kit.refused("ResourceNotFoundException", 404, "SourceArn"):
            sqs.start_message_move_task(SourceArn=letters_arn + "x")

        def fill(count):
            ids = set()
            for number in range(count):
                sent = sqs.send_message(QueueUrl=work, MessageBody=str(number), MessageAttributes={
                    "k": {"DataType": "String", "StringValue": "v"}})
                ids.add(sent["MessageId"])

            def dead():
                sqs.receive_message(QueueUrl=work, MaxNumberOfMessages=10)
                names = ["ApproximateNumberOfMessages"]
                counted = sqs.get_queue_attributes(QueueUrl=letters, AttributeNames=names)["Attributes"]
                return counted["ApproximateNumberOfMessages"] == str(count)

            kit.eventually("dead letters", dead)
            return ids

        def ended(status):
            def look():
                task = sqs.list_message_move_tasks(SourceArn=letters_arn)["Results"][0]
                return task if task["Status"] == status else None

            return kit.eventually(status, look)

        ids = fill(15)
        sqs.set_queue_attributes(QueueUrl=work, Attributes={"RedrivePolicy": json.dumps(
            {"deadLetterTargetArn": letters_arn, "maxReceiveCount": 100})})
        assert sqs.start_message_move_task(SourceArn=letters_arn)["TaskHandle"]
        task = ended("COMPLETED")
        kit.equal((task["ApproximateNumberOfMessagesMoved"], task["ApproximateNumberOfMessagesToMove"]), (15, 15))
        assert "TaskHandle" not in task, task
        back = receive(work, 15)
        kit.equal({message["MessageId"] for message in back}, ids)
        kit.equal(texts(back[0]), {"k": "v"})
        # A named destination, slowly, and called off.
        for number in range(10):
            sqs.send_message(QueueUrl=letters, MessageBody=str(number))
        handle = sqs.start_message_move_task(
            SourceArn=letters_arn, DestinationArn=other_arn, MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
        with kit.refused("InvalidParameterValue", 400, "already a task running"):
            sqs.start_message_move_task(SourceArn=letters_arn)
        receive(other)
        assert sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"] >= 1
        assert ended("CANCELLED")["ApproximateNumberOfMessagesMoved"] < 10
        with kit.refused("AWS.SimpleQueueService.UnsupportedOperation", 400):
            sqs.cancel_message_move_task(TaskHandle=handle)
        # What was sent there itself has no source.
        sqs.start_message_move_task(SourceArn=letters_arn)
        kit.equal(ended("FAILED")["FailureReason"], "CouldNotDetermineMessageSource")
        kit.equal(len(sqs.list_message_move_tasks(SourceArn=letters_arn, MaxResults=10)["Results"]), 3)


def test_permissions_are_statements_of_the_policy():
    with World() as world:
        queue, arn = world.queue()
        sqs.add_permission(QueueUrl=queue, Label="l", AWSAccountIds=["111111111111"], Actions=["SendMessage"])
        shown = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["Policy"])["Attributes"]["Policy"]
        statement = json.loads(shown)["Statement"][0]
        kit.equal((statement["Sid"], statement["Action"], statement["Resource"]), ("l", "SQS:SendMessage", arn))
        with kit.refused("InvalidParameterValue", 400, "Already exists"):
            sqs.add_permission(QueueUrl=queue, Label="l", AWSAccountIds=["111111111111"], Actions=["SendMessage"])
        sqs.remove_permission(QueueUrl=queue, Label="l")
        assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["Policy"])
        with kit.refused("InvalidParameterValue", 400, "can't find label"):
            sqs.remove_permission(QueueUrl=queue, Label="l")


def test_results_run_the_next_function_through_a_queue():
    """Function, destination queue, mapping, function, and the queue in which it tells."""
    with World() as world, kit.Functions() as functions:
        (between, between_arn), (out, out_arn) = world.queue(), world.queue()
        first = functions.create(kit.python("def handler(event, context):\n    return {'got': event}\n"))
        second = functions.create(kit.python(
            "import json\ndef handler(event, context):\n    return [json.loads(r['body'])['responsePayload'] for r in event['Records']]\n"))
        for function, queue in ((first, between_arn), (second, out_arn)):
            api.put_function_event_invoke_config(
                FunctionName=function["FunctionName"], DestinationConfig={"OnSuccess": {"Destination": queue}})
        mapping = api.create_event_source_mapping(
            EventSourceArn=between_arn, FunctionName=second["FunctionName"], BatchSize=1)["UUID"]
        world.later(api.delete_event_source_mapping, UUID=mapping)
        api.invoke(FunctionName=first["FunctionName"], InvocationType="Event", Payload=b'{"a": 1}')

        def seen():
            counted = sqs.get_queue_attributes(QueueUrl=between, AttributeNames=["All"])["Attributes"]
            names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
            result = api.get_event_source_mapping(UUID=mapping)["LastProcessingResult"]
            return result == "OK" and {counted[name] for name in names} == {"0"}

        kit.eventually("the batch", seen)
        # A mapping calls synchronously: destinations are for asynchronous calls.
        assert "Messages" not in sqs.receive_message(QueueUrl=out)
