"""The only place where a Redis key is spelled.

Every key of a case lies in the case's *partition* and carries its hash tag, `{cb:17}`, so that one script changes a
case and its indexes atomically, on Cluster too. Which keys a transition touches depends on what it reads (the indexes
on owner and activity, the running call), so a script is routed by its partition's tag as its one declared key, and
spells the others with the functions made here from the same table. Undeclared keys of the same slot are legal in a
script; those of another slot are refused by the server, which the tests on a cluster would show.
"""

from __future__ import annotations

from typing import Final

SCHEMA_VERSION: Final = 3
"""Version of what is stored. What differs from the one before: 2 has the index of labels, and reads what 3 writes;
3 has a small body in its case's content, no field of a new case that is 0 or empty (but the fingerprint of one that
can not be asked for again), and one half of each of its hashes; and a copy in each partition of what is paused, which
for 2 is one set alone. Both change that set, and 3 finds in it what 2 has changed: at a start, and with each sweep.

The rule, for upgrades that roll, and one step back: a release reads what a store of the version before can hold, and
writes what a release of that version can work with. So a new key, field or index is one that the release before can do
without, and whose absence has a meaning; what is no longer written goes one version after what no longer reads it. A
process starts on a store of its own version or of one beside it, raises a lower one to its own and never lowers it. The
tests run on `tests/data/stored-N`, written by the releases before: a case that one of them made can still be there.
"""
PARTITIONS: Final = 64
"""Fixed by the first start on a store, and checked by every later one."""
SCHEMA_KEY: Final = "cb:schema"
"""String: `{version}:{partitions}`, the highest version of the processes that have started on it."""
PAUSED_KEY: Final = "cb:paused"
"""Hash: a field for each activity whose deliveries are paused, and a version at the empty field."""
WORKERS_KEY: Final = "cb:workers"
"""Hash: by replica, until when it holds (milliseconds since the epoch), a colon, and its workers' places, packed."""
PROBE_KEY: Final = "cb:probe"
"""String: written by who measures how long a write takes; it ends by itself, at once."""

LAYOUT: Final = {
    "case": "case:{}",  # hash: what changes about a case, and what transitions look at
    "content": "content:{}",  # string: its settings and response, packed, with a body that is small
    "body": "body:{}",  # string: the response's body; absent if it is small
    "calls": "calls:{}",  # zset: the case's calls by attempt
    "call": "call:{}",  # hash: one call
    "message": "message:{}:{}",  # string: the call of a (case, SHA-256 of a message's id), for as long as its window
    "index": "index:{}:{}:{}",  # zset: cases of an (owner, status, activity) by creation, in microseconds
    "activities": "activities:{}",  # set: activities that an owner's cases have named
    "label": "label:{}:{}",  # zset: cases of an (owner, digest of a label) by creation, in microseconds; see labels.lua
    "leases": "leases",  # zset: running calls by the end of their lease, in milliseconds
    "fallback": "fallback:{}",  # string: what a caller gets at the answer deadline, packed; absent if nothing
    "answer": "answer:{}",  # string: what a held call was answered, packed and whole, until its caller has it
    "waiting": "waiting:{}",  # zset: held calls of an owner that run, by start, in milliseconds
    "delivery_activities": "delivery_activities",  # set: activities that have a delivery to run
    "due": "due:{}",  # zset: calls of an activity that are to be delivered, by when something is due, in milliseconds
    "pauses": "pauses",  # hash: the partition's copy of PAUSED_KEY
    "queue": "queue:{}",  # list: calls of an ordered case that are to be delivered, in their order
    "dead": "dead:{}",  # zset: calls of an owner whose delivery is dead, but erased ones, by start
    "expiries": "expiries",  # zset: cases that are not closed by expiry, in milliseconds
    "closed": "closed",  # zset: closed cases by when they or the last of their calls ended, in milliseconds
    "ended": "ended",  # zset: calls that are over (ended, nothing to be delivered), by when, in milliseconds
    "events": "events",  # stream: the partition's last 10,000 events, by number: 0-1, 0-2 and so on
    "newest": "newest",  # string: creation of the partition's newest case, in microseconds: each has its own
}
"""Every key of a partition, after its tag and a colon; `{}` is filled in order.

What the index of labels costs, as the difference in `used_memory` over 100,000 cases (Valkey 9.1): a case without
labels nothing; each label of a case about 100 bytes where cases share it, 150 where it is the case's own, however long
it is. A case without labels, body and calls takes 550 bytes, its event included. The index is written when a case is
made and when it is dropped. An entry whose case a process of version 1 has dropped stays, and is passed over: that
takes a case which was made, closed and kept for its retention while processes of both versions ran.

What events cost: 100 to 145 bytes each, so 1.4 MB for a partition that has all that it keeps; and of the store's
processor a tenth of a recorded call (one event), or of a claim with its finish (two). A process of the release before
tells nobody of what it does. Events are no truth: nothing but watching reads them.
"""


def replica_messages_key(replica: str) -> str:
    """Return the key of the message queue of a replica: a list, which expires."""
    return f"cb:messages:{replica}"


def partition_of(case_id: str) -> int:
    """The partition of a case. Its id is a hash, so they fill evenly."""
    return int(case_id[:8], 16) % PARTITIONS


def tag(partition: int) -> str:
    """The hash tag of a partition, which is also the key that a script on it is routed by. No such key exists."""
    return f"{{cb:{partition}}}"


def key(partition: int, name: str, *parts: str) -> str:
    """A key of the table above."""
    return f"{tag(partition)}:{LAYOUT[name].format(*parts)}"
