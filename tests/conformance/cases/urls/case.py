"""Function URLs: both kinds of access, both modes, CORS, events and answers (contract 5.2, 5.3)."""

import base64
import json
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.session

import kit

api = kit.client()


def public(functions, source, **options):
    url = options.pop("url", {})
    name = functions.create(kit.python(source), **options)["FunctionName"]
    made = api.create_function_url_config(FunctionName=name, AuthType="NONE", **url)
    api.add_permission(
        FunctionName=name, StatementId="public", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE"
    )
    return name, made["FunctionUrl"]


def test_configuration():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        with kit.refused("ResourceNotFoundException", 404, "The resource you requested does not exist."):
            api.get_function_url_config(FunctionName=name)
        cors = {"AllowOrigins": ["https://a.example"], "AllowMethods": ["GET"], "MaxAge": 10}
        made = api.create_function_url_config(FunctionName=name, AuthType="AWS_IAM", Cors=cors)
        kit.equal((made["AuthType"], made["InvokeMode"], made["Cors"]), ("AWS_IAM", "BUFFERED", cors))
        assert "lambda-url.us-east-1" in made["FunctionUrl"] and made["FunctionUrl"].endswith("/"), made["FunctionUrl"]
        with kit.refused("ResourceConflictException", 409):
            api.create_function_url_config(FunctionName=name, AuthType="NONE")
        changed = api.update_function_url_config(FunctionName=name, AuthType="NONE", InvokeMode="RESPONSE_STREAM")
        kit.equal((changed["AuthType"], changed["InvokeMode"]), ("NONE", "RESPONSE_STREAM"))
        kit.equal(changed["FunctionUrl"], made["FunctionUrl"])
        kit.equal(api.get_function_url_config(FunctionName=name)["InvokeMode"], "RESPONSE_STREAM")
        kit.equal(len(api.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]), 1)
        kit.equal(api.delete_function_url_config(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"], 204)
        with kit.refused("ResourceNotFoundException", 404):
            api.delete_function_url_config(FunctionName=name)


def test_the_event():
    with kit.Functions() as functions:
        _, url = public(functions, "import json\ndef handler(e, c): return json.dumps(e)")
        headers = {"X-One": "1", "Cookie": "a=b; c=d", "Content-Type": "text/plain"}
        status, answered, body = kit.url_request(url, "POST", "/a%20b/c", b"hello", headers, "?x=1&x=2&y=%20")
        kit.equal(status, 200)
        event = json.loads(body)
        kit.equal((event["version"], event["routeKey"], event["rawQueryString"]), ("2.0", "$default", "x=1&x=2&y=%20"))
        kit.equal(event["queryStringParameters"], {"x": "1,2", "y": " "})
        kit.equal(event["headers"]["x-one"], "1")
        kit.equal(event["cookies"], ["a=b", "c=d"])
        kit.equal((event["body"], event["isBase64Encoded"]), ("hello", False))
        http = event["requestContext"]["http"]
        kit.equal((http["method"], http["protocol"]), ("POST", "HTTP/1.1"))
        assert event["requestContext"]["domainName"] in url, event["requestContext"]
        kit.equal(answered["Content-Type"], "application/json")


def test_binary_bodies_both_ways():
    source = """
import base64
def handler(e, c):
    return {"statusCode": 201, "headers": {"Content-Type": "application/octet-stream", "X-Len": str(len(base64.b64decode(e["body"])))},
            "body": e["body"], "isBase64Encoded": True, "cookies": ["a=1; Path=/", "b=2"]}
"""
    with kit.Functions() as functions:
        _, url = public(functions, source)
        data = bytes(range(256)) * 10
        status, headers, body = kit.url_request(url, "PUT", "/", data, {"Content-Type": "application/octet-stream"})
        kit.equal((status, headers["Content-Type"], headers["X-Len"], body), (201, "application/octet-stream", "2560", data))
        kit.equal(headers.get_all("Set-Cookie"), ["a=1; Path=/", "b=2"])


def test_answers_of_every_form():
    cases = [
        ("{'statusCode': 404, 'body': 'no'}", 404, b"no"),
        ("'plain text'", 200, b'plain text'),
        ("{'a': 1}", 200, b'{"a":1}'),
        ("{'statusCode': 204}", 204, b""),
        ("None", 200, b"null"),
        ("[1, 2]", 200, b"[1,2]"),
    ]
    with kit.Functions() as functions:
        for value, status, body in cases:
            _, url = public(functions, f"def handler(e, c): return {value}")
            found = kit.url_request(url)
            plain = found[2].replace(b" ", b"") if b"{" in found[2] or b"[" in found[2] else found[2].strip(b'"')
            kit.equal((found[0], plain), (status, body))


def test_failures_are_502():
    with kit.Functions() as functions:
        _, url = public(functions, "def handler(e, c): raise ValueError('secret')")
        status, _, body = kit.url_request(url)
        kit.equal(status, 502)
        assert b"secret" not in body, body
        _, url = public(functions, "import time\ndef handler(e, c): time.sleep(9)", Timeout=1)
        kit.equal(kit.url_request(url)[0], 502)


def test_signed_access():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        url = api.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")["FunctionUrl"]
        kit.equal(kit.url_request(url)[0], 403)
        credentials = botocore.session.Session().get_credentials()
        host = urllib.parse.urlsplit(url).netloc

        def signed(body, sent=None):
            request = botocore.awsrequest.AWSRequest("POST", f"http://{host}/p", data=body, headers={"Host": host})
            botocore.auth.SigV4Auth(credentials, "lambda", "us-east-1").add_auth(request)
            headers = {key: value for key, value in request.headers.items() if key.lower() != "host"}
            return kit.url_request(url, "POST", "/p", sent if sent is not None else body, headers)

        status, _, body = signed(b"{}")
        kit.equal(status, 200)
        kit.equal(signed(b"{}", b"{ }")[0], 403)


def test_public_access_needs_the_permission():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        url = api.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
        kit.equal(kit.url_request(url)[0], 403)


def test_cors():
    cors = {
        "AllowOrigins": ["https://a.example"], "AllowMethods": ["GET", "POST"], "AllowHeaders": ["x-one"],
        "ExposeHeaders": ["x-two"], "MaxAge": 60, "AllowCredentials": True,
    }
    with kit.Functions() as functions:
        _, url = public(functions, "def handler(e, c): return {'statusCode': 200, 'body': 'ran'}", url={"Cors": cors})
        ask = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-one"}
        status, headers, body = kit.url_request(url, "OPTIONS", "/", None, ask)
        kit.equal((status, body), (200, b""))
        kit.equal(headers["Access-Control-Allow-Origin"], "https://a.example")
        kit.equal(headers["Access-Control-Max-Age"], "60")
        assert "POST" in headers["Access-Control-Allow-Methods"]
        status, headers, body = kit.url_request(url, "GET", "/", None, {"Origin": "https://a.example"})
        kit.equal((status, body, headers["Access-Control-Allow-Origin"]), (200, b"ran", "https://a.example"))
        kit.equal(headers["Access-Control-Allow-Credentials"], "true")
        _, headers, _ = kit.url_request(url, "GET", "/", None, {"Origin": "https://b.example"})
        assert "Access-Control-Allow-Origin" not in headers, headers


def test_response_stream_mode():
    source = """
export const handler = awslambda.streamifyResponse(async (event, stream) => {
  stream = awslambda.HttpResponseStream.from(stream, { statusCode: 203, headers: { "x-kind": "stream" }, cookies: ["a=b"] });
  stream.write("one;");
  await new Promise((done) => setTimeout(done, 50));
  stream.end("two");
});
"""
    with kit.Functions() as functions:
        name = functions.create(kit.node(source), Runtime=kit.NODE, Handler="index.handler")["FunctionName"]
        made = api.create_function_url_config(FunctionName=name, AuthType="NONE", InvokeMode="RESPONSE_STREAM")
        api.add_permission(
            FunctionName=name, StatementId="p", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE"
        )
        status, headers, body = kit.url_request(made["FunctionUrl"])
        kit.equal((status, headers["x-kind"], headers["Set-Cookie"], body), (203, "stream", "a=b", b"one;two"))


def test_a_url_of_an_alias():
    with kit.Functions() as functions:
        name = functions.create(kit.python("def handler(e, c): return c.function_version"), Publish=True)["FunctionName"]
        api.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        made = api.create_function_url_config(FunctionName=name, Qualifier="live", AuthType="NONE")
        api.add_permission(
            FunctionName=name, Qualifier="live", StatementId="p", Action="lambda:InvokeFunctionUrl", Principal="*",
            FunctionUrlAuthType="NONE",
        )
        kit.equal(kit.url_request(made["FunctionUrl"])[2].strip(b'"'), b"1")
