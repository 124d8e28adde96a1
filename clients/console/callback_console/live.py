"""Live pages: a stream of server-sent events tells a page that something changed, and htmx loads its part again.

An event has no content: what a person may see comes with the next request. While changes continue, the server sends
at most about one message of a watch in 0.7 seconds, so that a page loads its part once.
"""

import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

from quart import Blueprint, Response, request

from callback_console.request_context import session, words

blueprint: Final = Blueprint("live", __name__)

_CHANGE: Final = b"event: change\ndata: 1\n\n"
_IDLE: Final = b": idle\n\n"
"""Comment, so that no proxy takes the stream for dead. The server sends an empty message about every 15 seconds."""
_CASE_ID_LENGTH: Final = 32

View = Callable[..., Coroutine[Any, Any, str]]


@blueprint.get("/events")
async def events() -> Response:
    """Send an event for each change of one case, or of all that the person may see."""
    person = session()
    case_id = request.args.get("case", "")

    async def stream() -> AsyncIterator[bytes]:
        with person.live_page(case_id) as page:
            while (has_changed := await page.receive()) is not None:
                yield _CHANGE if has_changed else _IDLE

    answer = Response(stream(), mimetype="text/event-stream")
    answer.timeout = None
    return answer


def rendered_once(view: View) -> View:
    """Let a view render once after a change, for all live pages with the same address, token and language."""

    @functools.wraps(view)
    async def show(**path: str) -> str:
        case_id = next(iter(path.values()), "")[:_CASE_ID_LENGTH]
        watch = session().identity.watches.get(case_id)
        if watch is None or "HX-Request" not in request.headers:
            return await view(**path)
        return await watch.part((request.full_path, words().language), lambda: view(**path))

    return show
