"""Text output: nothing is truncated, recorded text cannot control a terminal, colours only if supported."""

import io
from dataclasses import replace
from datetime import timedelta

import pytest
from rich.console import Console
from support.clients import CALL, CASE, CREATED, call_message, callback_message

from callback import (
    AnswerMode,
    CallFailure,
    CallReason,
    CallStatus,
    CloseReason,
    Delivery,
    DeliveryStatus,
    GetGuard,
    Headers,
    Prompt,
    Response,
)
from callback._converters import call_from_proto, callback_from_proto
from callback._values import CallbackStatus
from callback_cli.text_view import SHOWN_BODY_BYTES, TextView, plain

CALLBACK = callback_from_proto(callback_message())
A_CALL = call_from_proto(call_message())


def shown(method, *arguments, **console):
    """Return the text output."""
    file = io.StringIO()
    settings = {"width": 80, "highlight": False, "markup": False, "emoji": False} | console
    if method == "call":
        arguments = (*arguments, "order-paid")
    if method == "calls":
        arguments = (*arguments, {CASE: CALLBACK}, CREATED)
    getattr(TextView(Console(file=file, **settings)), method)(*arguments)
    return file.getvalue()


def test_a_case_is_printed_without_empty_fields():
    assert shown("callback", CALLBACK) == (
        f"Callback {CASE}\n"
        "  owner          local\n"
        "  status         open\n"
        "  activity       order-paid\n"
        "  activity case  1:142:432\n"
        "  URL            /cb/…, state in the path\n"
        "  labels         order=5\n"
        "  created        2026-11-25 09:30:15 UTC\n"
        "  calls          3 so far; one allowed\n"
        "\n"
        "Response\n"
        "  redirect to /page/thankyou\n"
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"status": CallbackStatus.IN_PROGRESS}, "status in progress"),
        ({"status": CallbackStatus.CLOSED, "close_reason": CloseReason.CONSUMED}, "status closed, consumed"),
        ({"status": CallbackStatus.CLOSED, "close_reason": CloseReason.CLOSED_BY_OWNER}, "status closed, by owner"),
        ({"allow_multiple_calls": True}, "calls 3 so far; any number allowed"),
        ({"retryable_after_error": True}, "calls 3 so far; one, again after an error allowed"),
        ({"state_query_parameter": "RelayState"}, "URL /cbq/RelayState, state in the parameter RelayState"),
        ({"expire_time": CREATED + timedelta(days=1)}, "expires 2026-11-26 09:30:15 UTC"),
        ({"verification_profile": "github"}, "verified by github"),
        ({"answer_mode": AnswerMode.ACK}, "answer mode ack"),
        ({"ordered": True}, "ordered yes"),
        ({"answer_deadline": timedelta(seconds=2.5)}, "answer deadline 2.5s"),
        ({"repeat_window": timedelta(hours=1, minutes=30)}, "repeat window 1h30m"),
        ({"remind_after": (timedelta(days=3), timedelta(minutes=2))}, "remind after 3d, 2m"),
        ({"notify": (CallReason.REMINDER, CallReason.EXPIRY)}, "notify reminder, expiry"),
        ({"get_guard": GetGuard.CONFIRM}, "get guard confirm"),
        ({"prompt": Prompt("Go on?", choices={"yes": "Yes"})}, "prompt choices yes=Yes"),
    ],
)
def test_a_case_is_shown_in_words(changes, line):
    lines = shown("callback", replace(CALLBACK, **changes)).splitlines()
    assert line in [" ".join(each.split()) for each in lines]


def test_a_call_is_printed_with_its_verification():
    shown_call = shown("call", replace(A_CALL, verification_profile="github", message_id="72d3162e"))
    assert "  verified by  github\n  message id   72d3162e\n" in shown_call

    failed = shown("call", replace(A_CALL, verification_failure="no signature is valid"))
    assert "  not verified  no signature is valid\n" in failed


def test_a_call_is_printed_completely():
    assert shown("call", A_CALL) == (
        f"Call {CALL}\n"
        "  activity  order-paid\n"
        f"  case      {CASE}\n"
        "  status    succeeded\n"
        "  attempt   1\n"
        "  from      192.0.2.7\n"
        "  started   2026-11-25 09:30:15 UTC\n"
        "  ended     2026-11-25 09:30:15 UTC, after 12 ms\n"
        "\n"
        "Request\n"
        "  POST ?id=5&status=ok\n"
        "  content-type: application/json\n"
        "  x-trace: a\n"
        "  x-trace: b\n"
        "\n"
        '  {"paid": true}\n'
        "\n"
        "Response\n"
        "  200\n"
        "\n"
        "  ok\n"
    )


def test_a_failed_call_is_printed_with_its_failure():
    call = replace(
        A_CALL,
        status=CallStatus.FAILED,
        failure=CallFailure.INVALID_RESPONSE,
        failure_detail="response_code: must be 200-299",
        response=None,
    )
    assert "  failure   invalid response - response_code: must be 200-299\n" in shown("call", call)
    assert "Response" not in shown("call", call)


def test_a_call_has_its_delivery():
    waiting = Delivery(
        status=DeliveryStatus.PENDING,
        attempts=1,
        next_attempt_time=CREATED,
        failure=CallFailure.HANDLER_ERROR,
        failure_detail="the handler failed",
    )
    output = shown("call", replace(A_CALL, delivery=waiting, caller_gone=True, fallback_sent=True))
    assert (
        "  delivery       pending, 1 attempt, next at 2026-11-25 09:30:15 UTC: handler error - the handler failed\n"
        "  fallback sent  yes\n"
        "  caller gone    yes\n"
    ) in output
    assert "\nDecided later, not sent\n" in output
    assert "\nResponse\n" not in output
    done = Delivery(status=DeliveryStatus.DELIVERED, attempts=2, response=Response(b"done", 201))
    output = shown("call", replace(A_CALL, delivery=done, repeat_count=3))
    assert "  delivery      delivered, 2 attempts\n  repeat count  3\n" in output
    assert output.endswith("\nDecided by the handler, not sent\n  201\n\n  done\n")


def test_calls_are_listed_with_their_deliveries_if_any_has_one():
    dead = replace(A_CALL, delivery=Delivery(status=DeliveryStatus.DEAD, attempts=7))
    head, first, second = shown("calls", [dead, A_CALL]).splitlines()
    assert head.endswith("  TOOK   DELIVERY")
    assert first.endswith("  12 ms  dead, 7 attempts")
    assert second.endswith("  12 ms")


@pytest.mark.parametrize(
    ("body", "size", "says"),
    [
        (b"\x00\xff", 2, "(2 bytes that are not text; --json shows them in base64)"),
        (b"", 1234, "(1,234 bytes, not recorded)"),
        (b"<a>\r\n\t<b/>\r\n</a>", 16, "\n  <a>\n        <b/>\n  </a>\n"),
        ("é".encode() * SHOWN_BODY_BYTES, 2 * SHOWN_BODY_BYTES, "(and 16,384 bytes more; --json shows everything)"),
        (
            b"x" + "é".encode() * SHOWN_BODY_BYTES,
            2 * SHOWN_BODY_BYTES + 1,
            "(and 16,385 bytes more; --json shows everything)",
        ),
    ],
)
def test_a_body_is_printed_as_text_if_it_is_text(body, size, says):
    assert says in shown("call", replace(A_CALL, body=body, body_size=size))


def test_tables_are_aligned_and_end_without_spaces():
    calls = [
        A_CALL,
        replace(A_CALL, status=CallStatus.RUNNING, response=None, end_time=None, body_size=1, method="get"),
    ]
    assert shown("calls", calls) == (
        f"CALL{'':45}  ACTIVITY    STATUS     METHOD  BODY      ANSWER  STARTED                  TOOK\n"
        f"{CALL}  order-paid  succeeded  POST    14 bytes  200     2026-11-25 09:30:15 UTC  12 ms\n"
        f"{CALL}  order-paid  running    GET     1 byte    -       2026-11-25 09:30:15 UTC  -\n"
    )


def test_a_list_of_calls_says_which_callers_are_gone():
    waiting = replace(A_CALL, status=CallStatus.RUNNING, response=None, end_time=None, caller_gone=True)
    gone, other = shown("calls", [waiting, A_CALL]).splitlines()[1:]
    assert "running, caller gone" in gone
    assert "gone" not in other


@pytest.mark.parametrize(
    ("age", "words"),
    [(timedelta(0), "0s"), (timedelta(seconds=59), "59s"), (timedelta(minutes=90), "1h"), (timedelta(days=3), "3d")],
)
def test_cases_are_listed_with_their_age(age, words):
    line = shown("callbacks", [CALLBACK], {}, CREATED + age).splitlines()[1]
    assert line.split() == [CASE, "open", words, "3", "-", "order-paid", "order=5"]


def test_labels_are_listed_if_they_fit_or_without_a_terminal():
    many = replace(CALLBACK, labels={"region": "north", "order": "5"})
    for values, console, seen in (
        ([CALLBACK, many], {"width": 100, "force_terminal": True, "no_color": True}, True),
        ([CALLBACK, many], {"width": 80, "force_terminal": True, "no_color": True}, False),
        ([CALLBACK, many], {"width": 80}, True),
        ([replace(CALLBACK, labels={})], {"width": 200}, None),
    ):
        head, *lines = shown("callbacks", values, {}, CREATED, **console).splitlines()
        assert ("LABELS" in head) is bool(seen)
        assert ("order=5, region=north" in lines[-1]) is bool(seen)
        assert all(line == line.rstrip() for line in lines)


def test_lists_fit_80_columns_with_ids_that_every_command_takes():
    cases = [
        replace(CALLBACK, owner=owner, status=CallbackStatus.CLOSED, close_reason=CloseReason.INTERRUPTED)
        for owner in ("orders", "shipping")
    ]
    terminal = {"width": 80, "force_terminal": True, "color_system": None}
    head, *lines = shown(
        "callbacks", cases, {CASE: replace(A_CALL, status=CallStatus.INTERRUPTED)}, CREATED, **terminal
    ).splitlines()
    assert head.split() == ["CASE", "OWNER", "STATUS", "AGE", "CALLS", "LAST", "ACTIVITY"]
    assert lines[1].split() == [CASE[:8], "shipping", "interrupted", "0s", "3", "interrupted", "order-paid"]
    delivery = Delivery(status=DeliveryStatus.DEAD, attempts=5)
    head, line = shown("calls", [replace(A_CALL, delivery=delivery)], **terminal).splitlines()
    assert head.split() == ["CALL", "ACTIVITY", "STATUS", "ANSWER", "AGE", "TOOK", "DELIVERY"]
    assert line.split()[0] == f"{CASE[:8]}-01234567"
    assert max(map(len, [head, line, *lines])) <= 80


def test_an_erased_call_is_printed_with_its_status():
    erased = replace(
        A_CALL, erased=True, method="", query_string="", headers=Headers(), body=b"", body_size=0, client_address="",
        response=None,
    )  # fmt: skip
    output = shown("call", erased)
    assert "  erased    yes\n" in output
    assert "  status    succeeded\n" in output
    assert "Request" not in output
    assert shown("calls", [erased]).splitlines()[1].split()[2:6] == ["succeeded", "-", "erased", "-"]


@pytest.mark.parametrize("width", [20, 80, 500])
def test_nothing_is_truncated_or_wrapped_on_a_narrow_terminal(width):
    long = replace(CALLBACK, activity="a" * 200)
    for output in (
        shown("callback", long, width=width),
        shown("callbacks", [long], {}, CREATED, width=width),
        shown("callbacks", [long], {}, CREATED, width=width, force_terminal=True),
    ):
        assert "a" * 200 in output
        assert CASE[:8] in output
    assert len(shown("callbacks", [long], {}, CREATED, width=width).splitlines()) == 2


HOSTILE = "a\x1b[31mred\x07 \x9b2J ‮txet‬ [bold]b[/bold] :smile:"
HARMLESS = r"a\x1b[31mred\x07 \x9b2J \u202etxet\u202c [bold]b[/bold] :smile:"


def test_recorded_text_cannot_control_a_terminal():
    call = replace(
        A_CALL,
        query_string=HOSTILE,
        headers=Headers({"x-a": HOSTILE, "x-b": "1\r\nx-c: 2"}),
        body=HOSTILE.encode(),
        client_address=HOSTILE,
        failure_detail=HOSTILE,
        response=Response(HOSTILE, headers={"x-a": HOSTILE}),
    )
    output = shown("call", call)
    assert output.count(HARMLESS) == 7
    assert r"x-b: 1\r\nx-c: 2" in output
    assert all(character.isprintable() or character == "\n" for character in output)
    case = replace(CALLBACK, activity=HOSTILE, activity_case=HOSTILE, labels={"a": HOSTILE})
    assert shown("callback", case).count(HARMLESS) == 3
    assert HARMLESS in shown("callbacks", [case], {}, CREATED)


def test_wide_and_accented_characters_are_printed_unchanged():
    assert plain("één 日本 😀 ok") == "één 日本 😀 ok"


def test_colours_need_a_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" not in shown("callback", CALLBACK)
    assert "\x1b[32mopen" in shown("callback", CALLBACK, force_terminal=True, color_system="standard")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in shown("callback", CALLBACK, force_terminal=True, color_system="standard")
