"""Sign in with a token, and sign out.

1. The token goes to the server once, to see whether it is valid and may list callbacks. After that, it exists only in
   the client of the session.
2. Where the server has no principals, a session opens without a token. The console then serves browsers on this machine
   only, as the server serves clients on this machine only.
"""

import re
from typing import Final
from urllib.parse import urlencode

from quart import Blueprint, redirect, request
from werkzeug.wrappers import Response

from callback import AsyncCallbackClient, PermissionDeniedError, Tls, UnauthenticatedError
from callback_console.request_context import page, sessions, settings

blueprint: Final = Blueprint("sign_in", __name__)

_TIMEOUT_S: Final = 10.0
"""Time limit of a request to the server, in seconds. A person waits for it."""
_OWN_PATH: Final = re.compile(r"/(?![/\\])[!-~]*")
"""A path of the console. A browser takes `//HOST` and `/\\HOST` for another site."""

Answer = Response | tuple[str, int]
"""What a view returns."""


def cookie_name() -> str:
    """Return the name of the cookie. Browsers send a cookie to every port of a host, so it has the port."""
    if is_https():
        return "__Host-callback_console"
    return f"callback_console_{request.headers['host'].rpartition(':')[2]}"


def is_https() -> bool:
    """Return whether browsers use https."""
    return (settings().public_url or "").startswith("https:")


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
    if await _is_without_principals():
        return await _sign_in_without_token()
    return await _form(next((each for each in ("ended", "signed_out") if each in request.args), ""))


@blueprint.post("/sign-in")
async def sign_in() -> Answer:
    """Sign in with a token."""
    if await _is_without_principals():
        return await _sign_in_without_token()
    token = (await request.form).get("token", "").strip()
    try:
        client = _new_client(token)
    except ValueError:  # no token has these characters
        return await _form("wrong_token", 401)
    try:
        await client.list_callbacks_page(page_size=1)
    except (UnauthenticatedError, PermissionDeniedError) as error:
        await client.close()
        is_known = isinstance(error, PermissionDeniedError)
        return await _form("no_role" if is_known else "wrong_token", 403 if is_known else 401)
    except BaseException:
        await client.close()
        raise
    return await _open(client)


@blueprint.post("/sign-out")
async def sign_out() -> Answer:
    """End the session."""
    await sessions().close(request.cookies.get(cookie_name(), ""))
    answer = _redirect("/sign-in?signed_out=1")
    answer.delete_cookie(cookie_name(), secure=is_https(), httponly=True)
    return answer


async def _is_without_principals() -> bool:
    async with _new_client(None) as client:
        try:
            await client.list_callbacks_page(page_size=1)
        except UnauthenticatedError:
            return False
    return True


async def _sign_in_without_token() -> Answer:
    if not settings().is_local:
        return await page("error.html", title="without_principals", detail=""), 403
    return await _open(_new_client(None))


def _new_client(token: str | None) -> AsyncCallbackClient:
    tls = settings().server_tls
    return AsyncCallbackClient(
        settings().server_target,
        tls=None if tls is None else Tls(tls.ca_file, server_name=tls.server_name),
        token=token,
        timeout=_TIMEOUT_S,
        retry=False,
    )


async def _open(client: AsyncCallbackClient) -> Response:
    await sessions().close(request.cookies.get(cookie_name(), ""))  # this browser no longer uses that one
    answer = _redirect(_next_path())
    answer.set_cookie(
        cookie_name(),
        await sessions().open(client),
        max_age=settings().session_s,
        httponly=True,
        secure=is_https(),
        samesite="Lax",  # a shared link works, and a form of another site gets no session
    )
    return answer


async def _form(notice: str, status: int = 200) -> tuple[str, int]:
    return await page("sign_in.html", sign_in_notice=notice, next_path=_next_path()), status


def _next_path() -> str:
    path = request.args.get("next", "/")
    return path if _OWN_PATH.fullmatch(path) else "/"


def _redirect(target: str) -> Response:
    return redirect(target, 303)
