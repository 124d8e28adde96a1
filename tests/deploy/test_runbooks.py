"""The runbook of each alert: its commands, as the page has them, find a fault that is planted here.

The faults of calls are planted in one running system. The others are faults of a store, a file or an address, which the
settings of a command lead to.
"""

import asyncio
import contextlib
import dataclasses
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import redis
import trustme
from support.clients import run_callback
from support.deployed import ALERTS, runbook_commands
from support.leases import end_leases
from support.store import set_up
from support.system import own_store, running_system
from support.wait import wait_until
from support.workers import handlers_of

from callback import AnswerMode, CallStatus, DeliveryStatus, Response
from callback_server.access.roles import Role
from callback_server.access.tokens import add_token
from callback_server.store import keys
from callback_server.store.epochs.keeper import EpochKeeper
from callback_server.store.epochs.known import Epoch

SERVED = ("broken", "failing", "stuck", "on-leave")
GITHUB_SECRET = "It's a Secret to Everybody"
ALTERED = """\
POST /cb/3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11 HTTP/1.1
Host: box.example
Content-Length: 13
X-GitHub-Delivery: d1
X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17

Hallo, World!
"""
"""The example of docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries, with another body."""
NOWHERE = "127.0.0.1:1"
PRELOADED = ("callback_edge.doctor", "callback_server.operations.doctor")


@dataclasses.dataclass
class Fault:
    """A planted fault: what stands for the words of the commands, their settings, and what each command must say."""

    finds: dict[str, str]
    words: dict[str, str] = dataclasses.field(default_factory=dict)
    settings: dict[str, str] = dataclasses.field(default_factory=dict)
    typed: str = ""


async def broken(_call):
    raise ValueError


async def stuck(_call):
    await asyncio.Event().wait()


HANDLERS = handlers_of(**{"broken": broken, "failing": broken, "stuck": stuck, "on-leave": print})


@pytest.fixture(scope="module")
async def system(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runbooks")
    (directory / "secret").write_text(GITHUB_SECRET)
    async with contextlib.AsyncExitStack() as stack:
        store = stack.enter_context(own_store(directory))
        handlers = await stack.enter_async_context(HANDLERS.listen("127.0.0.1:0", grace=0))
        config = f'[profiles.repository]\nkind = "provider:github"\nsecret_files = ["{directory}/secret"]\n'
        config += "".join(f'[activities.{name}]\ntarget = "{handlers.address}"\n' for name in SERVED)
        config += "deadline_s = 60\n[activities.broken.retry]\nmax_attempts = 1\n"
        yield await stack.enter_async_context(running_system(directory, store, config=config))


@pytest.fixture
async def call(system):
    """Return a function that calls a new callback, and returns it with the newest call once `until` is true of it."""
    visits = set()

    async def call(activity, until, **options):
        made = await system.client.generate_callback_url(activity, Response("ok"), **options)
        visit = asyncio.create_task(system.http.post(made.url))
        visits.add(visit)

        async def found():
            calls = await system.client.list_calls_page(made.case_id)
            return next((each for each in calls.items if until(each)), None)

        return made, await wait_until(found, what=f"a call of {activity}")

    yield call
    for visit in visits:
        visit.cancel()
    await asyncio.gather(*visits, return_exceptions=True)


# ---- The faults, by alert ----

SETTINGS_ALONE = {
    "CallbackReplicasBehind": Fault(
        {"doctor": "0 attached, and store_durability replicated:1 waits for 1: nothing is acknowledged"},
        settings={"CALLBACK_STORE_DURABILITY": "replicated:1"},
    ),
    "CallbackEdgeWithoutServer": Fault(
        {"doctor": f"edge server_target: {NOWHERE} cannot be reached"},
        settings={"CALLBACK_EDGE_SERVER_TARGET": NOWHERE},
    ),
    "CallbackVerificationsFail": Fault(
        {"verify": "refused: no signature is valid"}, {"PROFILE": "repository"}, typed=ALTERED
    ),
}
"""The faults that are in the settings of a command, or in its input."""
# Each of these functions plants the fault of the alert of its name.


async def CallbackStoreUnavailable(world):
    world.stack.enter_context(set_up(world.store, maxmemory_policy="allkeys-lru"))
    return Fault({"doctor": "maxmemory-policy is allkeys-lru, so a full store deletes cases"})


async def CallbackStoreRefused(world):
    keeper = EpochKeeper(world.directory / "epochs")
    keeper.epochs.remember(1, Epoch(2, "ab", ""))
    keeper.close()
    settings = {"CALLBACK_STORE_EPOCHS_FILE": str(world.directory / "epochs")}
    return Fault({"doctor": "1 of 64 partitions are older than what this server has seen"}, settings=settings)


async def CallbackStepsLost(world):
    world.plain.hset(keys.key(3, "losses"), "7", "12:5:1764000000")
    return Fault({"losses": "partition 3  12 steps lost"})


async def CallbackStoreFaults(world):
    case = "f" * 32
    world.plain.zadd(keys.key(keys.partition_of(case), "leases"), {f"{case}-{'0' * 16}": 1})
    return Fault({"repair": f"entry_without_case  leases  {case}-{'0' * 16}"})


async def CallbackClocksDiffer(world):
    seconds, _ = world.plain.time()
    world.plain.set(keys.key(3, "clock"), f"{(seconds + 100) * 1_000_000}:0")
    return Fault({"doctor": "its clock has stepped back"})


async def CallbackAuditWrong(world):
    made = await world.client.generate_callback_url("record", Response("ok"))
    await world.client.close_callback(made.case_id)
    chain = keys.partition_of(made.case_id)
    with redis.Redis(port=world.of_system.port) as client:
        ((newest, _),) = client.xrevrange(keys.audit_key(chain), count=1)
        client.xdel(keys.audit_key(chain), newest)
    world.plain.hset(keys.key(chain, "losses"), "7", "1:5:1764000000")
    return Fault({"audit": f"(?m)^{chain} +truncated", "losses": f"partition {chain}  1 steps lost"})


async def CallbackStoreMemoryFills(world):
    used = world.plain.info("memory")["used_memory"]
    world.stack.enter_context(set_up(world.store, maxmemory=used * 11 // 10))
    return Fault({"doctor": "of maxmemory; when full, it refuses new callbacks"})


async def CallbackRetentionOff(world):
    settings = {"CALLBACK_RETENTION_S": str(10 * 365 * 86_400)}
    return Fault({"doctor": "retention_s: closed callbacks and ended calls are kept for 3650 days"}, settings=settings)


async def CallbackProcessGone(world):
    settings = {"CALLBACK_ADMIN_BIND": NOWHERE}
    return Fault({"doctor": f"process: none answers at http://{NOWHERE}"}, settings=settings)


async def CallbackFileDescriptorsLow(world):
    return Fault({"doctor": r"process: it runs version \S+ and uses \d+ of its \d+ file"}, settings=world.running)


async def CallbackVersionsDiffer(world):
    return Fault({"doctor": r"process: it runs version \S+ and uses"}, settings=world.running)


async def CallbackLimitReached(world):
    made, _ = await world.call("record", lambda each: each.status is CallStatus.SUCCEEDED)
    return Fault({"statistics": "OPEN CALLBACK COUNT", "calls": made.case_id[:8]})


async def CallbackCallersSeeErrors(world):
    _, failed = await world.call("broken", lambda each: each.status is CallStatus.FAILED)
    made = await world.client.generate_callback_url("record", Response("ok"))
    await world.client.close_callback(made.case_id)
    assert (await world.http.post(made.url)).status_code == 410

    async def is_counted():
        return any(minute.refusals for minute in (await world.client.get_statistics()).minutes)

    await wait_until(is_counted, what="the refusal in the statistics")
    return Fault({"trace": f"newest {failed.call_id}", "statistics": "REFUSED REQUESTS", "doctor": "store write"})


async def CallbackCallsFail(world):
    _, failed = await world.call("broken", lambda each: each.status is CallStatus.FAILED)
    words = {"ACTIVITY": "broken", "CALL": failed.call_id}
    return Fault({"trace": f"newest {failed.call_id}", "call": "HANDLER_ERROR".replace("_", " ").lower()}, words)


async def CallbackNotServed(world):
    _, not_started = await world.call("unserved", lambda each: each.status is CallStatus.NOT_STARTED)
    orders = f'{{"orders": {{"target": "{NOWHERE}"}}}}'
    return Fault(
        {
            "trace": f"(?s)unserved.*newest {not_started.call_id}",
            "activities": r"unserved +nothing",
            "doctor": "activities.orders",
        },
        settings={"CALLBACK_ACTIVITIES": orders},
    )


async def CallbackCallsInterrupted(world):
    made, running = await world.call("stuck", lambda each: each.status is CallStatus.RUNNING)
    await end_leases(world.of_system)

    async def is_interrupted():
        return (await world.client.get_call(running.call_id)).status is CallStatus.INTERRUPTED

    await wait_until(is_interrupted, what="an interrupted call")
    return Fault({"calls": made.case_id[:8]})


async def CallbackDeliveriesDead(world):
    made, dead = await world.call(
        "broken",
        lambda each: each.delivery and each.delivery.status is DeliveryStatus.DEAD,
        answer_mode=AnswerMode.ACK,
    )
    return Fault(
        {
            "trace": f"newest {dead.call_id}",
            "replay --activity": r"\d calls would be replayed|Replayed",
            "calls": made.case_id[:8],
            "replay": dead.call_id,
        },
        {"ACTIVITY": "broken", "CALL": dead.call_id},
    )


async def CallbackDeliveriesFail(world):
    _, tried = await world.call(
        "failing",
        lambda each: each.delivery and each.delivery.attempts > 0 and each.delivery.failure,
        answer_mode=AnswerMode.ACK,
    )
    words = {"ACTIVITY": "failing", "CALL": tried.call_id}
    finds = {"trace": f"newest {tried.call_id}", "call": "(?i)handler error", "replay": "Replayed . calls"}
    return Fault(finds, words)


async def CallbackDeliveriesStayDead(world):
    _, dead = await world.call(
        "broken",
        lambda each: each.delivery and each.delivery.status is DeliveryStatus.DEAD,
        answer_mode=AnswerMode.ACK,
    )
    finds = {"calls": dead.call_id[:8], "trace": f"newest {dead.call_id}", "replay": dead.call_id}
    return Fault(finds, {"CALL": dead.call_id})


async def CallbackDeliveriesLate(world):
    await world.client.pause_activity("on-leave")
    world.stack.push_async_callback(world.client.resume_activity, "on-leave")
    await world.call("on-leave", lambda each: each.delivery, answer_mode=AnswerMode.ACK)
    return Fault(
        {
            "activities": r"on-leave .*1 \(paused\)",
            "paused": "on-leave",
            "statistics": "delivery count +[1-9]",
        }
    )


async def CallbackHeldCallsPileUp(world):
    _, held = await world.call("form", lambda each: each.status is CallStatus.RUNNING)
    return Fault({"list": held.call_id[:8]})


async def CallbackHeldCallsLate(world):
    _, held = await world.call("form", lambda each: each.status is CallStatus.RUNNING)
    return Fault({"list": held.call_id[:8], "answer": held.call_id}, {"CALL": held.call_id})


async def CallbackKeysNotFetched(world):
    (world.directory / "fetched.toml").write_text(
        '[profiles.people]\nkind = "jwt"\nalgorithms = ["RS256"]\nissuer = "i"\naudience = "a"\n'
        'jwks_url = "https://identity.invalid/keys"\n'
    )
    settings = {"CALLBACK_CONFIG": str(world.directory / "fetched.toml")}
    return Fault(
        {"doctor": "profiles.people: its keys cannot be fetched: https://identity.invalid/keys"}, settings=settings
    )


async def CallbackCertificateExpires(world):
    soon = trustme.CA().issue_cert("localhost", not_after=datetime.now(UTC) + timedelta(days=3))
    settings = {}
    for name, blob in (("CERT", soon.cert_chain_pems[0]), ("KEY", soon.private_key_pem)):
        blob.write_to_path(world.directory / name)
        settings[f"CALLBACK_TLS_{name}_FILE"] = str(world.directory / name)
    return Fault({"doctor": "tls_cert_file: .* expires on"}, settings=settings)


async def CallbackAccessExpires(world):
    principals = world.directory / "principals.toml"
    add_token(principals, "orders", (Role.OWNER,), datetime.now(UTC) + timedelta(days=3))
    settings = {"CALLBACK_PRINCIPALS_FILE": str(principals)}
    return Fault({"doctor": "principal orders: a token of it expires on"}, settings=settings)


async def CallbackReloadFailed(world):
    (world.directory / "principals.toml").write_text('[principals.orders]\nroles = ["queen"]\n')
    settings = {"CALLBACK_PRINCIPALS_FILE": str(world.directory / "principals.toml")}
    return Fault({"doctor": "principals.orders.roles"}, settings=settings)


@pytest.fixture
async def world(system, call, store_of, tmp_path):
    store = store_of()
    async with contextlib.AsyncExitStack() as stack:
        plain = stack.enter_context(redis.Redis(port=store.port))
        yield SimpleNamespace(
            client=system.client, http=system.http, of_system=system.store, target=system.grpc, call=call, store=store,
            plain=plain, directory=tmp_path, stack=stack, config=system.directory / "callback.toml",
            running={"CALLBACK_ADMIN_BIND": system.server.facts["admin"]},
        )  # fmt: skip


@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
async def test_the_commands_of_a_runbook_find_the_fault(alert, world):
    fault = SETTINGS_ALONE.get(alert) or await globals()[alert](world)
    found = set()
    for command in runbook_commands(alert):
        for word, value in fault.words.items():
            command = re.sub(rf"\b{word}\b", value, command)
        settings = {
            "CALLBACK_TARGET": world.target, "CALLBACK_CONFIG": str(world.config),
            "CALLBACK_STORE_URL": world.store.url, "CALLBACK_EDGE_SERVER_TARGET": world.target, "COLUMNS": "200",
            **fault.settings,
        }  # fmt: skip
        ran = await run_callback(*command.split(), stdin=fault.typed.encode(), preloaded=PRELOADED, **settings)
        name = max((each for each in fault.finds if command.startswith(each)), key=len)
        assert re.search(fault.finds[name], ran.output + ran.errors), f"{command}\n{ran}"
        found.add(name)
    assert found == fault.finds.keys()
