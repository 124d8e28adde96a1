"""The verification of a chain of the audit finds each kind of change to what servers have stored."""

import msgspec
import pytest

from callback_server.domain.audit import (
    ENTRY,
    NO_ENTRIES,
    AuditAction,
    AuditKey,
    Change,
    EntryId,
    Head,
    StoredEntry,
    decode_entry,
    digest_of,
)
from callback_server.domain.audit_check import MAX_PROBLEMS, ChainCheck, KnownHead, ProblemKind

KEY = AuditKey(b"k" * 32)
OTHER_KEY = AuditKey(b"o" * 32)
NO_KEY = AuditKey(None)
CHAIN = 7


def chain(*keys, number=CHAIN, times=None):
    """Return a chain with an entry under each key."""
    head, stored = NO_ENTRIES, []
    for at, key in enumerate(keys):
        change = Change(AuditAction.ACTIVITY_PAUSED, f"actor-{at}", activity="act", reason="why")
        entry, head = key.seal(change, number, head, times[at] if times else 1000 + at)
        stored.append(entry)
    return stored


def head_of(stored):
    return Head.of(stored.id, stored.entry)


def checked(stored, *known, key=KEY, start=None):
    """Return the result of a verification."""
    check = ChainCheck(CHAIN, key, known)
    if start is not None:
        check.begin(*start)
    for each in stored:
        check.add(each)
    return check.result()


def kept(stored):
    return KnownHead(stored.id.sequence, digest_of(stored.entry), stored.id.ms, is_kept=True)


def seen(stored):
    return KnownHead(stored.id.sequence, digest_of(stored.entry), stored.id.ms, is_kept=False)


def found(result):
    return [(problem.kind.name, problem.sequence) for problem in result.problems]


def altered(stored, **fields):
    """Return an entry with other fields, as a program without the key can make it."""
    entry = msgspec.json.encode(msgspec.structs.replace(decode_entry(stored.entry), **fields))
    return StoredEntry(stored.id, entry, stored.mac)


def at(place_of, stored):
    """Return an entry in the place of another one."""
    return StoredEntry(place_of.id, stored.entry, stored.mac)


def test_a_chain_as_it_was_stored_has_no_problem():
    stored = chain(*[KEY] * 5)
    result = checked(stored, kept(stored[2]), kept(stored[4]))
    assert found(result) == []
    assert (result.entry_count, result.first_sequence, result.head) == (
        5,
        1,
        Head(5, digest_of(stored[4].entry), 1004, ""),
    )
    assert found(checked([])) == []


def test_an_entry_says_what_was_changed_and_the_key_stays_secret():
    (stored,) = chain(KEY)
    entry = decode_entry(stored.entry)
    assert (entry.actor, entry.action, entry.activity, entry.reason) == ("actor-0", "ACTIVITY_PAUSED", "act", "why")
    assert entry.key_id == KEY.id != OTHER_KEY.id
    assert b"kkkk" not in stored.entry


CHANGES = {
    "an altered entry": (lambda c: [*c[:2], altered(c[2], actor="somebody"), *c[3:]], [("ALTERED", 3)]),
    "an altered newest entry": (lambda c: [*c[:4], altered(c[4], reason="")], [("ALTERED", 5)]),
    "a time": (lambda c: [*c[:2], altered(c[2], time_ms=1), *c[3:]], [("ALTERED", 3)]),
    "an HMAC": (lambda c: [*c[:2], StoredEntry(c[2].id, c[2].entry, "0" * 64), *c[3:]], [("ALTERED", 3)]),
    "no HMAC": (lambda c: [*c[:2], StoredEntry(c[2].id, c[2].entry, "-"), *c[3:]], [("ALTERED", 3)]),
    "no entry": (lambda c: [*c[:2], StoredEntry(c[2].id, b"?", c[2].mac), *c[3:]], [("ALTERED", 3)]),
    "a removed entry": (lambda c: [*c[:2], *c[3:]], [("MISSING", 4)]),
    "removed oldest entries": (lambda c: c[2:], [("MISSING", 3)]),
    "entries that are reordered": (
        lambda c: [c[0], at(c[1], c[2]), at(c[2], c[1]), *c[3:]],
        [("MOVED", 2), ("MOVED", 3), ("MOVED", 4)],
    ),
    "an entry of another chain": (
        lambda c: [*c[:2], chain(*[KEY] * 3, number=CHAIN + 1)[2], *c[3:]],
        [("MOVED", 3), ("MOVED", 4)],
    ),
    "an entry of another time line": (lambda c: [*c[:3], *chain(*[KEY] * 5)[3:]], [("MOVED", 4)]),
    "an entry at another time": (
        lambda c: [*c[:4], StoredEntry(EntryId(9999, 5), c[4].entry, c[4].mac)],
        [("MOVED", 5)],
    ),
    "an entry that is there twice": (
        lambda c: [*c[:3], StoredEntry(EntryId(1002, 4), c[2].entry, c[2].mac), *c[3:]],
        [("MOVED", 4), ("MOVED", 4)],
    ),
    "an inserted entry": (
        lambda c: [*c, NO_KEY.seal(Change(AuditAction.CALL_REPLAYED, "x"), CHAIN, head_of(c[4]), 1005)[0]],
        [("ALTERED", 6)],
    ),
    "an inserted entry under another key": (
        lambda c: [*c, OTHER_KEY.seal(Change(AuditAction.CALL_REPLAYED, "x"), CHAIN, head_of(c[4]), 1005)[0]],
        [("ALTERED", 6)],
    ),
    "an item that is no entry": (lambda c: [*c, StoredEntry.parse(b"1005-6", [b"x", b"y"])], [("ALTERED", 6)]),
    "an item at a time that is none": (
        lambda c: [*c, StoredEntry.parse(b"18446744073709551615-18446744073709551615", [b"entry", b"{}"])],
        [("ALTERED", 5)],
    ),
    "an entry that is not UTF-8": (
        lambda c: [*c[:2], StoredEntry(c[2].id, b'{"a":"\xff"}', "-"), *c[3:]],
        [("ALTERED", 3)],
    ),
    "an entry without an end": (
        lambda c: [*c[:2], StoredEntry(c[2].id, b'{"x":' + b"[" * 100_000, "-"), *c[3:]],
        [("ALTERED", 3)],
    ),
    "a number that is too large": (lambda c: [*c[:2], altered(c[2], sequence=2**63), *c[3:]], [("ALTERED", 3)]),
    "a chain without HMACs in its place": (lambda _: chain(*[NO_KEY] * 5), [("UNPROTECTED", 1)]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_stored_chain_is_found(change):
    make, problems = CHANGES[change]
    assert found(checked(make(chain(*[KEY] * 5)))) == problems


def test_removed_newest_entries_are_found_by_a_head_that_was_kept_or_seen():
    stored = chain(*[KEY] * 5)
    assert found(checked(stored[:3])) == []
    assert found(checked(stored[:3], kept(stored[4]))) == [("TRUNCATED", 5)]
    result = checked(stored[:3], seen(stored[4]))
    assert found(result) == [("TRUNCATED", 5)]
    assert result.problems[0].text == "the newest entry is 3, but this server has entry 5"
    assert found(checked([], kept(stored[0]))) == [("TRUNCATED", 1)]


def test_newest_entries_that_were_removed_and_others_that_followed_are_found_by_a_head():
    stored = chain(*[KEY] * 5)
    other, _ = KEY.seal(Change(AuditAction.CALL_REPLAYED, "x"), CHAIN, head_of(stored[2]), 1003)
    assert found(checked([*stored[:3], other], kept(stored[3]))) == [("TRUNCATED", 4)]


def test_a_chain_whose_oldest_entries_retention_has_deleted_has_no_problem():
    stored = chain(*[KEY] * 5)
    start = KEY.seal_start(CHAIN, head_of(stored[1]))
    result = checked(stored[2:], kept(stored[0]), kept(stored[1]), kept(stored[4]), start=start)
    assert (found(result), result.first_sequence, result.entry_count) == ([], 3, 3)
    assert found(checked(stored[3:], start=start)) == [("MISSING", 4)]
    assert found(checked([], start=start)) == [("MISSING", 2)]


def test_a_start_that_no_server_has_made_is_found():
    stored = chain(*[KEY] * 5)
    start, mac = KEY.seal_start(CHAIN, head_of(stored[1]))
    of_other_entry, _ = KEY.seal_start(CHAIN, head_of(stored[2]))
    of_other_chain = KEY.seal_start(CHAIN + 1, head_of(stored[1]))
    as_entry = (start, KEY.mac(ENTRY, start))
    for wrong in ((of_other_entry, mac), of_other_chain, as_entry, (b"?", mac)):
        assert found(checked(stored[2:], start=wrong)) == [("ALTERED", 0)]
    unkeyed = NO_KEY.seal_start(CHAIN, head_of(stored[1]))
    assert found(checked(stored[2:], start=unkeyed)) == [("UNPROTECTED", 2)]


def test_what_is_under_another_key_or_none_is_told_apart_from_what_was_altered():
    stored = chain(NO_KEY, NO_KEY, OTHER_KEY, OTHER_KEY, KEY)
    result = checked(stored)
    assert found(result) == [("UNPROTECTED", 1), ("UNKNOWN_KEY", 3)]
    assert [problem.text for problem in result.problems] == [
        "entries 1 to 2 have no HMAC",
        "entries 3 to 4 have an HMAC under another key than ours",
    ]
    assert found(checked(chain(*[NO_KEY] * 3), key=NO_KEY)) == [("UNPROTECTED", 1)]


def test_a_head_that_was_kept_only_adds_problems():
    stored = chain(NO_KEY, NO_KEY, OTHER_KEY, OTHER_KEY, KEY)
    for known in (kept(stored[3]), seen(stored[3])):
        assert found(checked(stored, known)) == [("UNPROTECTED", 1), ("UNKNOWN_KEY", 3)]
    changed = [stored[0], altered(stored[1], actor="x"), *stored[2:]]
    assert ("MOVED", 3) in found(checked(changed, kept(stored[3])))
    unkeyed = NO_KEY.seal_start(CHAIN, head_of(stored[3]))
    assert found(checked(stored[4:], kept(stored[3]), start=unkeyed)) == [("UNPROTECTED", 4), ("MISSING", 4)]
    assert found(checked(stored[4:], kept(stored[3]), key=NO_KEY, start=unkeyed)) == [
        ("UNPROTECTED", 4),
        ("UNKNOWN_KEY", 5),
    ]


def test_a_head_that_was_kept_proves_that_retention_has_deleted_nothing_younger():
    old, young = chain(*[KEY] * 5), chain(*[KEY] * 3, times=[5000, 6000, 7000])
    start = KEY.seal_start(CHAIN, head_of(old[3]))  # an older life of the chain, in the place of a younger one
    assert found(checked(old[4:], start=start)) == []
    for known in (kept(young[2]), seen(young[2])):
        assert found(checked(old[4:], known, start=start)) == [("MISSING", 3)]
    assert found(checked(old[4:], kept(old[2]), start=start)) == []


def test_what_is_not_proven_behind_a_start_that_is_proven_is_altered():
    stored = chain(*[KEY] * 2, *[NO_KEY] * 2)
    start = KEY.seal_start(CHAIN, head_of(stored[1]))
    assert found(checked(stored[2:], start=start)) == [("ALTERED", 3), ("ALTERED", 4)]


def test_an_entry_of_a_server_whose_clock_is_behind_keeps_its_time_and_its_place():
    stored = chain(KEY, KEY, KEY, times=[5000, 3000, 6000])
    assert [str(each.id) for each in stored] == ["5000-1", "5000-2", "6000-3"]
    assert decode_entry(stored[1].entry).time_ms == 3000
    assert found(checked(stored)) == []


def test_no_more_problems_are_reported_than_the_maximum():
    stored = chain(*[KEY] * (MAX_PROBLEMS + 50))
    assert len(checked([altered(each, actor="x") for each in stored]).problems) == MAX_PROBLEMS


def test_each_kind_of_problem_and_action_has_a_name_in_the_contract():
    from callback.v1 import audit_service_pb2 as auditing

    assert {f"AUDIT_PROBLEM_KIND_{each.name}" for each in ProblemKind} | {"AUDIT_PROBLEM_KIND_UNSPECIFIED"} == {
        *auditing.AuditProblemKind.keys()
    }
    assert {f"AUDIT_ACTION_{each}" for each in AuditAction} | {"AUDIT_ACTION_UNSPECIFIED"} == {
        *auditing.AuditAction.keys()
    }
