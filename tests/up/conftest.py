"""Fixtures: `callback up` processes that end with their test."""

import grpc
import pytest
from support.up import Up

from callback.v1 import callbacks_service_pb2_grpc


@pytest.fixture
def make_up(tmp_path, monkeypatch):
    """Return a factory of `callback up` processes, not yet started. The default data is at `tmp_path / "data"`."""
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
