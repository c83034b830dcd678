"""An AWS Lambda function: `handler` is called with each event."""

import json


def handler(event, context):
    # A call of the function's URL carries its parameters here; a direct call is the event itself.
    parameters = event.get("queryStringParameters") or event
    name = parameters.get("name", "world")
    print(f"greeting {name}")
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"message": f"hello, {name}", "request": context.aws_request_id}),
    }
