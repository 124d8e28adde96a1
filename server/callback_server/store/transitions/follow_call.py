"""The transition by which a repeat waits with the call that it repeats."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from callback_server.domain.ids import case_id_of_call
from callback_server.domain.response import Response
from callback_server.store.packing import unpack_fallback
from callback_server.store.scripts import Script, Scripts
from callback_server.store.transitions.claim_call import EarlierCallEnded, earlier_call

SCRIPT: Final = Script("follow_call")


class FollowResult(enum.Enum):
    """The state of a call, without an answer for its repeat."""

    BUSY = b"BUSY"
    """The call runs and has as many waiters as it may. This repeat is none of them any more."""
    UNKNOWN = b"UNKNOWN"
    """The call is no longer known, or has another address."""
    ENDED = b"ENDED"
    """The call has ended, and its answer was not asked for."""


@dataclass(frozen=True, slots=True)
class CallRuns:
    """The call runs, and the repeat waits with it."""

    owner: str
    """The owner of the case. Empty: it is deleted."""


@dataclass(frozen=True, slots=True)
class FallbackSent:
    """The call runs, and its caller got the fallback."""

    fallback: Response
    owner: str
    """The owner of the case."""
    alternative_domain: str
    """The domain of the case's URL. Empty: the common one."""


async def follow_call(
    scripts: Scripts, call_id: str, *, repeat_id: str, replica: str, wait_hash: str = "", without_answer: bool = False
) -> EarlierCallEnded | FallbackSent | CallRuns | FollowResult:
    """Return what a repeat, or a caller at the address of a call, gets now, or that it has to wait.

    Safe to send again.

    Args:
        scripts: The scripts on the store.
        call_id: The call.
        repeat_id: The repeat: the id that was claimed with.
        replica: The replica that gets a message when the call ends.
        wait_hash: SHA-256 of the token in the address of the call. Empty: a repeat asks, and not a caller there.
        without_answer: Whether only the end of the call is asked for, so that its answer is not given yet.

    Raises:
        StoreError: The store did not answer.
    """
    case_id = case_id_of_call(call_id)
    word, *facts = await scripts.run(
        SCRIPT,
        case_id=case_id,
        call_id=call_id,
        repeat_id=repeat_id,
        replica=replica,
        wait_hash=wait_hash,
        without_answer=without_answer,
    )
    if word == b"ENDED" and facts:
        return earlier_call(facts)
    if word == b"RUNS":
        return CallRuns(facts[0].decode())
    if word == b"FALLBACK":
        fallback, owner, domain = facts
        return FallbackSent(unpack_fallback(fallback).response, owner.decode(), domain.decode())
    return FollowResult(word)
