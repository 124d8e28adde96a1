"""Fixtures, for `pytest_plugins = ["callback.testing.fixtures"]` in the topmost `conftest.py`.

Override `callback_handlers` and `callback_config` with fixtures of the same name.
"""

from collections.abc import Iterator

import pytest

from callback.testing._system import System, running_system
from callback.worker._handlers import Handlers


@pytest.fixture(scope="session")
def callback_handlers() -> Handlers:
    """Return the handlers under test: by default none. Override this fixture."""
    return Handlers()


@pytest.fixture(scope="session")
def callback_config() -> str:
    """Return the settings as the text of a server's TOML file: by default none. Override this fixture."""
    return ""


@pytest.fixture(scope="session")
def callback_system(
    callback_handlers: Handlers, callback_config: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """Run a Callback system for the session."""
    directory = tmp_path_factory.mktemp("callback")
    with running_system(callback_handlers, config=callback_config, directory=directory) as system:
        yield system
