"""The version of Callback that runs."""

from importlib import metadata
from typing import Final


def _installed() -> str:
    try:
        return metadata.version("callback")
    except metadata.PackageNotFoundError:
        return "of a source tree"


VERSION: Final = _installed()
"""The version of the installed package; `of a source tree` if there is none."""
