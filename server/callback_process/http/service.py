"""What a listener asks of the program that answers its requests, and what the program says of its limits."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from callback_process.http.answer import HttpAnswer
from callback_process.http.callers import Caller
from callback_process.http.turns import Turns

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits of a listener. Sizes are in bytes, times in seconds. 0 for an address: no limit."""

    max_connections: int
    max_connections_per_address: int
    head_timeout_s: float
    keep_alive_timeout_s: float
    body_limit_bytes: int


class Record(Protocol):
    """Record of one request, from its head to the end of the response."""

    caller: Caller
    """Caller of the request."""

    @property
    def waits_for_turn(self) -> bool:
        """Whether a complete answer waits for its turn, because it costs as much as one that matters more."""

    def set_answer(self, status: int, size: int) -> None:
        """Record the status of the response and the size of its body."""

    def set_sent(self) -> None:
        """Record that the complete response was sent."""

    def end(self, request_bytes: int) -> None:
        """End it, with the bytes of the body that were read."""


class Client(Protocol):
    """The client of a connection, as the answer to its current request uses it."""

    @property
    def awaits_continue(self) -> bool:
        """Whether the client sends the body only after a 100 (Continue), or after some time."""

    async def send_continue(self) -> None:
        """Send a 100 (Continue)."""

    async def answer(self, answer: HttpAnswer, *, is_last: bool = False) -> None:
        """Send a complete response to the current request. `is_last`: whether the connection ends with it."""


class Service(Protocol):
    """Program that answers requests."""

    fixed_headers: ClassVar[Sequence[tuple[str, str]]]
    """Headers of every response, besides the date. A header of an `HttpAnswer` replaces the one of the same name."""
    receives_disconnect: ClassVar[bool]
    """Whether it gets `http.disconnect` when a caller has gone, as ASGI has it. Otherwise the answer is cancelled."""
    takes_pipelined: ClassVar[bool]
    """Whether a request that came before the response to the one before it is answered. Otherwise the connection ends
    with that response, as every server may end it (RFC 9112, section 9.3.2)."""
    turns: Turns
    """Turns of refusals, and of what is read of them."""

    def start(self, caller: Caller, method: str = "", target: bytes = b"") -> Record:
        """Return the record of a request. Without a method, the request could not be read."""

    def refuse(self, status: int, record: Any, headers: Sequence[tuple[bytes, bytes]] = ()) -> HttpAnswer:
        """Return the answer to a request that no program sees.

        Args:
            status: 400, 405, 408 (no head), 413, 431, 501, 505; 429 or 503 for a connection beyond a limit.
            record: The record of the request.
            headers: Its headers, as far as they were read.
        """

    async def serve(self, record: Any, scope: Any, receive: Receive, send: Send, client: Client) -> None:
        """Answer a request: by `client.answer`, or as ASGI has it, by `send`."""

    def count_connections(self, change: int) -> None:
        """Count connections that were opened, or fewer if it is negative."""

    def count_limited(self, limit: str) -> None:
        """Count a connection that a limit refused, by the name of the limit."""
