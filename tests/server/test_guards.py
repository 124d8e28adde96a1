"""Guarded GETs: a link scanner makes no call, and a confirmation counts as the GET that it confirms."""

import asyncio
from types import SimpleNamespace

import grpc
import pytest
from support.handlers import accept, stub_handler
from support.services import refusal, running_services
from support.stored import content_of

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback_server.settings import ActivitySettings

PERSON = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
SLACK = "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"
FORM = "application/x-www-form-urlencoded"
CONFIRMATION = b"callback_confirm=1"


async def generate(services, guard, *, activity="record", **fields):
    return await services.generate(activity, get_guard=guard, **fields)


async def ask(services, made, method="get", agent=PERSON, body=b"", **headers):
    pairs = [("User-Agent", agent), *((name.replace("_", "-"), value) for name, value in headers.items())]
    return await services.call(
        made, method=method, body=body, request_query_string="a=1&a=%32",
        request_headers=[pb.Header(name=name, value=value) for name, value in pairs],
        request_query=[pb.QueryParameter(name="a", value=value) for value in ("1", "2")],
    )  # fmt: skip


async def test_a_known_agent_makes_no_call_where_it_is_detected_and_a_person_does(store_of):
    store = store_of()
    async with running_services(store) as services:
        made = await generate(services, pb.GET_GUARD_DETECT)
        before = await content_of(store)
        for agent in (SLACK, f"{PERSON} (compatible; Discordbot/2.0)", "facebookexternalhit/1.1"):
            said = await refusal(ask(services, made, agent=agent))
            assert (said.code, said.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "AGENT_DETECTED")
        assert await content_of(store) == before
        assert (await ask(services, made)).call_id


async def test_any_get_must_be_confirmed_where_the_case_says_so(store_of):
    store = store_of()
    async with running_services(store) as services:
        made = await generate(services, pb.GET_GUARD_CONFIRM)
        before = await content_of(store)
        for agent in (PERSON, SLACK, ""):
            said = await refusal(ask(services, made, agent=agent))
            assert (said.code, said.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CONFIRMATION_REQUIRED")
        assert await content_of(store) == before


@pytest.fixture
async def pushing(store_of):
    """Run services, with the requests that a handler of the script `keeps` got."""
    asked = []

    async def keeps(request, _context):
        asked.append(request)
        return accept()

    async with (
        stub_handler() as stub,
        running_services(store_of(), activities={"push": ActivitySettings(target=stub.target)}) as services,
    ):
        yield SimpleNamespace(services=services, keeps=stub.play(keeps), asked=asked)


@pytest.mark.parametrize("type_", [FORM, FORM.upper(), f"{FORM}; charset=UTF-8"])
async def test_a_confirmation_is_the_get_that_it_confirms(pushing, type_):
    services = pushing.services
    made = await generate(services, pb.GET_GUARD_CONFIRM, activity="push", callback_activity_case=pushing.keeps)
    answer = await ask(
        services, made, "post", body=CONFIRMATION, content_type=type_, Content_Length="18", Origin="https://b.example",
        transfer_encoding="chunked", X_Other="1", X_Origin="2",
    )  # fmt: skip
    call = await services.call_of(answer.call_id)
    for seen in (*pushing.asked, call):
        assert (seen.request_method, seen.request_body, seen.request_query_string) == ("get", b"", "a=1&a=%32")
        assert [(each.name, each.value) for each in seen.request_query] == [("a", "1"), ("a", "2")]
        headers = [(each.name, each.value) for each in seen.request_headers]
        assert headers == [("User-Agent", PERSON), ("X-Other", "1"), ("X-Origin", "2")]
    assert call.request_body_size == 0


@pytest.mark.parametrize(
    ("method", "body", "type_"),
    [
        ("post", CONFIRMATION + b"&x=1", FORM),
        ("put", CONFIRMATION, FORM),
    ],
)
async def test_another_post_on_such_a_case_is_a_call_as_it_came(services, method, body, type_):
    made = await generate(services, pb.GET_GUARD_CONFIRM)
    answer = await ask(services, made, method, body=body, content_type=type_)
    call = await services.call_of(answer.call_id)
    assert (call.request_method, call.request_body) == (method, body)


@pytest.mark.parametrize("guard", [pb.GET_GUARD_OFF, pb.GET_GUARD_DETECT])
async def test_a_confirmation_on_a_case_without_one_is_a_post_as_any_other(services, guard):
    made = await generate(services, guard)
    answer = await ask(services, made, "post", body=CONFIRMATION, content_type=FORM)
    call = await services.call_of(answer.call_id)
    assert (call.request_method, call.request_body) == ("post", CONFIRMATION)


@pytest.mark.parametrize("guard", [pb.GET_GUARD_OFF, pb.GET_GUARD_CONFIRM, pb.GET_GUARD_DETECT])
async def test_the_name_of_the_pages_field_is_taken_where_there_is_that_page(services, guard):
    """The query has the state and the form has 1 under the same name, so no confirmation could succeed."""
    asked = generate(services, guard, state_query_parameter="callback_confirm")
    if guard == pb.GET_GUARD_CONFIRM:
        assert (await refusal(asked)).rules == {"state_query_parameter": "reserved"}
    else:
        assert "/cbq/callback_confirm?" in (await asked).callback_url


APPROVAL = pb.Prompt(
    title="Approve order 5?",
    text="It costs 500 euros.",
    choices=[{"value": "approve", "label": "Approve"}, {"value": "not.now_1-2", "label": "Not now"}],
)


async def test_a_get_on_a_case_with_a_prompt_gets_the_prompt_to_show(services):
    for prompt in (APPROVAL, pb.Prompt(title="Go on?")):
        made = await generate(services, pb.GET_GUARD_CONFIRM, prompt=prompt)
        said = await refusal(ask(services, made))
        assert said.reason == "CONFIRMATION_REQUIRED"
        assert said.prompt == prompt
        shown = await services.callbacks.GetCallback(rpc.GetCallbackRequest(callback_case_id=made.callback_case_id))
        assert shown.callback.prompt == prompt
    made = await generate(services, pb.GET_GUARD_CONFIRM)
    assert (await refusal(ask(services, made))).prompt == pb.Prompt()


async def test_a_choice_is_the_get_that_it_is_made_for_and_the_handler_gets_it(pushing):
    services, pushed = pushing.services, {"activity": "push", "callback_activity_case": pushing.keeps}
    made = await generate(services, pb.GET_GUARD_CONFIRM, prompt=APPROVAL, **pushed)
    answer = await ask(services, made, "post", body=b"callback_choice=not.now_1-2", content_type=FORM)
    for seen in (*pushing.asked, await services.call_of(answer.call_id)):
        assert (seen.request_method, seen.request_body, seen.request_query_string) == ("get", b"", "a=1&a=%32")
        assert seen.callback_choice == "not.now_1-2"
        assert [each.name for each in seen.request_headers] == ["User-Agent"]


@pytest.mark.parametrize("multiple", [False, True])
async def test_any_other_request_on_a_case_with_choices_is_refused_and_no_call(store_of, multiple):
    store = store_of()
    async with running_services(store) as services:
        made = await generate(services, pb.GET_GUARD_CONFIRM, prompt=APPROVAL, allow_multiple_calls=multiple)
        before = await content_of(store)
        for method, body, type_ in (
            ("post", b"callback_choice=reject", FORM),
            ("post", b"callback_choice=approve&callback_choice=approve", FORM),
            ("post", b"callback_choice=approve", "text/plain"),
            ("post", CONFIRMATION, FORM),
            ("post", b"x" * 100_000, "text/plain"),
            ("put", b"callback_choice=approve", FORM),
            ("delete", b"", FORM),
        ):
            said = await refusal(ask(services, made, method, body=body, content_type=type_))
            assert (said.code, said.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CHOICE_REQUIRED")
        assert await content_of(store) == before
        assert (await ask(services, made, "post", body=b"callback_choice=approve", content_type=FORM)).call_id


async def test_a_choice_is_a_post_as_any_other_where_there_are_none(services):
    choice = b"callback_choice=approve"
    for guard, fields in (
        (pb.GET_GUARD_OFF, {}),
        (pb.GET_GUARD_CONFIRM, {}),
        (pb.GET_GUARD_CONFIRM, {"prompt": pb.Prompt(title="Go on?")}),
    ):
        made = await generate(services, guard, **fields)
        answer = await ask(services, made, "post", body=choice, content_type=FORM)
        call = await services.call_of(answer.call_id)
        assert (call.request_method, call.request_body, call.callback_choice) == ("post", choice, "")


async def test_a_prompt_without_choices_is_confirmed_as_any_page(services):
    made = await generate(services, pb.GET_GUARD_CONFIRM, prompt=pb.Prompt(title="Go on?"))
    answer = await ask(services, made, "post", body=CONFIRMATION, content_type=FORM)
    call = await services.call_of(answer.call_id)
    assert (call.request_method, call.callback_choice) == ("get", "")


def choices(*values):
    return pb.Prompt(title="x", choices=[pb.PromptChoice(value=value, label=label) for value, label in values])


@pytest.mark.parametrize(
    ("guard", "fields", "field"),
    [
        (pb.GET_GUARD_OFF, {"prompt": APPROVAL}, "prompt"),
        (pb.GET_GUARD_DETECT, {"prompt": APPROVAL}, "prompt"),
        (pb.GET_GUARD_CONFIRM, {"prompt": pb.Prompt()}, "prompt.title"),
        (pb.GET_GUARD_CONFIRM, {"prompt": pb.Prompt(title="a\nb")}, "prompt.title"),
        (pb.GET_GUARD_CONFIRM, {"prompt": pb.Prompt(title="x" * 201)}, "prompt.title"),
        (pb.GET_GUARD_CONFIRM, {"prompt": pb.Prompt(title="x", text="x" * 2001)}, "prompt.text"),
        (pb.GET_GUARD_CONFIRM, {"prompt": pb.Prompt(title="x", text="\0")}, "prompt.text"),
        (pb.GET_GUARD_CONFIRM, {"prompt": choices(*((str(each), "x") for each in range(5)))}, "prompt.choices"),
        (pb.GET_GUARD_CONFIRM, {"prompt": choices(("a", "x"), ("a", "y"))}, "prompt.choices"),
        (pb.GET_GUARD_CONFIRM, {"prompt": choices(("", "x"))}, "prompt.choices[0].value"),
        (pb.GET_GUARD_CONFIRM, {"prompt": choices(("a b", "x"))}, "prompt.choices[0].value"),
        (pb.GET_GUARD_CONFIRM, {"prompt": choices(("a" * 65, "x"))}, "prompt.choices[0].value"),
        (pb.GET_GUARD_CONFIRM, {"prompt": choices(("a", ""))}, "prompt.choices[0].label"),
        (pb.GET_GUARD_CONFIRM, {"prompt": choices(("a", "x" * 101))}, "prompt.choices[0].label"),
        (
            pb.GET_GUARD_CONFIRM,
            {"prompt": APPROVAL, "state_query_parameter": "callback_choice"},
            "state_query_parameter",
        ),
    ],
)
async def test_a_prompt_that_is_not_valid_is_refused(services, guard, fields, field):
    said = await refusal(generate(services, guard, **fields))
    assert (said.reason, said.fields) == ("INVALID_REQUEST", [field])


async def test_of_many_confirmations_at_once_one_is_the_call(services):
    made = await generate(services, pb.GET_GUARD_CONFIRM)
    done = await asyncio.gather(
        *(ask(services, made, "post", body=CONFIRMATION, content_type=FORM) for _ in range(50)), return_exceptions=True
    )
    answered = [each for each in done if not isinstance(each, grpc.aio.AioRpcError)]
    assert len([each for each in answered if each.call_id]) == 1  # the others are repeats
    shown = await services.callbacks.GetCallback(rpc.GetCallbackRequest(callback_case_id=made.callback_case_id))
    assert shown.callback.call_count == 1


async def test_a_closed_case_shows_no_page_to_confirm(services):
    made = await generate(services, pb.GET_GUARD_CONFIRM)
    await ask(services, made, "post", body=CONFIRMATION, content_type=FORM)
    assert (await refusal(ask(services, made))).reason == "CALLBACK_CLOSED"
