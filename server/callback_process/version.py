"""The version of Callback that runs."""

from typing import Final

from callback_shared.version import installed_version

VERSION: Final = installed_version()
"""The version of the installed package; `of a source tree` if there is none."""
