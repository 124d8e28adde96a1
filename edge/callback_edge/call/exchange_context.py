"""What a connection gives to the exchange of its current request. ASGI carries it in the scope's state."""

from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from callback_edge.call.request_record import RequestRecord
from callback_edge.http_answer import HttpAnswer
from callback_edge.limits.pace import Pace
from callback_edge.pages.pages import Pages

STATE_KEY: Final = "exchange"
"""Key in `scope["state"]`."""


class CallerConnection(Protocol):
    """Connection, as the exchange of its current request uses it."""

    @property
    def awaits_continue(self) -> bool:
        """Whether the client sends the body only after a 100 (Continue), or after some time."""

    async def send_continue(self) -> None:
        """Send a 100 (Continue)."""

    async def answer(self, answer: HttpAnswer) -> None:
        """Send the answer to the request."""


@dataclass(slots=True)
class ExchangeContext:
    """Context of the exchanges of one connection. A connection has one exchange at a time."""

    connection: CallerConnection
    """The connection."""
    pages: Pages
    """Answers to problems."""
    pace: Pace
    """Pace of large bodies."""
    record: RequestRecord = field(init=False)
    """Record of the current request. The connection sets it before it starts the exchange."""


def context_of(scope: Any) -> ExchangeContext:
    """Return the context of the request with this ASGI scope."""
    context: ExchangeContext = scope["state"][STATE_KEY]
    return context
