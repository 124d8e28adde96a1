"""A client of health checks that takes no answer."""

import asyncio

import h2.connection
import h2.events
import h2.settings
from grpc_health.v1 import health_pb2


async def stalled_watch(address, service):
    """Watch the health of a service, and take no answer. Return the connection once the server answers."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    head = {":method": "POST", ":scheme": "http", ":path": "/grpc.health.v1.Health/Watch", ":authority": "x"}
    connection.send_headers(1, [*head.items(), ("te", "trailers"), ("content-type", "application/grpc")])
    message = health_pb2.HealthCheckRequest(service=service).SerializeToString()
    connection.send_data(1, b"\0" + len(message).to_bytes(4) + message, end_stream=True)
    answered = False
    while not answered:
        writer.write(connection.data_to_send())
        events = connection.receive_data(await reader.read(65536))
        answered = any(isinstance(event, h2.events.ResponseReceived) for event in events)
    return writer
