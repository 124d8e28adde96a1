"""View *Dead and failing*: by activity and reason. Also replays, and pauses of activities.

Dead calls are those whose delivery is dead. A callback is failing if its newest call failed. The server has a list of
the dead calls, but has to look for failing callbacks. So these are not live, and load by themselves.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from quart import Blueprint, abort, redirect, request
from quart.typing import ResponseReturnValue

from callback import Call, Callback, CallFilter, CallStatus, PausedActivity
from callback.masking import masked
from callback_console.live import rendered_once
from callback_console.request_context import callbacks_of, client, done, page, session, time_of
from callback_triage.reasons import FAILURES, said_by_handler, why_dead, why_failed
from callback_triage.replays import (
    FAILED_REASONS,
    REASONS,
    WITHOUT_HANDLER,
    Deliveries,
    FailedCalls,
    Replay,
    newest_failed,
)

blueprint: Final = Blueprint("dead", __name__)

_PAGE_SIZE: Final = 100
_PREVIEWED_PAGES: Final = 20
"""How many pages of calls a preview counts."""
_SHOWN: Final = 20
"""How many calls a preview lists."""
FAILING_PAGE_SIZE: Final = 50
"""How many callbacks of each status a search for failing ones returns."""
_MOMENT: Final = timedelta(milliseconds=1)
"""What a time of the server is exact to. Others can have the time to which a search has come."""


@dataclass(frozen=True, slots=True)
class Group:
    """Calls of one activity that died or failed for one reason and of which its handler said the same, newest first."""

    all: Deliveries | FailedCalls
    calls: Sequence[tuple[Call, Callback]]

    @property
    def names(self) -> Mapping[str, str]:
        """What names the group in an address or a form."""
        status = {"status": self.all.status.value} if isinstance(self.all, FailedCalls) else {}
        said = {} if self.all.said is None else {"said": self.all.said}
        return {**status, "activity": self.all.activity, "reason": self.all.reason, **said, **_owner(self.all.owner)}

    @property
    def query(self) -> str:
        """The query of the address of the group."""
        return urlencode(self.names)

    @property
    def can_replay(self) -> bool:
        """Whether its calls have a handler to run again."""
        return self.all.activity not in WITHOUT_HANDLER


@blueprint.get("/dead")
@rendered_once
async def show() -> str:
    """Show the dead calls of the person, or for an administrator those of an owner."""
    owner, token = request.args.get("owner", "").strip(), request.args.get("page", "")
    found = await client().list_owner_calls_page(CallFilter.DEAD, owner=owner, page_size=_PAGE_SIZE, page_token=token)
    paused = await _paused()
    return await page(
        "dead.html",
        groups=dead_groups(found.items, await callbacks_of(found.items), owner),
        paused=paused or (),
        paused_names=[each.activity for each in paused or ()],
        may_pause=paused is not None,
        owner=owner,
        older=urlencode({"owner": owner, "page": found.next_page_token}) if found.next_page_token else "",
        is_first=not token,
    )


@blueprint.get("/dead/failing")
async def show_failing() -> str:
    """Show the callbacks whose newest call failed, as far as a search has come. The view loads it by itself."""
    owner, until = request.args.get("owner", "").strip(), time_of(request.args.get("until", ""))
    pages = await asyncio.gather(
        *(
            client().list_callbacks_page(
                last_call_status=status,
                owner=owner,
                created_before=until,
                page_size=FAILING_PAGE_SIZE,
            )
            for status in FAILURES
        )
    )
    # The searches come to different times. The page has what all of them have seen.
    searched_to = max((each.searched_to for each in pages if each.searched_to), default=None)
    seen = [each for found in pages for each in found.items if searched_to is None or each.create_time >= searched_to]
    older = searched_to and searched_to + _MOMENT
    if older and older == until:  # more than a page of them at one time
        older -= _MOMENT
    paused = await _paused()
    return await page(
        "failing.html",
        groups=failing_groups(await newest_failed(client(), seen), owner),
        paused_names=[each.activity for each in paused or ()],
        may_pause=paused is not None,
        searched_to=searched_to,
        older=older and urlencode({**_owner(owner), "until": older.isoformat()}),
        is_first=until is None,
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
    callbacks = await callbacks_of(newest)
    shown = Group(calls, [_masked(each, callbacks[each.case_id]) for each in newest])
    paused = await _paused()
    return await page(
        "dead_group.html",
        group=shown,
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
    return redirect(f"/dead/group?{Group(calls, ()).query}", 303)


@blueprint.post("/dead/group/stop")
async def stop() -> ResponseReturnValue:
    """Stop the replay of a group."""
    calls = _group(await request.form)
    if calls in session().replays:
        session().replays[calls].stop()
    return redirect(f"/dead/group?{Group(calls, ()).query}", 303)


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


def dead_groups(calls: Sequence[Call], callbacks: Mapping[str, Callback], owner: str) -> list[Group]:
    """Return the groups of dead calls, the largest first."""
    return _grouped(
        (
            Deliveries(callbacks[call.case_id].activity, why_dead(call.delivery), owner, said=said_by_handler(call)),
            call,
            callbacks[call.case_id],
        )
        for call in calls
    )


def failing_groups(found: Iterable[tuple[Call, Callback]], owner: str) -> list[Group]:
    """Return the groups of failed calls, the largest first."""
    return _grouped(
        (
            FailedCalls(callback.activity, call.status, why_failed(call, callback), owner, said_by_handler(call)),
            call,
            callback,
        )
        for call, callback in found
    )


def _grouped(calls: Iterable[tuple[Deliveries | FailedCalls, Call, Callback]]) -> list[Group]:
    found: dict[Deliveries | FailedCalls, list[tuple[Call, Callback]]] = defaultdict(list)
    for group, call, callback in calls:
        found[group].append(_masked(call, callback))
    groups = [Group(group, sorted(members, key=_start, reverse=True)) for group, members in found.items()]
    return sorted(groups, key=lambda each: -len(each.calls))


def _start(member: tuple[Call, Callback]) -> datetime:
    return member[0].start_time


def _masked(call: Call, callback: Callback) -> tuple[Call, Callback]:
    """Return a call with credentials masked, which a handler can write into its detail, and its callback."""
    return masked(call, callback.state_query_parameter), callback


def _group(values: Mapping[str, str]) -> Deliveries | FailedCalls:
    """Return the group that a form or an address names."""
    activity, reason = values.get("activity", ""), values.get("reason", "")
    owner, status = values.get("owner", "").strip(), values.get("status", "")
    said = values.get("said")
    if reason in FAILED_REASONS and status in FAILURES:
        return FailedCalls(activity, CallStatus(status), reason, owner, said)
    if reason not in REASONS or status:
        abort(404)
    return Deliveries(activity, reason, owner, said=said)


async def _paused() -> Sequence[PausedActivity] | None:
    """Return the paused activities. None if the person may not pause any."""
    return await client().list_paused_activities() if session().identity.is_admin else None


def _owner(owner: str) -> dict[str, str]:
    return {"owner": owner} if owner else {}
