"""Slots that owners share: one alone gets nearly all, and several get parts by their weights."""

import pytest

from callback_server.errors import CallbackError, TooManyCallsError
from callback_server.limits.call_slots import CallSlots
from callback_server.limits.quotas import Quota, Quotas

NAME = "max_in_flight_calls"


def slots(capacity, default=None, **quotas):
    return CallSlots(NAME, capacity, Quotas(default or Quota(), quotas.get))


def fill(shared, *owners):
    """Take slots for each owner in turn until none may take one more. Return how many each has."""
    taken = dict.fromkeys(owners, 0)
    while allowed := [owner for owner in owners if owner not in {name for name, _, _ in shared.limited()}]:
        for owner in allowed:
            try:
                shared.check(owner)
            except CallbackError:
                return taken
            shared.take(owner)
            taken[owner] += 1
    return taken


def test_one_owner_gets_nearly_all_places_and_the_last_ones_are_for_others():
    shared = slots(90)
    assert fill(shared, "shop") == {"shop": 80}
    assert shared.limited() == [("shop", 1000, NAME)]
    shared.check("bank")


def test_several_owners_get_equal_parts_and_one_with_twice_the_weight_twice_as_much():
    taken = fill(slots(1000), "shop", "bank")
    assert abs(taken["shop"] - taken["bank"]) <= 1
    assert sum(taken.values()) > 930
    shared = slots(1000, shop=Quota(weight=2))
    for _ in range(400):  # the other one has its part first
        shared.take("bank")
    while "shop" not in {name for name, _, _ in shared.limited()}:
        shared.take("shop")
    assert 550 < shared.taken - 400 <= 600


def test_a_place_that_is_freed_can_be_taken_again():
    shared = slots(2)
    slot = shared.take("shop")
    shared.take("bank")
    with pytest.raises(TooManyCallsError) as caught:
        shared.check("shop")
    assert (caught.value.limit, caught.value.owner) == (NAME, "shop")
    for _ in range(2):
        slot.free()
    assert shared.taken == 1
    shared.check("shop")


def test_the_one_owner_of_a_server_without_principals_gets_every_slot():
    shared = CallSlots(NAME, 2, Quotas(Quota()))
    for _ in range(2):
        shared.reserve().charge("local")
    with pytest.raises(TooManyCallsError) as caught:
        shared.reserve()
    assert (caught.value.limit, caught.value.owner) == (NAME, "")


def test_a_quota_names_its_own_setting_and_the_default_is_for_an_owner_without_one():
    shared = slots(100, Quota(max_in_flight_calls=1), bank=Quota(max_in_flight_calls=2))
    for owner in ("shop", "bank", "bank"):
        shared.check(owner)
        shared.take(owner)
    limit = "max_in_flight_calls_per_owner"
    assert shared.limited() == [("shop", 1000, limit), ("bank", 1000, limit)]


def test_a_claim_looks_at_the_quotas_of_limited_owners_alone_however_many_others_have_slots():
    looked_at = []

    def find(owner):
        looked_at.append(owner)
        return Quota(max_in_flight_calls=3) if owner == "bank" else None

    shared = CallSlots(NAME, 10_000, Quotas(Quota(), find))
    small = [shared.take(f"owner {n}") for n in range(1000)]
    for _ in range(8000):
        shared.take("shop")
    bank = [shared.take("bank") for _ in range(3)]
    looked_at.clear()
    assert [owner for owner, _, _ in shared.limited()] == ["shop", "bank"]
    assert {*looked_at} == {"shop", "bank"}
    for slot in (*small, *bank):
        slot.free()
    assert shared.limited() == []


def test_an_owner_whose_quota_is_raised_may_take_more_at_once():
    quotas = {"shop": Quota(max_in_flight_calls=1)}
    shared = CallSlots(NAME, 100, Quotas(Quota(), quotas.get))
    shared.take("shop")
    assert shared.limited()
    quotas["shop"] = Quota(max_in_flight_calls=2)
    assert not shared.limited()
