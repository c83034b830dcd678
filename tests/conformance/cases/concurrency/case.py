"""Reserved concurrency and throttling (contract 3.9, 7.1)."""

import concurrent.futures
import json

import kit

api = kit.client(config=kit.botocore.config.Config(retries={"total_max_attempts": 1}, max_pool_connections=32))
SLOW = "import time\ndef handler(e, c):\n    time.sleep(e.get('s', 0))\n    return 'ran'"


def test_settings():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        assert "ReservedConcurrentExecutions" not in api.get_function_concurrency(FunctionName=name)
        kit.equal(api.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=5)["ReservedConcurrentExecutions"], 5)
        kit.equal(api.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"], 5)
        kit.equal(api.get_function(FunctionName=name)["Concurrency"]["ReservedConcurrentExecutions"], 5)
        kit.equal(api.delete_function_concurrency(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"], 204)
        kit.equal(api.delete_function_concurrency(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"], 204)
        with kit.refused("InvalidParameterValueException", 400, "below its minimum value of [100]"):
            api.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=100_000)


def test_zero_stops_the_function():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        api.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        try:
            api.invoke(FunctionName=name)
            raise AssertionError("it ran")
        except api.exceptions.TooManyRequestsException as error:
            kit.equal(error.response["ResponseMetadata"]["HTTPStatusCode"], 429)
            kit.equal(error.response["Reason"], "ReservedFunctionConcurrentInvocationLimitExceeded")
            kit.equal(error.response["Error"]["Message"], "Rate Exceeded.")
        api.delete_function_concurrency(FunctionName=name)
        kit.equal(api.invoke(FunctionName=name)["StatusCode"], 200)


def outcomes(name, number, seconds):
    def one(_):
        try:
            answer = api.invoke(FunctionName=name, Payload=json.dumps({"s": seconds}).encode())
            return kit.payload(answer)
        except api.exceptions.TooManyRequestsException as error:
            return error.response["Reason"]

    with concurrent.futures.ThreadPoolExecutor(number) as pool:
        return list(pool.map(one, range(number)))


def test_the_cap_holds_exactly():
    with kit.Functions() as functions:
        name = functions.create(kit.python(SLOW), Timeout=20)["FunctionName"]
        api.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
        found = outcomes(name, 8, 2)
        kit.equal(found.count("ran"), 3)
        kit.equal(found.count("ReservedFunctionConcurrentInvocationLimitExceeded"), 5)
        kit.equal(outcomes(name, 3, 0), ["ran"] * 3)


def test_scale_out_on_demand():
    with kit.Functions() as functions:
        name = functions.create(kit.python(SLOW), Timeout=30)["FunctionName"]
        kit.equal(outcomes(name, 16, 1), ["ran"] * 16)
