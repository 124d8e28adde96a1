"""Runs scenarios, one after the other, with one program for as long as they pass: what workers and clients share."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, Self

import grpc

from callback_conform.certificates import make_certificates
from callback_conform.changes import PATIENCE_S, Changes, ScenarioError
from callback_conform.program import Launch, Program
from callback_conform.relay import Relay
from callback_conform.scenarios import Scenario, Step, plain

OPTIONS: Final[list[tuple[str, int]]] = [
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
    # As the real server: it disconnects a program that pings more often than every 4 s.
    ("grpc.http2.min_ping_interval_without_data_ms", 4_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.so_reuseport", 0),
]
NEVER_S: Final = 0.3
"""How long a step waits for what must not happen, in seconds, unless it says so."""
_REFUSING_PORT: Final = 1
"""A port at which nothing listens."""
UNKNOWN_FIELD: Final = b"\xc2\x3e\x03new"
"""A field with the number 1000, which no release has."""


class Runner(ABC):
    """The scripted server and the program under test. Use it as an async context manager.

    A method `_step_NAME` runs the steps with the key NAME.
    """

    def __init__(self, launch: Launch, *, patience_s: float = PATIENCE_S, time_factor: float = 1) -> None:
        """Create a runner.

        Args:
            launch: Starts the program under test.
            patience_s: How long a step waits for what a correct program does at once, in seconds.
            time_factor: A factor for the times in the scenarios. Below 1 for a program whose own times are as short.
        """
        self._launch = launch
        self._time_factor = time_factor
        self._changes = Changes(patience_s)
        self._program: Program | None = None
        self._kind: frozenset[str] = frozenset()
        """What the program has of the `needs` of scenarios, besides `fresh`."""

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._token_file = self._folder / "token"
        self._ca_file = self._folder / "ca.pem"
        certificates = make_certificates()
        self._authority = certificates.authority
        server = grpc.aio.server(options=OPTIONS)
        self._add_to(server)
        self._relays = []
        credentials = grpc.ssl_server_credentials([(certificates.key, certificates.certificate)])
        for port in (
            server.add_insecure_port("127.0.0.1:0"),
            server.add_secure_port("127.0.0.1:0", credentials),
        ):
            self._relays.append(await self._stack.enter_async_context(Relay(port)))
        await server.start()
        self._stack.push_async_callback(server.stop, 0)
        self._stack.push_async_callback(self._kill)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()

    async def run(self, scenario: Scenario) -> str | None:
        """Run a scenario, and return what the program did wrong; None if nothing."""
        kind = scenario.needs - {"fresh"}
        is_usable = self._program is not None and self._program.exit_code is None and kind == self._kind
        if not is_usable or "fresh" in scenario.needs:
            await self._start(kind)
        problem: str | None = None
        try:
            for number, step in enumerate(scenario.steps, 1):
                try:
                    (method,) = [found for name in step if (found := getattr(self, f"_step_{name}", None)) is not None]
                    await method(step)
                    if broken := self._broken():
                        raise ScenarioError("; ".join(broken))
                except ScenarioError as error:
                    raise ScenarioError(f"step {number}, {plain(step)}: {error}") from None
            self._check_end()
        except ScenarioError as error:
            problem = "\n".join([str(error), *(each for each in self._broken() if each not in str(error))])
        self._end_scenario()
        for relay in self._relays:
            relay.hold(False)
            await relay.be_away(False)
        if problem is not None or "fresh" in scenario.needs:
            await self._kill()
        if self._program is not None:
            self._program.lines.clear()
        return problem

    @abstractmethod
    def _add_to(self, server: grpc.aio.Server) -> None:
        """Add the scripted services to the server."""

    @abstractmethod
    def _begin_program(self) -> Mapping[str, str]:
        """Prepare for a new program of `_kind`, and return its environment variables besides the common ones."""

    @abstractmethod
    def _broken(self) -> list[str]:
        """Return how the program has broken the rules that hold always."""

    @abstractmethod
    def _check_end(self) -> None:
        """Raise a ScenarioError if the program did more than the scenario expects."""

    @abstractmethod
    def _end_scenario(self) -> None:
        """Forget what belongs to the scenario."""

    # ---- The program ----

    async def _start(self, kind: frozenset[str]) -> None:
        await self._kill()
        self._kind = kind
        is_tls = "tls" in kind
        truncated = make_certificates().authority[:-40] if "truncated authorities" in kind else b""
        self._ca_file.write_bytes(self._authority + truncated)
        self._token_file.write_text("" if "empty token" in kind else "first")
        host = "localhost" if (is_tls and "address" not in kind) or "name" in kind else "127.0.0.1"
        first = f"127.0.0.1:{_REFUSING_PORT}," if "list" in kind else ""
        variables = {
            "CALLBACK_TARGET": f"{first}{host}:{self._relays[is_tls].port}",
            "CALLBACK_CA_FILE": str(self._ca_file) if is_tls else "",
            "CALLBACK_TOKEN_FILE": str(self._token_file),
            **self._begin_program(),
        }
        self._program = await self._launch(variables, self._changes)

    async def _kill(self) -> None:
        if self._program is not None:
            await self._program.kill()
            self._program = None

    def _running(self) -> Program:
        if self._program is None:
            raise ScenarioError("no program runs")
        return self._program

    def _within_s(self, step: Step) -> float | None:
        return step["within_s"] * self._time_factor if "within_s" in step else None

    # ---- Steps ----

    async def _step_terminate(self, _step: Step) -> None:
        """Ask the program to stop, as SIGTERM does."""
        self._running().terminate()

    async def _step_exit(self, step: Step) -> None:
        """Wait for the end of the program."""
        program = self._running()
        code = await self._changes.wait_for(lambda: program.exit_code, "end of the program", self._within_s(step))
        if (code == 0) is not (step["exit"] == "ok"):
            raise ScenarioError(f"the exit code is {code}")

    async def _step_token_file(self, step: Step) -> None:
        """Replace the token in the file, at once; null: remove the file."""
        if step["token_file"] is None:
            self._token_file.unlink()
        else:
            self._replace(self._token_file, step["token_file"])

    async def _step_more_authorities(self, _step: Step) -> None:
        """Add another authority to the file, at once."""
        self._replace(self._ca_file, self._ca_file.read_text() + make_certificates().authority.decode())

    async def _step_unusable_authorities(self, _step: Step) -> None:
        """Replace the file with the authorities by one without any, at once."""
        self._replace(self._ca_file, "none")

    def _replace(self, file: Path, text: str) -> None:
        made = self._folder / "new"
        made.write_text(text)
        made.rename(file)

    async def _step_freeze(self, _step: Step) -> None:
        """Forward nothing more on the connections that there are."""
        for relay in self._relays:
            relay.freeze()

    async def _step_away(self, step: Step) -> None:
        """Break the connections that there are and refuse new ones; false: accept these again."""
        for relay in self._relays:
            await relay.be_away(step["away"])

    async def _step_hold(self, step: Step) -> None:
        """Hold back what the program sends on the connections that there are; false: forward it again."""
        for relay in self._relays:
            relay.hold(step["hold"])

    async def _step_line(self, step: Step) -> None:
        """Wait for a line of the program."""
        program, line = self._running(), step["line"]
        try:
            await self._changes.wait_for(lambda: _take(program.lines, line), f"line {line!r}", self._within_s(step))
        except ScenarioError:
            if not step.get("is_optional"):
                raise


def _take(lines: list[str], line: str) -> bool | None:
    if line not in lines:
        return None
    lines.remove(line)
    return True
