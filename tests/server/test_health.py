"""Health depends on what the store can do, not on whether it answers."""

import grpc
import redis
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.health import stalled_watch
from support.services import running_services
from support.system import system_of_its_own
from support.wait import DEADLINE_S, wait_for


async def test_a_store_that_refuses_to_write_is_not_healthy(tmp_path):
    # A store of its own: one that was a replica remembers that it was promoted, and servers begin other epochs on it.
    async with system_of_its_own(tmp_path) as system, grpc.aio.insecure_channel(system.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)

        async def status():
            return (await health.Check(health_pb2.HealthCheckRequest())).status

        assert await status() == health_pb2.HealthCheckResponse.SERVING
        with redis.Redis(port=system.store.port) as client:
            client.replicaof("127.0.0.1", 1)
            try:
                await wait_for(status, health_pb2.HealthCheckResponse.NOT_SERVING, what="NOT_SERVING")
            finally:
                client.replicaof("NO", "ONE")
        await wait_for(status, health_pb2.HealthCheckResponse.SERVING, what="SERVING")


async def test_a_client_that_takes_no_answer_delays_neither_other_clients_nor_the_stop(store_of):
    async with running_services(store_of()) as services:
        stalled = await stalled_watch(services.address, "callback.v1.EdgeService")
        request = health_pb2.HealthCheckRequest(service="callback.v1.EdgeService")
        watch = health_pb2_grpc.HealthStub(services.channel).Watch(request, timeout=DEADLINE_S)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        services.control_plane.health.drain()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        whole = await health_pb2_grpc.HealthStub(services.channel).Check(health_pb2.HealthCheckRequest())
        assert whole.status == health_pb2.HealthCheckResponse.SERVING
        stalled.close()
