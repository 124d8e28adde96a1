"""Fetches of keys from a hostile server: only public addresses are reached, and nothing is followed or waited for."""

import asyncio
import contextlib
import gc
import socket
from types import SimpleNamespace

import pytest
from support.key_source import (
    HOST,
    NOT_PUBLIC,
    PUBLIC,
    REDIRECTS,
    THIS_MACHINE,
    KeySource,
    fetcher_to,
    resolver,
    trust,
)
from support.wait import DEADLINE_S, wait_until

from callback_process.public_addresses import is_public
from callback_server.verification.fetcher import MAX_BYTES, Fetcher, FetchError

URL = f"https://{HOST}/keys"


async def why(fetcher, url=URL):
    with pytest.raises(FetchError) as caught:
        await fetcher.fetch(url)
    return str(caught.value)


async def test_the_content_is_fetched_over_tls_for_the_name_of_the_host(source):
    source.put("/keys", "content")
    fetcher, network = fetcher_to(source)
    assert (await fetcher.fetch(URL)).content == b"content"
    assert network.connected == [(PUBLIC, 443)]
    assert source.asked == ["/keys"]


@pytest.mark.parametrize("address", NOT_PUBLIC)
async def test_nothing_is_sent_to_an_address_that_is_not_public(source, address):
    assert not is_public(address)
    fetcher, network = fetcher_to(source, resolver([address], [PUBLIC, address], [address, PUBLIC]))
    for _ in range(3):
        assert await why(fetcher) == f"{HOST} has the address {address}, which is not public"
    assert network.connected == []
    assert source.connections == 0


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::1"])
def test_public_addresses_are_public(address):
    assert is_public(address)


async def test_a_name_that_changes_its_address_is_not_resolved_again(source):
    source.put("/keys", "content")
    fetcher, network = fetcher_to(source, resolver([PUBLIC], ["127.0.0.1"]))
    await fetcher.fetch(URL)
    assert "127.0.0.1, which is not public" in await why(fetcher)
    assert network.connected == [(PUBLIC, 443)]
    assert source.connections == 1


async def test_the_system_resolves_names_and_a_name_without_address_is_a_refusal(source):
    async def unknown(_host, _port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert await why(fetcher_to(source, unknown)[0]) == f"{HOST} cannot be resolved: Name or service not known"
    assert await why(fetcher_to(source, resolver([]))[0]) == f"{HOST} has no address"


@pytest.mark.parametrize("host", THIS_MACHINE)
async def test_nothing_is_sent_to_this_machine_however_a_url_names_it(host):
    assert "which is not public" in await why(Fetcher(), f"https://{host}/keys")


@pytest.mark.parametrize("target", [*REDIRECTS, URL])
async def test_a_redirect_is_not_followed(source, target):
    source.put("/keys", "", f"location: {target}", status="302 Found")
    fetcher, network = fetcher_to(source)
    assert await why(fetcher) == "the answer is a 302, a redirect, which is not followed"
    assert len(network.connected) == source.connections == 1


async def stays_silent(reader, writer):
    await reader.read()


async def drips_its_head(reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
    await drip(reader, writer)


async def drips_its_body(reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    await drip(reader, writer)


async def drip(reader, writer):
    """Write a byte now and then until the other side disconnects."""
    gone = asyncio.ensure_future(reader.read())
    while not gone.done():
        writer.write(b"a")
        await asyncio.wait([gone], timeout=0.05)
    with contextlib.suppress(ConnectionError):
        await gone


@pytest.mark.parametrize("answer", [stays_silent, drips_its_head, drips_its_body], ids=lambda each: each.__name__)
async def test_a_slow_answer_is_abandoned(source, answer):
    source.answers["/keys"] = answer
    fetcher, _ = fetcher_to(source, time_limit_s=0.3)
    assert await why(fetcher) == "no complete answer within 0.3 s"


async def test_a_connection_whose_handshake_does_not_end_in_time_is_closed():
    ended = asyncio.Event()

    async def never_shakes_hands(reader, writer):
        await reader.read()
        ended.set()
        writer.close()

    async with await asyncio.start_server(never_shakes_hands, "127.0.0.1", 0) as server:
        fetcher, _ = fetcher_to(SimpleNamespace(port=server.sockets[0].getsockname()[1]), time_limit_s=1)
        gc.disable()  # a collection closes it too, and warns
        try:
            assert await why(fetcher) == "no complete answer within 1 s"
            await wait_until(ended.is_set, what="the end of the connection")
        finally:
            gc.enable()


async def floods_its_head(_reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x-more: " + b"a" * 8000 + b"\r\n")
        await writer.drain()


async def floods_its_body(_reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"a" * 8000)
        await writer.drain()


@pytest.mark.parametrize(("answer", "says"), [(floods_its_head, "too long"), (floods_its_body, "more than")])
async def test_an_endless_answer_is_abandoned(source, answer, says):
    source.answers["/keys"] = answer
    assert says in await why(fetcher_to(source)[0])


async def test_the_size_is_limited(source):
    source.put("/keys", b"a" * MAX_BYTES)
    fetcher, _ = fetcher_to(source)
    assert len((await fetcher.fetch(URL)).content) == MAX_BYTES
    source.put("/keys", b"a" * (MAX_BYTES + 1))
    assert await why(fetcher) == f"the answer has more than {MAX_BYTES} bytes"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        *(
            (f"HTTP/1.1 {code} X\r\ncontent-length: 0\r\n\r\n", f"the answer is a {code}")
            for code in (201, 204, 404, 500)
        ),
        ("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc", "the answer is compressed"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc", ""),
        ("hello\r\n\r\n", ""),
        ("", ""),
    ],
)
async def test_any_other_answer_is_a_refusal(source, answer, told):
    source.answers["/keys"] = answer.encode()
    assert (await why(fetcher_to(source)[0])).startswith(told)


async def test_the_certificate_of_the_server_is_verified_for_the_name(source):
    source.put("/keys", "content")
    fetcher, _ = fetcher_to(source)
    assert "certificate verify failed" in await why(fetcher, "https://other.example.com/keys")
    async with KeySource(HOST, authority=type(source.authority)()) as other:
        other.put("/keys", "content")
        assert "certificate verify failed" in await why(fetcher_to(other)[0])
        assert other.asked == []
    assert source.asked == []


@pytest.mark.parametrize(
    ("headers", "fresh_s"),
    [
        ([], None),
        (["cache-control: public"], None),
        (["cache-control: public, max-age=86400, must-revalidate"], 86400),
        (['Cache-Control: MAX-AGE="60"'], 60),
        (["cache-control: max-age=100", "age: 40"], 60),
        (["cache-control: max-age=100", "age: 4000"], 0),
        (["cache-control: s-maxage=5, max-age=100"], 100),
        (["cache-control: max-age=100, no-cache"], 0),
        (["cache-control: no-store"], 0),
        (["cache-control: max-age=-1"], None),
        (["cache-control: max-age=" + "9" * 4000], 999999999),
    ],
)
async def test_the_source_says_how_long_its_answer_is_fresh(source, headers, fresh_s):
    source.put("/keys", "content", *headers)
    fetcher, _ = fetcher_to(source)
    assert (await fetcher.fetch(URL)).fresh_s == fresh_s


async def test_a_proxy_gets_the_name_and_tls_is_still_with_the_host(source):
    source.put("/keys", "content")
    asked = []

    async def proxy(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split(b"\r\n")[0])
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", source.port)
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))

    async def pump(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        fetcher = Fetcher(f"http://127.0.0.1:{port}", tls=trust(), time_limit_s=DEADLINE_S)
        assert (await fetcher.fetch(URL)).content == b"content"
    assert asked == [f"CONNECT {HOST}:443 HTTP/1.1".encode()]
