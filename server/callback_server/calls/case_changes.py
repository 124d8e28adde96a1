"""Changes to a case that take more than one script: a new response, and the erasure of its calls.

`owner` is the owner whose cases the caller sees; None: the cases of all owners.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from functools import partial

from callback_server import errors
from callback_server.access.audit_log import AuditLog
from callback_server.domain.audit import AuditAction, Change
from callback_server.domain.case import Case, response_problems
from callback_server.domain.cookies import CookieDomains, cookie_problems
from callback_server.domain.response import Response, in_field, masked_overlay
from callback_server.errors import InvalidRequestError
from callback_server.store.connection.resend import resend
from callback_server.store.queries.read import read_case
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.claim_call import CaseClosed
from callback_server.store.transitions.erase_calls import EraseResult, erase_calls
from callback_server.store.transitions.set_response import SetResponseResult, set_response


async def read_visible_case(scripts: Scripts, case_id: str, *, owner: str | None) -> Case:
    """Return a case.

    Raises:
        CaseNotFoundError: There is no such case, or it belongs to another owner.
    """
    case = await read_case(scripts, case_id)
    if case is None or owner not in (None, case.owner):
        raise errors.CaseNotFoundError
    return case


async def replace_attributes(
    scripts: Scripts,
    audit: AuditLog,
    case_id: str,
    new: Response,
    names: Sequence[str],
    *,
    owner: str | None,
    actor: str,
    platform_url: str | None,
    redirect_schemes: Collection[str],
    cookie_domains: CookieDomains,
    recording: Recording,
) -> None:
    """Replace the attributes `names` (of the contract) of the response of a case, for the principal `actor`.

    Another request can change the case between the read and the replacement. The attributes are then replaced in its
    newer response.

    Raises:
        CaseNotFoundError: There is no such case, or it belongs to another owner.
        CaseClosedError: The case is closed.
        InvalidRequestError: The response would not be valid.
        StoreError: It is not known whether the attributes were replaced.
    """
    given = masked_overlay(Response(), new, names)
    is_retry = False
    while True:
        case = await read_visible_case(scripts, case_id, owner=owner)
        merged = masked_overlay(case.response, new, names)
        if is_retry and merged == case.response:
            return  # the first attempt took effect, and the reply of the store was lost
        cookie_host = cookie_domains.host(case.settings.alternative_domain, case.owner)
        broken = [
            *response_problems(merged, platform_url, redirect_schemes, case.activity, case.answer_mode),
            *cookie_problems(given, cookie_host),
        ]
        if broken:
            raise InvalidRequestError(in_field("response", broken))
        result = await audit.record(
            Change.of_case(AuditAction.RESPONSE_SET, actor, case, details={"attributes": ", ".join(sorted(names))}),
            partial(set_response, scripts, case, merged, owner=owner, recording=recording),
            is_recorded=lambda result: result is SetResponseResult.OK,
        )
        if isinstance(result, CaseClosed):
            raise errors.CaseClosedError(result.reason)
        if result is SetResponseResult.OK:
            return
        is_retry = True


async def erase_all_calls(scripts: Scripts, audit: AuditLog, case: Case, *, actor: str) -> int:
    """Erase what was recorded of the calls of a case, in batches, for the principal `actor`.

    Return how many calls had something recorded. The first batch that finds anything has the entry of the audit.

    Raises:
        CaseNotFoundError: There is no such case, or it belongs to another owner.
        StoreError: It is not known which calls were erased.
    """
    change = Change.of_case(AuditAction.CALLS_ERASED, actor, case)
    erasure = secrets.token_hex(8)
    calls, before, has_entry = 0, None, False
    while True:
        erase = partial(erase_calls, scripts, case.id, owner=case.owner, erasure=erasure, before=before)
        erased = await (resend(erase) if has_entry else audit.record(change, erase, is_recorded=_has_entry))
        if erased is None:
            raise errors.CaseNotFoundError
        calls, before, has_entry = calls + erased.calls, erased.before, has_entry or erased.has_entry
        if before is None:
            return calls


def _has_entry(erased: EraseResult | None) -> bool:
    return erased is not None and erased.has_entry
