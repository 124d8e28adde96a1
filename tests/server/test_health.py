"""Health depends on what the store can do, not on whether it answers."""

import asyncio

import grpc
import redis
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.system import running_system
from support.wait import wait_until

from callback_server.rpc.server import EDGE_SERVICE, Health


async def test_a_store_that_refuses_to_write_is_not_healthy(store_of, tmp_path):
    store = store_of()
    async with running_system(tmp_path, store) as system, grpc.aio.insecure_channel(system.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)

        async def status():
            return (await health.Check(health_pb2.HealthCheckRequest())).status

        assert await status() == health_pb2.HealthCheckResponse.SERVING
        with redis.Redis(port=store.port) as client:
            client.replicaof("127.0.0.1", 1)
            try:

                async def refuses():
                    return await status() == health_pb2.HealthCheckResponse.NOT_SERVING

                await wait_until(refuses, what="NOT_SERVING")
            finally:
                client.replicaof("NO", "ONE")

        async def serves():
            return await status() == health_pb2.HealthCheckResponse.SERVING

        await wait_until(serves, what="SERVING")


async def test_a_server_that_drains_while_a_slow_client_is_told_that_it_serves_stays_not_ready_for_edges():
    health = Health()

    async def status(name):
        return (await health.servicer.Check(health_pb2.HealthCheckRequest(service=name), None)).status

    async with health.servicer._server_watchers[""]:  # held while a client of the whole server is told
        telling = asyncio.create_task(health.set(store_up=True))
        await asyncio.sleep(0)
        await health.drain()
    await telling
    assert await status(EDGE_SERVICE) == health_pb2.HealthCheckResponse.NOT_SERVING
    assert await status("") == health_pb2.HealthCheckResponse.SERVING
