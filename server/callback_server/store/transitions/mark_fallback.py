"""The transition that marks a call whose caller gets the fallback."""

from __future__ import annotations

from typing import Final

from callback_server.domain.call import Request
from callback_server.domain.ids import case_id_of_call
from callback_server.store.packing import pack_request
from callback_server.store.recording import Recording
from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("mark_fallback", sends_reports=True)


async def mark_fallback(
    scripts: Scripts, *, call_id: str, request: Request, recording: Recording, accepts: bool
) -> bool:
    """Mark a call before its caller gets the fallback, durably. Safe to send again.

    Args:
        scripts: The scripts on the store.
        call_id: The id of the call.
        request: The request as it came.
        recording: What is recorded of the request.
        accepts: Whether the fallback accepts the request, and a handler decides. The call has a delivery from then on.

    Returns:
        Whether the call was marked while it ran. If not, it has ended, and its caller must not get the fallback.

    Raises:
        StoreError: It is not known whether the call was marked.
    """
    is_stored = not accepts or recording.of_request(request) is request
    whole_request, whole_body = (b"", b"") if is_stored else pack_request(request)
    (word,) = await scripts.run(
        SCRIPT,
        case_id=case_id_of_call(call_id),
        call_id=call_id,
        request=whole_request,
        request_body=whole_body,
        accepts=accepts,
    )
    return bool(word == b"OK")
