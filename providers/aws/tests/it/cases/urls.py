"""Function URLs: who may use them, CORS, aliases, and what their configuration refuses."""

import os
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import kit

api = kit.client()
OWNER = (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
OTHER = (os.environ["OTHER_KEY"], os.environ["OTHER_SECRET"])
WHO = "def handler(e, c): return e['requestContext'].get('authorizer', {}).get('iam', {}).get('userArn', 'nobody')"


def signed(url, keys, path="/p%20q?b=2&a=1", service="lambda", sent=None):
    host = urllib.parse.urlsplit(url).netloc
    request = botocore.awsrequest.AWSRequest("POST", f"http://{host}{path}", data=b"{}", headers={"Host": host})
    botocore.auth.SigV4Auth(botocore.credentials.Credentials(*keys), service, "us-east-1").add_auth(request)
    headers = {key: value for key, value in request.headers.items() if key.lower() != "host"}
    return kit.url_request(url, "POST", path, sent or b"{}", headers)


def test_signed_access():
    with kit.Functions() as functions:
        name = functions.create(kit.python(WHO))["FunctionName"]
        url = api.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")["FunctionUrl"]
        status, headers, body = kit.url_request(url)
        kit.equal((status, headers["x-amzn-ErrorType"]), (403, "AccessDeniedException"))
        assert b"Forbidden" in body, body
        kit.equal(signed(url, OWNER)[::2], (200, b"arn:aws:iam::000000000000:root"))
        kit.equal(signed(url, OWNER, sent=b"{ }")[0], 403)
        kit.equal(signed(url, OWNER, service="s3")[0], 403)
        kit.equal(signed(url, (OWNER[0], "wrong"))[0], 403)
        kit.equal(signed(url, OTHER)[0], 403)
        allow = {"FunctionName": name, "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "AWS_IAM"}
        api.add_permission(StatementId="s", Principal="111111111111", **allow)
        kit.equal(signed(url, OTHER)[::2], (200, b"arn:aws:iam::111111111111:root"))


def test_public_access():
    with kit.Functions() as functions:
        name = functions.create(kit.python(WHO))["FunctionName"]
        url = api.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
        kit.equal(kit.url_request(url)[0], 403)
        everybody = {"FunctionName": name, "Principal": "*"}
        api.add_permission(StatementId="direct", Action="lambda:InvokeFunction", **everybody)
        kit.equal(kit.url_request(url)[0], 403)
        api.add_permission(StatementId="iam", Action="lambda:InvokeFunctionUrl", FunctionUrlAuthType="AWS_IAM", **everybody)
        kit.equal(kit.url_request(url)[0], 403)
        api.add_permission(StatementId="via", Action="lambda:InvokeFunction", InvokedViaFunctionUrl=True, **everybody)
        kit.equal(kit.url_request(url)[::2], (200, b"nobody"))
        api.remove_permission(FunctionName=name, StatementId="via")
        kit.equal(kit.url_request(url)[0], 403)
        api.add_permission(StatementId="url", Action="lambda:InvokeFunctionUrl", FunctionUrlAuthType="NONE", **everybody)
        kit.equal(kit.url_request(url)[0], 200)
        api.delete_function_url_config(FunctionName=name)
        kit.equal(kit.url_request(url)[::2], (403, b'{"Message":null}'))


def test_cors():
    cors = {"AllowOrigins": ["https://a.example"], "AllowMethods": ["GET", "POST"], "AllowHeaders": ["x-one"], "MaxAge": 60}
    with kit.Functions() as functions:
        source = "def handler(e, c): return {'statusCode': 200, 'headers': {'Access-Control-Allow-Origin': 'own'}, 'body': 'ran'}"
        name = functions.create(kit.python(source))["FunctionName"]
        made = api.create_function_url_config(FunctionName=name, AuthType="NONE", Cors=cors)
        url = made["FunctionUrl"]
        kit.equal(made["Cors"], cors)
        ask = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
        status, headers, body = kit.url_request(url, "OPTIONS", "/", None, ask)
        kit.equal((status, body, headers["Access-Control-Allow-Methods"]), (200, b"", "GET,POST"))
        status, headers, _ = kit.url_request(url, "GET", "/", None, {"Origin": "https://a.example"})
        kit.equal((status, headers["Access-Control-Allow-Origin"]), (403, "https://a.example"))
        api.add_permission(FunctionName=name, StatementId="s", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE")
        _, headers, body = kit.url_request(url, "GET", "/", None, {"Origin": "https://b.example"})
        kit.equal((body, headers["Access-Control-Allow-Origin"], headers["Vary"]), (b"ran", None, "Origin"))
        api.update_function_url_config(FunctionName=name, Cors={})
        status, headers, body = kit.url_request(url, "OPTIONS", "/", None, ask)
        kit.equal((status, headers["Access-Control-Allow-Origin"], body), (200, "own", b"ran"))


def test_aliases():
    with kit.Functions() as functions:
        name = functions.create(kit.python("def handler(e, c): return c.invoked_function_arn"), Publish=True)["FunctionName"]
        with kit.refused("ResourceNotFoundException", 404):
            api.create_function_url_config(FunctionName=name, Qualifier="live", AuthType="NONE")
        api.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        made = api.create_function_url_config(FunctionName=name, Qualifier="live", AuthType="NONE")
        assert made["FunctionArn"].endswith(f":{name}:live")
        allow = {"FunctionName": name, "StatementId": "s", "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"}
        api.add_permission(**allow)
        kit.equal(kit.url_request(made["FunctionUrl"])[0], 403)
        api.add_permission(Qualifier="live", **allow)
        kit.equal(kit.url_request(made["FunctionUrl"])[::2], (200, made["FunctionArn"].encode()))
        listed = api.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]
        kit.equal([entry["FunctionArn"] for entry in listed], [made["FunctionArn"]])
        api.delete_alias(FunctionName=name, Name="live")
        kit.equal(kit.url_request(made["FunctionUrl"])[0], 403)


def test_what_is_refused():
    with kit.Functions() as functions:
        name = functions.create(Publish=True)["FunctionName"]
        for qualifier in ("1", "$LATEST"):
            with kit.refused("ValidationException", 400):
                api.create_function_url_config(FunctionName=name, Qualifier=qualifier, AuthType="NONE")
        for wrong in ({"AllowMethods": ["TRACE"]}, {"MaxAge": 86_401}, {"AllowOrigins": ["a\nb"]}):
            with kit.refused("ValidationException", 400):
                api.create_function_url_config(FunctionName=name, AuthType="NONE", Cors=wrong)
        with kit.refused("ValidationException", 400):
            api.create_function_url_config(FunctionName=name, AuthType="MAYBE")
