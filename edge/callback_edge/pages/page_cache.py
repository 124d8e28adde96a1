"""Cache of all pages, rendered from Jinja templates when the process starts.

1. Every page is rendered once in each language. So a broken template stops the start and not an answer, and nothing of
   a request can reach a page.
2. A file in the operator's folder replaces the built-in file of the same name. Texts are replaced one by one.
3. A page is self-contained: no script, no external resource, and a policy that forbids both.
"""

import base64
import hashlib
import itertools
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup

from callback_edge import problems
from callback_edge.pages.languages import DEFAULT
from callback_edge.pages.page_checks import check_confirmation, check_style
from callback_edge.pages.template_errors import TemplatesError, template_errors
from callback_edge.pages.texts import Texts, read_texts, source_of
from callback_edge.problems import Problem

JINJA_OPTIONS: Final[Mapping[str, Any]] = {
    "undefined": jinja2.StrictUndefined,  # a misspelt name is an error, not a gap on the page
    "trim_blocks": True,
}
"""Options of the templates, here and in the Quart application."""

LAYOUT: Final = "page.html"
CONFIRMATION: Final = "confirmation.html"
NOTICE: Final = "notice.html"
ERROR: Final = "error.html"
_STYLE: Final = "style.css"
_FILES: Final = (LAYOUT, CONFIRMATION, NOTICE, ERROR, _STYLE)
_BUILTIN: Final = jinja2.PackageLoader("callback_edge.pages", "templates")
_WAIT: Final = frozenset(
    ("body_timeout", "busy", "call_in_progress", "prefetch_refused", "too_many_requests", "unavailable")
)
"""Text keys of the errors that ask for patience."""


class PageCache:
    """Every page in every language.

    Args:
        folder: the operator's folder; None uses only the built-in files.

    Raises:
        TemplatesError: a file of the folder cannot be used, or no file of it is a template.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None and not folder.is_dir():
            raise TemplatesError(f"templates_dir {folder}: does not exist, or is not a folder")
        overrides = [] if folder is None else [jinja2.FileSystemLoader(folder)]
        loader = jinja2.ChoiceLoader([*overrides, _BUILTIN])
        environment = jinja2.Environment(loader=loader, autoescape=True, **JINJA_OPTIONS)
        try:
            self._texts = read_texts(environment, [_BUILTIN, *overrides], _FILES)
            with template_errors(_STYLE):
                style = source_of(environment, loader, _STYLE)
                if "</" in style:
                    raise ValueError("must not have </")  # it would end the style
            self._pages = dict(_render_all(environment, self._texts, style))
        except TemplatesError as error:
            raise TemplatesError(f"templates_dir {folder}: {error}") from None
        self._style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

    @property
    def languages(self) -> Collection[str]:
        """Languages of the pages, the default first."""
        return self._texts.keys()

    def page(self, problem: Problem, language: str) -> bytes:
        """Return the page of a problem."""
        return self._pages[problem, language]

    def detail(self, problem: Problem) -> str:
        """Return the text of a problem for programs, which is English."""
        return self._texts[DEFAULT][f"{problem.text_key}.text"]

    def policy(self, problem: Problem) -> str:
        """Return the `Content-Security-Policy` of a problem's page.

        Only a person who has the link can press the button: no site can frame the page, and no cache keeps it
        (`Cache-Control: no-store`, as on every answer). There is no token against cross-site requests: a site that
        makes a browser post needs the case's secret URL, and a caller who knows it needs no browser of another person.
        """
        directives = [
            "default-src 'none'",
            f"style-src 'sha256-{self._style_hash}'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ]
        if problem is not problems.CONFIRMATION_REQUIRED:
            # Chromium applies form-action also to a redirect that answers a form. The button leads to its own address,
            # and from there to the case's redirect, which can be any: every restriction would stop it.
            directives.append("form-action 'none'")
        return "; ".join(directives)


def _render_all(
    environment: jinja2.Environment, texts: Mapping[str, Texts], style: str
) -> Iterator[tuple[tuple[Problem, str], bytes]]:
    for problem, (language, found) in itertools.product(problems.ALL, texts.items()):
        name, kind = _template_of(problem)
        with template_errors(name):
            page = environment.get_template(name).render(
                language=language,
                kind=kind,
                heading=found[f"{problem.text_key}.heading"],
                text=found[f"{problem.text_key}.text"],
                button=found.get(f"{problem.text_key}.button", ""),
                status=problem.status,
                code=problem.code,
                style=Markup(style),  # noqa: S704  # built in or the operator's, never a caller's
            )
            if problem is problems.CONFIRMATION_REQUIRED:
                check_confirmation(page)
        with template_errors(LAYOUT):
            check_style(page, style)
        yield (problem, language), page.encode()


def _template_of(problem: Problem) -> tuple[str, str]:
    """Return the template of a problem's page, and the kind of page: question, note, wait, fault or refused."""
    if problem is problems.CONFIRMATION_REQUIRED:
        return CONFIRMATION, "question"
    if problem.status < 400:
        return NOTICE, "note"
    if problem.text_key in _WAIT:
        return ERROR, "wait"
    return ERROR, "fault" if problem.status >= 500 else "refused"
