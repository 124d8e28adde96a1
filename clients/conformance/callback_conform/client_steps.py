"""The steps of the scenarios of clients."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message

from callback.v1.callbacks_service_pb2_grpc import add_CallbacksServiceServicer_to_server
from callback_conform.changes import PATIENCE_S, ScenarioError
from callback_conform.client_server import ClientServer, Request, reply_class
from callback_conform.program import Launch
from callback_conform.runner import UNKNOWN_FIELD, Runner
from callback_conform.scenarios import Step

_T = TypeVar("_T")
QUIET_S: Final = 0.5
"""How long a step waits for requests that must not come, in seconds, unless it says so."""


class ClientRunner(Runner):
    """The scripted server of clients, and the client driver under test."""

    def __init__(self, launch: Launch, *, patience_s: float = PATIENCE_S, time_factor: float = 1) -> None:
        super().__init__(launch, patience_s=patience_s, time_factor=time_factor)
        self._server = ClientServer(self._changes)
        self._taken: list[Request] = []
        """The requests that the steps of the scenario have taken, in order."""

    def _add_to(self, server: grpc.aio.Server) -> None:
        """Add the service of clients."""
        add_CallbacksServiceServicer_to_server(cast("Any", self._server), server)

    def _begin_program(self) -> Mapping[str, str]:
        """Forget the requests of the program before."""
        self._server.requests.clear()
        return {}

    def _broken(self) -> list[str]:
        """No rule holds for each request."""
        return []

    def _check_end(self) -> None:
        """Check that the client sent no request that no step has taken."""
        if left := [each.method for each in self._server.requests]:
            raise ScenarioError(f"the client also sent {', '.join(left)}")

    def _end_scenario(self) -> None:
        """End the requests that are open."""
        for request in (*self._taken, *self._server.requests):
            request.send({"code": "CANCELLED", "message": "the scenario is over"})
        self._taken.clear()
        self._server.requests.clear()

    async def _step_command(self, step: Step) -> None:
        """Send a command to the driver."""
        self._running().write(json.dumps(step["command"]))

    async def _step_request(self, step: Step) -> None:
        """Wait for the next request, compare it, and answer it."""
        method = step["request"]
        request = await self._next(self._server.requests, f"request {method}", step)
        earlier = self._taken[-1] if self._taken else None
        self._taken.append(request)
        if request.method != method:
            raise ScenarioError(f"the client sent {request.method}")
        actual = json_format.MessageToDict(request.message, preserving_proto_field_name=True)
        if problem := _difference(actual, step.get("with", {}), "the request"):
            raise ScenarioError(problem)
        if (token := step.get("token")) is not None and request.token != token:
            raise ScenarioError(f"the token is {request.token!r}, not {token!r}")
        if step.get("is_sent_again") and (earlier is None or earlier.message != request.message):
            raise ScenarioError("the request differs from the one before")
        if step.get("is_new") and any(_request_id(each) == _request_id(request) for each in self._taken[:-1]):
            raise ScenarioError(f"the request_id {_request_id(request)!r} is that of an earlier request")
        if earlier is not None and (least := step.get("after_s", 0) * self._time_factor) > request.time - earlier.time:
            raise ScenarioError(f"it came {request.time - earlier.time:.2f} s after the one before, not {least:g} s")
        if (most := step.get("deadline_s")) is not None and (request.remaining_s is None or request.remaining_s > most):
            raise ScenarioError(f"its deadline is in {request.remaining_s} s, not in at most {most} s")
        if (least := step.get("least_deadline_s", 0)) > (request.remaining_s or math.inf):
            raise ScenarioError(f"its deadline is in {request.remaining_s} s, not in at least {least} s")
        self._answer(request, step)

    def _answer(self, request: Request, step: Step) -> None:
        for given in step.get("replies", [step["reply"]] if "reply" in step else []):
            reply: Message = json_format.ParseDict(given, reply_class(request.method)())
            if step.get("unknown_field"):
                reply.MergeFromString(UNKNOWN_FIELD)
            request.send(reply)
        if "refuse" in step:
            request.send(step["refuse"])

    async def _step_more(self, step: Step) -> None:
        """Send more replies to the last request of this method."""
        request = next(each for each in reversed(self._taken) if each.method == step["more"])
        self._answer(request, step)

    async def _next(self, waiting: list[_T], what: str, step: Step) -> _T:
        """Return the first request or line that waits, once there is one."""
        program = self._running()

        def take() -> _T | None:
            if not waiting and program.exit_code is not None:
                raise ScenarioError(f"the driver has ended with {program.exit_code}")
            return waiting.pop(0) if waiting else None

        return await self._changes.wait_for(take, what, self._within_s(step))

    async def _step_cut(self, _step: Step) -> None:
        """Break the connections that there are."""
        for relay in self._relays:
            relay.cut()

    async def _step_result(self, step: Step) -> None:
        """Wait for the result of the command, and compare it."""
        line = await self._next(self._running().lines, "result", step)
        try:
            actual = json.loads(line)
        except ValueError:
            raise ScenarioError(f"the line {line!r} is no JSON") from None
        if problem := _difference(actual, step["result"], "the result"):
            raise ScenarioError(problem)

    async def _step_quiet(self, step: Step) -> None:
        """Check that no request comes for a moment."""
        requests = self._server.requests
        await self._changes.never(lambda: requests or None, "request", step.get("for_s", QUIET_S) * self._time_factor)


def _request_id(request: Request) -> str:
    return str(getattr(request.message, "request_id", ""))


def _difference(actual: Any, wanted: Any, where: str) -> str | None:
    """Return how a value differs from what a scenario expects; objects may have more than that."""
    if isinstance(wanted, Mapping) and isinstance(actual, Mapping):
        for name, value in wanted.items():
            if name not in actual:
                return f"{where} has no {name}: {json.dumps(actual)}"
            if problem := _difference(actual[name], value, f"{name} of {where}"):
                return problem
        return None
    if isinstance(wanted, list) and isinstance(actual, list) and len(wanted) == len(actual):
        found = (
            _difference(*pair, f"item {at} of {where}") for at, pair in enumerate(zip(actual, wanted, strict=True))
        )
        return next((problem for problem in found if problem), None)
    return None if actual == wanted else f"{where} is {json.dumps(actual)}, not {json.dumps(wanted)}"
