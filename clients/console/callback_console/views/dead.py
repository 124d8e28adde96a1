"""View *Dead*: calls whose delivery is dead, by activity and reason. Also their replay, and pauses of activities."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from quart import Blueprint, abort, redirect, request
from quart.typing import ResponseReturnValue

from callback import Call, Callback, CallFilter, PausedActivity
from callback.masking import masked
from callback_console.live import rendered_once
from callback_console.reasons import why_dead
from callback_console.replays import REASONS, DeadCalls, Replay
from callback_console.request_context import client, done, page, session

blueprint: Final = Blueprint("dead", __name__)

_PAGE_SIZE: Final = 100
_PREVIEWED_PAGES: Final = 20
"""How many pages of calls a preview counts."""
_SHOWN: Final = 20
"""How many calls a preview lists."""


@dataclass(frozen=True, slots=True)
class DeadGroup:
    """Some dead calls of one activity that died for one reason, with their callbacks, newest first."""

    all: DeadCalls
    calls: Sequence[tuple[Call, Callback]]

    @property
    def query(self) -> str:
        """The query of the address of the group."""
        return urlencode({"activity": self.all.activity, "reason": self.all.reason, **_owner(self.all.owner)})


@blueprint.get("/dead")
@rendered_once
async def show() -> str:
    """Show the dead calls of the person, or for an administrator those of an owner."""
    owner, token = request.args.get("owner", "").strip(), request.args.get("page", "")
    found = await client().list_owner_calls_page(CallFilter.DEAD, owner=owner, page_size=_PAGE_SIZE, page_token=token)
    paused = await _paused()
    return await page(
        "dead.html",
        groups=dead_groups(found.items, await _callbacks(found.items), owner),
        paused=paused or (),
        paused_names=[each.activity for each in paused or ()],
        may_pause=paused is not None,
        owner=owner,
        older=urlencode({"owner": owner, "page": found.next_page_token}) if found.next_page_token else "",
        is_first=not token,
    )


@blueprint.get("/dead/group")
async def show_group() -> str:
    """Show how many calls of a group are dead, the newest of them, and the progress of their replay."""
    calls = _group(request.args)
    replay = session().replays.get(calls)
    newest: list[Call] = []
    count, pages = 0, 0
    if replay is None or not replay.is_running:
        async for found in calls.pages(client()):
            newest += found[: _SHOWN - len(newest)]
            count, pages = count + len(found), pages + 1
            if pages == _PREVIEWED_PAGES:
                break
    groups = dead_groups(newest, await _callbacks(newest), calls.owner)
    paused = await _paused()
    return await page(
        "dead_group.html",
        group=groups[0] if groups else DeadGroup(calls, ()),
        count=count,
        are_more=pages == _PREVIEWED_PAGES,
        replay=replay,
        may_pause=paused is not None and calls.activity not in [each.activity for each in paused],
    )


@blueprint.post("/dead/group/replay")
async def replay_all() -> ResponseReturnValue:
    """Start the replay of a group, unless it runs."""
    form = await request.form
    calls, count = _group(form), form.get("count", "")
    replays = session().replays
    if calls not in replays or not replays[calls].is_running:
        replays[calls] = Replay(calls, int(count[:9]) if count.isdecimal() else 0, client())
    return redirect(f"/dead/group?{DeadGroup(calls, ()).query}", 303)


@blueprint.post("/dead/group/stop")
async def stop() -> ResponseReturnValue:
    """Stop the replay of a group."""
    calls = _group(await request.form)
    if calls in session().replays:
        session().replays[calls].stop()
    return redirect(f"/dead/group?{DeadGroup(calls, ()).query}", 303)


@blueprint.post("/dead/pause")
async def pause() -> ResponseReturnValue:
    """Pause the deliveries of an activity."""
    form = await request.form
    await client().pause_activity(form.get("activity", ""), reason=form.get("reason", "").strip())
    return done("/dead", "paused", **_owner(form.get("owner", "")))


@blueprint.post("/dead/resume")
async def resume() -> ResponseReturnValue:
    """Resume the deliveries of an activity."""
    form = await request.form
    await client().resume_activity(form.get("activity", ""))
    return done("/dead", "resumed", **_owner(form.get("owner", "")))


def dead_groups(calls: Sequence[Call], callbacks: Mapping[str, Callback], owner: str) -> list[DeadGroup]:
    """Return the groups, the largest first, with credentials masked: a handler can write them into its detail."""
    found: dict[DeadCalls, list[tuple[Call, Callback]]] = defaultdict(list)
    for call in calls:
        callback = callbacks[call.case_id]
        group = DeadCalls(callback.activity, why_dead(call.delivery), owner)
        found[group].append((masked(call, callback.state_query_parameter), callback))
    groups = [DeadGroup(group, members) for group, members in found.items()]
    return sorted(groups, key=lambda each: -len(each.calls))


async def _callbacks(calls: Sequence[Call]) -> Mapping[str, Callback]:
    ids = list(dict.fromkeys(call.case_id for call in calls))
    return dict(zip(ids, await asyncio.gather(*map(client().get_callback, ids)), strict=True))


def _group(values: Mapping[str, str]) -> DeadCalls:
    """Return the group that a form or an address names."""
    reason = values.get("reason", "")
    if reason not in REASONS:
        abort(404)
    return DeadCalls(values.get("activity", ""), reason, values.get("owner", "").strip())


async def _paused() -> Sequence[PausedActivity] | None:
    """Return the paused activities. None if the person may not pause any."""
    return await client().list_paused_activities() if session().identity.is_admin else None


def _owner(owner: str) -> dict[str, str]:
    return {"owner": owner} if owner else {}
