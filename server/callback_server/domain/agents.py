"""Programs that open links by themselves: previews of chats and social networks, crawlers, mail scanners, libraries.

A program is recognized by its name in `User-Agent`; `agents.toml` has the names, each with its source. Many mail
scanners give no name and look like a browser on purpose. So this list avoids most openings by programs, and proves
nothing. To be sure, use a guard with a confirmation.
"""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from typing import Any, Final

AGENTS: Final[list[dict[str, Any]]] = tomllib.loads(
    resources.files(__package__).joinpath("agents.toml").read_text("utf-8")
)["agents"]
"""The entries of the list."""
_AGENT: Final = re.compile("|".join(each["pattern"] for each in AGENTS), re.IGNORECASE)
_LOOKED_AT: Final = 512
"""How many characters are searched. Browsers and these programs name themselves within them."""


def is_agent(user_agent: str) -> bool:
    """Return whether a request with this `User-Agent` comes from a program that opens links by itself.

    Every browser names itself, so an empty name is one of a program.
    """
    return not user_agent.strip() or _AGENT.search(user_agent[:_LOOKED_AT]) is not None
