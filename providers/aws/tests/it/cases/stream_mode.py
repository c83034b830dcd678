"""Turns the URL of the function `f` to streaming."""

import kit


def test_turn():
    made = kit.client().update_function_url_config(FunctionName="f", InvokeMode="RESPONSE_STREAM")
    kit.equal((made["InvokeMode"], made["AuthType"]), ("RESPONSE_STREAM", "NONE"))
