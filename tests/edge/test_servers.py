"""Several servers that start, drain and stop: each call reaches a ready server once."""

import asyncio
import collections
import contextlib
import json

import pytest
from pydantic import ValidationError
from soak.counts import count
from support.edge import ScriptedEdgeService, answering_after, ask, control_plane, new_state, plain, running_edge
from support.wait import DEADLINE_S, wait_until

from callback_edge.settings import EdgeSettings
from callback_edge.upstream import channel, client


@contextlib.asynccontextmanager
async def two_planes():
    planes = [ScriptedEdgeService(), ScriptedEdgeService()]
    for plane in planes:
        await plane.start()
    try:
        yield planes
    finally:
        for plane in planes:
            await plane.stop()


@pytest.fixture
def short_lived_streams(monkeypatch):
    """Shorten the life of streams from ten seconds to one, so that an edge soon uses a server that starts later."""
    monkeypatch.setattr(channel, "_STREAM_LIFETIME_S", 1.0)


def both(planes):
    return ",".join(plane.target for plane in planes)


async def both_are_called(edge, planes):
    before = [plane.started for plane in planes]

    async def called():
        assert (await ask(edge, f"/cb/{new_state()}")).status == 200
        return all(plane.started > had for plane, had in zip(planes, before, strict=True))

    await wait_until(called)


async def test_calls_are_spread_over_all_servers(short_lived_streams):
    async with two_planes() as planes, running_edge(both(planes)) as edge:
        await both_are_called(edge, planes)


async def test_a_draining_server_returns_its_results_and_gets_no_more_calls(short_lived_streams):
    async with two_planes() as planes, running_edge(both(planes)) as edge:
        await both_are_called(edge, planes)
        draining = planes[0]
        gate = asyncio.Event()

        async def a_call_is_held():
            calls.append(asyncio.create_task(ask(edge, f"/cb/{new_state()}")))
            return draining.started > draining.ended

        calls = []
        first = draining.started
        draining.script = answering_after(gate, plain(b"as before"))
        await wait_until(a_call_is_held)
        await draining.serving(False)
        await wait_until(lambda: sent_no_more(edge, draining, calls))
        had = draining.started
        for _ in range(20):
            assert (await ask(edge, f"/cb/{new_state()}")).body == b"ok"
        assert draining.started == had
        assert not edge.upstream.why_not_ready()

        gate.set()
        bodies = [answer.body for answer in await asyncio.gather(*calls)]
        assert set(bodies) <= {b"ok", b"as before"}
        assert bodies.count(b"as before") == draining.started - first
        await wait_until(lambda: all(plane.ended == plane.started for plane in planes), what="the end of every call")


async def sent_no_more(edge, plane, calls):
    """Return whether four calls in a row went to other servers. They are added to `calls`: some may be held."""
    had = plane.started
    for _ in range(4):  # one after the other: calls made at once are one message to one server
        call = asyncio.create_task(ask(edge, f"/cb/{new_state()}"))
        calls.append(call)
        await wait_until(lambda call=call: plane.started > had or call.done())
        if plane.started > had:
            return False
    return True


async def test_a_rolling_restart_of_the_servers_loses_no_call(short_lived_streams):
    async with two_planes() as planes, running_edge(both(planes)) as edge:
        outcomes = collections.Counter()
        enough = asyncio.Event()

        async def caller():
            while not enough.is_set():
                outcomes[(await ask(edge, f"/cb/{new_state()}")).status] += 1

        callers = [asyncio.create_task(caller()) for _ in range(8)]
        replaced = 0
        for _ in range(count(3, 50)):
            for plane in planes:
                await wait_until(lambda: sum(outcomes.values()) > 10)
                await plane.serving(False)
                await wait_until(lambda here=plane: here.started == here.ended)
                had, quiet = plane.started, sum(outcomes.values())
                await wait_until(lambda before=quiet: sum(outcomes.values()) > before + 50)
                assert plane.started - had <= len(callers)  # those in flight
                await plane.stop(grace=10)
                await plane.start(plane.port)
                had = plane.started
                await wait_until(lambda here=plane, before=had: here.started > before)
                replaced += 1
        enough.set()
        await asyncio.gather(*callers)
        assert set(outcomes) == {200}
        assert sum(outcomes.values()) == sum(plane.started for plane in planes)
        await wait_until(lambda: all(plane.ended == plane.started for plane in planes), what="the end of every call")


async def test_while_no_server_is_ready_nothing_is_sent_and_the_caller_may_try_again(short_lived_streams):
    async with two_planes() as planes, running_edge(both(planes)) as edge:
        await both_are_called(edge, planes)
        for plane in planes:
            await plane.serving(False)
        await wait_until(edge.upstream.why_not_ready)
        assert edge.upstream.why_not_ready() == "no connection to a server that accepts calls"
        had = [plane.started for plane in planes]
        answer = await ask(edge, f"/cb/{new_state()}")
        assert (answer.status, answer["retry-after"]) == (503, "5")
        assert [plane.started for plane in planes] == had
        await planes[0].serving(True)
        await wait_until(lambda: not edge.upstream.why_not_ready())
        assert (await ask(edge, f"/cb/{new_state()}")).status == 200


async def test_a_call_waits_a_moment_for_a_ready_server(monkeypatch):
    monkeypatch.setattr(client, "_STREAM_WAIT_S", DEADLINE_S)  # on a busy machine it can take longer than the 1 s
    async with control_plane() as plane, running_edge(plane.target) as edge:
        await wait_until(lambda: not edge.upstream.why_not_ready())
        await plane.serving(False)
        await wait_until(edge.upstream.why_not_ready)
        call = asyncio.create_task(ask(edge, f"/cb/{new_state()}"))
        await wait_until(lambda: edge.upstream._calls)
        assert plane.started == 0
        await plane.serving(True)
        assert (await call).status == 200
        assert plane.started == 1


async def test_a_call_that_expired_unsent_never_reaches_a_later_server(monkeypatch):
    """This also holds if the server starts at that moment."""
    monkeypatch.setattr(client, "_STREAM_WAIT_S", 0.2)
    async with control_plane() as plane, running_edge(plane.target) as edge:
        await wait_until(lambda: not edge.upstream.why_not_ready())
        outcomes = collections.Counter()
        for _ in range(count(10, 200)):
            await plane.serving(False)
            await wait_until(edge.upstream.why_not_ready)
            calls = [asyncio.create_task(ask(edge, f"/cb/{new_state()}")) for _ in range(10)]
            await wait_until(lambda made=calls: any(call.done() for call in made))
            await plane.serving(True)
            for answer in await asyncio.gather(*calls):
                outcomes[answer.status] += 1
                if answer.status == 503:
                    assert (json.loads(answer.body)["code"], answer["retry-after"]) == ("server_unreachable", "5")
        assert set(outcomes) <= {200, 503}
        assert outcomes[503]
        assert plane.started == outcomes[200]
        await plane.until(lambda: plane.ended == plane.started)


async def test_a_new_server_gets_its_share_of_calls(monkeypatch):
    monkeypatch.setattr(channel, "_STREAM_LIFETIME_S", 0.5)
    async with two_planes() as planes:
        comes, other = planes
        await comes.stop()
        async with running_edge(both(planes)) as edge:
            await wait_until(lambda: not edge.upstream.why_not_ready())
            assert (await ask(edge, f"/cb/{new_state()}")).status == 200
            await comes.start(comes.port)
            await both_are_called(edge, planes)
            assert other.cancelled == 0


class Told(ScriptedEdgeService):
    """A server that remembers what edges pass on of the stores of other servers."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    async def StreamInvocations(self, requests, context):
        async def told():
            async for message in requests:
                self.epochs.append(message.store_epochs)
                yield message

        await super().StreamInvocations(told(), context)


async def test_what_a_server_says_of_its_store_reaches_a_stream_that_is_just_being_opened(monkeypatch):
    monkeypatch.setattr(channel, "STREAM_COUNT", 0)
    async with control_plane(plane=Told()) as plane, running_edge(plane.target, ready=False) as edge:
        edge.upstream._channel._open_stream()
        edge.upstream._epochs.receive(b"newer", lambda: None)  # before the stream has had a turn
        await wait_until(lambda: plane.epochs == [b"newer"], what="the message")


async def test_a_stream_that_is_opened_while_the_edge_stops_releases_its_callers_too(monkeypatch):
    monkeypatch.setattr(channel, "STREAM_COUNT", 0)
    async with control_plane() as plane, running_edge(plane.target, ready=False) as edge:
        edge.upstream.release_callers()
        edge.upstream._channel._open_stream()
        await wait_until(lambda: plane.released, what="the message")


async def test_a_channel_that_takes_over_while_the_edge_stops_releases_its_callers_too(monkeypatch):
    monkeypatch.setattr(channel, "STREAM_COUNT", 1)
    monkeypatch.setattr(channel, "_STREAM_LIFETIME_S", 10 * DEADLINE_S)  # so that each channel has one stream
    async with control_plane() as plane, running_edge(plane.target) as edge:
        edge.upstream.release_callers()
        await wait_until(lambda: len(plane.released) == 1, what="the message on the first stream")
        await edge.upstream._replace_channel()  # as after a change of the TLS files
        await wait_until(lambda: len(plane.released) == 2, what="the message on the stream of the new channel")


async def test_a_channel_that_was_replaced_releases_the_callers_that_it_still_has_when_the_edge_stops(monkeypatch):
    monkeypatch.setattr(channel, "STREAM_COUNT", 1)
    monkeypatch.setattr(channel, "_STREAM_LIFETIME_S", 10 * DEADLINE_S)  # so that each channel has one stream
    async with control_plane() as plane, running_edge(plane.target) as edge:
        gate = asyncio.Event()
        plane.script = answering_after(gate, plain(b"as before"))
        held = asyncio.create_task(ask(edge, f"/cb/{new_state()}"))
        await plane.until(lambda: plane.started)
        await edge.upstream._replace_channel()  # as after a change of the TLS files
        edge.upstream.release_callers()
        await wait_until(lambda: len(plane.released) == 2, what="the message on the streams of both channels")
        gate.set()
        assert (await held).body == b"as before"


async def test_streams_are_replaced_and_the_earlier_ones_return_their_results(monkeypatch):
    monkeypatch.setattr(channel, "_STREAM_LIFETIME_S", 0.2)
    async with control_plane() as plane, running_edge(plane.target) as edge:
        gate = asyncio.Event()
        plane.script = answering_after(gate, plain(b"as before"))
        held = asyncio.create_task(ask(edge, f"/cb/{new_state()}"))
        await plane.until(lambda: plane.started)
        await wait_until(lambda: plane.opened > 4 * channel.STREAM_COUNT)
        # Earlier streams without pending calls have ended.
        await wait_until(lambda: len(plane._streams) <= 2 * channel.STREAM_COUNT, what="the end of earlier streams")
        gate.set()
        assert (await held).body == b"as before"
        assert plane.cancelled == 0


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("server:50051", "server:50051"),
        ("dns:///server:50051", "dns:///server:50051"),
        ("unix:/run/callback.sock", "unix:/run/callback.sock"),
        ("10.0.0.1:1", "10.0.0.1:1"),
        ("10.0.0.1:1, 10.0.0.2:2", "10.0.0.1:1,10.0.0.2:2"),
        ("ipv4:10.0.0.1:1,10.0.0.2:2", "ipv4:10.0.0.1:1,10.0.0.2:2"),
        ("[::1]:1,[::2]:2", "[::1]:1,[::2]:2"),
        ("a:1,b:2", "a:1,b:2"),
    ],
)
def test_targets_are_accepted_in_plain_form_and_in_grpc_form(written, target):
    assert EdgeSettings(server_target=written, allow_plaintext=True).server_target == target


@pytest.mark.parametrize("written", ["dns:///a:1,b:2", "10.0.0.1:1,", "10.0.0.1,10.0.0.2"])
def test_a_list_that_grpc_cannot_use_is_refused_with_advice(written):
    with pytest.raises(ValidationError, match="Use HOST:PORT"):
        EdgeSettings(server_target=written)


@pytest.mark.parametrize("written", ["10.0.0.1", "server", "dns:///server", "[::1]"])
def test_a_server_without_a_port_is_refused(written):
    with pytest.raises(ValidationError, match=r"has no port\. Use HOST:PORT"):
        EdgeSettings(server_target=written, allow_plaintext=True)


def test_tls_to_several_addresses_needs_a_server_name():
    several = "10.0.0.1:1,10.0.0.2:1"
    with pytest.raises(ValidationError, match="server_name"):
        EdgeSettings(server_target=several, server_tls={})
    EdgeSettings(server_target=several, server_tls={"server_name": "server.example"})
    EdgeSettings(server_target="server.example:1", server_tls={})


@pytest.mark.parametrize("elsewhere", ["server.example:1", "10.0.0.1:1", "127.0.0.1:1,10.0.0.2:1", "dns:///server:1"])
def test_plain_text_to_another_machine_must_be_allowed(elsewhere):
    with pytest.raises(ValidationError, match="set server_tls, or allow_plaintext"):
        EdgeSettings(server_target=elsewhere)
    EdgeSettings(server_target=elsewhere, allow_plaintext=True)
    EdgeSettings(server_target=elsewhere, server_tls={"server_name": "server.example"})


@pytest.mark.parametrize(
    "here", ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.0.0.1:1,127.0.0.2:1", "unix:/run/callback"]
)
def test_plain_text_on_this_machine_is_allowed(here):
    EdgeSettings(server_target=here)
