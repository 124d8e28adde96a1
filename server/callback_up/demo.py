"""`callback up --demo`: two callbacks to play with, and what to type."""

import shlex
import shutil
import sys
from pathlib import Path

import grpc

from callback.v1 import callback_pb2, callbacks_service_pb2, callbacks_service_pb2_grpc
from callback_process.addresses import Address
from callback_up.errors import UpError

DEADLINE_S = 10.0
USUAL_TARGET = "127.0.0.1:50051"

REDIRECT = callbacks_service_pb2.GenerateCallbackUrlRequest(
    callback_activity="record",
    response=callback_pb2.Response(
        response_type=callback_pb2.RESPONSE_TYPE_REDIRECT, response_redirect_url="https://example.com/thankyou"
    ),
)
"""A page that sends a browser back, once."""

WEBHOOK = callbacks_service_pb2.GenerateCallbackUrlRequest(
    callback_activity="record",
    allow_multiple_calls=True,
    response=callback_pb2.Response(
        response_type=callback_pb2.RESPONSE_TYPE_RESPONSE,
        response_body=b'{"received": true}\n',
        response_headers=callback_pb2.ResponseHeaders(
            headers=[callback_pb2.ResponseHeader(name="content-type", value="application/json")]
        ),
    ),
)
"""A system that reports something, as often as it likes."""


async def make_demo(target: Address) -> str:
    """Make the two callbacks, and return the text that shows what to do with them.

    Raises:
        UpError: the server refuses, or does not answer.
    """
    async with grpc.aio.insecure_channel(str(target), options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = callbacks_service_pb2_grpc.CallbacksServiceStub(channel)
        try:
            redirect = await stub.GenerateCallbackUrl(REDIRECT, timeout=DEADLINE_S)
            webhook = await stub.GenerateCallbackUrl(WEBHOOK, timeout=DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                raise UpError("--demo has no token; leave it out where principals are configured") from None
            raise UpError(f"the callbacks for the demo could not be made: {error.details()}") from None
    callback = _command()
    to = "" if str(target) == USUAL_TARGET else f" --target {target}"
    return f"""
A redirect, for one visit. Open it in a browser, or:
  curl -i '{redirect.callback_url}'
Then see what became of it:
  {callback} get {redirect.callback_case_id}{to}
  {callback} calls {redirect.callback_case_id}{to}

A webhook, for any number of calls:
  curl -i '{webhook.callback_url}' -H 'Content-Type: application/json' -d '{{"id": "5", "status": "ok"}}'
Then see what was sent:
  {callback} calls {webhook.callback_case_id}{to}
  {callback} close {webhook.callback_case_id}{to}
"""


def _command() -> str:
    """Return how to type our command line: by its name if that finds it, else by where it is, as seen from here."""
    if shutil.which("callback"):
        return "callback"
    place = Path(sys.executable).with_name("callback")
    here = Path.cwd()
    return shlex.quote(str(place.relative_to(here) if place.is_relative_to(here) else place))
