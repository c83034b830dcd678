"""Versions and weighted aliases (contract 3.7)."""

import collections

import kit

api = kit.client()


def versioned(functions, *texts):
    name = functions.create(kit.python(f"def handler(e, c): return [{texts[0]!r}, c.function_version]"))["FunctionName"]
    versions = [api.publish_version(FunctionName=name)["Version"]]
    for text in texts[1:]:
        code = kit.python(f"def handler(e, c): return [{text!r}, c.function_version]")
        api.update_function_code(FunctionName=name, ZipFile=code)
        versions.append(api.publish_version(FunctionName=name)["Version"])
    return name, versions


def test_versions_are_frozen_and_numbered():
    with kit.Functions() as functions:
        name, versions = versioned(functions, "one", "two")
        kit.equal(versions, ["1", "2"])
        kit.equal(api.publish_version(FunctionName=name)["Version"], "2")
        for qualifier, text in (("1", "one"), ("2", "two"), ("$LATEST", "two")):
            answer = api.invoke(FunctionName=name, Qualifier=qualifier)
            kit.equal((answer["ExecutedVersion"], kit.payload(answer)), (qualifier, [text, qualifier]))
        kit.equal(kit.payload(api.invoke(FunctionName=f"{name}:1"))[0], "one")
        listed = api.list_versions_by_function(FunctionName=name)["Versions"]
        kit.equal([version["Version"] for version in listed], ["$LATEST", "1", "2"])
        assert listed[1]["FunctionArn"].endswith(":1")


def test_publish_checks_the_digest():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        with kit.refused("InvalidParameterValueException", 400):
            api.publish_version(FunctionName=name, CodeSha256="A" * 43 + "=")


def test_create_with_publish():
    with kit.Functions() as functions:
        made = functions.create(Publish=True)
        kit.equal(made["Version"], "1")
        kit.equal(made["FunctionArn"].count(":"), 6)


def test_deleting_versions():
    with kit.Functions() as functions:
        name, _ = versioned(functions, "one", "two")
        with kit.refused("InvalidParameterValueException", 400):
            api.delete_function(FunctionName=name, Qualifier="$LATEST")
        api.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        with kit.refused("ResourceConflictException", 409):
            api.delete_function(FunctionName=name, Qualifier="1")
        api.delete_alias(FunctionName=name, Name="live")
        api.delete_function(FunctionName=name, Qualifier="1")
        with kit.refused("ResourceNotFoundException", 404):
            api.invoke(FunctionName=name, Qualifier="1")
        kit.equal(kit.payload(api.invoke(FunctionName=name, Qualifier="2"))[0], "two")


def test_aliases():
    with kit.Functions() as functions:
        name, _ = versioned(functions, "one", "two")
        alias = api.create_alias(FunctionName=name, Name="live", FunctionVersion="1", Description="d")
        kit.equal((alias["Name"], alias["FunctionVersion"], alias["Description"]), ("live", "1", "d"))
        assert alias["AliasArn"].endswith(f":function:{name}:live")
        with kit.refused("ResourceConflictException", 409):
            api.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        kit.equal(kit.payload(api.invoke(FunctionName=name, Qualifier="live")), ["one", "1"])
        with kit.refused("PreconditionFailedException", 412):
            api.update_alias(FunctionName=name, Name="live", FunctionVersion="2", RevisionId=kit.name())
        api.update_alias(FunctionName=name, Name="live", FunctionVersion="2", RevisionId=alias["RevisionId"])
        kit.equal(kit.payload(api.invoke(FunctionName=alias["AliasArn"])), ["two", "2"])
        kit.equal([a["Name"] for a in api.list_aliases(FunctionName=name)["Aliases"]], ["live"])
        kit.equal(api.list_aliases(FunctionName=name, FunctionVersion="1")["Aliases"], [])
        kit.equal(api.delete_alias(FunctionName=name, Name="live")["ResponseMetadata"]["HTTPStatusCode"], 204)
        kit.equal(api.delete_alias(FunctionName=name, Name="live")["ResponseMetadata"]["HTTPStatusCode"], 204)
        with kit.refused("ResourceNotFoundException", 404, "Cannot find alias arn"):
            api.get_alias(FunctionName=name, Name="live")


def test_weights():
    with kit.Functions() as functions:
        name, _ = versioned(functions, "one", "two")
        weights = lambda weight: {"AdditionalVersionWeights": {"2": weight}}
        api.create_alias(FunctionName=name, Name="split", FunctionVersion="1", RoutingConfig=weights(0.5))
        taken = collections.Counter()
        for _ in range(80):
            answer = api.invoke(FunctionName=name, Qualifier="split")
            taken[answer["ExecutedVersion"]] += 1
            kit.equal(kit.payload(answer)[1], answer["ExecutedVersion"])
        assert taken["1"] >= 15 and taken["2"] >= 15, taken
        api.update_alias(FunctionName=name, Name="split", RoutingConfig=weights(1.0))
        kit.equal({api.invoke(FunctionName=name, Qualifier="split")["ExecutedVersion"] for _ in range(10)}, {"2"})
        api.update_alias(FunctionName=name, Name="split", RoutingConfig={})
        kit.equal({api.invoke(FunctionName=name, Qualifier="split")["ExecutedVersion"] for _ in range(10)}, {"1"})


def test_bad_routes():
    with kit.Functions() as functions:
        name, _ = versioned(functions, "one", "two", "three")
        def create(status_code, version, **weights):
            with kit.refused(*status_code):
                weights = {key.strip("v"): value for key, value in weights.items()}
                routing = {"AdditionalVersionWeights": weights}
                api.create_alias(FunctionName=name, Name="bad", FunctionVersion=version, RoutingConfig=routing)
        create(("InvalidParameterValueException", 400, "cannot be greater than 1"), "1", v2=0.1, v3=0.1)
        create(("InvalidParameterValueException", 400, "already included in routing configuration"), "1", v1=0.1)
        create(("ResourceNotFoundException", 404), "1", v9=0.1)
        create(("ValidationException", 400), "1", v2=1.5)
        with kit.refused("ResourceNotFoundException", 404):
            api.create_alias(FunctionName=name, Name="bad", FunctionVersion="77")
        with kit.refused("ResourceNotFoundException", 404):
            api.invoke(FunctionName=name, Qualifier="nothing")


def test_qualifiers_must_agree():
    with kit.Functions() as functions:
        name, _ = versioned(functions, "one", "two")
        with kit.refused("InvalidParameterValueException", 400, "The derived qualifier from the function name does not match"):
            api.get_function(FunctionName=f"{name}:1", Qualifier="2")
