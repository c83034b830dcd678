"""Buckets tell functions of their objects; functions use buckets; code comes from buckets."""

import base64
import contextlib
import hashlib
import json
import os

from kit import Functions, client, equal, eventually, name, payload, python, refused

@contextlib.contextmanager
def buckets(s3, count):
    made = [name("b") for _ in range(count)]
    for one in made:
        s3.create_bucket(Bucket=one)
    try:
        yield made
    finally:
        for one in made:
            for found in s3.list_objects_v2(Bucket=one).get("Contents", []):
                s3.delete_object(Bucket=one, Key=found["Key"])
            s3.delete_bucket(Bucket=one)


def allow(functions, function, bucket, **more):
    functions.client.add_permission(
        FunctionName=function["FunctionName"], StatementId="s3", Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com", SourceArn=f"arn:aws:s3:::{bucket}", **more,
    )


with open(os.path.join(os.path.dirname(__file__), "relay.py")) as relay:
    RELAY = relay.read()


def test_changes_reach_functions():
    s3 = client("s3")
    with Functions() as functions, buckets(s3, 2) as (source, into):
        function = functions.create(python(RELAY), Environment={"Variables": {"INTO": into}}, Timeout=20)
        configuration = {
            "LambdaFunctionConfigurations": [
                {
                    "Id": "new",
                    "LambdaFunctionArn": function["FunctionArn"],
                    "Events": ["s3:ObjectCreated:*"],
                    "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}, {"Name": "suffix", "Value": ".txt"}]}},
                },
                {"Id": "gone", "LambdaFunctionArn": function["FunctionArn"], "Events": ["s3:ObjectRemoved:Delete"]},
            ]
        }
        put = lambda: s3.put_bucket_notification_configuration(Bucket=source, NotificationConfiguration=configuration)
        with refused("InvalidArgument", 400, "Unable to validate the following destination configurations"):
            put()
        allow(functions, function, source, SourceAccount=function["FunctionArn"].split(":")[4])
        put()
        shown = s3.get_bucket_notification_configuration(Bucket=source)["LambdaFunctionConfigurations"]
        equal([(rule["Id"], rule["Events"]) for rule in shown], [("new", ["s3:ObjectCreated:*"]), ("gone", ["s3:ObjectRemoved:Delete"])])
        equal(shown[0]["Filter"]["Key"]["FilterRules"][0]["Value"], "in/")

        s3.put_object(Bucket=source, Key="in/a b+ü=.txt", Body=b"hello")
        s3.put_object(Bucket=source, Key="in/not.png", Body=b"x")
        s3.put_object(Bucket=source, Key="out/not.txt", Body=b"x")
        s3.copy_object(Bucket=source, Key="in/copy.txt", CopySource={"Bucket": source, "Key": "in/a b+ü=.txt"})
        upload = s3.create_multipart_upload(Bucket=source, Key="in/parts.txt")["UploadId"]
        tag = s3.upload_part(Bucket=source, Key="in/parts.txt", UploadId=upload, PartNumber=1, Body=b"p")["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
        s3.complete_multipart_upload(Bucket=source, Key="in/parts.txt", UploadId=upload, MultipartUpload=parts)
        s3.delete_object(Bucket=source, Key="out/not.txt")
        s3.delete_object(Bucket=source, Key="never/there")
        s3.delete_objects(Bucket=source, Delete={"Objects": [{"Key": "in/not.png"}]})

        def told():
            found = s3.list_objects_v2(Bucket=into).get("Contents", [])
            return [one["Key"] for one in found] if len(found) >= 5 else None

        keys = eventually("five events", told)
        records = [json.loads(s3.get_object(Bucket=into, Key=key)["Body"].read()) for key in keys]
        equal(
            [(record["eventName"], record["s3"]["object"]["key"], record["s3"]["configurationId"]) for record in records],
            [
                ("ObjectCreated:Put", "in/a+b%2B%C3%BC%3D.txt", "new"),
                ("ObjectCreated:Copy", "in/copy.txt", "new"),
                ("ObjectCreated:CompleteMultipartUpload", "in/parts.txt", "new"),
                ("ObjectRemoved:Delete", "out/not.txt", "gone"),
                ("ObjectRemoved:Delete", "in/not.png", "gone"),
            ],
        )
        first = records[0]
        equal((first["eventVersion"], first["eventSource"], first["s3"]["bucket"]["name"]), ("2.1", "aws:s3", source))
        equal((first["s3"]["object"]["size"], first["s3"]["object"]["eTag"]), (5, hashlib.md5(b"hello").hexdigest()))
        equal("size" in records[3]["s3"]["object"], False)
        equal(first["s3"]["bucket"]["arn"], f"arn:aws:s3:::{source}")
        s3.put_bucket_notification_configuration(Bucket=source, NotificationConfiguration={})


def test_configurations_are_checked():
    s3 = client("s3")
    with Functions() as functions, buckets(s3, 1) as (bucket,):
        function = functions.create()
        allow(functions, function, bucket)
        arn = function["FunctionArn"]

        def put(*rules, **more):
            s3.put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration={"LambdaFunctionConfigurations": list(rules)} | more
            )

        rule = {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}
        with refused("InvalidArgument", 400, "Configurations overlap"):
            put(rule, {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:Put"]})
        with refused("InvalidArgument", 400, "does not exist"):
            put(rule | {"LambdaFunctionArn": arn + "x"})
        with refused("InvalidArgument", 400, "s3:ObjectEaten"):
            put(rule | {"Events": ["s3:ObjectEaten:*"]})
        with refused("NotImplemented", 501):
            put(EventBridgeConfiguration={})
        put(rule)
        put()
        equal("LambdaFunctionConfigurations" in s3.get_bucket_notification_configuration(Bucket=bucket), False)


def test_code_comes_from_buckets():
    s3 = client("s3")
    with Functions() as functions, buckets(s3, 1) as (bucket,):
        s3.put_object(Bucket=bucket, Key="one.zip", Body=python("def handler(e, c):\n    return 1\n"))
        two = python("def handler(e, c):\n    return 2\n")
        s3.put_object(Bucket=bucket, Key="two.zip", Body=two)
        made = functions.create(Code={"S3Bucket": bucket, "S3Key": "one.zip"})
        call = lambda: payload(functions.client.invoke(FunctionName=made["FunctionName"]))
        equal(call(), 1)
        updated = functions.client.update_function_code(FunctionName=made["FunctionName"], S3Bucket=bucket, S3Key="two.zip")
        equal(updated["CodeSha256"], base64.b64encode(hashlib.sha256(two).digest()).decode())
        equal(call(), 2)
        for code, place in [
            ("NoSuchKey", {"S3Bucket": bucket, "S3Key": "three.zip"}),
            ("NoSuchBucket", {"S3Bucket": bucket + "0", "S3Key": "one.zip"}),
        ]:
            with refused("InvalidParameterValueException", 400, f"S3 Error Code: {code}"):
                functions.client.update_function_code(FunctionName=made["FunctionName"], **place)
