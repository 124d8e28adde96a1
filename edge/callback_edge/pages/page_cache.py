"""The pages that people read, made from templates when the process starts.

1. Every page is rendered once, in each language. So a template that is broken stops the start and not an answer, and
   nothing of a request can reach one.
2. A file in the operator's folder takes the place of ours of that name. Of its texts only those need be there that
   differ; a language that we do not have needs all.
3. A page stands by itself: no script, nothing from elsewhere, and a policy that forbids both.
"""

import base64
import contextlib
import hashlib
import itertools
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import jinja2
from markupsafe import Markup

from callback_edge import problems
from callback_edge.pages.languages import DEFAULT
from callback_edge.problems import Problem

_PAGE: Final = "page.html"
_STYLE: Final = "style.css"
_TEXTS: Final = re.compile(r"texts\.([a-z]{2,3})\.toml")
_OURS: Final = jinja2.PackageLoader("callback_edge.pages", "templates")
_ANY_TEXTS: Final = re.compile(r"texts\..*\.toml")
_CONFIRM: Final = ("callback_confirm", "1")
_WAITING: Final = frozenset(
    ("body_timeout", "busy", "call_in_progress", "prefetch_refused", "too_many_requests", "unavailable")
)
"""The entries that ask for patience."""

_Texts = dict[str, str]
"""A language's texts, by `entry.part`. The parts are heading, text, and for what has a button, button."""


class TemplatesError(Exception):
    """Templates can not be used. Its text is one line, fit to be shown as it is."""


class Pages:
    """Every page in every language."""

    def __init__(self, folder: Path | None = None) -> None:
        """Read the templates, and render.

        Args:
            folder: the operator's; None takes only ours.

        Raises:
            TemplatesError: one of its files can not be read or does not work, or none of them is a template.
        """
        if folder is not None and not folder.is_dir():
            raise TemplatesError(f"templates_dir {folder}: is not there, or no folder")
        theirs = [] if folder is None else [jinja2.FileSystemLoader(folder)]
        loader = jinja2.ChoiceLoader([*theirs, _OURS])
        # StrictUndefined: a misspelt name is an error, not a gap on the page.
        templates = jinja2.Environment(
            loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
        )
        try:
            self._texts = _read_texts(templates, [_OURS, *theirs])
            with _naming(_STYLE):
                style = _source(templates, loader, _STYLE)
                if "</" in style:
                    raise ValueError("must not have </")  # there the style would end
            self._pages = dict(_render(templates, self._texts, style))
        except TemplatesError as error:
            raise TemplatesError(f"templates_dir {folder}: {error}") from None
        self._style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

    @property
    def languages(self) -> Collection[str]:
        """The languages that there are, the default first."""
        return self._texts.keys()

    def page(self, problem: Problem, language: str) -> bytes:
        """Return the page of a problem."""
        return self._pages[problem, language]

    def detail(self, problem: Problem) -> str:
        """Return its text for programs, which is English."""
        return self._texts[DEFAULT][f"{problem.entry}.text"]

    def policy(self, problem: Problem) -> str:
        """Return the `Content-Security-Policy` of its page.

        The button is pressed by whoever has the link, and by nobody for them. No site can frame the page, and no cache
        keeps it (`Cache-Control: no-store`, as on every answer). There is no token against forged posts: a site that
        makes a browser post needs the case's secret URL, and who knows that needs no one else's browser.
        """
        directives = [
            "default-src 'none'",
            f"style-src 'sha256-{self._style_hash}'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ]
        if problem is not problems.CONFIRMATION_REQUIRED:
            # Chromium holds a redirect that answers a form to form-action too. The button leads to its own address, but
            # from there wherever the case's redirect says: any restriction would stop it.
            directives.append("form-action 'none'")
        return "; ".join(directives)


def _read_texts(templates: jinja2.Environment, loaders: list[jinja2.BaseLoader]) -> dict[str, _Texts]:
    """Return the texts of every language, those of later loaders over those of earlier ones."""
    texts: dict[str, _Texts] = {DEFAULT: {}}
    for loader in loaders:
        names = loader.list_templates()
        if not any(name in (_PAGE, _STYLE) or _ANY_TEXTS.fullmatch(name) for name in names):
            raise TemplatesError(f"has no {_PAGE}, {_STYLE} or texts.LANGUAGE.toml")
        for name in names:
            if match := _TEXTS.fullmatch(name):
                with _naming(name):
                    texts[match[1]] = texts.get(match[1], {}) | _flat(_source(templates, loader, name))
            elif _ANY_TEXTS.fullmatch(name):
                raise TemplatesError(f"{name}: a language is two or three small letters; regions are not supported")
    known = _flat(_source(templates, _OURS, f"texts.{DEFAULT}.toml")).keys()
    for language, found in texts.items():
        for odd, what in ((found.keys() - known, "does not know"), (known - found.keys(), "lacks")):
            if odd:
                raise TemplatesError(f"texts.{language}.toml: {what} {', '.join(sorted(odd))}")
    return texts


def _flat(toml: str) -> _Texts:
    texts: _Texts = {}
    for entry, parts in tomllib.loads(toml).items():
        if not isinstance(parts, dict):
            raise ValueError(f"must be a table: {entry}")
        for part, text in parts.items():
            if not isinstance(text, str):
                raise ValueError(f"must be text: {entry}.{part}")
            texts[f"{entry}.{part}"] = text
    return texts


def _source(templates: jinja2.Environment, loader: jinja2.BaseLoader, name: str) -> str:
    return loader.get_source(templates, name)[0]


def _render(
    templates: jinja2.Environment, texts: Mapping[str, _Texts], style: str
) -> Iterator[tuple[tuple[Problem, str], bytes]]:
    with _naming(_PAGE):
        template = templates.get_template(_PAGE)
        for problem, (language, found) in itertools.product(problems.ALL, texts.items()):
            page = template.render(
                language=language,
                kind=_kind(problem),
                heading=found[f"{problem.entry}.heading"],
                text=found[f"{problem.entry}.text"],
                button=found.get(f"{problem.entry}.button", ""),
                status=problem.status,
                code=problem.code,
                style=Markup(style),  # noqa: S704 - the operator's or ours, never a caller's
            )
            outline = _Outline(page)
            if any(each != style for each in outline.styles):
                raise ValueError("<style> must have {{ style }} and nothing else, not even a space")
            if problem is problems.CONFIRMATION_REQUIRED and not outline.confirms:
                raise ValueError(
                    'the page with a button needs one form, with method="post", no action, and in it one name only:'
                    ' <button name="callback_confirm" value="1">'
                )
            yield (problem, language), page.encode()


class _Outline(HTMLParser):
    """What must be right of a page: its styles, which its policy knows by their hash, and its form."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.styles: list[str] = []
        self._open = ""
        self._forms: list[dict[str, str | None]] = []
        self._named: list[tuple[str, str, dict[str, str | None]]] = []
        """Whatever may be sent: where it is, what it is, and its attributes."""
        self.feed(page)
        self.close()

    @property
    def confirms(self) -> bool:
        """Whether its one form sends a confirmation, exactly, to the page's own address."""
        if len(self._forms) != 1 or len(self._named) != 1:
            return False
        ((where, tag, field),) = self._named
        form = self._forms[0]
        return (
            (form.get("method") or "").lower() == "post"
            and not form.keys() & {"action", "enctype"}
            and (where, tag) == ("form", "button")
            and (field.get("name"), field.get("value")) == _CONFIRM
            and (field.get("type") or "submit").lower() == "submit"
            and not field.keys() & {"disabled", "form", "formaction", "formenctype", "formmethod"}
        )

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what begins."""
        if tag in ("form", "style"):
            self._open = tag
        if tag == "style":
            self.styles.append("")
        elif tag == "form":
            self._forms.append(dict(attrs))
        elif tag in ("button", "input", "select", "textarea") and (tag == "button" or "name" in dict(attrs)):
            self._named.append((self._open, tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Note what ends."""
        if tag == self._open:
            self._open = ""

    def handle_data(self, data: str) -> None:
        """Take what is in a style."""
        if self._open == "style":
            self.styles[-1] += data


def _kind(problem: Problem) -> str:
    """Return what kind of page it is: question, note, wait, fault or refused."""
    if problem.status < 400:
        return "question" if problem is problems.CONFIRMATION_REQUIRED else "note"
    if problem.entry in _WAITING:
        return "wait"
    return "fault" if problem.status >= 500 else "refused"


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Say of whatever goes wrong with a template in which file, and on which line if that is known."""
    try:
        yield
    except jinja2.TemplateSyntaxError as error:
        raise TemplatesError(f"{error.name or name}, line {error.lineno}: {error.message}") from None
    except jinja2.TemplateNotFound as error:
        raise TemplatesError(f"{name}: there is no {error.name}") from None
    except Exception as error:
        raise TemplatesError(f"{name}: {error}") from None
