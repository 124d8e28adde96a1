"""The steps of the scenarios of workers."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from callback.v1 import callback_handler_service_pb2 as handler_pb
from callback.v1 import callback_pb2
from callback.v1 import worker_service_pb2 as pb
from callback.v1.worker_service_pb2_grpc import add_WorkerServiceServicer_to_server
from callback_conform.changes import PATIENCE_S, ScenarioError
from callback_conform.program import Launch
from callback_conform.runner import NEVER_S, UNKNOWN_FIELD, Runner
from callback_conform.scenarios import MAX_PLAIN, Step, plain
from callback_conform.worker_server import ACTIVITY, MANY_CALLS, MAX_CALLS, Stream, WorkerServer

LONG_VALUE: Final = "x" * 7680
"""The value of a long header."""


class WorkerRunner(Runner):
    """The scripted server of workers, and the worker under test."""

    def __init__(self, launch: Launch, *, patience_s: float = PATIENCE_S, time_factor: float = 1) -> None:
        super().__init__(launch, patience_s=patience_s, time_factor=time_factor)
        self._server = WorkerServer(self._changes)
        self._streams: dict[str, Stream] = {}
        self._stream: Stream | None = None

    def _add_to(self, server: grpc.aio.Server) -> None:
        """Add the service of workers."""
        add_WorkerServiceServicer_to_server(self._server, server)

    def _begin_program(self) -> Mapping[str, str]:
        """Forget the streams of the program before."""
        self._server.opened.clear()
        self._server.attempts.clear()
        self._server.max_calls = MANY_CALLS if "slots" in self._kind else MAX_CALLS
        return {
            "CALLBACK_ACTIVITY": ACTIVITY,
            "CALLBACK_MAX_CALLS": str(self._server.max_calls),
            "CALLBACK_RUNS": "2" if "two runs" in self._kind else "1",
        }

    # ---- Streams and what they say ----

    def _current(self) -> Stream:
        if self._stream is None:
            raise ScenarioError("the scenario has no stream yet")
        return self._stream

    def _broken(self) -> list[str]:
        """Return how the worker has broken the protocol."""
        streams = {*self._streams.values(), *self._server.opened}
        broken = [*self._server.broken, *(each for stream in streams for each in stream.broken)]
        return [f"the worker broke the protocol: {each}" for each in broken]

    def _check_end(self) -> None:
        """Check that the worker sent nothing that no step has taken."""
        for stream in self._streams.values():
            if left := [each.WhichOneof("message") for each in stream.received]:
                raise ScenarioError(f"the worker also sent {', '.join(map(str, left))}")

    def _end_scenario(self) -> None:
        """End the streams: the next scenario begins with a new one."""
        for stream in {*self._streams.values(), *self._server.opened}:
            stream.end({"code": "UNAVAILABLE", "message": "the scenario is over"})
        self._server.opened.clear()
        self._server.refusal = None
        self._server.broken.clear()
        self._streams, self._stream = {}, None

    # ---- Steps ----

    async def _step_connect(self, step: Step) -> None:
        """Take the next stream of the worker, and welcome it. Streams are refused no more."""
        self._server.refusal = None
        stream = await self._changes.wait_for(self._next_opened, "stream", self._within_s(step))
        if (token := step.get("token")) is not None and stream.token != token:
            raise ScenarioError(f"the token is {stream.token!r}, not {token!r}")
        if any(stream.peer == each.peer for each in self._streams.values() if not each.has_ended):
            raise ScenarioError("S2: two streams have the same connection")
        if (epochs := step.get("store_epochs")) is not None and stream.hello.store_epochs != epochs.encode():
            raise ScenarioError(f"store_epochs in Hello is {stream.hello.store_epochs!r}, not {epochs.encode()!r}")
        self._streams[step["connect"]] = self._stream = stream
        if step.get("welcome", True):
            welcome = pb.Welcome(store_epochs=step.get("welcome_epochs", "").encode())
            stream.send(pb.WorkResponse(messages=[pb.ServerMessage(welcome=welcome)]))

    def _next_opened(self) -> Stream | None:
        self._server.opened = [each for each in self._server.opened if not each.has_ended]
        if self._server.opened:
            return self._server.opened.pop(0)
        self._check_runs()
        return None

    def _check_runs(self) -> None:
        if (code := self._running().exit_code) is not None:
            raise ScenarioError(f"the program has ended, with the exit code {code}")

    async def _step_use(self, step: Step) -> None:
        """Choose the stream of the next steps."""
        self._stream = self._streams[step["use"]]

    async def _step_send(self, step: Step) -> None:
        """Send messages, in one batch."""
        stream = self._current()
        messages = [_message(each, stream.max_message_bytes) for given in step["send"] for each in _each(given)]
        stream.send(pb.WorkResponse(messages=messages))

    async def _step_expect(self, step: Step) -> None:
        """Wait for messages of the worker, and compare them."""
        for wanted in _each(step["expect"]):
            await self._expect(wanted, self._within_s(step))

    async def _expect(self, wanted: Mapping[str, Any], within_s: float | None) -> None:
        stream = self._current()
        (kind,) = [each for each in wanted if each in ("accept", "result", "drain")]

        def take() -> pb.WorkerMessage | None:
            for message in stream.received:
                if message.WhichOneof("message") == kind and (
                    kind == "drain" or getattr(message, kind).call_id == wanted[kind]
                ):
                    stream.received.remove(message)
                    return message
            if stream.has_ended:
                raise ScenarioError(f"the worker ended the stream before {kind}")
            return None

        message = await self._changes.wait_for(take, kind, within_s)
        if wanted.get("accept_is_optional"):
            stream.received = [each for each in stream.received if each.accept.call_id != wanted[kind]]
        if kind == "result" and (problem := result_difference(message.result, wanted)):
            raise ScenarioError(problem)

    async def _step_batches(self, step: Step) -> None:
        """Check how many batches the worker has sent on the stream."""
        if (count := self._current().batches) > (most := step["batches"]["at_most"]):
            raise ScenarioError(f"M1: there are {count} batches, not {most} or fewer")

    async def _step_never(self, step: Step) -> None:
        """Wait a moment for what must not happen: a line, a message, a stream, or the end of the stream."""
        wanted = step["never"]
        (kind,) = wanted

        def find() -> bool | None:
            match kind:
                case "line":
                    return wanted["line"] in self._running().lines or None
                case "stream":
                    return bool(self._server.opened) or None
                case "end":
                    return self._current().has_ended or None
            return any(each.WhichOneof("message") == kind for each in self._current().received) or None

        await self._changes.never(
            find, f"{kind} {wanted[kind] or ''}".strip(), step.get("for_s", NEVER_S) * self._time_factor
        )

    async def _step_end(self, step: Step) -> None:
        """End the stream."""
        self._current().end(step["end"])

    async def _step_ended(self, step: Step) -> None:
        """Wait until the worker has ended the stream, or has left it."""
        stream = self._current()
        await self._changes.wait_for(lambda: stream.has_ended or None, "end of the stream", self._within_s(step))

    async def _step_refuse(self, step: Step) -> None:
        """Refuse each new stream from now on."""
        self._server.refusal = step["refuse"]
        self._server.attempts.clear()

    async def _step_attempts(self, step: Step) -> None:
        """Wait for so many streams, and check the pauses between them."""
        wanted = step["attempts"]
        pauses = await self._pauses(wanted["count"], step)
        if "longest_s" in wanted and (longest := max(pauses)) > wanted["longest_s"] * self._time_factor:
            raise ScenarioError(f"S4: a pause is {longest:.2f} s long")
        if (full := wanted.get("jitter_s")) and not self._is_one_shorter(pauses, full):
            # The time to connect can hide it: judge more pauses, which are as long as the last one.
            pauses = await self._pauses(wanted["count"] + 4, step)
            if not self._is_one_shorter(pauses, full):
                said = ", ".join(f"{pause:.2f}" for pause in pauses)
                raise ScenarioError(f"S4: no pause of {said} s is shortened at random: there is no jitter")
        for number, (pause, least) in enumerate(zip(pauses, wanted.get("pauses_s", ()), strict=False), 1):
            if pause < least * self._time_factor:
                raise ScenarioError(f"pause {number} is {pause:.2f} s, not {least} s or more")

    async def _pauses(self, count: int, step: Step) -> list[float]:
        """Wait for so many streams, and return the pauses between them."""
        attempts = self._server.attempts

        def find() -> bool | None:
            if len(attempts) < count:
                self._check_runs()
            return len(attempts) >= count or None

        await self._changes.wait_for(find, f"{count} attempts", self._within_s(step))
        return [later - earlier for earlier, later in itertools.pairwise(attempts)]

    def _is_one_shorter(self, pauses: Sequence[float], full: Sequence[float]) -> bool:
        """Return whether one of the pauses is shorter than without jitter: as `full`, and then as its last."""
        limits = itertools.chain(full, itertools.repeat(full[-1]))
        return any(pause < limit * self._time_factor for pause, limit in zip(pauses, limits, strict=False))


def _each(given: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the message, or as many as `count` says, with the ids ID1, ID2 and so on."""
    if "count" not in given:
        return [given]
    (kind,) = given.keys() & {"offer", "confirm", "accept", "result"}
    return [{**given, kind: f"{given[kind]}{number}"} for number in range(1, given["count"] + 1)]


def _message(given: Mapping[str, Any], max_message_bytes: int) -> pb.ServerMessage:
    (kind,) = [each for each in given if each in _MESSAGES]
    return _MESSAGES[kind](given, max_message_bytes)


def offered(given: Mapping[str, Any], max_message_bytes: int) -> pb.ServerMessage:
    """Return the offer of a call, as a scenario describes it."""
    timeout_s, now = given.get("timeout_s", 60), time.time()
    reason = given.get("reason", "CALL")
    number = reason if isinstance(reason, int) else callback_pb2.CallReason.Value(f"CALL_REASON_{reason}")
    headers = [*given.get("headers", ()), *[("x-value", LONG_VALUE)] * given.get("long_values", 0)]
    offer = handler_pb.HandleCallbackRequest(
        call_id=given["offer"],
        callback_system_case=f"case-of-{given['offer']}",
        callback_activity=given.get("activity", ACTIVITY),
        callback_activity_case=given.get("do", "accept"),
        attempt=1,
        request_method="post",
        request_headers=[callback_pb2.Header(name=name, value=value) for name, value in headers],
        request_query=[callback_pb2.QueryParameter(name=name, value=value) for name, value in given.get("query", ())],
        request_body=bytes(given.get("body_bytes", 0)),
        response=callback_pb2.Response(response_type=callback_pb2.RESPONSE_TYPE_RESPONSE, response_code=200),
        deadline=_time(now + timeout_s - given.get("clock_behind_s", 0)),
        timeout=Duration(seconds=timeout_s),
        reason=cast("callback_pb2.CallReason.ValueType", number),
        owner="conform",
    )
    if given.get("unknown_field"):
        offer.MergeFromString(UNKNOWN_FIELD)
    message = pb.ServerMessage(offer=offer)
    if given.get("is_largest"):
        _fill(message, max_message_bytes)
    return message


def _fill(message: pb.ServerMessage, size: int) -> None:
    """Make the body so long that a batch with this message alone has `size` bytes."""
    offer = message.offer
    offer.request_body = bytes(size - 1000)
    offer.request_body = bytes(size - 1000 + size - pb.WorkResponse(messages=[message]).ByteSize())


def _time(seconds: float) -> Timestamp:
    made = Timestamp()
    made.FromMilliseconds(round(seconds * 1000))
    return made


_MESSAGES: Final[Mapping[str, Callable[[Mapping[str, Any], int], pb.ServerMessage]]] = {
    "offer": offered,
    "confirm": lambda given, _: pb.ServerMessage(confirm=pb.Confirm(call_id=given["confirm"])),
    "withdraw": lambda given, _: pb.ServerMessage(withdraw=pb.Withdraw(call_id=given["withdraw"])),
    "drain": lambda _given, _: pb.ServerMessage(drain=pb.Drain()),
    "store_epochs": lambda given, _: pb.ServerMessage(store_epochs=given["store_epochs"].encode()),
    "answer_refused": lambda given, _: pb.ServerMessage(
        answer_refused=handler_pb.RefuseAnswerRequest(
            call_id=given["answer_refused"], callback_activity=ACTIVITY, problem="a test"
        )
    ),
    "unknown": lambda _given, _: pb.ServerMessage.FromString(UNKNOWN_FIELD),
}


def result_difference(result: pb.Result, wanted: Mapping[str, Any]) -> str | None:
    """Return how a Result differs from what a scenario expects; None if it does not."""
    outcome = str(result.WhichOneof("outcome"))
    if outcome not in (outcomes := wanted.get("outcome", "response").split(" or ")) and outcomes != ["any"]:
        said = f": {result.error}" if outcome == "error" else ""
        return f"the outcome is {outcome}{said}, not {' or '.join(outcomes)}"
    answer = result.response
    actual = {
        "verdict": handler_pb.Verdict.Name(answer.verdict).removeprefix("VERDICT_"),
        "code": answer.response.response_code,
        "body_bytes": len(answer.response.response_body),
        "headers": [[each.name.lower(), each.value] for each in answer.response.response_headers.headers],
    }
    for name, value in actual.items():
        if name in wanted and value != wanted[name]:
            return f"{name} is {plain(value)}, not {plain(wanted[name])}{_first_difference(value, wanted[name])}"
    return None


def _first_difference(actual: Any, wanted: Any) -> str:
    """Return where the first texts that differ begin to differ, if they are too long to be shown; else nothing."""
    if isinstance(actual, list) and isinstance(wanted, list):
        return next((_first_difference(*pair) for pair in zip(actual, wanted, strict=False) if pair[0] != pair[1]), "")
    if not (isinstance(actual, str) and isinstance(wanted, str) and len(wanted) > MAX_PLAIN):
        return ""
    same = next((at for at, (one, other) in enumerate(zip(actual, wanted, strict=False)) if one != other), len(wanted))
    return f": character {same + 1} is {actual[same : same + 1]!a}, not {wanted[same : same + 1]!a}"
