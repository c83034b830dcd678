"""Requests of function code to the platform's own API, through the listener of its instance."""

import os

import kit


def inside(key, service="lambda", **more):
    return kit.client(
        service, endpoint_url=os.environ["INSIDE"], aws_access_key_id=os.environ[key + "_KEY"],
        aws_secret_access_key=os.environ[key + "_SECRET"], **({"aws_session_token": os.environ[key + "_TOKEN"]} | more),
    )


def test_a_function_calls_another():
    kit.equal(kit.payload(inside("OWN").invoke(FunctionName="callee", Payload=b"1")), ["called", 1])
    names = [function["FunctionName"] for function in inside("OWN").list_functions()["Functions"]]
    kit.equal(names, ["callee"])


def test_it_knows_who_it_is():
    who = inside("OWN", "sts").get_caller_identity()
    kit.equal(who["Arn"], "arn:aws:sts::000000000000:assumed-role/caller/caller")


def test_other_keys_do_not_open():
    with kit.refused("UnrecognizedClientException", 403):
        inside("FOREIGN").list_functions()
    with kit.refused("UnrecognizedClientException", 403):
        inside("OWN", aws_session_token="forged").list_functions()
    with kit.refused("UnrecognizedClientException", 403):
        kit.client(endpoint_url=os.environ["INSIDE"]).list_functions()


def test_nothing_unsigned_passes():
    import http.client
    import urllib.parse

    target = urllib.parse.urlsplit(os.environ["INSIDE"])
    host = urllib.parse.urlsplit(os.environ["URL"]).netloc
    for path, headers in (("/", {"Host": host}), ("/2015-03-31/functions", {}), ("/_url/" + host.split(".")[0] + "/", {})):
        connection = http.client.HTTPConnection(target.hostname, target.port, timeout=kit.LIMIT)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        kit.equal((answer.status, answer.headers["x-amzn-ErrorType"]), (403, "MissingAuthenticationTokenException"))
