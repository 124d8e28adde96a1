"""The worker under test for the Python package: what clients/conformance/README.md asks of a worker program.

`callback conform -- python clients/conformance/python/worker.py` runs it. With `--handlers` it is a handler server.
"""

import asyncio
import os
import sys

from callback import Accept, Handlers, IncomingCall, Notification, Reject, Response, Tls, Worker

handlers = Handlers()
ACTIVITY = os.environ["CALLBACK_ACTIVITY"]
MIB = 1 << 20


def say(event: str, call_id: str) -> None:
    """Write a line of what happens to standard output, at once."""
    print(event, call_id, flush=True)  # noqa: T201  # the interface of the program


@handlers.activity(ACTIVITY)
async def handle(call: IncomingCall) -> Response:
    """Do what the case says."""
    say("started", call.call_id)
    try:
        match call.activity_case:
            case "reject":
                raise Reject(Response(b"no", code=422))
            case "fail":
                raise RuntimeError("as the scenario says")
            case "wait":
                await asyncio.Event().wait()
            case "sleep":
                await asyncio.sleep(0.5)
            case "large":
                return Response(bytes(17 * MIB), code=201)
            case "five":
                return Response(bytes(5 * MIB), code=201)
            case "echo":
                return Response(code=201, headers=[("x-echo", value) for value in call.headers.get_all("x-value")])
    except asyncio.CancelledError:
        say("cancelled", call.call_id)
        raise
    return Response(b"done", code=201)


@handlers.notification(ACTIVITY)
async def notify(notification: Notification) -> Accept:
    """Take a notification."""
    say("notified", notification.call_id)
    return Accept()


if __name__ == "__main__":
    if address := os.environ.get("CALLBACK_ADDRESS"):
        handlers.run(address)
        sys.exit()
    worker = Worker(
        handlers,
        os.environ["CALLBACK_TARGET"],
        tls=Tls(os.environ["CALLBACK_CA_FILE"]) if os.environ["CALLBACK_CA_FILE"] else None,
        token_file=os.environ["CALLBACK_TOKEN_FILE"],
        max_calls=int(os.environ["CALLBACK_MAX_CALLS"]),
    )
    for _ in range(int(os.environ["CALLBACK_RUNS"])):
        worker.run()
