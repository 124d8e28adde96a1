"""Real payloads of providers: the handler and the record get them byte for byte."""

import gzip
import json
import lzma
from pathlib import Path
from urllib.parse import urlencode

import pytest
from soak.counts import combinations, count
from support.handlers import accept, answering

from callback import CallStatus, Response

EXAMPLES = Path(__file__).parents[1] / "data" / "github-webhooks" / "examples.jsonl.xz"
MIB = 1024 * 1024
FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON, BINARY = {"content-type": "application/json"}, {"content-type": "application/octet-stream"}
SLACK = urlencode(
    {
        "token": "gIkuvaNzQIHg97ATvDxqgjtO",
        "team_domain": "example",
        "channel_name": "tést",
        "command": "/weather",
        "text": "94070 & 'quotes' 100%",
        "response_url": "https://hooks.example/commands/1234/5678",
    }
).encode()
XML = (
    '<?xml version="1.0" encoding="ISO-8859-1"?>\r\n<!DOCTYPE order [<!ENTITY e "é">]>\r\n<order id="5">\r\n'
    "  <status><![CDATA[ paid & é ]]></status>\r\n</order>\r\n"
).encode("latin-1")

PAYLOADS = {
    "a Slack-like command": (FORM, SLACK),
    "a Mollie-like notice": (FORM, b"id=tr_d0b0E3EA3v"),
    "a form that is none": (FORM, b"%zz=%&&=;a=b=c&state=\xff%00+"),
    "XML in ISO-8859-1": ({"content-type": "text/xml; charset=ISO-8859-1"}, XML),
    "XML in UTF-16": ({"content-type": "application/xml"}, XML.decode("latin-1").encode("utf-16")),
    "all byte values": (BINARY, bytes(range(256)) * 4),
    "JSON that is none": (JSON, b'{"a": NaN, "a": \xff\xfe'),
    "compressed JSON": (JSON | {"content-encoding": "gzip"}, gzip.compress(b'{"paid": true}' * 100)),
    "line ends at both ends": ({"content-type": "text/plain"}, b"\r\n\r\n0\r\n\r\n"),
    "a multipart form": (
        {"content-type": "multipart/form-data; boundary=x"},
        b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n\x00",
    ),
    "nothing": ({"content-type": "text/plain"}, b""),
    "1 MiB": (BINARY, bytes(range(256)) * (MIB // 256)),
}


@pytest.fixture
async def called(world):
    """Call a multi-use case of `record` or `push`, and return the handler's request and the recorded call."""
    name = world.handler.play(answering(accept()))
    cases = {
        activity: await world.client.generate_callback_url(
            activity, Response(b"ok"), activity_case=name, allow_multiple_calls=True
        )
        for activity in ("record", "push")
    }

    async def call(activity, body, headers, *, method="POST"):
        case = cases[activity]
        answer = await world.system.http.request(method, case.url, content=body, headers=headers)
        assert (answer.status_code, answer.content) == (200, b"ok")
        if activity == "push":
            request = world.handler.requests(name).pop()
            return request, await world.client.get_call(request.call_id)
        return None, await world.last_call(case)

    return call


def assert_arrived(got, recorded, body, headers):
    assert recorded.status is CallStatus.SUCCEEDED
    assert recorded.body == body
    assert recorded.body_size == len(body)
    for name, value in headers.items():
        assert recorded.headers.get_all(name) == (value,)
    if got is not None:
        assert got.request_body == body
        assert [(field.name, field.value) for field in got.request_headers] == list(recorded.headers.pairs)


@pytest.mark.parametrize("activity", ["record", "push"])
async def test_the_examples_of_github_arrive(called, activity):
    lines = lzma.decompress(EXAMPLES.read_bytes()).decode().splitlines()
    assert len(lines) == 404
    # A call of `push` is recorded as well: what is only recorded needs fewer examples.
    lines = lines[:: count(9 if activity == "push" else 27, 1)]
    for line in lines:
        example = json.loads(line)
        body = json.dumps(example["payload"], separators=(",", ":"), ensure_ascii=False).encode()
        headers = JSON | {"x-github-event": example["event"]}
        assert_arrived(*await called(activity, body, headers), body, headers)


@pytest.mark.parametrize(
    ("payload", "activity", "method"), combinations(PAYLOADS, ["record", "push"], ["POST", "PUT", "PATCH", "DELETE"])
)
async def test_any_body_arrives(called, payload, activity, method):
    headers, body = PAYLOADS[payload]
    assert_arrived(*await called(activity, body, headers, method=method), body, headers)


async def test_one_byte_beyond_the_limit_is_refused_and_changes_nothing(world):
    case = await world.client.generate_callback_url("record", Response(b"ok"))
    answer = await world.system.http.post(case.url, content=bytes(MIB + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert (await world.client.get_callback(case.case_id)).call_count == 0
    assert (await world.system.http.post(case.url, content=bytes(MIB))).status_code == 200
