"""SigV4 as the server sees it: what is right passes, what is not is refused by its own name (contract 4)."""

import datetime
import http.client
import json
import os
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials

import kit

LIST = "/2015-03-31/functions"
KEYS = (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])


def send(method, path, headers, body=b""):
    target = urllib.parse.urlsplit(kit.endpoint())
    connection = http.client.HTTPConnection(target.hostname, target.port, timeout=kit.LIMIT)
    connection.request(method, path, body or None, headers)
    answer = connection.getresponse()
    return answer.status, (answer.headers.get("x-amzn-ErrorType") or "").split(":")[0], answer.read()


def signed(method="GET", path=LIST, body=b"", keys=KEYS, region="us-east-1", service="lambda", at=None, extra=None):
    credentials = botocore.credentials.Credentials(*keys)
    request = botocore.awsrequest.AWSRequest(method, kit.endpoint() + path, data=body, headers=extra or {})
    signer = botocore.auth.SigV4Auth(credentials, service, region)
    if at is None:
        signer.add_auth(request)
    else:
        original = botocore.auth.get_current_datetime
        botocore.auth.get_current_datetime = lambda *_, **__: at
        try:
            signer.add_auth(request)
        finally:
            botocore.auth.get_current_datetime = original
    return dict(request.headers.items())


def test_a_right_signature_passes():
    kit.equal(send("GET", LIST, signed())[0], 200)
    kit.equal(send("GET", LIST + "/", signed(path=LIST + "/"))[0], 200)
    query = LIST + "?MaxItems=1&Marker="
    kit.equal(send("GET", query, signed(path=query))[0], 200)


def test_no_signature():
    status, kind, _ = send("GET", LIST, {})
    kit.equal((status, kind), (403, "MissingAuthenticationTokenException"))


def test_an_unknown_key():
    status, kind, _ = send("GET", LIST, signed(keys=("AKIAUNKNOWNUNKNOWN00", "x" * 40)))
    kit.equal((status, kind), (403, "UnrecognizedClientException"))


def test_a_wrong_secret():
    status, kind, _ = send("GET", LIST, signed(keys=(KEYS[0], "x" * 40)))
    kit.equal((status, kind), (403, "InvalidSignatureException"))


def test_an_altered_request():
    body = json.dumps({"ReservedConcurrentExecutions": 1}).encode()
    path = "/2017-10-31/functions/x/concurrency"
    headers = signed("PUT", path, body)
    status, kind, _ = send("PUT", path, headers, body.replace(b"1", b"2"))
    kit.equal((status, kind), (403, "InvalidSignatureException"))
    status, kind, _ = send("PUT", path.replace("/x/", "/y/"), headers, body)
    kit.equal((status, kind), (403, "InvalidSignatureException"))
    status, kind, _ = send("GET", LIST + "?MaxItems=5", signed())
    kit.equal((status, kind), (403, "InvalidSignatureException"))


def test_clock_skew():
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    for minutes, status in ((-4, 200), (4, 200), (-16, 403), (16, 403)):
        found = send("GET", LIST, signed(at=now + datetime.timedelta(minutes=minutes)))
        kit.equal(found[0], status)
        if status == 403:
            kit.equal(found[1], "InvalidSignatureException")


def test_incomplete():
    headers = signed()
    headers["Authorization"] = headers["Authorization"].split(", SignedHeaders")[0]
    status, kind, _ = send("GET", LIST, headers)
    kit.equal((status, kind), (403, "IncompleteSignatureException"))


def test_a_body_hash_that_is_not_the_bodys():
    import hashlib

    path, body = "/2017-10-31/functions/x/concurrency", b'{"ReservedConcurrentExecutions":1}'
    sent = {"X-Amz-Content-Sha256": hashlib.sha256(b"other").hexdigest()}
    status, _, _ = send("PUT", path, signed("PUT", path, body, extra=sent), body)
    kit.equal(status, 403)


def test_presigned():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        path = f"/2015-03-31/functions/{name}/configuration"
        credentials = botocore.credentials.Credentials(*KEYS)
        request = botocore.awsrequest.AWSRequest("GET", kit.endpoint() + path)
        botocore.auth.SigV4QueryAuth(credentials, "lambda", "us-east-1", expires=60).add_auth(request)
        url = urllib.parse.urlsplit(request.url)
        status, _, body = send("GET", f"{url.path}?{url.query}", {})
        kit.equal((status, json.loads(body)["FunctionName"]), (200, name))
        broken = url.query[:-1] + ("0" if url.query[-1] != "0" else "1")
        kit.equal(send("GET", f"{url.path}?{broken}", {})[0], 403)


def test_an_arn_in_the_path_is_encoded_twice():
    with kit.Functions() as functions:
        made = functions.create()
        kit.equal(kit.client().get_function(FunctionName=made["FunctionArn"])["Configuration"]["FunctionName"], made["FunctionName"])


def test_the_region_of_the_signature_counts():
    kit.equal(send("GET", LIST, signed(region="eu-west-1"))[0], 200)
    assert kit.client(region_name="eu-west-1").list_functions()["Functions"] == []


def test_roles_are_assumed():
    sts = kit.client("sts")
    account = sts.get_caller_identity()["Account"]
    arn = f"arn:aws:iam::{account}:role/path/deployer"
    made = sts.assume_role(RoleArn=arn, RoleSessionName="me", DurationSeconds=900)
    kit.equal(made["AssumedRoleUser"]["Arn"], f"arn:aws:sts::{account}:assumed-role/deployer/me")
    keys = made["Credentials"]
    session = dict(
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    who = kit.client("sts", **session).get_caller_identity()
    kit.equal((who["Account"], who["Arn"]), (account, made["AssumedRoleUser"]["Arn"]))
    kit.equal(who["UserId"], made["AssumedRoleUser"]["AssumedRoleId"])
    kit.client("lambda", **session).list_functions()
    kit.client("s3", **session).list_buckets()
    with kit.refused("UnrecognizedClientException", 403):
        kit.client("lambda", **(session | {"aws_session_token": "x"})).list_functions()
    with kit.refused("InvalidAccessKeyId", 403):
        kit.client("s3", **(session | {"aws_session_token": "x"})).list_buckets()
    with kit.refused("AccessDenied", 403, "not authorized to perform: sts:AssumeRole"):
        sts.assume_role(RoleArn="arn:aws:iam::999999999999:role/r", RoleSessionName="me")
    with kit.refused("ValidationError", 400):
        sts.assume_role(RoleArn=arn, RoleSessionName="me", DurationSeconds=100_000)
