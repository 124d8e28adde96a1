"""A refusal, made into an HTTP answer: problem+json (RFC 9457) for programs, a readable page for browsers. Pure.

What has the status 200 is a page for everyone: nothing went wrong of which a program should know. Neither form contains
anything from the request.
"""

import functools
import json
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from callback_edge import problems
from callback_edge.call.answer import Answer
from callback_edge.pages.languages import best_language
from callback_edge.pages.page_cache import Pages
from callback_edge.problems import Problem

_JSON: Final = "application/problem+json"
_HTML: Final = "text/html"
_LOOKED_AT: Final = 1024
"""How many characters are looked at of what a caller accepts: browsers say it in fewer, and each entry costs."""
_OFFERED: Final = (_JSON, "application/json", _HTML)  # whoever takes any JSON gets the problem


class Problems:
    """Answers with problems. The connections have it, and give it to the application in the scope's state."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._documents = {problem: _document(problem, pages.detail(problem)) for problem in problems.ALL}

    def answer(
        self,
        problem: Problem,
        asked: Iterable[tuple[bytes, bytes]] = (),
        *,
        retry_after_s: int | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Answer:
        """Answer with a problem.

        Args:
            problem: what is the matter.
            asked: the request's header fields, names in lower case. Who prefers HTML gets a page, in the language that
                is wanted most, and everyone else problem+json.
            retry_after_s: what `Retry-After` says; None leaves it out.
            headers: fields that belong to this status, such as `allow`.
        """
        fields = [(name, value.decode("latin-1")) for name, value in asked if name in (b"accept", b"accept-language")]
        extra = [*headers] if retry_after_s is None else [*headers, ("retry-after", str(retry_after_s))]
        is_for_all = problem.status < 400
        if not is_for_all and not _prefers_page(_joined(fields, b"accept")):
            own = [("content-type", _JSON), ("vary", "accept")]
            return Answer(problem.status, own + extra, self._documents[problem])
        language = best_language(_joined(fields, b"accept-language"), self._pages.languages)
        own = [
            ("content-type", f"{_HTML}; charset=utf-8"),
            ("content-language", language),
            ("vary", "accept-language" if is_for_all else "accept, accept-language"),
            ("content-security-policy", self._pages.policy(problem)),
        ]
        return Answer(problem.status, own + extra, self._pages.page(problem, language))


def problems_of(scope: Any) -> Problems:
    """Return what answers with problems where the request has this ASGI scope."""
    problems: Problems = scope["state"]["problems"]
    return problems


def _joined(fields: Iterable[tuple[bytes, str]], name: bytes) -> str:
    return ",".join(value for each, value in fields if each == name)[:_LOOKED_AT]


@functools.lru_cache(maxsize=256)  # most callers say the same, and to look at it costs a part of what a refusal does
def _prefers_page(accept: str) -> bool:
    return parse_accept_header(accept, MIMEAccept).best_match(_OFFERED, default=_JSON) == _HTML


def _document(problem: Problem, detail: str) -> bytes:
    # No `type`: it is `about:blank` then, which asks for the status's own phrase as the title; `code` says the rest.
    document = {
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": detail,
        "code": problem.code,
    }
    return json.dumps(document).encode() + b"\n"
