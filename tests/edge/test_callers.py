"""Caller of a request: the peer, or the address that a trusted proxy names."""

from support.edge import EdgeProcess, ask, http_request, new_state, running_edge, send_raw


def forwarded(*values):
    return [("x-forwarded-for", value) for value in values]


async def test_the_server_gets_the_caller_and_the_handler_gets_the_original_headers(plane):
    fields = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "198.51.100.7:80"), ("X-Forwarded-Proto", "https")]
    for trusted, address in (
        (["127.0.0.0/8"], "198.51.100.7"),
        (["::ffff:127.0.0.1"], "198.51.100.7"),
        (["10.0.0.1"], "127.0.0.1"),
        ([], "127.0.0.1"),
    ):
        async with running_edge(plane.target, trusted_proxies=trusted) as edge:
            await ask(edge, f"/cb/{new_state()}", headers=fields)
        invoked = plane.requests.pop()
        assert invoked.client_address == address
        got = [(field.name, field.value) for field in invoked.request_headers]
        assert got[2:] == [(name.lower(), value) for name, value in fields]


async def test_each_request_of_a_proxys_connection_has_its_own_caller(plane):
    async with running_edge(plane.target, trusted_proxies=["127.0.0.1"]) as edge:
        addresses = ["198.51.100.7", "198.51.100.8", "2001:db8::7"]
        requests = [http_request(f"/cb/{new_state()}", headers=forwarded(each), close=False) for each in addresses]
        await send_raw(edge.port, b"".join(requests) + http_request(f"/cb/{new_state()}"))
        assert [each.client_address for each in plane.requests] == [*addresses, "127.0.0.1"]


async def test_the_access_log_has_the_caller_and_the_scheme(plane):
    async with EdgeProcess(plane.target, access_log_sample=1, trusted_proxies="127.0.0.1") as edge:
        port = await edge.port()
        fields = [*forwarded("198.51.100.7"), ("X-Forwarded-Proto", "https")]
        await send_raw(port, http_request(f"/cb/{new_state()}", headers=fields))
        await send_raw(port, http_request(f"/cb/{new_state()}"))
        edge.process.terminate()
        await edge.end()
        seen = [(entry["client"], entry["scheme"]) for entry in edge.events("request_ended")]
        assert seen == [("198.51.100.7", "https"), ("127.0.0.1", "http")]
        assert edge.events("address_limits_off") == []
