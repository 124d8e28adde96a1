"""`callback losses`: what it lists, how it accepts what a store has, and its exit codes."""

import functools
import json

import pytest
import redis
from support.clients import CHECKS, run_callback
from support.store import free_port

from callback_server.store import keys

losses = functools.partial(run_callback, "losses", preloaded=CHECKS)


@pytest.fixture
def store(store_of):
    store = store_of()
    with redis.Redis(port=store.port) as plain:
        plain.hset(keys.key(3, "losses"), mapping={"7": "12:5:1764000000", "5": "1:4:1763000000"})
        plain.hset(keys.key(9, "losses"), "7", "2:5:1764000001")
        store.plain = plain
        yield store


async def test_it_lists_what_was_lost_the_latest_first(store):
    ran = await losses(CALLBACK_STORE_URL=store.url)
    assert (ran.code, ran.errors) == (0, "")
    assert ran.output.splitlines() == [
        "2025-11-24 16:00:01Z  partition 9  2 steps lost",
        "2025-11-24 16:00:00Z  partition 3  12 steps lost",
        "2025-11-13 02:13:20Z  partition 3  1 steps lost",
        "15 steps lost",
    ]
    ran = await losses("--json", CALLBACK_STORE_URL=store.url)
    assert json.loads(ran.output)[1] == {
        "partition": 3, "steps": 12, "noticed": "2025-11-24T16:00:00+00:00", "epoch": 7, "lost_epoch": 5,
    }  # fmt: skip
    assert not store.plain.exists(keys.key(3, "epochs"))


async def test_to_accept_begins_an_epoch_in_every_partition_and_says_what_is_given_up(store):
    ran = await losses("--accept", CALLBACK_STORE_URL=store.url)
    assert (ran.code, ran.errors) == (0, "")
    assert ran.output.endswith("What the store has now is accepted. What it lacks is given up.\n")
    for partition in range(keys.PARTITIONS):
        epochs = store.plain.hgetall(keys.key(partition, "epochs"))
        assert epochs[epochs[b"number"]].startswith(b"f")  # it counts more than what servers know


async def test_a_store_that_cannot_be_reached_is_one_line():
    ran = await losses(CALLBACK_STORE_URL=f"redis://127.0.0.1:{free_port()}")
    assert ran.code == 1
    assert ran.errors.startswith("Error: the store redis://127.0.0.1:")
    assert "store_url in [server] or CALLBACK_STORE_URL" in ran.errors
    assert ran.errors.count("\n") == 1
