"""Programs that open links by themselves: previews of chats and social networks, crawlers, mail scanners, libraries.

A program is recognized by its `User-Agent`: it does not begin as one of a browser does, or it has a program's name.
`agents.toml` has these names, each with its source. Many mail scanners look like a browser on purpose. So this avoids
most openings by programs, and proves nothing. To be sure, use a guard with a confirmation.
"""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from typing import Any, Final

KINDS: Final = ("preview", "crawler", "mail")
"""The kinds of programs."""
SOURCES: Final[list[dict[str, Any]]] = tomllib.loads(
    resources.files(__package__).joinpath("agents.toml").read_text("utf-8")
)["sources"]
"""The sources of the names, each with its names by kind."""
NAMES: Final = tuple(name for source in SOURCES for kind in KINDS for name in source.get(kind, ()))
"""The names, as regular expressions."""
_AGENT: Final = re.compile("|".join(NAMES), re.IGNORECASE)
_BROWSER: Final = re.compile(
    r"\s*(?:Mozilla[/ ]\d|Opera[/ ]\d"  # https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/User-Agent
    r"|Lynx/|Links \(|ELinks[/ ]|w3m/|Emacs-w3|URL/Emacs|NetSurf/|Dillo/|edbrowse/|retawq/|Chawan"  # small ones
    # Of phones, televisions and consoles: https://github.com/ua-parser/uap-core
    r"|UCWEB|M?QQBrowser|OneBrowser/|NetFront/|HbbTV/|PSP \(|Bunjalloo/"
    r"|(?:BlackBerry|Nokia|SonyEricsson|SAMSUNG|DoCoMo|KDDI|HTC|LG[-E/]|MOT-|Alcatel|HUAWEI|PANTECH|ZTE-))",
    re.IGNORECASE,
)
"""What the name of a browser begins with."""
_LOOKED_AT: Final = 512
"""How many characters are searched. Browsers and these programs name themselves within them."""


def is_agent(user_agent: str) -> bool:
    """Return whether a request with this `User-Agent` comes from a program that opens links by itself.

    Every browser names itself, so an empty name is one of a program.
    """
    return _BROWSER.match(user_agent) is None or _AGENT.search(user_agent[:_LOOKED_AT]) is not None
