"""References of errors: what leads from an error that a caller has seen to the call, or to a line of the edge's log."""

import json
import re

from support.edge import (
    BROWSER,
    EdgeProcess,
    answer_to,
    ask,
    http_request,
    refusing,
)

DUTCH = ("Accept-Language", "nl")


async def test_a_request_that_is_no_call_has_a_reference_in_the_access_log(plane):
    async with EdgeProcess(plane.target, access_log_sample=1) as edge:
        seen = {}
        for request in (
            http_request("/cb/unknown"),
            http_request("/nowhere"),
            http_request("/cbq/state"),
            http_request(method="BREW"),
            b"no HTTP\r\n\r\n",
        ):
            document = json.loads((await answer_to(edge, request)).body)
            seen[document["reference"]] = document["code"]
        page = (await answer_to(edge, http_request("/nowhere", headers=[BROWSER, DUTCH]))).text
        seen[re.search("Referentie ([0-9a-f]+)<", page)[1]] = "not_found"
        await edge.until_logged("request_ended", len(seen))
    assert len(seen) == 6
    assert {entry["reference"]: entry["code"] for entry in edge.events("request_ended")} == seen


async def test_a_server_error_has_a_reference_in_the_log_also_without_an_access_log(plane):
    async with EdgeProcess() as edge:
        document = json.loads((await answer_to(edge, http_request())).body)
        assert document["code"] == "server_unreachable"
        assert (await edge.until_logged("call_refused"))["reference"] == document["reference"]


async def test_a_request_that_is_not_logged_has_no_reference(plane, edge):
    for path in ("/cb/unknown", "/nowhere"):
        assert "reference" not in json.loads((await ask(edge, path)).body)
        page = (await ask(edge, path, headers=[BROWSER])).text
        assert "reference" not in page.lower()
    plane.script = refusing("CONFIRMATION_REQUIRED", "FAILED_PRECONDITION")
    assert "the-call" not in (await ask(edge)).text
