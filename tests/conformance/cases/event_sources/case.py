"""Event source mappings by boto3: functions run with what comes into queues."""

import contextlib
import json
import time

import botocore.exceptions
import kit

api = kit.client()
sqs = kit.client("sqs")

# One request to SQS, signed by hand: the runtime brings no SDK.
SEND = r'''
import datetime, hashlib, hmac, http.client, json, os, time, urllib.parse

def call(operation, document):
    target, region = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"]), os.environ["AWS_REGION"]
    body = json.dumps(document).encode()
    digest = lambda data: hashlib.sha256(data).hexdigest()
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": target.netloc, "x-amz-date": now, "x-amz-target": "AmazonSQS." + operation,
               "x-amz-security-token": os.environ["AWS_SESSION_TOKEN"], "content-type": "application/x-amz-json-1.0"}
    names = sorted(headers)
    canonical = "POST\n/\n\n" + "".join(f"{name}:{headers[name]}\n" for name in names)
    canonical += "\n" + ";".join(names) + "\n" + digest(body)
    scope = f"{now[:8]}/{region}/sqs/aws4_request"
    key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n" + digest(canonical.encode())
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={os.environ['AWS_ACCESS_KEY_ID']}/{scope}, "
                                f"SignedHeaders={';'.join(names)}, Signature={signature}")
    connection = http.client.HTTPConnection(target.hostname, target.port, timeout=10)
    connection.request("POST", "/", body, headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    return json.loads(answer.read())
'''

# Sends what it was given to the queue that its environment names, or does as the bodies say.
RECORDS = SEND + r'''
def handler(event, context):
    bodies = [record["body"] for record in event["Records"]]
    if any("fail" == body for body in bodies):
        raise ValueError("no")
    call("SendMessage", {"QueueUrl": os.environ["OUT"], "MessageBody": json.dumps(event["Records"])})
    failed = [r["messageId"] for r in event["Records"] if r["body"].startswith("again")
              and int(r["attributes"]["ApproximateReceiveCount"]) < 2]
    return {"batchItemFailures": [{"itemIdentifier": i} for i in failed]}
'''


class World:
    """A function behind a queue, and a queue in which it tells what it got."""

    def __init__(self, fifo=False, source=RECORDS, attributes=None, **mapping):
        self.functions = kit.Functions()
        self.urls = []
        self.out = self.queue()
        self.source = self.queue(fifo, **({"VisibilityTimeout": "3"} | (attributes or {})))
        self.function = self.functions.create(
            kit.python(source), Environment={"Variables": {"OUT": self.out}}, Timeout=3)
        self.arn = sqs.get_queue_attributes(QueueUrl=self.source, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.mapping = api.create_event_source_mapping(
            EventSourceArn=self.arn, FunctionName=self.function["FunctionName"], **mapping)
        self.id = self.mapping["UUID"]

    def queue(self, fifo=False, **attributes):
        if fifo:
            attributes |= {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        name = kit.name("q") + (".fifo" if fifo else "")
        self.urls.append(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])
        return self.urls[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(botocore.exceptions.ClientError):
            api.delete_event_source_mapping(UUID=self.id)
        for url in self.urls:
            sqs.delete_queue(QueueUrl=url)
        self.functions.__exit__()

    def state(self, wanted):
        return kit.eventually(f"state {wanted}", lambda: self.get()["State"] == wanted)

    def get(self):
        return api.get_event_source_mapping(UUID=self.id)

    def send(self, *bodies, **options):
        for body in bodies:
            sqs.send_message(QueueUrl=self.source, MessageBody=body, **options)

    def batches(self, count):
        """What the function tells, until so many records were told."""
        found = []

        def look():
            for message in sqs.receive_message(
                    QueueUrl=self.out, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
                found.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=self.out, ReceiptHandle=message["ReceiptHandle"])
            return sum(len(batch) for batch in found) >= count

        kit.eventually(f"{count} records", look)
        return found

    def empty(self):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

        def look():
            counts = sqs.get_queue_attributes(QueueUrl=self.source, AttributeNames=names)["Attributes"]
            return set(counts.values()) == {"0"}

        kit.eventually("an empty queue", look)


def bodies(batches):
    return [record["body"] for batch in batches for record in batch]


def test_messages_run_the_function():
    with World() as world:
        made = world.mapping
        kit.equal((made["State"], made["BatchSize"], made["MaximumBatchingWindowInSeconds"]), ("Creating", 10, 0))
        kit.equal((made["EventSourceArn"], made["FunctionArn"]), (world.arn, world.function["FunctionArn"]))
        kit.equal((made["ResponseMetadata"]["HTTPStatusCode"], made["FunctionResponseTypes"]), (202, []))
        world.state("Enabled")
        attributes = {"k": {"DataType": "String", "StringValue": "v"}, "b": {"DataType": "Binary", "BinaryValue": b"\x01"}}
        world.send("hello \u00e9", MessageAttributes=attributes)
        record = world.batches(1)[0][0]
        kit.equal((record["body"], record["eventSource"], record["eventSourceARN"]), ("hello \u00e9", "aws:sqs", world.arn))
        kit.equal((record["awsRegion"], len(record["md5OfBody"]), len(record["messageId"])), ("us-east-1", 32, 36))
        kit.equal(record["attributes"]["ApproximateReceiveCount"], "1")
        kit.equal(record["messageAttributes"]["k"],
                  {"stringListValues": [], "binaryListValues": [], "dataType": "String", "stringValue": "v"})
        kit.equal(record["messageAttributes"]["b"]["binaryValue"], "AQ==")
        world.empty()
        kit.equal(world.get()["LastProcessingResult"], "OK")


def test_batches_wait_for_their_window():
    with World(BatchSize=20, MaximumBatchingWindowInSeconds=2) as world:
        world.state("Enabled")
        for number in range(12):
            world.send(str(number))
        batches = world.batches(12)
        kit.equal(sorted(int(body) for body in bodies(batches)), list(range(12)))
        assert len(batches) <= 2, [len(batch) for batch in batches]


def test_partial_answers_and_failures():
    with World(FunctionResponseTypes=["ReportBatchItemFailures"], attributes={"VisibilityTimeout": "3"}) as world:
        world.send("again", "fine")
        got = bodies(world.batches(3))
        kit.equal(sorted(got), ["again", "again", "fine"])
        world.empty()
        letters = world.queue()
        arn = sqs.get_queue_attributes(QueueUrl=letters, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
        sqs.set_queue_attributes(QueueUrl=world.source, Attributes={"RedrivePolicy": policy})
        world.send("fail")
        dead = kit.eventually("a dead letter", lambda: sqs.receive_message(
            QueueUrl=letters, WaitTimeSeconds=1).get("Messages"))
        kit.equal(dead[0]["Body"], "fail")
        assert "Function call failed" in world.get()["LastProcessingResult"]


def test_filters():
    pattern = json.dumps({"body": {"kind": [{"prefix": "good"}], "size": [{"numeric": [">", 5]}]}})
    with World(FilterCriteria={"Filters": [{"Pattern": pattern}]}) as world:
        kit.equal(world.mapping["FilterCriteria"], {"Filters": [{"Pattern": pattern}]})
        wanted = json.dumps({"kind": "good-1", "size": 6})
        world.send("text", json.dumps({"kind": "bad", "size": 6}), json.dumps({"kind": "good", "size": 5}), wanted)
        kit.equal(bodies(world.batches(1)), [wanted])
        world.empty()


def test_fifo_groups_run_in_order():
    with World(fifo=True, BatchSize=2) as world:
        world.state("Enabled")
        for number in range(8):
            for group in "ab":
                world.send(f"{group}{number}", MessageGroupId=group)
        got = world.batches(16)
        # Told by the function to a queue without groups: order within a batch, and every message once.
        kit.equal(sorted(bodies(got)), sorted(f"{group}{number}" for number in range(8) for group in "ab"))
        for batch in got:
            for group in "ab":
                own = [record["body"] for record in batch if record["body"][0] == group]
                kit.equal(own, sorted(own))
        world.empty()


def test_life_of_a_mapping():
    with World(BatchSize=5, Enabled=False) as world:
        world.state("Disabled")
        world.send("kept")
        changed = api.update_event_source_mapping(UUID=world.id, Enabled=True, BatchSize=7,
                                                  ScalingConfig={"MaximumConcurrency": 2})
        kit.equal((changed["State"], changed["BatchSize"], changed["ScalingConfig"]), ("Enabling", 7, {"MaximumConcurrency": 2}))
        kit.equal(bodies(world.batches(1)), ["kept"])
        world.state("Enabled")
        for filters in ({"EventSourceArn": world.arn}, {"FunctionName": world.function["FunctionName"]}):
            kit.equal([m["UUID"] for m in api.list_event_source_mappings(**filters)["EventSourceMappings"]], [world.id])
        with kit.refused("ResourceConflictException", 409, world.id):
            api.create_event_source_mapping(EventSourceArn=world.arn, FunctionName=world.function["FunctionName"])
        kit.equal(api.update_event_source_mapping(UUID=world.id, Enabled=False)["State"], "Disabling")
        world.state("Disabled")
        world.send("later")
        time.sleep(0.3)
        assert "Messages" not in sqs.receive_message(QueueUrl=world.out)
        kit.equal(api.delete_event_source_mapping(UUID=world.id)["State"], "Deleting")

        def gone():
            try:
                api.get_event_source_mapping(UUID=world.id)
            except api.exceptions.ResourceNotFoundException:
                return True

        kit.eventually("the end of the mapping", gone)


def test_a_missing_queue_is_told():
    with World() as world:
        world.state("Enabled")
        sqs.delete_queue(QueueUrl=world.source)
        kit.eventually("the truth", lambda: "does not exist" in world.get()["LastProcessingResult"])
        assert world.get()["State"] != "Enabled"
        world.urls.remove(world.source)
        name = world.arn.rsplit(":", 1)[1]
        world.urls.append(sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "3"})["QueueUrl"])
        world.source = world.urls[-1]
        world.send("back")
        kit.equal(bodies(world.batches(1)), ["back"])


def test_a_throttled_function_is_waited_for():
    with World(attributes={"VisibilityTimeout": "20"}) as world:
        world.state("Enabled")
        name = world.function["FunctionName"]
        api.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        world.send("patient")
        names = ["ApproximateNumberOfMessagesNotVisible"]
        kit.eventually("a batch that waits", lambda: sqs.get_queue_attributes(
            QueueUrl=world.source, AttributeNames=names)["Attributes"][names[0]] == "1")
        api.delete_function_concurrency(FunctionName=name)
        # It was received once: waiting does not use it up.
        kit.equal(world.batches(1)[0][0]["attributes"]["ApproximateReceiveCount"], "1")
        world.empty()


def test_a_group_waits_for_what_failed():
    source = SEND + """
def handler(event, context):
    record = event["Records"][0]
    call("SendMessage", {"QueueUrl": os.environ["OUT"], "MessageBody": json.dumps(event["Records"])})
    if record["body"] == "first" and record["attributes"]["ApproximateReceiveCount"] == "1":
        raise ValueError("no")
"""
    with World(fifo=True, source=source, BatchSize=1) as world:
        world.send("first", "second", MessageGroupId="g")
        kit.equal(bodies(world.batches(3)), ["first", "first", "second"])
        world.empty()


def test_functions_by_alias_and_tags():
    with World(Enabled=False, Tags={"a": "1"}) as world:
        name, arn = world.function["FunctionName"], world.function["FunctionArn"]
        version = api.publish_version(FunctionName=name)["Version"]
        api.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
        for given, wanted in ((f"{arn}:live", f"{arn}:live"), (f"{name}:{version}", f"{arn}:{version}")):
            made = api.create_event_source_mapping(EventSourceArn=world.arn, FunctionName=given, Enabled=False)
            kit.equal(made["FunctionArn"], wanted)
            api.delete_event_source_mapping(UUID=made["UUID"])
        mapping = world.mapping["EventSourceMappingArn"]
        kit.equal(api.list_tags(Resource=mapping)["Tags"], {"a": "1"})
        api.tag_resource(Resource=mapping, Tags={"b": "2"})
        api.untag_resource(Resource=mapping, TagKeys=["a"])
        kit.equal(api.list_tags(Resource=mapping)["Tags"], {"b": "2"})
        api.update_event_source_mapping(UUID=world.id, FunctionName=f"{name}:live", Enabled=True)
        world.send("by alias")
        kit.equal(bodies(world.batches(1)), ["by alias"])
        kit.equal(api.get_event_source_mapping(UUID=world.id)["FunctionArn"], f"{arn}:live")


def test_a_function_that_is_gone_is_told_and_nothing_is_lost():
    with World() as world:
        world.state("Enabled")
        options = {"FunctionName": world.function["FunctionName"], "Timeout": 3,
                   "Environment": {"Variables": {"OUT": world.out}}}
        api.delete_function(FunctionName=options["FunctionName"])
        # The poll under way may still take it; then it comes again.
        world.send("kept")
        kit.eventually("the truth", lambda: "PROBLEM" in world.get()["LastProcessingResult"])
        world.functions.create(kit.python(RECORDS), **options)
        kit.equal(bodies(world.batches(1)), ["kept"])
        world.state("Enabled")


def test_errors():
    with World() as world:
        def create(**options):
            options = {"EventSourceArn": world.arn, "FunctionName": world.function["FunctionName"]} | options
            return api.create_event_source_mapping(**options)

        invalid = "InvalidParameterValueException"
        for options, text in (
            ({"FunctionName": kit.name()}, "Function does not exist"),
            ({"EventSourceArn": world.arn + "x"}, "NonExistentQueue"),
            ({"MaximumRetryAttempts": 1}, "MaximumRetryAttempts is not valid for SQS event sources."),
            ({"BatchSize": 11}, "Maximum batch window in seconds must be greater than 0"),
            ({"FilterCriteria": {"Filters": [{"Pattern": "x"}]}}, "Invalid filter pattern definition."),
            ({"EventSourceArn": "arn:aws:kinesis:us-east-1:000000000000:stream/s", "StartingPosition": "LATEST"}, ""),
        ):
            with kit.refused(invalid, 400, text):
                create(**options)
        with kit.refused("ValidationException", 400):
            create(BatchSize=10001)
        slow = world.functions.create(Timeout=30)
        with kit.refused(invalid, 400, "visibility timeout: 3 seconds is less than Function timeout: 30 seconds"):
            create(FunctionName=slow["FunctionName"])
        with kit.refused("ResourceNotFoundException", 404):
            api.get_event_source_mapping(UUID="67e55044-10b1-426f-9247-bb680e5fe0c8")


def test_records_and_dead_letters_of_events_go_to_queues():
    with World(source="def handler(event, context):\n    if event.get('fail'):\n        raise ValueError('no')\n    return 7\n",
               Enabled=False) as world:
        name = world.function["FunctionName"]
        api.update_function_configuration(FunctionName=name, DeadLetterConfig={"TargetArn": world.arn})
        out = sqs.get_queue_attributes(QueueUrl=world.out, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sides = {"OnSuccess": {"Destination": out}, "OnFailure": {"Destination": out}}
        api.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0, DestinationConfig=sides)
        api.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"a": 1}')
        api.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"fail": 1}')
        records = []

        def look():
            for message in sqs.receive_message(QueueUrl=world.out, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
                records.append(json.loads(message["Body"]))
            return len(records) == 2

        kit.eventually("two records", look)
        kit.equal({record["requestContext"]["condition"] for record in records}, {"Success", "RetriesExhausted"})
        letter = kit.eventually("a dead letter", lambda: sqs.receive_message(
            QueueUrl=world.source, WaitTimeSeconds=1, MessageAttributeNames=["All"]).get("Messages"))[0]
        kit.equal(json.loads(letter["Body"]), {"fail": 1})
        kit.equal((letter["MessageAttributes"]["ErrorMessage"]["StringValue"],
                   letter["MessageAttributes"]["ErrorCode"]), ("no", {"StringValue": "200", "DataType": "Number"}))
