"""URLs, the secret in them (the state), and the ids that are derived from it."""

import hashlib
import uuid

import pytest

from callback_server.domain.ids import case_id_of, case_id_of_call, is_state, new_call_id, new_state, state_hash
from callback_server.domain.url import callback_url, is_as_handed_out, request_url

STATE = "33931129-8459-4714-8c9b-ad9d15090289"


def test_a_state_is_a_random_uuid_of_version_4_in_its_canonical_form():
    states = {new_state() for _ in range(1000)}
    assert len(states) == 1000
    for state in states:
        assert is_state(state)
        assert (uuid.UUID(state).version, str(uuid.UUID(state))) == (4, state)


@pytest.mark.parametrize(
    "text", ["", STATE.upper(), f"{{{STATE}}}", STATE.replace("-", ""), f"{STATE}0", f"{STATE}\n", STATE[:-1] + "٩"]
)
def test_a_state_has_one_spelling(text):
    assert is_state(STATE)
    assert not is_state(text)


def test_the_id_of_a_case_is_half_of_the_hash_of_its_state_and_that_of_a_call_begins_with_it():
    case_id = case_id_of(state_hash(STATE))
    assert case_id == hashlib.sha256(STATE.encode()).hexdigest()[:32]
    first, second = new_call_id(case_id), new_call_id(case_id)
    assert first != second
    assert case_id_of_call(first) == case_id_of_call(second) == case_id


@pytest.mark.parametrize(
    ("parameter", "url"),
    [("", f"https://box.example/cb/{STATE}"), ("state", f"https://box.example/cbq/state?state={STATE}")],
)
def test_a_url_has_its_state_in_the_path_or_in_a_parameter(parameter, url):
    assert callback_url("https://box.example", STATE, parameter) == url
    assert is_as_handed_out(url)


@pytest.mark.parametrize("base", ["https://box.example", "https://box.example/sub/path"])
def test_the_url_of_a_request_has_its_query_as_it_was_sent(base):
    assert request_url(base, STATE, "", "") == callback_url(base, STATE, "")
    assert request_url(base, STATE, "", "a=%20&a=1") == f"{base}/cb/{STATE}?a=%20&a=1"
    assert request_url(base, STATE, "state", f"b=1&state={STATE}") == f"{base}/cbq/state?b=1&state={STATE}"
    for query in ("a=1", f"a=1&state={STATE}", f"state={STATE}&a=1"):
        assert not is_as_handed_out(request_url(base, STATE, "state", query))
