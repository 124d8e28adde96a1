"""Several cases that one script stores in a partition."""

import itertools

import pytest
from redis.exceptions import ResponseError
from support.cases import new_case
from support.store import KINDS

from callback_server.domain.case import Settings
from callback_server.store import keys
from callback_server.store.queries.list_cases import list_cases
from callback_server.store.queries.read import read_case
from callback_server.store.recording import Recording
from callback_server.store.transitions.create_cases import CaseStored, KnownRequest, RequestConflict, create_cases

PARTITION = 7
POINTER = f"{PARTITION:08x}" + "0" * 24


@pytest.fixture
def new():
    """Return a function that returns a new case of the partition."""
    states = map(str, itertools.count())
    return lambda **fields: new_case(states=states, partition=PARTITION, **fields)


@pytest.mark.parametrize("store", KINDS, indirect=True)
async def test_each_case_has_its_result_in_order_whatever_the_others_are(cases, new):
    first = new(pointer=POINTER, nonce=b"1" * 12)
    same, other = new(pointer=POINTER, nonce=b"2" * 12), new(pointer=POINTER, nonce=b"3" * 12, fingerprint=b"g" * 32)
    plain, expiring = new(activity="other"), new(time_to_live_ms=3_600_000)
    batch = [first, same, plain, other, expiring]
    for _ in range(2):  # sent again, the script does nothing
        *results, expires = await create_cases(cases.scripts, batch, recording=Recording())
        assert results == [CaseStored(None), KnownRequest(first.nonce), CaseStored(None), RequestConflict()]
        assert expires.expire_time_ms == (await read_case(cases.scripts, expiring.id)).expire_time_ms
    for stored in (first, plain, expiring):
        assert (await read_case(cases.scripts, stored.id)).activity == stored.activity
    assert [await read_case(cases.scripts, each.id) for each in (same, other)] == [None, None]


async def test_each_case_has_a_creation_time_of_its_own_so_that_pages_miss_none(cases, new):
    batches = [[new() for _ in range(number)] for number in (1, 40, 1, 40)]
    for batch in batches:
        await create_cases(cases.scripts, batch, recording=Recording())
    newest_first = [case.id for case in itertools.chain(*batches)][::-1]
    found, after = [], None
    while True:
        page, after = await list_cases(
            cases.scripts, owner="shop", activities=[], status=None, labels={}, limit=7, after=after
        )
        found += page
        if after is None:
            break
    assert found == newest_first


async def test_a_case_of_which_a_key_has_a_wrong_type_is_not_stored_in_part(cases, new, plain):
    labelled = new(settings=Settings(labels={"team": "x"}))
    await create_cases(cases.scripts, [labelled], recording=Recording())
    (index,) = await plain.keys(keys.key(PARTITION, "label", "shop", "*"))
    await plain.set(index, "wrong type")
    before, damaged = new(), new(settings=Settings(labels={"team": "x"}))
    with pytest.raises(ResponseError):
        await create_cases(cases.scripts, [before, damaged], recording=Recording())
    assert await read_case(cases.scripts, before.id)
    assert not await plain.keys(f"*{damaged.id}*")
