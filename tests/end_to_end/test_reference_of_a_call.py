"""The reference of an error that a caller has seen leads its owner to the call."""

import json

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
