"""A function of nobody: what a runtime that is booted ahead of demand runs once, to have done everything before."""

import json
import os


def handler(event, context):
    json.loads(event["body"])
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": os.environ.get("TZ", "")}
