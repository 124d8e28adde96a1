"""TLS on both sides: the client asks over it, a handler answers over it."""

import grpc
import pytest
import trustme
from support.clients import CASE, callback_message, handle_request, scripted_server

from callback import CallbackClient, Handlers, Response, UnavailableError
from callback.v1 import callback_service_pb2 as messages
from callback.v1.callback_handler_service_pb2_grpc import CallbackHandlerServiceStub


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def server_credentials(authority):
    certificate = authority.issue_cert("127.0.0.1")
    return grpc.ssl_server_credentials([(certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())])


async def test_the_client_asks_over_tls_and_only_whom_it_trusts(authority, server_credentials):
    async with scripted_server(credentials=server_credentials) as server:
        server.answers["GetCallback"] = messages.GetCallbackResponse(callback=callback_message())
        trusting = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        async with CallbackClient(server.address, credentials=trusting) as client:
            assert (await client.get_callback(CASE)).case_id == CASE
        for credentials in (None, grpc.ssl_channel_credentials(trustme.CA().cert_pem.bytes())):
            async with CallbackClient(server.address, credentials=credentials) as client:
                with pytest.raises(UnavailableError):
                    await client.get_callback(CASE)


async def test_a_handler_answers_over_tls(authority, server_credentials):
    handlers = Handlers()

    @handlers.activity("order-paid")
    async def paid(_call):
        return Response(b"ok")

    async with (
        handlers.listen("127.0.0.1:0", credentials=server_credentials) as listening,
        grpc.aio.secure_channel(listening.address, grpc.ssl_channel_credentials(authority.cert_pem.bytes())) as channel,
    ):
        answer = await CallbackHandlerServiceStub(channel).HandleCallback(handle_request(), timeout=30)
    assert answer.response.response_body == b"ok"
