"""One process of the control plane: start, serve, stop.

A stop is bounded: health says so first, no new calls are taken, those that run may end within the grace, and what is
stuck then is left to the next sweep of whoever is alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final

from google.protobuf.message_factory import GetMessageClass

from callback.v1 import callback_handler_service_pb2, callback_service_pb2, edge_service_pb2
from callback_process import logs, loop
from callback_process.addresses import Address, parse_bind
from callback_process.stop import hard_exit_after, stop_on_signals
from callback_server.calls import Calls
from callback_server.domain.activity import Activity
from callback_server.handlers.push import PushHandler
from callback_server.rpc.callback_service import CallbackServicer, Policy
from callback_server.rpc.edge_service import EdgeServicer
from callback_server.rpc.server import Health, make_server
from callback_server.settings import ServerSettings
from callback_server.store.client import StoreClient, StoreError, connect
from callback_server.store.retention import Retention
from callback_server.store.safety import UnsafeStoreError, check_store
from callback_server.store.scripts import Scripts
from callback_server.store.sweep_partition import sweep_partition
from callback_server.sweeper import Sweeper
from callback_server.wire.validation import violations

log = logs.get_logger()

STORE_WAIT_S: Final = 30.0
"""How long a start waits for its store, in seconds."""
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


async def _serve(settings: ServerSettings) -> None:
    stopping = stop_on_signals()
    bind = parse_bind(settings.grpc_bind)
    if not bind.is_loopback:
        raise StartError(
            f"grpc_bind {bind} can be reached from other machines; bind to loopback, as in 127.0.0.1:50051"
        )
    try:
        state_key = settings.read_state_key()
    except ValueError as error:
        raise StartError(str(error)) from error
    _warm_up()
    client = connect(settings.store_url)
    try:
        if not await _store_ready(client, settings, stopping):
            return
        async with contextlib.AsyncExitStack() as stack:
            await _serve_on(client, settings, bind, state_key, stopping, stack)
    finally:
        await client.aclose()


async def _serve_on(
    client: StoreClient,
    settings: ServerSettings,
    bind: Address,
    state_key: bytes | None,
    stopping: asyncio.Event,
    stack: contextlib.AsyncExitStack,
) -> None:
    scripts = Scripts(client)
    retention = Retention(
        time_ms=settings.retention_s * 1000,
        calls_per_case=settings.recorded_calls_per_case,
        bytes_per_case=settings.recorded_bytes_per_case,
    )
    policy = Policy(
        box_url=settings.box_url,
        platform_url=settings.platform_url,
        alternative_domains=settings.alternative_domains,
        activities=settings.activities.keys(),
        state_key=state_key,
        default_time_to_live_s=settings.default_time_to_live_s,
        max_time_to_live_s=settings.max_time_to_live_s,
    )
    handlers = {}
    for name, activity in settings.activities.items():
        try:
            handlers[name] = PushHandler(name, activity)
        except OSError as error:
            raise StartError(f"activities.{name}.tls: {error.filename}: {error.strerror}") from error
        stack.push_async_callback(handlers[name].close)
    calls = Calls(
        scripts,
        handlers=handlers,
        activities={
            name: Activity(name, deadline_ms=round(activity.deadline_s * 1000))
            for name, activity in settings.activities.items()
        },
        retention=retention,
        platform_url=settings.platform_url,
        max_in_flight=settings.max_in_flight_calls,
    )
    health = Health()
    await health.set(serving=True)
    server = make_server(
        CallbackServicer(scripts, policy, retention), EdgeServicer(calls), health, reflect=settings.reflection
    )
    try:
        port = server.add_insecure_port(str(bind))
    except RuntimeError as error:
        raise StartError(f"grpc_bind {bind} can not be bound; is the port taken?") from error
    await server.start()
    sweeper = Sweeper(scripts, retention)
    for work in (sweeper.sweep_for_ever(), sweeper.drop_for_ever(), _watch_store(scripts, retention, health)):
        await stack.enter_async_context(_background(work))
    log.info("ready", grpc=str(bind._replace(port=port)))

    await stopping.wait()
    log.info("stopping", grace_s=settings.grace_s)
    hard_exit_after(settings.grace_s + STOP_SLACK_S)
    await health.stop()
    # Both at once: a call whose caller has gone is no RPC any more, and yet to be finished.
    done, _ = await asyncio.wait(
        [asyncio.create_task(server.stop(settings.grace_s)), asyncio.create_task(calls.drain())],
        timeout=settings.grace_s,
    )
    log.info("stopped", clean=len(done) == 2)


@contextlib.asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs `work` beside the block, until its end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        # Once is not enough: a cancellation that meets the store's answer on its way is lost in the client library.
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.1)
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _store_ready(client: StoreClient, settings: ServerSettings, stopping: asyncio.Event) -> bool:
    """Waits for the store, and refuses one that is unsafe. False: asked to stop before it was there."""
    began = time.monotonic()
    while not stopping.is_set():
        try:
            await check_store(client, settings.store_durability)
            return True
        except UnsafeStoreError as error:
            raise StartError(f"the store is not safe: {error}") from error
        except StoreError as error:
            if time.monotonic() - began > STORE_WAIT_S:
                raise StartError(f"the store can not be reached: {error}") from error
            log.warning("waiting_for_store", error=str(error))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), 0.5)
    return False


async def _watch_store(scripts: Scripts, retention: Retention, health: Health) -> None:
    """Keeps health checks told whether the store works: a sweep needs of it all that a call does."""
    while True:
        try:
            await sweep_partition(scripts, 0, retention=retention)
            await health.set(serving=True)
        except StoreError as error:
            log.warning("store_unavailable", error=str(error))
            await health.set(serving=False)
        except Exception:
            log.exception("store_watch_failed")
            await health.set(serving=False)
        await asyncio.sleep(HEALTH_INTERVAL_S)


def _warm_up() -> None:
    """Compiles the contract's rules before the first request: a wrong rule shows here, not there."""
    for file in (callback_service_pb2, edge_service_pb2, callback_handler_service_pb2):
        for descriptor in file.DESCRIPTOR.message_types_by_name.values():
            violations(GetMessageClass(descriptor)())
