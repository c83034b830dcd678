"""Greets by name: an ordinary AWS Lambda function."""


def handler(event, context):
    name = (event or {}).get("name", "world")
    print(f"greeting {name}")
    return {"message": f"hello, {name}", "request": context.aws_request_id}
