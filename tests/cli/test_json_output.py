"""JSON output: values of the contract are in its JSON form, and nothing in it can control a terminal."""

import json

from hypothesis import given
from hypothesis import strategies as st
from support.clients import CALL_JSON, CALLBACK_JSON, call_message, callback_message

from callback._converters import call_from_proto, callback_from_proto
from callback_cli.json_output import dumps


def test_values_have_the_json_form_of_the_contract_wherever_they_are():
    call, callback = call_from_proto(call_message()), callback_from_proto(callback_message())
    shown = json.loads(dumps({"calls": [call], "callback": callback, "count": 1}))
    assert shown == {"calls": [CALL_JSON], "callback": CALLBACK_JSON, "count": 1}


@given(st.text())
def test_the_output_is_always_ascii(text):
    output = dumps({"requestBody": text})
    assert output.replace("\n", "").isprintable()
    assert output.isascii()
    assert json.loads(output) == {"requestBody": text}
