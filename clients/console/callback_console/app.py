"""The Quart application: its views, and the rules that hold for every request.

1. Every page needs a session, except the form to sign in, the OpenAPI document and the static files.
2. A form is accepted from a page of the console only: browsers send the `Origin` of the page with every POST.
3. Pages load nothing from elsewhere, and run no script but the files of `static`. No other site can frame them.
4. An error of the server becomes a page that says what to do.
"""

import json
from http import HTTPStatus
from importlib import resources
from pathlib import PurePath
from typing import Any, Final

import jinja2
from quart import Quart, Response, abort, g, redirect, request
from quart.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from callback import (
    CallbackError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from callback_console import live, request_context, sign_in
from callback_console.fields import facts
from callback_console.openid import OpenId
from callback_console.request_context import learn_role, page, session, sessions
from callback_console.response_form import RESPONSE, switches
from callback_console.server_access import lacks_owner
from callback_console.sessions import Sessions
from callback_console.settings import ConsoleSettings
from callback_console.views import api, audit, callbacks, calls, dead, overview, waiting
from callback_process import logs

log = logs.get_logger()


class _CaseId(BaseConverter):
    regex = "[0-9a-f]{32}"


class _CallId(BaseConverter):
    regex = "[0-9a-f]{32}-[0-9a-f]{16}"


_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # `no-referrer` would remove the Origin of forms too
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
_MEDIA_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""Media types of the static files, by the end of their names."""
_STATUS_OF: Final = (
    (NotFoundError, "not_found", HTTPStatus.NOT_FOUND),
    (InvalidRequestError, "invalid", HTTPStatus.BAD_REQUEST),
    (PermissionDeniedError, "forbidden", HTTPStatus.FORBIDDEN),
    (UnavailableError, "unavailable", HTTPStatus.SERVICE_UNAVAILABLE),
    (CallbackError, "refused", HTTPStatus.CONFLICT),
)
"""Page and status of each error of the server. The first class that fits counts."""


def create_app(settings: ConsoleSettings, origins: frozenset[str]) -> Quart:
    """Create the application.

    Args:
        settings: The settings.
        origins: Origins of its pages.

    Raises:
        OSError: A file of the OpenID provider cannot be read.
        ValueError: A file of the OpenID provider has nothing usable.
    """
    # Quart opens a static file for each request, and leaves it open for a browser that disconnects at that moment.
    app = Quart("callback_console", static_folder=None)
    static_files = _static_files()
    app.config["MAX_CONTENT_LENGTH"] = None  # `service` limits bodies before it reads them
    app.config["MAX_FORM_MEMORY_SIZE"] = None
    app.jinja_options = {"undefined": jinja2.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    app.extensions[request_context.SETTINGS] = settings
    app.extensions[request_context.SESSIONS] = Sessions(settings.session_s)
    app.extensions[request_context.OPENID] = None if settings.openid is None else OpenId(settings.openid)
    app.add_template_filter(json.dumps, "toml")  # a text of JSON is one of TOML
    app.jinja_env.globals.update(facts_of=facts, response_inputs=RESPONSE, switches=switches)
    app.url_map.converters |= {"case": _CaseId, "call": _CallId}  # what has another form is a 404, and in no answer
    for module in (sign_in, live, api, audit, callbacks, calls, dead, overview, waiting):
        app.register_blueprint(module.blueprint)

    @app.before_request
    async def check() -> ResponseReturnValue | None:
        if request.method not in ("GET", "HEAD", "OPTIONS") and request.headers.get("Origin") not in origins:
            return await _error("foreign_form", HTTPStatus.FORBIDDEN)
        g.session = sessions().find(request.cookies.get(sign_in.cookie_name(), ""))
        if request.blueprint == "sign_in" or request.endpoint in ("static", "api.openapi"):
            return None
        if g.session is not None:
            await learn_role()
            return None
        return None if request.endpoint is None else sign_in.ask_to_sign_in()

    @app.after_request
    async def add_headers(answer: Any) -> Any:
        for name, value in _HEADERS.items():
            answer.headers.setdefault(name, value)
        if request.endpoint != "static":
            answer.headers["Cache-Control"] = "no-store"
            answer.headers["Vary"] = "Accept-Language, Cookie"
        return answer

    @app.get("/")
    async def home() -> ResponseReturnValue:
        return redirect("/overview" if session().identity.is_admin else "/waiting", 303)

    @app.get("/static/<name>")
    async def static(name: str) -> ResponseReturnValue:
        if name not in static_files:
            abort(404)
        content, media_type = static_files[name]
        answer = Response(content, content_type=f"{media_type}; charset=utf-8")
        answer.cache_control.no_cache = True  # a browser asks whether a file has changed
        await answer.add_etag()
        return await answer.make_conditional(request)

    @app.errorhandler(UnauthenticatedError)
    async def end_session(_error: UnauthenticatedError) -> ResponseReturnValue:
        await sessions().close(request.cookies.get(sign_in.cookie_name(), ""))
        return sign_in.ask_to_sign_in(has_ended=True)

    @app.errorhandler(CallbackError)
    async def show_refusal(error: CallbackError) -> ResponseReturnValue:
        if g.session is not None and sessions().find(request.cookies.get(sign_in.cookie_name(), "")) is None:
            # It ended meanwhile, which closed its client. A part of a page, which the person leaves, changes nothing.
            return Response(status=204) if "HX-Request" in request.headers else sign_in.ask_to_sign_in(has_ended=True)
        if isinstance(error, InvalidRequestError) and lacks_owner(error):
            return await page("owner.html")
        title, status = next((title, status) for kind, title, status in _STATUS_OF if isinstance(error, kind))
        if isinstance(error, PermissionDeniedError) and g.session is not None:
            session().identity.is_admin = None  # the token may have lost the role, so the next page asks again
        return await _error(title, status, str(error))

    @app.errorhandler(HTTPException)
    async def show_http_error(error: HTTPException) -> ResponseReturnValue:
        status = HTTPStatus(error.code or 500)
        return await _error("not_found" if status == HTTPStatus.NOT_FOUND else "invalid", status, status.phrase)

    @app.errorhandler(Exception)
    async def show_bug(error: Exception) -> ResponseReturnValue:
        log.error("request_failed", exc_info=error)
        return await _error("internal", HTTPStatus.INTERNAL_SERVER_ERROR)

    return app


def _static_files() -> dict[str, tuple[bytes, str]]:
    """Return the content and the media type of each static file, by name."""
    files = resources.files("callback_console").joinpath("static").iterdir()
    types = {file: _MEDIA_TYPES.get(PurePath(file.name).suffix) for file in files}
    return {file.name: (file.read_bytes(), media_type) for file, media_type in types.items() if media_type}


async def _error(title: str, status: HTTPStatus, detail: str = "") -> ResponseReturnValue:
    return await page("error.html", title=title, detail=detail), status.value
