"""Pages: their content, their language, and templates of the operator."""

import json
import re
import tomllib

import pytest
from quart import render_template
from support.edge import (
    BROWSER,
    EdgeProcess,
    answering,
    ask,
    failed_start,
    new_state,
    plain,
    refusing,
    running_edge,
    style_hash,
)
from support.tree import PACKAGES

from callback_edge import problems

TEMPLATES = PACKAGES["callback_edge"] / "pages/templates"
LANGUAGES = ("en", "nl")


def texts(language):
    return tomllib.loads((TEMPLATES / f"texts.{language}.toml").read_text())


def speaks(language):
    return ("Accept-Language", language)


async def test_a_page_is_in_the_language_of_the_caller_and_declares_it(plane, edge):
    plane.script = refusing("CALLBACK_CLOSED")
    for language in LANGUAGES:
        for path in (None, "/cb/unknown", "/nowhere"):
            answer = await ask(edge, path, headers=[BROWSER, speaks(language)])
            assert f'<html lang="{language}">' in answer.text
            assert (answer["content-language"], answer["vary"]) == (language, "accept, accept-language")
            assert answer["content-type"] == "text/html; charset=utf-8"
            answer.assert_fixed_headers()
    closed = await ask(edge, headers=[BROWSER, speaks("de"), speaks("nl;q=0.5")])
    assert texts("nl")["callback_closed"]["heading"] in closed.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_claims_more_than_its_problem_says(language):
    """A closed callback may have FAILED, and one at a shared address may be closed and not unknown."""
    closed, unknown, invalid = (
        texts(language)[key]["text"] for key in ("callback_closed", "state_unknown", "response_invalid")
    )
    assert not re.search("received|processed|ontvangen|verwerkt", closed + invalid)
    assert not re.search("stored|bewaard", unknown)


CROSS, CHECK = 'd="M7 7l10 10M17 7 7 17"', 'd="M6 12.5l4 4L18 8"'
"""What the signs of pages are drawn with."""


async def test_what_was_already_processed_has_a_check_and_no_cross(plane, edge):
    async def signs(reason, address):
        plane.script = refusing(reason)
        page = (await ask(edge, address, headers=[BROWSER])).text
        return [each for each in (CROSS, CHECK) if each in page]

    for address in (f"/cb/{new_state()}", f"/cbq/state?state={new_state()}"):
        assert await signs("ANSWER_NOT_REPEATED", address) == [CHECK]
        assert await signs("CALLBACK_CLOSED", address) == [CROSS]


OF_PROGRAMS = {"bad_request", "http_version_not_supported", "not_implemented", "service_worker_refused"}
"""Text keys of what no person sees: a browser sends no such request, or shows no answer to it."""
ADVICE = {
    "en": "[Pp]lease ",
    "nl": r"\b([Nn]eem (dan )?contact|Controleer|Ga terug|Open|Probeer|Verstuur|Verwijder|Vraag|Wacht) ",
}
JARGON = r"(?i)\b(callback|fields?|handler|head|headers?|method\w*|parameter|state)\b"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_error_says_what_a_person_can_do_and_in_plain_words(language):
    keys = {each.text_key for each in problems.ALL if each.status >= 400} - OF_PROGRAMS
    said = {key: texts(language)[key] for key in keys}
    assert [key for key, each in said.items() if not re.search(ADVICE[language], each["text"])] == []
    assert [key for key, each in said.items() if re.search(JARGON, f"{each['heading']} {each['text']}")] == []


async def test_rejected_data_without_a_response_is_a_page_or_a_problem(plane, edge):
    plane.script = answering(plain(code=422, call_id="the-call", rejected_without_response=True))
    answer = await ask(edge, method="POST")
    assert answer.problem == (422, "call_rejected")
    assert json.loads(answer.body)["reference"] == "the-call"
    for language in LANGUAGES:
        page = await ask(edge, method="POST", headers=[BROWSER, speaks(language)])
        assert (page.status, page["content-type"]) == (422, "text/html; charset=utf-8")
        assert texts(language)["call_rejected"]["text"] in page.text
    plane.script = answering(plain(b"own", code=422))
    assert (await ask(edge, method="POST")).body == b"own"


async def test_problem_json_is_in_english_for_every_language(plane, edge):
    plane.script = refusing("CALLBACK_CLOSED")
    answer = await ask(edge, headers=[speaks("nl")])
    assert json.loads(answer.body) == {
        "title": "Gone",
        "status": 410,
        "detail": texts("en")["callback_closed"]["text"],
        "code": "callback_closed",
        "reference": "the-call",
    }
    assert (answer["vary"], answer.all("content-language")) == ("accept", [])


async def test_a_page_is_self_contained_and_repeats_nothing_of_the_request(plane, edge):
    plane.script = refusing("CALLBACK_CLOSED")
    planted = "<script>alert(1)</script>"
    headers = [BROWSER, speaks(f"nl, {planted}"), ("Referer", planted), ("Cookie", planted)]
    answer = await ask(edge, f"/cb/{new_state()}?q={planted}", headers=headers)
    page = answer.text
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
    page = answer.text
    assert (answer.status, answer["content-language"], answer["vary"]) == (200, "nl", "accept-language")
    assert '<form method="post"><button name="callback_confirm" value="1">Doorgaan</button></form>' in page
    assert "confirmation_required" not in page
    assert "frame-ancestors 'none'" in answer["content-security-policy"]
    assert "form-action" not in answer["content-security-policy"]
    answer.assert_fixed_headers()


async def test_a_link_checker_gets_a_page_that_reveals_nothing(plane, edge):
    plane.script = refusing("AGENT_DETECTED", "FAILED_PRECONDITION")
    for path in (None, f"/cbq/state?state={new_state()}"):
        answer = await ask(edge, path)
        page = answer.text
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
            answer = await ask(edge, headers=[BROWSER, speaks(language)])
            page = answer.text
            assert "<style>body { color: maroon }</style>" in page
            assert f"style-src {style_hash(page)};" in answer["content-security-policy"]
            assert f"<h1>{heading}</h1>" in page
            assert texts(language)["callback_closed"]["text"] in page


async def test_a_page_of_the_operator_may_have_own_parts_and_languages(plane, folder):
    german = (TEMPLATES / "texts.en.toml").read_text().replace("Continue", "Weiter")
    theirs = folder(page__html=PAGE, logo__svg="<svg><circle r='9'/></svg>", texts__de__toml=german)
    async with running_edge(plane.target, templates_dir=theirs) as edge:
        plane.script = refusing("CONFIRMATION_REQUIRED", "FAILED_PRECONDITION")
        answer = await ask(edge, headers=[BROWSER, speaks("de-AT, nl;q=0.9")])
        page = answer.text
        assert '<html lang="de">' in page
        assert "<svg><circle r='9'/></svg>" in page
        assert 'value="1">Weiter</button>' in page
        assert f"style-src {style_hash(page)};" in answer["content-security-policy"]


CONFIRMATION = """{% extends "page.html" %}{% block more %}<form method="post">
<button name="callback_confirm" value="1">Ja: {{ button }}</button></form>{% endblock %}"""


async def test_a_single_page_of_the_operator_keeps_the_built_in_layout(plane, folder):
    async with running_edge(plane.target, templates_dir=folder(confirmation__html=CONFIRMATION)) as edge:
        plane.script = refusing("CONFIRMATION_REQUIRED", "FAILED_PRECONDITION")
        page = (await ask(edge, headers=[BROWSER])).text
        assert 'value="1">Ja: Continue</button>' in page
        assert '<main class="question">' in page
        plane.script = refusing("CALLBACK_CLOSED")
        page = (await ask(edge, headers=[BROWSER])).text
        assert "<button" not in page
        assert "410 · callback_closed" in page


async def test_a_view_renders_a_template_of_the_operator_first(folder, monkeypatch):
    theirs = folder(
        waiting__html='{% extends "page.html" %}',
        page__html="<p>{{ text }} {% block more %}{% endblock %}",
        confirmation__html=CONFIRMATION,
    )
    monkeypatch.chdir(theirs.parent)
    async with running_edge(templates_dir=theirs.name) as edge:

        @edge.app.get("/waiting")
        async def waiting():
            return await render_template("waiting.html", text="<wait>")

        assert (await ask(edge, "/waiting")).body == b"<p>&lt;wait&gt; "


async def test_an_edge_with_broken_templates_does_not_start(folder):
    theirs = folder(page__html="{% if %}")
    problem = "page.html, line 1: Expected an expression, got 'end of statement block'"
    assert await failed_start(templates_dir=theirs) == (1, [f"callback edge: templates_dir {theirs}: {problem}\n"])
