"""What a view uses of its request: the session, the words of the language, and the answer to a form."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast
from urllib.parse import urlencode

from quart import Response as FileResponse
from quart import current_app, g, redirect, render_template, request
from werkzeug.wrappers import Response

from callback import AsyncCallbackClient, Call, Callback, PermissionDeniedError
from callback_console.openid import OpenId
from callback_console.sessions import Session, Sessions
from callback_console.settings import ConsoleSettings
from callback_console.words import TEXTS, Words, best_language
from callback_triage.texts import DEFAULT

SESSIONS: Final = "callback_sessions"
SETTINGS: Final = "callback_settings"
OPENID: Final = "callback_openid"
"""Keys of `app.extensions`."""


def settings() -> ConsoleSettings:
    """Return the settings."""
    return cast("ConsoleSettings", current_app.extensions[SETTINGS])


def sessions() -> Sessions:
    """Return all sessions."""
    return cast("Sessions", current_app.extensions[SESSIONS])


def openid() -> OpenId | None:
    """Return the OpenID provider. None: there is none."""
    return cast("OpenId | None", current_app.extensions[OPENID])


def session() -> Session:
    """Return the session of the request. Only a view that needs one may use it."""
    return cast("Session", g.session)


def client() -> AsyncCallbackClient:
    """Return the client of the person who signed in."""
    return session().identity.client


async def callbacks_of(calls: Iterable[Call]) -> Mapping[str, Callback]:
    """Return the callbacks of calls, by id."""
    ids = list(dict.fromkeys(call.case_id for call in calls))
    return dict(zip(ids, await asyncio.gather(*map(client().get_callback, ids)), strict=True))


def words() -> Words:
    """Return the words of the language of the request."""
    if "words" not in g:
        g.words = Words(best_language(request.accept_languages))
    return cast("Words", g.words)


def time_of(text: str) -> datetime | None:
    """Return a time in UTC, as an address or a field of a form has it. None if it is none."""
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):  # the second is of a time that is in the calendar only where its offset is
        return None


async def learn_role() -> None:
    """Ask the server whether the person who signed in is an administrator, once for a token."""
    person = session().identity
    if person.is_admin is None:
        try:
            await person.client.list_paused_activities()
        except PermissionDeniedError:
            person.is_admin = False
        else:
            person.is_admin = True


async def page(template: str, **values: Any) -> str:
    """Render a template, with the words of the language."""
    language = words()
    notice = request.args.get("done", "")
    return await render_template(
        template,
        t=language.text,
        w=language,
        has_session=g.get("session") is not None,
        target=settings().server_target,
        is_admin=g.get("session") is not None and session().identity.is_admin,
        notice=notice if f"notice.{notice}" in TEXTS[DEFAULT] else "",
        **values,
    )


def attachment(content: Any, media_type: str, name: str) -> FileResponse:
    """Return a file to download. No browser opens it as a page of the console."""
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return FileResponse(content, content_type=media_type, headers=headers)


def done(path: str, notice: str, **query: str) -> Response:
    """Return the answer to a form: a redirect to a page that says what was done."""
    return redirect(f"{path}?{urlencode({**query, 'done': notice})}", 303)
