"""Sign in with a token or at the OpenID provider, and sign out.

1. The token goes to the server once, to see whether it is valid and may list callbacks. After that, it exists only in
   the identity of the session.
2. An ID token of the OpenID provider is a token like any other, and the session ends when it expires.
3. Where the server has no principals, a session opens without a token. The console then serves browsers on this machine
   only, as the server serves clients on this machine only.
"""

import math
import re
import time
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from quart import Blueprint, abort, make_response, redirect, request
from quart.typing import ResponseReturnValue
from werkzeug.sansio.response import Response as AnyResponse
from werkzeug.wrappers import Response

from callback import ErrorReason, PermissionDeniedError, UnauthenticatedError
from callback_console.openid import LEEWAY_S, SIGN_IN_S, Person, SignInError
from callback_console.request_context import openid, page, sessions, settings
from callback_console.server_access import check_access, is_without_principals, new_client
from callback_process import logs

log = logs.get_logger()

blueprint: Final = Blueprint("sign_in", __name__)

_OWN_PATH: Final = re.compile(r"/(?![/\\])[!-~]{0,2000}")
"""A path of the console. A browser takes `//HOST` and `/\\HOST` for another site. A cookie has it during a
sign-in, so its length has a limit."""

_RETURN_PATH: Final = "/sign-in/return"
_MAX_SIGN_INS_BYTES: Final = 4096
"""Maximum size of the cookies of the sign-ins that a browser has begun. If they are larger, another one ends them:
a browser sends all of them with each request, and many a proxy refuses a `Cookie` header of more than 8 KiB."""

Answer = Response | tuple[str, int]
"""What a view returns."""


def cookie_name() -> str:
    """Return the name of the cookie."""
    return settings().cookie_name(request.headers["host"])


def ask_to_sign_in(*, has_ended: bool = False) -> Response:
    """Return a redirect to the form, which leads back to the page of this request."""
    path = request.full_path.rstrip("?") if request.method == "GET" else "/"
    target = f"/sign-in?{urlencode({'next': path} | ({'ended': '1'} if has_ended else {}))}"
    if "HX-Request" in request.headers:  # htmx would put the form into the page
        return Response(status=204, headers={"HX-Redirect": target})
    return _redirect(target)


@blueprint.get("/sign-in")
async def show() -> Answer:
    """Show the form, or sign in without a token where the server has no principals."""
    if await is_without_principals(settings()):
        return await _sign_in_without_token()
    return await _form(next((each for each in ("ended", "signed_out") if each in request.args), ""))


@blueprint.post("/sign-in")
async def sign_in() -> Answer:
    """Sign in with a token."""
    if await is_without_principals(settings()):
        return await _sign_in_without_token()
    token = (await request.form).get("token", "").strip()
    try:
        async with new_client(settings(), token) as client:
            await check_access(client)
    except (UnauthenticatedError, ValueError):  # ValueError: no token has these characters
        return await _form("wrong_token", 401)
    except PermissionDeniedError:
        return await _form("no_role", 403)
    return await _open(token, _next_path())


@blueprint.get("/sign-in/openid")
async def sign_in_at_issuer() -> Answer:
    """Begin a sign-in at the OpenID provider.

    This is a GET, because the policy of the pages lets no form lead to another site. It changes nothing but a cookie.
    """
    if (provider := openid()) is None:
        abort(404)
    try:
        sign_in, url = await provider.begin(_own_url(_RETURN_PATH), _next_path())
    except SignInError as error:
        return await _form(error.notice, error.status)
    answer = _redirect(url)
    begun = {name: value for name, value in request.cookies.items() if name.startswith(_sign_in_cookie_name())}
    if sum(len(name) + len(value) for name, value in begun.items()) > _MAX_SIGN_INS_BYTES:
        for name in begun:
            _delete_cookie(answer, name)
    _set_cookie(answer, _sign_in_cookie_name(sign_in.state), provider.to_cookie(sign_in), SIGN_IN_S)
    return answer


@blueprint.get("/sign-in/return")
async def return_from_issuer() -> ResponseReturnValue:
    """Finish a sign-in at the OpenID provider, which leads the browser here."""
    if (provider := openid()) is None:
        abort(404)
    next_path = "/"
    state = request.args.get("state", "")
    name = _sign_in_cookie_name(state)
    try:
        sign_in = provider.from_cookie(request.cookies.get(name, ""), state)
        next_path = sign_in.next_path
        person = await provider.finish(sign_in, _own_url(_RETURN_PATH), request.args)
        answer = await make_response(await _sign_in_person(person, next_path))
    except SignInError as error:
        answer = await make_response(await _form(error.notice, error.status, next_path))
    if name in request.cookies:
        _delete_cookie(answer, name)
    return answer


async def _sign_in_person(person: Person, next_path: str) -> Answer:
    """Open a session with an ID token, if the server knows its subject. Raise SignInError."""
    if await is_without_principals(settings()):  # it would accept any token
        return await _sign_in_without_token()
    try:
        # The server fetches the keys of the issuer again for a token with a new one, which takes a moment.
        async with new_client(settings(), person.id_token, retry=True) as client:
            await check_access(client)
    except PermissionDeniedError:
        raise SignInError("no_role", HTTPStatus.FORBIDDEN) from None
    except UnauthenticatedError as error:
        if error.reason != ErrorReason.SUBJECT_UNKNOWN:
            log.error("id_token_not_accepted", issuer=person.issuer, error=str(error))
            raise SignInError("openid_not_accepted", HTTPStatus.BAD_GATEWAY) from error
        return await page("no_access.html", person=person), HTTPStatus.FORBIDDEN
    lifetime_s = person.expires + LEEWAY_S - time.time()  # as long as the server accepts it
    return await _open(person.id_token, next_path, lifetime_s=lifetime_s, subject=(person.issuer, person.subject))


@blueprint.post("/sign-out")
async def sign_out() -> Answer:
    """End the session."""
    key = request.cookies.get(cookie_name(), "")
    session = sessions().find(key)
    await sessions().close(key)
    answer = _redirect(f"/sign-in?signed_out={'issuer' if session is not None and session.is_of_issuer else '1'}")
    _delete_cookie(answer, cookie_name())
    return answer


async def _sign_in_without_token() -> Answer:
    if not settings().is_local:
        return await page("error.html", title="without_principals", detail=""), 403
    return await _open(None, _next_path())


async def _open(
    token: str | None, next_path: str, *, lifetime_s: float = math.inf, subject: tuple[str, str] | None = None
) -> Response:
    await sessions().close(request.cookies.get(cookie_name(), ""))  # this browser no longer uses that one
    answer = _redirect(next_path)
    client = new_client(settings(), token)
    key = await sessions().open(token, client, lifetime_s=lifetime_s, subject=subject)
    _set_cookie(answer, cookie_name(), key, math.ceil(min(settings().session_s, lifetime_s)))
    return answer


def _set_cookie(answer: Response, name: str, value: str, max_age_s: int) -> None:
    answer.set_cookie(
        name,
        value,
        max_age=max_age_s,
        httponly=True,
        secure=settings().is_https,
        samesite="Lax",  # a shared link and the return from the issuer work, and a form of another site gets no session
    )


def _delete_cookie(answer: AnyResponse, name: str) -> None:
    answer.delete_cookie(name, secure=settings().is_https, httponly=True, samesite="Lax")


def _sign_in_cookie_name(state: str = "") -> str:
    """Return the name of the cookie of a sign-in. Each has its own, so that those of two tabs do not meet."""
    return f"{cookie_name()}_sign_in_{state}"


def _own_url(path: str) -> str:
    """Return a URL of the console, by the `Host` of the request, which was checked."""
    return f"{settings().public_url or 'http://' + request.headers['host']}{path}"


async def _form(notice: str, status: int = 200, next_path: str | None = None) -> tuple[str, int]:
    provider = openid()
    sign_out_url = (
        provider.sign_out_url(_own_url("/sign-in"))
        if provider and "issuer" in request.args.getlist("signed_out")
        else None
    )
    return await page(
        "sign_in.html",
        sign_in_notice=notice,
        next_path=_next_path() if next_path is None else next_path,
        issuer=provider.name if provider else "",
        issuer_sign_out=sign_out_url or "",
    ), status


def _next_path() -> str:
    path = request.args.get("next", "/")
    return path if _OWN_PATH.fullmatch(path) else "/"


def _redirect(target: str) -> Response:
    return redirect(target, 303)
