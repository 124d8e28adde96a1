"""The audit as the contract shows it."""

from __future__ import annotations

from callback.v1 import audit_service_pb2 as pb2
from callback_server.contract.conversion import to_message
from callback_server.domain.audit import digest_of
from callback_server.domain.audit_check import ChainResult
from callback_server.store import keys
from callback_server.store.queries.list_audit import ListedEntry


def entry_to(listed: ListedEntry) -> pb2.AuditEntry:
    """Convert an entry."""
    return to_message(pb2.AuditEntry, listed.entry, digest=digest_of(listed.stored.entry))


def result_to(result: ChainResult) -> pb2.AuditChain:
    """Convert the result for a chain."""
    head = None if result.head is None else to_message(pb2.AuditHead, result.head, chain=result.chain)
    return to_message(pb2.AuditChain, result, head=head)


def chain_from_token(token: str) -> int:
    """Return the chain that a page token names, or raise ValueError."""
    chain = int(token)
    if not 0 <= chain < keys.AUDIT_CHAINS:
        raise ValueError("not a page token")
    return chain
