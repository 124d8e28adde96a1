"""Write the data that a release stores: `python tests/data/write_stored.py CHECKOUT tests/data/stored-N`.

CHECKOUT is the source tree of the release. The release's server does all the work, on a Valkey of its own, through the
gRPC contract. So this program is independent of the storage format, and writes the data of the next release without a
change. It kills the server to leave a call running.
"""

import asyncio
import contextlib
import itertools
import json
import sys
import tempfile
from pathlib import Path

import grpc
import redis.asyncio
from google.protobuf.json_format import MessageToDict

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.edge_calls import EdgeCalls
from support.handlers import accept, answering, override, reject, stub_handler
from support.store import free_port
from support.stored import dumped, marked, store_now_ms
from support.system import Process, own_store
from support.wait import wait_until

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as service
from callback.v1 import callbacks_service_pb2_grpc as callbacks_grpc
from callback.v1 import edge_service_pb2 as edge

KEPT_CALLS = 3
"""Number of ended calls kept for each case. Earlier calls leave tombstones."""
BRIEF_S = 5
"""Deadline of the activity `brief`. Its leases end after all reads and before the dump."""
LEASE_SLACK_S = 10
DUE_S = 9
"""Time to live of cases that are due but not yet swept: they expire after the reads and before the dump."""
LATE_S = BRIEF_S + LEASE_SLACK_S + 2
"""The same for cases that expire after the lease of their call."""
MODES = {
    "single": {},
    "retryable": {"retryable_after_error": True},
    "multiple": {"allow_multiple_calls": True, "retryable_after_error": True},
}
BINARY = bytes(range(256))
LARGE = b"012" * 349_525
LABELS = {f"n{number}": str(number) for number in range(13)} | {
    "a/b.c_d-e": "x:y}{z", "empty": "", "long": "ü€😀" + "v" * 197,
}  # fmt: skip


def response(**attributes):
    """Return a response of type response. `headers` are pairs."""
    return override(response_type=pb.RESPONSE_TYPE_RESPONSE, **attributes)


def redirect(url=None):
    """Return a redirect to a URL, or without one to a URL that the handler generates."""
    return override(response_type=pb.RESPONSE_TYPE_REDIRECT, response_redirect_url=url)


class Release:
    """A release's server on a store, and the cases and calls made with it."""

    def __init__(self, checkout, directory, store, handler):
        self._checkout, self._directory, self._store, self._handler = checkout, directory, store, handler
        self._bind = f"127.0.0.1:{free_port()}"
        self._calls = set()
        self._server = self.callbacks = self.edge = None
        self.made = {}  # name -> (request, answer)
        self.answered = []  # call ids
        self.scripts = {
            "accept": handler.play(answering(accept())),
            "accept with more": handler.play(
                answering(
                    accept(response(response_code=500, response_body=BINARY, headers=[("x-a", "1"), ("X-A", "é")]))
                )
            ),
            "keep open": handler.play(answering(accept(keep_open=True))),
            "reject": handler.play(answering(reject())),
            "reject with more": handler.play(answering(reject(response(response_code=409, response_body=b"no")))),
            "redirect": handler.play(answering(accept(override(response_redirect_url="/there")))),
            "invalid": handler.play(answering(b"")),
            "error": handler.play(_aborting(grpc.StatusCode.INTERNAL)),
            "late": handler.play(_aborting(grpc.StatusCode.DEADLINE_EXCEEDED)),
            "lost": handler.play(_aborting(grpc.StatusCode.UNAVAILABLE)),
            "hang": handler.play(lambda *_: asyncio.Event().wait()),
        }

    @contextlib.asynccontextmanager
    async def running(self, *, without=()):
        """Run the server, and kill it at the end of the block. The activities in `without` are not configured."""
        dead = f"127.0.0.1:{free_port()}"
        activities = {
            "push": {"target": self._handler.target, "deadline_s": 300},
            "brief": {"target": self._handler.target, "deadline_s": BRIEF_S},
            "unreachable": {"target": dead, "connect_timeout_s": 0.2},
            "gone": {"target": dead},
        }
        config = self._directory / "callback.toml"
        config.write_text(
            "\n".join(
                f"[activities.{name}]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
                for name, table in activities.items()
                if name not in without
            )
        )
        folders = ("server", "clients/python", "edge")
        self._server = Process(
            "callback_server", self._directory / "log", PYTHONPATH=":".join(str(self._checkout / f) for f in folders),
            CALLBACK_CONFIG=str(config), CALLBACK_STORE_URL=self._store.url, CALLBACK_GRPC_BIND=self._bind,
            CALLBACK_BOX_URL="https://box.example", CALLBACK_PLATFORM_URL="https://platform.example",
            CALLBACK_ADMIN_BIND="127.0.0.1:0", CALLBACK_STATE_KEY="k" * 32,
            CALLBACK_RECORDED_CALLS_PER_CASE=str(KEPT_CALLS),
        )  # fmt: skip
        await asyncio.to_thread(self._server.start)
        async with grpc.aio.insecure_channel(self._bind) as channel:
            self.callbacks = callbacks_grpc.CallbacksServiceStub(channel)
            self.edge = EdgeCalls(channel)
            yield
            self._server.kill()
            await asyncio.gather(*self._calls, return_exceptions=True)

    async def generate(self, name, activity, answer, *, script="", **more):
        """Create a case."""
        request = service.GenerateCallbackUrlRequest(
            callback_activity=activity, callback_activity_case=self.scripts.get(script, script), response=answer,
            request_id=name, **more,
        )  # fmt: skip
        self.made[name] = (request, await self.callbacks.GenerateCallbackUrl(request))
        return name

    async def call(self, name, **more):
        """Make a call, and wait until it ends, with any outcome."""
        request, made = self.made[name]
        with contextlib.suppress(grpc.aio.AioRpcError):
            answer = await self.edge.Invoke(
                edge.InvokeRequest(
                    state=made.callback_state, state_query_parameter=request.state_query_parameter,
                    **({"request_method": "get"} | more),
                )
            )  # fmt: skip
            self.answered.append(answer.call_id)

    async def begin(self, name, **more):
        """Make a call, and return when its handler has received it."""
        script = self.made[name][0].callback_activity_case
        before = len(self._handler.requests(script))
        self.start_call(name, **more)
        await wait_until(lambda: len(self._handler.requests(script)) > before, what=f"a call of {name}")

    def start_call(self, name, **more):
        """Make a call without waiting for its end."""
        self._calls.add(asyncio.create_task(self.call(name, **more)))

    async def set(self, name, answer, *paths):
        """Set the response of a case."""
        request = service.SetResponseRequest(callback_case_id=self.case_id(name), response=answer)
        request.update_mask.paths.extend(paths)
        await self.callbacks.SetResponse(request)

    async def close(self, name):
        """Close a case."""
        await self.callbacks.CloseCallback(service.CloseCallbackRequest(callback_case_id=self.case_id(name)))

    def case_id(self, name):
        """Return the id of a case."""
        return self.made[name][1].callback_case_id

    async def told(self, name):
        """Return the server's answers about a case and its calls."""
        request, made = self.made[name]
        case = await self.callbacks.GetCallback(service.GetCallbackRequest(callback_case_id=made.callback_case_id))
        listed = await self.callbacks.ListCalls(service.ListCallsRequest(callback_case_id=made.callback_case_id))
        calls = [await self.callbacks.GetCall(service.GetCallRequest(call_id=each.call_id)) for each in listed.calls]
        kept = {call.call.call_id for call in calls}
        return {
            "name": name,
            "state": made.callback_state,
            "request": MessageToDict(request),
            "case": MessageToDict(case.callback),
            "calls": [MessageToDict(call.call) for call in calls],
            "deleted": [
                call_id for call_id in self.answered if call_id.startswith(case.callback.callback_case_id)
                and call_id not in kept
            ],
        }  # fmt: skip


def _aborting(code):
    async def script(_request, context):
        await context.abort(code, "a message of the handler")

    return script


def seconds(number):
    """Return a time to live."""
    return {"time_to_live": {"seconds": number}}


async def contents(release):
    """Create cases without calls or changes, with every kind of content that a case can hold."""
    make = release.generate
    await make("plain", "record", response(response_body=b"ok"))
    await make("nothing but a type", "record", response())
    await make("empty body", "record", response(response_body=b"", response_code=204))
    await make("binary body", "record", response(response_body=BINARY, response_code=299))
    await make("large body", "record", response(response_body=LARGE))
    headers = [("content-type", "text/html"), ("Link", "</a>"), ("Link", "</é>"), ("x-empty", "")]
    await make("headers", "record", response(response_code=404, headers=headers))
    await make("no headers", "record", response(headers=[]))
    await make("redirect", "record", redirect("https://shop.example/thanks?a=b#c"))
    await make("redirect on the platform", "record", redirect("/thanks?a=b"))
    await make("redirect to be filled in", "push", redirect(), script="redirect")
    await make("everything", "push", response(response_body=b"all"), script="accept with more",
               state_query_parameter="RelayState", alternative_domain="https://pay.example:8443", labels=LABELS,
               **MODES["multiple"], **seconds(315_360_000))  # fmt: skip
    await make("one label", "record", response(), labels={"order": "5"})
    await make("activity case", "record", response(), script='ünï: "code"')
    await make("will be set", "push", response(response_body=b"old", headers=headers), script="accept")
    await release.set("will be set", response(response_body=LARGE[:69_999], response_code=201))
    await release.set("will be set", pb.Response(), "response_headers")
    await make("body taken away", "record", response(response_body=b"old"))
    await release.set("body taken away", pb.Response(), "response_body")
    await make("set to the platform", "record", response())
    await release.set("set to the platform", redirect("/there"))
    await make("set from the platform", "record", redirect("/there"))
    await release.set("set from the platform", redirect("https://shop.example/"))


async def lives(release, mode):
    """Create cases of a mode in each stage of their lives, except for timeouts."""
    make, options = release.generate, MODES[mode]
    single = mode == "single"

    async def called(what, activity, script, *, times=1):
        name = await make(f"{mode}: {what}", activity, response(response_body=b"ok"), script=script, **options)
        for number in range(times):
            await release.call(
                name, request_method="post", request_body=b"body %d" % number, request_query_string="a=1&a=%C3%BC",
                request_query=[pb.QueryParameter(name="a", value="1"), pb.QueryParameter(name="a", value="ü")],
                request_headers=[pb.Header(name="x-a", value="1"), pb.Header(name="x-a", value="é")],
                client_address="192.0.2.1",
            )  # fmt: skip
        return name

    await make(f"{mode}: open", "push", response(response_body=b"ok"), script="accept", **options)
    await make(f"{mode}: open, recorded", "record", response(response_body=b"ok"), **options)
    again = 1 if single else KEPT_CALLS + 2
    for what in ("accept", "accept with more", "reject", "reject with more", "error", "late", "lost", "invalid"):
        await called(what, "push", what, times=again)
    await called("keep open", "push", "keep open", times=KEPT_CALLS + 2)
    await called("recorded", "record", "", times=again)
    await called("unreachable", "unreachable", "", times=2)
    name = await make(f"{mode}: large request", "record", response(), **options)
    await release.call(name, request_method="put", request_body=LARGE)
    name = await make(f"{mode}: recorded on the platform", "record", redirect("/thanks"), **options)
    await release.call(name)
    await release.close(await make(f"{mode}: closed", "push", response(response_body=b"ok"), **options))
    await release.close(await called("closed after a call", "push", "keep open"))
    await make(f"{mode}: expires later", "push", response(), script="accept", **seconds(86_400), **options)


async def answer_modes(release):
    """Create cases whose callers get an answer from the case or from a person, and cases with a fallback."""
    make, ack, hold = release.generate, {"answer_mode": pb.ANSWER_MODE_ACK}, {"answer_mode": pb.ANSWER_MODE_HOLD}
    fallback = {"fallback": response(response_body=b"later"), "answer_deadline": {"nanos": 200_000_000}}
    await make("ack", "push", response(), script="accept", **ack, **MODES["multiple"])
    await make("ack, ordered", "push", response(), script="accept", ordered=True, **ack, **MODES["multiple"])
    for script in ("accept", "reject"):
        for mode in MODES:
            name = await make(f"{mode}: ack, {script}", "push", response(response_body=b"ok"), script=script, **ack,
                              **MODES[mode])  # fmt: skip
            await release.call(name, request_method="post", request_body=b"body")

            async def delivered(name=name):
                (call,) = (await release.told(name))["calls"]
                return call["delivery"]["status"] in ("DELIVERY_STATUS_DELIVERED", "DELIVERY_STATUS_DEAD")

            await wait_until(delivered, what=f"the delivery of {name}")
    await make("held", "push", response(), **hold)
    await make("form", "form", response(), **MODES["multiple"])
    for name in ("held, waiting", "held, answered"):
        await make(name, "push", response(response_body=b"ok"), **hold)
        release.start_call(name, request_method="post", request_body=b"body")

        async def waiting(name=name):
            return (await release.told(name))["calls"]

        await wait_until(waiting, what=f"a call of {name}")
    (call,) = await waiting()
    await release.callbacks.AnswerCall(service.AnswerCallRequest(call_id=call["callId"], response=response()))
    await make("fallback", "push", response(), script="accept", **fallback)
    await make("fallback, sent", "push", response(), script="hang", **fallback)
    await release.call("fallback, sent")


async def running(release, mode, activity, what, **more):
    """Create a case with one running call, or with two if its mode allows it."""
    name = await release.generate(f"{mode}: {what}", activity, response(response_body=b"as it was"), script="hang",
                                  **MODES[mode], **more)  # fmt: skip
    for number in range(2 if mode == "multiple" else 1):
        await release.begin(name, request_method="post", request_body=b"body %d" % number)
    return name


async def write(checkout, target):
    """Write the data."""
    async with contextlib.AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = stack.enter_context(own_store(directory))
        handler = await stack.enter_async_context(stub_handler())
        client = await stack.enter_async_context(redis.asyncio.Redis(port=store.port))
        release = Release(checkout, directory, store, handler)
        async with release.running():
            await contents(release)
            for mode in MODES:
                await lives(release, mode)
                await release.generate(f"{mode}: gone", "gone", response(), **MODES[mode])
                await release.generate(f"{mode}: expired", "push", response(), **MODES[mode], **seconds(1))
                await running(release, mode, "push", "expired while a call runs", **seconds(2))
            for mode in MODES:
                await running(release, mode, "brief", "interrupted")
        await asyncio.sleep(BRIEF_S + LEASE_SLACK_S)
        async with release.running(without=["gone"]):
            for mode in MODES:
                await release.call(f"{mode}: gone")
                await release.set(await running(release, mode, "push", "running"), response(response_body=b"as it is"))
                await release.close(await running(release, mode, "push", "closed while a call runs"))
                await running(release, mode, "push", "running, expires later", **seconds(86_400))

            async def swept():
                told = await asyncio.gather(*(release.told(f"{mode}: {what}") for mode, what in itertools.product(
                    MODES, ("interrupted", "expired", "expired while a call runs"))))  # fmt: skip
                due = [("OPEN", "RUNNING"), ("IN_PROGRESS", "RUNNING"), ("OPEN", None)]
                return all(
                    (each["case"]["status"].removeprefix("CALLBACK_STATUS_"),
                     each["calls"][0]["status"].removeprefix("CALL_STATUS_") if each["calls"] else None) not in due
                    for each in told
                )  # fmt: skip

            await wait_until(swept, what="a sweep")
            for mode in MODES:
                await release.generate(f"{mode}: expiry due", "push", response(), **MODES[mode], **seconds(DUE_S))
                await running(release, mode, "push", "expiry due while a call runs", **seconds(DUE_S))
                await running(release, mode, "brief", "lease due")
                await running(release, mode, "brief", "expiry due before the lease", **seconds(DUE_S))
                await running(release, mode, "brief", "lease due before the expiry", **seconds(LATE_S))
            await answer_modes(release)
            told = [await release.told(name) for name in release.made]
        await asyncio.sleep(LATE_S + 1)
        now_ms = await store_now_ms(client)
        (target / "store.jsonl").write_text("\n".join(await dumped(client, now_ms)) + "\n")
        (target / "expected.jsonl").write_text("".join(json.dumps(marked(each, now_ms)) + "\n" for each in told))


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]).resolve(), Path(sys.argv[2])))
