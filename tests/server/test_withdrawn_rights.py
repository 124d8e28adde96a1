"""What a principal's entry takes away: no stream goes on with it, and no later request has it.

The table of `docs/operations.md`, *Rights that are withdrawn*, has a row for each of these.
"""

import contextlib
import datetime
from types import SimpleNamespace

import grpc
import pytest
import trustme
from prometheus_client import REGISTRY
from support.edge_calls import answers_of, response_of
from support.principals import by, principals_of
from support.services import refusal, response, running_services, services_at
from support.timers import make_reminder_due
from support.watching import Watch
from support.workers import raw_worker

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as rpc
from callback.v1 import edge_service_pb2 as edge_pb2
from callback_server.access import authenticator
from callback_server.access import principals as principals_file
from callback_server.calls import watch
from callback_server.domain.activity import Activity
from callback_server.handlers.workers import assignment
from callback_server.rpc import edge_service, worker_service

SECONDS = 2.0
"""After how long nothing of what was withdrawn is left."""
ENTRIES = {
    "shop": {"roles": {"owner"}},
    "admin": {"roles": {"admin"}},
    "edge": {"roles": {"edge"}},
    "answerer": {"roles": {"worker"}, "activities": {"act", "record"}, "answers": True},
    "work": {"roles": {"worker"}, "activities": {"act", "more"}},
    "other": {"roles": {"worker"}, "activities": {"act"}},
}
GONE = None
"""An entry that is removed."""


class Rights:
    """Services with these entries, which a test changes."""

    def __init__(self):
        self.known = principals_of(**ENTRIES)

    def change(self, name, entry):
        """Change one entry, or remove it."""
        entries = ENTRIES | ({} if entry is GONE else {name: ENTRIES[name] | entry})
        if entry is GONE:
            del entries[name]
        self.known = principals_of(**entries)


@pytest.fixture
async def rights(store_of, limits):
    limits(watch, HEARTBEAT_S=10_000, CHECK_S=0.05)
    limits(assignment, STEP_TIMEOUT_S=10_000)
    made = Rights()
    activities = {"act": Activity("act", 60_000)}
    async with running_services(store_of(), principals=lambda: made.known, activities=activities) as made.services:
        yield made


def test_a_change_of_the_file_and_the_check_after_it_take_two_seconds_at_most():
    for stream in (worker_service, edge_service, watch):
        assert 2 * principals_file.WATCH_INTERVAL_S + stream.CHECK_S <= SECONDS


WORKER_LOSES = {
    "activity": {"activities": {"more"}},
    "role": {"roles": {"owner"}},
    "entry": GONE,
    "revoked": {"revoked": True},
}


@pytest.mark.parametrize("change", WORKER_LOSES.values(), ids=WORKER_LOSES)
async def test_a_worker_gets_no_offer_of_what_it_lost_and_another_one_gets_the_call(rights, limits, change):
    limits(worker_service, CHECK_S=10_000)  # it is asked before each offer, too
    services = rights.services
    async with raw_worker(services.worker_stub, "act", "more", metadata=by("work")) as loser:
        made = await services.generate("act", metadata=by("shop"))
        rights.change("work", change)
        call = services.call(made, metadata=by("edge"))
        async with raw_worker(services.worker_stub, "act", metadata=by("other")) as worker:
            await worker.handle()
            await call
        assert loser.of("offer") == []


async def test_a_call_that_a_worker_did_not_accept_before_it_lost_the_activity_goes_to_another_one(rights, limits):
    limits(worker_service, CHECK_S=0.05)
    services = rights.services
    async with raw_worker(services.worker_stub, "act", metadata=by("work")) as loser:
        call = services.call(await services.generate("act", metadata=by("shop")), metadata=by("edge"))
        await loser.next("offer")
        rights.change("work", {"activities": {"more"}})
        await loser.over.wait()
        assert (loser.of("confirm"), len(loser.of("withdraw"))) == ([], 1)
        async with raw_worker(services.worker_stub, "act", metadata=by("other")) as worker:
            await worker.handle()
            await call


async def test_a_worker_gets_no_notification_of_an_activity_that_it_lost(store_of, limits):
    limits(worker_service, CHECK_S=10_000)
    rights = Rights()
    async with running_services(store_of(), principals=lambda: rights.known, sweeps=True) as services:

        async def remind():
            soon = {"notify": [pb.CALL_REASON_REMINDER], "remind_after": [{"seconds": 3600}]}
            made = await services.generate("act", metadata=by("shop"), time_to_live={"seconds": 7200}, **soon)
            await make_reminder_due(services.control_plane.client, made.callback_case_id)

        async with (
            raw_worker(services.worker_stub, metadata=by("work")) as loser,
            raw_worker(services.worker_stub, metadata=by("other")) as worker,
        ):
            await loser.hello("more", max_calls=9, notification_activities=["act"])
            await remind()
            await loser.handle()
            rights.change("work", {"activities": {"more"}})
            await worker.hello("act", notification_activities=["act"])
            await remind()
            await worker.handle()
            await loser.next("drain")
            assert len(loser.of("offer")) == 1


WATCHER_LOSES = {
    "owner's role": ("shop", {"roles": {"edge"}}, "ROLE_MISSING"),
    "owner's activities": ("shop", {"activities": {"more"}}, ""),
    "owner's entry": ("shop", GONE, "UNAUTHENTICATED"),
    "owner revoked": ("shop", {"revoked": True}, "UNAUTHENTICATED"),
    "administrator's role": ("admin", {"roles": {"owner"}}, ""),
    "administrator's entry": ("admin", GONE, "UNAUTHENTICATED"),
    "worker's answers": ("answerer", {"answers": False}, "ROLE_MISSING"),
    "worker's activity": ("answerer", {"activities": {"act"}}, ""),
}


@pytest.mark.parametrize("latest_only", [False, True], ids=["all", "latest"])
@pytest.mark.parametrize(("name", "change", "reason"), WATCHER_LOSES.values(), ids=WATCHER_LOSES)
async def test_a_watch_that_nothing_happens_for_ends_when_its_rights_change(rights, name, change, reason, latest_only):
    watching = await Watch(rights.services.callbacks, metadata=by(name), latest_only=latest_only).begin()
    rights.change(name, change)
    if reason:
        assert (await refusal(watching.read())).reason == reason
    else:
        with pytest.raises(EOFError):
            await watching.read()


async def test_a_watch_that_pauses_after_its_latest_event_ends_when_its_rights_change(rights, limits):
    limits(watch, LATEST_PAUSE_S=10_000, MAX_LATEST_PAUSE_S=10_000)
    watching = await Watch(rights.services.callbacks, metadata=by("admin"), latest_only=True).begin()
    await rights.services.generate(metadata=by("shop"))
    await watching.events(1)
    rights.change("admin", {"roles": {"owner"}})
    with pytest.raises(EOFError):
        await watching.read()


async def test_an_edge_gets_the_results_of_its_calls_by_its_open_stream_and_nothing_more(rights):
    def refused():
        labels = {"method": "StreamInvocations", "reason": "ROLE_MISSING", "limit": ""}
        return REGISTRY.get_sample_value("callback_refused_total", labels) or 0

    services = rights.services
    held, made = [await services.generate(activity, metadata=by("shop")) for activity in ("form", "record")]
    stream = services.edge.StreamInvocations(metadata=by("edge"))
    await stream.read()

    async def send(*asked, first):
        invocations = [edge_pb2.Invocation(number=number, **each) for number, each in enumerate(asked, first)]
        await stream.write(edge_pb2.StreamInvocationsRequest(invocations=invocations))

    await send({"request": {"state": held.callback_state, "request_method": "post"}}, first=1)
    (call,) = await services.running(metadata=by("shop"))
    rights.change("edge", {"roles": {"owner"}})
    request = {"state": made.callback_state, "request_method": "post"}
    wait = {"call_id": call.call_id, "token": "0" * 64}
    before = refused()
    await send({"request": request}, {"request": request, "look_up": True}, {"wait": wait}, first=2)
    message = await stream.read()
    assert message.readiness == edge_pb2.READINESS_NOT_READY
    codes = [each.status.code for each in message.results]
    assert codes == [grpc.StatusCode.PERMISSION_DENIED.value[0]] * 3
    assert refused() == before + 3
    await stream.done_writing()
    await services.answer(call.call_id, response=response(response_body=b"as asked"), metadata=by("shop"))
    (answer,) = [answer async for answer in answers_of(stream)]
    assert response_of(answer).response.response_body == b"as asked"
    assert (await refusal(services.edge.StreamInvocations(metadata=by("edge")).read())).reason == "ROLE_MISSING"
    assert (await services.case_of(made, metadata=by("shop"))).call_count == 0


async def test_a_request_that_is_not_a_stream_has_the_rights_of_its_moment(rights):
    callbacks = rights.services.callbacks
    request = rpc.ListCallbacksRequest()
    await callbacks.ListCallbacks(request, metadata=by("shop"))
    rights.change("shop", {"roles": {"edge"}})
    assert (await refusal(callbacks.ListCallbacks(request, metadata=by("shop")))).reason == "ROLE_MISSING"


class Certified:
    """Services whose clients have certificates, which expire when a test says so."""

    def __init__(self, directory):
        self.directory = directory
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(directory / "ca.pem")
        own = self.authority.issue_cert("127.0.0.1")
        own.private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
        self.expiry = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(days=1)
        self.now = self.expiry.timestamp() - 0.001
        self.settings = {
            "tls_cert_file": directory / "server.pem", "tls_key_file": directory / "server.pem",
            "tls_client_ca_file": directory / "ca.pem",
        }  # fmt: skip

    @contextlib.asynccontextmanager
    async def client(self, name, address):
        """Yield `Services` over a connection with the certificate of a principal."""
        own = self.authority.issue_cert(f"{name}.example", not_after=self.expiry)
        pems = own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes()
        credentials = grpc.ssl_channel_credentials(self.authority.cert_pem.bytes(), *pems)
        async with services_at(address, credentials=credentials) as services:
            yield services

    def expire(self):
        """Let the certificates of all clients expire."""
        self.now = self.expiry.timestamp()


@pytest.fixture
async def certified(store_of, tmp_path, limits, monkeypatch):
    limits(watch, HEARTBEAT_S=10_000, CHECK_S=0.05)
    limits(worker_service, CHECK_S=0.05)
    made = Certified(tmp_path)
    monkeypatch.setattr(authenticator, "time", SimpleNamespace(time=lambda: made.now))
    known = principals_of(**{name: entry | {"certificates": (f"{name}.example",)} for name, entry in ENTRIES.items()})
    async with contextlib.AsyncExitStack() as stack:
        running = running_services(
            store_of(), principals=lambda: known, activities={"act": Activity("act", 60_000)}, **made.settings
        )
        services = await stack.enter_async_context(running)
        for name in ENTRIES:
            setattr(made, name, await stack.enter_async_context(made.client(name, services.address)))
        yield made


@pytest.mark.parametrize("latest_only", [False, True], ids=["all", "latest"])
@pytest.mark.parametrize("name", ["shop", "admin", "answerer"])
async def test_a_watch_ends_when_the_certificate_of_its_open_connection_expires(certified, name, latest_only):
    callbacks = getattr(certified, name).callbacks
    watching = await Watch(callbacks, latest_only=latest_only).begin()
    certified.expire()
    assert (await refusal(watching.read())).reason == "UNAUTHENTICATED"
    assert (await refusal(Watch(callbacks).read())).reason == "UNAUTHENTICATED"


async def test_a_worker_whose_certificate_expires_is_offered_no_more_and_ends_what_it_has(certified):
    first, second = [await certified.shop.generate("act") for _ in range(2)]
    async with raw_worker(certified.work.worker_stub, "act", max_calls=2) as worker:
        answer = certified.edge.call(first)
        call = await worker.begin()
        certified.expire()
        await worker.next("drain")
        # A token decides alone, whatever certificate comes with it.
        async with raw_worker(certified.other.worker_stub, "act", metadata=by("other")) as other:
            to_other = certified.edge.call(second, metadata=by("edge"))
            await other.handle()
            await to_other
        await worker.result(call)
        await answer
        assert len(worker.of("offer")) == 1


async def test_an_edge_whose_certificate_expires_gets_the_results_of_its_calls_and_makes_no_more(certified):
    made = await certified.shop.generate("act")
    async with raw_worker(certified.work.worker_stub, "act") as worker:
        answer = certified.edge.call(made)
        call = await worker.begin()
        certified.expire()
        assert (await refusal(certified.edge.call(made))).reason == "UNAUTHENTICATED"
        await worker.result(call)
        await answer


async def test_no_request_passes_by_an_open_connection_whose_certificate_has_expired(certified):
    requests = [getattr(certified, name).callbacks.ListCallbacks for name in ("shop", "admin")]
    for request in requests:
        await request(rpc.ListCallbacksRequest())
    certified.expire()
    for request in requests:
        assert (await refusal(request(rpc.ListCallbacksRequest()))).reason == "UNAUTHENTICATED"
