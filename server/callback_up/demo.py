"""`callback up --demo`: two callbacks to try, with the commands for them."""

import shlex
import shutil
import sys
from pathlib import Path

import grpc

from callback.v1 import callback_pb2, callbacks_service_pb2, callbacks_service_pb2_grpc
from callback_launcher.errors import LaunchError
from callback_process.addresses import Address

DEADLINE_S = 10.0
USUAL_TARGET = "127.0.0.1:50051"

REDIRECT = callbacks_service_pb2.GenerateCallbackUrlRequest(
    callback_activity="record",
    response=callback_pb2.Response(
        response_type=callback_pb2.RESPONSE_TYPE_REDIRECT, response_redirect_url="https://example.com/thankyou"
    ),
)
"""Request for a redirect, for one call."""

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
"""Request for a webhook, for any number of calls."""


async def make_demo(target: Address) -> str:
    """Generate the two callbacks, and return a text with the commands to try.

    Raises:
        LaunchError: The server refuses, or does not answer.
    """
    async with grpc.aio.insecure_channel(str(target), options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = callbacks_service_pb2_grpc.CallbacksServiceStub(channel)
        try:
            redirect = await stub.GenerateCallbackUrl(REDIRECT, timeout=DEADLINE_S)
            webhook = await stub.GenerateCallbackUrl(WEBHOOK, timeout=DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                raise LaunchError("--demo has no token; do not use it with principals") from None
            raise LaunchError(f"cannot generate the callbacks of the demo: {error.details()}") from None
    callback = _command()
    to = "" if str(target) == USUAL_TARGET else f" --target {target}"
    return f"""
A redirect, for one call. Open it in a browser, or run:
  curl -i '{redirect.callback_url}'
Then show the callback and its call:
  {callback} get {redirect.callback_case_id}{to}
  {callback} calls {redirect.callback_case_id}{to}

A webhook, for any number of calls. Run:
  curl -i '{webhook.callback_url}' -H 'Content-Type: application/json' -d '{{"id": "5", "status": "ok"}}'
Then list its calls. The second command closes it:
  {callback} calls {webhook.callback_case_id}{to}
  {callback} close {webhook.callback_case_id}{to}
"""


def _command() -> str:
    """Return the shell word for the command line: its name if it is on the path, else its path."""
    if shutil.which("callback"):
        return "callback"
    place = Path(sys.executable).with_name("callback")
    here = Path.cwd()
    return shlex.quote(str(place.relative_to(here) if place.is_relative_to(here) else place))
