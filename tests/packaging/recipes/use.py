"""Use the new facts of `test_contributing.py` with the Python client: `use.py TARGET CASE URL`."""

import sys
import threading

import httpx
import pytest

from callback import CallbackClient, CallbackError, CallFilter, ErrorReason, Redirect, Response

target, case_id, url = sys.argv[1:]
with CallbackClient(target) as client:
    found = client.get_callback(case_id)
    assert (found.response.disposition, found.owner_note) == ("inline", "for me alone")
    assert "for me alone" not in repr(found), "a secret is masked"
    assert found.to_dict()["ownerNote"] == "***"
    assert Redirect("/x", disposition="attachment").disposition == "attachment"
    changed = client.set_response(case_id, Response(type=None, disposition="attachment"))
    assert (changed.response.disposition, changed.response.body) == ("attachment", b"dank u")
    assert client.set_response(case_id, Response(type=None), reset=["disposition"]).response.disposition is None
    client.set_response(case_id, Response(type=None, disposition="inline"))

    caller = threading.Thread(target=httpx.get, args=(url,), kwargs={"timeout": 60})
    caller.start()
    held = []
    while not held:
        held = [call for call in client.list_owner_calls(CallFilter.WAITING) if call.case_id == case_id]
    answered = client.answer_call(held[0].call_id)
    caller.join()
    assert answered.answer_digits == 3, answered

    assert list(client.list_callbacks(verification_profile="none")) == []
    assert client.get_owner_statistics("local").owner == "local"
    with pytest.raises(CallbackError) as refused:
        client.generate_callback_url("retired", Response())
    assert refused.value.reason is ErrorReason.ACTIVITY_RETIRED
    assert refused.value.facts == {"activity": "retired"}
