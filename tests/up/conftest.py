"""Fixtures: `callback up` processes that end with their test."""

import grpc
import pytest
from support.up import Up

from callback.v1 import callbacks_service_pb2_grpc


@pytest.fixture
def make_up(tmp_path, monkeypatch):
    """Make a `callback up`, not yet started, on `tmp_path / "data"` unless told otherwise."""
    monkeypatch.delenv("CALLBACK_CONFIG", raising=False)
    made = []

    def make(data_dir=None, **options):
        made.append(Up(data_dir or tmp_path / "data", tmp_path / f"log-{len(made)}", **options))
        return made[-1]

    yield make
    for up in made:
        up.close()


@pytest.fixture
def up(make_up):
    """A `callback up`, not yet started."""
    return make_up()


@pytest.fixture
def service():
    """Give the stub of `CallbacksService` at a target."""
    channels = []

    def stub(target):
        channels.append(grpc.insecure_channel(target))
        return callbacks_service_pb2_grpc.CallbacksServiceStub(channels[-1])

    yield stub
    for channel in channels:
        channel.close()
