"""Live pages: a stream of server-sent events tells a page that something changed, and htmx loads its part again.

An event has no content: what a person may see comes with the next request. Each stream is one `WatchCalls`. While
changes continue, the server sends at most about one message of it in 0.7 seconds, so that a page loads its part once.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from quart import Blueprint, Response, request

from callback import CallbackError
from callback_console.request_context import session

blueprint: Final = Blueprint("live", __name__)

_CHANGE: Final = b"event: change\ndata: 1\n\n"
_IDLE: Final = b": idle\n\n"
"""Comment, so that no proxy takes the stream for dead. The server sends an empty message about every 15 seconds."""


@blueprint.get("/events")
async def events() -> Response:
    """Send an event for each change of one case, or of all that the person may see."""
    person = session()
    case_id = request.args.get("case", "")

    async def stream() -> AsyncIterator[bytes]:
        # After an error the stream ends. The page then says that it is not live, and the browser connects again.
        with person.watching(case_id) as watch, contextlib.suppress(CallbackError):
            async with watch:
                yield _CHANGE  # for what changed between the page and the start of the watch
                while person.is_open:
                    yield _CHANGE if await watch.receive() else _IDLE

    answer = Response(stream(), mimetype="text/event-stream")
    answer.timeout = None
    return answer
