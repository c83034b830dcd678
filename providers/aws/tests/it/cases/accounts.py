"""Two accounts: neither sees the other's functions, and calls pass only where a policy says so."""

import json
import os

import kit

mine = kit.client()
theirs = kit.client(aws_access_key_id=os.environ["OTHER_KEY"], aws_secret_access_key=os.environ["OTHER_SECRET"])


def test_names_are_per_account():
    with kit.Functions(mine) as functions, kit.Functions(theirs) as others:
        name = functions.create()["FunctionName"]
        with kit.refused("ResourceNotFoundException", 404):
            theirs.get_function(FunctionName=name)
        other = others.create(FunctionName=name)
        assert ":111111111111:" in other["FunctionArn"]
        kit.equal([f["FunctionArn"] for f in theirs.list_functions()["Functions"]], [other["FunctionArn"]])


def test_arns_of_others_are_refused_without_a_word():
    with kit.Functions(mine) as functions:
        arn = functions.create()["FunctionArn"]
        for wanted in (arn, arn.rsplit(":", 1)[0] + ":no-such-function"):
            for call in (theirs.get_function, theirs.delete_function, theirs.get_policy, theirs.publish_version):
                with kit.refused("AccessDeniedException", 403):
                    call(FunctionName=wanted)
            with kit.refused("AccessDeniedException", 403, "is not authorized to perform: lambda:InvokeFunction on resource"):
                theirs.invoke(FunctionName=wanted)
        with kit.refused("AccessDeniedException", 403):
            theirs.list_tags(Resource=arn)


def test_a_policy_lets_a_call_through():
    with kit.Functions(mine) as functions:
        made = functions.create(Publish=True)
        name, arn = made["FunctionName"], made["FunctionArn"]
        allow = {"FunctionName": name, "StatementId": "s", "Action": "lambda:InvokeFunction"}
        mine.add_permission(Principal="222222222222", **allow)
        with kit.refused("AccessDeniedException", 403):
            theirs.invoke(FunctionName=arn)
        mine.remove_permission(FunctionName=name, StatementId="s")
        mine.add_permission(Principal="111111111111", **allow)
        kit.equal(kit.payload(theirs.invoke(FunctionName=arn, Payload=json.dumps([1]))), [1])
        with kit.refused("AccessDeniedException", 403):
            theirs.invoke(FunctionName=arn + ":1")
        with kit.refused("AccessDeniedException", 403):
            theirs.get_function(FunctionName=arn)
        mine.add_permission(Qualifier="1", Principal="arn:aws:iam::111111111111:root", **allow)
        kit.equal(kit.payload(theirs.invoke(FunctionName=arn + ":1", Payload=b"2")), 2)


def test_identities():
    keys = {"aws_access_key_id": os.environ["OTHER_KEY"], "aws_secret_access_key": os.environ["OTHER_SECRET"]}
    kit.equal(kit.client("sts", **keys).get_caller_identity()["Account"], "111111111111")
