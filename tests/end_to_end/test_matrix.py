"""Every outcome of a call, in every mode of a case, with both response types and both URL families, over HTTP.

The life table defines the effect on the case. The table here defines the response to the caller.
"""

import asyncio
import itertools
import json
import subprocess
import sys
from dataclasses import dataclass, field

import grpc
import pytest
from model.life import (
    CLOSED,
    FAILED,
    INTERRUPTED,
    LIFE,
    MULTIPLE,
    NOT_STARTED,
    OPEN,
    REJECTED,
    RETRYABLE,
    SINGLE,
    SUCCEEDED,
)
from soak.counts import count
from support.handlers import accept, answering, override, reject
from support.wait import DEADLINE_S

from callback import CallbackStatus, CallFailure, Redirect, Response
from callback.v1 import callback_handler_service_pb2 as messages
from callback.v1 import callback_pb2 as resources
from callback_server.domain.life import OF_SUCCESS, CallEnd

PLATFORM = "https://platform.example"
KEPT_OPEN = CallEnd.KEPT_OPEN
FLAGS = {
    # (allow_multiple_calls, retryable_after_error): the mode
    (False, False): SINGLE,
    (False, True): RETRYABLE,
    (True, False): MULTIPLE,
    (True, True): MULTIPLE,
}
TYPES = {
    "redirect": Redirect("/page/thankyou?a=1#end"),
    "response": Response(b"stored\xff", 202, {"X-Case": "own", "Content-Type": "application/x-own"}),
}
FAMILIES = {"cb": "GET", "cbq": "POST"}
COMBINATIONS = list(itertools.product(FLAGS, TYPES, FAMILIES))
SOME = count(COMBINATIONS[::5], COMBINATIONS)
"""Combinations of most outcomes outside of a soak: each of the four modes once, and each type and family twice."""

CASES_OWN = object()
"""Marker: the caller gets the case's own response."""
_REDIRECT, _RESPONSE = resources.RESPONSE_TYPE_REDIRECT, resources.RESPONSE_TYPE_RESPONSE


@dataclass(frozen=True)
class Http:
    """Response that a caller gets. A status of None means 302 or 303, depending on the method."""

    status: int | None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    problem: str | None = None
    retry_after: str | None = None


def redirect(url):
    return Http(None, {"location": url})


OWN = {
    "redirect": redirect(f"{PLATFORM}/page/thankyou?a=1#end"),
    "response": Http(202, {"x-case": "own", "content-type": "application/x-own"}, b"stored\xff"),
}
HANDLER_FAILED = Http(502, problem="handler_failed")
RESPONSE_INVALID = Http(502, problem="response_invalid")
HANDLER_LOST = Http(503, problem="handler_lost")
HANDLER_LATE = Http(504, problem="handler_deadline_exceeded")
NOT_ASKED = Http(503, problem="handler_not_started", retry_after="5")
CLOSED_HERE = {"cb": Http(410, problem="callback_closed"), "cbq": Http(404, problem="state_unknown")}


@dataclass(frozen=True)
class Outcome:
    """One outcome of a call: the `script` of the handler, and the caller's response `http` (by type, if a dict)."""

    name: str
    ends: str
    http: object
    script: object = None
    failure: CallFailure | None = None
    activity: str = "push"
    cases: dict = field(default_factory=lambda: TYPES)
    """The case's response, by type."""
    combinations: list = field(default_factory=lambda: SOME)
    again: bool = True
    """Whether a second call, if the mode permits one, is accepted. False: it ends in the same way as the first one."""

    def __str__(self):
        return self.name


def raising(error):
    async def script(_request, _context):
        raise error

    return script


def aborting(code):
    async def script(_request, context):
        await context.abort(code, "state 33931129-8459-4714-8c9b-ad9d15090289 of redis")

    return script


async def hang(_request, _context):
    await asyncio.Event().wait()


def invalid(name, answer, **more):
    return Outcome(
        f"nonsense: {name}", FAILED, RESPONSE_INVALID, answering(answer), CallFailure.INVALID_RESPONSE, **more
    )


_turn = itertools.cycle(range(len(COMBINATIONS)))


def one_of_many(name, **attributes):
    """Return one of many equally refused values. Only a soak run tries each of them in all combinations."""
    at = next(_turn)
    return invalid(name, accept(override(**attributes)), combinations=count(COMBINATIONS[at : at + 1], COMBINATIONS))


def bad_code(code):
    return one_of_many(f"code {code}", response_type=_RESPONSE, response_code=code)


def bad_header(name, value, title):
    return one_of_many(f"header {title}", response_type=_RESPONSE, headers=[("x-good", "1"), (name, value)])


def bad_url(url):
    return one_of_many(f"redirect to {url!r}", response_type=_REDIRECT, response_redirect_url=url)


NOWHERE = {"redirect": Redirect(), "response": Response(b"")}
CODES = (-1, 0, 1, 99, 100, 101, 199, 300, 302, 304, 399, 600, 2_147_483_647)
HEADERS = [
    ("", "x", "without a name"), ("a b", "x", "with a space"), ("a:b", "x", "with a colon"), ("é", "x", "not ASCII"),
    ("x\r\nset-cookie", "x", "that splits"), ("x", "a\r\n\r\nHTTP/1.1 200 OK", "whose value splits"),
    ("x", "a\nb", "with a line feed"), ("x", "a\x00b", "with a NUL"), ("set-cookie", "a=1", "that sets a cookie"),
    ("x", "漢", "beyond ISO-8859-1"), ("x", "a" * 8193, "too long"), ("x" * 257, "", "whose name is too long"),
    *((name, "x", name) for name in (
        "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade",
        "Content-Length", "Date", "Server", "Via", "X-Accel-Redirect", "X-Sendfile", "X-Sendfile2",
        "X-LIGHTTPD-send-file", "X-LIGHTTPD-send-tempfile", "X-LiteSpeed-Location", "X-LiteSpeed-Cache-Control",
        "X-Reproxy-URL", "X-Reproxy-File", "CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "Surrogate-Control",
        "Edge-Control", "Location", "Refresh",
        "Clear-Site-Data", "Strict-Transport-Security", "NEL", "Report-To", "Reporting-Endpoints", "Alt-Svc",
        "Service-Worker-Allowed", "Accept-CH", "Critical-CH", "Origin-Agent-Cluster", "Set-Login",
        "Secure-Session-Registration", "Use-As-Dictionary",
    )),
]  # fmt: skip
URLS = [
    "//evil.example", "/\\evil.example", "\\\\evil.example", "https:evil.example", "https://u:p@evil.example/",
    "http://", "javascript:alert(1)", "data:text/html,x", "ftp://evil.example/", "https://evil.example/\r\nx: y",
    "https://evil.example/ x", "evil.example", "\thttps://evil.example/", "https://evil.example/\x00", "/é",
]  # fmt: skip

OUTCOMES = [
    Outcome("record", SUCCEEDED, CASES_OWN, activity="record", again=False),
    Outcome("accepted", SUCCEEDED, CASES_OWN, answering(accept()), combinations=COMBINATIONS),
    Outcome("accepted, keep open", KEPT_OPEN, CASES_OWN, answering(accept(keep_open=True))),
    Outcome("accepted, close", CallEnd.CLOSED, CASES_OWN, answering(accept(close=True))),
    Outcome(
        "accepted, the other code and body",
        SUCCEEDED,
        {"redirect": OWN["redirect"], "response": Http(500, OWN["response"].headers, b"chosen")},
        answering(accept(override(response_code=500, response_body=b"chosen"))),
    ),
    Outcome(
        "accepted, a response with headers of its own",
        SUCCEEDED,
        Http(200, {"x-a": "1", "content-type": "text/plain; charset=utf-8"}, b"\xc3\xa9"),
        answering(
            accept(override([("X-A", "1")], response_type=_RESPONSE, response_code=200, response_body=b"\xc3\xa9"))
        ),
    ),
    Outcome(
        "accepted, a redirect of its own",
        SUCCEEDED,
        redirect("https://shop.example/a?b=c"),
        answering(accept(override(response_type=_REDIRECT, response_redirect_url="https://shop.example/a?b=c"))),
    ),
    Outcome(
        "accepted, a path of its own where there was none",
        SUCCEEDED,
        redirect(f"{PLATFORM}/later"),
        answering(accept(override(response_type=_REDIRECT, response_redirect_url="/later"), keep_open=False)),
        cases=NOWHERE,
        again=False,
    ),
    Outcome("rejected", REJECTED, Http(422, problem="call_rejected"), answering(reject()), combinations=COMBINATIONS),
    Outcome(
        "rejected with a response of its own",
        REJECTED,
        Http(400, {"content-type": "application/json"}, b'{"e":1}'),
        answering(
            reject(override([("Content-Type", "application/json")], response_code=400, response_body=b'{"e":1}'))
        ),
    ),
    Outcome(
        "rejected with a redirect",
        REJECTED,
        redirect(f"{PLATFORM}/sorry"),
        answering(reject(override(response_type=_REDIRECT, response_redirect_url="/sorry"))),
    ),
    Outcome("raises", FAILED, HANDLER_FAILED, raising(RuntimeError("secret")), CallFailure.HANDLER_ERROR),
    *(
        Outcome(f"aborts with {code.name}", FAILED, http, aborting(code), failure)
        for code, http, failure in [
            (grpc.StatusCode.NOT_FOUND, HANDLER_FAILED, CallFailure.HANDLER_ERROR),
            (grpc.StatusCode.UNIMPLEMENTED, HANDLER_FAILED, CallFailure.HANDLER_ERROR),
            (grpc.StatusCode.UNAVAILABLE, HANDLER_LOST, CallFailure.HANDLER_LOST),
            (grpc.StatusCode.DEADLINE_EXCEEDED, HANDLER_LATE, CallFailure.DEADLINE_EXCEEDED),
        ]
    ),
    Outcome("hangs", FAILED, HANDLER_LATE, hang, CallFailure.DEADLINE_EXCEEDED, activity="hasty"),
    Outcome(
        "unreachable", NOT_STARTED, NOT_ASKED, None, CallFailure.HANDLER_UNREACHABLE, activity="nobody", again=False
    ),
    Outcome("nonsense: not a message", FAILED, HANDLER_FAILED, answering(b"\xff\xff\xff"), CallFailure.HANDLER_ERROR),
    Outcome(
        "nonsense: a header that is not UTF-8",
        FAILED,
        HANDLER_FAILED,
        answering(accept(override([("x", "AAAA")])).SerializeToString().replace(b"AAAA", b"\xff\xfe\xfd\xfc")),
        CallFailure.HANDLER_ERROR,
    ),
    Outcome(
        "nonsense: beyond the limit of a message",
        FAILED,
        HANDLER_FAILED,
        answering(accept(override(response_body=bytes(16 * 1024 * 1024))).SerializeToString()),
        CallFailure.HANDLER_ERROR,
    ),
    invalid("nothing at all", messages.HandleCallbackResponse()),
    invalid("a verdict that there is not", b"\x08\x63"),
    invalid("a type that there is not", accept(resources.Response.FromString(b"\x08\x63"))),
    invalid("a body beyond 1 MiB", accept(override(response_body=bytes(1024 * 1024 + 1)))),
    invalid("too many headers", accept(override([("x", "1")] * 65))),
    invalid("too much in headers", accept(override([("x", "1" * 4096)] * 2, response_type=_RESPONSE))),
    invalid("a redirect without a URL", accept(override(response_type=_REDIRECT)), cases=NOWHERE, again=False),
    invalid("a rejection by redirect without a URL", reject(override(response_type=_REDIRECT))),
    *(bad_code(code) for code in CODES),
    *(bad_header(*header) for header in HEADERS),
    *(bad_url(url) for url in URLS),
]


def expected_http(outcome, type_):
    http = OWN if outcome.http is CASES_OWN else outcome.http
    return http[type_] if isinstance(http, dict) else http


def assert_answer(answer, http, method, where):
    status = (302 if method == "GET" else 303) if http.status is None else http.status
    assert answer.status == status, (where, answer)
    assert answer.all("retry-after") == ([http.retry_after] if http.retry_after else []), where
    fixed = {"date", "connection", "content-length", "cache-control", "referrer-policy", "retry-after",
             "x-content-type-options", "x-robots-tag", "cross-origin-opener-policy"}  # fmt: skip
    rest = {name: value for name, value in answer.headers if name not in fixed}
    if http.problem is None:
        assert (rest, answer.body) == (http.headers, http.body), where
    else:
        assert rest == {"content-type": "application/problem+json", "vary": "accept"}, where
        assert json.loads(answer.body)["code"] == http.problem, where


def life(mode, ends):
    """Return status and close reason of the case by the life table. A call without effect leaves the case open."""
    effect = LIFE[mode][ends]
    return (effect.status, effect.close_reason) if effect else (OPEN, None)


async def assert_case(client, case, mode, ends, where):
    status, reason = life(mode, ends)
    kept = await client.get_callback(case.case_id)
    assert (kept.status, kept.close_reason) == (status, reason), where
    return status


def call_status(ends):
    return SUCCEEDED if ends in OF_SUCCESS else ends


class Tried:
    """One case of one combination, ready for a call."""

    def __init__(self, world, outcome, flags, type_, family):
        self.world, self.outcome = world, outcome
        self.mode, self.type, self.family = FLAGS[flags], type_, family
        self.method = FAMILIES[family]
        self.where = (outcome.name, self.mode, flags, type_, family)
        self.flags = dict(zip(("allow_multiple_calls", "retryable_after_error"), flags, strict=True))

    async def generate(self):
        script = self.outcome.script and self._first_time(self.outcome.script)
        self.script = self.world.handler.play(script)
        self.case = await self.world.client.generate_callback_url(
            self.outcome.activity, self.outcome.cases[self.type], activity_case=self.script,
            state_query_parameter="state" if self.family == "cbq" else "", **self.flags,
        )  # fmt: skip

    def _first_time(self, script):
        async def first_time(request, context):
            if request.attempt > 1 and self.outcome.again:
                return accept()
            return await script(request, context)

        return first_time

    async def call(self, query=""):
        joint = query and ("&" if self.family == "cbq" else "?")
        return await self.world.ask(f"{self.case.url}{joint}{query}", self.method)

    async def assert_called(self, answer, calls=1):
        outcome, client = self.outcome, self.world.client
        assert_answer(answer, expected_http(outcome, self.type), self.method, self.where)
        status = await assert_case(client, self.case, self.mode, outcome.ends, self.where)
        recorded = await self.world.last_call(self.case)
        assert (recorded.status, recorded.failure) == (call_status(outcome.ends), outcome.failure), self.where
        assert (recorded.keep_open, recorded.close) == (outcome.ends == KEPT_OPEN, outcome.ends == CallEnd.CLOSED)
        assert recorded.attempt == calls
        assert recorded.end_time is not None
        assert (recorded.response is None) == (outcome.failure is not None), self.where
        return status

    async def assert_called_again(self, status):
        """Check the response to the same request again, and on a closed case to another one.

        On a closed case the same request gets the answer of the first, unless the case allowed multiple calls: then it
        has no repeat window. Neither request reaches the handler.
        """
        before = len(self.world.handler.requests(self.script))
        answer = await self.call()
        if status == CLOSED:
            has_window = not self.flags["allow_multiple_calls"]
            again = expected_http(self.outcome, self.type) if has_window else CLOSED_HERE[self.family]
            assert_answer(answer, again, self.method, self.where)
            assert_answer(await self.call("other=1"), CLOSED_HERE[self.family], self.method, self.where)
            assert len(self.world.handler.requests(self.script)) == before
            assert (await self.world.client.get_callback(self.case.case_id)).call_count == 1
        elif self.outcome.again:
            assert_answer(answer, OWN[self.type], self.method, self.where)
            await assert_case(self.world.client, self.case, self.mode, SUCCEEDED, self.where)
            assert (await self.world.last_call(self.case)).status == SUCCEEDED
        else:
            await self.assert_called(answer, calls=2)


def all_combinations(world, outcome):
    return [Tried(world, outcome, *combination) for combination in outcome.combinations]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=str)
async def test_a_call_ends_as_the_tables_say(world, outcome):
    async def try_it(tried):
        await tried.generate()
        status = await tried.assert_called(await tried.call())
        await tried.assert_called_again(status)

    await asyncio.gather(*map(try_it, all_combinations(world, outcome)))


MORTAL = """
import asyncio, sys, grpc
from callback.v1 import callback_handler_service_pb2 as messages
from callback.v1 import callback_handler_service_pb2_grpc as services

class Handler(services.CallbackHandlerServiceServicer):
    async def HandleCallback(self, request, context):
        print("started", flush=True)
        if sys.argv[2] == "hang":
            await asyncio.Event().wait()
        return messages.HandleCallbackResponse(verdict=messages.VERDICT_ACCEPTED)

async def main():
    server = grpc.aio.server()
    services.add_CallbackHandlerServiceServicer_to_server(Handler(), server)
    server.add_insecure_port(sys.argv[1])
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()

asyncio.run(main())
"""


async def mortal(target, what):
    """Start the program, and wait until it takes calls."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MORTAL, target, what, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert await asyncio.wait_for(program.stdout.readline(), DEADLINE_S) == b"ready\n"
    return program


async def test_a_handler_that_is_killed_in_the_middle_of_its_calls_fails_them(world):
    outcome = Outcome(
        "killed", FAILED, HANDLER_LOST, None, CallFailure.HANDLER_LOST, activity="mortal", combinations=COMBINATIONS
    )
    program = await mortal(world.mortal, "hang")
    try:
        tries = all_combinations(world, outcome)
        await asyncio.gather(*(tried.generate() for tried in tries))
        calls = [asyncio.create_task(tried.call()) for tried in tries]
        for _ in tries:
            assert await asyncio.wait_for(program.stdout.readline(), DEADLINE_S) == b"started\n"
    finally:
        program.kill()
        await program.communicate()
    answers = await asyncio.gather(*calls)
    program = await mortal(world.mortal, "accept")
    try:
        for tried, answer in zip(tries, answers, strict=True):
            await tried.assert_called_again(await tried.assert_called(answer))
    finally:
        program.kill()
        started, _ = await program.communicate()
    assert started.count(b"started") == sum(life(tried.mode, FAILED)[0] == OPEN for tried in tries)


async def test_a_reply_of_a_hundred_megabytes_is_refused_and_harms_nothing(world):
    huge = accept(override(response_body=bytes(100 * 1024 * 1024))).SerializeToString()
    outcome = Outcome("huge", FAILED, HANDLER_FAILED, answering(huge), CallFailure.HANDLER_ERROR)
    tried = Tried(world, outcome, (False, True), "response", "cb")
    await tried.generate()
    status = await tried.assert_called(await tried.call())
    await tried.assert_called_again(status)


def test_the_matrix_is_the_life_table():
    assert {outcome.ends for outcome in OUTCOMES} | {INTERRUPTED} == set(LIFE[SINGLE])
    assert len(COMBINATIONS) == 16
    assert {str(effect.status) for effect in LIFE[SINGLE].values()} <= {str(status) for status in CallbackStatus}
