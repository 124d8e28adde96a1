"""The audit as the contract shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from callback.v1 import audit_service_pb2 as pb2
from callback_server.contract.converters import timestamp
from callback_server.domain.audit import AuditAction, digest_of
from callback_server.domain.audit_check import ChainResult, ProblemKind
from callback_server.store import keys
from callback_server.store.queries.list_audit import ListedEntry

_ACTIONS: Final[Mapping[str, pb2.AuditAction.ValueType]] = {
    each: pb2.AuditAction.Value(f"AUDIT_ACTION_{each}") for each in AuditAction
}
_NAMES: Final = {number: AuditAction(name) for name, number in _ACTIONS.items()}
_KINDS: Final[Mapping[ProblemKind, pb2.AuditProblemKind.ValueType]] = {
    each: pb2.AuditProblemKind.Value(f"AUDIT_PROBLEM_KIND_{each.name}") for each in ProblemKind
}


def action_from(action: pb2.AuditAction.ValueType) -> AuditAction | None:
    """Return the action of a filter. None: all."""
    return _NAMES.get(action)


def entry_to(listed: ListedEntry) -> pb2.AuditEntry:
    """Convert an entry."""
    entry = listed.entry
    return pb2.AuditEntry(
        chain=entry.chain,
        sequence=entry.sequence,
        time=timestamp(entry.time_ms),
        actor=entry.actor,
        action=_ACTIONS.get(entry.action, pb2.AUDIT_ACTION_UNSPECIFIED),
        owner=entry.owner,
        callback_activity=entry.activity,
        callback_case_id=entry.case_id,
        call_id=entry.call_id,
        reason=entry.reason,
        details=entry.details,
        digest=digest_of(listed.stored.entry),
        key_id=entry.key_id,
    )


def result_to(result: ChainResult) -> pb2.AuditChain:
    """Convert the result for a chain."""
    return pb2.AuditChain(
        chain=result.chain,
        entry_count=result.entry_count,
        first_sequence=result.first_sequence,
        head=None
        if result.head is None
        else pb2.AuditHead(chain=result.chain, sequence=result.head.sequence, digest=result.head.digest),
        problems=[
            pb2.AuditProblem(kind=_KINDS[each.kind], sequence=each.sequence, text=each.text) for each in result.problems
        ],
    )


def chain_from_token(token: str) -> int:
    """Return the chain that a page token names, or raise ValueError."""
    chain = int(token)
    if not 0 <= chain < keys.AUDIT_CHAINS:
        raise ValueError("not a page token")
    return chain
