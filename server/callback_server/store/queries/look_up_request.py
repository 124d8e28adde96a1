"""The look-up of a request before its body is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from callback_server.domain.ids import case_id_of
from callback_server.store.scripts import Script, Scripts
from callback_server.store.transitions.claim_call import LimitedOwner, LookUpRefusal, refusal_of

SCRIPT: Final = Script("look_up_request")


async def look_up_request(
    scripts: Scripts,
    *,
    state_sha256: bytes,
    parameter: str,
    profile: str = "",
    calls_per_minute: int | None = None,
    limited_owners: Sequence[LimitedOwner] = (),
) -> LookUpRefusal | None:
    """Return why a claim would refuse a request whatever its body is. None: the body may decide.

    Args:
        scripts: The scripts on the store.
        state_sha256: SHA-256 of the state in the URL.
        parameter: The state query parameter. Empty: the URL has the state in its path.
        profile: The verification profile that the request has passed. Empty: none.
        calls_per_minute: The rate limit of the case. None: any number.
        limited_owners: The owners over a limit.

    Raises:
        StoreError: The store did not answer.
    """
    case_id = case_id_of(state_sha256)
    word, *facts = await scripts.run(
        SCRIPT,
        case_id=case_id,
        state_hash_half=state_sha256[16:],
        parameter=parameter,
        profile=profile,
        calls_per_minute=calls_per_minute or 0,
        limited_owners=[value for each in limited_owners for value in each],
    )
    return None if word == b"OPEN" else refusal_of(word, facts)
