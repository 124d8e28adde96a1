"""Fixtures: `callback up` processes that end with their test or their module."""

import contextlib

import grpc
import pytest
from support.up import Up

from callback.v1 import callbacks_service_pb2_grpc


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
def service():
    """Yield the stub of `CallbacksService` at a target."""
    channels = []

    def stub(target):
        channels.append(grpc.insecure_channel(target))
        return callbacks_service_pb2_grpc.CallbacksServiceStub(channels[-1])

    yield stub
    for channel in channels:
        channel.close()
