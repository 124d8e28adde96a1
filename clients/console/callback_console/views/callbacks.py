"""Views *Callbacks* and *Callback*: a list with filters, and one callback with its life. Also the actions on one."""

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from quart import Blueprint, abort, redirect, request
from quart.typing import ResponseReturnValue

from callback import Callback, CallbackResolvedError, CallbackStatus, CallStatus
from callback.masking import masked
from callback_console.live import rendered_once
from callback_console.request_context import client, done, page, session, time_of
from callback_console.response_form import decision_of, response_of
from callback_console.timeline import timeline
from callback_triage.reasons import why, why_uncalled

blueprint: Final = Blueprint("callbacks", __name__)

_PAGE_SIZE: Final = 50
_CALLS: Final = 20
"""How many calls of a callback are on its page."""
_FILTERS: Final = ("status", "last", "activity", "label", "owner", "from", "until")
"""Parameters of the address. `last` is the status of the newest call, and times are in UTC."""
_LABEL: Final = re.compile(r"([^=]+)=(.*)", re.DOTALL)
_REFERENCE: Final = re.compile(r"(?P<case>[0-9a-f]{8,32})(?:-(?P<own>[0-9a-f]{0,16}))?")
"""The first digits of an id of a callback, or of both parts of an id of a call."""
_STATUSES: Final = tuple(each.value for each in CallbackStatus if each is not CallbackStatus.UNKNOWN)
_LAST: Final = tuple(each.value for each in CallStatus if each is not CallStatus.UNKNOWN)
_LONGEST_AMOUNT: Final = 5
"""How many digits the time of an extension may have: more do not fit the calendar."""
_UNITS: Final = ("minutes", "hours", "days")


@blueprint.get("/callbacks")
@rendered_once
async def show_list() -> str:
    """Show the callbacks that match the filters of the address."""
    filters = {name: request.args.get(name, "").strip() for name in _FILTERS}
    label = _LABEL.fullmatch(filters["label"])
    times = {name: time_of(filters[name]) for name in ("from", "until")}
    found = await client().list_callbacks_page(
        status=CallbackStatus(filters["status"]) if filters["status"] in _STATUSES else None,
        last_call_status=CallStatus(filters["last"]) if filters["last"] in _LAST else None,
        activity=filters["activity"],
        labels={label[1]: label[2]} if label else None,
        owner=filters["owner"],
        created_after=times["from"],
        created_before=times["until"],
        page_size=_PAGE_SIZE,
        page_token=request.args.get("page", ""),
    )
    given = {name: value for name, value in filters.items() if value}
    is_search = filters["last"] in _LAST  # the server looks at each case, too much for every change
    return await page(
        "callbacks.html",
        callbacks=found.items,
        filters=filters,
        statuses=_STATUSES,
        last_statuses=_LAST,
        is_filtered=bool(given),
        is_label_wrong=bool(filters["label"]) and label is None,
        is_time_wrong=any(filters[name] and time is None for name, time in times.items()),
        is_live=not is_search,
        searched_to=found.searched_to if is_search or len(found.items) < _PAGE_SIZE else None,
        older=urlencode({**given, "page": found.next_page_token}) if found.next_page_token else "",
    )


@blueprint.get("/find")
async def find_by_label() -> ResponseReturnValue:
    """Lead to the list of callbacks with a label: for an administrator those of the first owner who has some."""
    text = request.args.get("label", "")
    if not (label := _LABEL.fullmatch(text)):
        abort(404)
    owners = await _owners()
    lists = (client().list_callbacks(owner=owner, labels={label[1]: label[2]}) for owner in owners)
    found = await asyncio.gather(*(anext(aiter(each), None) for each in lists))
    owner = next((owner for owner, callback in zip(owners, found, strict=True) if callback), owners[0])
    return redirect(f"/callbacks?{urlencode({'label': text} | ({'owner': owner} if owner else {}))}", 303)


@blueprint.get("/find/<reference>")
async def find(reference: str) -> ResponseReturnValue:
    """Lead to the callback or the call whose id begins with these digits: a page of an error has a few of them."""
    if not (match := _REFERENCE.fullmatch(reference)):
        abort(404)
    for found in await asyncio.gather(*(_first_with(owner, match["case"]) for owner in await _owners())):
        if found is not None and not match["own"]:
            return redirect(f"/callbacks/{found.case_id}", 303)
        if found is not None:
            async for call in client().list_calls(found.case_id):
                if call.call_id.startswith(f"{found.case_id}-{match['own']}"):
                    return redirect(f"/calls/{call.call_id}", 303)
    return abort(404)


async def _owners() -> Sequence[str]:
    """Return the owners among whose callbacks to look: the one of the address, or all that an administrator sees.

    An empty name is the person who signed in.
    """
    given = request.args.get("owner", "").strip()
    if given or not session().identity.is_admin:
        return (given,)
    return ("", *(each.owner for each in (await client().get_statistics()).owners))


async def _first_with(owner: str, prefix: str) -> Callback | None:
    async for callback in client().list_callbacks(owner=owner, case_id_prefix=prefix):
        if callback.case_id.startswith(prefix):  # an older server does not know prefixes
            return callback
    return None


@blueprint.get("/callbacks/<case:case_id>")
@rendered_once
async def show(case_id: str) -> str:
    """Show a callback."""
    token = request.args.get("page", "")
    callback, calls = await asyncio.gather(
        client().get_callback(case_id), client().list_calls_page(case_id, page_size=_CALLS, page_token=token)
    )
    shown = [masked(call, callback.state_query_parameter) for call in calls.items]
    newest = shown[0] if shown and not token else None
    return await page(
        "callback.html",
        callback=callback,
        why=None if callback.call_count else why_uncalled(callback),
        newest=newest,
        newest_why=newest and why(newest, callback),
        moments=timeline(callback, shown, datetime.now(UTC)),
        older=urlencode({"page": calls.next_page_token}) if calls.next_page_token else "",
    )


@blueprint.post("/callbacks/<case:case_id>/close")
async def close(case_id: str) -> ResponseReturnValue:
    """Close a callback."""
    await client().close_callback(case_id)
    return done(f"/callbacks/{case_id}", "closed")


@blueprint.post("/callbacks/<case:case_id>/extend")
async def extend(case_id: str) -> ResponseReturnValue:
    """Set the time at which a callback expires, from now on."""
    form = await request.form
    amount, unit = form.get("amount", ""), form.get("unit", "")
    if not re.fullmatch("[0-9]+", amount) or len(amount) > _LONGEST_AMOUNT or unit not in _UNITS:
        return done(f"/callbacks/{case_id}", "nothing_given")
    await client().extend_callback(case_id, datetime.now(UTC) + timedelta(**{unit: int(amount)}))
    return done(f"/callbacks/{case_id}", "extended")


@blueprint.post("/callbacks/<case:case_id>/response")
async def set_response(case_id: str) -> ResponseReturnValue:
    """Replace attributes of the response of a callback."""
    if response := response_of(await request.form):
        await client().set_response(case_id, response)
        return done(f"/callbacks/{case_id}", "response_set")
    return done(f"/callbacks/{case_id}", "nothing_given")


@blueprint.post("/callbacks/<case:case_id>/resolve")
async def resolve(case_id: str) -> ResponseReturnValue:
    """Give a callback its one answer, or say that it has another one already."""
    try:
        decision = decision_of(await request.form)
    except ValueError:
        abort(400)
    try:
        await client().resolve_callback(case_id, decision)
    except CallbackResolvedError:
        return done(f"/callbacks/{case_id}", "answered_before")
    return done(f"/callbacks/{case_id}", "resolved")
