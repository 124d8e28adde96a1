"""Features of a case that a server of an earlier release must not ignore.

1. A case has the names of the features that it needs. A server refuses a request to a case, and leaves a delivery of it
   to other servers, if it does not know one of them.
2. Each server announces the features that it knows (see store/features.py). A case that needs one is generated
   only once every server of the store knows it.
3. A feature is one line of `FEATURES`. Its name is never used for anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from callback_server.domain.case import NewCase

FEATURES: Final[Mapping[str, Callable[[NewCase], bool]]] = {
    "fields": lambda case: case.settings.prompt is not None and bool(case.settings.prompt.fields),
    "endpoints": lambda case: bool(case.correlation),
}
"""The features that this server knows, by name, in `[a-z_]+`, each with whether a new case needs it."""


def needs_of(case: NewCase) -> list[str]:
    """Return the features that a new case needs."""
    return [name for name, is_needed in FEATURES.items() if is_needed(case)]
