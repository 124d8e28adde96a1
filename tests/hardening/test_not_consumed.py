"""Requests that are not calls: each leaves its case open and uncalled.

The test sends each kind of request to many single-use cases, and then calls one of these cases.
"""

import asyncio
import contextlib
import hmac
import itertools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hardening.profiles import SECRET
from soak.counts import count
from support.edge import http_request, parse_answers, send_raw
from support.payloads import BAD, STATE, chunked
from support.system import is_idle
from support.wait import wait_until

from callback import CallbackStatus, CloseReason, GetGuard, Response

CASES = count(8, 1000)
AT_ONCE = 50
LIMIT = 1 << 20
FORM = ("Content-Type", "application/x-www-form-urlencoded")
SIGNED_BODY = b'{"paid": true}'


def path(case):
    return "/" + case.url.split("/", 3)[3]


def get(case):
    return http_request(path(case))


@dataclass
class Kind:
    """Kind of request that is not a call."""

    request: Callable[[Any], bytes]
    """Function that creates the bytes for a case."""
    status: int = 0
    """Status of the response. 0: the caller closes the connection before it."""
    options: dict[str, Any] = field(default_factory=dict)
    """Settings of the case."""
    call: Callable[[Any], bytes] = get
    """Function that creates the request of the actual call. The default is a GET of the case's address."""


def asks(method="GET", *headers, body=b"", at=path, **more):
    """Return a kind of one plain request."""
    return Kind(lambda case: http_request(at(case) if callable(at) else at, method, headers, body), **more)


def signed(secret):
    digest = hmac.digest(secret.encode(), SIGNED_BODY, "sha256").hex()
    headers = [("X-GitHub-Delivery", "7"), ("X-Hub-Signature-256", f"sha256={digest}")]
    return lambda case: http_request(path(case), "POST", headers, SIGNED_BODY)


def payload(name):
    """Return a kind of one of the payloads that the edge refuses completely."""
    return Kind(lambda case: BAD[name][0].replace(STATE, case.state.encode()), BAD[name][1])


def raw(data, status):
    return Kind(lambda case: data.replace(STATE, case.state.encode()), status)


def post_of(length, body):
    return lambda case: f"POST {path(case)} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode() + body


def form(body, *, method="POST", at="/cbq/state", kind=FORM[1]):
    """Create a request whose body has the state."""
    headers = [("Content-Type", kind)]
    return lambda case: http_request(at, method, headers, body.format(case.state).encode())


def signer(profile):
    return {"options": {"verification_profile": profile}, "call": signed(SECRET)}


def knowing(profile):
    return {
        "options": {"verification_profile": profile},
        "call": lambda case: http_request(f"{path(case)}?key={SECRET}", "POST"),
    }


SIGNER = signer("sender")
SHARED = {"options": {"state_query_parameter": "state"}}
SITE = "https://shop.example"
PREFLIGHT = [("Origin", SITE), ("Access-Control-Request-Method", "PUT")]
TOPIC = "https://blog.example/feed"
OTHER = "3f2b8c1e-9d4a-4b6f-8e21-7c5d0a9b1e34"
CONFIRMED = {
    "options": {"get_guard": GetGuard.CONFIRM},
    "call": lambda case: http_request(path(case), "POST", [FORM], b"callback_confirm=1"),
}

KINDS = {
    "HEAD": asks("HEAD", status=200),
    "OPTIONS": asks("OPTIONS", status=204),
    "OPTIONS that asks for leave": asks("OPTIONS", ("WebHook-Request-Origin", "a.example"), status=204),
    "preflight": asks("OPTIONS", *PREFLIGHT, status=204, options={"allowed_origins": [SITE]}),
    "preflight of another site": asks("OPTIONS", *PREFLIGHT, status=204),
    "TRACE": asks("TRACE", status=405),
    "unknown method": asks("PROPFIND", status=405),
    "prefetch": asks("GET", ("Sec-Purpose", "prefetch"), status=503),
    "prerender": asks("GET", ("Sec-Purpose", "prefetch;prerender"), status=503),
    "prefetch of old": asks("GET", ("Purpose", "prefetch"), status=503),
    "prefetch of Firefox of old": asks("GET", ("X-Moz", "prefetch"), status=503),
    "prefetch that is posted": asks("POST", ("Purpose", "prefetch"), body=b"a", status=503),
    "script of a service worker": asks("GET", ("Service-Worker", "script"), status=403),
    "script of a service worker, by Sec-Fetch-Dest": asks("GET", ("Sec-Fetch-Dest", "serviceworker"), status=403),
    "ambiguous length": payload("TE and CL"),
    "absolute form of another scheme": payload("absolute form of a scheme unknown"),
    "preface of HTTP/2": payload("PRI preface"),
    "bad chunk": payload("bad chunk size"),
    "signature with another secret": Kind(signed("another secret"), 401, **SIGNER),
    "no signature": asks("POST", body=SIGNED_BODY, status=401, **SIGNER),
    "no signature, and no body": asks(status=401, **SIGNER),
    "handshake of a hub": asks(
        at=lambda case: f"{path(case)}?hub.mode=subscribe&hub.challenge=7&hub.topic={TOPIC}",
        status=200,
        **signer("hub"),
    ),
    "handshake that asks about something else": asks(
        at=lambda case: f"{path(case)}?hub.mode=subscribe&hub.challenge=7&hub.topic=x", status=401, **signer("hub")
    ),
    "handshake by a validation token": asks(
        "POST", at=lambda case: f"{path(case)}?validationToken=7", status=200, **knowing("graph")
    ),
    "handshake of CloudEvents": asks(
        "OPTIONS", ("WebHook-Request-Origin", "a.example"), status=200, **knowing("events")
    ),
    "body that breaks off": Kind(post_of(10, b"123")),
    "chunks that break off": Kind(lambda case: chunked(b"5\r\n123").replace(STATE, case.state.encode())),
    "body that does not come": Kind(post_of(10, b"123"), 408),
    "body that says that it is too large": Kind(post_of(LIMIT + 1, b""), 413),
    "body that is too large": raw(chunked(b"%x\r\n%s\r\n0\r\n\r\n" % (LIMIT + 1, b"x" * (LIMIT + 1))), 413),
    "encoded": asks(at=lambda case: path(case).replace("-", "%2D"), status=404),
    "shared address of a case that has its own": asks(at=lambda case: f"/cbq/state?state={case.state}", status=404),
    "own address of a case that shares one": asks(at=lambda case: f"/cb/{case.state}", status=404, **SHARED),
    "another shared address": asks(at=lambda case: f"/cbq/other?other={case.state}", status=404, **SHARED),
    "no state": asks(at=lambda _case: "/cbq/state", status=400, **SHARED),
    "state given twice": asks(at=lambda case: f"{path(case)}&state={case.state}", status=400, **SHARED),
    "state given twice in a form": Kind(form("state={0}&state={0}"), 400, **SHARED),
    "state in a form and another in the query": Kind(form("state={0}", at=f"/cbq/state?state={OTHER}"), 400, **SHARED),
    "state in what is no form": Kind(form("state={0}", kind="text/plain"), 400, **SHARED),
    "form that is put": Kind(form("state={0}", method="PUT"), 400, **SHARED),
    "preview of a chat": asks(
        "GET",
        ("User-Agent", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"),
        status=200,
        options={"get_guard": GetGuard.DETECT},
        call=lambda case: http_request(path(case), "GET", [("User-Agent", "Mozilla/5.0")]),
    ),
    "link that is opened and not confirmed": asks(status=200, **CONFIRMED),
}


async def hangs_up(port, data):
    """Send the start of a request, and reset the connection."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    with contextlib.suppress(OSError):
        await writer.drain()
    writer.transport.abort()


@pytest.mark.parametrize("name", KINDS)
async def test_a_request_that_is_not_a_call_consumes_no_case(system, name):
    kind, port = KINDS[name], int(system.url.rpartition(":")[2])
    labels, at_once = {"kind": name.replace(" ", "-").replace(",", "")}, asyncio.Semaphore(AT_ONCE)

    async def one():
        async with at_once:
            case = await system.client.generate_callback_url(
                "record", Response("called"), labels=labels, **kind.options
            )
            if not kind.status:
                await hangs_up(port, kind.request(case))
                return case, 0
            data = kind.request(case)
            (answer,) = parse_answers(await send_raw(port, data), [data.partition(b" ")[0].decode()])
            return case, answer.status

    made = await asyncio.gather(*(one() for _ in range(CASES)))
    assert Counter(status for _, status in made) == {kind.status: CASES}
    await wait_until(lambda: is_idle(system.edge), what="the end of all requests")
    (answer,) = parse_answers(await send_raw(port, kind.call(made[0][0])))
    assert (answer.status, answer.body) == (200, b"called")
    cases = [case async for case in system.client.list_callbacks(labels=labels, page_size=1000)]
    ends = Counter((case.status, case.close_reason, case.call_count) for case in cases)
    assert ends == {
        (CallbackStatus.OPEN, None, 0): CASES - 1,
        (CallbackStatus.CLOSED, CloseReason.CONSUMED, 1): 1,
    }


TRANSPORT = ("date", "connection")  # the edge closes a connection after many requests, whatever they are


async def test_a_caller_learns_nothing_of_why_a_request_did_not_pass(system):
    """Check 200 requests that fail for other reasons: the bytes of the answers are the same."""
    made = await system.client.generate_callback_url("record", Response("own"), verification_profile="slack")
    time_of = itertools.cycle(["1700000000", str(int(time.time())), "soon", "1700000000000", None])
    answers = set()
    for index in range(200):
        signature = [None, "v0=", "v0=" + f"{index:064x}", "v1=" + "0" * 64, "\xff"][index // 5 % 5]
        given = {"x-slack-request-timestamp": next(time_of), "x-slack-signature": signature}
        headers = [(name.encode(), value.encode("latin-1")) for name, value in given.items() if value is not None]
        answer = await system.http.post(made.url, content=b"%d" % index if index % 3 else b"", headers=headers)
        kept = tuple((name, value) for name, value in answer.headers.items() if name not in TRANSPORT)
        answers.add((answer.status_code, kept, answer.content))
    assert [status for status, *_ in answers] == [401]
    assert (await system.client.get_callback(made.case_id)).status is CallbackStatus.OPEN
    events = [each for each in system.server.events() if each["event"] == "verification_failed"]
    whys = {each["why"] for each in events if each["case_id"] == made.case_id}
    assert {"x-slack-signature is missing", "no signature is valid"} < whys
