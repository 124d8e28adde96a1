"""A night of operation with faults that are planted for real, watched by Prometheus with the rules of `docs/deploy`.

Each fault raises its alert, no other alert fires, and the first command of the runbook names the cause. A minute of the
rules is a second here. The faults are side by side: they are of one system, and of a second server beside it.
"""

import asyncio
import contextlib
import dataclasses
import os
import re
import resource
import sys
import urllib.request
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import redis
import trustme
import yaml
from soak.counts import SOAK, count
from support.clients import run_callback
from support.deployed import RULES, runbook_commands
from support.leases import end_leases
from support.store import free_port
from support.system import Process, own_store, running_system
from support.tools import require
from support.wait import wait_until
from support.workers import handlers_of

from callback import AnswerMode, CallStatus, Response
from callback_launcher.child import Child, running
from callback_server.access.roles import Role
from callback_server.access.tokens import add_token
from callback_server.store import keys

CONFIG = """\
[profiles.repository]
kind = "provider:github"
secret_files = ["{directory}/secret"]
[activities.broken]
target = "{handlers}"
[activities.broken.retry]
max_attempts = 1
[activities.failing]
target = "{handlers}"
[activities.stuck]
target = "{handlers}"
deadline_s = 60
"""
ALTERED = "POST / HTTP/1.1\nHost: a.example\nContent-Length: 1\nX-Hub-Signature-256: sha256=00\n\nx"
PRELOADED = ("callback_edge.doctor", "callback_server.operations.doctor")
HELD = 210


@dataclasses.dataclass
class Planted:
    """What the first command of the runbook of a fault says, and with which settings and words it does."""

    finds: str
    settings: dict[str, str] = dataclasses.field(default_factory=dict)
    words: dict[str, str] = dataclasses.field(default_factory=dict)
    typed: str = ""


class Night:
    """A system in which faults are planted, a server `odd` beside it, and what keeps a fault going, in `tasks`."""

    def __init__(self, system, odd, directory):
        self.system, self.odd, self.directory = system, odd, directory
        self.of_odd = {name: odd.environment[name] for name in odd.environment if name.startswith("CALLBACK_")}
        self.tasks = []

    def keep(self, visit, interval_s=0.5):
        """Do something again and again, until the end of the faults."""

        async def again():
            while True:
                await visit()
                await asyncio.sleep(interval_s)

        self.tasks.append(asyncio.create_task(again()))

    async def call(self, activity, **options):
        """Call a new callback, and return it."""
        made = await self.system.client.generate_callback_url(activity, Response("ok"), **options)
        await self.system.http.post(made.url)
        return made

    async def end(self):
        """Let no fault go on."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


# ---- The faults: each function has the name of its alert ----


async def CallbackCallsFail(night):
    night.keep(lambda: night.call("broken"))
    return Planted("The handler returned an error", words={"ACTIVITY": "broken"})


async def CallbackDeliveriesFail(night):
    """An activity whose handler always fails, in deliveries that are never overdue."""
    for _ in range(3):
        await night.call("failing", answer_mode=AnswerMode.ACK)
    return Planted("The handler returned an error", words={"ACTIVITY": "failing"})


async def CallbackNotServed(night):
    for _ in range(4):
        night.keep(lambda: night.call("unserved"))
    return Planted("unserved")


async def CallbackVerificationsFail(night):
    for _ in range(3):
        await night.call("record", verification_profile="repository")
    return Planted("refused: no signature is valid", words={"PROFILE": "repository"}, typed=ALTERED)


async def CallbackReloadFailed(night):
    file = night.directory / "token"
    file.write_text("two words")
    return Planted("edge server_token_file: .*one token", {"CALLBACK_EDGE_SERVER_TOKEN_FILE": str(file)})


async def CallbackRetentionOff(night):
    return Planted("are kept for 3650 days", night.of_odd)


async def CallbackCertificateExpires(night):
    return Planted("tls_cert_file: .* expires on", night.of_odd)


async def CallbackAccessExpires(night):
    return Planted("principal orders: a token of it expires on", night.of_odd)


async def CallbackFileDescriptorsLow(night):
    used = len(os.listdir(f"/proc/{night.odd.process.pid}/fd"))  # noqa: PTH208  # a name for each, without a look at it
    most = used + 6
    resource.prlimit(night.odd.process.pid, resource.RLIMIT_NOFILE, (most, most))
    return Planted(rf"process: it runs version \S+ and uses \d+ of its {most} file descriptors; allow", night.of_odd)


async def CallbackDeliveriesDead(night):
    await night.call("broken", answer_mode=AnswerMode.ACK)
    return Planted("The handler returned an error", words={"ACTIVITY": "broken"})


async def CallbackDeliveriesStayDead(_night):
    """The same dead delivery, which nobody replays."""
    return Planted("broken")


async def CallbackCallsInterrupted(night):
    made = await night.system.client.generate_callback_url("stuck", Response("ok"))
    night.tasks.append(asyncio.create_task(night.system.http.post(made.url)))

    async def is_running():
        calls = (await night.system.client.list_calls_page(made.case_id)).items
        return calls and calls[0].status is CallStatus.RUNNING

    await wait_until(is_running, what="a call that runs")
    await end_leases(night.system.store)
    return Planted(made.case_id[:8])


async def CallbackStoreFaults(night):
    case = "f" * 32
    with redis.Redis(port=night.system.store.port) as store:
        store.zadd(keys.key(keys.partition_of(case), "leases"), {f"{case}-{'0' * 16}": 1})
    return Planted("entry_without_case")


async def CallbackHeldCallsPileUp(night):
    for _ in range(HELD):
        made = await night.system.client.generate_callback_url("form", Response("ok"))
        night.tasks.append(asyncio.create_task(night.system.http.post(made.url)))
    return Planted(made.case_id[:8])


async def CallbackLimitReached(night):
    """One owner sends more than its minute allows."""
    night.keep(lambda: night.call("record"), interval_s=0.05)
    return Planted("too many requests|TOO_MANY_REQUESTS")


async def CallbackVersionsDiffer(night):
    return Planted("it runs version", {"CALLBACK_ADMIN_BIND": night.odd.environment["CALLBACK_ADMIN_BIND"]})


IN_THE_GATE = (
    CallbackCallsFail, CallbackDeliveriesFail, CallbackNotServed, CallbackVerificationsFail, CallbackReloadFailed,
    CallbackRetentionOff, CallbackCertificateExpires, CallbackAccessExpires, CallbackFileDescriptorsLow,
)  # fmt: skip
ALL = (
    *IN_THE_GATE, CallbackDeliveriesDead, CallbackDeliveriesStayDead, CallbackCallsInterrupted, CallbackStoreFaults,
    CallbackHeldCallsPileUp, CallbackLimitReached, CallbackVersionsDiffer,
)  # fmt: skip
FAULTS = ALL if SOAK else IN_THE_GATE


# ---- What watches ----


def quickly(rules):
    """Return rules whose ranges and waits are seconds in place of minutes. The thresholds stay."""

    def shorter(match):
        seconds = int(match[2]) * {"m": 1, "h": 60}[match[3]]
        return f"{match[1]}{seconds}s"

    return re.sub(r"(\[|for: )(\d+)([mh])", shorter, rules)


class Prometheus(Child):
    """Prometheus with quick rules, at the admin ports of processes by their jobs."""

    def __init__(self, directory, targets):
        (directory / "rules.yaml").write_text(quickly(RULES.read_text()))
        jobs = [{"job_name": name, "static_configs": [{"targets": each}]} for name, each in targets.items()]
        every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        settings = {"global": every, "rule_files": ["rules.yaml"], "scrape_configs": jobs}
        (directory / "prometheus.yaml").write_text(yaml.safe_dump(settings))
        address = f"127.0.0.1:{free_port()}"
        self._api = httpx.AsyncClient(base_url=f"http://{address}/api/v1", timeout=60)
        super().__init__(
            name="prometheus", log=directory / "prometheus.log",
            command=[
                require("prometheus"), f"--config.file={directory}/prometheus.yaml",
                f"--storage.tsdb.path={directory}/data", f"--web.listen-address={address}",
            ],
            is_healthy=lambda: urllib.request.urlopen(f"http://{address}/-/ready").status == 200,
        )  # fmt: skip

    async def query(self, expression):
        """Return the labels of the series that an expression has now."""
        answer = await self._api.get("/query", params={"query": expression})
        return [each["metric"] for each in answer.raise_for_status().json()["data"]["result"]]

    async def fired(self):
        """Return the alerts that have fired, by name, with their labels."""
        return {each["alertname"]: each for each in await self.query('max_over_time(ALERTS{alertstate="firing"}[1d])')}

    async def until_fired(self, *alerts):
        """Wait until the alerts have fired."""
        wanted, fired = set(alerts), {}

        async def have_fired():
            fired.update(await self.fired())
            return fired.keys() >= wanted

        try:
            await wait_until(have_fired, deadline_s=count(240, 900), what="the alerts")
        except AssertionError:
            raise AssertionError(f"{wanted - fired.keys()} have not fired") from None


@contextlib.asynccontextmanager
async def odd_server(directory, store):
    """Run a server whose certificate and only token end soon, and which deletes nothing for years. In a soak it is of
    the release before.
    """
    principals, certificate, key = (directory / name for name in ("principals.toml", "certificate.pem", "key.pem"))
    soon = datetime.now(UTC) + timedelta(days=3)
    add_token(principals, "orders", (Role.OWNER,), soon)
    made = trustme.CA().issue_cert("localhost", not_after=soon)
    made.cert_chain_pems[0].write_to_path(certificate)
    made.private_key_pem.write_to_path(key)
    more = {}
    if SOAK:
        former = directory / "former" / "callback-0.0.9.dist-info"
        former.mkdir(parents=True)
        (former / "METADATA").write_text("Metadata-Version: 2.1\nName: callback\nVersion: 0.0.9\n")
        more = {"PYTHONPATH": f"{former.parent}:{os.environ.get('PYTHONPATH', '')}"}
    process = Process(
        "callback_server", directory / "odd.log", interpreter=[sys.executable] if SOAK else None,
        CALLBACK_STORE_URL=store.url, CALLBACK_GRPC_BIND=f"127.0.0.1:{free_port()}",
        CALLBACK_ADMIN_BIND=f"127.0.0.1:{free_port()}", CALLBACK_PRINCIPALS_FILE=str(principals),
        CALLBACK_TLS_CERT_FILE=str(certificate), CALLBACK_TLS_KEY_FILE=str(key),
        CALLBACK_RETENTION_S=str(3650 * 86_400), CALLBACK_STATE_KEY="k" * 32, **more,
    )  # fmt: skip
    await asyncio.to_thread(process.start)
    try:
        yield process
    finally:
        await asyncio.to_thread(process.kill)


async def broken(_call):
    raise ValueError


async def stuck(_call):
    await asyncio.Event().wait()


@pytest.fixture
async def night(tmp_path):
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "token").write_text("callback_token")
    async with contextlib.AsyncExitStack() as stack:
        store = stack.enter_context(own_store(tmp_path))
        handlers = handlers_of(broken=broken, failing=broken, stuck=stuck)
        handlers = await stack.enter_async_context(handlers.listen("127.0.0.1:0", grace=0))
        system = await stack.enter_async_context(
            running_system(
                tmp_path,
                store,
                config=CONFIG.format(directory=tmp_path, handlers=handlers.address),
                server={"CALLBACK_MAX_CALLS_PER_MINUTE_PER_OWNER": "600"} if SOAK else {},
                edge={"CALLBACK_EDGE_SERVER_TOKEN_FILE": str(tmp_path / "token")},
            )
        )
        beside = tmp_path / "beside"
        beside.mkdir()
        of_odd = stack.enter_context(own_store(beside))  # or it would take deliveries, for which it lacks descriptors
        odd = await stack.enter_async_context(odd_server(tmp_path, of_odd))
        night = Night(system, odd, tmp_path)
        stack.push_async_callback(night.end)
        yield night


async def say(night, alert, planted):
    """Run the first command of the runbook of an alert, and check that it names the cause."""
    command = runbook_commands(alert)[0]
    for word, value in planted.words.items():
        command = re.sub(rf"\b{word}\b", value, command)
    system = night.system
    settings = {
        "CALLBACK_TARGET": system.grpc, "CALLBACK_CONFIG": str(system.directory / "callback.toml"),
        "CALLBACK_STORE_URL": system.store.url, "CALLBACK_EDGE_SERVER_TARGET": system.grpc, "COLUMNS": "200",
        "CALLBACK_ADMIN_BIND": system.server.facts["admin"], "CALLBACK_EDGE_ADMIN_BIND": system.edge.facts["admin"],
        **planted.settings,
    }  # fmt: skip
    ran = await run_callback(*command.split(), stdin=planted.typed.encode(), preloaded=PRELOADED, **settings)
    assert re.search(planted.finds, ran.output + ran.errors), f"{alert}: {command}\n{ran}"


async def test_each_fault_of_the_night_raises_its_alert_and_no_other(night, tmp_path):
    system = night.system
    await night.call("record")
    ports = {
        f"callback-{kind}": [each.facts["admin"]] for kind, each in (("server", system.server), ("edge", system.edge))
    }
    ports["callback-server"].append(night.odd.facts["admin"])
    prometheus = Prometheus(tmp_path, ports)
    async with running(prometheus):
        await wait_until(lambda: prometheus.query("count(up == 1) == 3"), what="a look at each process")
        planted = {plant.__name__: await plant(night) for plant in FAULTS}
        await prometheus.until_fired(*planted)
        await asyncio.gather(*(say(night, alert, each) for alert, each in planted.items()))
        await night.end()

        night.odd.kill()
        await prometheus.until_fired("CallbackProcessGone")
        await say(night, "CallbackProcessGone", Planted("process: none answers", night.of_odd))

        system.store.kill()
        await prometheus.until_fired("CallbackStoreUnavailable")
        await say(night, "CallbackStoreUnavailable", Planted("store: .* cannot be reached"))
        lost = "min_over_time((1 - callback_edge_server_up)[5s:1s]) == 1"
        await wait_until(lambda: prometheus.query(lost), what="an edge that has no server")
        fired = await prometheus.fired()
        assert fired.keys() == {*planted, "CallbackProcessGone", "CallbackStoreUnavailable"}, fired
