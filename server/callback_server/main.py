"""One process of the control plane: start, serve, stop.

A stop is bounded: health says so first, no new calls are taken, those that run may end within the grace, and what is
stuck then is left to the next sweep of whoever is alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.message_factory import GetMessageClass

from callback.v1 import (
    callback_handler_service_pb2,
    callbacks_service_pb2,
    edge_service_pb2,
    worker_service_pb2,
)
from callback_process import logs, loop
from callback_process.addresses import parse_bind
from callback_process.admin import AdminServer
from callback_process.credentials import CredentialsError
from callback_process.effective import mask_url
from callback_process.listener import address_of, listen
from callback_process.settings import SettingsError
from callback_process.stop import hard_exit_after, stop_on_signals
from callback_server.access.authenticator import Authenticator
from callback_server.access.principals import PrincipalsFile
from callback_server.calls.deliveries import Deliveries
from callback_server.calls.held import HeldCalls
from callback_server.calls.invoke import UNSENT_S, Calls
from callback_server.calls.sweeper import Sweeper
from callback_server.contract.validation import violations
from callback_server.domain.activity import Activity
from callback_server.handlers.dispatch import HandlerDispatcher
from callback_server.handlers.push import PushHandler
from callback_server.handlers.workers.pool import WorkerPool
from callback_server.replica_bus import ReplicaBus
from callback_server.rpc.callbacks_service import CallbacksServicer
from callback_server.rpc.edge_service import EdgeServicer
from callback_server.rpc.new_case import Policy
from callback_server.rpc.server import Health, make_server
from callback_server.rpc.tls import server_credentials
from callback_server.rpc.worker_service import WorkerServicer
from callback_server.settings import ServerSettings
from callback_server.store.connection.client import StoreError, connect
from callback_server.store.connection.resend import resend
from callback_server.store.retention import Retention
from callback_server.store.safety import UnsafeStoreError, check_store
from callback_server.store.scripts import Scripts
from callback_server.store.transitions.claim_call import Leases
from callback_server.store.transitions.pause_activity import read_pauses, sync_pauses
from callback_server.store.transitions.sweep_partition import SweepResult, sweep_partition
from callback_server.transition_log import log_timeout
from callback_server.verification.profiles import Profiles
from callback_server.watch import WatchHub

log = logs.get_logger()

STORE_WAIT_S: Final = 30.0
"""How long a start waits for its store, in seconds."""
WATCHED_PARTITIONS: Final = (0, 21, 42)
"""The partitions that are asked: on a cluster they are likely to be on several nodes."""
HEALTH_INTERVAL_S: Final = 1.0
"""How often the store is asked whether it answers, in seconds."""
STOP_SLACK_S: Final = 1.0
"""How long after the grace the process ends at the latest, in seconds, whatever is stuck."""


class StartError(Exception):
    """The process can not start. The text says why, and what to change."""


def run(settings: ServerSettings) -> int:
    """Serves until SIGTERM or SIGINT.

    Returns:
        The exit code: 0, or 1 with a line on standard error if it can not start.
    """
    logs.configure("server", settings.log_level)
    try:
        loop.run(_serve(settings))
    except StartError as error:
        print(f"callback server: {error}", file=sys.stderr)  # noqa: T201  # for whoever started it
        return 1
    return 0


@dataclass(frozen=True, slots=True)
class _Given:
    """What the settings name, read before anything is started."""

    state_key: bytes | None = field(repr=False)
    principals: PrincipalsFile | None
    profiles: Profiles
    credentials: Callable[[], grpc.ServerCredentials] | None
    handlers: dict[str, PushHandler]
    store_url: str = field(repr=False)
    admin: socket.socket


def _read(settings: ServerSettings) -> _Given:
    try:
        return _Given(
            state_key=settings.read_state_key(),
            principals=_principals(settings.principals_file),
            profiles=Profiles(settings.profiles),
            credentials=server_credentials(settings),
            handlers={
                name: PushHandler(name, activity)
                for name, activity in settings.activities.items()
                if activity.target is not None
            },
            store_url=settings.read_store_url(),
            admin=listen(settings.admin_bind),
        )
    except OSError as error:
        raise StartError(f"admin_bind: {error}") from error
    except (SettingsError, CredentialsError, ValueError) as error:
        raise StartError(str(error)) from error


def _principals(file: Path | None) -> PrincipalsFile | None:
    try:
        return PrincipalsFile(file) if file else None
    except SettingsError as error:
        raise SettingsError([f"principals_file {problem}" for problem in error.problems]) from None


async def _serve(settings: ServerSettings) -> None:
    stopping = stop_on_signals()
    given = _read(settings)
    _warm_up()
    health = Health()
    client = connect(given.store_url)
    scripts = Scripts(client, log_timeout)
    try:
        with AdminServer(given.admin, health.why_not_ready):
            if await _store_ready(scripts, settings, stopping):
                async with contextlib.AsyncExitStack() as stack:
                    await _serve_on(scripts, settings, given, health, stopping, stack)
    finally:
        await client.aclose()


async def _serve_on(
    scripts: Scripts,
    settings: ServerSettings,
    given: _Given,
    health: Health,
    stopping: asyncio.Event,
    stack: contextlib.AsyncExitStack,
) -> None:
    retention = Retention(
        time_ms=settings.retention_s * 1000,
        calls_per_case=settings.recorded_calls_per_case,
        bytes_per_case=settings.recorded_bytes_per_case,
        bodies=settings.record_bodies,
        headers=settings.record_headers,
    )
    activities = {
        name: Activity(name, deadline_ms=activity.deadline_ms, retries=activity.retry.retries())
        for name, activity in settings.activities.items()
    }
    policy = Policy(
        box_url=settings.box_url,
        platform_url=settings.platform_url,
        alternative_domains=settings.alternative_domains,
        activities=activities,
        profiles=given.profiles.keys(),
        state_key=given.state_key,
        default_time_to_live_s=settings.default_time_to_live_s,
        max_time_to_live_s=settings.max_time_to_live_s,
        max_open_cases_per_owner=settings.max_open_cases_per_owner,
    )
    for handler in given.handlers.values():
        await stack.enter_async_context(handler)
    mail_client = connect(given.store_url)
    stack.push_async_callback(mail_client.aclose)
    replica_bus = ReplicaBus(scripts, mail_client)
    workers = WorkerPool(scripts, replica_bus)
    dispatcher = HandlerDispatcher(
        handlers=given.handlers, workers=workers, activities=activities, platform_url=settings.platform_url
    )
    leases = Leases(activities)
    held = HeldCalls(scripts, replica_bus, dispatcher, retention)
    inbox = Deliveries(
        scripts,
        dispatcher=dispatcher,
        activities=activities,
        leases=leases,
        retention=retention,
        most=settings.max_in_flight_deliveries,
    )
    calls = Calls(
        scripts,
        dispatcher=dispatcher,
        held=held,
        inbox=inbox,
        leases=leases,
        profiles=given.profiles,
        retention=retention,
        box_url=settings.box_url,
        platform_url=settings.platform_url,
        max_in_flight=settings.max_in_flight_calls,
        max_per_minute_per_case=settings.max_calls_per_minute_per_case,
        max_per_minute_per_owner=settings.max_calls_per_minute_per_owner,
    )
    watch_hub = WatchHub(scripts)
    principals = given.principals
    access = Authenticator(
        (lambda: principals.current) if principals else None, asks_certificates=settings.tls_client_ca_file is not None
    )
    server = make_server(
        CallbacksServicer(scripts, policy, retention, access, held, watch_hub),
        EdgeServicer(calls, access),
        WorkerServicer(workers, access, given.handlers),
        health,
        access,
        reflect=settings.reflection,
        max_in_flight=settings.max_in_flight_calls,
    )
    try:
        port = server.bind(settings.grpc_bind, given.credentials)
    except (OSError, RuntimeError) as error:
        raise StartError(f"grpc_bind {settings.grpc_bind} can not be bound; is the port taken?") from error
    for work in (replica_bus.read_for_ever(), workers.announce_for_ever(), workers.ask_for_ever()):
        await stack.enter_async_context(_background(work))
    await server.start()
    await health.set(store_up=True)  # not before: who is told that it is ready connects at once
    sweeper = Sweeper(scripts, retention, inbox.look)
    background = [
        sweeper.sweep_for_ever(),
        sweeper.drop_for_ever(),
        inbox.take_for_ever(),
        watch_hub.read_for_ever(),
        _watch_store(scripts, retention, health),
    ]
    if principals:
        background.append(principals.watch_for_ever())
    if given.profiles:
        background.append(given.profiles.run())
    for work in background:
        await stack.enter_async_context(_background(work))
    log.info(
        "ready",
        grpc=str(parse_bind(settings.grpc_bind)._replace(port=port)),
        admin=str(address_of(given.admin)),
        tls=given.credentials is not None,
        principals=len(principals.current.entries) if principals else None,
    )

    await stopping.wait()
    log.info("stopping", drain_s=settings.drain_s, grace_s=settings.grace_s)
    hard_exit_after(settings.drain_s + settings.grace_s + STOP_SLACK_S)
    await health.drain()
    await asyncio.sleep(settings.drain_s)
    await health.stop()
    workers.drain()
    watch_hub.stop()
    inbox.stop()
    # Both at once: a call whose caller has gone is no RPC any more, and yet to be finished.
    done, _ = await asyncio.wait(
        [asyncio.create_task(server.stop(settings.grace_s)), asyncio.create_task(_drain(calls, inbox))],
        timeout=settings.grace_s,
    )
    # However it has ended. Letters are the ends of calls that others wait for.
    await asyncio.gather(workers.announce_none(), replica_bus.flush())
    log.info("stopped", clean=len(done) == 2)


async def _drain(calls: Calls, inbox: Deliveries) -> None:
    """Waits for what runs: calls first, for each may yet begin a delivery."""
    await calls.drain()
    await inbox.drain()


@contextlib.asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs `work` beside the block, until its end. What ends before is told at once."""
    task = asyncio.create_task(work)
    task.add_done_callback(_ended)
    try:
        yield
    finally:
        # Once is not enough: a cancellation that meets the store's answer on its way is lost in the client library.
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.1)
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.critical("background_ended", exc_info=error)


async def _store_ready(scripts: Scripts, settings: ServerSettings, stopping: asyncio.Event) -> bool:
    """Waits for the store, and refuses one that is unsafe. False: asked to stop before it was there.

    Then each partition knows what is paused, whatever release has served before: nothing is delivered until it does.
    """
    began, told = time.monotonic(), ""
    while not stopping.is_set():
        try:
            await check_store(scripts.client, settings.store_durability)
            await sync_pauses(scripts, await read_pauses(scripts))
            return True
        except UnsafeStoreError as error:
            raise StartError(f"the store is not safe: {error}") from error
        except StoreError as error:
            if time.monotonic() - began > STORE_WAIT_S:
                raise StartError(f"the store can not be reached: {error}") from error
            if str(error) != told:
                told = str(error)
                log.warning("waiting_for_store", store_url=mask_url(settings.store_url), error=told)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), 0.5)
    return False


async def _watch_store(scripts: Scripts, retention: Retention, health: Health) -> None:
    """Keeps health checks told whether the store works: a sweep needs of it all that a call does.

    A store that is away for a moment is no reason to go elsewhere: calls wait for it as long. Nor is a part of a
    cluster: another server would not find it either. Nor is a connection that breaks, with all that was sent on it.
    """

    def ask(partition: int) -> Awaitable[SweepResult]:
        return resend(
            lambda: sweep_partition(scripts, partition, retention=retention),
            unsent_s=HEALTH_INTERVAL_S,
            unsure_s=HEALTH_INTERVAL_S,
        )

    answered = time.monotonic()
    while True:
        swept = await asyncio.gather(*map(ask, WATCHED_PARTITIONS), return_exceptions=True)
        errors = [each for each in swept if isinstance(each, BaseException)]
        for error in errors:
            if isinstance(error, StoreError):
                log.warning("store_unavailable", error=str(error))
            else:
                log.error("store_watch_failed", exc_info=error)
        if len(errors) < len(swept):
            answered = time.monotonic()
        await health.set(store_up=time.monotonic() - answered <= UNSENT_S)
        await asyncio.sleep(HEALTH_INTERVAL_S)


def _warm_up() -> None:
    """Compiles the contract's rules before the first request: a wrong rule shows here, not there."""
    for file in (callbacks_service_pb2, edge_service_pb2, callback_handler_service_pb2, worker_service_pb2):
        for descriptor in file.DESCRIPTOR.message_types_by_name.values():
            violations(GetMessageClass(descriptor)())
