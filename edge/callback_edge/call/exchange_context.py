"""What a connection gives to the exchange of its current request. ASGI carries it in the scope's state."""

from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from callback_edge.call.request_record import RequestRecord
from callback_edge.http_answer import HttpAnswer
from callback_edge.pages.pages import Pages

STATE_KEY: Final = "exchange"
"""Key in `scope["state"]`."""


class SendAnswer(Protocol):
    """Method of the connection that sends the answer to its current request."""

    async def __call__(self, answer: HttpAnswer, *, is_last: bool = False) -> None:
        """Send the answer. `is_last`: the connection ends with it."""


@dataclass(slots=True)
class ExchangeContext:
    """Context of the exchanges of one connection. A connection has one exchange at a time."""

    send_answer: SendAnswer
    pages: Pages
    """Answers to problems."""
    record: RequestRecord = field(init=False)
    """Record of the current request. The connection sets it before it starts the exchange."""


def context_of(scope: Any) -> ExchangeContext:
    """Return the context of the request with this ASGI scope."""
    context: ExchangeContext = scope["state"][STATE_KEY]
    return context
