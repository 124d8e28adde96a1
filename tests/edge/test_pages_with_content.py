"""Pages with the content of one callback: responses of the type page, and prompts."""

import json
import re

import pytest
from google.rpc import error_details_pb2
from support.edge import BROWSER, EdgeProcess, answering, ask, prompting, refusal, refusing, running_edge

from callback.v1 import callback_pb2, edge_service_pb2


def page(code=200, heading="Thank you", **fields):
    """Return the server's answer for type page."""
    return edge_service_pb2.InvokeResponse(
        response=callback_pb2.Response(
            response_type=callback_pb2.RESPONSE_TYPE_PAGE,
            response_code=code,
            response_heading=heading,
            **{f"response_{name}": value for name, value in fields.items()},
        )
    )


FULL = page(201, text="Your order\nhas arrived.", link_label="To the shop", link_url="https://shop.example/?a=b&c")


async def test_a_browser_gets_heading_text_and_link_in_the_template(plane, edge):
    plane.script = answering(FULL)
    answer = await ask(edge, headers=[BROWSER, ("Accept-Language", "nl")])
    shown = answer.text
    assert (answer.status, answer["content-type"]) == (201, "text/html; charset=utf-8")
    assert (answer["vary"], answer.all("content-language")) == ("accept, accept-language", [])
    assert '<html lang="nl">' in shown
    assert '<main class="answer">' in shown
    assert "<title>Thank you</title>" in shown
    assert "<h1>Thank you</h1>\n<p>Your order\nhas arrived.</p>" in shown
    assert '<a class="action" href="https://shop.example/?a=b&amp;c">To the shop</a>' in shown
    assert "form-action 'none'" in answer["content-security-policy"]
    answer.assert_fixed_headers()


async def test_a_program_gets_the_content_as_text(plane, edge):
    plane.script = answering(FULL)
    for accept in ([], [("Accept", "*/*")], [("Accept", "application/json")]):
        answer = await ask(edge, method="POST", headers=accept)
        assert (answer.status, answer["content-type"], answer["vary"]) == (201, "text/plain; charset=utf-8", "accept")
        assert answer.body == b"Thank you\n\nYour order\nhas arrived.\n\nTo the shop: https://shop.example/?a=b&c\n"
        answer.assert_fixed_headers()


async def test_content_is_text_and_never_markup(plane, edge):
    planted = "<script>alert('1')</script>\"><b>{{ 7 * 7 }}"
    plane.script = answering(
        page(heading=planted, text=planted, link_label=planted, link_url="https://a.example/?q='><script>")
    )
    shown = (await ask(edge, headers=[BROWSER])).text
    assert "<script" not in shown
    assert "<b>" not in shown
    assert shown.count("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&#34;&gt;&lt;b&gt;{{ 7 * 7 }}") == 4
    assert 'href="https://a.example/?q=&#39;&gt;&lt;script&gt;"' in shown


async def test_a_page_without_a_link_has_none(plane, edge):
    for fields in ({}, {"link_url": "https://shop.example"}):
        plane.script = answering(page(**fields))
        assert "<a" not in (await ask(edge, headers=[BROWSER])).text
        assert (await ask(edge)).body == b"Thank you\n"


async def test_a_page_with_an_error_code_looks_like_a_refusal(plane, edge):
    plane.script = answering(page(404, text="We do not know this order."))
    answer = await ask(edge, headers=[BROWSER])
    assert answer.status == 404
    assert '<main class="refused">' in answer.text


@pytest.mark.parametrize("code", [204, 205])
async def test_a_code_without_a_body_has_no_page(plane, edge, code):
    plane.script = answering(page(code))
    answer = await ask(edge, headers=[BROWSER])
    assert (answer.status, answer.body, answer.all("content-type")) == (code, b"", [])


@pytest.mark.parametrize(
    "response",
    [
        page(302),
        page(heading=""),
        page(heading="a\nb"),
        page(link_label="Shop"),
        page(link_label="Shop", link_url="/relative"),
        page(link_label="Shop", link_url="javascript:alert(1)"),
        page(language='nl"><script>'),
    ],
)
async def test_a_page_that_cannot_be_rendered_is_a_clean_502(plane, edge, response):
    plane.script = answering(response)
    answer = await ask(edge, headers=[BROWSER])
    assert answer.status == 502
    assert "response_invalid" in answer.text


@pytest.mark.parametrize("accept", [[], [("Accept", "application/json")], [BROWSER]])
async def test_a_prompt_is_a_page_with_a_button_for_each_choice_for_any_accept(plane, edge, accept):
    plane.script = prompting(text="It costs\n500 euros.", approve="Approve", reject="Reject")
    answer = await ask(edge, headers=[*accept, ("Accept-Language", "nl")])
    shown = answer.text
    assert (answer.status, answer["content-type"], answer["vary"]) == (
        200, "text/html; charset=utf-8", "accept-language"
    )  # fmt: skip
    assert "<title>Approve order 5?</title>" in shown
    assert "<h1>Approve order 5?</h1>\n<p>It costs\n500 euros.</p>" in shown
    assert '<html lang="nl">' in shown
    assert re.search(r'<form method="post" class="pairs">(.*?)\n</form>', shown, re.DOTALL)[1].split("\n") == [
        '<button name="callback_choice" value="approve">Approve</button>',
        '<button class="quiet" name="callback_choice" value="reject">Reject</button>',
    ]
    assert "callback_confirm" not in shown
    assert "frame-ancestors 'none'" in answer["content-security-policy"]
    assert "form-action" not in answer["content-security-policy"]
    answer.assert_fixed_headers()


async def test_a_prompt_without_choices_has_the_button_of_the_language(plane, edge):
    plane.script = prompting()
    shown = (await ask(edge, headers=[("Accept-Language", "nl")])).text
    assert "<h1>Approve order 5?</h1>" in shown
    assert '<form method="post"><button name="callback_confirm" value="1">Doorgaan</button></form>' in shown


@pytest.mark.parametrize("language", ["pt-BR", "ja"])
async def test_a_page_is_in_the_language_that_its_owner_says(plane, edge, language):
    plane.script = answering(page(200, language=language))
    answer = await ask(edge, headers=[BROWSER, ("Accept-Language", "nl")])
    assert f'<html lang="{language}">' in answer.text
    assert (answer["content-language"], (await ask(edge))["content-language"]) == (language, language)


@pytest.mark.parametrize(
    ("language", "button"),
    [("nl", ">Doorgaan"), ("nl-BE", ">Doorgaan"), ("ja", ' lang="en">Continue'), ("", ">Continue")],
)
async def test_a_prompt_and_its_button_are_in_the_language_that_the_owner_says(plane, edge, language, button):
    """The button is in that of the visitor if the edge has no texts in that of the owner."""
    plane.script = prompting(language=language)
    shown = (await ask(edge, headers=[BROWSER, ("Accept-Language", "en")])).text
    assert f'<html lang="{language or "en"}">' in shown
    assert f'<button name="callback_confirm" value="1"{button}</button>' in shown


async def test_a_prompt_is_text_and_never_markup(plane, edge):
    planted = "<script>alert('1')</script>\"><b>"
    plane.script = prompting(planted, planted, value=planted)
    shown = (await ask(edge)).text
    assert "<script" not in shown
    assert "<b>" not in shown
    assert shown.count("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&#34;&gt;&lt;b&gt;") == 4


async def test_a_confirmation_template_of_the_operator_without_choices_is_not_used_for_prompts(plane, tmp_path):
    (tmp_path / "confirmation.html").write_text(
        "<p>Acme</p>{{ heading }}{{ text }}"
        '<form method="post"><button name="callback_confirm" value="1">{{ button }}</button></form>'
    )
    async with running_edge(plane.target, templates_dir=tmp_path) as edge:
        plane.script = prompting(approve="Approve")
        assert 'value="approve">Approve</button>' in (await ask(edge)).text
        plane.script = refusing("CONFIRMATION_REQUIRED", "FAILED_PRECONDITION")
        assert "<p>Acme</p>" in (await ask(edge)).text


async def test_templates_of_the_operator_show_the_content(plane, tmp_path):
    (tmp_path / "page.html").write_text("<h1>Acme: {{ heading }}</h1>{{ text }}{% block more %}{% endblock %}")
    (tmp_path / "answer.html").write_text(
        '{% extends "page.html" %}{% block more %}{% if link_url %}'
        '<a href="{{ link_url }}">&rarr; {{ link_label }}</a>{% endif %}{% endblock %}'
    )
    async with running_edge(plane.target, templates_dir=tmp_path) as edge:
        plane.script = answering(FULL)
        shown = (await ask(edge, headers=[BROWSER])).text
    assert shown == (
        "<h1>Acme: Thank you</h1>Your order\nhas arrived."
        '<a href="https://shop.example/?a=b&amp;c">&rarr; To the shop</a>'
    )


async def test_a_template_of_the_operator_that_hides_the_content_is_not_used_for_it(plane, tmp_path):
    """A template of before there was such content has no place for it."""
    (tmp_path / "page.html").write_text(
        '<h1>Acme</h1><form method="post"><button name="callback_confirm" value="1">{{ button }}</button></form>'
    )
    plane.script = answering(FULL)
    async with EdgeProcess(plane.target, templates_dir=tmp_path) as edge:
        shown = (await ask(edge, headers=[BROWSER])).text
        assert "answer.html" in [entry["template"] for entry in edge.events("template_not_used")]
    assert "<h1>Thank you</h1>" in shown
    assert re.search("<style>.+</style>", shown, re.DOTALL)


def filled_in(*problems_by_field):
    """Return a script that refuses a form of two fields with what was entered, and with these pairs of problems."""
    prompt = callback_pb2.Prompt(title="Expenses")
    prompt.fields.add(name="amount", label="Amount", kind=callback_pb2.FIELD_KIND_NUMBER, default_value='1"><b>')
    prompt.fields.add(name="note", label="Note", help="In a few words", maximum="20", is_required=True)

    async def script(_request, _context):
        refused = refusal("FIELDS_INVALID", "INVALID_ARGUMENT")
        bad = error_details_pb2.BadRequest()
        for name, problem in problems_by_field:
            bad.field_violations.add(field=name, reason=problem)
        for detail in (bad, prompt):
            refused.status.details.add().Pack(detail)
        raise refused

    return script


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("en", ("Please check what you filled in", "Enter a number, such as 12.50.", "Use at most 20 characters.")),
        ("nl", ("Controleer wat u hebt ingevuld", "Vul een getal in, zoals 12.50.", "Gebruik ten hoogste 20 tekens.")),
    ],
)
async def test_what_does_not_fit_is_a_page_with_the_errors_at_the_fields_and_what_was_entered(
    plane, edge, language, texts
):
    plane.script = filled_in(("amount", "form"), ("note", "too_large"))
    answer = await ask(
        edge, headers=[BROWSER, ("Accept-Language", language)], method="POST", body=b"callback_confirm=1"
    )
    assert answer.status == 422
    for text in texts:
        assert text in answer.text
    assert 'value="1&#34;&gt;&lt;b&gt;"' in answer.text
    assert 'aria-describedby="field-2-help field-2-error" aria-invalid="true"' in answer.text
    assert "form-action" not in answer["content-security-policy"]
    assert answer["vary"] == "accept, accept-language"
    answer.assert_fixed_headers()


async def test_times_of_a_form_are_shown_in_utc_as_the_page_says(plane, edge):
    prompt = callback_pb2.Prompt(title="When?")
    prompt.fields.add(
        name="at",
        label="At",
        kind=callback_pb2.FIELD_KIND_DATE_TIME,
        default_value="2026-01-02T00:30:10+02:00",
        minimum="2026-01-01T00:00:00Z",
        maximum="2026-12-31T23:59",
    )

    async def script(_request, _context):
        refused = refusal("CONFIRMATION_REQUIRED", "FAILED_PRECONDITION")
        refused.status.details.add().Pack(prompt)
        raise refused

    plane.script = script
    shown = (await ask(edge, headers=[BROWSER])).text
    assert 'value="2026-01-01T22:30" min="2026-01-01T00:00" max="2026-12-31T23:59"' in shown
    assert "At (<span>UTC</span>)" in shown


async def test_a_program_gets_the_errors_of_the_fields_as_json(plane, edge):
    plane.script = filled_in(("note", "required"))
    answer = await ask(edge, method="POST", body=b'{"callback_confirm": "1"}')
    assert (answer.status, answer["content-type"]) == (422, "application/problem+json")
    document = json.loads(answer.text)
    assert (document["code"], document["errors"]) == (
        "fields_invalid",
        [{"field": "note", "code": "required", "detail": "This is required."}],
    )


async def test_a_form_template_of_the_operator_that_leaves_something_out_is_not_used(plane, tmp_path):
    (tmp_path / "form.html").write_text(
        "<p>Acme</p>{{ heading }}{{ text }}"
        '<form method="post"><button name="callback_confirm" value="1">{{ button }}</button></form>'
    )
    async with running_edge(plane.target, templates_dir=tmp_path) as edge:
        plane.script = filled_in(("note", "required"))
        shown = (await ask(edge, headers=[BROWSER], method="POST", body=b"callback_confirm=1")).text
        assert ('name="note"' in shown, "Acme" in shown) == (True, False)
