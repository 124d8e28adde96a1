"""Bearer tokens: given, computed, or in a file that is replaced. They are sent to the server only."""

import re
import traceback

import grpc
import pytest
from support.clients import CASE, callback_message

from callback import CallbackError, Handlers, Tls, Worker
from callback.v1 import callbacks_service_pb2 as messages
from callback_shared.targets import is_local

TOKEN = "callback_" + "t0ken" * 8 + "t0k"


@pytest.fixture
def answering(server):
    server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
    return server


async def test_a_token_is_sent_with_every_request(answering, client_type):
    async with client_type(answering.address, token=TOKEN) as client:
        await client.get_callback(CASE)
        await client.get_callback(CASE)
    assert answering.tokens == [f"Bearer {TOKEN}"] * 2


async def test_without_a_token_none_is_sent(answering, client):
    await client.get_callback(CASE)
    assert answering.tokens == [None]


async def test_a_token_function_is_called_for_every_attempt(server, client_type):
    tokens = iter(["one", "two", "three"])
    answer = messages.GetCallbackResponse(callback=callback_message())
    server.answers["GetCallback"] = [answer, grpc.StatusCode.UNAVAILABLE, answer]
    async with client_type(server.address, token=lambda: next(tokens)) as client:
        await client.get_callback(CASE)
        await client.get_callback(CASE)
    assert server.tokens == ["Bearer one", "Bearer two", "Bearer three"]


async def test_the_last_token_stays_in_use_while_the_file_is_unusable(answering, client_type, tmp_path, caplog):
    file = tmp_path / "token"
    file.write_text("one")
    async with client_type(answering.address, token_file=file) as client:
        for spoil in (lambda: file.write_text("hunter2 and more"), file.unlink, file.touch):
            caplog.clear()
            spoil()
            await client.get_callback(CASE)
            await client.get_callback(CASE)
            file_is_named = [str(file) in line and "keep_last_token" in line for line in caplog.messages]
            assert file_is_named == [True]
            assert "hunter2" not in caplog.text
        file.write_text("two")
        await client.get_callback(CASE)
    assert answering.tokens == ["Bearer one"] * 6 + ["Bearer two"]


def test_a_missing_token_file_is_an_error(client_type, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        client_type(token_file=tmp_path / "nowhere")


async def test_two_tokens_are_refused(client_type, tmp_path):
    with pytest.raises(ValueError, match="one"):
        client_type(token=TOKEN, token_file=tmp_path)


@pytest.mark.parametrize("wrong", ["", f"{TOKEN}\n", f"{TOKEN} {TOKEN}", f"{TOKEN}é", f"{TOKEN}\0"])
async def test_a_malformed_token_is_refused_and_not_repeated(answering, client_type, tmp_path, wrong):
    file = tmp_path / "token"
    file.write_text(f"x{wrong}x" if wrong else "\n")
    with pytest.raises(ValueError, match="a token cannot have") as given:
        client_type(token=wrong)
    with pytest.raises(ValueError, match=f"{file}: .* a token cannot have") as read:
        client_type(token_file=file)
    async with client_type(answering.address, token=lambda: wrong) as client:
        with pytest.raises(ValueError, match="a token cannot have") as asked:
            await client.get_callback(CASE)
    assert not any(TOKEN in f"{error.value!r} {error.value}" for error in (given, read, asked))
    assert answering.requests == []


async def test_a_token_is_in_no_repr_and_no_error(server, client_type, unused_port):
    server.answers["GetCallback"] = grpc.StatusCode.UNAUTHENTICATED
    for address in (server.address, f"127.0.0.1:{unused_port}"):
        async with client_type(address, token=TOKEN, retry=False) as client:
            assert TOKEN not in repr(client)
            with pytest.raises(CallbackError) as caught:
                await client.get_callback(CASE)
            assert TOKEN not in "".join(traceback.format_exception(caught.value))
            assert TOKEN not in repr(caught.value.__cause__)


async def test_a_token_sent_in_plain_text_is_logged_once(answering, client_type, tmp_path, caplog):
    # 0.0.0.0 reaches this machine, but is not one of its own addresses.
    elsewhere = answering.address.replace("127.0.0.1", "0.0.0.0")
    (tmp_path / "token").write_text(TOKEN)
    for proof in ({"token": TOKEN}, {"token": lambda: TOKEN}, {"token_file": tmp_path / "token"}):
        caplog.clear()
        async with client_type(elsewhere, **proof) as client:
            await client.get_callback(CASE)
            await client.get_callback(CASE)
        (line,) = caplog.messages
        assert line == f"token_sent_in_plain_text target={elsewhere} hint=pass tls to encrypt the connection"


def test_other_clients_log_no_warning(client_type, caplog):
    client_type("callback.example:50051")
    client_type("callback.example:50051", tls=Tls(), token=TOKEN)
    client_type("127.0.0.1:50051", token=TOKEN)
    assert caplog.messages == []


@pytest.mark.parametrize(
    "target",
    ["127.0.0.1:50051", "127.9.9.9:1", "localhost:50051", "localhost", "[::1]:50051", "::1", "unix:/run/callback.sock",
     "unix:callback.sock", "unix-abstract:callback", "dns:localhost:1", "dns:///127.0.0.1:1", "ipv4:127.0.0.1:1",
     "dns://192.0.2.1/localhost:1", "ipv4:127.0.0.1:1,127.0.0.2:1", "ipv6:[::1]:1,[::1]:2"],
)  # fmt: skip
def test_loopback_and_unix_sockets_are_local(target):
    assert is_local(target)


@pytest.mark.parametrize(
    "target",
    ["callback:50051", "192.0.2.1:1", "[2001:db8::1]:1", "localhost.example:1", "127.0.0.1.example:1", "unix", "",
     "dns:///callback:50051", "dns://127.0.0.1/callback:1", "ipv4:127.0.0.1:1,192.0.2.1:1", "xds:///localhost:1",
     "dns:///localhost:1@callback:1", "[::1].example:1", "ipv4:127.0.0.1:1%2C192.0.2.1:1", "dns:localhost%2ecom:1"],
)  # fmt: skip
def test_every_other_target_is_not_local(target):
    assert not is_local(target)


@pytest.mark.parametrize(
    "target",
    ["callback:50051", "127.0.0.1:1", "[::1]:1", "[fe80::1%eth0]:1", "dns:callback:1", "dns://192.0.2.1/callback:1",
     "ipv4:127.0.0.1:1,192.0.2.1:2", "unix:/run/callback.sock", "unix:callback.sock", "xds:///callback"],
)  # fmt: skip
def test_clients_and_workers_accept_valid_targets(target, client_type):
    client_type(target)
    Worker(Handlers(), target)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("127.0.0.1", "the target '127.0.0.1' has no port. Use HOST:PORT, such as 127.0.0.1:50051"),
        ("callback", "the target 'callback' has no port"),
        ("[::1]", "has no port"),
        ("dns:///callback", "has no port"),
        ("ipv4:127.0.0.1:1,192.0.2.1", "has no port"),
        ("", "the target '' is not valid. Use HOST:PORT or a gRPC target"),
        ("callback:", "is not valid"),
        ("127.0.0.1:70000", "is not valid"),
        ("127.0.0.1,192.0.2.1:1", "has no port"),
        ("http://127.0.0.1:50051", "is a URL. Use HOST:PORT"),
    ],
)
def test_an_invalid_target_is_refused(target, says, client_type):
    for make in (client_type, lambda target: Worker(Handlers(), target)):
        with pytest.raises(ValueError, match=re.escape(says)):
            make(target)
