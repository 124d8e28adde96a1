"""Several servers that start, drain and stop: each call reaches a ready server once."""

import asyncio
import collections
import contextlib

import grpc.aio
import pytest
from pydantic import ValidationError
from soak.counts import count
from support.edge import ScriptedEdgeService, ask, control_plane, plain, running_edge, sample
from support.wait import DEADLINE_S, wait_until

from callback.v1 import edge_service_pb2
from callback_edge.settings import EdgeSettings
from callback_edge.upstream import channel, client
from callback_edge.upstream.epoch_relay import EpochRelay
from callback_edge.upstream.stream import InvocationStream


@pytest.fixture(autouse=True)
def short_lived_streams(limits):
    """Shorten the life of streams from ten seconds to half of one, so that edges soon use a server that starts."""
    limits(channel, STREAM_LIFETIME_S=0.5)


@contextlib.asynccontextmanager
async def two_servers():
    """Run two servers and an edge in front of them."""
    async with (
        control_plane() as one,
        control_plane() as other,
        running_edge(f"{one.target},{other.target}") as edge,
    ):
        yield (one, other), edge


async def both_are_called(edge, planes):
    before = [plane.started for plane in planes]

    async def called():
        assert (await ask(edge)).status == 200
        return all(plane.started > had for plane, had in zip(planes, before, strict=True))

    await wait_until(called)


async def test_a_draining_server_returns_its_results_and_gets_no_more_calls():
    async with two_servers() as (planes, edge):
        await both_are_called(edge, planes)
        draining = planes[0]

        async def a_call_is_held():
            calls.append(asyncio.create_task(ask(edge)))
            return draining.started > draining.ended

        calls = []
        first = draining.started
        gate = draining.hold(plain(b"as before"))
        await wait_until(a_call_is_held)
        await draining.serving(False)
        await wait_until(lambda: sent_no_more(edge, draining, calls))
        had = draining.started
        for _ in range(20):
            assert (await ask(edge)).body == b"ok"
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
        call = asyncio.create_task(ask(edge))
        calls.append(call)
        await wait_until(lambda call=call: plane.started > had or call.done())
        if plane.started > had:
            return False
    return True


async def test_a_rolling_restart_of_the_servers_loses_no_call():
    async with two_servers() as (planes, edge):
        outcomes = collections.Counter()
        enough = asyncio.Event()

        async def caller():
            while not enough.is_set():
                outcomes[(await ask(edge)).status] += 1

        callers = [asyncio.create_task(caller()) for _ in range(8)]
        for _ in range(count(1, 50)):
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
        enough.set()
        await asyncio.gather(*callers)
        assert set(outcomes) == {200}
        assert sum(outcomes.values()) == sum(plane.started for plane in planes)
        await wait_until(lambda: all(plane.ended == plane.started for plane in planes), what="the end of every call")


async def test_while_no_server_is_ready_nothing_is_sent_and_the_caller_may_try_again():
    async with two_servers() as (planes, edge):
        await both_are_called(edge, planes)
        for plane in planes:
            await plane.serving(False)
        await wait_until(edge.upstream.why_not_ready)
        assert edge.upstream.why_not_ready() == "no connection to a server that accepts calls"
        had = [plane.started for plane in planes]
        answer = await ask(edge)
        assert (answer.status, answer["retry-after"]) == (503, "5")
        assert [plane.started for plane in planes] == had
        await planes[0].serving(True)
        await wait_until(lambda: not edge.upstream.why_not_ready())
        assert (await ask(edge)).status == 200


async def test_a_call_waits_a_moment_for_a_ready_server(limits):
    limits(client, STREAM_WAIT_S=DEADLINE_S)  # on a busy machine it can take longer than the 1 s
    async with control_plane() as plane, running_edge(plane.target) as edge:
        await plane.serving(False)
        await wait_until(edge.upstream.why_not_ready)
        call = asyncio.create_task(ask(edge))
        await wait_until(lambda: sample("requests_in_flight"))
        assert plane.started == 0
        await plane.serving(True)
        assert (await call).status == 200
        assert plane.started == 1


async def test_a_call_that_expired_unsent_never_reaches_a_later_server(limits):
    """This also holds if the server starts at that moment."""
    limits(client, STREAM_WAIT_S=0.2)
    async with control_plane() as plane, running_edge(plane.target) as edge:
        outcomes = collections.Counter()
        for _ in range(count(5, 200)):
            await plane.serving(False)
            await wait_until(edge.upstream.why_not_ready)
            calls = [asyncio.create_task(ask(edge)) for _ in range(10)]
            await wait_until(lambda made=calls: any(call.done() for call in made))
            await plane.serving(True)
            for answer in await asyncio.gather(*calls):
                outcomes[answer.status] += 1
                if answer.status == 503:
                    assert (answer.problem[1], answer["retry-after"]) == ("server_unreachable", "5")
        assert set(outcomes) <= {200, 503}
        assert outcomes[503]
        assert plane.started == outcomes[200]
        await plane.until(lambda: plane.ended == plane.started)


async def test_a_new_edge_soon_has_streams_to_servers_whose_connection_was_ready_later(limits):
    limits(channel, STREAM_LIFETIME_S=10 * DEADLINE_S)
    async with two_servers() as ((one, other), edge):
        await other.serving(False)
        await wait_until(lambda: len(one.streams) >= channel.STREAM_COUNT and not other.streams)
        await other.serving(True)
        await wait_until(lambda: other.streams, what="a stream to the other server")
        assert (await ask(edge)).status == 200


async def test_a_new_server_gets_its_share_of_calls():
    async with two_servers() as ((comes, other), edge):

        async def is_answered():  # a call that is at the server when it stops gets a 503
            return (await ask(edge)).status == 200

        await comes.stop()
        await wait_until(is_answered, what="an answer of the other server")
        await comes.start(comes.port)
        await both_are_called(edge, (comes, other))
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


async def test_what_a_server_says_of_its_store_reaches_a_stream_that_is_just_being_opened():
    epochs = EpochRelay()
    async with (
        control_plane(plane=Told()) as plane,
        grpc.aio.insecure_channel(plane.target) as to_plane,
    ):
        rpc = to_plane.stream_stream(
            "/callback.v1.EdgeService/StreamInvocations",
            response_deserializer=edge_service_pb2.StreamInvocationsResponse.FromString,
        )
        stream = InvocationStream(rpc(), DEADLINE_S, epochs, on_change=lambda: None, on_waiting=print, on_result=print)
        epochs.receive(b"newer", lambda: None)  # before the stream has had a turn
        await wait_until(lambda: plane.epochs == [b"newer"], what="the message")
        stream.task.cancel()
        await asyncio.gather(stream.task, return_exceptions=True)


async def test_a_stream_that_is_opened_while_the_edge_stops_releases_its_callers_too(limits):
    limits(channel, STREAM_COUNT=1)
    async with control_plane() as plane, running_edge(plane.target) as edge:
        edge.upstream.release_callers()
        await wait_until(lambda: len(plane.released) > 2, what="the message on the streams that take over")


async def test_streams_are_replaced_and_the_earlier_ones_return_their_results():
    async with control_plane() as plane, running_edge(plane.target) as edge:
        gate = plane.hold(plain(b"as before"))
        held = asyncio.create_task(ask(edge))
        await plane.until(lambda: plane.started)
        await wait_until(lambda: plane.opened > 4 * channel.STREAM_COUNT)
        # Earlier streams without pending calls have ended.
        await wait_until(lambda: len(plane.streams) <= 2 * channel.STREAM_COUNT, what="the end of earlier streams")
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


SEVERAL = "10.0.0.1:1,10.0.0.2:1"
NAMED = {"server_name": "server.example"}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        # gRPC cannot use such a list.
        *(
            ({"server_target": each}, "Use HOST:PORT")
            for each in ("dns:///a:1,b:2", "10.0.0.1:1,", "10.0.0.1,10.0.0.2")
        ),
        *(
            ({"server_target": each, "allow_plaintext": True}, r"has no port\. Use HOST:PORT")
            for each in ("10.0.0.1", "server", "dns:///server", "[::1]")
        ),
        ({"server_target": SEVERAL, "server_tls": {}}, "server_name"),
        *(
            ({"server_target": each}, "set server_tls, or allow_plaintext")  # of another machine
            for each in ("server.example:1", "10.0.0.1:1", "127.0.0.1:1,10.0.0.2:1", "dns:///server:1")
        ),
    ],
    ids=str,
)
def test_a_target_that_cannot_be_used_is_refused_with_advice(settings, problem):
    with pytest.raises(ValidationError, match=problem):
        EdgeSettings(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"server_target": SEVERAL, "server_tls": NAMED},
        {"server_target": "server.example:1", "server_tls": {}},
        {"server_target": "127.0.0.1:1,10.0.0.2:1", "allow_plaintext": True},
        {"server_target": "dns:///server:1", "server_tls": NAMED},
        *(
            {"server_target": each}  # plain text on this machine
            for each in ("127.0.0.1:1", "localhost:1", "[::1]:1", "127.0.0.1:1,127.0.0.2:1", "unix:/run/callback")
        ),
    ],
    ids=str,
)
def test_tls_and_plain_text_may_be_used_where_they_are_safe(settings):
    EdgeSettings(**settings)
