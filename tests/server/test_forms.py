"""Forms: what a person fills in is checked before the claim, and the handler gets typed values."""

import json
from urllib.parse import urlencode

import pytest
from support.services import refusal

from callback.v1 import callback_pb2 as pb

FIELDS = [
    pb.PromptField(
        name="amount", label="Amount", kind=pb.FIELD_KIND_NUMBER, is_required=True, minimum="0.01", maximum="500"
    ),
    pb.PromptField(name="spent", label="Day", kind=pb.FIELD_KIND_DATE, minimum="2026-01-01"),
    pb.PromptField(name="note", label="Note", kind=pb.FIELD_KIND_LONG_TEXT, maximum="20"),
    pb.PromptField(name="agreed", label="I have the receipt", kind=pb.FIELD_KIND_BOOLEAN),
    pb.PromptField(
        name="costs",
        label="Costs",
        kind=pb.FIELD_KIND_CHOICES,
        choices=[pb.PromptChoice(value="travel", label="Travel"), pb.PromptChoice(value="food", label="Food")],
    ),
]
FILLED = [
    ("amount", "12.50"),
    ("spent", "2026-02-28"),
    ("note", "a\r\nb"),
    ("agreed", "true"),
    ("costs", "food"),
    ("costs", "travel"),
]
VALUES = {"amount": 12.5, "spent": "2026-02-28", "note": "a\nb", "agreed": True, "costs": ["food", "travel"]}
FORM = [pb.Header(name="content-type", value="application/x-www-form-urlencoded")]
JSON = [pb.Header(name="content-type", value="application/json; charset=utf-8")]


def expenses(services, activity="record", *, fields=FIELDS, choices=(), **more):
    """Generate a callback whose page is a form."""
    prompt = pb.Prompt(title="Expenses", fields=fields, choices=choices)
    return services.generate(activity, get_guard=pb.GET_GUARD_CONFIRM, prompt=prompt, **more)


def submit(services, made, entered, **more):
    """Post a form: pairs, or bytes as they are."""
    body = entered if isinstance(entered, bytes) else urlencode([("callback_confirm", "1"), *entered]).encode()
    return services.call(made, body=body, **{"request_headers": FORM} | more)


async def test_what_a_person_fills_in_is_recorded_with_the_call_and_read_from_its_body(services):
    made = await expenses(services)
    assert (await refusal(services.call(made, method="get"))).prompt.fields == FIELDS
    answer = await submit(services, made, FILLED)
    call = await services.call_of(answer.call_id)
    assert json.loads(call.fields_json) == VALUES
    assert (call.request_method, b"amount=12.50" in call.request_body) == ("post", True)
    (listed,) = await services.list_calls(made)
    assert listed.fields_json == ""


async def test_a_program_sends_json_in_place_of_the_form(services):
    made = await expenses(services, allow_multiple_calls=True)
    body = json.dumps({"callback_confirm": "1", **VALUES, "unknown": {"a": 1}}).encode()
    answer = await submit(services, made, body, request_headers=JSON)
    assert json.loads((await services.call_of(answer.call_id)).fields_json) == VALUES
    nothing = json.dumps({"callback_confirm": "1", "amount": 3, "agreed": None}).encode()
    answer = await submit(services, made, nothing, request_headers=JSON)
    assert json.loads((await services.call_of(answer.call_id)).fields_json) == {"amount": 3, "agreed": False}


@pytest.mark.parametrize(
    ("entered", "problems"),
    [
        ([], {"amount": "required"}),
        ([("amount", " ")], {"amount": "required"}),
        ([("amount", "12,5")], {"amount": "form"}),
        ([("amount", "NaN")], {"amount": "form"}),
        ([("amount", "0")], {"amount": "too_small"}),
        ([("amount", "500.01")], {"amount": "too_large"}),
        ([("amount", "100.00000000000000001")], {"amount": "form"}),
        ([("amount", "1"), ("amount", "2")], {"amount": "form"}),
        ([("amount", "1"), ("spent", "2026-02-30")], {"spent": "form"}),
        ([("amount", "1"), ("spent", "2025-12-31")], {"spent": "too_small"}),
        ([("amount", "1"), ("note", "x" * 21)], {"note": "too_large"}),
        ([("amount", "1"), ("note", "a\x00")], {"note": "form"}),
        ([("amount", "1"), ("agreed", "yes")], {"agreed": "form"}),
        ([("amount", "1"), ("costs", "other")], {"costs": "form"}),
        ([("amount", "1"), ("costs", "food"), ("costs", "food")], {"costs": "form"}),
        ([("amount", "x"), ("spent", "y")], {"amount": "form", "spent": "form"}),
    ],
)
async def test_what_does_not_fit_is_no_call_and_comes_back_with_the_reasons(services, entered, problems):
    made = await expenses(services)
    refused = await refusal(submit(services, made, entered))
    assert (refused.reason, refused.rules) == ("FIELDS_INVALID", problems)
    shown = {field.name: field.default_value for field in refused.prompt.fields}
    for name in problems:
        assert shown[name] == ",".join(value for each, value in entered if each == name)
    case = await services.case_of(made)
    assert (case.status, case.call_count) == (pb.CALLBACK_STATUS_OPEN, 0)
    assert (await submit(services, made, FILLED)).response


@pytest.mark.parametrize(
    ("entered", "problems"),
    [("2026-01-01T00:00:00.5Z", {}), ("2026-01-01T01:00+01:00", {}), ("2025-12-31T23:59:59.9Z", {"at": "too_small"})],
)
async def test_a_time_is_compared_with_its_minimum_as_a_time(services, entered, problems):
    at = pb.PromptField(name="at", label="At", kind=pb.FIELD_KIND_DATE_TIME, minimum="2026-01-01T00:00:00Z")
    made = await expenses(services, fields=[at])
    if problems:
        assert (await refusal(submit(services, made, [("at", entered)]))).rules == problems
    else:
        assert (await submit(services, made, [("at", entered)])).response


async def test_a_text_that_is_too_long_comes_back_with_the_maximum_of_its_kind(services):
    made = await expenses(services, fields=[pb.PromptField(name="note", label="Note")])
    refused = await refusal(submit(services, made, [("note", "x" * 501)]))
    assert (refused.rules, refused.prompt.fields[0].maximum) == ({"note": "too_large"}, "500")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (pb.FIELD_KIND_TEXT, "two\u2028lines"),
        (pb.FIELD_KIND_INTEGER, "9007199254740992"),
        (pb.FIELD_KIND_INTEGER, "\u0661"),
        (pb.FIELD_KIND_DATE_TIME, "9999-12-31T23:59-23:59"),
        (pb.FIELD_KIND_URL, "https://shop.example\\@other.example/"),
        (pb.FIELD_KIND_URL, "https://shop.example/a\u00a0b"),
        (pb.FIELD_KIND_URL, "javascript:alert(1)"),
    ],
)
async def test_a_value_that_readers_understand_in_different_ways_does_not_fit(services, kind, text):
    made = await expenses(services, fields=[pb.PromptField(name="a", label="A", kind=kind)])
    assert (await refusal(submit(services, made, [("a", text)]))).rules == {"a": "form"}


async def test_a_program_may_leave_characters_of_a_form_unencoded(services):
    made = await expenses(services)
    answer = await submit(services, made, "callback_confirm=1&amount=1&note=één".encode())
    assert json.loads((await services.call_of(answer.call_id)).fields_json)["note"] == "één"


@pytest.mark.parametrize(
    ("method", "body", "headers"),
    [
        ("post", b"amount=1", FORM),
        ("post", b"callback_confirm=1", []),
        ("post", b"callback_confirm=1&amount=1", [pb.Header(name="content-type", value="text/plain")]),
        ("post", b'{"amount": 1}', JSON),
        ("post", b'["callback_confirm"]', JSON),
        ("post", b'{"callback_confirm": "1", "amount"', JSON),
        ("post", b'{"callback_confirm": "1", "amount": 1, "more": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", JSON),
        ("post", b'{"callback_confirm": "1", "amount": 1, "note": "\\ud800"}', JSON),
        ("post", b"callback_confirm=1&amount=1&more=" + b"%41" * 200_000, FORM),
        ("put", b"callback_confirm=1&amount=1", FORM),
        ("post", b"callback_confirm=1&amount=%ff", FORM),
    ],
)
async def test_any_other_request_is_no_call(services, method, body, headers):
    made = await expenses(services)
    refused = await refusal(services.call(made, method=method, body=body, request_headers=headers))
    assert refused.reason == "CHOICE_REQUIRED"
    assert (await services.case_of(made)).call_count == 0


async def test_a_form_with_choices_needs_one_of_them(services):
    choices = [pb.PromptChoice(value="send", label="Send")]
    made = await expenses(services, choices=choices)
    assert (await refusal(submit(services, made, FILLED))).reason == "CHOICE_REQUIRED"
    answer = await submit(services, made, [*FILLED, ("callback_choice", "send")])
    call = await services.call_of(answer.call_id)
    assert (call.callback_choice, json.loads(call.fields_json)) == ("send", VALUES)


async def test_the_same_form_again_is_a_repeat_and_one_that_was_refused_is_not(services):
    made = await expenses(services)
    await refusal(submit(services, made, []))
    first = await submit(services, made, FILLED)
    assert (await submit(services, made, FILLED)).repeated_call_id == first.call_id
    assert (await refusal(submit(services, made, []))).reason == "CALLBACK_CLOSED"


async def test_a_held_call_has_the_fields_while_it_waits(services):
    made = await expenses(services, "form")
    answer = submit(services, made, FILLED)
    (call,) = await services.running(made)
    assert json.loads((await services.call_of(call.call_id)).fields_json) == VALUES
    await services.answer(call.call_id, verdict=1)
    await answer


@pytest.mark.parametrize(
    ("field", "member"),
    [
        ({"name": "1st"}, "name"),
        ({"name": "callback_choice"}, "name"),
        ({"label": ""}, "label"),
        ({"kind": pb.FIELD_KIND_CHOICE}, "choices"),
        ({"choices": [pb.PromptChoice(value="a", label="A")]}, "choices"),
        ({"kind": pb.FIELD_KIND_INTEGER, "minimum": "1.5"}, "minimum"),
        ({"kind": pb.FIELD_KIND_INTEGER, "minimum": "2", "maximum": "1"}, "minimum"),
        ({"maximum": "501"}, "maximum"),
        ({"minimum": "501"}, "minimum"),
        ({"maximum": "0"}, "maximum"),
        (
            {"kind": pb.FIELD_KIND_CHOICES, "choices": [pb.PromptChoice(value="a", label="A")], "minimum": "2"},
            "minimum",
        ),
        ({"kind": pb.FIELD_KIND_DATE, "default_value": " 2026-12-31"}, "default_value"),
        ({"kind": pb.FIELD_KIND_BOOLEAN, "maximum": "1"}, "maximum"),
        ({"kind": pb.FIELD_KIND_DATE, "default_value": "tomorrow"}, "default_value"),
        ({"kind": pb.FIELD_KIND_EMAIL, "default_value": "me"}, "default_value"),
        ({"kind": 99}, "kind"),
    ],
)
async def test_a_field_that_cannot_be_filled_in_is_refused_when_the_callback_is_generated(services, field, member):
    wrong = pb.PromptField(**{"name": "a", "label": "A"} | field)
    assert (await refusal(expenses(services, fields=[wrong]))).fields == [f"prompt.fields[0].{member}"]


async def test_there_are_at_most_20_fields_each_with_another_name_and_none_is_the_state_parameter(services):
    many = [pb.PromptField(name=f"a{number}", label="A") for number in range(21)]
    assert (await refusal(expenses(services, fields=many))).fields == ["prompt.fields"]
    assert (await refusal(expenses(services, fields=[many[0], many[0]]))).fields == ["prompt.fields"]
    refused = await refusal(expenses(services, fields=many[:1], state_query_parameter="a0"))
    assert refused.fields == ["prompt.fields[0].name"]
