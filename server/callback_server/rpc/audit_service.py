"""The servicer of `AuditService`: what principals have changed, and whether the audit is as it was stored."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import Final

from callback.v1 import audit_service_pb2 as pb2
from callback.v1 import audit_service_pb2_grpc as pb2_grpc
from callback_server.access.audit_log import AuditLog
from callback_server.access.authenticator import Authenticator
from callback_server.access.roles import Principal, Role
from callback_server.contract.conversion import from_message, member_of, to_message
from callback_server.domain.audit import AuditAction, AuditEntry, digest_of
from callback_server.domain.audit_check import ChainResult, KnownHead
from callback_server.rpc.method import rpc
from callback_server.rpc.paging import ListQueue, milliseconds, page_that_fits, page_token, read_page_token
from callback_server.rpc.visible_cases import require_visible_owner
from callback_server.store import keys
from callback_server.store.queries.list_audit import AuditCursor, ListedEntry, list_audit
from callback_server.store.scripts import Scripts

MAX_AUDIT_ENTRIES_PER_PAGE: Final = 1000
MAX_VERIFIED_PER_PAGE: Final = 20_000
"""After how many entries a page of a verification ends, with the chain that it is at."""
ALL_CHAINS: Final = range(keys.AUDIT_CHAINS)


class AuditServicer(pb2_grpc.AuditServiceServicer):
    """Lists and verifies the audit."""

    def __init__(self, scripts: Scripts, authenticator: Authenticator, audit: AuditLog, lists: ListQueue) -> None:
        self.authenticator = authenticator
        self._scripts = scripts
        self._audit = audit
        self._lists = lists

    @rpc(Role.OWNER, or_answers=True)
    async def ListAuditEntries(
        self, request: pb2.ListAuditEntriesRequest, caller: Principal
    ) -> pb2.ListAuditEntriesResponse:
        """Return a page of the audit."""
        if request.owner:
            require_visible_owner(caller, request.owner)
        after = read_page_token(AuditCursor.from_token, request.page_token, request)
        if request.HasField("recorded_before"):
            newest = AuditCursor(milliseconds(request.recorded_before, "recorded_before"), -1, 0)
            after = newest if after is None else min(after, newest)
        from_ms = milliseconds(request.recorded_after, "recorded_after") if request.HasField("recorded_after") else 0
        chains = [keys.partition_of(request.callback_case_id)] if request.callback_case_id else ALL_CHAINS
        keeps = partial(_is_selected, request, member_of(AuditAction, request, "action"), caller)

        async def read(limit: int) -> pb2.ListAuditEntriesResponse:
            entries, more = await list_audit(
                self._scripts, chains, keeps, after=after, limit=limit, from_ms=max(from_ms, 0)
            )
            return pb2.ListAuditEntriesResponse(
                entries=map(_entry_to, entries), next_page_token=page_token(request, more.token() if more else "")
            )

        async with self._lists.turn(caller):
            return await page_that_fits(read, request.page_size, MAX_AUDIT_ENTRIES_PER_PAGE, lambda page: page.entries)

    @rpc(Role.ADMIN)
    async def VerifyAudit(self, request: pb2.VerifyAuditRequest, caller: Principal) -> pb2.VerifyAuditResponse:
        """Verify chains of the audit."""
        first = read_page_token(_chain_from_token, request.page_token, request) or 0
        kept = defaultdict(list)
        for head in request.heads:
            kept[head.chain].append(from_message(KnownHead, head, is_kept=True))
        results: list[ChainResult] = []
        async with self._lists.turn(caller):
            for chain in ALL_CHAINS[first:]:
                results.append(await self._audit.verify(chain, kept[chain]))
                if sum(result.entry_count for result in results) >= MAX_VERIFIED_PER_PAGE:
                    break
        more = results[-1].chain + 1
        return pb2.VerifyAuditResponse(
            chains=map(_result_to, results),
            next_page_token=page_token(request, str(more) if more < keys.AUDIT_CHAINS else ""),
        )


def _is_selected(
    request: pb2.ListAuditEntriesRequest, action: AuditAction | None, caller: Principal, entry: AuditEntry
) -> bool:
    """Return whether a request lists an entry, and its principal sees it."""
    return (
        (
            caller.is_admin
            or (entry.case_id != "" and caller.sees(entry.owner, entry.activity))
            or (entry.verification_profile != "" and entry.owner == caller.name and caller.has(Role.OWNER))
        )
        and request.owner in ("", entry.owner)
        and request.actor in ("", entry.actor)
        and action in (None, entry.action)
        and request.callback_case_id in ("", entry.case_id)
        and request.callback_activity in ("", entry.activity)
    )


def _entry_to(listed: ListedEntry) -> pb2.AuditEntry:
    """Convert an entry."""
    return to_message(pb2.AuditEntry, listed.entry, digest=digest_of(listed.stored.entry))


def _result_to(result: ChainResult) -> pb2.AuditChain:
    """Convert the result for a chain."""
    head = result.head and to_message(pb2.AuditHead, result.head, chain=result.chain, time_ms=result.head.id_ms)
    return to_message(pb2.AuditChain, result, head=head)


def _chain_from_token(token: str) -> int:
    """Return the chain that a page token names, or raise ValueError."""
    chain = int(token)
    if not 0 <= chain < keys.AUDIT_CHAINS:
        raise ValueError("not a page token")
    return chain
