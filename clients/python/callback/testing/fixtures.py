"""The fixtures, for `pytest_plugins = ["callback.testing.fixtures"]` in the topmost `conftest.py`.

`callback_handlers` and `callback_config` are there to be replaced by fixtures of the same name.
"""

from collections.abc import Iterator

import pytest

from callback.testing._system import System, running_system
from callback.worker._handlers import Handlers


@pytest.fixture(scope="session")
def callback_handlers() -> Handlers:
    """Replace this: the handlers under test. By default none."""
    return Handlers()


@pytest.fixture(scope="session")
def callback_config() -> str:
    """Replace this: settings, as the text of a server's TOML file. By default none."""
    return ""


@pytest.fixture(scope="session")
def callback_system(
    callback_handlers: Handlers, callback_config: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """Return a running Callback system, one for the session."""
    directory = tmp_path_factory.mktemp("callback")
    with running_system(callback_handlers, config=callback_config, directory=directory) as system:
        yield system
