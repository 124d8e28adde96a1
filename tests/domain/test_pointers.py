"""The state of a case with a `request_id`, and the pointer that finds the case again."""

import pytest

from callback_server.domain.ids import case_id_of, is_state, state_hash
from callback_server.store.keys import partition_of
from callback_server.store.pointers import NONCE_BYTES, new_pointed_state, pointed_state

KEY = b"k" * 32
OTHERS = [
    {"key": b"j" * 32},
    {"owner": "refunds"},
    {"request_id": "6"},
    {"owner": "order", "request_id": "s5"},
    {"owner": "orders5", "request_id": ""},
]


def new(key=KEY, owner="orders", request_id="5"):
    return new_pointed_state(key, owner=owner, request_id=request_id)


def again(nonce, key=KEY, owner="orders", request_id="5"):
    return pointed_state(key, owner=owner, request_id=request_id, nonce=nonce)


def test_case_and_pointer_lie_in_one_partition_whatever_the_request():
    made = [new(owner=f"owner {number % 7}", request_id=f"request {number}") for number in range(500)]
    assert [partition_of(each.pointer) for each in made] == [
        partition_of(case_id_of(state_hash(each.state))) for each in made
    ]
    assert len({partition_of(each.pointer) for each in made}) > 32


def test_the_nonce_gives_the_state_again_and_its_hash_is_that_of_the_state():
    for _ in range(500):
        made = new()
        assert again(made.nonce) == made.state
        assert is_state(made.state)
        assert made.state_sha256 == state_hash(made.state)
        assert len(made.nonce) == NONCE_BYTES


def test_each_case_of_a_request_has_another_state_and_the_same_pointer():
    made = [new() for _ in range(500)]
    assert len({each.state for each in made}) == 500
    assert len({each.pointer for each in made}) == 1


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_another_key_owner_or_request_id_gives_another_pointer_and_state(other):
    made = new()
    assert new(**other).pointer != made.pointer
    assert again(made.nonce, **other)[:23] != made.state[:23]


def test_every_byte_of_the_nonce_changes_the_state():
    made = new()
    for at in range(NONCE_BYTES):
        changed = made.nonce[:at] + bytes([made.nonce[at] ^ 1]) + made.nonce[at + 1 :]
        assert again(changed) != made.state


def test_a_state_that_was_given_out_can_be_given_out_by_every_later_release():
    assert again(b"0123456789ab") == "0324c726-7794-4573-a348-52006cb72c37"
    assert new().pointer == "c639cf53bfa34e4bb00e74ab0dc53684"


def test_no_byte_of_a_state_says_how_many_candidates_were_tried():
    """All bytes of the last position occur about equally often; a search from 0 would prefer the small ones."""
    last = [int(new(request_id=str(number)).state[-2:], 16) for number in range(2000)]
    assert 112 < sum(last) / len(last) < 143
