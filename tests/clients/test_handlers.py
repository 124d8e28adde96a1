"""Handlers and the handler server. A failure is logged here, and nothing of it leaves the process."""

import asyncio
import contextlib
import functools
import gc
import logging
import re
import signal
import socket
import sys
import textwrap
import threading
import weakref
from asyncio.subprocess import PIPE

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.clients import CALL, ask_handler, handle_request
from support.health import stalled_watch
from support.wait import DEADLINE_S, wait_until

from callback import Accept, Handlers, IncomingCall, Redirect, Reject, Response
from callback._converters import incoming_call_from_proto, response_to_proto
from callback.v1 import callback_handler_service_pb2 as messages
from callback.v1 import callback_pb2 as resources
from callback.worker import _execution

Code = grpc.StatusCode


def handling(handler):
    """Return handlers of which this one handles `order-paid`."""
    handlers = Handlers()
    handlers.activity("order-paid")(handler)
    return handlers


async def decide(handler, request=None, *, timeout=DEADLINE_S):
    """Return the result that a server receives from this handler."""
    async with handling(handler).listen("127.0.0.1:0") as listening:
        return await ask_handler(listening.address, request or handle_request(), timeout=timeout)


async def status_of(handler, **how):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await decide(handler, **how)
    return caught.value.code(), caught.value.details()


def returning(answer):
    async def handler(_call):
        return answer

    return handler


def raising(error):
    async def handler(_call):
        raise error

    return handler


async def test_a_handler_receives_the_call_unchanged():
    calls = []

    async def handler(call):
        calls.append(call)

    request = handle_request(request_method="put", request_body=b"\x00\xff\r\n", labels={"order": "5"}, owner="shop")
    await decide(handler, request)
    assert calls == [incoming_call_from_proto(request)]
    assert (calls[0].call_id, calls[0].method, calls[0].body) == (CALL, "put", b"\x00\xff\r\n")


def test_a_decision_that_closes_and_keeps_open_cannot_be_made():
    with pytest.raises(ValueError, match="cannot both close a callback and keep it open"):
        Accept(close=True, keep_open=True)


def response(**fields):
    return resources.Response(response_type=resources.RESPONSE_TYPE_RESPONSE, **fields)


@pytest.mark.parametrize(
    ("answer", "fields"),
    [
        (None, {}),
        (Accept(), {}),
        (Accept(keep_open=True), {"keep_open": True}),
        (Accept(close=True), {"close": True}),
        (Response(b"ok"), {"response": response(response_body=b"ok")}),
        (Response(b""), {"response": response(response_body=b"")}),
        (Accept(Response(code=202), keep_open=True), {"response": response(response_code=202), "keep_open": True}),
        (Redirect("/page/thankyou"), {"response": response_to_proto(Redirect("/page/thankyou"))}),
    ],
)
async def test_a_returned_response_accepts_the_call_and_overrides_the_response(answer, fields):
    expected = messages.HandleCallbackResponse(verdict=messages.VERDICT_ACCEPTED, **fields)
    assert await decide(returning(answer)) == expected


@pytest.mark.parametrize(
    ("rejection", "fields"),
    [
        (Reject(), {}),
        (Reject("no trxid"), {"response": response(response_body=b"no trxid")}),
        (Reject(Response(b"no", code=400)), {"response": response(response_body=b"no", response_code=400)}),
    ],
)
async def test_a_raised_reject_rejects_the_call_with_its_own_response_only(rejection, fields):
    expected = messages.HandleCallbackResponse(verdict=messages.VERDICT_REJECTED, **fields)
    assert await decide(raising(rejection)) == expected


@pytest.mark.parametrize(
    "handler",
    [
        raising(ValueError("the password is hunter2")),
        raising(TimeoutError("hunter2")),
        raising(asyncio.CancelledError("hunter2")),
        raising(SystemExit("hunter2")),
        raising(Reject(Response(code=2**40))),
        raising(Reject(Response(headers={"x-a": "\ud800"}))),
    ],
    ids=["error", "timeout", "cancellation", "exit", "code out of range", "header that is no text"],
)
async def test_a_failure_is_logged_with_the_call_and_nothing_of_it_leaves_the_process(handler, caplog):
    assert await status_of(handler) == (Code.INTERNAL, "the handler failed")
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert CALL in record.getMessage()
    assert record.exc_info is not None


@pytest.mark.parametrize("answer", [{"a": 1}, "text", b"bytes", Accept("text")], ids=str)
async def test_an_invalid_answer_is_logged_with_its_type(answer, caplog):
    assert await status_of(returning(answer)) == (Code.INTERNAL, "the handler failed")
    assert (
        " a Response, an Accept or None, not " in caplog.text
        or "an Accept takes a Response or None, not " in caplog.text
    )


@pytest.mark.parametrize("rejection", [{"error": "x"}, {}, 5, 0], ids=str)
async def test_a_reject_with_an_invalid_response_is_logged_with_its_type(rejection, caplog):
    assert await status_of(raising(Reject(rejection))) == (Code.INTERNAL, "the handler failed")
    assert "a Reject takes a Response, text, bytes or None, not " in caplog.text
    assert CALL in caplog.text


async def test_an_activity_without_a_handler_is_unimplemented_and_logged(caplog):
    status = await status_of(returning(None), request=handle_request("refund"))
    assert status == (Code.UNIMPLEMENTED, "no handler for the activity 'refund' here")
    assert CALL in caplog.text


async def test_a_handler_past_its_deadline_is_cancelled_and_that_is_logged(caplog):
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(_call):
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    while not begun.is_set():  # a busy machine may not begin it in time
        code, _ = await status_of(handler, timeout=1)
        assert code is Code.DEADLINE_EXCEEDED
    await asyncio.wait_for(cancelled.wait(), DEADLINE_S)
    await wait_until(lambda: "handler_cancelled" in caplog.text)
    assert CALL in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_client_that_takes_no_answer_to_its_watch_of_the_health_does_not_keep_the_server_from_its_stop():
    async with asyncio.timeout(DEADLINE_S):
        async with Handlers().listen("127.0.0.1:0", grace=0) as listening:
            stalled = await stalled_watch(listening.address, "callback.v1.CallbackHandlerService")
        stalled.close()


async def test_calls_run_concurrently():
    both = asyncio.Barrier(2)

    async def handler(_call):
        await both.wait()

    async with handling(handler).listen("127.0.0.1:0") as listening:
        await asyncio.gather(*(ask_handler(listening.address, handle_request()) for _ in range(2)))


async def test_calls_of_plain_functions_run_concurrently_in_threads():
    both, threads = threading.Barrier(2), set()

    def handler(_call):
        threads.add(threading.current_thread())
        both.wait(30)
        return Response(b"plain")

    async with handling(handler).listen("127.0.0.1:0") as listening:
        answers = await asyncio.gather(*(ask_handler(listening.address, handle_request()) for _ in range(2)))
    assert [each.response.response_body for each in answers] == [b"plain", b"plain"]
    assert len(threads - {threading.main_thread()}) == 2


async def test_a_plain_function_can_return_what_a_coroutine_function_returns():
    async def answer(_call):
        return Response(b"awaited")

    assert (await decide(lambda call: answer(call))).response.response_body == b"awaited"


async def test_a_plain_function_rejects_a_call():
    def handler(_call):
        raise Reject("no trxid")

    message = messages.HandleCallbackResponse(
        verdict=messages.VERDICT_REJECTED, response=response(response_body=b"no trxid")
    )
    assert await decide(handler) == message


async def test_a_call_that_finds_no_thread_before_its_deadline_never_starts_and_a_stop_waits_for_threads(caplog):
    begun, may_end = [], threading.Event()

    def handler(call):
        begun.append(call)
        assert may_end.wait(30)
        return Response(b"first")

    async with contextlib.AsyncExitStack() as stack:
        stack.callback(may_end.set)
        listening = await stack.enter_async_context(handling(handler).listen("127.0.0.1:0", grace=0, max_threads=1))
        first = asyncio.create_task(ask_handler(listening.address, handle_request()))
        await wait_until(lambda: begun)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask_handler(listening.address, handle_request(), timeout=2)
        assert caught.value.code() is Code.DEADLINE_EXCEEDED
        await wait_until(lambda: "handler_cancelled" in caplog.text)
        stopping = asyncio.create_task(stack.pop_all().aclose())
        await wait_until(lambda: "handler_continues" in caplog.text)
        assert not stopping.done()
        may_end.set()
        await stopping
    assert len(begun) == 1
    await asyncio.gather(first, return_exceptions=True)  # it was cancelled


def _generator(_call):
    yield None


async def _async_generator(_call):
    yield None


@pytest.mark.parametrize(
    "handler", [_generator, _async_generator, "order-paid", None], ids=["generator", "async generator", "text", "None"]
)
def test_what_cannot_return_an_answer_is_refused_when_it_is_registered(handler):
    with pytest.raises(TypeError, match="'order-paid' must be a function that returns its answer"):
        Handlers().activity("order-paid")(handler)


async def test_partials_and_objects_with_an_async_call_are_handlers():
    async def answer(body, _call):
        return Response(body)

    class Handler:
        async def __call__(self, _call):
            return Response(b"object")

    assert (await decide(functools.partial(answer, b"partial"))).response.response_body == b"partial"
    assert (await decide(Handler())).response.response_body == b"object"


async def _nothing():
    return None


async def _with_more(_call, _database):
    return None


@pytest.mark.parametrize("handler", [_nothing, _with_more, lambda *, call: call])
def test_a_handler_that_cannot_be_called_with_the_call_alone_is_refused_when_it_is_registered(handler):
    with pytest.raises(TypeError, match="'order-paid' must be a function with one parameter, the call"):
        handling(handler)
    with pytest.raises(TypeError, match="'order-paid' must be a function with one parameter, the notification"):
        Handlers().notification("order-paid")(handler)
    assert handling(lambda call, database=None: database).get("order-paid")


def test_a_decorator_without_a_name_is_refused():
    for decorator in (Handlers().activity, Handlers().notification):
        with pytest.raises(TypeError, match=rf'must be text, not function: write @handlers.{decorator.__name__}\("'):
            decorator(returning(None))


async def test_a_body_that_is_no_form_rejects_the_call_with_a_400():
    async def handler(call):
        return Response(call.form()["a"])

    part = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    headers = [resources.Header(name="Content-Type", value="multipart/form-data; boundary=b")]
    answers = [
        (await decide(handler, handle_request(request_headers=headers, request_body=body))).response
        for body in (part + b"--b--", part)
    ]
    assert answers == [
        response(response_body=b"1"),
        response(response_body=b"the body is not a form", response_code=400),
    ]


async def test_a_body_that_is_not_json_rejects_the_call_with_a_400():
    async def handler(call):
        return Response.json(call.json())

    rejected = await decide(handler, handle_request(request_body=b"id=5"))
    assert rejected == messages.HandleCallbackResponse(
        verdict=messages.VERDICT_REJECTED, response=response(response_body=b"the body is not JSON", response_code=400)
    )
    for body in (b"", b"\xff", b"[" * 100_000):
        assert (await decide(handler, handle_request(request_body=body))).response == rejected.response
    assert (await decide(handler, handle_request(request_body=b'{"id": 5}'))).response.response_body == b'{"id": 5}'
    with pytest.raises(ValueError, match="the body is not JSON"):
        incoming_call_from_proto(handle_request(request_body=b"id=5")).json()


async def test_a_coroutine_function_that_blocks_the_program_is_logged_and_one_that_waits_is_not(caplog, limits):
    now = [0.0]
    limits(_execution, CLOCK=lambda: now[0])

    def pass_a_second():
        now[0] += 1

    async def waiting(_call):
        asyncio.get_running_loop().call_soon(pass_a_second)
        await asyncio.sleep(0)
        assert now[0] == 1

    async def blocking(_call):
        pass_a_second()

    await decide(waiting)
    assert "handler_blocked" not in caplog.text
    await decide(blocking)
    (found,) = [each.getMessage() for each in caplog.records if "handler_blocked" in each.getMessage()]
    assert CALL in found
    assert "'order-paid'" in found


async def test_what_a_handler_held_is_freed_when_an_error_that_it_awaited_has_ended_it():
    freed = threading.Event()

    def failing():
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, Reject(Response(code=404)))
        return future

    async def handler(_call):
        held = asyncio.Event()
        weakref.finalize(held, freed.set)
        await failing()

    gc.disable()
    try:
        assert (await decide(handler)).response.response_code == 404
        assert freed.is_set()
    finally:
        gc.enable()


def test_an_activity_name_is_unique_and_not_empty():
    handlers = Handlers()
    handlers.activity("order-paid")(returning(None))
    with pytest.raises(ValueError, match="'order-paid' already has a handler"):
        handlers.activity("order-paid")(returning(None))
    with pytest.raises(ValueError, match="must not be empty"):
        handlers.activity("")(returning(None))
    assert handlers.activities == ("order-paid",)


async def test_decorating_a_handler_does_not_change_it():
    @Handlers().activity("order-paid")
    async def paid(call):
        return Response(call.body)

    assert await paid(IncomingCall(activity="order-paid", body=b"x")) == Response(b"x")


async def fail_to_listen(address):
    async with Handlers().listen(address):
        pass


async def test_a_taken_port_is_an_os_error_that_names_it():
    async with Handlers().listen("127.0.0.1:0") as listening:
        with pytest.raises(OSError, match=f"{listening.address}: Address already in use"):
            await fail_to_listen(listening.address)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("nowhere.invalid:50061", "Name or service not known|No address|Temporary failure"),
        ("203.0.113.7:50061", "Cannot assign requested address"),
        ("unix:/nowhere/at/all", "its directory must exist"),
    ],
)
async def test_a_foreign_address_is_an_os_error_with_the_reason(address, why):
    with pytest.raises(OSError, match=f"cannot listen on {address}: ({why})"):
        await fail_to_listen(address)


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1", "127.0.0.1:", ":50061", "127.0.0.1:99999", "127.0.0.1:http", "::1:50061", "unix:", "dns:///a:1"],
)
async def test_a_malformed_listen_address_is_refused(address):
    with pytest.raises(ValueError, match=f"cannot listen on '{re.escape(address)}': use HOST:PORT"):
        await fail_to_listen(address)


@pytest.mark.parametrize("host", ["localhost", "[::1]"])
async def test_it_listens_on_a_name_and_on_ipv6(host):
    async with Handlers().listen(f"{host}:0") as listening:
        assert listening.address == f"{host}:{listening.port}"


async def test_it_listens_on_a_unix_socket(tmp_path):
    async with handling(returning(None)).listen(f"unix:{tmp_path}/h") as listening:
        assert (listening.address, listening.port) == (f"unix:{tmp_path}/h", 0)
        await ask_handler(listening.address, handle_request())


async def test_a_body_of_ten_mebibytes_reaches_a_handler():
    sizes = []

    async def handler(call):
        sizes.append(len(call.body))

    await decide(handler, handle_request(request_body=bytes(10 << 20)))
    assert sizes == [10 << 20]


async def test_the_handler_server_reports_its_health():
    async with Handlers().listen("127.0.0.1:0") as listening, grpc.aio.insecure_channel(listening.address) as channel:
        for name in ("", "callback.v1.CallbackHandlerService"):
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_stop_is_reported_to_health_watchers():
    async with contextlib.AsyncExitStack() as stack:
        listening = await stack.enter_async_context(Handlers().listen("127.0.0.1:0"))
        async with grpc.aio.insecure_channel(listening.address) as channel:
            name = "callback.v1.CallbackHandlerService"
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=name))
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            stop = asyncio.create_task(stack.aclose())
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            watch.cancel()
            await stop


async def test_handlers_can_be_added_to_an_existing_server():
    handlers = Handlers()
    handlers.activity("order-paid")(returning(Response(b"ok")))
    server = grpc.aio.server()
    handlers.add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        answer = await ask_handler(f"127.0.0.1:{port}", handle_request())
    finally:
        await server.stop(0)
    assert answer.response.response_body == b"ok"


async def test_a_stop_lets_running_calls_finish_and_accepts_no_new_ones():
    running, finish = asyncio.Event(), asyncio.Event()
    handlers = Handlers()

    @handlers.activity("order-paid")
    async def handler(_call):
        running.set()
        await finish.wait()
        return Response(b"done")

    async with asyncio.TaskGroup() as tasks:
        async with handlers.listen("127.0.0.1:0") as listening:
            call = tasks.create_task(ask_handler(listening.address, handle_request()))
            await running.wait()
            stop = tasks.create_task(_refused_then(listening.address, finish.set))
        await stop
    assert call.result().response.response_body == b"done"


async def _refused_then(address, go_on):
    """Wait until no new connection has been accepted for a while."""
    refused = 0

    async def refused_often():
        nonlocal refused
        try:
            with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))):
                return False
        except OSError:
            refused += 1
            return refused == 5  # not only once: a stop that cancels does so a moment after it closes the port

    await wait_until(refused_often, what="the port to be closed")
    go_on()


async def test_a_call_that_outlasts_the_grace_is_cancelled(caplog):
    handlers, running = Handlers(), asyncio.Event()

    @handlers.activity("order-paid")
    async def handler(_call):
        running.set()
        await asyncio.Event().wait()

    async with handlers.listen("127.0.0.1:0", grace=0.1) as listening:
        call = asyncio.create_task(ask_handler(listening.address, handle_request()))
        await running.wait()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is Code.UNAVAILABLE
    await wait_until(lambda: "handler_cancelled" in caplog.text)


async def test_cancelling_serve_ends_it_and_releases_the_port(unused_port):
    handlers, address = Handlers(), f"127.0.0.1:{unused_port}"
    handlers.activity("order-paid")(returning(None))
    for _ in range(2):
        serving = asyncio.create_task(handlers.serve(address))

        async def answered():
            try:
                return await ask_handler(address, handle_request())
            except grpc.aio.AioRpcError:
                return None

        await wait_until(answered, what="an answer")
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving


PROGRAM = textwrap.dedent("""
    import asyncio, logging, sys
    from callback import Handlers, Response

    logging.basicConfig(level=logging.INFO)
    handlers = Handlers()

    @handlers.activity("order-paid")
    async def paid(call):
        if call.body == b"wait":
            print("running", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
        return Response(b"done")

    asyncio.run(handlers.serve("127.0.0.1:{port}"))
    print("served", flush=True)
""")


@contextlib.asynccontextmanager
async def program_with_a_running_call(port):
    """Run a program that serves, with a call that runs until a line is written to its input."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM.format(port=port), stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        call = asyncio.create_task(_ask_when_there(port))
        assert await program.stdout.readline() == b"running\n"
        yield program, call
    finally:
        if program.returncode is None:
            program.kill()
        await program.communicate()


async def _signal_a_stop(program, number):
    program.send_signal(number)
    while b"stopping" not in (line := await program.stderr.readline()):
        assert line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_server_after_the_running_call(unused_port, number):
    async with program_with_a_running_call(unused_port) as (program, call):
        await _signal_a_stop(program, number)
        output, _ = await asyncio.wait_for(program.communicate(b"\n"), DEADLINE_S)
        assert (await call).response.response_body == b"done"
        assert (program.returncode, output) == (0, b"served\n")


async def test_a_second_signal_stops_the_server_immediately(unused_port):
    async with program_with_a_running_call(unused_port) as (program, call):
        await _signal_a_stop(program, signal.SIGTERM)
        program.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(program.wait(), DEADLINE_S) == -signal.SIGTERM
        with pytest.raises(grpc.aio.AioRpcError):
            await call


async def _ask_when_there(port):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await channel.channel_ready()
        return await ask_handler(f"127.0.0.1:{port}", handle_request(request_body=b"wait"))


def run_program(address, *, before=""):
    program = f"import logging\nfrom callback import Handlers\n{before}\nHandlers().run({address!r})"
    return asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=PIPE, stderr=PIPE)


async def test_a_program_that_runs_handlers_logs_its_address(unused_port):
    program = await run_program(f"127.0.0.1:{unused_port}")
    assert (
        await program.stderr.readline()
        == f"handlers_listening address=127.0.0.1:{unused_port} activities=none\n".encode()
    )
    program.send_signal(signal.SIGINT)
    output, errors = await asyncio.wait_for(program.communicate(), DEADLINE_S)
    assert (program.returncode, output) == (0, b"")
    assert errors == b"stopping grace_s=10\n"


async def test_a_program_keeps_its_own_logging_configuration(unused_port):
    before = "logging.basicConfig(level=logging.INFO, format='own: %(message)s')"
    program = await run_program(f"127.0.0.1:{unused_port}", before=before)
    assert (
        await program.stderr.readline()
        == f"own: handlers_listening address=127.0.0.1:{unused_port} activities=none\n".encode()
    )
    program.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(program.communicate(), DEADLINE_S)
    assert errors == b"own: stopping grace_s=10\n"


async def test_a_program_that_cannot_listen_prints_the_reason_on_one_line():
    async with Handlers().listen("127.0.0.1:0") as listening:
        program = await run_program(listening.address)
        output, errors = await asyncio.wait_for(program.communicate(), DEADLINE_S)
    assert (program.returncode, output) == (1, b"")
    assert errors == f"cannot listen on {listening.address}: Address already in use\n".encode()
