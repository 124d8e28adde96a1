"""`callback audit` lists who changed what, and verifies it against heads in a file."""

import json
from datetime import UTC, datetime

from support.clients import CALL, CASE

from callback.v1 import audit_service_pb2 as auditing

TIME = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
DIGEST = "0123456789abcdef" * 4


def entry(action, **fields):
    return auditing.AuditEntry(chain=3, sequence=7, time=TIME, action=f"AUDIT_ACTION_{action}", **fields)


ENTRIES = [
    entry(
        "CALL_REPLAYED", actor="alice", owner="orders", callback_case_id=CASE, call_id=CALL, callback_activity="paid"
    ),
    entry(
        "RESPONSE_SET", actor="orders", owner="orders", callback_case_id=CASE, details={"attributes": "response_code"}
    ),
    entry("ACTIVITY_PAUSED", actor="bob\x1b", callback_activity="paid", reason="down"),
    entry("PRINCIPALS_READ", details={"added": "carol", "principals": "4"}),
]


def chain(*problems, number=3, sequence=7):
    head = auditing.AuditHead(chain=number, sequence=sequence, digest=DIGEST, time=TIME)
    return auditing.AuditChain(chain=number, entry_count=5, first_sequence=3, head=head, problems=problems)


def problem(kind, text):
    return auditing.AuditProblem(kind=f"AUDIT_PROBLEM_KIND_{kind}", sequence=7, text=text)


async def test_entries_are_a_table_for_people(server, callback):
    server.answers["ListAuditEntries"] = auditing.ListAuditEntriesResponse(entries=ENTRIES)
    ran = await callback("audit")
    assert ran.output.startswith("TIME ")
    when = "2026-11-25 09:30:00 UTC"
    rows = [[cell.strip() for cell in line.split("  ") if cell] for line in ran.output.splitlines()[1:]]
    assert rows == [
        [when, "alice", "call replayed", CALL, "orders"],
        [when, "orders", "response set", CASE, "orders", "attributes: response_code"],
        [when, "bob\\x1b", "activity paused", "paid", "down"],
        [when, "(server)", "principals read", "carol", "added: carol; principals: 4"],
    ]


async def test_filters_select_entries_and_json_has_one_on_a_line(server, callback):
    server.answers["ListAuditEntries"] = auditing.ListAuditEntriesResponse(entries=ENTRIES)
    ran = await callback(
        *("audit", "--actor", "alice", "--action", "call_replayed", "--callback", CASE, "--owner", "orders"),
        *("--activity", "paid", "--limit", "2", "--json"),
    )
    assert server.requests == [
        auditing.ListAuditEntriesRequest(
            actor="alice", action=auditing.AUDIT_ACTION_CALL_REPLAYED, callback_case_id=CASE, owner="orders",
            callback_activity="paid", page_size=3,
        )
    ]  # fmt: skip
    first, second = map(json.loads, ran.output.splitlines())
    assert first == {
        "chain": 3, "sequence": 7, "time": "2026-11-25T09:30:00Z", "actor": "alice", "action": "CALL_REPLAYED",
        "owner": "orders", "callbackActivity": "paid", "callbackCaseId": CASE, "callId": CALL, "reason": "",
        "details": {}, "digest": "", "keyId": "", "verificationProfile": "",
    }  # fmt: skip
    assert second["details"] == {"attributes": "response_code"}
    assert "There are more" in ran.errors


async def test_heads_are_written_and_the_next_verification_sends_them(server, callback, tmp_path):
    file = tmp_path / "heads.json"
    server.answers["VerifyAudit"] = auditing.VerifyAuditResponse(chains=[chain()])
    ran = await callback("audit", "--export-head", str(file))
    assert (ran.code, ran.output.splitlines()) == (
        0, ["The audit is as the servers have stored it.", "5 entries in 1 chains, 0 problems"],
    )  # fmt: skip
    head = {"chain": 3, "sequence": 7, "digest": DIGEST, "time": "2026-11-25T09:30:00Z"}
    assert json.loads(file.read_text())["heads"] == [head]
    ran = await callback("audit", "--verify", "--head", str(file), "--json")
    assert (ran.code, ran.json[0]["head"], ran.json[0]["problems"]) == (0, head, [])
    assert [*server.requests[-1].heads] == [chain().head]
    await callback("audit", "--export-head", str(file))
    assert [*server.requests[-1].heads] == [chain().head]  # it is compared with what it replaces
    file.write_text(json.dumps({"heads": [{"chain": 3, "sequence": 7, "digest": DIGEST}]}))
    ran = await callback("audit", "--verify", "--head", str(file))
    assert (ran.code, "is no file of --export-head" in ran.errors) == (2, True)


async def test_a_problem_is_shown_and_ends_with_1_and_writes_no_heads(server, callback, tmp_path):
    file = tmp_path / "heads.json"
    server.answers["VerifyAudit"] = auditing.VerifyAuditResponse(
        chains=[chain(problem("ALTERED", "entry 7 is not as a server has stored it"))]
    )
    ran = await callback("audit", "--export-head", str(file))
    assert (ran.code, file.exists()) == (1, False)
    assert "3      altered  entry 7 is not as a server has stored it" in ran.output
    assert "was not written" in ran.errors


async def test_heads_of_entries_that_nothing_protects_are_written_because_they_find_later_changes(
    server, callback, tmp_path
):
    file = tmp_path / "heads.json"
    server.answers["VerifyAudit"] = auditing.VerifyAuditResponse(
        chains=[chain(problem("UNPROTECTED", "entries 3 to 7 have no HMAC"))]
    )
    ran = await callback("audit", "--export-head", str(file))
    assert (ran.code, file.exists()) == (1, True)
