"""Changes to a case that take more than one script: a new response, and the erasure of its calls.

`owner` is the owner whose cases the caller sees; None: the cases of all owners.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from callback_server import errors
from callback_server.domain.case import Case, response_problems
from callback_server.domain.cookies import CookieDomains, cookie_problems
from callback_server.domain.response import Response, in_field, masked_overlay
from callback_server.errors import InvalidRequestError
from callback_server.store.connection.resend import resend
from callback_server.store.queries.read import read_case
from callback_server.store.recording import Recording
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.claim_call import CaseClosed
from callback_server.store.transitions.erase_calls import erase_calls
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
    case_id: str,
    new: Response,
    names: Sequence[str],
    *,
    owner: str | None,
    platform_url: str | None,
    cookie_domains: CookieDomains,
    recording: Recording,
) -> None:
    """Replace the attributes `names` (of the contract) of the response of a case.

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
        broken = response_problems(merged, platform_url, case.activity, case.answer_mode)
        broken += in_field("response", cookie_problems(given, cookie_host))
        if broken:
            raise InvalidRequestError(broken)
        result = await _set_response(scripts, case, merged, owner=owner, recording=recording)
        if isinstance(result, CaseClosed):
            raise errors.CaseClosedError(result.reason)
        if result is SetResponseResult.OK:
            return
        is_retry = True


async def _set_response(
    scripts: Scripts, case: Case, response: Response, *, owner: str | None, recording: Recording
) -> SetResponseResult | CaseClosed:
    return await resend(lambda: set_response(scripts, case, response, owner=owner, recording=recording))


async def erase_all_calls(scripts: Scripts, case_id: str, *, owner: str | None) -> int:
    """Erase what was recorded of the calls of a case, in batches. Return how many calls had something recorded.

    Raises:
        CaseNotFoundError: There is no such case, or it belongs to another owner.
        StoreError: It is not known which calls were erased.
    """
    erasure = secrets.token_hex(8)
    calls, before = 0, None
    while True:
        calls_of_batch, before = await _erase_batch(scripts, case_id, erasure, before, owner=owner)
        calls += calls_of_batch
        if before is None:
            return calls


async def _erase_batch(
    scripts: Scripts, case_id: str, erasure: str, before: int | None, *, owner: str | None
) -> tuple[int, int | None]:
    erased = await resend(lambda: erase_calls(scripts, case_id, owner=owner, erasure=erasure, before=before))
    if erased is None:
        raise errors.CaseNotFoundError
    return erased.calls, erased.before
