"""Rules that stand in both edge and server, which share no code: each side decides the same about the same input."""

import itertools

import pytest

from callback.v1 import callback_pb2 as pb
from callback.v1 import edge_service_pb2 as edge_pb2
from callback_edge import problems as edge_problems
from callback_edge.call.answer import render
from callback_edge.call.request import Target, can_look_up, to_invocation
from callback_edge.page_content import Choice, PromptContent
from callback_edge.pages.page_checks import check_confirmation, has_prompt
from callback_server.domain.call import Request
from callback_server.domain.guard import (
    CHOICE_PARAMETER,
    CONFIRM_PARAMETER,
    CONFIRMATION,
    RequestIntent,
    choice_of,
    intent_of,
)
from callback_server.domain.ids import is_state, new_state
from callback_server.domain.response import MAX_HEADERS_BYTES, Response, ResponseType, problems

STATE = "33931129-8459-4714-8c9b-ad9d15090289"
FORM = "application/x-www-form-urlencoded"


def edge_takes_state(state):
    request = {"method": "GET", "headers": (), "query": b"", "body": b"", "client_address": "", "traceparent": ""}
    try:
        to_invocation(Target(parameter="", segment=state), **request, look_up=False, prefers_page=False)
    except edge_problems.ProblemError:
        return False
    return True


def test_a_state_has_the_same_form_at_the_edge_and_at_the_server():
    for at, code in itertools.product(range(len(STATE)), range(256)):
        state = STATE[:at] + chr(code) + STATE[at + 1 :]
        assert edge_takes_state(state) is is_state(state), state


@pytest.mark.parametrize(
    "state", [STATE, "", STATE[:-1], f"{STATE}0", f"{STATE}\n", f" {STATE}", STATE.upper(), STATE.replace("-", "")]
)
def test_a_text_is_a_state_at_the_edge_if_it_is_one_at_the_server(state):
    assert edge_takes_state(state) is is_state(state)
    assert edge_takes_state(new_state())


@pytest.mark.parametrize("excess", [-1, 0, 1, 1000])
def test_headers_have_the_same_total_size_at_the_edge_and_at_the_server(excess):
    name = "x-a"
    values = ["v" * 4000, "v" * (MAX_HEADERS_BYTES + excess - 4000 - 2 * len(name))]
    answer = pb.Response(response_type=pb.RESPONSE_TYPE_RESPONSE, response_code=200)
    for value in values:
        answer.response_headers.headers.add(name=name, value=value)
    response = Response(type=ResponseType.RESPONSE, code=200, headers=tuple((name, value) for value in values))
    found = problems(response, platform_url=None, must_be_complete=False)
    try:
        render(edge_pb2.InvokeResponse(response=answer), "GET")
        is_sent = True
    except edge_problems.ProblemError:
        is_sent = False
    assert is_sent is (not found) is (excess <= 0)


SPACES = [chr(code) for code in range(256) if chr(code).isspace()]


@pytest.mark.parametrize(
    "types",
    [
        [], [FORM], [FORM.upper()], [f"{FORM};charset=utf-8"], [f"{FORM} ; charset=utf-8"], [f"{FORM}, {FORM}"],
        [FORM, FORM], [FORM, "text/plain"], ["text/plain"], ["multipart/form-data"], [f"{FORM}x"], [f"x{FORM}"], [""],
        *([f"{FORM}{space}"] for space in SPACES), *([f"{space}{FORM};a=b"] for space in SPACES),
    ],
    ids=ascii,
)  # fmt: skip
def test_a_content_type_is_that_of_a_form_at_the_edge_if_it_is_at_the_server(types):
    headers = [("content-type", value) for value in types]
    at_the_edge = not can_look_up(
        Target(parameter="state", segment=""),
        "POST",
        [(name.encode(), value.encode("latin-1")) for name, value in headers],
    )
    assert Request("post", headers=tuple(headers)).is_form is at_the_edge


def test_a_page_with_choices_of_the_edge_sends_what_the_server_takes_for_a_choice():
    prompt = PromptContent("Go on?", "", (Choice("yes.1_-", "Yes"),))
    page = f'<form method="post"><button name="{CHOICE_PARAMETER}" value="yes.1_-">Yes</button></form>Go on?'
    assert has_prompt(page, prompt)
    form = Request("post", headers=(("content-type", FORM),), body=f"{CHOICE_PARAMETER}=yes.1_-".encode())
    assert choice_of(form) == "yes.1_-"


def test_the_confirmation_page_of_the_edge_sends_what_the_server_takes_for_a_confirmation():
    name, value = CONFIRMATION.decode().split("=")
    assert name == CONFIRM_PARAMETER
    check_confirmation(f'<form method="post"><button name="{name}" value="{value}">Go on</button></form>')
    form = Request("post", headers=(("content-type", FORM),), body=CONFIRMATION)
    assert intent_of(form) is RequestIntent.FORM
