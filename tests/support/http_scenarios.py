"""What every HTTP handler does, in whichever language it is written.

A handler under test is a program that listens at `http://127.0.0.1:$PORT/callback` with the secret `$SECRET`, and does
what `callback_activity_case` of a call says.
"""

import contextlib

import grpc
from server.test_notifications import DELIVERED, QUICK, generate, notifications, remind
from support.http_handlers import SECRET, http_activity
from support.services import redirect, refusal, running_services
from support.store import free_port

from callback.v1 import callback_pb2 as pb

HEADERS = {"request_headers": ["x-value"], "response_headers": ["x-echo"]}
ANY_BYTES = bytes(range(256)) * 2_000  # no UTF-8


async def _answered(services, case="", *, fields=(), **call):
    """Call a new callback of this case, and return the response of the caller and the recorded call."""
    made = await services.generate("act", callback_activity_case=case, **dict(fields))
    said = (await services.call(made, **call)).response
    return said, await services.ended(made)


async def an_answer_is_that_of_the_caller(services, _folder):
    """2xx accepts, with the code and the body."""
    said, call = await _answered(services, body=b"paid")
    assert (call.status, said.response_code, said.response_body) == (pb.CALL_STATUS_SUCCEEDED, 201, b"done 1")


async def a_422_rejects(services, _folder):
    """422 rejects, with the body."""
    said, call = await _answered(services, "reject")
    assert (call.status, said.response_code, said.response_body) == (pb.CALL_STATUS_REJECTED, 422, b"no")


async def a_handler_that_fails_fails_its_call_alone(services, _folder):
    """An exception, a panic or an answer that is too large fails the call. The next one is handled."""
    for case in ("fail", "large"):
        made = await services.generate("act", callback_activity_case=case)
        await refusal(services.call(made))
        assert (await services.ended(made)).status == pb.CALL_STATUS_FAILED
    assert (await _answered(services))[0].response_code == 201


async def method_headers_and_bytes_arrive_as_they_were_sent(services, _folder):
    """Every method, the named headers, and a body of any bytes arrive, and come back."""
    header = {"name": "x-value", "value": "of a caller"}
    for method, body in {"get": b"", "post": ANY_BYTES, "put": b"\0", "patch": b"p", "delete": b""}.items():
        said, _ = await _answered(services, "echo", method=method, body=body, request_headers=[header])
        fields = {each.name: each.value for each in said.response_headers.headers}
        assert (fields["x-echo"], said.response_body) == (f"{method} of a caller", body)
        assert fields["content-type"] == "application/x-echo"


async def a_body_of_megabytes_is_handled(services, _folder):
    """A handler takes a body that is larger than its answers can be."""
    said, _ = await _answered(services, body=ANY_BYTES * 6)
    assert said.response_code == 201


async def a_redirect_is_that_of_the_caller(services, _folder):
    """3xx with a Location accepts. The query arrives."""
    said, call = await _answered(services, "redirect", request_query=[{"name": "to", "value": "thanks"}])
    assert (call.status, said) == (
        pb.CALL_STATUS_SUCCEEDED, redirect(response_redirect_url="https://shop.example/thanks")
    )  # fmt: skip


async def a_decision_keeps_the_callback_open(services, _folder):
    """`callback-decision` decides what becomes of the callback."""
    made = await services.generate("act", callback_activity_case="keep-open")
    await services.call(made)
    assert (await services.case_of(made)).status == pb.CALLBACK_STATUS_OPEN


async def a_call_that_waits_delays_no_other(services, folder):
    """Two calls are handled at the same time."""
    waiting = await services.generate("act", callback_activity_case="wait")
    caller = services.call(waiting)
    await services.running(waiting)
    assert (await _answered(services))[0].response_code == 201
    (folder / "released").touch()
    assert (await caller).response.response_code == 201


async def a_delivery_is_tried_again(services, _folder):
    """A stored call that fails is tried again, and its attempt says so."""
    made = await services.generate("act", callback_activity_case="later", answer_mode=pb.ANSWER_MODE_ACK)
    acknowledged = await services.call(made, body=b"paid")
    call = await services.delivery(acknowledged.call_id, DELIVERED, pb.DELIVERY_STATUS_DEAD)
    assert (call.delivery.status, call.delivery.attempts) == (DELIVERED, 2)
    assert call.delivery.response.response_body == b"done 2"


async def a_reminder_is_taken(services, _folder):
    """A notification is no call: it has no request, and its answer needs no body. One of a held call is the same."""
    for mode in (pb.ANSWER_MODE_HANDLER, pb.ANSWER_MODE_HOLD):
        made = await generate(services, answer_mode=mode)
        await remind(services, made)
        await notifications(services, made, DELIVERED)


SCENARIOS = [
    an_answer_is_that_of_the_caller, a_422_rejects, a_handler_that_fails_fails_its_call_alone,
    method_headers_and_bytes_arrive_as_they_were_sent, a_body_of_megabytes_is_handled,
    a_redirect_is_that_of_the_caller, a_decision_keeps_the_callback_open, a_call_that_waits_delays_no_other,
    a_delivery_is_tried_again, a_reminder_is_taken,
]  # fmt: skip


@contextlib.asynccontextmanager
async def pushed(url, store, folder):
    """Run services whose server connects to the handler."""
    activity = http_activity(url, folder, notifications=True, retry=QUICK, **HEADERS)
    async with running_services(store, activities={"act": activity}, sweeps=True) as services:
        yield services


async def problems(handler, store, folder, *, way=pushed):
    """Run all scenarios with a handler, and return what went wrong.

    Args:
        handler: Runs the handler under test as a context manager, with the environment variables that it gets, as the
            arguments.
        store: The store of the server.
        folder: The folder in which the handler runs.
        way: Runs services whose calls get to the handler.
    """
    port, found = free_port(), []
    async with (
        handler(PORT=str(port), SECRET=SECRET),
        way(f"http://127.0.0.1:{port}/callback", store, folder) as services,
    ):
        for scenario in SCENARIOS:
            try:
                await scenario(services, folder)
            except (AssertionError, TimeoutError, grpc.aio.AioRpcError) as error:
                found.append((scenario.__name__, repr(error)))
    return found
