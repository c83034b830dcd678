"""Policies and tags (contract 3.3)."""

import json

import kit

api = kit.client()


def test_permissions():
    with kit.Functions() as functions:
        made = functions.create()
        name = made["FunctionName"]
        with kit.refused("ResourceNotFoundException", 404, "The resource you requested does not exist."):
            api.get_policy(FunctionName=name)
        answer = api.add_permission(
            FunctionName=name, StatementId="s1", Action="lambda:InvokeFunction", Principal="events.amazonaws.com",
            SourceArn="arn:aws:events:us-east-1:000000000000:rule/r",
        )
        kit.equal(answer["ResponseMetadata"]["HTTPStatusCode"], 201)
        statement = json.loads(answer["Statement"])
        kit.equal((statement["Sid"], statement["Effect"], statement["Action"]), ("s1", "Allow", "lambda:InvokeFunction"))
        kit.equal(statement["Principal"], {"Service": "events.amazonaws.com"})
        kit.equal(statement["Resource"], made["FunctionArn"])
        kit.equal(statement["Condition"], {"ArnLike": {"AWS:SourceArn": "arn:aws:events:us-east-1:000000000000:rule/r"}})
        with kit.refused("ResourceConflictException", 409, "already exists"):
            api.add_permission(FunctionName=name, StatementId="s1", Action="lambda:InvokeFunction", Principal="*")
        got = api.get_policy(FunctionName=name)
        policy = json.loads(got["Policy"])
        kit.equal((policy["Version"], len(policy["Statement"])), ("2012-10-17", 1))
        with kit.refused("PreconditionFailedException", 412):
            api.remove_permission(FunctionName=name, StatementId="s1", RevisionId=kit.name())
        kit.equal(api.remove_permission(FunctionName=name, StatementId="s1")["ResponseMetadata"]["HTTPStatusCode"], 204)
        with kit.refused("ResourceNotFoundException", 404):
            api.remove_permission(FunctionName=name, StatementId="s1")


def test_a_policy_is_bounded():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        with kit.refused("PolicyLengthExceededException", 400):
            for number in range(200):
                api.add_permission(
                    FunctionName=name, StatementId=f"s{number}", Action="lambda:InvokeFunction",
                    Principal="events.amazonaws.com", SourceArn="arn:aws:events:us-east-1:000000000000:rule/" + "r" * 60,
                )


def test_tags():
    with kit.Functions() as functions:
        arn = functions.create(Tags={"a": "1"})["FunctionArn"]
        kit.equal(api.list_tags(Resource=arn)["Tags"], {"a": "1"})
        kit.equal(api.tag_resource(Resource=arn, Tags={"b": "2", "a": "3"})["ResponseMetadata"]["HTTPStatusCode"], 204)
        kit.equal(api.list_tags(Resource=arn)["Tags"], {"a": "3", "b": "2"})
        kit.equal(api.untag_resource(Resource=arn, TagKeys=["a", "z"])["ResponseMetadata"]["HTTPStatusCode"], 204)
        kit.equal(api.list_tags(Resource=arn)["Tags"], {"b": "2"})
        with kit.refused("InvalidParameterValueException", 400, "Number of tags exceeds resource tag limit"):
            api.tag_resource(Resource=arn, Tags={f"k{n}": "v" for n in range(51)})
        with kit.refused("ResourceNotFoundException", 404):
            api.list_tags(Resource=arn + "x")


def test_small_configurations_have_their_defaults():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        kit.equal(api.get_function_recursion_config(FunctionName=name)["RecursiveLoop"], "Terminate")
        kit.equal(api.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"], "Auto")
        assert "CodeSigningConfigArn" in api.get_function_code_signing_config(FunctionName=name)
