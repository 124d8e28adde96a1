"""nginx and haproxy, started from the samples.

Requests and responses pass through unchanged, the state of a callback reaches no log, and no request is sent twice.
"""

import asyncio
import contextlib
import os
import socket
import uuid
from datetime import timedelta

import h2.config
import h2.connection
import h2.events
import pytest
from support.deployed import HOST, PROXIES, Proxy, running_proxy
from support.edge import FIXED, control_plane, running_edge
from support.secrets import Haystack
from support.store import free_port
from support.wait import wait_until

from callback import Redirect, Response
from callback_edge.settings import EdgeSettings
from callback_process.listener import stop_accepting


@pytest.mark.parametrize("kind", PROXIES)
def test_the_sample_is_accepted_by_its_program(tmp_path, kind):
    proxy = Proxy(kind, tmp_path, [("127.0.0.1:1", "127.0.0.1:2"), ("127.0.0.1:3", "127.0.0.1:4")])
    code, words = proxy.check()
    assert code == 0, words
    warnings = [line for line in words.splitlines() if "warn" in line.lower()]
    # A newer nginx warns of this directive, which an older nginx needs.
    assert [line for line in warnings if 'the "listen ... http2" directive is deprecated' not in line] == []


async def the_call(fleet, case):
    """Return the only call of a case, with its body."""
    (call,) = [call async for call in fleet.client.list_calls(case.case_id)]
    return await fleet.client.get_call(call.call_id)


async def test_a_request_arrives_byte_for_byte(fleet, proxy, http):
    case = await fleet.client.generate_callback_url("record", Response("thank you"))
    body = os.urandom(1024 * 1024)
    query = "a=1&a=2&b=%20+%2f//x&c=%E9;d"
    sent = [
        ("x-a", "1"), ("X_Under_Score", "2"), ("x-a", "3"), ("content-type", "application/octet-stream"),
        ("x-signature", "v1=abc+/=="), ("x-latin", "caf\xe9"), ("cookie", "a=b; c=d"),
    ]  # fmt: skip
    on_the_wire = [(name.encode(), value.encode("latin-1")) for name, value in sent]
    answer = await http.post(f"{proxy.own(case.url)}/?{query}", content=body, headers=on_the_wire)
    assert (answer.status_code, answer.content) == (200, b"thank you")
    call = await the_call(fleet, case)
    assert call.body == body
    assert call.query_string == query
    expected = [(name.lower(), value) for name, value in sent]
    assert [pair for pair in call.headers.pairs if pair[0] in dict(expected)] == expected
    added = {name for name, _ in call.headers.pairs} - set(dict(expected))
    assert added == {
        "host", "accept", "accept-encoding", "user-agent", "content-length", "x-forwarded-for", "x-forwarded-proto",
    }  # fmt: skip
    assert call.headers["host"] == HOST


CALLER = "127.0.0.2"
"""Address of this machine that differs from the address of the proxy."""


async def test_the_caller_behind_a_proxy_is_known_and_cannot_choose_another_address(fleet, proxy):
    async with proxy.browser(local_address=CALLER) as http:
        for claimed in ("192.0.2.66", "127.0.0.1", "192.0.2.66, 127.0.0.1", "rubbish", "[::1]:80, 127.0.0.1"):
            case = await fleet.client.generate_callback_url("record", Response("thank you"))
            headers = {"x-forwarded-for": claimed, "x-real-ip": claimed, "forwarded": f"for={claimed}"}
            headers["x-forwarded-proto"] = "http"
            assert (await http.get(proxy.own(case.url), headers=headers)).status_code == 200
            call = await the_call(fleet, case)
            assert call.client_address == CALLER, claimed
            assert sorted(pair for pair in call.headers.pairs if pair[0].startswith("x-forwarded-")) == [
                ("x-forwarded-for", CALLER),
                ("x-forwarded-proto", "https"),
            ]


async def test_one_address_cannot_take_every_connection_of_haproxy(fleet, proxies):
    """Test haproxy only: nginx limits the requests of an address, not its idle connections."""
    proxy = proxies["haproxy"]
    greedy = ("127.0.0.5", 0)
    # The test uses plain sockets, because the kernel connects them by itself. An accepted connection may be silent
    # for 10 s, and opening streams takes longer than that on a busy machine.
    held = [socket.create_connection(("127.0.0.1", proxy.port), source_address=greedy) for _ in range(520)]
    for each in held:
        each.setblocking(False)
    # The threads of haproxy decide which 8 connections it refuses.
    await wait_until(lambda: sum(map(is_over, held)) == 8)
    case = await fleet.client.generate_callback_url("record", Response("thank you"))
    async with proxy.browser(local_address=CALLER) as http:
        assert (await http.get(proxy.own(case.url))).status_code == 200
    for each in held:
        each.close()


def is_over(connected):
    try:
        return not connected.recv(1)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


async def test_a_caller_that_tries_states_is_limited_by_its_own_address_and_not_the_proxys(fleet, proxy):
    # Each proxy has its own address, because both use the same edges, which count the attempts of an address.
    guesser = {"nginx": "127.0.0.3", "haproxy": "127.0.0.4"}[proxy.kind]
    async with proxy.browser(local_address=guesser) as http:
        for n in range(1000):
            answer = await http.get(f"/cb/{uuid.uuid4()}", headers={"x-forwarded-for": f"6.6.{n // 250}.{n % 250}"})
            if answer.status_code != 404:
                break
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert int(answer.headers["retry-after"]) >= 1
    assert n >= 60
    case = await fleet.client.generate_callback_url("record", Response("thank you"))
    async with proxy.browser(local_address=CALLER) as http:
        assert (await http.get(proxy.own(case.url))).status_code == 200


async def test_no_other_protocol_reaches_an_edge(fleet, proxy, http):
    key = {"sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
    for upgrade in (
        {"connection": "Upgrade", "upgrade": "websocket", **key},
        {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAAQAAP__"},
    ):
        case = await fleet.client.generate_callback_url("record", Response("thank you"))
        assert (await http.get(proxy.own(case.url), headers=upgrade)).status_code == 200
        assert "upgrade" not in (await the_call(fleet, case)).headers


async def asked_over_http2(proxy, headers, data):
    """Send a request over HTTP/2 as it is, and return the status. It is None if the proxy refused the stream."""
    reader, writer = await proxy.connect(alpn="h2")
    client = h2.connection.H2Connection(h2.config.H2Configuration(validate_outbound_headers=False))
    client.initiate_connection()
    client.send_headers(1, headers)
    client.send_data(1, data)
    writer.write(client.data_to_send())
    try:
        async with asyncio.timeout(60):
            while received := await reader.read(65_536):
                for event in client.receive_data(received):
                    if isinstance(event, h2.events.ResponseReceived):
                        return int(dict(event.headers)[b":status"])
                    if isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                        return None
                writer.write(client.data_to_send())
    finally:
        writer.close()
    return None


@pytest.mark.parametrize("data", [b"", b"early data"], ids=["alone", "with early data"])
async def test_a_websocket_over_http2_is_refused_and_is_no_call(fleet, proxy, data):
    """haproxy would send it to an edge as a GET."""
    case = await fleet.client.generate_callback_url("record", Response("thank you"))
    headers = [
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", HOST),
        (":path", proxy.own(case.url)), ("sec-websocket-version", "13"),
    ]  # fmt: skip
    assert await asked_over_http2(proxy, headers, data) in {"haproxy": (501,), "nginx": (400, 405, None)}[proxy.kind]
    assert [call async for call in fleet.client.list_calls(case.case_id)] == []


async def test_an_answer_arrives_unchanged(fleet, proxy, http):
    body = os.urandom(256 * 1024)
    headers = [("link", "</a>"), ("link", "</b>"), ("content-type", "image/png"), ("retry-after", "7")]
    case = await fleet.client.generate_callback_url("record", Response(body, code=503, headers=headers))
    answer = await http.put(proxy.own(case.url))
    assert (answer.status_code, answer.content) == (503, body)
    assert answer.headers.get_list("link") == ["</a>", "</b>"]
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers.get_list("retry-after") == ["7"]
    assert FIXED.items() <= dict(answer.headers).items()


async def test_a_handler_decides_and_the_browser_is_redirected(fleet, proxy, http, handler):
    case = await fleet.client.generate_callback_url("order-paid", Redirect("/page/thankyou"))
    answer = await http.post(proxy.own(case.url), data={"id": "tr_7"})
    assert (answer.status_code, answer.headers["location"]) == (303, "https://platform.example/page/thankyou")
    assert handler.starts[case.case_id] == 1


async def test_a_caller_that_is_told_to_wait_gets_the_answer_through_the_proxy(fleet, proxy, http):
    deadline = timedelta(milliseconds=100)
    case = await fleet.client.generate_callback_url("form", Response("welcome"), answer_deadline=deadline)
    told = await http.post(proxy.own(case.url))
    assert told.status_code == 202
    path = told.headers["location"]
    minimal = {"prefer": "return=minimal"}
    waiting = [asyncio.create_task(http.get(path, headers=headers)) for headers in ({}, minimal)]
    await fleet.client.resolve_callback(case.case_id)
    answer, ended = await asyncio.gather(*waiting)
    assert (answer.status_code, answer.text) == (200, "welcome")
    assert (ended.status_code, ended.headers["preference-applied"]) == (204, "return=minimal")
    await wait_until(lambda: " GET /wait/ 204 " in proxy.said(), what="the line")
    assert path.rpartition("/")[2] not in proxy.said()


async def test_a_browser_is_answered_in_http_2(fleet, proxy):
    case = await fleet.client.generate_callback_url("record", Response("thank you"))
    async with proxy.browser(http2=True) as browser:
        answer = await browser.post(proxy.own(case.url), content=b"x" * 100_000)
    assert (answer.http_version, answer.status_code, answer.text) == ("HTTP/2", 200, "thank you")
    assert (await the_call(fleet, case)).headers["host"] == HOST


async def test_a_refusal_of_an_edge_reaches_the_caller_unchanged(fleet, proxy, http):
    case = await fleet.client.generate_callback_url("record", Response("thank you"))
    url = proxy.own(case.url)
    assert (await http.request("PROPFIND", url)).headers["allow"]
    assert (await http.head(url)).status_code == 200
    assert (await http.get(url)).text == "thank you"
    closed = await http.get(url, params={"another": "request"}, headers={"accept": "text/html"})
    assert (closed.status_code, closed.headers["content-type"]) == (410, "text/html; charset=utf-8")
    assert "This link can no longer be used" in closed.text
    unknown = await http.get("/cb/33931129-8459-4714-8c9b-ad9d15090289")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "state_unknown")
    assert (await http.get(url, headers={"x-large": "x" * 9000, "x-larger": "x" * 9000})).status_code == 431
    open_url = proxy.own((await fleet.client.generate_callback_url("record", Response("thank you"))).url)
    assert (await http.post(open_url, content=bytes(1024 * 1024 + 1))).status_code == 413
    assert (await http.post(open_url, content=bytes(1024 * 1024))).status_code == 200


async def raw(proxy, data):
    """Send bytes over TLS, wait for the first bytes of the response, and close the connection."""
    reader, writer = await proxy.connect()
    try:
        writer.write(data)
        await asyncio.wait_for(reader.read(1), 30)
    except OSError:
        pass
    finally:
        writer.close()


def faulty(state):
    """Return malformed requests of kinds that a proxy is likely to log."""
    path = f"/cb/{state}"
    host = f"Host: {HOST}\r\n"
    return [
        f"GET {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n",
        f"GET {path} HTTP/9.9\r\n{host}\r\n",
        f"G@T {path} HTTP/1.1\r\n{host}\r\n",
        f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n",
        f"GET {path} HTTP/1.1\r\n{host}bad header {state}\r\n\r\n",
        f"GET https://{HOST}{path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n",
        f"GET //cb/{state} HTTP/1.1\r\n{host}Connection: close\r\n\r\n",
        f"GET {path}%00 HTTP/1.1\r\n{host}Connection: close\r\n\r\n",
        f"GET {path}/../../x HTTP/1.1\r\n{host}Connection: close\r\n\r\n",
        f"GET {path}?{'x' * 70_000} HTTP/1.1\r\n{host}\r\n",
        f"GET /cbq/state?state={state} HTTP/1.1\r\n{host}Referer: https://a.example{path}\r\nConnection: close\r\n\r\n",
        f"POST {path} HTTP/1.1\r\n{host}Content-Length: 9999999\r\nConnection: close\r\n\r\n",
        f"POST {path} HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
        f"GET {path} HTTP/1.1 and what is {state}\r\n{host}\r\n",
    ]


def states_in(proxy, *states):
    """Return the logs and other files in which a proxy wrote one of these states, except its input files."""
    haystack = Haystack({"words": proxy.said().encode()})
    haystack.add_files(proxy.directory, "*")
    return haystack.names_with(states)


async def test_no_log_has_a_state(fleet, proxy, http):
    case = await fleet.client.generate_callback_url("record", Response("thank you"), allow_multiple_calls=True)
    state = case.url.rpartition("/")[2]
    for request in faulty(state):
        await raw(proxy, request.encode())
    assert (await http.put(proxy.own(case.url), content=os.urandom(900_000))).status_code == 200
    await wait_until(lambda: " PUT /cb/ 200 " in proxy.said(), what="the last line in the log")
    assert states_in(proxy, state) == set()


@pytest.mark.parametrize("kind", PROXIES)
async def test_without_an_edge_nothing_happens_and_the_caller_can_retry(tmp_path, kind):
    nobody = [(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}") for _ in range(2)]
    state = "5b6f7a1e-3f52-4e0c-9a51-1f4f0e7c2d3b"
    async with running_proxy(kind, tmp_path / kind, nobody) as proxy, proxy.browser() as http:
        for answer in [await http.get(f"/cb/{state}"), await http.post(f"/cb/{state}", content=b"x" * 100_000)]:
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        await wait_until(lambda: proxy.said().count("/cb/ 503") == 2, what="two lines in the log")
        assert states_in(proxy, state) == set()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nginx_loses_no_request_while_one_edge_has_no_server(tmp_path, fleet, method):
    """It was 30 % of them: nginx cannot see that an edge is not ready."""
    token_file = fleet.edges[0].environment["CALLBACK_EDGE_SERVER_TOKEN_FILE"]
    async with contextlib.AsyncExitStack() as stack:
        edges = [
            await stack.enter_async_context(
                running_edge(server_token_file=token_file, nginx_location="@next_edge", **settings)
            )
            for settings in ({}, {"target": fleet.target})
        ]
        addresses = [(f"127.0.0.1:{edge.port}", f"127.0.0.1:{edge.admin_address.port}") for edge in edges]
        proxy = await stack.enter_async_context(running_proxy("nginx", tmp_path / "nginx", addresses))
        http = await stack.enter_async_context(proxy.browser())
        case = await fleet.client.generate_callback_url("record", Response("thank you"), allow_multiple_calls=True)
        body = b"x" * 100_000 if method == "POST" else b""
        calls = [http.request(method, proxy.own(case.url), params={"n": n}, content=body) for n in range(20)]
        answers = await asyncio.gather(*calls)
        assert {(each.status_code, each.text) for each in answers} == {(200, "thank you")}
        recorded = [call async for call in fleet.client.list_calls(case.case_id)]
        assert len(recorded) == 20
        assert {call.body_size for call in recorded} == {len(body)}


async def test_nginx_passes_on_that_no_edge_has_a_server(tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        edges = [await stack.enter_async_context(running_edge(nginx_location="@next_edge")) for _ in range(2)]
        addresses = [(f"127.0.0.1:{edge.port}", f"127.0.0.1:{edge.admin_address.port}") for edge in edges]
        proxy = await stack.enter_async_context(running_proxy("nginx", tmp_path / "nginx", addresses))
        http = await stack.enter_async_context(proxy.browser())
        answer = await http.post(f"/cb/{uuid.uuid4()}")
        assert (answer.status_code, answer.json()["code"]) == (503, "server_unreachable")
        assert (answer.headers["retry-after"], "x-accel-redirect" in answer.headers) == ("5", False)


class Breaking:
    """Stand-in for an edge. It sends `answer` for each request, or closes the connection if `answer` is empty.

    `requests` has the request lines that it received. `ready` is the readiness that its admin port reports.
    """

    def __init__(self):
        self.requests = []
        self.answer = b""
        self.ready = True
        self.ended_by = []
        """The side that closed each answered connection: "proxy", or "edge" after the idle timeout."""

    async def serve(self, reader, writer):
        try:
            while True:
                async with asyncio.timeout(EdgeSettings().keep_alive_timeout_s):
                    head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head.partition(b"\r\n")[0].decode())
                if not self.answer:
                    break
                writer.write(self.answer)
        except (asyncio.IncompleteReadError, ConnectionResetError):  # haproxy resets unneeded connections
            self.ended_by.append("proxy")
        except TimeoutError:
            self.ended_by.append("edge")
        finally:
            writer.close()

    async def probe(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        status = b"200 OK" if self.ready else b"503 Service Unavailable"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()


@contextlib.asynccontextmanager
async def two_breaking(kind, directory, gone=0):
    """Run a proxy in front of two `Breaking` edges, and yield (edges, proxy). The last `gone` edges do not listen."""
    edges = [Breaking(), Breaking()]
    async with contextlib.AsyncExitStack() as stack:
        addresses = []
        for edge in edges[: len(edges) - gone]:
            servers = [await asyncio.start_server(serve, "127.0.0.1", 0) for serve in (edge.serve, edge.probe)]
            for server in servers:
                stack.push_async_callback(stop_accepting, server)
            addresses.append(tuple(f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers))
        addresses += [(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}") for _ in range(gone)]
        yield edges, await stack.enter_async_context(running_proxy(kind, directory / kind, addresses))


@pytest.mark.parametrize("kind", PROXIES)
async def test_a_request_that_an_edge_received_is_never_resent(tmp_path, kind):
    async with two_breaking(kind, tmp_path) as (edges, proxy):
        methods = ["GET", "POST", "PUT", "DELETE"]
        for method in methods:
            async with proxy.browser() as http:
                answer = await http.request(method, "/cb/33931129-8459-4714-8c9b-ad9d15090289")
            assert answer.status_code == 502
            assert "retry-after" not in answer.headers
        assert sorted(line.split()[0] for edge in edges for line in edge.requests) == sorted(methods)


@pytest.mark.parametrize("kind", PROXIES)
async def test_while_one_edge_refuses_connections_the_other_gets_every_request(tmp_path, kind):
    async with two_breaking(kind, tmp_path, gone=1) as ((one, _), proxy), proxy.browser() as http:
        assert (await http.post("/cb/x")).status_code == 502  # the proxy must still try this failed edge
        one.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        answers = await asyncio.gather(*(http.post("/cb/x", content=b"x" * 50_000) for _ in range(20)))
        assert [answer.text for answer in answers] == ["ok"] * 20
        assert len(one.requests) == 21


@pytest.mark.parametrize("kind", PROXIES)
async def test_a_connection_is_closed_before_an_edge_would_close_it(tmp_path, kind):
    async with two_breaking(kind, tmp_path) as (edges, proxy), proxy.browser() as http:
        for edge in edges:
            edge.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        assert (await http.get("/cb/x")).text == "ok"
        await wait_until(lambda: edges[0].ended_by or edges[1].ended_by, what="the end of a connection")
        assert edges[0].ended_by + edges[1].ended_by == ["proxy"]


async def test_no_request_fails_after_its_connections_were_idle(tmp_path):
    """The edge's idle time is a little longer than that of the proxy: here 1 s and 4 s, usually 60 s and 75 s."""

    async def codes_of(kind):
        async with (
            running_edge(plane.target, keep_alive_timeout_s=4) as edge,
            running_proxy(
                kind, tmp_path / kind, [(f"127.0.0.1:{edge.port}", f"127.0.0.1:{edge.admin_address.port}")] * 2
            ) as proxy,
            proxy.browser() as http,
        ):

            async def call_after(idle_s):
                await asyncio.sleep(idle_s)
                return (await http.post(f"/cb/{uuid.uuid4()}", content=b"x")).status_code

            calls = [await asyncio.gather(*(call_after(n / 10) for n in range(50))) for _ in range(2)]
            return {code for codes in calls for code in codes}

    async with control_plane() as plane:
        assert await asyncio.gather(*map(codes_of, PROXIES)) == [{200}] * len(PROXIES)


async def test_haproxy_sends_no_requests_to_an_edge_that_is_not_ready(tmp_path):
    async with two_breaking("haproxy", tmp_path) as ((one, two), proxy), proxy.browser() as http:
        for edge in (one, two):
            edge.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        one.ready = False

        async def only_two():
            one.requests.clear()
            for _ in range(10):
                assert (await http.get("/cb/x")).text == "ok"
            return not one.requests

        await wait_until(only_two, what="haproxy to see it")
        one.ready, two.ready = True, False
        await wait_until(lambda: _reaches(http, one), what="haproxy to see that it is back")


async def _reaches(http, edge):
    await http.get("/cb/x")
    return bool(edge.requests)
