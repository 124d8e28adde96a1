"""The reference of an error that a caller has seen leads its owner to the call."""

import json
import re

import pytest
from support.clients import run_callback
from support.handlers import answering, reject

from callback import Response


@pytest.mark.parametrize("name", ["push", "nowhere"])
async def test_the_command_line_finds_the_call_by_the_reference_of_its_error(world, name):
    script = world.handler.play(answering(reject()))
    made = await world.client.generate_callback_url(name, Response(), activity_case=script)
    answer = await world.ask(made.url)
    assert answer.status >= 400
    document = json.loads(answer.body)
    ran = await run_callback("call", document["reference"], "--json", CALLBACK_TARGET=world.system.grpc)
    found = json.loads(ran.output)
    assert (found["callbackCaseId"], found["callId"]) == (made.case_id, document["reference"])


@pytest.mark.parametrize("name", ["push", "nowhere"])
async def test_the_short_reference_on_a_page_leads_to_the_call(world, name):
    script = world.handler.play(answering(reject()))
    made = await world.client.generate_callback_url(name, Response(), activity_case=script)
    page = await world.ask(made.url, headers=[("Accept", "text/html")])
    assert page.status == {"push": 422, "nowhere": 202}[name]  # an error, and a page that waits
    (reference,) = re.findall("Reference ([0-9a-f-]+)", page.body.decode())
    assert len(reference) <= 13
    for command in ("call", "trace"):
        ran = await run_callback(command, reference, "--json", CALLBACK_TARGET=world.system.grpc)
        assert json.loads(ran.output)["callbackCaseId"] == made.case_id
