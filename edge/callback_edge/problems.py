"""A refusal, made into an HTTP answer: problem+json (RFC 9457) for programs, a readable page for browsers. Pure.

The page stands by itself: no script, nothing from elsewhere, and a policy that forbids both. Neither form contains
anything from the request.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from importlib import resources
from typing import Final

import jinja2
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from callback_edge.answer import Answer
from callback_edge.status import Problem

_JSON: Final = "application/problem+json"
_HTML: Final = "text/html"
_OFFERED: Final = (_JSON, "application/json", _HTML)  # whoever takes any JSON gets the problem

_TEMPLATES: Final = resources.files("callback_edge") / "templates"
_STYLE: Final = (_TEMPLATES / "problem.css").read_text(encoding="utf-8")
_PAGE: Final = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
    (_TEMPLATES / "problem.html").read_text(encoding="utf-8")
)
_PAGE_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'"
)


def problem_answer(
    problem: Problem, accept: str = "", *, retry_after_s: int | None = None, headers: Sequence[tuple[str, str]] = ()
) -> Answer:
    """Answer with a problem.

    Args:
        problem: what is the matter.
        accept: the request's `Accept`; a page for who prefers HTML, problem+json for everyone else.
        retry_after_s: what `Retry-After` says; None leaves it out.
        headers: fields that belong to this status, such as `allow`.
    """
    extra = [*headers] if retry_after_s is None else [*headers, ("retry-after", str(retry_after_s))]
    if _prefers_page(accept):
        page_headers = [("content-type", "text/html; charset=utf-8"), ("content-security-policy", _PAGE_POLICY)]
        return Answer(problem.status, page_headers + extra, _page(problem))
    return Answer(problem.status, [("content-type", _JSON), *extra], _json(problem))


def _prefers_page(accept: str) -> bool:
    return parse_accept_header(accept, MIMEAccept).best_match(_OFFERED, default=_JSON) == _HTML


@cache
def _json(problem: Problem) -> bytes:
    # No `type`: it is `about:blank` then, which asks for the status's own phrase as the title; `code` says the rest.
    document = {
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.text,
        "code": problem.code,
    }
    return json.dumps(document).encode() + b"\n"


@cache
def _page(problem: Problem) -> bytes:
    return _PAGE.render(problem=problem, style=_STYLE).encode()
