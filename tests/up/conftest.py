"""Fixtures: `callback up` processes that end with their test or their module."""

import contextlib

import pytest
from support.up import Up

from callback import CallbackClient


@contextlib.contextmanager
def factory(directory):
    """Return a factory of `callback up` processes, not yet started. The default data is at `directory / "data"`."""
    made = []

    def make(data_dir=None, **options):
        made.append(Up(data_dir or directory / "data", directory / f"log-{len(made)}", **options))
        made[-1].environment["CALLBACK_CONFIG"] = ""
        return made[-1]

    yield make
    for up in made:
        up.close()


@pytest.fixture
def make_up(tmp_path):
    """Return a factory of `callback up` processes for one test."""
    with factory(tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def make_module_up(tmp_path_factory):
    """Return a factory of `callback up` processes for all tests of a module."""
    with factory(tmp_path_factory.mktemp("up")) as make:
        yield make


@pytest.fixture
def up(make_up):
    """Return a `callback up` process, not yet started."""
    return make_up()


@pytest.fixture
def client():
    """Return a function that returns a client of the server at an address."""
    with contextlib.ExitStack() as stack:
        yield lambda target: stack.enter_context(CallbackClient(target))
