"""The pages of the documentation that are made from code."""

from pathlib import Path

from callback_console.settings import ConsoleSettings
from callback_edge.settings import EdgeSettings
from callback_process.reference import settings_page
from callback_process.settings import ProcessSettings
from callback_server.settings import ServerSettings
from generators.descriptors import ROOT
from generators.life_page import life_page
from generators.provider_list import provider_page

_PROCESSES: dict[str, type[ProcessSettings]] = {
    "callback server": ServerSettings,
    "callback edge": EdgeSettings,
    "callback console": ConsoleSettings,
}


def pages() -> dict[Path, bytes]:
    """Return the content of each page."""
    docs = ROOT / "docs"
    life = docs / "life-of-a-callback.md"
    return {
        docs / "settings.md": settings_page(_PROCESSES).encode(),
        docs / "provider-list.md": provider_page().encode(),
        life: life_page(life.read_text()).encode(),
    }
