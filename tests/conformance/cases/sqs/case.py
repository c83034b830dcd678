"""Queues by boto3: standard and FIFO, batches, visibility, long polling, dead letters, attributes, errors."""

import contextlib
import hashlib
import json
import struct
import threading
import time

import botocore.exceptions
import kit

sqs = kit.client("sqs")


class Queues:
    """Creates queues and deletes what it created."""

    def __init__(self, client=sqs):
        self.client = client
        self.made = []

    def create(self, fifo=False, name=None, **attributes):
        name = name or kit.name("q") + (".fifo" if fifo else "")
        if fifo:
            attributes["FifoQueue"] = "true"
        url = self.client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self.made.append(url)
        return url

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for url in self.made:
            with contextlib.suppress(botocore.exceptions.ClientError):
                self.client.delete_queue(QueueUrl=url)


def receive(url, **options):
    return sqs.receive_message(QueueUrl=url, **({"MaxNumberOfMessages": 10} | options)).get("Messages", [])


def bodies(messages):
    return [message["Body"] for message in messages]


def delete(url, *messages):
    for message in messages:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def arn(url):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def md5_of(attributes):
    """The sum as the developer guide describes it."""
    data = b""
    for name, attribute in sorted(attributes.items()):
        binary = attribute["DataType"].startswith("Binary")
        value = attribute["BinaryValue"] if binary else attribute["StringValue"].encode()
        for part in (name.encode(), attribute["DataType"].encode()):
            data += struct.pack(">I", len(part)) + part
        data += (b"\x02" if binary else b"\x01") + struct.pack(">I", len(value)) + value
    return hashlib.md5(data).hexdigest()


def test_life_of_a_queue():
    with Queues() as queues:
        prefix = kit.name("life")
        urls = sorted(queues.create(name=f"{prefix}-{number}") for number in range(3))
        kit.equal(sqs.list_queues(QueueNamePrefix=prefix)["QueueUrls"], urls)
        paged = sqs.get_paginator("list_queues").paginate(QueueNamePrefix=prefix, PaginationConfig={"PageSize": 2})
        kit.equal([url for page in paged for url in page["QueueUrls"]], urls)
        kit.equal(sqs.get_queue_url(QueueName=f"{prefix}-1")["QueueUrl"], urls[1])
        assert arn(urls[0]).endswith(f":{prefix}-0")
        # Created once more with what it has: the same queue.
        kit.equal(sqs.create_queue(QueueName=f"{prefix}-0", Attributes={"DelaySeconds": "0"})["QueueUrl"], urls[0])
        with kit.refused("QueueAlreadyExists", 400, "VisibilityTimeout"):
            sqs.create_queue(QueueName=f"{prefix}-0", Attributes={"VisibilityTimeout": "7"})
        sqs.delete_queue(QueueUrl=urls[0])
        gone = "AWS.SimpleQueueService.NonExistentQueue"
        with kit.refused(gone, 400, "The specified queue does not exist."):
            sqs.get_queue_url(QueueName=f"{prefix}-0")
        for call in (sqs.delete_queue, sqs.purge_queue, sqs.receive_message, sqs.list_queue_tags):
            with kit.refused(gone, 400):
                call(QueueUrl=urls[0])
        try:
            sqs.get_queue_attributes(QueueUrl=urls[0])
        except sqs.exceptions.QueueDoesNotExist:
            pass
        for name in ("a b", "q.fifo", "x" * 81):
            with kit.refused("InvalidParameterValue", 400):
                sqs.create_queue(QueueName=name)


def test_attributes_and_tags():
    with Queues() as queues:
        url = queues.create(VisibilityTimeout="7", ReceiveMessageWaitTimeSeconds="0")
        shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        for name, value in {
            "VisibilityTimeout": "7", "MaximumMessageSize": "1048576", "MessageRetentionPeriod": "345600",
            "DelaySeconds": "0", "ReceiveMessageWaitTimeSeconds": "0", "ApproximateNumberOfMessages": "0",
        }.items():
            kit.equal(shown[name], value)
        assert abs(int(shown["CreatedTimestamp"]) - time.time()) < 60 and "FifoQueue" not in shown
        policy = json.dumps({"Version": "2012-10-17", "Statement": []})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "3", "Policy": policy})
        some = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["DelaySeconds", "Policy"])["Attributes"]
        kit.equal(some, {"DelaySeconds": "3", "Policy": policy})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
        assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
        for attributes in ({"DelaySeconds": "901"}, {"MessageRetentionPeriod": "59"}, {"VisibilityTimeout": "x"}):
            with kit.refused("InvalidAttributeValue", 400, next(iter(attributes))):
                sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        with kit.refused("InvalidAttributeName", 400, "Unknown Attribute Nothing."):
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Nothing": "1"})
        with kit.refused("InvalidAttributeName", 400):
            sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Nothing"])
        assert "Tags" not in sqs.list_queue_tags(QueueUrl=url)
        sqs.tag_queue(QueueUrl=url, Tags={"a": "1", "b": "2"})
        sqs.untag_queue(QueueUrl=url, TagKeys=["a"])
        kit.equal(sqs.list_queue_tags(QueueUrl=url)["Tags"], {"b": "2"})


def test_a_message_with_everything():
    with Queues() as queues:
        url = queues.create()
        attributes = {
            "text": {"DataType": "String", "StringValue": "\u00e9\U0001f600"},
            "number": {"DataType": "Number.int", "StringValue": "42"},
            "binary": {"DataType": "Binary", "BinaryValue": bytes(range(256))},
        }
        system = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793"}}
        body = "line\n\t\u00e9 \U0001f600"
        sent = sqs.send_message(
            QueueUrl=url, MessageBody=body, MessageAttributes=attributes, MessageSystemAttributes=system)
        kit.equal(sent["MD5OfMessageBody"], hashlib.md5(body.encode()).hexdigest())
        kit.equal(sent["MD5OfMessageAttributes"], md5_of(attributes))
        kit.equal(sent["MD5OfMessageSystemAttributes"], md5_of(system))
        assert "SequenceNumber" not in sent
        got = receive(url, MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"], VisibilityTimeout=0)[0]
        kit.equal((got["MessageId"], got["Body"], got["MD5OfBody"]), (sent["MessageId"], body, sent["MD5OfMessageBody"]))
        kit.equal((got["MessageAttributes"], got["MD5OfMessageAttributes"]), (attributes, md5_of(attributes)))
        own = got["Attributes"]
        kit.equal((own["ApproximateReceiveCount"], own["AWSTraceHeader"]), ("1", system["AWSTraceHeader"]["StringValue"]))
        assert abs(int(own["SentTimestamp"]) / 1000 - time.time()) < 60 and own["SenderId"]
        some = receive(url, AttributeNames=["ApproximateReceiveCount"], MessageAttributeNames=["num.*"])[0]
        kit.equal(some["Attributes"], {"ApproximateReceiveCount": "2"})
        kit.equal(list(some["MessageAttributes"]), ["number"])
        delete(url, some)


def test_messages_are_hidden_until_their_time_is_over():
    with Queues() as queues:
        url = queues.create(VisibilityTimeout="30")
        sqs.send_message(QueueUrl=url, MessageBody="x")
        first = receive(url)[0]
        assert not receive(url)
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=1)
        second = receive(url, WaitTimeSeconds=5)[0]
        kit.equal(second["MessageId"], first["MessageId"])
        with kit.refused("AWS.SimpleQueueService.MessageNotInflight", 400):
            sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=1)
        delete(url, first)  # Somebody else has it: no error, and it stays.
        counts = {"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "1"}
        kit.equal(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(counts))["Attributes"], counts)
        delete(url, second)
        delete(url, second)
        with kit.refused("InvalidParameterValue", 400):
            sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=second["ReceiptHandle"], VisibilityTimeout=1)
        for handle in ("nonsense", second["ReceiptHandle"][:-4]):
            with kit.refused("ReceiptHandleIsInvalid", 400, "not a valid receipt handle"):
                sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)


def test_waiting_ends_when_a_message_comes():
    with Queues() as queues:
        url = queues.create()
        begun = time.monotonic()
        assert not receive(url, WaitTimeSeconds=1)
        assert 0.9 < time.monotonic() - begun < 5
        later = threading.Timer(0.5, lambda: kit.client("sqs").send_message(QueueUrl=url, MessageBody="late"))
        later.start()
        begun = time.monotonic()
        kit.equal(bodies(receive(url, WaitTimeSeconds=20)), ["late"])
        assert time.monotonic() - begun < 5
        later.join()
        sqs.send_message(QueueUrl=url, MessageBody="delayed", DelaySeconds=1)
        assert not receive(url)
        kit.equal(bodies(receive(url, WaitTimeSeconds=10)), ["delayed"])


def test_batches():
    with Queues() as queues:
        url = queues.create()
        entries = [{"Id": str(number), "MessageBody": f"body {number}"} for number in range(10)]
        entries[3]["MessageBody"] = "\u0000"
        entries[4]["DelaySeconds"] = 901
        sent = sqs.send_message_batch(QueueUrl=url, Entries=entries)
        kit.equal(sorted(entry["Id"] for entry in sent["Successful"]), list("01256789"))
        kit.equal({entry["Id"]: (entry["Code"], entry["SenderFault"]) for entry in sent["Failed"]},
                  {"3": ("InvalidMessageContents", True), "4": ("InvalidParameterValue", True)})
        got = receive(url)
        kit.equal(sorted(bodies(got)), [f"body {number}" for number in "01256789"])
        changed = sqs.change_message_visibility_batch(QueueUrl=url, Entries=[
            {"Id": "a", "ReceiptHandle": got[0]["ReceiptHandle"], "VisibilityTimeout": 0},
            {"Id": "b", "ReceiptHandle": "x", "VisibilityTimeout": 0}])
        kit.equal([entry["Id"] for entry in changed["Successful"]], ["a"])
        kit.equal(changed["Failed"][0]["Code"], "ReceiptHandleIsInvalid")
        kit.equal(len(receive(url)), 1)
        done = sqs.delete_message_batch(QueueUrl=url, Entries=[
            {"Id": str(place), "ReceiptHandle": message["ReceiptHandle"]} for place, message in enumerate(got[1:])])
        kit.equal((len(done["Successful"]), done.get("Failed")), (7, None))
        one = {"Id": "a", "MessageBody": "x"}
        for entries, code in (
            ([], "AWS.SimpleQueueService.EmptyBatchRequest"),
            ([one, one], "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"),
            ([one | {"Id": "a b"}], "AWS.SimpleQueueService.InvalidBatchEntryId"),
            ([one | {"Id": str(number)} for number in range(11)], "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"),
            ([one | {"Id": str(number), "MessageBody": "x" * 600_000} for number in range(2)],
             "AWS.SimpleQueueService.BatchRequestTooLong"),
        ):
            with kit.refused(code, 400):
                sqs.send_message_batch(QueueUrl=url, Entries=entries)


def test_limits_of_messages():
    with Queues() as queues:
        url = queues.create()
        largest = "x" * 1_048_576
        sqs.send_message(QueueUrl=url, MessageBody=largest)
        assert receive(url)[0]["Body"] == largest
        with kit.refused("InvalidParameterValue", 400, "shorter than 1048576 bytes"):
            sqs.send_message(QueueUrl=url, MessageBody=largest + "x")
        with kit.refused("InvalidMessageContents", 400):
            sqs.send_message(QueueUrl=url, MessageBody="\u0001")
        with kit.refused("MissingParameter", 400, "MessageBody"):
            sqs.send_message(QueueUrl=url, MessageBody="")
        for attribute in ({"DataType": "Text", "StringValue": "x"}, {"DataType": "Number", "StringValue": "x"}):
            with kit.refused("InvalidParameterValue", 400):
                sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes={"k": attribute})
        for options in ({"MaxNumberOfMessages": 11}, {"WaitTimeSeconds": 21}, {"VisibilityTimeout": 43201}):
            with kit.refused("InvalidParameterValue", 400, next(iter(options))):
                sqs.receive_message(QueueUrl=url, **options)


def test_dead_letters():
    with Queues() as queues:
        letters = queues.create()
        policy = {"deadLetterTargetArn": arn(letters), "maxReceiveCount": "2"}
        url = queues.create(VisibilityTimeout="0", RedrivePolicy=json.dumps(policy))
        shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]
        kit.equal(json.loads(shown["RedrivePolicy"]), policy | {"maxReceiveCount": 2})
        kit.equal(sqs.list_dead_letter_source_queues(QueueUrl=letters)["queueUrls"], [url])
        sent = sqs.send_message(QueueUrl=url, MessageBody="poison")
        for _ in range(2):
            kit.equal(bodies(receive(url)), ["poison"])
        assert not receive(url)
        got = receive(letters, MessageSystemAttributeNames=["All"], WaitTimeSeconds=5)[0]
        kit.equal((got["MessageId"], got["Body"]), (sent["MessageId"], "poison"))
        kit.equal(got["Attributes"]["DeadLetterQueueSourceArn"], arn(url))
        for wrong, text in (
            ({"deadLetterTargetArn": arn(letters) + "x", "maxReceiveCount": 1}, "does not exist"),
            ({"deadLetterTargetArn": arn(letters), "maxReceiveCount": 0}, "1 to 1000"),
            ({"deadLetterTargetArn": arn(queues.create(fifo=True)), "maxReceiveCount": 1}, "same type"),
        ):
            with kit.refused("InvalidParameterValue", 400, text):
                sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(wrong)})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": ""})
        assert "queueUrls" not in sqs.list_dead_letter_source_queues(QueueUrl=letters) or not (
            sqs.list_dead_letter_source_queues(QueueUrl=letters)["queueUrls"])


def test_fifo_keeps_the_order_of_groups():
    with Queues() as queues:
        url = queues.create(fifo=True)
        numbers = []
        for body in ("a1", "b1", "a2", "b2", "a3"):
            sent = sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=body[0], MessageDeduplicationId=body)
            numbers.append(int(sent["SequenceNumber"]))
        kit.equal(numbers, sorted(set(numbers)))
        got = receive(url, MaxNumberOfMessages=2, MessageSystemAttributeNames=["All"])
        kit.equal(bodies(got), ["a1", "a2"])
        own = got[0]["Attributes"]
        kit.equal((own["MessageGroupId"], own["MessageDeduplicationId"], int(own["SequenceNumber"])), ("a", "a1", numbers[0]))
        others = receive(url)
        kit.equal(bodies(others), ["b1", "b2"])
        assert not receive(url)
        delete(url, *got)
        kit.equal(bodies(receive(url)), ["a3"])
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=others[0]["ReceiptHandle"], VisibilityTimeout=0)
        with kit.refused("InvalidParameterValue", 400, "expired"):
            delete(url, others[0])
        with kit.refused("MissingParameter", 400, "MessageGroupId"):
            sqs.send_message(QueueUrl=url, MessageBody="x", MessageDeduplicationId="x")
        with kit.refused("InvalidParameterValue", 400, "ContentBasedDeduplication"):
            sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="a")
        with kit.refused("InvalidParameterValue", 400, "DelaySeconds"):
            sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="a", MessageDeduplicationId="y", DelaySeconds=1)


def test_fifo_takes_a_message_once():
    with Queues() as queues:
        url = queues.create(fifo=True, ContentBasedDeduplication="true")
        sent = [sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group)
                for body, group in (("x", "a"), ("x", "a"), ("x", "b"), ("y", "a"))]
        kit.equal(len({one["MessageId"] for one in sent}), 2)
        kit.equal((sent[0]["SequenceNumber"], sent[0]["MessageId"]), (sent[1]["SequenceNumber"], sent[1]["MessageId"]))
        kit.equal(bodies(receive(url)), ["x", "y"])
        sqs.set_queue_attributes(QueueUrl=url, Attributes={
            "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"})
        one = sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="c")
        two = sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="d")
        assert one["MessageId"] != two["MessageId"]


def test_purging():
    with Queues() as queues:
        url = queues.create()
        for _ in range(3):
            sqs.send_message(QueueUrl=url, MessageBody="x")
        had = receive(url, MaxNumberOfMessages=1)
        sqs.purge_queue(QueueUrl=url)
        counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        kit.equal(set(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=counts)["Attributes"].values()), {"0"})
        delete(url, *had)
        sqs.send_message(QueueUrl=url, MessageBody="y")
        kit.equal(bodies(receive(url)), ["y"])


def test_regions_are_apart():
    with Queues() as queues:
        name = kit.name("q")
        queues.create(name=name)
        with kit.refused("AWS.SimpleQueueService.NonExistentQueue", 400):
            kit.client("sqs", region_name="eu-west-1").get_queue_url(QueueName=name)
        with kit.refused("AWS.SimpleQueueService.NonExistentQueue", 400):
            sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId="999999999999")
        with kit.refused("UnrecognizedClientException", 403):
            stranger = kit.client("sqs", aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="x")
            stranger.list_queues()
