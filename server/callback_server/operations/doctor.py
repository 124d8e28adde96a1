"""The checks of `callback doctor` on the machine of a server.

They use the settings of the server and change nothing.
"""

from __future__ import annotations

import asyncio
import functools
import stat
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from callback_process import findings
from callback_process.addresses import parse_bind
from callback_process.certificates import EXPIRES_SOON, check_authorities, check_certificate, check_tls
from callback_process.credentials import CredentialsError
from callback_process.effective import mask_url
from callback_process.findings import Finding, Level, check_readable, check_secret_file, unreachable
from callback_process.running import check_running
from callback_process.settings import SettingsError, config_path
from callback_server.access.issuers import Issuers
from callback_server.access.principals import PrincipalEntry, read_principals
from callback_server.access.roles import Role
from callback_server.handlers.http.handler import HttpHandler
from callback_server.handlers.push import credentials, make_channel
from callback_server.operations.store_access import unreachable_store
from callback_server.sealing.keyring import KeyringFile
from callback_server.settings import ActivitySettings, HttpSettings, ServerSettings
from callback_server.store.connection.client import StoreClient, connect
from callback_server.store.connection.errors import StoreError
from callback_server.store.disk import DISK_FULL, local_directories, why_full
from callback_server.store.engines import REDIS_ENTERPRISE
from callback_server.store.epochs.keeper import EpochKeeper
from callback_server.store.epochs.losses import read_losses
from callback_server.store.features import feature_differences
from callback_server.store.keys import PARTITIONS
from callback_server.store.queries.node_status import (
    NodeStatus,
    count_older,
    read_node_status,
    time_behind,
    time_writes,
)
from callback_server.store.safety import Fsync, UnsafeStoreError, refusals, setting_problems
from callback_server.store.schema import find_layout_problem, stored_layout
from callback_server.store.scripts import Scripts
from callback_server.verification.fetched_keys import FetchedKeys
from callback_server.verification.fetcher import Fetcher
from callback_server.verification.profiles import Profiles, profile_files
from callback_server.verification.settings.profiles import declared_settings
from callback_server.verification.settings.signed import HmacSettings, PublicKeySettings
from callback_server.verification.settings.token import JwtSettings
from callback_shared.addresses import Addresses

LONGEST_RETENTION_S: Final = 366 * 86_400
"""The `retention_s` above which the check warns, in seconds."""
CLOCK_SKEW_S: Final = 1.0
"""The accepted difference between two clocks, in seconds."""
MEMORY_SHARE: Final = 0.8
"""The share of a store's memory above which the check warns."""
SLOW_WRITE_S: Final = 0.25
"""Duration above which a write counts as slow, in seconds. A command times out after 2."""
_READINESS_S: Final = 2.0
"""How long a server on this machine may take to say whether it is ready, in seconds."""
_LOSS_IS_NEWS: Final = timedelta(days=7)
"""For how long after a loss of steps was noticed the check warns of it."""
WRITES: Final = 5
"""The number of measured writes."""


def diagnose(config_file: Path | None, of_up: Mapping[str, str] = {}) -> AsyncIterator[Finding]:
    """Run every check, with the settings of this file, or of the one that CALLBACK_CONFIG names.

    Args:
        config_file: The file.
        of_up: The settings that a running `callback up` gives its server, which come before those of the file.
    """
    file = config_path(config_file)
    changed = file.stat().st_mtime if file is not None and file.exists() else None
    reports = functools.partial(check_report_only, changed=changed)
    return findings.diagnose("server settings", ServerSettings, config_file, (*CHECKS, reports), of_up)


# ---- Files ----


async def check_state_key(settings: ServerSettings) -> AsyncIterator[Finding]:
    """Check the key that the URLs of a `request_id` are derived from, and a second one during its change."""
    if settings.state_key_file is None and settings.state_key is None:
        yield Finding.warning(
            "state_key_file",
            "not set: a request with a request_id is refused, and the audit has no HMACs",
            f"make a file with head -c 32 /dev/urandom, the same for all servers, set {_place('state_key_file')}",
        )
    for name, file, read in (
        ("state_key_file", settings.state_key_file, settings.read_state_key),
        ("other_state_key_file", settings.other_state_key_file, settings.read_other_state_key),
    ):
        if file is None:
            continue
        finding = check_secret_file(name, file)
        yield finding
        try:
            read()
        except ValueError as error:
            if not finding.is_problem:
                yield Finding.problem(name, str(error), "make it with: head -c 32 /dev/urandom")


async def check_keyring(settings: ServerSettings) -> AsyncIterator[Finding]:
    """Check that the keyring can be used."""
    if (path := settings.keyring_file) is None:
        return
    finding = check_secret_file("keyring_file", path)
    if finding.level is not Level.OK:
        yield finding
    if finding.is_problem:
        return
    try:
        keyring = KeyringFile(path).keyring
    except CredentialsError as error:
        yield Finding.problem("keyring_file", str(error), "correct the file, as docs/operations.md says")
        return
    if finding.level is Level.OK:
        seen = f"{keyring.current} seals; it opens what was sealed by {', '.join(keyring.ids)}"
        yield Finding.ok("keyring_file", seen)


async def check_urls(settings: ServerSettings) -> AsyncIterator[Finding]:
    """Check that the bases of URLs are set. Both defaults are for one machine."""
    if "box_url" in settings.model_fields_set:
        yield Finding.ok("box_url", settings.box_url)
    else:
        yield Finding.warning(
            "box_url",
            f"not set: callbacks begin with {settings.box_url}, which only programs on this machine can call",
            f"set {_place('box_url')} to the public address of the edges",
        )
    if settings.platform_url is not None:
        yield Finding.ok("platform_url", settings.platform_url)
    else:
        yield Finding.warning(
            "platform_url",
            "not set: a redirect or a link to a /path is refused",
            f"set {_place('platform_url')} to the address of your site, as in https://shop.example",
        )


def _place(name: str) -> str:
    """Return a setting with the places where it can be set."""
    return f"{name} in [{ServerSettings.table}] or {ServerSettings.variable(name)}"


async def check_certificates(settings: ServerSettings) -> AsyncIterator[Finding]:
    """Check the TLS files of the gRPC port."""
    now = datetime.now(UTC)
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        seen = f"the gRPC port {settings.grpc_bind} uses plain text"
        if parse_bind(settings.grpc_bind).is_loopback:
            yield Finding.ok("tls", seen)
        else:
            yield Finding.warning(
                "tls", f"{seen}: tokens can be read on the network", "set tls_cert_file, unless a mesh encrypts"
            )
        return
    yield check_secret_file("tls_key_file", settings.tls_key_file)
    yield check_certificate("tls_cert_file", settings.tls_cert_file, settings.tls_key_file, now, of_server=True)
    if settings.tls_client_ca_file is not None:
        yield check_authorities("tls_client_ca_file", settings.tls_client_ca_file, now)


async def check_principals(settings: ServerSettings) -> AsyncIterator[Finding]:
    """Check the principals with their tokens and certificates."""
    path = settings.principals_file
    if path is None:
        yield Finding.ok("principals", f"none: every client that reaches {settings.grpc_bind} may do everything")
        return
    try:
        entries = read_principals(path).entries
        mode = path.stat().st_mode
    except SettingsError as error:
        for problem in error.problems:
            yield Finding.problem("principals", problem, "correct the file")
        return
    yield Finding.ok("principals", f"{path}: {', '.join(sorted(entries)) or 'none'}")
    if mode & stat.S_IWOTH:
        yield Finding.problem("principals", f"every user of this machine can change {path}", f"chmod o-w {path}")
    elif mode & stat.S_IWGRP:
        yield Finding.warning("principals", f"its group can change {path}, and so grant access", f"chmod g-w {path}")
    now = datetime.now(UTC)
    for name, entry in sorted(entries.items()):
        for finding in _check_principal(f"principal {name}", entry, now, settings):
            yield finding
    if not any(Role.EDGE in entry.roles for entry in entries.values()):
        yield Finding.problem(
            "principals", "no principal has the role edge, so no call is accepted", "callback token edge --role edge"
        )


def _check_principal(check: str, entry: PrincipalEntry, now: datetime, settings: ServerSettings) -> Iterator[Finding]:
    asks_certificates = settings.tls_client_ca_file is not None
    works = [token for token in entry.tokens if token.expires is None or token.expires > now]
    known = [each for each in entry.subjects if each.issuer in settings.issuers]
    if not works and not known and not (entry.certificates and asks_certificates):
        yield Finding.warning(
            check, "it has no valid token, subject or certificate, so it has no access", "give it one: callback token"
        )
    if entry.certificates and not asks_certificates:
        yield Finding.warning(
            check, "its certificates have no effect: clients are not asked for one", "set tls_client_ca_file"
        )
    for issuer in sorted({each.issuer for each in entry.subjects} - settings.issuers.keys()):
        yield Finding.warning(
            check,
            f"its subjects of {issuer} have no effect: the server does not know the issuer",
            f'add [server.issuers."{issuer}"], or correct the issuer: it must be the same, character for character',
        )
    for token in entry.tokens:
        if token.expires is not None and token.expires <= now:
            yield Finding.warning(
                check, f"a token of it expired on {token.expires:%Y-%m-%d}", "remove it from the file"
            )
        elif token.expires is not None and token.expires - now < EXPIRES_SOON:
            yield Finding.warning(
                check, f"a token of it expires on {token.expires:%Y-%m-%d}", "make a new one: callback token"
            )


async def check_retention(settings: ServerSettings) -> AsyncIterator[Finding]:
    """Warn if what has ended is kept for so long that the store fills."""
    if settings.retention_s > LONGEST_RETENTION_S:
        seen = f"closed callbacks and ended calls are kept for {settings.retention_s / 86_400:.0f} days"
        yield Finding.warning("retention_s", seen, "shorten it: the store holds everything in memory")


def check_process(settings: ServerSettings) -> AsyncIterator[Finding]:
    """Check the server that runs with these settings, if one does."""
    return check_running("process", settings.admin_bind)


async def check_issuers(settings: ServerSettings) -> AsyncIterator[Finding]:
    """Check that the keys of each issuer can be fetched."""
    try:
        fetched = Issuers(settings.issuers, settings.key_proxy).fetched
    except CredentialsError as error:
        yield Finding.problem("issuers", str(error), "correct the file")
        return
    for issuer, keys in fetched.items():
        if problem := await _fetch_problem(keys):
            advice = "correct its URL, its ca_file or its private_networks, or let the server connect to it"
            yield Finding.problem(f"issuer {issuer}", problem, advice)
        else:
            yield Finding.ok(f"issuer {issuer}", "its keys can be fetched")


async def check_profiles(settings: ServerSettings) -> AsyncIterator[Finding]:
    """Check that each profile can be made from its files."""
    for name, profile in settings.profiles.items():
        declared = declared_settings(profile)
        is_public = isinstance(declared, PublicKeySettings) or (
            isinstance(declared, JwtSettings) and not declared.is_symmetric
        )
        look = check_readable if is_public else check_secret_file
        findings = [look(setting, path) for setting, path in profile_files(name, profile).items()]
        for finding in filter(None, findings):
            yield finding
        if any(finding and finding.is_problem for finding in findings):
            continue
        try:
            profiles = Profiles({name: profile}, fetcher=Fetcher(settings.key_proxy))
        except CredentialsError as error:
            yield Finding.problem(f"profiles.{name}", str(error), "correct the file, as docs/verification.md says")
            continue
        if problem := await _fetch_problem(profiles.fetched.get(name)):
            advice = "correct the URL, or let the server connect to it; until then senders get a 503"
            yield Finding.problem(f"profiles.{name}", problem, advice)
        elif _uses_sha1(declared):
            yield Finding.warning(
                f"profiles.{name}", "it uses SHA-1, which is out of date", "use another algorithm if the sender has one"
            )
        else:
            yield Finding.ok(f"profiles.{name}", f"{profile.kind} can verify")


async def _fetch_problem(keys: FetchedKeys[Any] | None) -> str:
    """Fetch keys, if there are any to fetch, and return why some cannot be. What only messages name is not fetched."""
    if keys is None:
        return ""
    await keys.refresh()
    problems = keys.problems()
    return f"its keys cannot be fetched: {'; '.join(problems)}" if problems else ""


def _uses_sha1(declared: object) -> bool:
    return (isinstance(declared, HmacSettings) and declared.algorithm == "sha1") or (
        isinstance(declared, PublicKeySettings) and "rsa-sha1" in declared.allowed_algorithms
    )


async def check_report_only(settings: ServerSettings, changed: float | None) -> AsyncIterator[Finding]:
    """Warn of each profile that only reports, and say for how long the settings have said so at least.

    Args:
        settings: The settings.
        changed: When the settings file was changed, in seconds since 1970. None: there is none.
    """
    for name, profile in settings.profiles.items():
        if not profile.enforce:
            days = 0 if changed is None else int((time.time() - changed) // (24 * 3600))
            since = f"for at least {days} days, the age of the settings file" if days else "for an unknown time"
            yield Finding.warning(
                f"profiles.{name}",
                f"it only reports, {since}: a request that does not pass becomes a call",
                "remove enforce = false once its metric shows no failures",
            )


# ---- The store ----


async def check_store(settings: ServerSettings) -> AsyncIterator[Finding]:
    """Check the durability and the condition of the store."""
    if settings.store_password_file is not None:
        finding = check_secret_file("store_password_file", settings.store_password_file)
        yield finding
        if finding.is_problem:
            return
    try:
        client = connect(settings.read_store_url())
    except ValueError as error:
        yield Finding.problem("store_password_file", str(error), "put the store's password into it")
        return
    try:
        for look in (
            _check_disk,
            _check_node_conditions,
            _check_safety,
            _check_layout,
            _check_epochs,
            _check_losses,
            _check_features,
            _check_time,
            _check_write,
        ):
            try:
                with refusals():
                    found = [finding async for finding in look(client, settings)]
            except UnsafeStoreError as error:
                yield Finding.problem("store", str(error), "correct store_url, or the permissions of its user")
                return
            except StoreError as error:
                seen, advice = unreachable_store(settings, error)
                if full := why_full(frozenset(), str(error)) or await _full_by_server(settings):
                    yield Finding.problem("store disk space", full, "make room on it, then start the store again")
                yield Finding.problem("store", seen, f"{advice}; on a machine of edges alone: callback doctor edge")
                return
            for finding in found:
                yield finding
            if any(finding.check == "store disk space" and finding.is_problem for finding in found):
                return  # a write to it ends the store
    finally:
        await client.aclose()


async def _check_disk(client: StoreClient, _settings: ServerSettings) -> AsyncIterator[Finding]:
    if full := why_full(await local_directories(client), ""):
        yield Finding.problem("store disk space", full, "make room on it before the store writes again, and exits")


async def _full_by_server(settings: ServerSettings) -> str:
    """Return what a server that runs here says of a full disk: it has seen where the store kept its data.

    Empty: it does not say that, or none runs.
    """
    try:
        async with asyncio.timeout(_READINESS_S):
            reader, writer = await asyncio.open_connection(*parse_bind(settings.admin_bind))
            writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
            answer = (await reader.read()).decode(errors="replace")
            writer.close()
    except (OSError, TimeoutError):
        return ""
    problem = answer.rpartition("\r\n\r\n")[2].strip()
    return problem if problem.startswith(DISK_FULL) else ""


async def _check_safety(client: StoreClient, settings: ServerSettings) -> AsyncIterator[Finding]:
    durability = settings.to_durability()
    wrong = await setting_problems(client, durability)
    for problem in wrong:
        seen, _semicolon, advice = problem.partition("; ")
        yield Finding.problem("store settings", seen, advice)
    nodes = await read_node_status(client)
    if not wrong and durability.fsync is Fsync.UNCHECKED:
        yield check_unchecked(frozenset(node.service for node in nodes))
    elif not wrong:
        yield Finding.ok("store settings", f"durable as required (store_durability {settings.store_durability})")
    for node in nodes:
        if durability.replicas or (node.replicas and node.needed_replicas is not None):
            yield _check_replicas(node, durability.replicas)


def check_unchecked(services: frozenset[str]) -> Finding:
    """Return what must be made sure of, because the store does not show it."""
    check, seen = "store settings", "not checked, as store_durability unchecked says"
    if services == {"Amazon MemoryDB"}:
        return Finding.ok(check, f"{seen}; Amazon MemoryDB has each write in its log before it replies")
    if services == {"Amazon ElastiCache"}:
        return Finding.warning(
            check,
            f"{seen}; Amazon ElastiCache keeps acknowledged calls only with durability sync",
            "see EffectiveDurability of the replication group, which must be sync",
        )
    if services == {REDIS_ENTERPRISE}:
        return Finding.warning(
            check,
            f"{seen}; Azure Managed Redis ({REDIS_ENTERPRISE}) loses the last acknowledged calls in a failover",
            "see docs/operations.md, Managed stores",
        )
    return Finding.warning(
        check, f"{seen}: a stop or a failover may lose acknowledged calls", "see docs/operations.md, Managed stores"
    )


def _check_replicas(node: NodeStatus, waited_for: int) -> Finding:
    check, seen = _of("store replicas", node), f"{node.replicas} attached"
    if node.replicas < waited_for:
        return Finding.problem(
            check,
            f"{seen}, and store_durability replicated:{waited_for} waits for {waited_for}: nothing is acknowledged",
            "start the others, or look at their logs",
        )
    if waited_for and (node.needed_replicas or 0) < waited_for:
        return Finding.warning(
            check,
            f"{seen}; without enough of them, a write is done before it is known that it cannot be acknowledged",
            f"set min-replicas-to-write {waited_for} on every node",
        )
    if not node.needed_replicas:
        return Finding.warning(
            check,
            f"{seen}; a primary that is cut off from them, or that comes back after a failover, takes writes",
            "set min-replicas-to-write 1 on every node, or store_durability replicated:N",
        )
    return Finding.ok(check, seen)


async def _check_layout(client: StoreClient, _settings: ServerSettings) -> AsyncIterator[Finding]:
    stored = await stored_layout(client)
    if problem := await find_layout_problem(client):
        seen, _semicolon, advice = problem.partition("; ")
        yield Finding.problem("store layout", seen, advice)
    else:
        seen = "nothing is stored yet" if stored is None else f"{stored} (version:partitions)"
        yield Finding.ok("store layout", seen)


async def _check_epochs(client: StoreClient, settings: ServerSettings) -> AsyncIterator[Finding]:
    check, file = "store epochs", settings.store_epochs_file
    if file is None:
        yield Finding.ok(check, "no store_epochs_file: after a restart the server does not recognize an old primary")
        return
    try:
        known = EpochKeeper(file, writes=False).epochs.known
    except ValueError as error:
        yield Finding.problem(check, str(error), "delete it, or correct its permissions")
        return
    if older := await count_older(client, known):
        yield Finding.problem(
            check,
            f"{older} of {PARTITIONS} partitions are older than what this server has seen",
            "lead it to the present primary, or accept what the store has: callback losses --accept",
        )
    else:
        yield Finding.ok(check, "the store has everything that this server has seen" if known else "none is known yet")


async def _check_losses(client: StoreClient, _settings: ServerSettings) -> AsyncIterator[Finding]:
    check, losses = "store losses", await read_losses(client)
    if not losses:
        yield Finding.ok(check, "no acknowledged step is known to be lost")
        return
    seen = f"{sum(each.steps for each in losses)} acknowledged steps lost, the last {losses[0].noticed:%Y-%m-%d %H:%M}Z"
    if datetime.now(UTC) - losses[0].noticed > _LOSS_IS_NEWS:
        yield Finding.ok(check, seen)
    else:
        yield Finding.warning(check, seen, "see docs/operations.md, Lost steps; callback losses lists them")


async def _check_features(client: StoreClient, _settings: ServerSettings) -> AsyncIterator[Finding]:
    unknown, missing = await feature_differences(Scripts(client), minute=int(time.time() // 60))
    if unknown:
        yield Finding.problem(
            "store features",
            f"other servers know {', '.join(unknown)}, and this release does not: it refuses calls of callbacks that "
            "need it, with a 503",
            "update this server",
        )
    if missing:
        yield Finding.warning(
            "store features",
            f"a server that ran in the last minutes does not know {', '.join(missing)}: no callback that needs it is "
            "generated",
            "update every server of this store",
        )
    if not unknown and not missing:
        yield Finding.ok("store features", "every server of the store knows the same features")


async def _check_time(client: StoreClient, _settings: ServerSettings) -> AsyncIterator[Finding]:
    behind = await time_behind(client)
    if behind > CLOCK_SKEW_S:
        yield Finding.warning(
            "store time",
            f"its clock has stepped back, and is {behind:.1f} s behind the time of its data, which goes on slowed",
            "set its clock by NTP; nothing waits for it",
        )
    else:
        yield Finding.ok("store time", "its clock has not stepped back")


async def _check_write(client: StoreClient, _settings: ServerSettings) -> AsyncIterator[Finding]:
    try:
        with refusals():
            took = await time_writes(client, WRITES)
    except StoreError as error:
        yield Finding.problem("store write", f"it accepts no writes: {error}", "see the findings above, and its log")
        return
    seen = f"{statistics.median(took) * 1000:.1f} ms in the middle, {max(took) * 1000:.1f} ms at most, of {WRITES}"
    if statistics.median(took) > SLOW_WRITE_S:
        yield Finding.warning("store write", seen, "each call waits for two of these: look at its disk and the network")
    else:
        yield Finding.ok("store write", seen)


async def _check_node_conditions(client: StoreClient, _settings: ServerSettings) -> AsyncIterator[Finding]:
    for node in await read_node_status(client):
        # The check of the settings reports a version that is too old.
        service = f" ({node.service})" if node.service else ""
        yield Finding.ok(_of("store", node), f"{node.product} {node.version}{service}")
        for look in (_check_role, _check_memory, _check_append_only_file, check_clock):
            yield look(node)


def _check_role(node: NodeStatus) -> Finding:
    if not node.is_primary:
        return Finding.problem(
            _of("store role", node), "it is a replica, which accepts no writes", "give its primary as store_url"
        )
    return Finding.ok(_of("store role", node), f"a primary, with {node.replicas} replicas")


def _check_memory(node: NodeStatus) -> Finding:
    """Check that there is memory left: a full store refuses new callbacks."""
    check = _of("store memory", node)
    memory = node.memory
    limit, of_what = (memory.limit, "maxmemory") if memory.limit else (memory.of_machine, "its machine's memory")
    used = f"{memory.used / 2**20:,.0f} MiB used"
    if not limit:
        return Finding.ok(check, used)
    share = memory.used / limit
    seen = f"{used}, {share:.0%} of {of_what}"
    if not memory.limit and not node.service:
        return Finding.warning(
            check,
            f"{seen}; it has no maxmemory, so the system can end it when its machine has no memory left",
            "set maxmemory to at most half of that memory, because a rewrite of its file needs more",
        )
    if share >= MEMORY_SHARE:
        return Finding.warning(
            check,
            f"{seen}; when full, it refuses new callbacks",
            "give it more, shorten retention_s, or set max_recorded_bytes",
        )
    return Finding.ok(check, seen)


def _check_append_only_file(node: NodeStatus) -> Finding:
    """Check that writes reach its disk."""
    check = _of("store disk", node)
    if not node.is_append_only:
        return Finding.warning(check, "no append-only file: a stop can lose all data", "set appendonly yes")
    if node.last_append_failed:
        return Finding.problem(
            check, "its last write to the append-only file failed, so it accepts no writes", "look at its disk and log"
        )
    if node.last_rewrite_failed:
        return Finding.warning(
            check, "it could not shorten its append-only file, which grows", "look at its disk, its memory and its log"
        )
    return Finding.ok(check, "the append-only file is written")


def check_clock(node: NodeStatus) -> Finding:
    """Check its clock against this machine's: leases end by the one, handlers get deadlines by the other."""
    check = _of("store clock", node)
    ahead = node.clock_ahead_s
    if abs(ahead) > CLOCK_SKEW_S:
        return Finding.warning(
            check,
            f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine's; leases and expiry go by the "
            "one, the deadlines that handlers are told by the other",
            "keep both by NTP",
        )
    return Finding.ok(check, f"within {CLOCK_SKEW_S:g} s of this machine's")


def _of(check: str, node: NodeStatus) -> str:
    return f"{check} {node.name}".rstrip()


# ---- Handlers ----


async def check_handlers(settings: ServerSettings) -> AsyncIterator[Finding]:
    """Check that each handler can be reached."""
    now = datetime.now(UTC)
    for name, activity in settings.activities.items():
        if activity.tls is not None:
            for finding in check_tls(f"activities.{name}.tls", activity.tls, now):
                yield finding
    for found in await asyncio.gather(
        *(
            _check_handler(name, activity)
            for name, activity in settings.activities.items()
            if activity.target is not None
        )
    ):
        yield found


async def _check_handler(name: str, activity: ActivitySettings) -> Finding:
    check = f"activities.{name}"
    if activity.http is not None:
        return await _check_http_handler(check, name, activity, activity.http)
    try:
        addresses = Addresses(str(activity.target))
        await addresses.look_up_within(activity.connect_timeout_s)
        channel = make_channel(activity, addresses, credentials(name, activity).value)
    except CredentialsError as error:
        return Finding.problem(check, str(error), "correct that file")
    async with channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        try:
            # A handler without a health service answers with an error, and so can be reached too.
            await health.Check(health_pb2.HealthCheckRequest(), timeout=activity.connect_timeout_s)
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                return unreachable(
                    check, str(activity.target), error.details(), "start the handler, or set its target and tls"
                )
    return Finding.ok(check, f"{mask_url(str(activity.target))} can be reached")


async def _check_http_handler(check: str, name: str, activity: ActivitySettings, http: HttpSettings) -> Finding:
    try:
        problem = await HttpHandler(name, activity, http).check()
    except CredentialsError as error:
        return Finding.problem(check, str(error), "correct that file")
    shown = mask_url(str(activity.target))
    if problem:
        return unreachable(check, shown, problem, "start the handler, or set its target, its tls or private_networks")
    return Finding.ok(check, f"{shown} can be reached")


CHECKS: Final[tuple[Callable[[ServerSettings], AsyncIterator[Finding]], ...]] = (
    check_urls,
    check_state_key,
    check_keyring,
    check_certificates,
    check_principals,
    check_retention,
    check_issuers,
    check_profiles,
    check_store,
    check_handlers,
    check_process,
)
"""The checks, in the order of their findings."""
