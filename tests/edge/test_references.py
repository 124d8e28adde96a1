"""References of errors: what leads from an error that a caller has seen to the call, or to a line of the edge's log."""

import json
import re

from support.edge import (
    EdgeProcess,
    answering,
    ask,
    http_request,
    new_state,
    parse_answers,
    plain,
    refusing,
    send_raw,
)

BROWSER = ("Accept", "text/html")
DUTCH = ("Accept-Language", "nl")


async def fetch(edge, request):
    (answer,) = parse_answers(await send_raw(await edge.port(), request))
    return answer


async def test_an_error_of_a_call_has_the_id_of_the_call(plane, edge):
    plane.script = refusing("HANDLER_FAILED")
    path = f"/cb/{new_state()}"
    assert json.loads((await ask(edge, path)).body)["reference"] == "the-call"
    for language, label in (("en", "Reference"), ("nl", "Referentie")):
        page = (await ask(edge, path, headers=[BROWSER, ("Accept-Language", language)])).body.decode()
        assert f'<p class="code">502 · handler_failed<br>{label} the-call</p>' in page


async def test_rejected_data_without_a_response_has_it_too(plane, edge):
    plane.script = answering(plain(code=422, call_id="the-call", rejected_without_response=True))
    assert json.loads((await ask(edge, f"/cb/{new_state()}")).body)["reference"] == "the-call"


async def test_a_request_that_is_no_call_has_a_reference_in_the_access_log(plane):
    async with EdgeProcess(plane.target, access_log_sample=1) as edge:
        seen = {}
        for request in (
            http_request("/cb/unknown"),
            http_request("/nowhere"),
            http_request("/cbq/state"),
            http_request(f"/cb/{new_state()}", "BREW"),
            b"no HTTP\r\n\r\n",
        ):
            document = json.loads((await fetch(edge, request)).body)
            seen[document["reference"]] = document["code"]
        page = (await fetch(edge, http_request("/nowhere", headers=[BROWSER, DUTCH]))).body.decode()
        seen[re.search("Referentie ([0-9a-f]+)<", page)[1]] = "not_found"
        await edge.until_logged_times("request_ended", len(seen))
    assert len(seen) == 6
    assert {entry["reference"]: entry["code"] for entry in edge.events("request_ended")} == seen


async def test_a_server_error_has_a_reference_in_the_log_also_without_an_access_log(plane):
    async with EdgeProcess() as edge:
        document = json.loads((await fetch(edge, http_request(f"/cb/{new_state()}"))).body)
        assert document["code"] == "server_unreachable"
        assert (await edge.until_logged("call_refused"))["reference"] == document["reference"]


async def test_a_request_that_is_not_logged_has_no_reference(plane, edge):
    for path in ("/cb/unknown", "/nowhere"):
        assert "reference" not in json.loads((await ask(edge, path)).body)
        page = (await ask(edge, path, headers=[BROWSER])).body.decode()
        assert "reference" not in page.lower()
    plane.script = refusing("CONFIRMATION_REQUIRED", "FAILED_PRECONDITION")
    assert "the-call" not in (await ask(edge, f"/cb/{new_state()}")).body.decode()


async def test_a_closed_case_at_a_shared_address_has_no_reference_that_tells_it_from_an_unknown_one(plane, edge):
    plane.script = refusing("CALLBACK_CLOSED")
    answer = await ask(edge, f"/cbq/state?state={new_state()}")
    assert (answer.status, "reference" in json.loads(answer.body)) == (404, False)
