"""The steps of the scenarios of handler servers: the suite calls the program, as a Callback server does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any

import grpc

from callback.v1 import callback_handler_service_pb2 as pb
from callback.v1 import worker_service_pb2
from callback.v1.callback_handler_service_pb2_grpc import CallbackHandlerServiceStub
from callback_conform.changes import PATIENCE_S, ScenarioError
from callback_conform.program import Launch
from callback_conform.runner import NEVER_S, OPTIONS, Runner
from callback_conform.scenarios import Step
from callback_conform.worker_server import ACTIVITY
from callback_conform.worker_steps import offered, result_difference

_DEFAULT_MAX_MESSAGE_BYTES = 4 * 1024 * 1024


class HandlersRunner(Runner):
    """The caller of a handler server, and the handler server under test."""

    def __init__(self, launch: Launch, *, patience_s: float = PATIENCE_S, time_factor: float = 1) -> None:
        super().__init__(launch, patience_s=patience_s, time_factor=time_factor)
        self._address = ""
        self._channel: grpc.aio.Channel | None = None
        self._calls: dict[str, asyncio.Task[Any]] = {}
        """The calls of the scenario, by id, until a step takes the answer."""

    def _add_to(self, server: grpc.aio.Server) -> None:
        """Add nothing: the program is the server."""

    def _begin_program(self) -> Mapping[str, str]:
        """Choose the address at which the program listens."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{free.getsockname()[1]}"
        self._channel = None
        return {"CALLBACK_ACTIVITY": ACTIVITY, "CALLBACK_ADDRESS": self._address}

    def _broken(self) -> list[str]:
        """No rule holds for each message."""
        return []

    def _check_end(self) -> None:
        """Check that each call was looked at."""
        if self._calls:
            raise ScenarioError(f"the scenario leaves the calls {', '.join(self._calls)}")

    def _end_scenario(self) -> None:
        """Cancel the calls that are open."""
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()

    def _stub(self) -> CallbackHandlerServiceStub:
        if self._channel is None:
            reconnect = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 200)]
            self._channel = grpc.aio.insecure_channel(self._address, options=[*OPTIONS, *reconnect])
        return CallbackHandlerServiceStub(self._channel)

    async def _step_call(self, step: Step) -> None:
        """Send a call, or a notification if it has such a `reason`."""
        request = offered({"offer": step["call"], **step}, _DEFAULT_MAX_MESSAGE_BYTES).offer
        timeout_s = step.get("timeout_s", 60)
        stub = self._stub()
        rpc: Any = (
            stub.HandleCallback(request, timeout=timeout_s, wait_for_ready=True)
            if step.get("reason", "CALL") == "CALL"
            else stub.HandleNotification(
                pb.HandleNotificationRequest(notification=request), timeout=timeout_s, wait_for_ready=True
            )
        )
        task = asyncio.create_task(self._answer(rpc))
        task.add_done_callback(lambda _: self._changes.notify())
        self._calls[step["call"]] = task

    async def _answer(self, rpc: Any) -> Any:
        try:
            return await rpc
        except grpc.aio.AioRpcError as error:
            return error

    async def _step_answer(self, step: Step) -> None:
        """Wait for the answer of a call, and compare it: a decision, or an error with one of these `codes`."""
        call = self._calls[step["answer"]]
        within_s = self._within_s(step)
        given = await self._changes.wait_for(lambda: call.result() if call.done() else None, "answer", within_s)
        del self._calls[step["answer"]]
        self._require_running(step)
        wanted = step.get("codes")
        if isinstance(given, grpc.aio.AioRpcError):
            if wanted is None or given.code().name not in wanted:
                raise ScenarioError(f"the call ended with {given.code().name}: {given.details()}")
        elif wanted is not None:
            raise ScenarioError(f"the call has a decision, and no error {' or '.join(wanted)}")
        else:
            decision = given.decision if isinstance(given, pb.HandleNotificationResponse) else given
            if problem := result_difference(worker_service_pb2.Result(response=decision), step):
                raise ScenarioError(problem)

    def _require_running(self, step: Step) -> None:
        if (code := self._running().exit_code) is not None and not step.get("may_exit"):
            raise ScenarioError(f"the program has ended, with the exit code {code}")

    async def _step_cancel_call(self, step: Step) -> None:
        """Cancel a call, as a server that stops does."""
        self._calls.pop(step["cancel_call"]).cancel()

    async def _step_refuse_answer(self, step: Step) -> None:
        """Report that an answer cannot be rendered. The program may leave this RPC unimplemented."""
        request = pb.RefuseAnswerRequest(call_id=step["refuse_answer"], callback_activity=ACTIVITY, problem="a test")
        reply = await self._answer(self._stub().RefuseAnswer(request, timeout=20, wait_for_ready=True))
        if isinstance(reply, grpc.aio.AioRpcError) and reply.code() is not grpc.StatusCode.UNIMPLEMENTED:
            raise ScenarioError(f"the report ended with {reply.code().name}: {reply.details()}")

    async def _step_never(self, step: Step) -> None:
        """Wait a moment for a line that must not come."""
        line = step["never"]["line"]
        for_s = step.get("for_s", NEVER_S) * self._time_factor
        await self._changes.never(lambda: line in self._running().lines or None, f"line {line}", for_s)
