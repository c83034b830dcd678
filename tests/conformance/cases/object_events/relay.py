"""Stores every record of an S3 event in the bucket INTO, under its sequencer, key and name, without an SDK."""

import datetime
import hashlib
import hmac
import json
import os
import urllib.parse
import urllib.request


def put(bucket, key, body):
    host = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": now,
               "x-amz-security-token": os.environ["AWS_SESSION_TOKEN"]}
    signed = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"PUT\n/{bucket}/{key}\n\n{lines}\n{signed}\n{digest}"
    scope = f"{now[:8]}/{os.environ['AWS_REGION']}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n" + hashlib.sha256(canonical.encode()).hexdigest()
    secret = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in scope.split("/"):
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
    key_id = os.environ["AWS_ACCESS_KEY_ID"]
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={signed}, Signature={signature}"
    url = os.environ["AWS_ENDPOINT_URL"] + f"/{bucket}/{key}"
    urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers, method="PUT")).read()

def handler(event, context):
    for record in event["Records"]:
        change = record["s3"]["object"]
        name = "/".join([change["sequencer"], change["key"], record["eventName"]])
        put(os.environ["INTO"], urllib.parse.quote(name, safe="/~"), json.dumps(record).encode())
