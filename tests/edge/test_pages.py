"""Pages: their content, their language, and templates of the operator."""

import base64
import hashlib
import json
import re
import tomllib

import pytest
from quart import render_template
from support.edge import (
    EdgeProcess,
    ask,
    http_request,
    new_state,
    parse_answers,
    refusing,
    running_edge,
    send_raw,
    serving,
)
from support.tree import PACKAGES

from callback_edge import problems
from callback_edge.app import create_app
from callback_edge.pages.languages import best_language
from callback_edge.pages.page_cache import PageCache
from callback_edge.pages.template_errors import TemplatesError
from callback_edge.settings import EdgeSettings

BROWSER = ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8")
TEMPLATES = PACKAGES["callback_edge"] / "pages/templates"
LANGUAGES = ("en", "nl")


def texts(language):
    return tomllib.loads((TEMPLATES / f"texts.{language}.toml").read_text())


def speaks(language):
    return ("Accept-Language", language)


def style_hash(page):
    (style,) = re.findall(r"<style>(.*)</style>", page, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"


def test_every_language_has_all_texts_and_no_others():
    keys = [{(entry, part) for entry, parts in texts(each).items() for part in parts} for each in LANGUAGES]
    assert keys[0] == keys[1]
    assert texts("en").keys() == {problem.text_key for problem in problems.ALL}
    assert tuple(PageCache().languages) == LANGUAGES
    for entry, english in texts("en").items():
        dutch = texts("nl")[entry]
        assert english["text"] != dutch["text"]
        assert english["text"][-1] == dutch["text"][-1] == "."


@pytest.mark.parametrize(
    ("accept_language", "language"),
    [
        ("", "en"),
        ("nl", "nl"),
        ("NL-nl", "nl"),
        ("nl-NL,nl;q=0.9,en-US;q=0.8,en;q=0.7", "nl"),
        ("nl-BE, en;q=0.9", "nl"),
        ("en-GB,nl;q=0.9", "en"),
        ("en;q=0.5,nl;q=0.6", "nl"),
        ("nl;q=0.5,en;q=0.6", "en"),
        ("nl, en", "nl"),
        ("en, nl", "en"),
        ("de, fr;q=0.9", "en"),
        ("de, nl;q=0.1", "nl"),
        ("*", "en"),
        ("nl;q=0.5, *", "en"),
        ("*;q=0.5, nl", "nl"),
        ("en;q=0, *", "nl"),
        ("nl;q=0", "en"),
        ("nl;q=0, en;q=0", "en"),
        ("*;q=0", "en"),
        ("nld", "en"),
        ("nl;q=nan", "en"),
        (";;,=,\xff;q=2, -, nl-", "nl"),
    ],
)
def test_the_preferred_language_is_used(accept_language, language):
    assert best_language(accept_language, LANGUAGES) == language


async def test_a_page_is_in_the_language_of_the_caller_and_declares_it(plane, edge):
    plane.script = refusing("CALLBACK_CLOSED")
    for language in LANGUAGES:
        for path in (f"/cb/{new_state()}", "/cb/unknown", "/nowhere"):
            answer = await ask(edge, path, headers=[BROWSER, speaks(language)])
            assert f'<html lang="{language}">' in answer.body.decode()
            assert (answer["content-language"], answer["vary"]) == (language, "accept, accept-language")
            assert answer["content-type"] == "text/html; charset=utf-8"
            answer.assert_fixed_headers()
    closed = await ask(edge, f"/cb/{new_state()}", headers=[BROWSER, speaks("de"), speaks("nl;q=0.5")])
    assert texts("nl")["callback_closed"]["heading"] in closed.body.decode()


async def test_problem_json_is_in_english_for_every_language(plane, edge):
    plane.script = refusing("CALLBACK_CLOSED")
    answer = await ask(edge, f"/cb/{new_state()}", headers=[speaks("nl")])
    assert json.loads(answer.body) == {
        "title": "Gone",
        "status": 410,
        "detail": texts("en")["callback_closed"]["text"],
        "code": "callback_closed",
    }
    assert (answer["vary"], answer.all("content-language")) == ("accept", [])


async def test_a_page_is_self_contained_and_repeats_nothing_of_the_request(plane, edge):
    plane.script = refusing("CALLBACK_CLOSED")
    planted = "<script>alert(1)</script>"
    headers = [BROWSER, speaks(f"nl, {planted}"), ("Referer", planted), ("Cookie", planted)]
    answer = await ask(edge, f"/cb/{new_state()}?q={planted}", headers=headers)
    page = answer.body.decode()
    assert "script" not in page
    assert not re.search(r"https?:|src=|href=|url\(|@import|action=", page)
    assert "410 · callback_closed" in page
    assert answer["content-security-policy"].split("; ") == [
        "default-src 'none'",
        f"style-src {style_hash(page)}",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'none'",
    ]


@pytest.mark.parametrize("accept", [[], [("Accept", "*/*")], [("Accept", "application/json")], [BROWSER]])
async def test_a_call_that_needs_a_confirmation_gets_a_page_with_a_button_for_any_accept(plane, edge, accept):
    plane.script = refusing("CONFIRMATION_REQUIRED", "FAILED_PRECONDITION")
    answer = await ask(edge, f"/cb/{new_state()}?a=b", headers=[*accept, speaks("nl")])
    page = answer.body.decode()
    assert (answer.status, answer["content-language"], answer["vary"]) == (200, "nl", "accept-language")
    assert '<form method="post"><button name="callback_confirm" value="1">Doorgaan</button></form>' in page
    assert "confirmation_required" not in page
    assert "frame-ancestors 'none'" in answer["content-security-policy"]
    assert "form-action" not in answer["content-security-policy"]
    answer.assert_fixed_headers()


async def test_a_link_checker_gets_a_page_that_reveals_nothing(plane, edge):
    plane.script = refusing("AGENT_DETECTED", "FAILED_PRECONDITION")
    for path in (f"/cb/{new_state()}", f"/cbq/state?state={new_state()}"):
        answer = await ask(edge, path)
        page = answer.body.decode()
        assert (answer.status, answer["content-type"]) == (200, "text/html; charset=utf-8")
        assert re.findall(r">\s*([^<>{}]*[^<>{}\s])\s*</(?:title|h1|p)>", page) == [
            "Open this link in a browser", "Open this link in a browser", "There is nothing to show here."
        ]  # fmt: skip
        assert not re.search(
            "agent|detect|form|callback|2[0-9]{2} ", re.sub("<style>.*</style>", "", page, flags=re.DOTALL)
        )
        answer.assert_fixed_headers()


@pytest.fixture
def folder(tmp_path):
    """Write a folder of templates."""

    def write(**files):
        for name, content in files.items():
            (tmp_path / name.replace("__", ".")).write_text(content)
        return tmp_path

    return write


PAGE = """<!doctype html><html lang="{{ language }}"><title>Acme: {{ heading }}</title>
<style>{{ style }}</style><body class="{{ kind }}">{% include "logo.svg" %}<h1>{{ heading }}</h1><p>{{ text }}
{% if button %}<form method="post"><button name="callback_confirm" value="1">{{ button }}</button></form>{% endif %}
{% if status >= 400 %}<small>{{ code }}</small>{% endif %}"""


async def test_files_of_the_operator_replace_single_built_in_files(plane, folder):
    theirs = folder(
        style__css="body { color: maroon }",
        texts__nl__toml='[callback_closed]\nheading = "Klaar & <b>over</b>"',
    )
    plane.script = refusing("CALLBACK_CLOSED")
    async with EdgeProcess(plane.target, templates_dir=theirs) as edge:
        for language, heading in [
            ("nl", "Klaar &amp; &lt;b&gt;over&lt;/b&gt;"),
            ("en", texts("en")["callback_closed"]["heading"]),
        ]:
            request = http_request(f"/cb/{new_state()}", headers=[BROWSER, speaks(language)])
            (answer,) = parse_answers(await send_raw(await edge.port(), request))
            page = answer.body.decode()
            assert "<style>body { color: maroon }</style>" in page
            assert f"style-src {style_hash(page)};" in answer["content-security-policy"]
            assert f"<h1>{heading}</h1>" in page
            assert texts(language)["callback_closed"]["text"] in page


async def test_a_page_of_the_operator_may_have_own_parts_and_languages(plane, folder):
    german = (TEMPLATES / "texts.en.toml").read_text().replace("Continue", "Weiter")
    theirs = folder(page__html=PAGE, logo__svg="<svg><circle r='9'/></svg>", texts__de__toml=german)
    async with running_edge(plane.target, templates_dir=theirs) as edge:
        plane.script = refusing("CONFIRMATION_REQUIRED", "FAILED_PRECONDITION")
        answer = await ask(edge, f"/cb/{new_state()}", headers=[BROWSER, speaks("de-AT, nl;q=0.9")])
        page = answer.body.decode()
        assert '<html lang="de">' in page
        assert "<svg><circle r='9'/></svg>" in page
        assert 'value="1">Weiter</button>' in page
        assert f"style-src {style_hash(page)};" in answer["content-security-policy"]


CONFIRMATION = """{% extends "page.html" %}{% block more %}<form method="post">
<button name="callback_confirm" value="1">Ja: {{ button }}</button></form>{% endblock %}"""


async def test_a_single_page_of_the_operator_keeps_the_built_in_layout(plane, folder):
    async with running_edge(plane.target, templates_dir=folder(confirmation__html=CONFIRMATION)) as edge:
        plane.script = refusing("CONFIRMATION_REQUIRED", "FAILED_PRECONDITION")
        page = (await ask(edge, f"/cb/{new_state()}", headers=[BROWSER])).body.decode()
        assert 'value="1">Ja: Continue</button>' in page
        assert '<main class="question">' in page
        plane.script = refusing("CALLBACK_CLOSED")
        page = (await ask(edge, f"/cb/{new_state()}", headers=[BROWSER])).body.decode()
        assert "<button" not in page
        assert "410 · callback_closed" in page


async def test_a_view_renders_a_template_of_the_operator_first(folder, monkeypatch):
    theirs = folder(
        waiting__html='{% extends "page.html" %}', page__html="<p>{{ text }} {% block more %}{% endblock %}"
    )
    monkeypatch.chdir(theirs.parent)
    app = create_app(EdgeSettings(templates_dir=theirs.name), None)

    @app.get("/waiting")
    async def waiting():
        return await render_template("waiting.html", text="<wait>")

    async with serving(app) as edge:
        assert (await ask(edge, "/waiting")).body == b"<p>&lt;wait&gt; "
        assert b"error.html" in app.jinja_env.loader.get_source(app.jinja_env, "error.html")[1].encode()


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
        ({"texts__de__toml": "[busy]\ntext = 'x'"}, "texts.de.toml: missing: agent_detected.heading, "),
        ({"style__css": "</style><script>"}, "style.css: must not have </"),
        ({"pages__html": "a"}, "has no page.html, confirmation.html, notice.html, error.html, style.css or texts"),
    ],
)
def test_broken_templates_are_refused_with_the_reason(folder, files, problem):
    theirs = folder(**files)
    with pytest.raises(TemplatesError) as caught:
        PageCache(theirs)
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
        PageCache(folder(page__html=page))


@pytest.mark.parametrize(
    "page",
    [
        f'<form method="post">{BUTTON}</form>',
        f"<FORM class=x METHOD=POST><p>{BUTTON.replace('name', 'class=y NAME')}</FORM>",
        "<!-- <form> --><form method='post'><button type=submit value='1' name=callback&#95;confirm>x</button></form>",
    ],
)
def test_a_button_that_confirms_may_be_written_in_any_way(folder, page):
    assert PageCache(folder(page__html=page)).page(problems.CONFIRMATION_REQUIRED, "en").decode() == page


def test_a_missing_folder_is_reported(tmp_path):
    for path in (tmp_path / "none", tmp_path / "file"):
        (tmp_path / "file").touch()
        with pytest.raises(TemplatesError, match=f"templates_dir {path}: does not exist, or is not a folder"):
            PageCache(path)


def test_an_unreadable_file_is_named(folder):
    theirs = folder()
    (theirs / "style.css").write_bytes(b"\xff")
    with pytest.raises(TemplatesError, match=r"style\.css: 'utf-8' codec can't decode"):
        PageCache(theirs)


async def test_an_edge_with_broken_templates_does_not_start(plane, folder):
    theirs = folder(page__html="{% if %}")
    edge = EdgeProcess(plane.target, templates_dir=theirs)
    await edge.start()
    assert await edge.end() == 1
    assert edge.lines == [
        f"callback edge: templates_dir {theirs}: page.html, line 1: Expected an expression,"
        " got 'end of statement block'\n"
    ]
