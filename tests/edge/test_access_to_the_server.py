"""Credentials of the edge from files that may change, and a server that refuses the edge."""

import asyncio
import contextlib

import grpc
import pytest
import trustme
from soak.counts import count
from support.edge import (
    EdgeProcess,
    Refused,
    ScriptedEdgeService,
    ask,
    control_plane,
    failed_start,
    new_state,
    plain,
    refusal,
    refusing,
    running_edge,
)
from support.wait import DEADLINE_S, wait_until

from callback_edge.settings import EdgeSettings
from callback_edge.upstream import availability, channel, client
from callback_edge.upstream.client import ServerClient
from callback_process.credentials import CredentialsError

TOKEN = "callback_" + "A1b2_-" * 7 + "x"


@pytest.fixture
def soon(limits):
    """Shorten the intervals at which files are read and streams replaced."""
    limits(client, FILE_CHECK_S=0.02)
    limits(availability, QUIET_S=1)
    limits(channel, STREAM_LIFETIME_S=0.5, MAX_PAUSE_S=0.5)


@pytest.fixture
def token_file(tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    return file


async def assert_edge_refused(edge):
    answer = await ask(edge)
    assert (answer.problem, answer["retry-after"]) == ((503, "edge_refused"), "5")


def logged(log, event):
    return any(entry["event"] == event for entry in log)


async def test_each_stream_has_the_token_and_follows_its_file(soon, token_file, log):
    async with control_plane() as plane, running_edge(plane.target, server_token_file=token_file) as edge:
        assert (await ask(edge)).status == 200
        assert set(plane.tokens) == {f"Bearer {TOKEN}"}

        token_file.write_text("another")
        await wait_until(lambda: plane.tokens[-1] == "Bearer another", what="a stream with it")
        assert (await ask(edge)).status == 200
        assert plane.tokens[-1] == "Bearer another"

        token_file.write_text("two words")
        await wait_until(lambda: any("must contain one token" in entry.get("problem", "") for entry in log))
        token_file.unlink()
        await wait_until(lambda: any("No such file" in entry.get("problem", "") for entry in log))
        log.clear()
        assert (await ask(edge)).status == 200
        assert plane.tokens[-1] == "Bearer another"


class Hesitant(ScriptedEdgeService):
    """A server that refuses the first stream, but not at once."""

    def __init__(self):
        super().__init__()
        self.may_refuse = asyncio.Event()

    async def StreamInvocations(self, requests, context):
        if self.opened == 0:
            self.opened += 1
            await self.may_refuse.wait()
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the server stops")
        await super().StreamInvocations(requests, context)


async def test_a_token_that_changes_while_a_stream_with_the_former_one_is_refused_is_used_at_once(
    soon, token_file, limits, log
):
    limits(channel, STREAM_COUNT=1, FIRST_PAUSE_S=3600)
    async with (
        control_plane(plane=Hesitant()) as plane,
        running_edge(plane.target, server_token_file=token_file, ready=False) as edge,
    ):
        await wait_until(lambda: plane.opened == 1, what="the first stream")
        token_file.write_text("another")
        await wait_until(lambda: logged(log, "file_reloaded"))
        plane.may_refuse.set()
        await wait_until(lambda: not edge.upstream.why_not_ready(), what="a stream")


async def test_without_a_token_file_none_is_sent():
    async with control_plane() as plane, running_edge(plane.target) as edge:
        assert (await ask(edge)).status == 200
        assert set(plane.tokens) == {None}


@pytest.mark.parametrize(
    ("refused", "reason", "to_do"),
    [
        (refusal("UNAUTHENTICATED", "UNAUTHENTICATED"), "UNAUTHENTICATED", "set server_token_file"),
        (refusal("ROLE_MISSING", "PERMISSION_DENIED"), "ROLE_MISSING", "the role edge"),
        # The proxy of a service mesh sends no error reasons of Callback.
        (Refused(grpc.StatusCode.PERMISSION_DENIED), "PERMISSION_DENIED", "set server_token_file"),
    ],
    ids=["of no principal", "of another role", "by a proxy"],
)
async def test_a_server_that_refuses_the_edge_is_a_503_and_only_the_log_says_what_to_do(
    soon, log, refused, reason, to_do
):
    async with control_plane() as plane:
        plane.unwelcome = refused
        async with running_edge(plane.target, ready=False) as edge:
            await wait_until(lambda: edge.upstream.why_not_ready() == f"a server refuses this edge: {reason}")
            for _ in range(3):
                await assert_edge_refused(edge)
            (error,) = (entry for entry in log if entry["log_level"] == "error")
            assert error["reason"] == reason
            assert to_do in error["to_do"]

            plane.reset()  # the edge recovers without a call
            await wait_until(lambda: not edge.upstream.why_not_ready())
            assert plane.started == 0
            assert (await ask(edge)).status == 200
            log.clear()


async def test_an_edge_that_loses_its_role_reports_it(soon, log):
    async with control_plane() as plane, running_edge(plane.target) as edge:
        await wait_until(lambda: not edge.upstream.why_not_ready())
        plane.unwelcome = refusal("UNAUTHENTICATED", "UNAUTHENTICATED")
        plane.script = refusing("UNAUTHENTICATED", "UNAUTHENTICATED")
        await assert_edge_refused(edge)
        why = "a server refuses this edge: UNAUTHENTICATED"
        await wait_until(lambda: edge.upstream.why_not_ready() == why)
        log.clear()


async def test_while_one_of_two_servers_refuses_the_other_runs_every_call_once_and_the_log_has_one_line(
    soon, limits, log
):
    """This happens when a file of principals reaches one server later than the other."""

    limits(availability, QUIET_S=3600)  # longer than the calls below, also on a busy machine

    def said():
        return [entry["event"] for entry in log if entry["log_level"] in ("error", "info")]

    async with (
        control_plane() as knows,
        control_plane() as not_yet,
        running_edge(f"{knows.target},{not_yet.target}") as edge,
    ):
        await wait_until(lambda: knows.streams and not_yet.streams)
        await wait_until(lambda: said() == ["server_ready"], what="the first line")
        not_yet.unwelcome = refusal("UNAUTHENTICATED", "UNAUTHENTICATED")
        not_yet.script = refusing("UNAUTHENTICATED", "UNAUTHENTICATED")
        calls = count(100, 2000)
        for _ in range(calls):
            assert (await ask(edge)).status == 200
            assert not edge.upstream.why_not_ready()
        assert knows.started == calls
        assert 1 <= not_yet.started <= channel.STREAM_COUNT  # a stream with a refusal is not used again
        assert said() == ["server_ready", "edge_refused"]

        limits(availability, QUIET_S=1)
        not_yet.reset()
        await wait_until(lambda: len(said()) > 2)
        assert said()[2:] == ["server_ready"]
        log.clear()


async def test_a_token_reaches_no_log_and_no_metric(plane, token_file):
    async with EdgeProcess(plane.target, server_token_file=token_file, log_level="DEBUG") as edge:
        plane.script = refusing("UNAUTHENTICATED", "UNAUTHENTICATED", message=f"unknown token {TOKEN[:8]}")
        await wait_until(lambda: any(plane.tokens))
        metrics = (await edge.admin("/metrics")).text + (await edge.admin("/readyz")).text
        token_file.write_text(TOKEN + " and more")
        await edge.until_logged("file_not_reloaded")
        await edge.stop()
        assert TOKEN not in "".join(edge.lines) + metrics


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def issued(authority, *names):
    certificate = authority.issue_cert(*names)
    return certificate.private_key_pem.bytes(), b"".join(each.bytes() for each in certificate.cert_chain_pems)


def server_credentials(authority, *names, clients=None):
    return grpc.ssl_server_credentials(
        [issued(authority, *names)],
        root_certificates=clients and clients.cert_pem.bytes(),
        require_client_auth=clients is not None,
    )


def write(folder, *, authority=None, certificate=None):
    """Write PEM files, and return the settings that name them."""
    files = {}
    if authority:
        files["ca_file"] = authority.cert_pem.bytes()
    if certificate:
        files["key_file"], files["cert_file"] = certificate
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in files}


async def test_the_edge_connects_by_tls_only_to_a_server_that_it_trusts(tmp_path, authority):
    tls = write(tmp_path, authority=authority)
    async with control_plane(server_credentials(authority, "127.0.0.1")) as plane:
        async with running_edge(plane.target, server_tls=tls) as edge:
            assert (await ask(edge)).status == 200
        tls = write(tmp_path, authority=trustme.CA())
        for other in (tls, {}, None):
            async with running_edge(plane.target, server_tls=other, ready=False) as edge:
                assert (await ask(edge)).problem == (503, "server_unreachable")
        assert plane.started == 1


async def test_one_server_name_serves_several_addresses(soon, tmp_path, authority):
    tls = write(tmp_path, authority=authority) | {"server_name": "server.example"}
    credentials = server_credentials(authority, "server.example")
    async with (
        control_plane(credentials) as one,
        control_plane(credentials) as other,
        running_edge(f"{one.target},{other.target}", server_tls=tls) as edge,
    ):

        async def both_are_called():
            assert (await ask(edge)).status == 200
            return one.started and other.started

        await wait_until(both_are_called)


async def test_a_new_certificate_takes_over_and_running_calls_are_answered(soon, tmp_path, authority, log):
    def shown(context):
        return context.auth_context()["x509_subject_alternative_name"][0].decode()

    async def script(request, context):
        if request.request_query_string == "held":
            await gate.wait()
        return plain(shown(context).encode())

    gate = asyncio.Event()
    tls = write(tmp_path, authority=authority, certificate=issued(authority, "first.example"))
    async with control_plane(server_credentials(authority, "127.0.0.1", clients=authority)) as plane:
        plane.script = script
        async with running_edge(plane.target, server_tls=tls) as edge:
            held = asyncio.create_task(ask(edge, f"/cb/{new_state()}?held"))
            await plane.until(lambda: plane.started)

            # Half of a pair, then garbage, then an untrusted certificate: the earlier one stays in use.
            key, certificate = issued(authority, "second.example")
            for content in (certificate, b"nonsense"):
                tls["cert_file"].write_bytes(content)
                await wait_until(lambda: logged(log, "file_not_reloaded"))
                log.clear()
            write(tmp_path, certificate=issued(trustme.CA(), "stranger.example"))
            await wait_until(lambda: logged(log, "file_reloaded"))
            assert (await ask(edge)).body == b"first.example"

            write(tmp_path, certificate=(key, certificate))

            async def taken_over():
                answer = await ask(edge)
                assert answer.status == 200
                return answer.body == b"second.example"

            await wait_until(taken_over)
            gate.set()
            assert (await held).body == b"first.example"
            await plane.until(lambda: plane.started == plane.ended)


@pytest.fixture
def one_stream(limits):
    """Let each channel have one stream."""
    limits(channel, STREAM_COUNT=1, FIRST_LIFETIME_S=10 * DEADLINE_S, STREAM_LIFETIME_S=10 * DEADLINE_S)


@contextlib.asynccontextmanager
async def over_tls(tmp_path, authority):
    """Run a server and an edge that reaches it over TLS. Yield both, and the files of the edge by setting."""
    tls = write(tmp_path, authority=authority)
    async with (
        control_plane(server_credentials(authority, "127.0.0.1")) as plane,
        running_edge(plane.target, server_tls=tls) as edge,
    ):
        yield plane, edge, tls


async def replace_channel(tls, log):
    """Change a TLS file, so that another channel takes over."""
    tls["ca_file"].write_bytes(tls["ca_file"].read_bytes() + trustme.CA().cert_pem.bytes())
    await wait_until(lambda: logged(log, "file_reloaded"))


async def test_a_channel_that_takes_over_while_the_edge_stops_releases_its_callers_too(
    soon, one_stream, tmp_path, authority, log
):
    async with over_tls(tmp_path, authority) as (plane, edge, tls):
        edge.upstream.release_callers()
        await wait_until(lambda: len(plane.released) == 1, what="the message on the first stream")
        await replace_channel(tls, log)
        await wait_until(lambda: len(plane.released) == 2, what="the message on the stream of the new channel")


async def test_a_channel_that_was_replaced_releases_the_callers_that_it_still_has_when_the_edge_stops(
    soon, one_stream, tmp_path, authority, log
):
    async with over_tls(tmp_path, authority) as (plane, edge, tls):
        gate, streams = asyncio.Event(), set()

        async def script(_request, context):
            streams.add(context)
            if plane.started == 1:
                await gate.wait()
            return plain(b"as before")

        async def has_taken_over():
            await ask(edge)
            return len(streams) == 2

        plane.script = script
        held = asyncio.create_task(ask(edge))
        await plane.until(lambda: plane.started)
        await replace_channel(tls, log)
        await wait_until(has_taken_over)
        edge.upstream.release_callers()
        await wait_until(lambda: len(plane.released) == 2, what="the message on the streams of both channels")
        gate.set()
        assert (await held).body == b"as before"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"server_token_file": "missing"}, "server_token_file missing: No such file or directory"),
        ({"server_token_file": "two words"}, "must contain one token and nothing else"),
        ({"server_tls": {"ca_file": "missing"}}, "server_tls.ca_file missing: No such file or directory"),
        ({"server_tls": {"ca_file": "two words"}}, "server_tls.ca_file two words: no usable PEM content"),
        (
            {"server_tls": {"cert_file": "two words", "key_file": "two words"}},
            "server_tls.cert_file two words with server_tls.key_file two words: no usable PEM content",
        ),
    ],
)
def test_unusable_files_are_refused_at_the_start(tmp_path, monkeypatch, settings, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two words").write_text("secret secret")
    with pytest.raises(CredentialsError) as raised:
        ServerClient(EdgeSettings(**settings))
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)


async def test_a_process_with_an_unusable_file_says_so_in_one_line_and_ends(tmp_path):
    line = f"callback edge: server_token_file {tmp_path / 'missing'}: No such file or directory\n"
    assert await failed_start(server_token_file=tmp_path / "missing") == (1, [line])


async def test_another_grpc_server_is_recognized(log):
    """The edge is not ready, and the log has the answer of that server."""
    other = grpc.aio.server()
    port = other.add_insecure_port("127.0.0.1:0")
    await other.start()
    async with running_edge(f"127.0.0.1:{port}", ready=False) as edge:
        await wait_until(lambda: edge.upstream.why_not_ready() == "no server has answered yet")
        await wait_until(lambda: any(entry.get("grpc_code") == "UNIMPLEMENTED" for entry in log))
    await other.stop(None)
