"""View *Waiting*: held calls, the one with the least time left first."""

from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Final

from quart import Blueprint, request

from callback import Call, Callback, CallFilter
from callback_console.live import rendered_once
from callback_console.request_context import callbacks_of, client, page

blueprint: Final = Blueprint("waiting", __name__)

_PAGE_SIZE: Final = 50


def seconds_left(call: Call, callback: Callback) -> float:
    """Return the time until a held call fails, in seconds."""
    end = call.start_time + (callback.hold_time or timedelta(0))
    return max(0, (end - datetime.now(UTC)).total_seconds())


@blueprint.get("/waiting")
@rendered_once
async def show() -> str:
    """Show the held calls of the person, or for an administrator those of an owner."""
    owner = request.args.get("owner", "").strip()
    token = request.args.get("page", "")
    found = await client().list_owner_calls_page(
        CallFilter.WAITING, owner=owner, page_size=_PAGE_SIZE, page_token=token
    )
    callbacks = await callbacks_of(found.items)
    held = [(seconds_left(call, callbacks[call.case_id]), call, callbacks[call.case_id]) for call in found.items]
    held.sort(key=itemgetter(0))
    return await page("waiting.html", held=held, owner=owner, next_page=found.next_page_token, is_first=not token)
