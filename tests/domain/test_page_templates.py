"""Pages without an edge: their texts, the choice of the language, and the checks of templates of the operator."""

import asyncio
import tomllib

import pytest
from support.tree import PACKAGES, ROOT

from callback.v1 import error_reason_pb2, options_pb2
from callback_edge import problems
from callback_edge.app import create_app
from callback_edge.brand import Brand
from callback_edge.pages.languages import best_language
from callback_edge.pages.pages import Pages
from callback_edge.pages.template_errors import TemplatesError
from callback_edge.settings import EdgeSettings

TEMPLATES = PACKAGES["callback_edge"] / "pages/templates"
LANGUAGES = ("en", "nl")


def pages(folder=None):
    return asyncio.run(Pages.render(create_app(EdgeSettings(templates_dir=folder)), Brand()))


def texts(language):
    return tomllib.loads((TEMPLATES / f"texts.{language}.toml").read_text())


def test_every_language_has_all_texts_and_no_others():
    keys = [{(entry, part) for entry, parts in texts(each).items() for part in parts} for each in LANGUAGES]
    assert keys[0] == keys[1]
    others = {"again", "brand", "field", "reference"}
    assert texts("en").keys() == {problem.text_key for problem in problems.ALL} | others
    assert tuple(pages().languages) == LANGUAGES
    for entry, english in texts("en").items():
        dutch = texts("nl")[entry]
        if entry in ("brand", "field", "reference"):
            assert english != dutch
            continue
        assert english["text"] != dutch["text"]
        assert english["text"][-1] == dutch["text"][-1] == "."


def test_the_english_heading_of_a_reason_is_its_title_in_the_contract():
    for reason, problem in problems.BY_REASON.items():
        value = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name[f"ERROR_REASON_{reason}"]
        title = value.GetOptions().Extensions[options_pb2.title] or reason.replace("_", " ").capitalize()
        assert texts("en")[problem.text_key]["heading"] == title, reason


@pytest.mark.parametrize(
    ("accept_language", "language"),
    [
        ("", "en"), ("nl", "nl"), ("NL-nl", "nl"), ("nl-NL,nl;q=0.9,en-US;q=0.8,en;q=0.7", "nl"),
        ("nl-BE, en;q=0.9", "nl"), ("en-GB,nl;q=0.9", "en"), ("en;q=0.5,nl;q=0.6", "nl"), ("nl;q=0.5,en;q=0.6", "en"),
        ("nl, en", "nl"), ("en, nl", "en"), ("de, fr;q=0.9", "en"), ("de, nl;q=0.1", "nl"), ("*", "en"),
        ("nl;q=0.5, *", "en"), ("*;q=0.5, nl", "nl"), ("en;q=0, *", "nl"), ("nl;q=0", "en"), ("nl;q=0, en;q=0", "en"),
        ("*;q=0", "en"), ("nld", "en"), ("nl;q=nan", "en"), (";;,=,\xff;q=2, -, nl-", "nl"),
    ],
)  # fmt: skip
def test_the_preferred_language_is_used(accept_language, language):
    assert best_language(accept_language, LANGUAGES) == language


@pytest.fixture
def folder(tmp_path):
    """Write a folder of templates."""

    def write(**files):
        for name, content in files.items():
            (tmp_path / name.replace("__", ".")).write_text(content)
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"page__html": "a\n{% if %}"}, "page.html, line 2: Expected an expression, got 'end of statement block'"),
        ({"page__html": "{{ headding }}"}, "page.html: 'headding' is undefined"),
        ({"page__html": "{{ 1 // 0 }}"}, "page.html: integer division or modulo by zero"),
        ({"page__html": "{% include 'nowhere' %}"}, "page.html: there is no nowhere"),
        ({"page__html": "{{ heading }}"}, "confirmation.html: the confirmation page needs one form"),
        ({"page__html": "<style>{{ style }} </style>"}, "page.html: <style> must have {{ style }} and nothing else"),
        ({"page__html": "<style>{{ style | upper }}</style>"}, "page.html: <style> must have {{ style }} and nothing"),
        ({"texts__pt-br__toml": ""}, "texts.pt-br.toml: a language has two or three small letters; regions are not"),
        ({"texts__nl__toml": "[a\n"}, "texts.nl.toml: Expected ']' at the end of a table declaration"),
        ({"texts__nl__toml": "[a]\nb = 'c'"}, "texts.nl.toml: unknown: a.b"),
        ({"texts__en__toml": "[a]\nb = 'c'"}, "texts.en.toml: unknown: a.b"),
        ({"texts__nl__toml": "[busy]\ntext = 5"}, "texts.nl.toml: must be text: busy.text"),
        ({"texts__nl__toml": "busy = 'x'"}, "texts.nl.toml: must be a table: busy"),
        ({"texts__de__toml": "[busy]\ntext = 'x'"}, "texts.de.toml: missing: again.link_label, "),
        ({"waiting__html": "{{ link_url }}"}, "waiting.html: the waiting page needs <script data-path="),
        ({"waiting__html": "<script>{{ waiting_script }}</script>{{ link_url }}"},
         "waiting.html: the waiting page needs <script data-path="),
        ({"waiting__html": '<script data-path="{{ link_url }}">{{ waiting_script }} </script>'},
         "waiting.html: the waiting page needs <script data-path="),
        ({"waiting__html": '<script data-path="{{ link_url }}">{{ waiting_script }}</script>'},
         "waiting.html: the waiting page needs <noscript><meta "),
        ({"style__css": "</style><script>"}, "style.css: must not have </"),
        ({"pages__html": "a"}, "has no page.html, confirmation.html, form.html, notice.html, error.html, answer.html,"),
    ],
)  # fmt: skip
def test_broken_templates_are_refused_with_the_reason(folder, files, problem):
    theirs = folder(**files)
    with pytest.raises(TemplatesError) as caught:
        pages(theirs)
    assert str(caught.value).startswith(f"templates_dir {theirs}: {problem}")
    assert "\n" not in str(caught.value)


BUTTON = '<button name="callback_confirm" value="1">x</button>'


@pytest.mark.parametrize(
    "page",
    [
        f'<form method="post"></form>{BUTTON}',
        f'<!-- <form method="post">{BUTTON}</form> -->',
        f"<form>{BUTTON}</form>",
        f'<form method="get">{BUTTON}</form>',
        f'<form method="post" action="/done">{BUTTON}</form>',
        f'<form method="post" enctype="multipart/form-data">{BUTTON}</form>',
        f'<form method="post"><input name="q">{BUTTON}</form>',
        f'<form method="post" id="f">{BUTTON}</form><input name="q" form="f">',
        f'<form method="post">{BUTTON}{BUTTON}</form>',
        f'<form method="post">{BUTTON}</form><form></form>',
        '<form method="post"><button name="callback_confirm" value="2">x</button></form>',
        '<form method="post"><button name="callback_confirm">x</button></form>',
        '<form method="post"><button name="confirm" value="1">x</button></form>',
        '<form method="post"><button type="button" name="callback_confirm" value="1">x</button></form>',
        '<form method="post"><button formaction="/" name="callback_confirm" value="1">x</button></form>',
        '<form method="post"><button formmethod="get" name="callback_confirm" value="1">x</button></form>',
        '<form method="post"><input type="checkbox" name="callback_confirm" value="1"><button>x</button></form>',
    ],
)
def test_a_page_whose_button_does_not_confirm_is_refused(folder, page):
    with pytest.raises(TemplatesError, match=r"confirmation\.html: the confirmation page needs one form"):
        pages(folder(page__html=page))


@pytest.mark.parametrize(
    "page",
    [
        f'<form method="post">{BUTTON}</form>',
        f"<FORM class=x METHOD=POST><p>{BUTTON.replace('name', 'class=y NAME')}</FORM>",
        "<!-- <form> --><form method='post'><button type=submit value='1' name=callback&#95;confirm>x</button></form>",
    ],
)
def test_a_button_that_confirms_may_be_written_in_any_way(folder, page):
    assert pages(folder(page__html=page)).page(problems.CONFIRMATION_REQUIRED, "en").decode() == page


def test_a_missing_folder_is_reported(tmp_path):
    for path in (tmp_path / "none", tmp_path / "file"):
        (tmp_path / "file").touch()
        with pytest.raises(TemplatesError, match=f"templates_dir {path}: does not exist, or is not a folder"):
            pages(path)


def test_an_unreadable_file_is_named(folder):
    theirs = folder()
    (theirs / "style.css").write_bytes(b"\xff")
    with pytest.raises(TemplatesError, match=r"style\.css: 'utf-8' codec can't decode"):
        pages(theirs)


def test_the_settings_name_every_file_that_may_be_replaced():
    lines = (ROOT / "docs/settings.md").read_text().splitlines()
    (row,) = (line for line in lines if "CALLBACK_EDGE_TEMPLATES_DIR" in line)
    files = {path.name for pattern in ("*.html", "*.css") for path in TEMPLATES.glob(pattern)}
    assert {name for name in files if f"`{name}`" not in row} == set()
