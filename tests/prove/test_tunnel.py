"""The tunnel of the proofs leaves no connection open."""

import asyncio
import contextlib
import socket

from support.wait import DEADLINE_S

from callback_process.addresses import parse_bind
from callback_process.listener import address_of, listen
from callback_prove.tunnel import Tunnel


async def test_a_connection_that_arrives_while_a_tunnel_closes_is_closed():
    with listen("127.0.0.1:0") as silent:
        async with Tunnel(str(address_of(silent))) as tunnel:
            client = socket.create_connection(parse_bind(tunnel.address))
            for _ in range(2):  # now it is accepted, but is no connection of the tunnel yet
                await asyncio.sleep(0)
        with client, contextlib.suppress(ConnectionResetError):
            client.settimeout(DEADLINE_S)
            assert await asyncio.to_thread(client.recv, 1) == b""
