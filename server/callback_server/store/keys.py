"""The only place where Redis keys are spelled.

Every key of a case lies in the case's *partition* and carries the hash tag of the partition, such as `{cb:17}`. So one
script changes a case and its indexes atomically, also on a cluster. Which keys a transition touches depends on what it
reads (the indexes by owner and activity, the running call). So a script is routed by the tag of its partition, as its
one declared key, and names the others by the table below: `case_key(id)` (see `with_keys` in generated_lua.py).
A script may use undeclared keys of the same slot. The server refuses those of another slot, which the tests on a
cluster would show.
"""

from __future__ import annotations

import hashlib
from typing import Final

SCHEMA_VERSION: Final = 1
"""The version of the stored data.

The rule, for rolling upgrades and one step back: a release reads what a store of the version before can hold, and
writes what a release of that version can work with. So a new key, field or index is one that the release before can do
without, and its absence has a meaning. A release stops writing something one version after the release that no longer
reads it. A process starts on a store of its own version or of a version next to it, raises a lower version to its own,
and never lowers it. `tests/data/stored-N` has the data of each version; the tests run on it, because a case of an
earlier version can still be in a store.
"""
PARTITIONS: Final = 64
"""The number of partitions. The first start on a store fixes it, and every later start checks it."""
SCHEMA_KEY: Final = "cb:schema"
"""String: `{version}:{partitions}`, with the highest version of the processes that have started on the store."""
NAMING_KEY: Final = "cb:naming_key"
"""String: 32 random bytes, made by the first start on the store and never changed. Servers derive keys from it that
they need without a `state_key`, too."""
PAUSED_KEY: Final = "cb:paused"
"""Hash: a field for each activity whose deliveries are paused, with who, why and when as JSON, and the version of this
list at the empty field."""
AUDIT_CHAINS: Final = PARTITIONS + 1
"""The number of chains of the audit: one for each partition, and the last one for what belongs to no case."""
STORE_CHAIN: Final = PARTITIONS
"""The number of that last chain. Its keys have the slot of PAUSED_KEY, so that one script pauses and records it."""
WORKERS_KEY: Final = "cb:workers"
"""Hash: for each replica, until when its announcement is valid (milliseconds since the epoch), a colon, and the free
slots of its workers, packed."""
SERVING_KEY: Final = "cb:serving"
"""Hash: as WORKERS_KEY, with the number of workers of each route in place of their free slots."""
STATISTICS_KEY: Final = "{cb:statistics}"
"""Tag of a hash for each minute, `{cb:statistics}:{minutes since the epoch}`: for each replica, what it has done in it,
packed (see calls/call_statistics.py). It expires."""
PROBE_KEY: Final = "cb:probe"
"""String: written to measure how long a write takes. It expires at once."""

LAYOUT: Final = {
    "case": "case:{}",  # hash: the fields of a case that change, and those that transitions read (see fields.py)
    "pointer": "pointer:{}",  # string: the id of the case with an (owner, request id), then a nonce (see pointers.py)
    "correlation": "correlation:{}",  # hash: the newest case of a correlation key, and its requests (correlation.py)
    "content": "content:{}",  # string: settings and response of a case, packed, with a small body
    "body": "body:{}",  # string: the body of a case's response; absent if it is small
    "former_body": "former_body:{}:{}",  # string: that of an earlier version, while it is named (see bodies.lua)
    "uses": "uses:{}:{}",  # hash: what names the body of the response of a (case, version) (see bodies.lua)
    "calls": "calls:{}",  # zset: the calls of a case by number
    "call": "call:{}",  # hash: one call, its tombstone, or a notification (see fields.py)
    "repeat": "repeat:{}:{}",  # string: the call of a (case or correlation key, digest), until its window is over
    "index": "index:{}:{}:{}",  # zset: the cases of an (owner, status, activity) by creation, in microseconds
    "owners": "owners",  # set: the owners of the cases; without those of a release before until a repair has found them
    "activities": "activities:{}",  # set: the activities that an owner's cases have named
    "label": "label:{}:{}",  # zset: the cases of an (owner, digest of a label) by creation, in microseconds
    "recorded_bytes": "recorded_bytes",  # zset: the owners of the cases by the bytes of their calls (see retention.lua)
    "leases": "leases",  # zset: running calls by the end of their lease, in milliseconds
    "fallback": "fallback:{}",  # string: the fallback of a case, packed; absent if it has none
    "held": "held:{}",  # zset: the held calls of a case by number
    "resolution": "resolution:{}",  # hash: the answer that ResolveCallback has given to a case (see resolve_case.lua)
    "closed_response": "closed_response:{}",  # string: the response of a closed case, packed; absent if it has none
    "answer": "answer:{}",  # string: the whole answer to a call, packed, for a caller that waits and for repeats
    "answers": "answers:{}",  # zset: the answers that a case keeps, `{call}:{bytes}`, by the end of their windows
    "waiting": "waiting:{}",  # zset: the running held calls of an owner by start, in milliseconds
    "delivery_activities": "delivery_activities",  # set: the activities that have a delivery to run
    "due": "due:{}",  # zset: the calls of an activity with a delivery to run, by when something is due, in milliseconds
    "pauses": "pauses",  # hash: the partition's copy of PAUSED_KEY
    "reminders": "reminders",  # zset: cases that are not closed, by their next reminder, in milliseconds
    "notification_activities": "notification_activities",  # set: the activities that have a notification to deliver
    "notification_due": "notification_due:{}",  # zset: as `due`, of the notifications of an activity
    "queue": "queue:{}",  # list: the calls of an ordered case with a delivery to run, in their order
    "dead": "dead:{}",  # zset: the calls and notifications of an owner whose delivery is DEAD, not erased, by start
    "expiries": "expiries",  # zset: cases that are not closed, by expiry, in milliseconds
    "closed": "closed",  # zset: closed cases by when they closed or their last call ended, in milliseconds
    "ended": "ended",  # zset: ended calls without a delivery to run, by when that was, in milliseconds
    "events": "events",  # stream: the last 10,000 events of the partition, numbered 0-1, 0-2 and so on
    "clock": "clock",  # string: the time of the partition, a colon, what the store's clock showed then (microseconds)
    "epochs": "epochs",  # hash: by number 64 epochs, `{id}:{events}`, and four fields of open_epoch.lua
    "losses": "losses",  # hash: by the number of an epoch what was lost before it, `{steps}:{lost epoch}:{seconds}`
    "replicated": "replicated",  # string: empty, written behind a batch whose replicas are waited for (replication.py)
    "profile": "profile:{}:{}",  # string: the verification profile of an (owner, name), packed, its secrets sealed
    "profiles": "profiles:{}",  # zset: the names of the verification profiles of an owner, all with the score 0
    "audit": "audit",  # stream: the entries of the audit, `{milliseconds}-{number}`: the entry as JSON, and its HMAC
    "audit_start": "audit_start",  # string: an HMAC, a space, where retention lets the audit begin; absent: at 1
}
"""Every key of a partition, after its tag and a colon. Each `{}` stands for one value.

The costs of the index of labels, measured as the difference in `used_memory` over 100,000 cases (Valkey 9.1): nothing
for a case without labels; for each label about 100 bytes if cases share it, and 150 if it belongs to one case, however
long it is. A case without labels, body and calls takes 550 bytes, its event included. The index is written when a case
is created and when it is deleted.

The costs of the audit: about 500 bytes for an entry.

The costs of a request id, measured alike: about 150 bytes, for the pointer and the two fields of its case.

The costs of a correlation key, as the size of its pointer: about 150 bytes, and 100 for each request id.

The costs of events: 100 to 145 bytes each, so 1.4 MB for a partition that has as many as it keeps. Of the store's
processor time for a recorded call (one event), or for a claim with its finish (two events), they take a tenth. Only
watchers read them.
"""


def parse(stored: str) -> tuple[int, str] | None:
    """Return the partition of a key and the key without its tag, or None for a key of no partition."""
    tagged, colon, name = stored.partition("}:")
    partition = tagged.removeprefix("{cb:")
    return (int(partition), name) if colon and partition.isdecimal() else None


def replica_messages_key(replica: str) -> str:
    """Return the key of the message queue of a replica: a list, which expires."""
    return f"cb:messages:{replica}"


def partition_of(case_id: str) -> int:
    """Return the partition of a case. The id is a hash, so the partitions fill evenly."""
    return int(case_id[:8], 16) % PARTITIONS


def partition_of_owner(owner: str) -> int:
    """Return the partition of what an owner has besides cases: its verification profiles."""
    return partition_of(hashlib.sha256(owner.encode()).hexdigest())


def tag(partition: int) -> str:
    """Return the hash tag of a partition. A script is routed by it, although no key of this name exists."""
    return f"{{cb:{partition}}}"


def audit_tag(chain: int) -> str:
    """Return the hash tag of a chain of the audit."""
    return f"{{{PAUSED_KEY}}}" if chain == STORE_CHAIN else tag(chain)


def audit_key(chain: int) -> str:
    """Return the key of the entries of a chain of the audit."""
    return f"{audit_tag(chain)}:{LAYOUT['audit']}"


def tag_of(key: str) -> str:
    """Return the hash tag of a key of a partition, and "" for another key."""
    return key[: key.find("}") + 1] if key[4:5].isdecimal() else ""


def partition_of_tag(tag: str) -> int:
    """Return the partition of a hash tag."""
    return int(tag[len("{cb:") : -1])


def batch_mark_key(key: str) -> str:
    """Return the key that is written behind a batch, in the slot of this key."""
    return f"{key if key.startswith('{') else f'{{{key}}}'}:{LAYOUT['replicated']}"


def key(partition: int, name: str, *parts: str) -> str:
    """Return a key of the table above."""
    return f"{tag(partition)}:{LAYOUT[name].format(*parts)}"
