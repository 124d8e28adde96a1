"""Caller of a request: the peer, or the address that a trusted proxy names."""

from support.edge import ask, http_request, running_edge, send_raw


async def test_the_server_gets_the_caller_and_the_handler_gets_the_original_headers(plane):
    fields = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "198.51.100.7:80"), ("X-Forwarded-Proto", "https"),
              ("Remote-Addr", "6.6.6.6"), ("Forwarded", "for=6.6.6.6")]  # fmt: skip
    for trusted, address in (
        (["127.0.0.0/8"], "198.51.100.7"),
        (["::ffff:127.0.0.1"], "198.51.100.7"),
        (["10.0.0.1"], "127.0.0.1"),
        ([], "127.0.0.1"),
    ):
        async with running_edge(plane.target, trusted_proxies=trusted) as edge:
            await ask(edge, headers=fields)
        invoked = plane.requests.pop()
        assert invoked.client_address == address
        got = [(field.name, field.value) for field in invoked.request_headers]
        assert got[2:] == [(name.lower(), value) for name, value in fields]


async def test_each_request_of_a_proxys_connection_has_its_own_caller(plane):
    async with running_edge(plane.target, trusted_proxies=["127.0.0.1"]) as edge:
        addresses = ["198.51.100.7", "198.51.100.8", "2001:db8::7"]
        requests = [http_request(headers=[("X-Forwarded-For", each)], close=False) for each in addresses]
        await send_raw(edge.port, b"".join(requests) + http_request())
        assert [each.client_address for each in plane.requests] == [*addresses, "127.0.0.1"]
