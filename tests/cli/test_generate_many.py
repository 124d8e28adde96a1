"""`callback generate-many`: a result for each line of its input, in order, and a second run that goes on."""

import json
import stat

import grpc
import pytest
from support.clients import CASE, Refusal
from support.services import running_services
from support.terminal import run_on_terminal

from callback.v1 import callback_pb2 as resources
from callback.v1 import callbacks_service_pb2 as messages
from callback_shared.wire_fields import has_too_many_fields

Code = grpc.StatusCode
NO_STORE = Refusal(Code.UNAVAILABLE, "STORE_UNAVAILABLE", "the store is away")
LIMIT_BYTES = 4 * 1024 * 1024


class Orders:
    """Answers batches: a URL for each request, or the problem of its request id."""

    def __init__(self):
        self.problems = {}
        self.batches = []

    @property
    def sent(self):
        """Return the request ids of each batch."""
        return [[each.request_id for each in batch.requests] for batch in self.batches]

    async def __call__(self, batch):
        self.batches.append(batch)
        results = [
            {"problem": self.problems[each.request_id].status}
            if each.request_id in self.problems
            else {"generated": {"callback_url": url(each.request_id), "callback_case_id": CASE}}
            for each in batch.requests
        ]
        return messages.GenerateCallbackUrlsResponse(results=results)


@pytest.fixture
def orders(server):
    server.answers["GenerateCallbackUrls"] = made = Orders()
    return made


def url(request_id):
    return f"https://pay.example/cb/{request_id}"


def line(request_id=None, **fields):
    request = {"callbackActivity": "record", "response": {"responseType": "RESPONSE"}} | fields
    return json.dumps(request | ({} if request_id is None else {"requestId": request_id}))


def input_of(*lines):
    return "".join(f"{each}\n" for each in lines).encode()


def results(text):
    """Return the request id of each line of output with its URL, or the reason and message of its error."""
    return [
        (each["requestId"], each.get("callbackUrl") or (each["error"]["reason"], each["error"]["message"]))
        for each in map(json.loads, text.splitlines())
    ]


async def test_each_line_has_a_url_or_an_error_in_order(callback, orders):
    bad = ("response.response_code", "is odd", "odd")
    orders.problems["b"] = Refusal(Code.INVALID_ARGUMENT, "INVALID_REQUEST", "it is odd", violations=[bad])
    lines = [
        line("a", labels={"order": "5"}, timeToLive="90s", notify=["REMINDER"]),
        '{"requestId": "x"',
        line("b"),
        line("y", colour="red"),
        "",
        line(),
        '"text"',
        line("c", response={"responseType": "REDIRECT", "responseRedirectUrl": "https://shop.example"}),
    ]
    ran = await callback("generate-many", stdin=input_of(*lines))
    assert ran.code == 1
    assert ran.errors == "Error: 6 lines have an error instead of a URL.\n"
    assert results(ran.output) == [
        ("a", url("a")),
        ("", ("INVALID_REQUEST", "the line is not JSON: Expecting ',' delimiter at character 19")),
        ("b", ("INVALID_REQUEST", "it is odd")),
        ("y", ("INVALID_REQUEST", 'GenerateCallbackUrlRequest has no field "colour"')),
        ("", ("INVALID_REQUEST", "the line is not JSON: Expecting value at character 2")),
        ("", ("INVALID_REQUEST", "requestId is missing. Add it to the line, or use --request-id-prefix.")),
        ("", ("INVALID_REQUEST", "GenerateCallbackUrlRequest must be an object, not text")),
        ("c", url("c")),
    ]
    assert json.loads(ran.output.splitlines()[2])["error"]["fields"] == [
        {"field": "response.response_code", "description": "is odd", "rule": "odd"}
    ]
    (batch,) = orders.batches
    first, _, last = batch.requests
    assert (first.labels, first.time_to_live.seconds) == ({"order": "5"}, 90)
    assert list(first.notify) == [resources.CALL_REASON_REMINDER]
    assert last.response.response_redirect_url == "https://shop.example"


async def test_lines_without_an_id_get_their_number_behind_the_prefix(callback, orders):
    ran = await callback("generate-many", "--request-id-prefix", "may-", stdin=input_of(line(), line("own"), line()))
    assert (ran.code, ran.errors) == (0, "")
    assert orders.sent == [["may-1", "own", "may-3"]]
    assert [made for made, _ in results(ran.output)] == ["may-1", "own", "may-3"]


async def test_a_second_run_sends_only_the_lines_that_have_no_url(callback, orders, tmp_path):
    lines, output = input_of(*map(line, "abcdef")), tmp_path / "urls.jsonl"
    orders.problems = {"b": Refusal(Code.RESOURCE_EXHAUSTED, "TOO_MANY_OPEN_CALLBACKS", "too many " * 50)}
    ran = await callback("generate-many", "--output", str(output), stdin=lines)
    assert (ran.code, ran.output) == (1, "")
    assert ran.errors == "Error: 1 line has an error instead of a URL.\n"
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    earlier = output.read_text().splitlines(keepends=True)
    assert len(earlier) == 6

    orders.problems = {}
    output.write_text("".join(earlier[:4]) + earlier[4][:-9])  # as if it was killed then
    ran = await callback("generate-many", "--output", str(output), stdin=lines)
    assert (ran.code, ran.output, ran.errors) == (0, "", "")
    assert orders.sent[1:] == [["b", "e", "f"]]
    assert results(output.read_text()) == [(each, url(each)) for each in "abcdef"]
    assert output.read_text().splitlines(keepends=True)[0] == earlier[0]

    assert (await callback("generate-many", "--output", str(output), stdin=lines)).code == 0
    assert len(orders.batches) == 2


async def test_a_store_that_is_away_ends_the_run_behind_the_urls_that_it_has(callback, orders, tmp_path):
    lines, output = input_of(*map(line, "abc")), tmp_path / "urls.jsonl"
    output.write_text('{"requestId": "a", "callb')  # an earlier run was killed
    orders.problems = {"b": NO_STORE}
    ran = await callback("generate-many", "--output", str(output), stdin=lines)
    assert ran.code == 69
    assert "the store is away (STORE_UNAVAILABLE)" in ran.errors
    assert results(output.read_text()) == [("a", url("a"))]
    orders.problems = {}
    assert (await callback("generate-many", "--output", str(output), stdin=lines)).code == 0
    assert orders.sent == [["a", "b", "c"], ["b", "c"]]
    assert results(output.read_text()) == [(each, url(each)) for each in "abc"]


async def test_a_run_that_ends_early_keeps_the_urls_behind_that_the_file_had(callback, orders, tmp_path):
    lines, output = input_of(*map(line, "abcd")), tmp_path / "urls.jsonl"
    orders.problems = {"b": Refusal(Code.INTERNAL, "INTERNAL", "it failed")}
    await callback("generate-many", "--output", str(output), stdin=lines)
    orders.problems = {"b": NO_STORE}
    assert (await callback("generate-many", "--output", str(output), stdin=lines)).code == 69
    orders.problems = {}
    assert (await callback("generate-many", "--output", str(output), stdin=lines)).code == 0
    assert orders.sent[1:] == [["b"], ["b"]]
    assert results(output.read_text()) == [(each, url(each)) for each in "abcd"]


async def test_a_batch_keeps_to_the_limits_of_the_server(callback, orders):
    ran = await callback("generate-many", stdin=input_of(*(line(str(number)) for number in range(501))))
    assert ran.code == 0
    assert [len(batch) for batch in orders.sent] == [500, 1]
    orders.batches.clear()
    large = {"responseType": "RESPONSE", "responseBody": "x" * (LIMIT_BYTES // 4)}
    huge = {"responseType": "RESPONSE", "responseBody": "x" * LIMIT_BYTES}
    ran = await callback(
        "generate-many", stdin=input_of(*(line(each, response=large) for each in "abcde"), line("f", response=huge))
    )
    assert orders.sent == [["a", "b", "c"], ["d", "e"]]
    assert all(batch.ByteSize() <= LIMIT_BYTES for batch in orders.batches)
    assert results(ran.output)[-1] == ("f", ("INVALID_REQUEST", "the request is larger than 4 MiB"))


async def test_a_batch_has_no_more_fields_than_a_server_takes(callback, orders):
    labels = {f"label-{number}": "x" for number in range(16)}
    headers = {"headers": [{"name": f"x-{number}", "value": "v"} for number in range(30)]}
    response = {"responseType": "RESPONSE", "responseHeaders": headers}
    lines = [line(str(number), labels=labels, response=response) for number in range(500)]
    assert (await callback("generate-many", stdin=input_of(*lines))).code == 0
    assert sum(map(len, orders.sent)) == 500
    assert not any(has_too_many_fields(each.SerializeToString(), each.DESCRIPTOR) for each in orders.batches)


async def test_a_program_of_jq_gets_each_line(callback, orders):
    ran = await callback("generate-many", "--jq", ".callbackUrl", stdin=input_of(*map(line, "ab")))
    assert ran.output == f"{url('a')}\n{url('b')}\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (line("a") + "\n", "is not an output of this command"),
        ("hello\n", "is not an output of this command"),
        ('{"requestId": "z", "callbackUrl": "https://pay.example/cb/z"}\n', "has the results of another input"),
    ],
)
async def test_a_file_with_something_else_is_refused_and_stays_as_it_is(callback, orders, tmp_path, content, says):
    output = tmp_path / "urls.jsonl"
    output.write_text(content)
    for given in (input_of(line("a")), b""):
        ran = await callback("generate-many", "--output", str(output), stdin=given)
        assert ran.code == 2
        assert f"--output: {output} {says}" in ran.errors
    assert output.read_text() == content
    assert not orders.batches


async def test_a_terminal_shows_how_many_lines_are_done(server, orders, tmp_path):
    given = tmp_path / "orders.jsonl"
    given.write_bytes(input_of(*map(line, "abc")))
    shown = await run_on_terminal(
        "generate-many", str(given), "--output", str(tmp_path / "urls.jsonl"), CALLBACK_TARGET=server.address
    )
    assert (shown.code, shown.screen) == (0, "3 of 3 lines done\n")


async def test_a_server_gives_the_same_urls_for_the_same_lines(callback, store_of):
    async with running_services(store_of()) as services:
        runs = [
            await callback("generate-many", stdin=input_of(*map(line, "ab")), CALLBACK_TARGET=services.address)
            for _ in range(2)
        ]
    assert [ran.code for ran in runs] == [0, 0]
    assert results(runs[0].output) == results(runs[1].output)
