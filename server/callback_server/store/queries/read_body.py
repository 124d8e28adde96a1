"""The body of a version of the response of a case."""

from __future__ import annotations

from typing import Final

from callback_server.store.scripts import Script, Scripts

SCRIPT: Final = Script("read_body")


async def read_body(scripts: Scripts, case_id: str, version: bytes) -> bytes:
    """Return the body of a version of the response of a case, which a call or an answer names. Empty: it is not kept.

    Raises:
        StoreError: The store did not answer.
    """
    body: bytes = await scripts.run(SCRIPT, case_id=case_id, version=version)
    return body
