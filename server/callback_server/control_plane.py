"""The control plane: create, connect, start and stop the parts of one process.

`main.py` and every test use it::

    async with ControlPlane(settings) as control_plane:
        await stop_requested.wait()
        await control_plane.stop()

Start order: the store (reachable and durable), the connections to push handlers, the port, the messages between
replicas, the gRPC server, readiness, background work. Readiness comes after the server, because an edge connects as
soon as the server is ready.

Stop order (`stop`): readiness for edges ends; after `drain_s` readiness for all clients ends, new work is refused, the
callers of held calls are told to wait elsewhere, calls and deliveries end within `grace_s`, other replicas are
notified. Shortly before the grace ends, the calls that no handler has yet are ended as NOT_STARTED. `async with` then
cancels what still runs, and sends what is left of the traces. A call that is cancelled keeps its lease, and the sweeper
of another process ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self, get_args

import grpc

from callback_process.credentials import CredentialsError
from callback_process.effective import mask_url
from callback_process.entry_point import StartError
from callback_process.settings import SettingsError
from callback_process.tasks import TaskSet
from callback_server import metrics
from callback_server.access.audit_log import AuditLog
from callback_server.access.authenticator import Authenticator
from callback_server.access.issuers import Issuers
from callback_server.access.principals import Principals, PrincipalsFile
from callback_server.calls.attempts import HandlerAttempts
from callback_server.calls.call_statistics import StatisticsRecorder
from callback_server.calls.claims import UNSENT_S, Claims
from callback_server.calls.deliveries import Deliveries
from callback_server.calls.held import HeldCalls
from callback_server.calls.invoke import CallInvoker
from callback_server.calls.marks import CallerMarks
from callback_server.calls.preconditions import PreconditionChecker
from callback_server.calls.recorded_bytes import RecordedBytes
from callback_server.calls.repeats import Repeats
from callback_server.calls.sweeper import Sweeper
from callback_server.calls.transition_log import log_report
from callback_server.calls.waiting import WaitTokens
from callback_server.calls.watch import WatchHub
from callback_server.domain.activity import Leases
from callback_server.domain.audit import AuditKey
from callback_server.domain.rendering import ResponseRenderer
from callback_server.domain.reports import AwaitedCallEnded, LoggedReport
from callback_server.handlers.dispatch import HandlerDispatcher
from callback_server.handlers.handler import Handler
from callback_server.handlers.http.handler import HttpHandler
from callback_server.handlers.push import PushHandler
from callback_server.handlers.served import ServedActivities
from callback_server.handlers.workers.pool import WorkerPool
from callback_server.limits.body_bytes import BodyBytes
from callback_server.limits.call_slots import CallSlots
from callback_server.limits.open_cases import OpenCaseQuota
from callback_server.limits.owner_rate import OwnerRateLimit
from callback_server.limits.quotas import Quotas
from callback_server.operations.self_check import SelfCheck
from callback_server.profiles.changes import ProfileChanges
from callback_server.profiles.check import ProfileChecks
from callback_server.profiles.own_profiles import OwnProfiles, VerificationProfiles
from callback_server.rpc.audit_service import AuditServicer
from callback_server.rpc.callbacks_service import CallbacksServicer
from callback_server.rpc.edge_service import EdgeServicer
from callback_server.rpc.health import Health
from callback_server.rpc.new_case import Policy
from callback_server.rpc.operations_service import OperationsServicer
from callback_server.rpc.paging import ListQueue
from callback_server.rpc.profiles_service import ProfilesServicer
from callback_server.rpc.server import make_server
from callback_server.rpc.tls import server_credentials
from callback_server.rpc.url_generator import UrlGenerator
from callback_server.rpc.worker_service import WorkerServicer
from callback_server.sealing.keyring import KeyringFile
from callback_server.settings import ActivitySettings, ServerSettings
from callback_server.store.connection.client import connect
from callback_server.store.connection.errors import StoreError
from callback_server.store.connection.resend import resend
from callback_server.store.correlation import CorrelationNames
from callback_server.store.epochs.exchange import EpochExchange
from callback_server.store.epochs.fence import EpochFence
from callback_server.store.epochs.keeper import EpochKeeper
from callback_server.store.health import StoreProbe, wait_for_store
from callback_server.store.queries.count_open_cases import count_open_cases
from callback_server.store.queries.read_owners import read_owners
from callback_server.store.replica_bus import ReplicaBus
from callback_server.store.safety import Fsync, UnsafeStoreError
from callback_server.store.scripts import Scripts
from callback_server.verification.fetcher import Fetcher
from callback_server.verification.profiles import Profile, Profiles

if TYPE_CHECKING:
    from callback_server.tracing import Tracing

FLUSH_S: Final = 5.0
"""The longest time in which a stop sends what is left of the traces, in seconds, within the grace."""
MIN_FLUSH_S: Final = 0.5
"""The same after a grace that is used up: before the forced end of the process."""
RECORD_S: Final = 1.0
"""How long before the end of the grace the calls that no handler has are ended, in seconds: time to record and answer
them. Half of a grace that is shorter than twice this."""
MIN_GRACE_S: Final = 0.6
"""The least grace, in seconds. With less of it, the calls that no handler has could not be recorded and answered. The
process ends later than a shorter `grace_s` by less than its `STOP_SLACK_S`."""


class StopRequestedError(Exception):
    """A stop was requested before the store was ready, so the start was abandoned."""


class ControlPlane:
    """All parts of a server process, from `async with` to its end."""

    def __init__(
        self,
        settings: ServerSettings,
        *,
        stop_requested: asyncio.Event | None = None,
        handlers: Mapping[str, Handler] | None = None,
        principals: Callable[[], Principals] | None = None,
        profiles: Mapping[str, Profile] | None = None,
        sweeps: bool = True,
    ) -> None:
        """Create and connect the parts. Read files, but start nothing.

        Args:
            settings: The settings of the process.
            stop_requested: Set when the process must stop; ends a start that still waits for the store.
            handlers: Handlers in this process, by activity, besides the push handlers of the settings.
            principals: Returns the known principals, in place of those in `principals_file`.
            profiles: Verification profiles, in place of those in the settings.
            sweeps: Whether this process applies timeouts and retention by itself. The probe of the store is a sweep
                too; without it the store counts as up.

        Raises:
            StartError: A file that the settings name cannot be used.
        """
        files = _read_files(settings)
        self._tracing = tracing = _load_tracing()(settings.activities) if settings.tracing else None
        self._flush_s = FLUSH_S
        activities = settings.to_activities()
        cookie_domains = settings.to_cookie_domains()
        recording = settings.to_recording()
        leases = Leases(activities)
        durability = settings.to_durability()
        self._settings = settings
        self._stop_requested = stop_requested or asyncio.Event()
        self._sweeps = sweeps
        self._principals_file = files.principals
        self._keyring_file = keyring_file = files.keyring
        keyring = lambda: None if keyring_file is None else keyring_file.keyring  # noqa: E731  # for two components
        self._profiles_files = files.profiles if profiles is None else None
        self._issuers = files.issuers
        self._push_handlers = files.push_handlers
        self._credentials = files.credentials
        self._tasks = TaskSet()
        profiles = files.profiles if profiles is None else profiles
        handlers = {**files.push_handlers, **(handlers or {})}
        if principals is None and (file := files.principals) is not None:
            principals = lambda: file.current  # noqa: E731  # a parameter with a default

        self.client = connect(files.store_url)
        self._epoch_keeper = files.epoch_keeper
        self.epochs = epochs = self._epoch_keeper.epochs
        self._epoch_exchange = EpochExchange(epochs, files.state_key)
        self.scripts = Scripts(
            self.client,
            replicas=durability.replicas,
            fence=EpochFence(epochs, replicas=durability.replicas, never_loses=durability.fsync is Fsync.ALWAYS),
        )
        for kind in get_args(LoggedReport):
            self.scripts.receive(kind, log_report)
        self._bus_client = connect(files.store_url)
        self.replica_bus = ReplicaBus(self.scripts, self._bus_client)
        quotas = Quotas(settings.to_quota(), None if principals is None else lambda owner: principals().quota(owner))
        self.workers = WorkerPool(
            self.scripts,
            self.replica_bus,
            quotas,
            checks_workers=settings.check_workers,
            records_errors=settings.record_handler_errors,
        )
        renderer = ResponseRenderer(
            platform_url=settings.platform_url,
            cookie_domains=cookie_domains,
            redirect_schemes=settings.redirect_schemes,
        )
        self.dispatcher = HandlerDispatcher(
            handlers=handlers,
            workers=self.workers,
            activities=activities,
            renderer=renderer,
            around=None if tracing is None else tracing.around_attempt,
        )
        calls = CallSlots("max_in_flight_calls", settings.max_in_flight_calls, quotas)
        turn_waits = CallSlots("max_in_flight_calls", math.ceil(settings.max_in_flight_calls / 4), quotas)
        held_calls = CallSlots("max_in_flight_held_calls", settings.max_in_flight_held_calls, quotas)
        waits = CallSlots("max_in_flight_waits", settings.max_in_flight_waits, quotas)
        self._state_key = files.state_key
        self._wait_tokens = WaitTokens()
        endpoints = settings.to_endpoints()
        self._correlation_names = CorrelationNames()
        marks = CallerMarks(self.scripts, recording, self._wait_tokens)
        self.repeats = Repeats(
            self.scripts,
            self.replica_bus,
            renderer=renderer,
            marks=marks,
            waits=waits,
            patience_s=leases.longest_ms / 1000,
        )
        self.scripts.receive(AwaitedCallEnded, self.repeats.send_end)
        audit_key = AuditKey(files.state_key, files.other_state_key)
        self.audit = AuditLog(self.scripts, audit_key, retention_ms=settings.audit_retention_s * 1000)
        self.held = HeldCalls(self.scripts, self.replica_bus, renderer, recording, self.audit)
        attempts = HandlerAttempts(
            self.scripts, dispatcher=self.dispatcher, renderer=renderer, activities=activities, recording=recording
        )
        make_deliveries = functools.partial(
            Deliveries,
            self.scripts,
            attempts,
            leases=leases,
            recording=recording,
            max_in_flight=settings.max_in_flight_deliveries,
        )
        self.deliveries = make_deliveries(notifications=False, max_per_second=settings.max_deliveries_per_second)
        self.notifications = make_deliveries(notifications=True, max_per_second=settings.max_notifications_per_second)
        owner_rate = OwnerRateLimit(quotas)
        body_bytes = BodyBytes(settings.max_body_bytes_in_flight, settings.max_body_bytes_in_flight_per_owner)
        self.recorded_bytes = recorded_bytes = RecordedBytes(self.scripts, settings.max_recorded_bytes, quotas)
        own_profiles = OwnProfiles(self.scripts, keyring)
        claims = Claims(
            self.scripts,
            preconditions=PreconditionChecker(VerificationProfiles(profiles, own_profiles), box_url=settings.box_url),
            leases=leases,
            recording=recording,
            platform_url=settings.platform_url,
            owner_rate=owner_rate,
            calls=calls,
            held_calls=held_calls,
            body_bytes=body_bytes,
            recorded_bytes=recorded_bytes,
            max_per_minute_per_case=settings.max_calls_per_minute_per_case,
            replica=self.replica_bus.replica,
            can_deliver=self.deliveries.has_capacity,
            endpoints=endpoints,
            correlation_names=self._correlation_names,
            http_activities=[name for name, activity in settings.activities.items() if activity.http is not None],
        )
        self.invoker = CallInvoker(
            claims=claims,
            dispatcher=self.dispatcher,
            renderer=renderer,
            held=self.held,
            repeats=self.repeats,
            attempts=attempts,
            deliveries=self.deliveries,
            marks=marks,
            owner_rate=owner_rate,
            calls=calls,
            held_calls=held_calls,
            turn_waits=turn_waits,
            waits=waits,
            body_bytes=body_bytes,
            around=None if tracing is None else tracing.around_call,
            on_claim=None if tracing is None else tracing.call_claimed,
        )
        self.watch_hub = WatchHub(self.scripts)
        self.sweeper = Sweeper(
            self.scripts,
            recording,
            retention_ms=settings.retention_s * 1000,
            deliveries_due=self.deliveries.wake_due,
            notifications_due=self.notifications.wake_due,
        )
        self._authenticator = authenticator = Authenticator(
            principals, issuers=files.issuers, asks_certificates=settings.tls_client_ca_file is not None
        )
        edge = EdgeServicer(self.invoker, marks, authenticator, self._epoch_exchange)
        self.health = Health(edge.set_ready)
        self._probe = StoreProbe(
            self.scripts,
            recording,
            epochs,
            durability=durability,
            tolerance_s=UNSENT_S,
            report=lambda is_up: self.health.set_store_up(
                is_up, self._probe.disk_problem, is_refused=bool(epochs.problem)
            ),
        )
        served = ServedActivities(
            self.scripts,
            self.workers,
            handlers.keys(),
            without_notifications=[
                name
                for name, activity in settings.activities.items()
                if activity.http is not None and not activity.http.notifications
            ],
            replica=self.replica_bus.replica,
        )
        metrics.add_activities((*served.without_workers, *settings.activities))
        self.statistics = StatisticsRecorder(
            self.scripts,
            replica=self.replica_bus.replica,
            owners=self._owners,
            count_unserved=served.count_unserved,
        )
        policy = Policy(
            settings,
            cookie_domains,
            activities,
            profiles=profiles.keys(),
            endpoints=endpoints,
            correlation_names=self._correlation_names,
            state_key=files.state_key,
        )
        max_open = settings.max_open_cases_per_owner
        open_case_quota = None if max_open is None else OpenCaseQuota(max_open, self._count_open_cases)
        lists = ListQueue()
        changes = ProfileChanges(self.scripts, self.audit, own_profiles, keyring, settings.max_profiles_per_owner)
        self._server = make_server(
            CallbacksServicer(
                self.scripts,
                policy,
                UrlGenerator(self.scripts, policy, served, open_case_quota, own_profiles, recording),
                recording,
                authenticator,
                self.held,
                self.audit,
                self.watch_hub,
                lists,
            ),
            OperationsServicer(
                self.scripts, authenticator, self._owners, self.audit, served, SelfCheck(settings), lists
            ),
            AuditServicer(self.scripts, authenticator, self.audit, lists),
            ProfilesServicer(
                self.scripts, authenticator, changes, ProfileChecks(self.scripts, self.audit, changes), lists
            ),
            edge,
            WorkerServicer(self.workers, authenticator, handlers, self._epoch_exchange),
            self.health,
            authenticator,
            reflect=settings.reflection,
            max_in_flight=settings.max_in_flight_calls,
            around_generation=None if tracing is None else tracing.around_generation,
        )
        self.port = 0
        """The port of the gRPC server, once started."""
        self._is_stopped = False

    @property
    def has_tls(self) -> bool:
        """Whether the gRPC port uses TLS."""
        return self._credentials is not None

    @property
    def known_principals(self) -> int | None:
        """Number of principals in the file. None: no file is configured."""
        return None if self._principals_file is None else len(self._principals_file.current.entries)

    async def __aenter__(self) -> Self:
        """Start.

        Raises:
            StartError: The store is unsafe or cannot be reached, or the port cannot be bound.
            StopRequestedError: A stop was requested before the store was ready.
        """
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._epoch_keeper.close)
            if self._tracing is not None:
                tracing = self._tracing
                stack.push_async_callback(lambda: tracing.stop(self._flush_s))
            stack.push_async_callback(self.client.aclose)
            stack.push_async_callback(self._bus_client.aclose)
            await self._wait_for_store()
            for handler in self._push_handlers.values():
                await stack.enter_async_context(handler)
            self._bind()
            stack.push_async_callback(self._cancel_work)
            await stack.enter_async_context(self._tasks)
            self._tasks.start(self._epoch_keeper.run(self.scripts, self._epoch_exchange.notify))
            self._tasks.start(self.replica_bus.run())
            self._tasks.start(self.workers.run_announcements())
            self._tasks.start(self.workers.run_discovery())
            stack.push_async_callback(self._server.stop, self._settings.grace_s)
            await self._server.start()
            self.health.set_store_up(True)
            self._start_background_work()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Stop, unless that was done, and cancel what still runs."""
        async with self._stack:
            if not self._is_stopped:
                await self.stop()

    async def stop(self) -> bool:
        """Refuse new work, and wait for running work for at most `drain_s` and `grace_s`.

        Returns:
            Whether all of it ended in that time.
        """
        self._is_stopped = True
        self.health.drain()
        await asyncio.sleep(self._settings.drain_s)
        self.health.stop()
        self.workers.drain()
        self.watch_hub.stop()
        self.deliveries.stop()
        self.notifications.stop()
        # Both at once: a call whose caller has disconnected is not an RPC any more, but must still be finished.
        grace_s = max(MIN_GRACE_S, self._settings.grace_s)
        work = [asyncio.create_task(self._server.stop(grace_s)), asyncio.create_task(self.drain())]
        record_s = min(RECORD_S, grace_s / 2)
        end = time.monotonic() + grace_s
        done, running = await asyncio.wait(work, timeout=grace_s - record_s)
        if running:
            self.workers.stop()
            for handler in self._push_handlers.values():
                handler.stop()
            done, _ = await asyncio.wait(work, timeout=record_s)
        # Always send the queued messages: callers on other replicas wait for them.
        await asyncio.gather(self.workers.announce_none(), self.replica_bus.flush())
        self._flush_s = min(FLUSH_S, max(MIN_FLUSH_S, end - time.monotonic()))
        return len(done) == len(work)

    async def drain(self) -> None:
        """Wait for the calls and deliveries that run. Calls come first, because each can start a delivery."""
        await self.invoker.drain()
        await self.deliveries.drain()
        await self.notifications.drain()

    async def _wait_for_store(self) -> None:
        try:
            naming_key = await wait_for_store(
                self.scripts,
                self._settings.to_durability(),
                shown_url=mask_url(self._settings.store_url),
                stop_requested=self._stop_requested,
            )
        except UnsafeStoreError as error:
            raise StartError(f"the store is not safe: {error}") from error
        except StoreError as error:
            what = "is refused" if self.epochs.problem else "cannot be reached"
            raise StartError(f"the store {what}: {self.epochs.problem or error}") from error
        if naming_key is None:
            raise StopRequestedError
        self._wait_tokens.use_keys(*filter(None, (self._state_key, naming_key)))
        self._correlation_names.use_key(naming_key)

    def _bind(self) -> None:
        address = self._settings.grpc_bind
        try:
            self.port = self._server.bind(address, self._credentials)
        except (OSError, RuntimeError) as error:
            raise StartError(f"grpc_bind {address} cannot be bound; is the port taken?") from error

    def _start_background_work(self) -> None:
        self._tasks.start(self.deliveries.run())
        self._tasks.start(self.notifications.run())
        self._tasks.start(self.watch_hub.run())
        if self._sweeps:
            self._tasks.start(self.sweeper.run_sweeps())
            self._tasks.start(self.sweeper.run_retention())
            self._tasks.start(self.sweeper.run_repairs())
            self._tasks.start(self.recorded_bytes.run())
            self._tasks.start(self.audit.run_retention())
            self._tasks.start(self._probe.run())
            self._tasks.start(self.statistics.run())
        if self._principals_file is not None:
            self._tasks.start(self._principals_file.run())
            self._tasks.start(self.audit.run_principals(self._principals_file))
        if self._keyring_file is not None:
            self._tasks.start(self._keyring_file.run())
        if self._issuers is not None:
            self._tasks.start(self._issuers.run())
        if self._profiles_files:
            self._tasks.start(self._profiles_files.run())

    async def _owners(self) -> list[str]:
        """Return the principals that can have cases, and the owners of those that are kept."""
        return sorted({*self._authenticator.owners(), *await resend(lambda: read_owners(self.scripts))})

    async def _count_open_cases(self, owner: str) -> int:
        return await resend(lambda: count_open_cases(self.scripts, owner))

    async def _cancel_work(self) -> None:
        """Cancel the calls and deliveries that did not end within the grace."""
        await self.invoker.cancel()
        await self.deliveries.cancel()
        await self.notifications.cancel()
        await self.replica_bus.flush()


@dataclass(frozen=True, slots=True)
class _Files:
    """Values of the settings that are read from files."""

    state_key: bytes | None = field(repr=False)
    other_state_key: bytes | None = field(repr=False)
    keyring: KeyringFile | None
    principals: PrincipalsFile | None
    issuers: Issuers | None
    profiles: Profiles
    credentials: Callable[[], grpc.ServerCredentials] | None
    push_handlers: dict[str, PushHandler | HttpHandler]
    store_url: str = field(repr=False)
    epoch_keeper: EpochKeeper


def _read_files(settings: ServerSettings) -> _Files:
    """Read every file that the settings name. Raises StartError."""
    try:
        return _Files(
            state_key=settings.read_state_key(),
            other_state_key=settings.read_other_state_key(),
            keyring=None if settings.keyring_file is None else KeyringFile(settings.keyring_file),
            principals=_read_principals(settings),
            issuers=Issuers(settings.issuers, settings.key_proxy) if settings.issuers else None,
            profiles=Profiles(settings.profiles, fetcher=Fetcher(settings.key_proxy)),
            credentials=server_credentials(settings),
            push_handlers={
                name: _push_handler(name, activity, records_errors=settings.record_handler_errors)
                for name, activity in settings.activities.items()
                if activity.target is not None
            },
            store_url=settings.read_store_url(),
            epoch_keeper=EpochKeeper(settings.store_epochs_file),
        )
    except (SettingsError, CredentialsError, ValueError) as error:
        raise StartError(str(error)) from error


def _push_handler(name: str, activity: ActivitySettings, *, records_errors: bool) -> PushHandler | HttpHandler:
    if activity.http is None:
        return PushHandler(name, activity, records_errors=records_errors)
    return HttpHandler(name, activity, activity.http)


def _load_tracing() -> type[Tracing]:
    """Return the class of the traces. Only a process that traces imports OpenTelemetry. Raises StartError."""
    try:
        from callback_server.tracing import Tracing
    except ImportError as error:
        raise StartError(str(error)) from error
    return Tracing


def _read_principals(settings: ServerSettings) -> PrincipalsFile | None:
    if settings.principals_file is None:
        return None
    try:
        return PrincipalsFile(settings.principals_file)
    except SettingsError as error:
        raise SettingsError([f"principals_file {problem}" for problem in error.problems]) from None
