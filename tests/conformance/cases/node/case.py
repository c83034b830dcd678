"""Node.js functions: every form of handler (issue's list: sync and async, callback, promise, ESM, CommonJS)."""

import json

import kit

api = kit.client()
FORMS = {
    "async, ES module": ("index.mjs", "export const handler = async (event) => ({ got: event });"),
    "promise, ES module": ("index.mjs", "export const handler = (event) => Promise.resolve({ got: event });"),
    "async, CommonJS": ("index.js", "exports.handler = async (event) => ({ got: event });"),
    "callback, CommonJS": ("index.js", "exports.handler = (event, context, callback) => setTimeout(() => callback(null, { got: event }), 5);"),
    "async, cjs": ("index.cjs", "exports.handler = async (event) => ({ got: event });"),
    "top-level await": ("index.mjs", "const n = await Promise.resolve(1); export const handler = async (event) => ({ got: event });"),
}


def create(functions, file, source, runtime=kit.NODE, **options):
    return functions.create(kit.archive({file: source}), Runtime=runtime, Handler="index.handler", **options)["FunctionName"]


def test_forms():
    with kit.Functions() as functions:
        for form, (file, source) in FORMS.items():
            answer = api.invoke(FunctionName=create(functions, file, source), Payload=b'{"a":[1]}', LogType="Tail")
            assert "FunctionError" not in answer, (form, kit.payload(answer), kit.tail(answer))
            kit.equal((form, kit.payload(answer)), (form, {"got": {"a": [1]}}))


def test_a_value_returned_by_a_sync_handler_is_ignored():
    # As the service does: only a promise or the callback answers.
    with kit.Functions() as functions:
        name = create(functions, "index.mjs", "export const handler = (event) => ({ got: event });")
        kit.equal(kit.payload(api.invoke(FunctionName=name)), None)


def test_context_and_environment():
    source = """
exports.handler = async (event, c) => ({
  id: c.awsRequestId, name: c.functionName, version: c.functionVersion, arn: c.invokedFunctionArn,
  memory: c.memoryLimitInMB, left: c.getRemainingTimeInMillis(), group: c.logGroupName,
  node: process.version, root: process.env.LAMBDA_TASK_ROOT, env: process.env.AWS_EXECUTION_ENV,
});
"""
    with kit.Functions() as functions:
        name = create(functions, "index.js", source, Timeout=8)
        answer = api.invoke(FunctionName=name)
        seen = kit.payload(answer)
        kit.equal((seen["id"], seen["name"]), (answer["ResponseMetadata"]["RequestId"], name))
        kit.equal((seen["version"], str(seen["memory"]), seen["root"]), ("$LATEST", "128", "/var/task"))
        assert 0 < seen["left"] <= 8000 and seen["node"].startswith("v20."), seen
        kit.equal(seen["env"], f"AWS_Lambda_{kit.NODE}")


def test_errors():
    cases = [
        ("exports.handler = async () => { throw new TypeError('no'); };", "TypeError", "no"),
        ("exports.handler = (e, c, cb) => cb(new RangeError('r'));", "RangeError", "r"),
        ("exports.other = 1;", "Runtime.HandlerNotFound", None),
        ("require('./nothing');", "Runtime.ImportModuleError", None),
        ("exports.handler = (", "Runtime.UserCodeSyntaxError", None),
    ]
    with kit.Functions() as functions:
        for source, kind, text in cases:
            answer = api.invoke(FunctionName=create(functions, "index.js", source))
            kit.equal(answer["FunctionError"], "Unhandled")
            error = kit.payload(answer)
            kit.equal((source, error["errorType"]), (source, kind))
            if text is not None:
                kit.equal(error["errorMessage"], text)
                assert isinstance(error["trace"], list), error


def test_console_lines():
    source = "exports.handler = async () => { console.log('one'); console.error('two'); };"
    with kit.Functions() as functions:
        answer = api.invoke(FunctionName=create(functions, "index.js", source), LogType="Tail")
        request = answer["ResponseMetadata"]["RequestId"]
        log = kit.tail(answer)
        assert f"\t{request}\tINFO\tone" in log and f"\t{request}\tERROR\ttwo" in log, log


def test_other_releases():
    with kit.Functions() as functions:
        for runtime, major in (("nodejs22.x", "v22."), ("nodejs24.x", "v24.")):
            name = create(functions, "index.mjs", "export const handler = async () => process.version;", runtime)
            assert kit.payload(api.invoke(FunctionName=name)).startswith(major)


def test_modules_of_the_archive():
    files = {
        "index.js": "const m = require('mod'); exports.handler = async () => m.value;",
        "node_modules/mod/index.js": "exports.value = 'from a module';",
        "node_modules/mod/package.json": json.dumps({"name": "mod", "main": "index.js"}),
    }
    with kit.Functions() as functions:
        name = functions.create(kit.archive(files), Runtime=kit.NODE, Handler="index.handler")["FunctionName"]
        kit.equal(kit.payload(api.invoke(FunctionName=name)), "from a module")
