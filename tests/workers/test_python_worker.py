"""`callback.Worker`: a worker that connects to a server, loses it, changes servers and stops."""

import asyncio
import contextlib
import logging
import signal
import sys
import textwrap
from asyncio.subprocess import PIPE

import grpc
import pytest
import trustme
from support.calls import Called
from support.names import changing_names
from support.principals import principals_of, token_entry
from support.services import refusal, running_services
from support.store import free_port
from support.wait import DEADLINE_S, wait_until
from support.workers import connected, handlers_of, worker_service

from callback import Handlers, PermissionDeniedError, Response, Tls, UnauthenticatedError, Worker
from callback.v1 import callback_pb2 as pb
from callback.v1 import worker_service_pb2 as pb_worker
from callback.v1.worker_service_pb2_grpc import WorkerServiceServicer
from callback.worker import _worker as module
from callback_prove.tunnel import Tunnel
from callback_server.domain.activity import Activity
from callback_server.handlers.push import PushHandler
from callback_server.settings import ActivitySettings

ACTIVITIES = {"act": Activity("act", 60_000), "soon": Activity("soon", 5_000)}


class Work:
    """A handler for tests: it records its calls, and waits until it may continue."""

    def __init__(self):
        self.begun = []
        self.cancelled = []
        self.may_end = asyncio.Event()

    async def __call__(self, call):
        self.begun.append(call)
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled.append(call)
            raise
        return Response(b"done", code=201)

    async def has_begun(self):
        """Wait until a call has begun."""
        await wait_until(lambda: self.begun, what="a call that has begun")


@pytest.fixture
def work():
    return Work()


def worker(handler, target, *activities, **options):
    """Return a worker of these activities, or of `act`, with one handler."""
    return Worker(handlers_of(**dict.fromkeys(activities or ("act",), handler)), target, **options)


async def test_a_handler_gets_the_call_of_its_case_and_its_answer_is_the_caller_s(services, work):
    work.may_end.set()
    async with connected(worker(work, services.address)):
        called = await Called.make(services, "act", callback_activity_case="5", labels={"order": "5"})
        assert await called.code() == 201
    [call] = work.begun
    assert (call.case_id, call.activity, call.activity_case) == (called.case_id, "act", "5")
    assert (call.labels, call.attempt, call.replayed, call.method) == ({"order": "5"}, 1, False, "post")


async def test_the_exception_of_a_handler_is_logged_and_not_sent_and_its_worker_is_named(services, caplog):
    async def broken(_call):
        raise RuntimeError("hunter2")

    async with connected(worker(broken, services.address, name="orders-7")):
        called = await Called.make(services, "act")
        assert (await refusal(called.answer)).reason == "HANDLER_FAILED"
    call = await called.recorded()
    assert call.failure_detail == "the handler failed (worker orders-7)"
    assert "hunter2" in caplog.text
    assert call.call_id in caplog.text


async def test_the_class_and_message_of_an_exception_are_on_the_call_where_the_operator_records_them(store_of, caplog):
    caplog.set_level("CRITICAL", logger="callback.handlers")  # pytest cannot pass on a log that is no Unicode

    async def broken(_call):
        raise ValueError("no order " + "7\udcff" * 300)

    async with running_services(store_of(), activities=ACTIVITIES, record_handler_errors=True) as services:
        async with connected(worker(broken, services.address, name="orders-7")):
            called = await Called.make(services, "act")
            assert (await refusal(called.answer)).reason == "HANDLER_FAILED"
        detail = (await called.recorded()).failure_detail
    assert detail.startswith(r"ValueError: no order 7\udcff7")
    assert detail.endswith(" (worker orders-7)")


async def test_a_handler_that_ignores_its_cancellation_keeps_its_slot_and_has_no_effect(services):
    may_end, results = asyncio.Event(), []

    async def stubborn(call):
        while not may_end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await may_end.wait()
        results.append(call)
        return Response(b"late")

    async with connected(worker(stubborn, services.address, "act", "soon", max_calls=1)):
        late = await Called.make(services, "soon")
        assert (await refusal(late.answer)).reason == "HANDLER_DEADLINE_EXCEEDED"
        next_one = await Called.make(services, "act")
        await wait_until(lambda: services.control_plane.workers.waiting, what="a call that waits for a slot")
        assert results == []
        may_end.set()
        assert (await next_one.answer).response.response_body == b"late"
    assert (await late.recorded()).failure == pb.CALL_FAILURE_DEADLINE_EXCEEDED
    assert (await late.case()).close_reason == pb.CLOSE_REASON_FAILED


async def test_the_worker_leaves_a_draining_server_for_another_and_answers_confirmed_calls(store_of, work):
    store = store_of()
    async with (
        running_services(store, activities=ACTIVITIES) as one,
        running_services(store, activities=ACTIVITIES) as two,
        connected(worker(work, "ipv4:" + ",".join(each.address for each in (one, two)))),
    ):
        at, other = (one, two) if one.control_plane.workers.workers else (two, one)
        called = await Called.make(at, "act")
        await work.has_begun()
        at.control_plane.workers.drain()
        await wait_until(lambda: other.control_plane.workers.workers, what="the worker at the other server")
        work.may_end.set()
        assert await called.code() == 201
        assert await (await Called.make(other, "act")).code() == 201


async def test_calls_that_do_not_end_within_the_grace_are_cancelled(services, work):
    async with connected(worker(work, services.address, grace=0.1)):
        called = await Called.make(services, "act")
        await work.has_begun()
    assert work.cancelled
    assert (await refusal(called.answer)).reason == "HANDLER_LOST"


PROGRAM = """
    import signal, threading
    from callback import Handlers, Response, Worker

    handlers = Handlers()

    @handlers.activity("act")
    def act(call):
        print("begun", flush=True)
        signal.pthread_kill(threading.get_ident(), {number})
        input()
        return Response(b"done", code=201)

    Worker(handlers, "{target}").run()
"""
"""A program that gets a signal in the thread of its handler, as the kernel may decide, and waits for a line then."""


def started(target, number=0):
    """Start the program. Return an awaitable of it."""
    code = textwrap.dedent(PROGRAM.format(target=target, number=int(number)))
    return asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=PIPE, stdout=PIPE, stderr=PIPE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_program_exits_at_a_signal_after_its_results(services, number):
    program = await started(services.address, number)
    try:
        called = await Called.make(services, "act")
        assert await asyncio.wait_for(program.stdout.readline(), DEADLINE_S) == b"begun\n"
        workers = services.control_plane.workers.workers
        await wait_until(lambda: all(each.draining for each in workers), what="a worker that drains")
        program.stdin.write(b"\n")
        assert await called.code() == 201
        output, log = await asyncio.wait_for(program.communicate(), DEADLINE_S)
        assert (program.returncode, output) == (0, b"")
        assert [line.partition(b" ")[0] for line in log.splitlines()] == [b"worker_connected", b"stopping"]
    finally:
        if program.returncode is None:
            program.kill()


async def test_a_program_that_cannot_start_prints_the_reason_in_one_line(secured):
    program = await started(secured.address)
    _, errors = await asyncio.wait_for(program.communicate(), DEADLINE_S)
    assert program.returncode == 1
    assert errors.count(b"\n") == 1
    assert errors.startswith(b"UNAUTHENTICATED: ")


async def test_streams_that_end_while_hello_is_sent_are_not_logged(work, caplog, limits):
    limits(module, FIRST_PAUSE_S=0.01)
    unexplained = [grpc.StatusCode.INTERNAL] * 4  # the status that gRPC reports then
    async with worker_service(Refusing(*unexplained, grpc.StatusCode.UNAUTHENTICATED)) as server:
        with pytest.raises(UnauthenticatedError):
            await worker(work, server.address).serve()
    assert server.came == 5
    assert caplog.messages == []


async def test_many_ends_without_a_reason_in_a_row_are_logged(work, caplog, limits):
    limits(module, FIRST_PAUSE_S=0.01)
    async with worker_service(Refusing(grpc.StatusCode.INTERNAL)) as server:
        serving = asyncio.create_task(worker(work, server.address).serve())
        await wait_until(lambda: caplog.messages, what="a line of the log")
        assert server.came >= 5
        serving.cancel()
        await asyncio.wait((serving,))
    assert {each.partition(": 127")[0] for each in caplog.messages} == {"worker_disconnected error=INTERNAL"}


async def test_the_worker_logs_its_unroutable_activities_and_gets_calls_of_the_others(store_of, work, caplog):
    caplog.set_level(logging.INFO, "callback.worker")
    work.may_end.set()
    settings = ActivitySettings(target=f"127.0.0.1:{free_port()}")
    async with (
        PushHandler("pushed", settings) as pushed,
        running_services(store_of(), handlers={"pushed": pushed}, activities=ACTIVITIES) as up,
        connected(worker(work, up.address, "act", "pushed", "record", "form")),
    ):
        assert await (await Called.make(up, "act")).code() == 201
    notices = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert [each.removeprefix("server_notice notice=") for each in notices] == [
        "no call of form goes to a worker: the activity is built in; choose another name for yours",
        "no call of pushed goes to a worker: the configuration of this server has a target for it; remove the target "
        "from [activities.pushed], or run no worker for it",
        "no call of record goes to a worker: the activity is built in; choose another name for yours",
    ]
    assert f"worker_connected target={up.address} activities=act" in caplog.messages


async def test_a_worker_whose_activity_is_pushed_here_gets_the_calls_of_a_server_where_it_is_not(store_of, work):
    work.may_end.set()
    store, settings = store_of(), ActivitySettings(target=f"127.0.0.1:{free_port()}")
    async with (
        PushHandler("act", settings) as pushed,
        running_services(store, handlers={"act": pushed}, activities=ACTIVITIES) as old,
        running_services(store, activities=ACTIVITIES) as new,
        connected(worker(work, old.address)),
    ):
        assert await (await Called.make(new, "act")).code() == 201


def principals(**tokens):
    """Return principals that may serve `act`, by name and token."""
    return principals_of(
        **{
            name: {
                "roles": {name.partition("_")[0]},
                "activities": {"act"} if name.startswith("worker") else (),
                "tokens": (token_entry(token),),
            }
            for name, token in tokens.items()
        }
    )


@pytest.fixture
async def secured(store_of):
    """Run services that require a token; `who` has the principals that are allowed."""
    who = {"now": principals(worker="let-me-in", edge="edge", owner="owner")}
    async with running_services(store_of(), activities=ACTIVITIES, principals=lambda: who["now"]) as up:
        up.who = who
        yield up


@pytest.mark.parametrize(
    ("activity", "proof", "error"),
    [
        ("act", {}, UnauthenticatedError),
        ("act", {"token": "wrong"}, UnauthenticatedError),
        ("act", {"token": "owner"}, PermissionDeniedError),
        ("refund", {"token": "let-me-in"}, PermissionDeniedError),
    ],
)
async def test_a_worker_whose_first_connection_is_refused_raises_the_error(secured, work, activity, proof, error):
    refused = worker(work, secured.address, activity, **proof)
    with pytest.raises(error) as caught:
        await refused.serve()
    with pytest.raises(error):
        async with connected(refused):
            pytest.fail("it works")
    if activity == "refund":
        assert caught.value.facts == {"activity": "refund"}
        assert "refund" in str(caught.value)


async def test_a_function_may_give_no_token_for_a_while_but_not_at_first(secured, work, caplog):
    tokens = ["let-me-in", "", "let-me-in"]
    async with connected(worker(work, secured.address, token=lambda: tokens.pop(0))):
        secured.control_plane.workers.drain()
        secured.control_plane.workers.draining = False  # as if it were another server
        await wait_until(lambda: not tokens and secured.control_plane.workers.workers, what="the worker")
    assert "token_unusable error=the token is empty" in caplog.text
    assert "let-me-in" not in caplog.text
    with pytest.raises(ValueError, match="the token is empty"):
        await worker(work, secured.address, token=lambda: "").serve()


@pytest.mark.parametrize(("target", "warns"), [("127.0.0.1:1", False), ("callback.example:1", True)])
def test_a_token_that_would_leave_the_machine_in_plain_text_causes_a_warning(work, target, warns, caplog):
    worker(work, target, token="let-me-in")
    assert ("in_plain_text" in caplog.text) is warns
    assert "let-me-in" not in caplog.text


async def test_a_worker_can_start_before_its_server(services, work, caplog):
    port = free_port()
    working = asyncio.create_task(worker(work, f"127.0.0.1:{port}").serve())
    await wait_until(lambda: "cannot reach" in caplog.text, what="a try")
    work.may_end.set()
    async with Tunnel(services.address, port=port):
        assert await (await Called.make(services, "act")).code() == 201
        working.cancel()
        await asyncio.wait((working,))


class Refusing(WorkerServiceServicer):
    """A server that ends each stream with the next of these codes, and repeats the last one."""

    def __init__(self, *codes):
        self._codes = codes
        self.came = 0

    async def Work(self, request_iterator, context):
        self.came += 1
        async for _hello in request_iterator:  # so that the worker gets the status
            await context.abort(self._codes[min(self.came, len(self._codes)) - 1])
        yield pb_worker.WorkResponse()


class Welcoming(WorkerServiceServicer):
    """A server that sends a Welcome and then nothing. `came` has the credentials of the workers."""

    def __init__(self):
        self.came = []

    async def Work(self, request_iterator, context):
        self.came.append((context.auth_context(), dict(context.invocation_metadata()).get("authorization")))
        yield pb_worker.WorkResponse(messages=[pb_worker.ServerMessage(welcome=pb_worker.Welcome())])
        await asyncio.Event().wait()


async def test_over_tls_the_worker_trusts_the_given_authority_and_shows_its_certificate(work, tmp_path, caplog):
    authority, other = trustme.CA(), trustme.CA()
    ours, theirs = authority.issue_cert("worker.example"), authority.issue_cert("127.0.0.1")
    for name, pem in (
        ("ca", authority.cert_pem), ("other", other.cert_pem),
        ("cert", ours.cert_chain_pems[0]), ("key", ours.private_key_pem),
    ):  # fmt: skip
        pem.write_to_path(tmp_path / name)
    credentials = grpc.ssl_server_credentials(
        [(theirs.private_key_pem.bytes(), theirs.cert_chain_pems[0].bytes())],
        authority.cert_pem.bytes(),
        require_client_auth=True,
    )
    shown = {"cert_file": tmp_path / "cert", "key_file": tmp_path / "key"}
    async with worker_service(Welcoming(), credentials) as server:
        tls = Tls(ca_file=tmp_path / "ca", **shown)
        # This server ends no stream, so the worker would wait for its whole grace.
        async with connected(worker(work, server.address, tls=tls, token="let-me-in", grace=0)):
            [(certificate, token)] = server.came
            assert b"worker.example" in certificate["x509_subject_alternative_name"]
            assert token == "Bearer let-me-in"
            new = authority.issue_cert("new.example")
            new.cert_chain_pems[0].write_to_path(tmp_path / "cert")
            new.private_key_pem.write_to_path(tmp_path / "key")
            await wait_until(lambda: len(server.came) > 1, what="a stream with the new certificate")
            assert b"new.example" in server.came[-1][0]["x509_subject_alternative_name"]
        came = len(server.came)
        strict = worker(work, server.address, tls=Tls(ca_file=tmp_path / "other", **shown))
        working = asyncio.create_task(strict.serve())
        await wait_until(lambda: "cannot reach" in caplog.text, what="a server that is not trusted")
        working.cancel()
        await asyncio.wait((working,))
        assert len(server.came) == came


@pytest.mark.parametrize("target", ["one.test:{},two.test:{}", "one.test:{}"])
async def test_a_worker_moves_to_the_new_addresses_of_its_names(work, limits, target):
    limits(module, LOOK_AT_FILES_S=0.05)
    names, port = changing_names(limits, **{"one.test": ["127.0.0.2"], "two.test": ["127.0.0.2"]}), free_port()
    async with (
        worker_service(Welcoming(), here=f"127.0.0.2:{port}") as first,
        worker_service(Welcoming(), here=f"127.0.0.3:{port}") as second,
        connected(worker(work, target.format(port, port), grace=0)),
    ):
        assert (len(first.came), len(second.came)) == (1, 0)
        names |= {"one.test": ["127.0.0.3"], "two.test": ["127.0.0.3"]}
        await wait_until(lambda: second.came, what="a stream to the new address")


@pytest.mark.parametrize("max_calls", [0, -1, 1001])
def test_a_worker_takes_1_to_1000_calls(work, max_calls):
    with pytest.raises(ValueError, match="max_calls"):
        worker(work, "127.0.0.1:1", max_calls=max_calls)


async def test_a_worker_without_handlers_cannot_serve():
    with pytest.raises(ValueError, match="at least one handler"):
        await Worker(Handlers()).serve()


async def test_a_block_begins_and_ends_while_the_server_is_away(work):
    away = worker(work, f"127.0.0.1:{free_port()}")
    with pytest.raises(RuntimeError, match="the worker does not run"):
        await away.connected()
    async with asyncio.timeout(DEADLINE_S), away.working():
        assert not away.is_connected
        waiting = asyncio.create_task(away.connected())
    with pytest.raises(RuntimeError, match="was never connected"):
        await waiting


async def test_a_worker_does_not_run_a_second_time_while_it_runs(work):
    mine = worker(work, f"127.0.0.1:{free_port()}")
    async with asyncio.timeout(DEADLINE_S):
        async with mine.working():
            with pytest.raises(RuntimeError, match="runs already: stop it first"):
                await mine.serve()
        async with mine.working():
            assert not mine.is_connected


async def test_a_worker_says_whether_it_is_connected(store_of, work):
    async with running_services(store_of()) as services:
        mine = worker(work, services.address)
        async with connected(mine):
            assert mine.is_connected
            services.control_plane.workers.drain()
            await wait_until(lambda: not mine.is_connected, what="the worker to leave the server")


async def test_a_refused_worker_is_logged_at_once_and_its_block_ends_with_the_error(secured, work, caplog):
    refused = worker(work, secured.address, token="wrong")
    block = refused.working()
    await block.__aenter__()
    await wait_until(lambda: "worker_ended" in caplog.text, what="the refusal")
    for ended in (refused.connected(), block.__aexit__(None, None, None)):
        with pytest.raises(UnauthenticatedError):
            await ended
