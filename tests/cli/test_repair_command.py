"""`callback repair`: what it reports and mends, and its exit codes."""

import json

import pytest
import redis
from support.clients import CHECKS, run_callback

from callback_server.store import keys
from callback_server.store.epochs.keeper import EpochKeeper
from callback_server.store.epochs.known import Epoch

CASE = "f" * 32
ENTRY = keys.key(keys.partition_of(CASE), "leases"), f"{CASE}-{'0' * 16}"


@pytest.fixture
def store(store_of):
    store = store_of()
    with redis.Redis(port=store.port) as plain:
        plain.zadd(ENTRY[0], {ENTRY[1]: 1})
        store.plain = plain
        yield store


async def repair(url, *arguments, **environment):
    return await run_callback("repair", *arguments, preloaded=CHECKS, CALLBACK_STORE_URL=url, **environment)


async def test_a_check_reports_what_is_wrong_and_changes_nothing(store):
    ran = await repair(store.url, "--check")
    assert (ran.code, ran.errors) == (1, "")
    assert f"entry_without_case  leases  {ENTRY[1]}  found" in ran.output
    assert store.plain.zscore(*ENTRY) == 1


async def test_a_repair_mends_it_and_a_second_one_finds_nothing(store):
    ran = await repair(store.url)
    assert (ran.code, ran.errors) == (0, "")
    assert f"entry_without_case  leases  {ENTRY[1]}  removed" in ran.output
    assert store.plain.zscore(*ENTRY) is None
    ran = await repair(store.url, "--check", "--json")
    assert (ran.code, ran.errors, json.loads(ran.output)) == (0, "", [])


async def test_a_part_that_cannot_be_examined_is_named(store):
    store.plain.set(keys.key(3, "expiries"), "not a sorted set")
    ran = await repair(store.url)
    assert ran.code == 1
    assert "Error: partition 3 was not examined: " in ran.errors
    assert store.plain.zscore(*ENTRY) is None


async def test_a_key_of_a_wrong_type_is_named_and_not_mended(store):
    store.plain.set(keys.key(keys.partition_of(CASE), "case", CASE), "not a hash")
    ran = await repair(store.url)
    assert (ran.code, ran.errors) == (1, "")
    assert f"wrong_type  case  {CASE}  found" in ran.output


async def test_an_old_primary_that_the_server_has_seen_to_be_one_is_left_alone(store, tmp_path):
    keeper = EpochKeeper(tmp_path / "epochs")
    keeper.epochs.remember(3, Epoch(2, "ab", ""))
    keeper.close()
    ran = await repair(store.url, CALLBACK_STORE_EPOCHS_FILE=str(tmp_path / "epochs"))
    assert ran.code == 1
    assert "Error: 1 of 64 partitions are older than the server has seen; the store is an old primary" in ran.errors
    assert store.plain.zscore(*ENTRY) == 1


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"CALLBACK_STORE_URL": "redis://127.0.0.1:1"}, "or CALLBACK_STORE_URL to the store of your servers"),
        ({"CALLBACK_STORE_URL": "http://x"}, "must begin with"),
    ],
)
async def test_a_store_that_cannot_be_examined_is_one_line(environment, text):
    ran = await run_callback("repair", preloaded=CHECKS, **environment)
    assert ran.code == 1
    assert text in ran.errors
    assert "Traceback" not in ran.errors
