"""Views of what is not a call: the confirmation page, notices, error pages, and addresses that do not exist.

This is a Quart blueprint with its templates in `templates/`. `not_found` and `bad_request` are error handlers of Quart.
`confirmation`, `notice` and `error` also answer calls, and requests that no application sees because they are not
well-formed. So they take the request's headers and return an `HttpAnswer` from the `PageCache`, which rendered their
templates at the start: Quart's request object and a rendering for each refusal would cost several times as much as the
rest of it.

A later page that belongs to an address of its own (such as a waiting page) is an ordinary Quart view here:
`@blueprint.get(…)` and `render_template`, which finds the operator's templates first.
"""

import functools
import json
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final

from quart import Blueprint, Response, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_accept_header

from callback_edge import problems
from callback_edge.http_answer import HttpAnswer
from callback_edge.pages.languages import best_language
from callback_edge.pages.page_cache import PageCache
from callback_edge.problems import Problem

blueprint = Blueprint("pages", __name__, template_folder="templates")

_JSON: Final = "application/problem+json"
_HTML: Final = "text/html"
_MAX_ACCEPT_CHARS: Final = 1024
"""How many characters of an accept header are parsed. Browsers send fewer, and each entry costs time."""
_OFFERED: Final = (_JSON, "application/json", _HTML)  # a client that accepts any JSON gets the problem

_Headers = Iterable[tuple[bytes, bytes]]
"""Headers of a request, with names in lower case."""


class ProblemResponse(Response):
    """Quart response that is a problem."""

    def __init__(self, problem: Problem, answer: HttpAnswer) -> None:
        super().__init__(answer.body, answer.status, dict(answer.headers))
        self.problem = problem
        """The problem, for metrics."""


@blueprint.app_errorhandler(404)
async def not_found(_error: HTTPException) -> Response:
    """Answer a request at an address that does not exist."""
    return _respond(problems.NOT_FOUND)


@blueprint.app_errorhandler(HTTPException)
async def bad_request(_error: HTTPException) -> Response:
    """Answer a request that Quart or a view refuses for another reason."""
    return _respond(problems.BAD_REQUEST)


class PageViews:
    """Views that the call and the connection use as well. The connection puts them into the scope's state.

    Args:
        pages: the rendered pages.
    """

    def __init__(self, pages: PageCache) -> None:
        self._pages = pages
        self._documents = {problem: _document(problem, pages.detail(problem)) for problem in problems.ALL}

    def answer(
        self,
        problem: Problem,
        request_headers: _Headers = (),
        *,
        retry_after_s: int | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> HttpAnswer:
        """Answer with the view of a problem.

        Args:
            problem: the problem.
            request_headers: headers of the request.
            retry_after_s: value of `Retry-After`, in seconds; None omits it.
            headers: more headers of the answer, such as `allow`.
        """
        if retry_after_s is not None:
            headers = [*headers, ("retry-after", str(retry_after_s))]
        if problem is problems.CONFIRMATION_REQUIRED:
            return self.confirmation(request_headers, headers)
        if problem.status < 400:
            return self.notice(problem, request_headers, headers)
        return self.error(problem, request_headers, headers)

    def confirmation(self, request_headers: _Headers, headers: Sequence[tuple[str, str]] = ()) -> HttpAnswer:
        """Ask a person to open the link with a button. A server requests it for a GET at a case with confirmation."""
        return self._page(problems.CONFIRMATION_REQUIRED, request_headers, headers, vary="accept-language")

    def notice(
        self, problem: Problem, request_headers: _Headers, headers: Sequence[tuple[str, str]] = ()
    ) -> HttpAnswer:
        """Show a page to every client, with the status 200: nothing went wrong, and nothing was done."""
        return self._page(problem, request_headers, headers, vary="accept-language")

    def error(self, problem: Problem, request_headers: _Headers, headers: Sequence[tuple[str, str]] = ()) -> HttpAnswer:
        """Show a page to a client that prefers HTML, and send problem+json (RFC 9457) to any other."""
        if _prefers_html(_joined(request_headers, b"accept")):
            return self._page(problem, request_headers, headers, vary="accept, accept-language")
        own = [("content-type", _JSON), ("vary", "accept")]
        return HttpAnswer(problem.status, [*own, *headers], self._documents[problem])

    def _page(
        self, problem: Problem, request_headers: _Headers, headers: Sequence[tuple[str, str]], *, vary: str
    ) -> HttpAnswer:
        language = best_language(_joined(request_headers, b"accept-language"), self._pages.languages)
        own = [
            ("content-type", f"{_HTML}; charset=utf-8"),
            ("content-language", language),
            ("vary", vary),
            ("content-security-policy", self._pages.policy(problem)),
        ]
        return HttpAnswer(problem.status, [*own, *headers], self._pages.page(problem, language))


def views_of(scope: Any) -> PageViews:
    """Return the views of the request with this ASGI scope."""
    views: PageViews = scope["state"]["views"]
    return views


def _respond(problem: Problem) -> Response:
    scope: Any = request.scope
    return ProblemResponse(problem, views_of(scope).answer(problem, scope["headers"]))


def _joined(headers: _Headers, name: bytes) -> str:
    return ",".join(value.decode("latin-1") for each, value in headers if each == name)[:_MAX_ACCEPT_CHARS]


@functools.lru_cache(maxsize=256)  # most callers send the same, and to parse it is a good part of a refusal's cost
def _prefers_html(accept: str) -> bool:
    return parse_accept_header(accept, MIMEAccept).best_match(_OFFERED, default=_JSON) == _HTML


def _document(problem: Problem, detail: str) -> bytes:
    # Without `type` it is `about:blank`, whose title is the status's own phrase. `code` says the rest.
    document = {
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": detail,
        "code": problem.code,
    }
    return json.dumps(document).encode() + b"\n"
