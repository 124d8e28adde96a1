"""Pages: those of problems are rendered at the start and answered from memory, those with content at each answer.

The pages are Jinja templates in the one environment of the Quart application, `app.jinja_env`. `Pages` renders the page
of each problem once in each language when the edge starts, because an answer from memory costs a fraction of Quart's
request and a rendering, and refusals must be cheap. The path of a call, the connection (for requests that no
application sees) and Quart's error handlers in `views` all answer from here. For the same reason a broken template
stops the start and not an answer, and nothing of a request can reach a page of a problem.

1. A file in the operator's folder replaces the built-in file of the same name. Texts are replaced one by one.
2. A page is self-contained: no external resource, and no script except that of the waiting page. Its policy forbids any
   other.
3. A page with the content of one callback (`page_content.py`) is rendered when it is answered. Where a template of the
   operator does not show the content, such as one from before there was such content, the built-in files are used.
4. The waiting page is one of a problem, with the path of the call in place of another text when it is answered. So is
   the part of a page that says how to try again.
"""

import base64
import dataclasses
import enum
import functools
import hashlib
import itertools
import json
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self

import jinja2
from markupsafe import Markup
from quart import Quart
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from callback_edge import problems
from callback_edge.brand import Brand
from callback_edge.page_content import SAMPLE, SAMPLE_FORM, SAMPLE_PROMPT, FieldContent, PageContent, PromptContent
from callback_edge.pages.languages import DEFAULT, best_language, primary_language
from callback_edge.pages.page_checks import (
    check_confirmation,
    check_style,
    check_waiting,
    has_content,
    has_form,
    has_prompt,
)
from callback_edge.pages.template_errors import TemplatesError, template_errors
from callback_edge.pages.texts import Texts, read_texts, source_of
from callback_edge.problems import Problem
from callback_process import logs
from callback_process.http.answer import HttpAnswer

log = logs.get_logger()

JINJA_OPTIONS: Final[Mapping[str, Any]] = {
    "undefined": jinja2.StrictUndefined,  # a misspelt name is an error, not a gap on the page
    "trim_blocks": True,
}
"""Options of `app.jinja_env`."""

LAYOUT: Final = "page.html"
CONFIRMATION: Final = "confirmation.html"
FORM: Final = "form.html"
NOTICE: Final = "notice.html"
ERROR: Final = "error.html"
AGAIN: Final = "again.html"
ANSWER: Final = "answer.html"
WAITING: Final = "waiting.html"
_SCRIPT: Final = "waiting.js"
_WAIT_PATH: Final = "/wait/the-path-of-the-call"
"""Stands for the path in the rendered waiting page."""
_WAIT_RETRY_S: Final = 1
"""Value of `Retry-After` of a caller that is told to wait: a request at the address of the call waits by itself."""
_STYLE: Final = "style.css"
_FILES: Final = (LAYOUT, CONFIRMATION, FORM, NOTICE, ERROR, ANSWER, AGAIN, WAITING, _STYLE)
BLUEPRINT: Final = "pages"
"""Name of the blueprint whose folder has the built-in files."""
_BUTTON: Final = f"{problems.CONFIRMATION_REQUIRED.text_key}.button"
_REFERENCE: Final = "the-reference-of-the-error"
"""Stands for the reference in the rendered pages and documents of errors."""
_CASE_DIGITS: Final = 8
"""Digits of the id of a case in the reference on a page: as many as a search for a case needs."""
_OWN_DIGITS: Final = 4
"""Digits of the rest of the id of a call there: they tell the calls of one case apart."""
_HOW_TO_TRY_AGAIN: Final = "how-to-try-again"
"""Stands for the part that says how to try again in the rendered pages of errors."""
AGAIN_QUERY: Final = b"again"
"""Query of the address of a call with which a browser asks to be sent back to the callback."""
_WAIT: Final = frozenset(
    ("body_timeout", "busy", "call_in_progress", "prefetch_refused", "too_many_requests", "unavailable")
)
"""Text keys of the errors that ask for patience."""
_DONE: Final = frozenset(("answer_not_repeated",))
"""Text keys of the errors that say that all is done."""

_JSON: Final = "application/problem+json"
_HTML: Final = "text/html"
_NO_ORIGIN: Final = "'none'"
_MAX_ACCEPT_CHARS: Final = 1024
"""How many characters of an accept header are parsed. Browsers send fewer, and each entry costs time."""
_OFFERED: Final = (_JSON, "application/json", _HTML)  # a client that accepts any JSON gets the problem

_BLANK: Final = {
    "again": "", "brand_label": "", "button": "", "button_language": "", "choices": (), "code": "",
    "ended_heading": "", "ended_text": "", "errors_heading": "", "fields": (), "layout": "", "link_label": "",
    "link_url": "", "nothing": "", "optional": "", "reference": "", "reference_label": "", "utc": "",
}  # fmt: skip
"""Variables of the templates that not every page has."""

_Headers = Iterable[tuple[bytes, bytes]]
"""Headers of a request, with names in lower case."""


class Again(enum.Enum):
    """How a person can try again what failed."""

    AT_ADDRESS = ""
    """By a button that opens the same address again."""
    AT_CALLBACK = f"?{AGAIN_QUERY.decode()}"
    """By a button at the address of a call that leads back to the callback."""
    AT_SENDER = None
    """At the site that sent the person here: the request to make again is one of that site."""


class Pages:
    """Answers to problems, and with content: pages for people, JSON or text for programs. `render` makes it."""

    def __init__(
        self,
        pages: Mapping[tuple[Problem, str, bool], bytes],
        texts: Mapping[str, Texts],
        style: str,
        answer_template: jinja2.Template,
        prompt_template: jinja2.Template,
        form_template: jinja2.Template,
        again: Mapping[tuple[Again, str], bytes],
        script: str,
        *,
        has_images: bool,
    ) -> None:
        self._has_images = has_images
        self._pages = pages
        self._answer_template = answer_template
        self._prompt_template = prompt_template
        self._again = again
        self._form_template = form_template
        self._texts = texts
        self._languages = texts.keys()
        self._documents = {
            (each, has_reference): _document(each, texts[DEFAULT][f"{each.text_key}.text"], has_reference=has_reference)
            for each, has_reference in itertools.product(problems.ALL, (False, True))
        }
        self._style_hash, self._script_hash = _source_hash(style), _source_hash(script)

    @classmethod
    async def render(cls, app: Quart, brand: Brand) -> Self:
        """Render all pages of an application.

        Args:
            app: The application.
            brand: The brand of the pages.

        Raises:
            TemplatesError: A file of the operator's folder cannot be used, or no file of it is a template.
        """
        environment = app.jinja_env
        folder = app.template_folder
        builtin = app.blueprints[BLUEPRINT].jinja_loader
        loaders = [each for each in (builtin, app.jinja_loader) if each]
        try:
            _check_folder(folder)
            texts = read_texts(environment, loaders, _FILES)
            with template_errors(_STYLE):
                style = source_of(environment, environment.loader or loaders[0], _STYLE)
                if "</" in style:
                    raise ValueError("must not have </")  # it would end the style
            style += brand.style
            environment.globals["brand"] = brand
            environment.globals["style"] = Markup(style)  # noqa: S704  # built in or the operator's, never a caller's
            script = source_of(environment, loaders[0], _SCRIPT)
            environment.globals["waiting_script"] = Markup(script)  # noqa: S704  # built in
            rendered = {key: page async for key, page in _render_all(environment, loaders[0], texts, style, script)}
            answer_template = await _answer_template(environment, loaders[0], style)
            prompt_template = await _prompt_template(environment, loaders[0], texts, style)
            form_template = await _form_template(environment, loaders[0], texts)
            again = {key: part async for key, part in _render_again(environment, texts)}
        except TemplatesError as error:
            raise TemplatesError(f"templates_dir {folder}: {error}") from None
        return cls(
            rendered,
            texts,
            style,
            answer_template,
            prompt_template,
            form_template,
            again,
            script,
            has_images=bool(brand.logo),
        )

    @property
    def languages(self) -> Sequence[str]:
        """Languages of the pages, the default first."""
        return tuple(self._languages)

    def answer(
        self,
        problem: Problem,
        request_headers: _Headers = (),
        *,
        retry_after_s: int | None = None,
        headers: Sequence[tuple[str, str]] = (),
        reference: str = "",
        again: Again | None = None,
        frame_origins: Sequence[str] = (),
    ) -> HttpAnswer:
        """Return the answer to a problem.

        A problem with the status 200 is a page for every client. Any other is a page for a client that prefers HTML,
        and problem+json (RFC 9457) for the rest.

        Args:
            problem: The problem.
            request_headers: Headers of the request.
            retry_after_s: Value of `Retry-After`, in seconds; None omits it.
            headers: More headers of the answer, such as `allow`.
            reference: Reference of an error, by which it is found. It has only letters, digits and `-`. A page has the
                first digits of an id.
            again: How a person can try again. None: that makes no sense.
            frame_origins: Origins whose pages may show a page in a frame.
        """
        if retry_after_s is not None:
            headers = [*headers, ("retry-after", str(retry_after_s))]
        if problem.status < 400:
            return self._page(problem, request_headers, headers, frame_origins, vary="accept-language")
        if prefers_page(request_headers):
            answer = self._page(
                problem,
                request_headers,
                headers,
                frame_origins,
                vary="accept, accept-language",
                has_reference=bool(reference),
            )
            part = b"" if again is None else self._again[again, self._language(request_headers)]
            body = answer.body.replace(_REFERENCE.encode(), _short(reference).encode())
            return dataclasses.replace(answer, body=body.replace(_HOW_TO_TRY_AGAIN.encode(), part))
        own = [("content-type", _JSON), ("vary", "accept")]
        document = self._documents[problem, bool(reference)].replace(_REFERENCE.encode(), reference.encode())
        return HttpAnswer(problem.status, [*own, *headers], document)

    def wait(self, wait_path: str, request_headers: _Headers, frame_origins: Sequence[str] = ()) -> HttpAnswer:
        """Return the answer to a caller that waits at the address of its call: a page that becomes the answer, or 202.

        The page asks at the address by itself: with a script, or without one by a refresh. Each request there waits, so
        both show the answer as soon as there is one.
        """
        headers = [("location", wait_path), ("retry-after", str(_WAIT_RETRY_S))]
        if not prefers_page(request_headers):
            own = [("content-type", "application/json"), ("vary", "accept")]
            return HttpAnswer(problems.WAITING.status, [*own, *headers], self._documents[problems.WAITING, False])
        answer = self._page(problems.WAITING, request_headers, headers, frame_origins, vary="accept, accept-language")
        body = answer.body.replace(_WAIT_PATH.encode(), wait_path.encode())
        reference = _short(wait_path.split("/")[2])
        return dataclasses.replace(answer, body=body.replace(_REFERENCE.encode(), reference.encode()))

    async def respond(
        self, content: PageContent, request_headers: _Headers, frame_origins: Sequence[str] = ()
    ) -> HttpAnswer:
        """Return the answer with this content: a page for a client that prefers HTML, text for the rest."""
        said = [("content-language", content.language)] if content.language else []
        if not prefers_page(request_headers):
            headers = [("content-type", "text/plain; charset=utf-8"), ("vary", "accept"), *said]
            return HttpAnswer(content.status, headers, content.as_text())
        language, headers = self._head(request_headers, "accept, accept-language", self._policy(frame_origins))
        # A handler that does not say the language, but knows its caller, writes in the caller's language.
        page = await _render_answer(self._answer_template, content, content.language or language)
        return HttpAnswer(content.status, [*headers, *said], page.encode())

    async def ask(self, problem: Problem, prompt: PromptContent, request_headers: _Headers) -> HttpAnswer:
        """Return the confirmation page of a case with a prompt, for every client.

        Where what was entered does not fit, a client that does not prefer HTML gets problem+json with the errors.
        """
        if prompt.has_problems and not prefers_page(request_headers):
            return self._field_errors(problem, prompt)
        vary = "accept, accept-language" if prompt.has_problems else "accept-language"
        language, headers = self._head(request_headers, vary, self._policy(has_form=True))
        own = primary_language(prompt.language)
        own_language = own if own in self._languages else language
        template = self._form_template if prompt.fields else self._prompt_template
        page = await _render_prompt(
            template, problem, prompt, prompt.language or language, self._texts[own_language], own_language
        )
        return HttpAnswer(problem.status, headers, page.encode())

    def _field_errors(self, problem: Problem, prompt: PromptContent) -> HttpAnswer:
        document = json.loads(self._documents[problem, False])
        texts = self._texts[DEFAULT]
        document["errors"] = [
            {"field": each.name, "code": each.problem, "detail": _error_of(each, texts)}
            for each in prompt.fields
            if each.problem
        ]
        body = json.dumps(document).encode() + b"\n"
        return HttpAnswer(problem.status, [("content-type", _JSON), ("vary", "accept")], body)

    def page(self, problem: Problem, language: str) -> bytes:
        """Return the page of a problem."""
        return self._pages[problem, language, False].replace(_HOW_TO_TRY_AGAIN.encode(), b"")

    def policy(self, problem: Problem, frame_origins: Sequence[str] = ()) -> str:
        """Return the `Content-Security-Policy` of a problem's page.

        Only a person who has the link can press the button: no site can frame the page, and no cache keeps it
        (`Cache-Control: no-store`, as on every answer). There is no token against cross-site requests: a site that
        makes a browser post needs the case's secret URL, and a caller who knows it needs no browser of another person.
        """
        if problem is problems.WAITING:
            return f"{self._policy(frame_origins)}; script-src 'sha256-{self._script_hash}'; connect-src 'self'"
        if problem in problems.WITH_PROMPT:
            return self._policy(has_form=True)
        return self._policy(frame_origins)

    def _policy(self, frame_origins: Sequence[str] = (), *, has_form: bool = False) -> str:
        directives = [
            "default-src 'none'",
            f"style-src 'sha256-{self._style_hash}'",
            "base-uri 'none'",
            f"frame-ancestors {' '.join(frame_origins) or _NO_ORIGIN}",
        ]
        if self._has_images:
            directives.append("img-src data:")
        if not has_form:
            # Chromium applies form-action also to a redirect that answers a form. The button leads to its own address,
            # and from there to the case's redirect, which can be any: every restriction would stop it.
            directives.append("form-action 'none'")
        return "; ".join(directives)

    def _page(
        self,
        problem: Problem,
        request_headers: _Headers,
        headers: Sequence[tuple[str, str]],
        frame_origins: Sequence[str],
        *,
        vary: str,
        has_reference: bool = False,
    ) -> HttpAnswer:
        language, own = self._head(request_headers, vary, self.policy(problem, frame_origins))
        own.append(("content-language", language))
        return HttpAnswer(problem.status, [*own, *headers], self._pages[problem, language, has_reference])

    def _head(self, request_headers: _Headers, vary: str, policy: str) -> tuple[str, list[tuple[str, str]]]:
        """Return the language of a page, and the headers that every page has."""
        language = self._language(request_headers)
        own = [
            ("content-type", f"{_HTML}; charset=utf-8"),
            ("vary", vary),
            ("content-security-policy", policy),
        ]
        return language, own

    def _language(self, request_headers: _Headers) -> str:
        return best_language(_joined(request_headers, b"accept-language"), self._languages)


def _short(reference: str) -> str:
    """Return a reference as a page has it, short enough to be read out on the phone.

    Of the id of a call these are the first digits of both of its parts. `callback trace` and the console find the call
    by them, as by those of any id.
    """
    case, dash, own = reference.partition("-")
    return f"{case[:_CASE_DIGITS]}-{own[:_OWN_DIGITS]}" if dash else reference


def _source_hash(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


def prefers_page(request_headers: _Headers) -> bool:
    """Return whether a caller prefers a page: it is a browser."""
    return _prefers_html(_joined(request_headers, b"accept"))


def _check_folder(folder: str | os.PathLike[str] | None) -> None:
    if folder is not None and not Path(folder).is_dir():
        raise TemplatesError("does not exist, or is not a folder")


async def _render_all(
    environment: jinja2.Environment, builtin: jinja2.BaseLoader, texts: Mapping[str, Texts], style: str, script: str
) -> AsyncIterator[tuple[tuple[Problem, str, bool], bytes]]:
    """Render the page of each problem in each language, and that of an error also with a reference."""
    for problem, (language, found), has_reference in itertools.product(problems.ALL, texts.items(), (False, True)):
        if has_reference and problem.status < 400:
            continue
        name, kind = _template_of(problem)
        with template_errors(name):
            page = await _render_problem(
                environment.get_template(name), problem, kind, language, found, has_reference=has_reference
            )
            if problem is problems.WAITING and _WAIT_PATH not in page:
                template = _builtin_template(environment, builtin, name, f"show the block more in {LAYOUT}")
                page = await _render_problem(template, problem, kind, language, found)
        with template_errors(LAYOUT):
            check_style(page, style)
        with template_errors(name):
            if problem is problems.CONFIRMATION_REQUIRED:
                check_confirmation(page)
            if problem is problems.WAITING:
                check_waiting(page, _WAIT_PATH, script)
        yield (problem, language, has_reference), page.encode()


async def _render_again(
    environment: jinja2.Environment, texts: Mapping[str, Texts]
) -> AsyncIterator[tuple[tuple[Again, str], bytes]]:
    """Render the part that says how to try again, for each way and in each language."""
    with template_errors(AGAIN):
        template = environment.get_template(AGAIN)
        for again, (language, found) in itertools.product(Again, texts.items()):
            part = await template.render_async(
                link_url=again.value, link_label=found["again.link_label"], text=found["again.text"]
            )
            yield (again, language), part.encode()


async def _render_problem(
    template: jinja2.Template,
    problem: Problem,
    kind: str,
    language: str,
    found: Texts,
    *,
    has_reference: bool = False,
) -> str:
    return await template.render_async(
        _BLANK,
        language=language,
        kind=kind,
        heading=found[f"{problem.text_key}.heading"],
        text=found[f"{problem.text_key}.text"],
        button=found.get(f"{problem.text_key}.button", ""),
        link_label=found.get(f"{problem.text_key}.link_label", ""),
        link_url=_WAIT_PATH if problem is problems.WAITING else "",
        ended_heading=found.get(f"{problem.text_key}.ended_heading", ""),
        ended_text=found.get(f"{problem.text_key}.ended_text", ""),
        reference=_REFERENCE if has_reference or problem is problems.WAITING else "",
        reference_label=found["reference.label"],
        again=_HOW_TO_TRY_AGAIN if problem.status >= 400 else "",
        brand_label=found["brand.link_label"],
        status=problem.status,
        code=problem.code,
    )


async def _answer_template(environment: jinja2.Environment, builtin: jinja2.BaseLoader, style: str) -> jinja2.Template:
    """Return the template of an answer with content: the operator's if it shows the content, else the built-in one."""
    with template_errors(ANSWER):
        template = environment.get_template(ANSWER)
        page = await _render_answer(template, SAMPLE, DEFAULT)
        await _render_answer(template, PageContent(404, "A heading", ""), DEFAULT)
    with template_errors(LAYOUT):
        check_style(page, style)
    if has_content(page, SAMPLE):
        return template
    return _builtin_template(environment, builtin, ANSWER, f"show heading, text and link in {LAYOUT} and {ANSWER}")


async def _prompt_template(
    environment: jinja2.Environment, builtin: jinja2.BaseLoader, texts: Mapping[str, Texts], style: str
) -> jinja2.Template:
    """Return the template of a prompt: the operator's if it shows all of one, else the built-in one."""
    with template_errors(CONFIRMATION):
        template = environment.get_template(CONFIRMATION)
        page = await _render_prompt(
            template, problems.CONFIRMATION_REQUIRED, SAMPLE_PROMPT, DEFAULT, texts[DEFAULT], DEFAULT
        )
    with template_errors(LAYOUT):
        check_style(page, style)
    if has_prompt(page, SAMPLE_PROMPT):
        return template
    to_do = f"show heading, text and a button for each choice in {LAYOUT} and {CONFIRMATION}"
    return _builtin_template(environment, builtin, CONFIRMATION, to_do)


async def _form_template(
    environment: jinja2.Environment, builtin: jinja2.BaseLoader, texts: Mapping[str, Texts]
) -> jinja2.Template:
    """Return the template of a form: the operator's if it shows all of one, else the built-in one."""
    with template_errors(FORM):
        template = environment.get_template(FORM)
        page = await _render_prompt(template, problems.FIELDS_INVALID, SAMPLE_FORM, DEFAULT, texts[DEFAULT], DEFAULT)
    if has_form(page, SAMPLE_FORM, _error_of(SAMPLE_FORM.fields[-1], texts[DEFAULT])):
        return template
    to_do = f"show heading, text, fields with help and errors, and a button for each choice in {LAYOUT} and {FORM}"
    return _builtin_template(environment, builtin, FORM, to_do)


def _builtin_template(
    environment: jinja2.Environment, builtin: jinja2.BaseLoader, name: str, to_do: str
) -> jinja2.Template:
    log.warning("template_not_used", template=name, to_do=f"{to_do}; until then the built-in files are used")
    return environment.overlay(loader=builtin).get_template(name)


async def _render_prompt(
    template: jinja2.Template, problem: Problem, prompt: PromptContent, language: str, texts: Texts, own_language: str
) -> str:
    """Render what a prompt asks in its `language`, with texts in a language that the edge has."""
    return await template.render_async(
        _BLANK,
        language=language,
        kind="question",
        heading=prompt.heading,
        text=prompt.text,
        button=texts[_BUTTON],
        button_language=own_language if primary_language(language) != own_language else "",
        choices=prompt.choices,
        fields=[(each, _error_of(each, texts)) for each in prompt.fields],
        errors_heading=texts[f"{problems.FIELDS_INVALID.text_key}.heading"] if prompt.has_problems else "",
        optional=texts["field.optional"],
        utc=texts["field.utc"],
        nothing=texts["field.nothing"],
        layout="pairs" if prompt.has_pairs else "column",
        status=problem.status,
        code=problem.code,
    )


def _error_of(field: FieldContent, texts: Texts) -> str:
    """Return the text of the error at a field. Empty: there is none."""
    match field.problem:
        case "":
            return ""
        case "required":
            return texts["field.required"]
        case "too_small" | "too_large":
            counted = "characters" if field.is_text else "choices" if field.kind == "choices" else "value"
            bound = field.minimum if field.problem == "too_small" else field.maximum
            return texts[f"field.{counted}_{field.problem}"].replace("{bound}", field.shown(bound))
    return texts.get(f"field.form_{field.kind}", texts["field.form"])


async def _render_answer(template: jinja2.Template, content: PageContent, language: str) -> str:
    return await template.render_async(
        _BLANK,
        language=language,
        kind="answer" if content.status < 400 else "refused",
        heading=content.heading,
        text=content.text,
        link_label=content.link_label,
        link_url=content.link_url if content.link_label else "",
        status=content.status,
    )


def _template_of(problem: Problem) -> tuple[str, str]:
    """Return the template of a problem's page, and the kind of page: question, note, wait, done, fault or refused."""
    if problem is problems.CONFIRMATION_REQUIRED:
        return CONFIRMATION, "question"
    if problem is problems.WAITING:
        return WAITING, "wait"
    if problem.status < 400:
        return NOTICE, "note"
    if problem.text_key in _WAIT:
        return ERROR, "wait"
    if problem.text_key in _DONE:
        return ERROR, "done"
    return ERROR, "fault" if problem.status >= 500 else "refused"


def _joined(headers: _Headers, name: bytes) -> str:
    return ",".join(value.decode("latin-1") for each, value in headers if each == name)[:_MAX_ACCEPT_CHARS]


@functools.lru_cache(maxsize=256)  # most callers send the same, and to parse it is a good part of a refusal's cost
def _prefers_html(accept: str) -> bool:
    return parse_accept_header(accept, MIMEAccept).best_match(_OFFERED, default=_JSON) == _HTML


def _document(problem: Problem, detail: str, *, has_reference: bool) -> bytes:
    # Without `type` it is `about:blank`, whose title is the status's own phrase. `code` says the rest.
    document = {
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": detail,
        "code": problem.code,
    }
    if has_reference:
        document["reference"] = _REFERENCE
    return json.dumps(document).encode() + b"\n"
