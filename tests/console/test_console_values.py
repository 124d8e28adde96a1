"""What the console shows, as values: bodies, curl commands, comparisons, texts, settings and vendored files."""

import asyncio
import hashlib
import json
import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain, product
from urllib.parse import parse_qs

import grpc
import pytest
from support.clients import call_message, callback_message, timestamp
from support.tree import PACKAGES
from support.wait import wait_until
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from callback import (
    Accept,
    Activity,
    ActivityKind,
    AnswerMode,
    Call,
    CallbackStatus,
    CallFailure,
    CallFilter,
    CallReason,
    CallStatus,
    CloseReason,
    Delivery,
    DeliveryStatus,
    Finding,
    FindingLevel,
    GetGuard,
    Headers,
    MinuteStatistics,
    NotFoundError,
    OutcomeCount,
    Page,
    Prompt,
    Query,
    RefusalCount,
    Response,
    ResponseType,
    Statistics,
    UnavailableError,
    WorkStatistics,
)
from callback._converters import call_from_proto, callback_from_proto
from callback_console.bodies import BodyForm, Line, shown_body
from callback_console.comparison import compare
from callback_console.curl import curl_command
from callback_console.plots import columns, lines, nice_top, sparkline
from callback_console.request_context import time_of
from callback_console.response_form import decision_of, with_choice
from callback_console.settings import ConsoleSettings
from callback_console.timeline import timeline
from callback_console.views.dead import dead_groups
from callback_console.views.overview import overview, served_activities, worst_first
from callback_console.words import TEXTS, Words, best_language
from callback_process.settings import SettingsError
from callback_triage.reasons import FAILURES, why, why_failed, why_uncalled
from callback_triage.replays import FAILED_REASONS, REASONS, Deliveries, FailedCalls, Replay

CONSOLE = PACKAGES["callback_console"]
CALLBACK = callback_from_proto(callback_message())
ENTITY = b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>'
FORM = "application/x-www-form-urlencoded"
TEXT = {"content-type": "text/plain; charset=utf-8"}


@pytest.mark.parametrize(
    ("body", "content_type", "forms"),
    [
        (b'{"a": 1}', "", "json text hex"),
        (b"[]", "text/plain", "json text hex"),
        (b"a=1&b", FORM, "form text hex"),
        (b"<a/>", "", "xml text hex"),
        (ENTITY, "application/xml", "text hex"),
        (b"hello", "application/json", "text hex"),
        (b"5", "", "text hex"),
        (b"a\0b", "", "hex"),
        (b"\xff", "", "hex"),
        (b"[" * 5000, "", "text hex"),
        (b"[" * 42 + b"]" * 42, "", "text hex"),
        (json.dumps([0] * 5001).encode(), "", "text hex"),
        (b"<a>" * 50 + b"</a>" * 50, "", "text hex"),
        (b'{"a": "' + b"x" * 300_000 + b'"}', "", "text hex"),
        (b"a&" * 5000, FORM, "text hex"),
        (rb'["\ud83d"]', "", "text hex"),
        (rb'{"\ud83d": 1}', "", "text hex"),
        (rb'["\ud83d\ude00"]', "", "json text hex"),
    ],
)
def test_a_body_has_the_forms_that_fit_it(body, content_type, forms):
    shown = shown_body(body, content_type)
    assert " ".join(shown.forms) == forms
    assert shown.form == forms.split()[0]
    assert shown_body(body, content_type, "hex").form is BodyForm.HEX


def test_a_json_tree_keeps_numbers_repeated_keys_and_order():
    top = shown_body(b'{"b": 1.10, "a": 12345678901234567890123, "b": null, "c": ["\xc3\xa9", true, {}]}', "").content
    assert [(each.name, each.text) for each in top.children] == [
        ("b", "1.10"), ("a", "12345678901234567890123"), ("b", "null"), ("c", "[3]"),
    ]  # fmt: skip
    assert [(each.name, each.text) for each in top.children[3].children] == [("0", '"é"'), ("1", "true"), ("2", "{0}")]


def test_xml_is_shown_by_elements_and_nothing_in_it_is_fetched_or_expanded():
    shown = shown_body(b'<a x="1"><b>t &lt;</b></a>', "text/xml")
    assert shown.content == [Line(0, '<a x="1">'), Line(1, "<b>"), Line(2, "t <"), Line(1, "</b>"), Line(0, "</a>")]
    assert shown_body(ENTITY, "text/xml").content == ENTITY.decode()


def test_bytes_are_shown_with_their_characters_and_a_long_body_is_cut():
    assert shown_body(b"AB\0" * 6, "").content == (
        "00000000  41 42 00 41 42 00 41 42 00 41 42 00 41 42 00 41  AB.AB.AB.AB.AB.A\n"
        "00000010  42 00                                            B."
    )
    assert shown_body(b"\0" * 4097, "").is_cut
    assert shown_body(b"x" * 65_537, "").is_cut
    assert not shown_body(b"x" * 65_536, "").is_cut


def recorded(**values):
    return Call(call_id="c", case_id="c", status=CallStatus.SUCCEEDED, **values)


@pytest.mark.parametrize("body", [b"it's $HOME `id` \\ \n\xc3\xa9", b"a=1"])
def test_a_shell_gives_curl_the_recorded_request_unchanged(body):
    left_out = [("x-pasted", "\x1b[201~\x03"), ("host", "a"), ("content-length", "3")]
    headers = Headers([("x-quote", 'it\'s "$HOME"'), ("x-empty", ""), *left_out])
    command = curl_command(recorded(method="post", query_string="a='b'&c", headers=headers, body=body))
    show = f"curl() {{ for each; do printf '%s\\0' \"$each\"; done; }}; {command}"
    arguments = subprocess.run(["sh", "-c", show], capture_output=True, check=True).stdout.split(b"\0")[:-1]
    assert arguments == [
        b"-i", b"-X", b"POST", b"URL?a='b'&c", b"-H", b"x-quote: it's \"$HOME\"", b"-H", b"x-empty;",
        b"--data-binary", body,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body", [b"\xff", b"@/etc/passwd", b"a\0b", b"a\r\nb", b"\x1b[201~", b"\x03rm -r .\n", "\x9b201~".encode()]
)
def test_a_body_that_a_person_cannot_paste_unchanged_comes_from_the_downloaded_file(body):
    assert curl_command(recorded(method="put", body=body)) == "curl -i -X PUT URL --data-binary @c.body"


def test_a_comparison_finds_each_part_that_differs():
    left = recorded(method="get", query=Query([("a", "1"), ("b", "1"), ("b", "2")]), body=b'{"x": {"y": [1, 2]}}')
    right = recorded(method="post", query=Query([("a", "1"), ("b", "1")]), body=b'{"x": {"y": [1, 3]}, "z": {}}')
    differing = [(each.part, each.name, each.left, each.right) for each in compare(left, right) if each.differs]
    assert differing == [
        ("method", "", "GET", "POST"),
        ("query", "b", "2", None),
        ("body", "x.y.1", "2", "3"),
        ("body", "z", None, "{0}"),
    ]
    assert not any(each.differs for each in compare(left, left))


def test_a_repeated_name_is_compared_value_by_value():
    left, right = recorded(body=b'{"a": 1, "a": 2}'), recorded(body=b'{"a": 1, "a": 3, "a": 4}')
    rows = [(each.name, each.left, each.right) for each in compare(left, right) if each.part == "body"]
    assert rows == [("a", "1", "1"), ("a", "2", "3"), ("a", None, "4")]


@pytest.mark.timeout(100)
def test_a_comparison_of_many_names_and_of_many_values_of_one_name_takes_no_time():
    """A caller chooses them. A comparison with a quadratic cost would stop the console for minutes."""
    query = Query([(str(number), "") for number in range(20_000)] + [("a", "")] * 20_000)
    assert len(compare(recorded(query=query), recorded(query=query))) == 40_002


def test_the_life_of_a_callback_is_in_order_with_the_duration_of_each_call():
    def at(seconds):
        return datetime(2026, 11, 26, tzinfo=UTC) + timedelta(seconds=seconds)

    message = callback_message(create_time=timestamp(at(0)), close_time=timestamp(at(9)))
    ended, running = (
        call_from_proto(call_message(attempt=n, start_time=timestamp(at(start)), end_time=end and timestamp(at(end))))
        for n, start, end in ((1, 2, 5), (2, 4, None))
    )
    moments = timeline(callback_from_proto(message), [running, ended], at(10))
    assert [(each.kind, each.call and each.call.attempt, each.since and each.since.seconds) for each in moments] == [
        ("made", None, None),
        ("call_started", 1, 2),
        ("call_started", 2, 2),
        ("call_ended", 1, 3),
        ("closed", None, 4),
    ]


def test_the_life_of_a_callback_has_the_reminders_that_were_due_and_those_that_will_be():
    start = datetime(2026, 11, 26, tzinfo=UTC)
    callback = replace(
        callback_from_proto(callback_message(create_time=timestamp(start))),
        remind_after=(timedelta(hours=1), timedelta(hours=2)),
        notifications=(replace(recorded(reason=CallReason.REMINDER), start_time=start + timedelta(hours=1)),),
    )
    now = start + timedelta(minutes=90)
    kinds = {
        "open": callback,
        "closed": replace(callback, close_time=now),
        "resolved": replace(callback, resolved=True),
    }
    found = {name: [each.kind for each in timeline(each, [], now)] for name, each in kinds.items()}
    assert found == {
        "open": ["made", "notified", "reminds"],
        "closed": ["made", "notified", "closed"],
        "resolved": ["made", "notified"],
    }


def test_credentials_in_the_detail_of_a_dead_delivery_are_masked():
    delivery = Delivery(
        status=DeliveryStatus.DEAD, failure_detail="no answer from https://mail.example/?token=verysecret"
    )
    [group] = dead_groups([recorded(delivery=delivery)], {"c": CALLBACK}, "")
    [(call, _)] = group.calls
    assert call.delivery.failure_detail == "no answer from https://mail.example/?token=***"


def test_failures_of_a_handler_are_grouped_by_what_it_said_whatever_the_worker_and_the_order():
    said = [
        "ValueError: no order 5 (worker shop-1)", "ValueError: no order 17 (worker shop-2)",
        "KeyError: 'price' (worker shop-1)", "ValueError: no order 6f2a-11 (worker eu (a))",
        "field\r\nrequired\n (worker shop-1)", "",
    ]  # fmt: skip
    calls = [
        replace(
            recorded(delivery=Delivery(status=DeliveryStatus.DEAD, failure=failure, failure_detail=detail)),
            call_id=str(number),
        )
        for number, (failure, detail) in enumerate(
            [*((CallFailure.HANDLER_ERROR, each) for each in said), (CallFailure.HANDLER_LOST, "lost 1")]
        )
    ]
    groups = dead_groups(calls, {"c": CALLBACK}, "")
    assert {group.all.said: sorted(call.call_id for call, _ in group.calls) for group in groups} == {
        "ValueError: no order …": ["0", "1", "3"], "KeyError: 'price'": ["2"], "field required": ["4"],
        "": ["5"], None: ["6"],
    }  # fmt: skip
    named = {group.all.said: parse_qs(group.query, keep_blank_values=True).get("said") for group in groups}
    assert all(names == (None if said is None else [said]) for said, names in named.items())


@pytest.mark.parametrize(("said", "replayed"), [("no order …", ["a", "c"]), ("", ["d"]), (None, ["a", "b", "c", "d"])])
async def test_a_replay_of_a_group_takes_only_those_of_which_the_handler_said_the_same(said, replayed):
    broken = {"failure": CallFailure.HANDLER_ERROR}
    server = FailingServer(
        ["a", "b", "c", "d"],
        a=broken | {"failure_detail": "no order 5 (worker x)"}, b=broken | {"failure_detail": "no price"},
        c=broken | {"failure_detail": "no order 7 (worker y)"}, d=broken,
    )  # fmt: skip
    group = FailedCalls("ship", CallStatus.FAILED, "failure.HANDLER_ERROR", "orders", said)
    replay = Replay(group, 2, server)
    await wait_until(lambda: not replay.is_running)
    assert (replay.error, sorted(server.replayed)) == ("", replayed)


def test_columns_are_stacked_to_the_height_of_their_values():
    plot = columns([[("a", 3.0), ("b", 1.0)], [("a", 0.0), ("b", 2.0)]])
    assert plot.top == 5
    assert [(bar.kind, bar.y, bar.height) for bar in plot.bars] == [
        ("a", 48.0, 72.0),
        ("b", 24.0, 24.0),
        ("b", 72.0, 48.0),
    ]
    assert [bar.x < 300 for bar in plot.bars] == [True, True, False]
    assert columns([]).bars == columns([[("a", 0.0)]]).bars == ()


def test_a_line_is_interrupted_where_there_is_no_value():
    ms = timedelta(milliseconds=1)
    plot = lines([("claim", [ms, 100 * ms, None, 10 * ms]), ("finish", [None] * 4)])
    assert (plot.bottom, plot.top, plot.grid) == (ms, 100 * ms, (60.0,))
    assert plot.paths == (("claim", "M0.0 120.0H150.0L150.0 0.0H300.0M450.0 60.0H600.0"), ("finish", ""))
    assert lines([]).top == 10 * ms


def minute(number, seconds, *outcomes, refusals=None, work=None):
    """Statistics of a minute. An outcome is a status, a failure or None, and a count."""
    return MinuteStatistics(
        start_time=datetime(2026, 11, 27, 4, number, tzinfo=UTC),
        duration=timedelta(seconds=seconds),
        outcomes=tuple(OutcomeCount(status=each[0], failure=each[1], count=each[2]) for each in outcomes),
        refusals=tuple(RefusalCount(reason=each, count=count) for each, count in (refusals or {}).items()),
        stages=(),
        work=work,
    )


def test_the_metrics_are_those_of_the_hour_and_what_is_now_that_of_its_last_two_minutes():
    succeeded, failed, rejected = CallStatus.SUCCEEDED, CallStatus.FAILED, CallStatus.REJECTED
    lost, raised, work = CallFailure.HANDLER_LOST, CallFailure.HANDLER_ERROR, WorkStatistics(dead_call_count=3)
    minutes = (
        minute(0, 60, (succeeded, None, 600), refusals={"STATE_UNKNOWN": 1, "TOO_MANY_CALLS": 1}),
        minute(1, 60, (failed, lost, 1), (succeeded, None, 60), (failed, raised, 2), work=work),
        minute(2, 20, (rejected, None, 20), (CallStatus.NOT_STARTED, None, 4), refusals={"TOO_MANY_CALLS": 2}),
    )  # fmt: skip
    it = overview(Statistics(minutes=minutes, stages=(), owners=(), work=WorkStatistics()))
    assert it.now_per_second == pytest.approx(87 / 80)
    assert (it.call_count, it.failed_count) == (687, 7)
    assert it.outcomes == [
        ("SUCCEEDED", "", 660), ("REJECTED", "", 20), ("FAILED", "HANDLER_ERROR", 2), ("FAILED", "HANDLER_LOST", 1),
        ("NOT_STARTED", "", 4),
    ]  # fmt: skip
    assert it.refusals == [("TOO_MANY_CALLS", 3), ("STATE_UNKNOWN", 1)]
    assert [each.per_second for each in it.minutes] == pytest.approx([10, 63 / 60, 24 / 20])
    per_second = [[("SUCCEEDED", 10.0), ("REJECTED", 0.0)], [("SUCCEEDED", 1.0), ("FAILED", 0.05)], [("REJECTED", 1.0)]]
    assert it.calls.top == columns(per_second).top
    assert it.history["dead_call_count"] == sparkline([None, 3.0, None])
    assert overview(Statistics(minutes=(), stages=(), owners=(), work=WorkStatistics())).now_per_second == 0


def test_findings_are_listed_with_the_worst_first():
    levels = [FindingLevel.OK, FindingLevel.UNKNOWN, FindingLevel.PROBLEM, FindingLevel.WARNING, FindingLevel.PROBLEM]
    findings = [Finding(level=level, check=str(at), seen="", advice="") for at, level in enumerate(levels)]
    assert [each.check for each in worst_first(findings)] == ["2", "4", "3", "1", "0"]


def test_a_sparkline_ends_at_its_largest_value():
    assert sparkline([0.0, 4.0, None, 2.0]) == "M0.0 120.0H150.0L150.0 0.0H300.0M450.0 60.0H600.0"
    assert sparkline([0.0, None]) == "M0.0 120.0H300.0"


@pytest.mark.parametrize(
    ("largest", "top"), [(0, 1), (0.003, 0.005), (1, 1), (1.1, 2), (4.9, 5), (50, 50), (51, 100), (1000, 1000)]
)
def test_an_axis_ends_at_a_round_number(largest, top):
    assert nice_top(largest) == pytest.approx(top)


@pytest.mark.parametrize(
    ("rate", "text"), [(0, "0"), (0.0167, "0.017"), (4.24, "4.2"), (12.6, "13"), (1234, "1\u202f234")]
)
def test_a_rate_has_two_digits_that_count(rate, text):
    assert Words("en").rate(rate) == text


def test_activities_of_several_owners_are_added_and_what_nothing_serves_comes_first():
    def activity(name, workers, **counts):
        return Activity(activity=name, kind=ActivityKind.WORKERS, worker_count=workers, **counts)

    of_orders = [activity("a", 1, open_callback_count=1, delivery_count=2), activity("b", 0, open_callback_count=3)]
    of_shop = [activity("a", 1, open_callback_count=4, delivery_count=2), activity("c", 1, delivery_count=5)]
    found = served_activities([of_orders, of_shop])
    assert [(each.activity, each.open_callback_count) for each in found] == [("b", 3), ("c", 0), ("a", 5)]


def test_there_is_a_text_for_each_reason_why_a_call_or_a_callback_is_as_it_is():
    """Such a text has a name that is made of values of the server, so that no page names it."""
    found = {f"failure.{each.value}" for each in CallFailure} | {*REASONS, *FAILED_REASONS}
    failures, deliveries = (None, *CallFailure), (None, *(Delivery(status=each) for each in DeliveryStatus))
    dead = [Delivery(status=DeliveryStatus.DEAD, failure=each) for each in CallFailure]
    for mode, status, failure in product(AnswerMode, CallStatus, failures):
        callback = replace(CALLBACK, answer_mode=mode)
        for more in ({}, {"fallback_sent": True}, {"caller_gone": True}):
            found |= {*why(Call(call_id="c", case_id="c", status=status, failure=failure, **more), callback)}
    for delivery, of in product((*deliveries, *dead), CallReason):
        found |= {*why(recorded(delivery=delivery, reason=of), callback)}
    for reason, guard, profile in product((None, *CloseReason), GetGuard, ("", "partner")):
        status = CallbackStatus.CLOSED if reason else CallbackStatus.OPEN
        changes = {"close_reason": reason, "status": status, "get_guard": guard, "verification_profile": profile}
        found.add(why_uncalled(replace(callback, **changes)))
    assert len(found) > 40
    failed = [Call(call_id="c", case_id="c", status=each, failure=of) for each, of in product(FAILURES, failures)]
    said = {why_failed(call, replace(callback, answer_mode=mode)) for call, mode in product(failed, AnswerMode)}
    assert said == set(FAILED_REASONS)
    assert found - TEXTS["en"].keys() == set()


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"choice": "no", "body": "", "code": "201"}, {"body": "no", "code": 201, "headers": TEXT}),
        ({"choice": "no", "body": "x", "headers": "x-a: b:c\r\n"}, {"body": "x", "headers": {"x-a": "b:c"}}),
        ({"choice": "no", "type": "PAGE"}, {"text": "Decline", "type": ResponseType.PAGE}),
        ({"choice": "perhaps"}, None), ({"choice": ""}, None), ({}, None),
    ],
)  # fmt: skip
def test_an_answer_with_a_choice_is_its_value_or_label_unless_the_form_says_more(form, said):
    callback = replace(CALLBACK, prompt=Prompt("Pay?", choices={"no": "Decline"}))
    assert decision_of(with_choice(form, callback)) == Accept(said and Response(**{"type": None} | said))
    assert with_choice(form, replace(callback, prompt=None)) == form


class Pages:
    """A client of a server with lists of names. It refuses to replay some, and fails at one named `fail`."""

    def __init__(self, *pages):
        self.pages = pages
        self.replayed = []
        self.gate = asyncio.Event()
        self.gate.set()

    def page(self, token, make, *others):
        number = int(token or 0)
        more = str(number + 1) if number + 1 < len(self.pages) else ""
        return Page((*map(make, self.pages[number]), *others), more)

    async def replay_call(self, call_id):
        await self.gate.wait()
        if call_id.startswith("gone"):
            raise NotFoundError("gone", code=grpc.StatusCode.NOT_FOUND)
        if call_id == "fail":
            raise UnavailableError("the server is away", code=grpc.StatusCode.UNAVAILABLE)
        self.replayed.append(call_id)


class DeadServer(Pages):
    """One with dead calls, and with one that was rejected on each page."""

    async def list_owner_calls_page(self, only, *, owner, activity, page_size, page_token):
        assert (only, owner, activity, page_size) == (CallFilter.DEAD, "orders", "ship", 100)
        dead = recorded(delivery=Delivery(status=DeliveryStatus.DEAD, failure=CallFailure.HANDLER_LOST))
        rejected = recorded(delivery=Delivery(status=DeliveryStatus.DEAD))
        return self.page(page_token, lambda each: replace(dead, call_id=each), rejected)


LOST = Deliveries("ship", "failure.HANDLER_LOST", "orders")


async def test_a_replay_takes_the_calls_of_its_group_from_all_pages_and_counts_those_that_the_server_refuses():
    server = DeadServer(["a", "gone 1"], [], [str(number) for number in range(20)])
    replay = Replay(LOST, 21, server)
    await wait_until(lambda: not replay.is_running)
    assert (replay.replayed, replay.refused, replay.error, replay.is_stopped) == (21, 1, "", False)
    assert sorted(server.replayed) == sorted(["a", *map(str, range(20))])


class FailingServer(Pages):
    """One with callbacks whose newest call, named as they are, was lost. `failed` are other calls."""

    def __init__(self, *pages, **failed):
        super().__init__(*pages)
        self.failed = failed

    async def list_callbacks_page(self, *, last_call_status, owner, activity, page_size, page_token):
        assert (last_call_status, owner, activity, page_size) == (CallStatus.FAILED, "orders", "ship", 50)
        return self.page(page_token, lambda each: replace(CALLBACK, case_id=each))

    async def list_calls_page(self, case_id, *, page_size):
        assert page_size == 1
        if case_id == "deleted":
            raise NotFoundError("deleted", code=grpc.StatusCode.NOT_FOUND)
        lost = {"status": CallStatus.FAILED, "failure": CallFailure.HANDLER_LOST}
        call = replace(recorded(), call_id=case_id, **lost | self.failed.get(case_id, {}))
        return Page((call,) if case_id != "uncalled" else (), "")


async def test_a_replay_of_failed_calls_takes_those_of_its_group_that_still_fail_and_have_no_delivery():
    server = FailingServer(
        ["a", "deleted", "uncalled", "b"], [], ["c", "slow", "succeeded", "replayed", "erased"],
        slow={"failure": CallFailure.DEADLINE_EXCEEDED}, succeeded={"status": CallStatus.SUCCEEDED},
        replayed={"delivery": Delivery(status=DeliveryStatus.PENDING)}, erased={"erased": True},
    )  # fmt: skip
    replay = Replay(FailedCalls("ship", CallStatus.FAILED, "failure.HANDLER_LOST", "orders"), 3, server)
    await wait_until(lambda: not replay.is_running)
    assert (replay.error, replay.refused, sorted(server.replayed)) == ("", 0, ["a", "b", "c"])


async def test_a_replay_ends_at_an_error_of_the_server_and_says_so():
    replay = Replay(LOST, 3, DeadServer(["fail"], ["never"]))
    await wait_until(lambda: not replay.is_running)
    assert (replay.replayed, replay.error) == (0, "UNAVAILABLE: the server is away")


async def test_a_replay_stops_when_it_is_told_to():
    server = DeadServer(["a"], ["b"])
    server.gate.clear()
    replay = Replay(LOST, 2, server)
    replay.stop()
    await wait_until(lambda: not replay.is_running)
    assert (replay.is_stopped, server.replayed) == (True, [])


def test_every_language_has_every_text_that_differs_from_its_name_with_the_same_placeholders():
    english = Words("en")
    for language, texts in TEXTS.items():
        assert language == "en" or TEXTS["en"].keys() - texts.keys() == set()
        for name, text in texts.items():
            assert text, name
            assert set(re.findall(r"{\w*}", text)) == set(re.findall(r"{\w*}", english.text(name))), name
        assert [name for name in texts if texts[name] == name.rpartition(".")[2].replace("_", " ").capitalize()] == []


SAME_IN_DUTCH = {
    "activity", "activity_case", "fallback", "headers", "labels", "query", "status", "subject", "token",
}  # fmt: skip
"""Words of pages that are the same in Dutch: their texts are not in the Dutch file."""


def test_every_text_that_a_page_names_exists():
    pages = [path.read_text() for path in (CONSOLE / "templates").glob("*.html")]
    named = set(chain.from_iterable(re.findall(r"\bt\([\"']([a-z_.]+)[\"'][,)]", page) for page in pages))
    assert len(named) > 50
    assert {name.rpartition(".")[2] for name in named - TEXTS["nl"].keys()} - TEXTS["nl"].keys() <= SAME_IN_DUTCH


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("", "en"), ("nl", "nl"), ("nl-BE, en;q=0.8", "nl"), ("fr, en, nl", "en"), ("nl;q=0", "en"), ("*", "en")],
)
def test_a_person_gets_the_first_language_that_the_console_has(accepted, language):
    assert best_language(parse_accept_header(accepted, LanguageAccept)) == language


@pytest.mark.parametrize(
    ("seconds", "clock"), [(-1, "0:00"), (5.9, "0:05"), (3599, "59:59"), (3600, "1:00:00"), (90061, "1 d 1:01:01")]
)
def test_time_that_is_left_is_shown_as_a_clock(seconds, clock):
    assert Words("en").clock(seconds) == clock


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"bind": "0.0.0.0:80"}, "tokens would travel in plain text: bind to loopback"),
        ({"public_url": "http://console.example"}, "tokens would travel in plain text: bind to loopback"),
        ({"public_url": "https://console.example/path"}, "must be https://HOST"),
        ({"public_url": "console.example"}, "must be https://HOST"),
        ({"server_target": "callback.example:50051"}, "set server_tls"),
        ({"server_target": "callback"}, "has no port"),
        ({"server_tls": {"cert_file": "a", "key_file": "b"}}, "must have no cert_file"),
        ({"admin_bind": "127.0.0.1:8083"}, "are the same address"),
    ],
)
def test_settings_that_would_be_unsafe_are_refused(settings, says):
    with pytest.raises(SettingsError, match=re.escape(says)):
        ConsoleSettings.load(**settings)


def test_the_public_url_has_the_form_that_browsers_send():
    assert ConsoleSettings(public_url="https://Console.example:443/").public_url == "https://console.example"


def test_vendored_files_are_unchanged_and_each_is_listed():
    static = CONSOLE / "static"
    rows = re.findall(r"^\| `(\S+)` \|.*`([0-9a-f]{64})` \|$", (static / "VENDORED.md").read_text(), re.MULTILINE)
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in static.glob("*.min.js")}
    assert found == dict(rows)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-27T04:30", datetime(2026, 11, 27, 4, 30, tzinfo=UTC)),
        ("2026-11-27T04:30+02:00", datetime(2026, 11, 27, 2, 30, tzinfo=UTC)),
        ("0001-01-01T00:00+01:00", None),
        ("9999-12-31T23:59-01:00", None),
        ("soon", None),
    ],
)
def test_a_time_in_an_address_is_one_of_the_calendar_or_none(text, time):
    assert time_of(text) == time
