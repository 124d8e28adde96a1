"""View *Call*: the request as it came, what was answered, and why. Also the actions on a call."""

import asyncio
from typing import Final

from quart import Blueprint, Response, abort, request
from quart.typing import ResponseReturnValue

from callback import AnswerMode, Call, CallAnsweredError, Callback, CallReason, CallStatus, Pairs
from callback.masking import masked
from callback_console.bodies import shown_body
from callback_console.comparison import compare
from callback_console.curl import body_file_name, curl_command
from callback_console.live import rendered_once
from callback_console.request_context import attachment, client, done, page
from callback_console.response_form import decision_of, with_choice
from callback_console.views.waiting import seconds_left
from callback_triage.reasons import why
from callback_triage.replays import WITHOUT_HANDLER

blueprint: Final = Blueprint("calls", __name__)

_OTHER_CALLS: Final = 20
"""How many calls of the same callback are offered for a comparison."""


@blueprint.get("/calls/<call:call_id>")
@rendered_once
async def show(call_id: str) -> str:
    """Show a call."""
    call, callback = await _read(call_id)
    others = (await client().list_calls_page(call.case_id, page_size=_OTHER_CALLS)).items
    shows_secrets = request.args.get("secrets") == "shown"
    is_notification = call.reason is not CallReason.CALL
    shown = call if shows_secrets else masked(call, callback.state_query_parameter)
    response = shown.response or (None if shown.delivery is None else shown.delivery.response)
    return await page(
        "call.html",
        call=shown,
        callback=callback,
        why=why(call, callback),
        is_held=is_held(call, callback),
        can_replay=_can_replay(call, callback),
        left=seconds_left(call, callback),
        shown_body=_body(shown.body, shown.headers, "body"),
        response_body=response and _body(response.body or b"", response.headers or Pairs(), "response_body"),
        curl="" if call.erased or is_notification else curl_command(shown),
        is_notification=is_notification,
        others=[each for each in others if each.call_id != call_id],
        shows_secrets=shows_secrets,
    )


@blueprint.get("/calls/<call:call_id>/compare")
async def show_comparison(call_id: str) -> str:
    """Show the differences between a call and another one."""
    mine, other = await asyncio.gather(_read(call_id), _read(request.args.get("with", "")))
    left, right = (masked(call, callback.state_query_parameter) for call, callback in (mine, other))
    rows = compare(left, right)
    return await page("comparison.html", left=left, right=right, rows=rows)


@blueprint.get("/calls/<call:call_id>/<any(request, response):part>-body")
async def download(call_id: str, part: str) -> Response:
    """Download a body, byte for byte."""
    call = await client().get_call(call_id)
    response = call.response or (None if call.delivery is None else call.delivery.response)
    body = call.body if part == "request" else (response and response.body) or b""
    return attachment(body, "application/octet-stream", body_file_name(call))


@blueprint.post("/calls/<call:call_id>/replay")
async def replay(call_id: str) -> ResponseReturnValue:
    """Run the handler of a call again."""
    await client().replay_call(call_id)
    return done(f"/calls/{call_id}", "replayed")


@blueprint.post("/calls/<call:call_id>/answer")
async def answer(call_id: str) -> ResponseReturnValue:
    """Answer a held call, or say that another person has done so."""
    call, callback = await _read(call_id)
    if not is_held(call, callback):
        return done(f"/calls/{call_id}", "answered_before")
    try:
        decision = decision_of(with_choice(await request.form, callback))
    except ValueError:
        abort(400)
    try:
        await client().answer_call(call_id, decision)
    except CallAnsweredError:
        return done(f"/calls/{call_id}", "answered_before")
    return done(f"/calls/{call_id}", "answered")


def is_held(call: Call, callback: Callback) -> bool:
    """Return whether a call waits for its answer."""
    return call.status is CallStatus.RUNNING and callback.answer_mode is AnswerMode.HOLD


def _can_replay(call: Call, callback: Callback) -> bool:
    if call.reason is not CallReason.CALL:
        return True
    return call.end_time is not None and not call.erased and callback.activity not in WITHOUT_HANDLER


async def _read(call_id: str) -> tuple[Call, Callback]:
    """Return a call and its callback."""
    return await asyncio.gather(client().get_call(call_id), client().get_callback(call_id[:32]))


def _body(body: bytes, headers: Pairs, argument: str) -> object:
    return shown_body(body, headers.get("content-type", ""), request.args.get(argument, "")) if body else None
