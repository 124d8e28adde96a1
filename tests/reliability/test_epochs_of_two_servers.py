"""A server that remembers nothing is led to an old primary. It learns that from an edge, or from a worker."""

import asyncio
import contextlib
from types import SimpleNamespace

import grpc
import pytest
from support.edge import running_edge
from support.replicas import running_stores, until_replicated
from support.services import running_services
from support.wait import DEADLINE_S, wait_until
from support.workers import connected, handlers_of

from callback import Worker
from callback.v1 import edge_service_pb2 as edge_pb2
from callback.v1.edge_service_pb2_grpc import EdgeServiceStub
from callback_prove.tunnel import Tunnel
from callback_server.store import keys


@pytest.fixture(scope="module")
async def stores(tmp_path_factory):
    """Return an old primary, the present one, which was its replica, and the file of a server that knew the old one."""
    file = tmp_path_factory.mktemp("server") / "epochs"
    with running_stores(tmp_path_factory.mktemp("stores"), 2) as (old, new):
        await new.follow(str(old.address))
        async with running_services(old, store_epochs_file=file):
            await until_replicated(old)
            new.promote()
        yield old, new, file


@contextlib.asynccontextmanager
async def two_servers(stores, **of_old):
    """Run a server at the present primary, and one that remembers nothing at the old one."""
    old, new, file = stores
    async with running_services(new, store_epochs_file=file) as informed, running_services(old, **of_old) as other:
        yield SimpleNamespace(informed=informed, other=other)


async def refuses(services):
    """Return whether a server refuses its store."""
    try:
        await services.generate()
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


async def test_a_server_learns_from_an_edge(stores):
    async with two_servers(stores) as servers:
        await servers.other.generate()  # it cannot know better
        async with running_edge(f"ipv4:{servers.informed.address},{servers.other.address}", ready=False):
            await wait_until(lambda: refuses(servers.other), what="the refusal of the old primary")
        await servers.informed.generate()
        assert "epoch 1 in place of 1001" in servers.other.control_plane.epochs.problem


async def test_a_server_learns_from_a_worker_that_was_connected_to_another_server(stores):
    async with (
        two_servers(stores) as servers,
        Tunnel(servers.informed.address) as tunnel,
        connected(Worker(handlers_of(ship=print), tunnel.address)),
    ):
        await servers.other.generate()
        tunnel.lead_to(servers.other.address)
        await wait_until(lambda: refuses(servers.other), what="the refusal of the old primary")
        await servers.informed.generate()


async def test_a_server_that_refuses_its_store_learns_from_an_edge_that_it_is_the_present_one(tmp_path):
    """The replica has restarted after its promotion, so nothing in it shows that it was promoted."""
    file = tmp_path / "epochs"
    with running_stores(tmp_path, 2) as (old, new):
        await new.follow(str(old.address))
        async with running_services(old, store_epochs_file=file) as before:
            await before.generate()
            await until_replicated(old)
        new.promote()
        for store in (old, new):
            await asyncio.to_thread(store.restart)
        async with (
            Tunnel(f"127.0.0.1:{old.port}") as tunnel,
            running_services(new, store_epochs_file=file) as informed,
            running_services(old, sweeps=True, store_url=f"redis://{tunnel.address}") as other,
        ):
            await informed.generate()
            # It finds its store, and does no step there that the present primary does not have.
            await wait_until(lambda: len(other.control_plane.epochs.known) == keys.PARTITIONS, what="all partitions")
            tunnel.lead_to(f"127.0.0.1:{new.port}")
            await wait_until(other.control_plane.health.why_not_ready, what="the refusal of the present primary")
            async with running_edge(f"ipv4:{informed.address},{other.address}", ready=False):
                await wait_until(lambda: is_ready(other), what="a server that takes the present primary")
            for each in (informed, other):
                await each.generate()


async def is_ready(services):
    """Return whether a server accepts work."""
    return not await services.control_plane.health.why_not_ready()


async def first_message(services):
    """Return what a server tells a new edge."""
    stream = EdgeServiceStub(services.channel).StreamInvocations()
    message = await stream.read()
    stream.cancel()
    return message


async def test_a_server_tells_an_edge_when_it_knows_more(stores):
    async with two_servers(stores) as servers:
        known = (await first_message(servers.informed)).store_epochs
        stream = EdgeServiceStub(servers.other.channel).StreamInvocations()
        before = (await stream.read()).store_epochs
        await stream.write(edge_pb2.StreamInvocationsRequest(store_epochs=known))
        async with asyncio.timeout(DEADLINE_S):
            while (await stream.read()).store_epochs in (b"", before):
                pass
        stream.cancel()
        await wait_until(lambda: refuses(servers.other), what="the refusal of the old primary")


async def test_a_message_with_another_signature_is_not_taken(stores):
    async with two_servers(stores, state_key="x" * 32) as servers:
        known = (await first_message(servers.informed)).store_epochs
        stream = EdgeServiceStub(servers.other.channel).StreamInvocations()
        await stream.read()
        for message in (known, b"short", known[:-1], b"\0" * 100):
            await stream.write(edge_pb2.StreamInvocationsRequest(store_epochs=message))
        await stream.done_writing()
        while await stream.read() is not grpc.aio.EOF:
            pass
        await servers.other.generate()


async def test_without_a_key_nothing_is_passed_on(stores):
    async with two_servers(stores, state_key=None) as servers:
        assert (await first_message(servers.other)).store_epochs == b""
