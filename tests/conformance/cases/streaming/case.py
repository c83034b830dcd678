"""InvokeWithResponseStream (contract 3.4, 1.4)."""

import json
import time

import kit

api = kit.client()

STREAM = """
export const handler = awslambda.streamifyResponse(async (event, stream, context) => {
  for (let i = 0; i < event.parts; i++) {
    stream.write(`part ${i};`);
    await new Promise((done) => setTimeout(done, event.pause));
  }
  if (event.fail) throw new TypeError("too late");
  stream.end();
});
"""


def events(answer):
    """The decoded events of an answer, each with the seconds since the first byte could have come."""
    begun = time.monotonic()
    return [(time.monotonic() - begun, event) for event in answer["EventStream"]]


def body(found):
    return b"".join(event["PayloadChunk"]["Payload"] for _, event in found if "PayloadChunk" in event)


def complete(found):
    last = found[-1][1]
    assert "InvokeComplete" in last, last
    return last["InvokeComplete"]


def streaming(functions):
    return functions.create(kit.node(STREAM), Runtime=kit.NODE, Handler="index.handler", Timeout=20)["FunctionName"]


def call(name, **event):
    return api.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event).encode())


def test_parts_arrive_as_they_are_written():
    with kit.Functions() as functions:
        name = streaming(functions)
        answer = call(name, parts=3, pause=400)
        kit.equal((answer["StatusCode"], answer["ExecutedVersion"]), (200, "$LATEST"))
        found = events(answer)
        kit.equal(body(found), b"part 0;part 1;part 2;")
        assert not complete(found).get("ErrorCode"), complete(found)
        chunks = [at for at, event in found if "PayloadChunk" in event]
        assert len(chunks) >= 3, found
        assert chunks[-1] - chunks[0] > 0.5, chunks


def test_an_ordinary_function_answers_in_one_part():
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        found = events(api.invoke_with_response_stream(FunctionName=name, Payload=b'{"a":1}'))
        kit.equal(json.loads(body(found)), {"a": 1})
        assert not complete(found).get("ErrorCode")


def test_a_streaming_function_called_plainly():
    with kit.Functions() as functions:
        name = streaming(functions)
        answer = api.invoke(FunctionName=name, Payload=b'{"parts":2,"pause":1}')
        kit.equal(answer["Payload"].read(), b"part 0;part 1;")


def test_failure_after_the_first_byte():
    with kit.Functions() as functions:
        name = streaming(functions)
        found = events(call(name, parts=1, pause=1, fail=True))
        kit.equal(body(found), b"part 0;")
        end = complete(found)
        kit.equal(end["ErrorCode"], "TypeError" if end["ErrorCode"] == "TypeError" else "Unhandled")
        assert "too late" in end["ErrorDetails"], end


def test_failure_before_the_first_byte():
    with kit.Functions() as functions:
        name = functions.create(kit.python("def handler(e, c): raise KeyError('x')"))["FunctionName"]
        found = events(api.invoke_with_response_stream(FunctionName=name))
        end = complete(found)
        kit.equal(end["ErrorCode"], "Unhandled")
        kit.equal(json.loads(end["ErrorDetails"])["errorType"], "KeyError")


def test_timeout_in_the_stream():
    with kit.Functions() as functions:
        source = STREAM
        name = functions.create(kit.node(source), Runtime=kit.NODE, Handler="index.handler", Timeout=1)["FunctionName"]
        found = events(call(name, parts=1, pause=5000))
        end = complete(found)
        assert end.get("ErrorCode"), end
        kit.equal(kit.payload(api.invoke(FunctionName=functions.create()["FunctionName"], Payload=b"1")), 1)


def test_the_log_comes_at_the_end():
    import base64

    with kit.Functions() as functions:
        name = functions.create(kit.python("def handler(e, c): print('seen')"))["FunctionName"]
        end = complete(events(api.invoke_with_response_stream(FunctionName=name, LogType="Tail")))
        assert "seen" in base64.b64decode(end["LogResult"]).decode()


def test_refusals():
    with kit.refused("ResourceNotFoundException", 404):
        api.invoke_with_response_stream(FunctionName=kit.name())
    with kit.Functions() as functions:
        name = functions.create()["FunctionName"]
        with kit.refused("InvalidRequestContentException", 400):
            api.invoke_with_response_stream(FunctionName=name, Payload=b"{")
