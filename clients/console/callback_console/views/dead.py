"""View *Dead*: calls whose delivery is dead, by activity and reason. Also their replay, and pauses of activities."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from quart import Blueprint, request
from quart.typing import ResponseReturnValue

from callback import Call, Callback, CallbackError, CallFilter, PermissionDeniedError, UnauthenticatedError
from callback.masking import masked
from callback_console.request_context import client, done, page

blueprint: Final = Blueprint("dead", __name__)

_PAGE_SIZE: Final = 100
_CONCURRENT_REPLAYS: Final = 8


@dataclass(frozen=True, slots=True)
class DeadGroup:
    """Dead calls of one activity that died for one reason."""

    activity: str
    reason: str
    """Name of the text of the reason."""
    calls: Sequence[tuple[Call, Callback]]
    """The calls, newest first."""


@blueprint.get("/dead")
async def show() -> str:
    """Show the dead calls of the person, or for an administrator those of an owner."""
    owner, token = request.args.get("owner", "").strip(), request.args.get("page", "")
    found = await client().list_owner_calls_page(CallFilter.DEAD, owner=owner, page_size=_PAGE_SIZE, page_token=token)
    ids = list(dict.fromkeys(call.case_id for call in found.items))
    callbacks = dict(zip(ids, await asyncio.gather(*map(client().get_callback, ids)), strict=True))
    paused = await _paused()
    return await page(
        "dead.html",
        groups=dead_groups(found.items, callbacks),
        paused=paused or (),
        may_pause=paused is not None,
        owner=owner,
        older=urlencode({"owner": owner, "page": found.next_page_token}) if found.next_page_token else "",
        is_first=not token,
    )


@blueprint.post("/dead/replay")
async def replay() -> ResponseReturnValue:
    """Replay the calls of the form: those that the person saw."""
    form = await request.form
    turns = asyncio.Semaphore(_CONCURRENT_REPLAYS)

    async def replay_one(call_id: str) -> bool:
        async with turns:
            try:
                await client().replay_call(call_id)
            except UnauthenticatedError:
                raise
            except CallbackError:  # erased, deleted or replayed since: the list shows what is left
                return False
            return True

    replayed = await asyncio.gather(*map(replay_one, form.getlist("call")[:_PAGE_SIZE]))
    return done("/dead", "all_replayed" if all(replayed) else "some_replayed", **_owner(form.get("owner", "")))


@blueprint.post("/dead/pause")
async def pause() -> ResponseReturnValue:
    """Pause the deliveries of an activity."""
    form = await request.form
    await client().pause_activity(form.get("activity", ""))
    return done("/dead", "paused", **_owner(form.get("owner", "")))


@blueprint.post("/dead/resume")
async def resume() -> ResponseReturnValue:
    """Resume the deliveries of an activity."""
    form = await request.form
    await client().resume_activity(form.get("activity", ""))
    return done("/dead", "resumed", **_owner(form.get("owner", "")))


def dead_groups(calls: Sequence[Call], callbacks: dict[str, Callback]) -> list[DeadGroup]:
    """Return the groups, the largest first, with credentials masked: a handler can write them into its detail."""
    found: dict[tuple[str, str], list[tuple[Call, Callback]]] = defaultdict(list)
    for call in calls:
        callback = callbacks[call.case_id]
        failure = call.delivery.failure if call.delivery else None
        reason = f"failure.{failure.value}" if failure else "why.REJECTED.HANDLER"
        found[callback.activity, reason].append((masked(call, callback.state_query_parameter), callback))
    groups = [DeadGroup(activity, reason, group) for (activity, reason), group in found.items()]
    return sorted(groups, key=lambda each: -len(each.calls))


async def _paused() -> Sequence[str] | None:
    """Return the paused activities. None if the person may not pause any."""
    try:
        return await client().list_paused_activities()
    except PermissionDeniedError:
        return None


def _owner(owner: str) -> dict[str, str]:
    return {"owner": owner} if owner else {}
