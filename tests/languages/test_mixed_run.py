"""Clients of all languages in one system under server restarts: the history checker of `callback prove` judges the run.

Go generates and watches, workers of Python and of Node run the handlers, Node resolves the held calls, and Chromium and
HTTP clients call.
"""

import asyncio
import contextlib
import itertools
import json
import time

import msgspec
from playwright.async_api import Error as BrowserError
from soak.counts import SOAK, count
from support.browser import chromium, visitor
from support.wait import wait_until

from callback_launcher.child import running
from callback_launcher.launcher import Launcher
from callback_launcher.store import Store
from callback_prove.checker import SUCCESSES, check
from callback_prove.faults import kill, stop
from callback_prove.history import (
    NO_ANSWER,
    Answered,
    AnyStep,
    Generated,
    History,
    Injected,
    Recorded,
    Requested,
    WatchLost,
    WatchStarted,
    of_type,
)
from callback_prove.modes import MODES
from callback_prove.proof import QUIET_S
from callback_prove.report import report
from callback_prove.system import MAX_ATTEMPTS, Handler, Size, System
from callback_prove.workload import Workload

CASES = count(24, 10_000)
CALLS = count(12, 10_000)
"""Number of calls that must be recorded at least."""
CALLERS = count(6, 24)
"""Number of cases that are called at the same time."""
VISITS = count(2, 200)
"""Number of these cases that Chromium calls."""
RESTARTS = count(1, 40)
RUN_S = count(600, 6 * 3600)
FAULTS = (stop, kill) if SOAK else (stop,)
"""How servers are restarted. After a kill, a test waits for the leases of the calls that ran."""


class Program:
    """A program that prints steps of the history, each a line of JSON."""

    def __init__(self, command, log, history):
        self._command, self._log, self._history = command, log, history
        self._numbers = itertools.count()
        self._asked = {}

    @contextlib.asynccontextmanager
    async def running(self):
        """Run it in the body."""
        pipes = dict.fromkeys(("stdin", "stdout"), asyncio.subprocess.PIPE)
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(*self._command, **pipes, stderr=log)
        reading = asyncio.create_task(self._read())
        try:
            yield self
        finally:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                self._process.kill()
            await self._process.wait()
            await reading

    async def _read(self):
        async for line in self._process.stdout:
            self._history.add(msgspec.json.decode(line, type=AnyStep))
            told = json.loads(line)
            if told["step"] == "generated":
                self._asked.pop(told["number"]).set_result((told["case_id"], told["url"]))
        for asked in self._asked.values():
            asked.set_exception(AssertionError(self._log.read_text()))

    async def generate(self, mode, activity):
        """Return the id and the URL of a new case. Both are empty if none was returned in time."""
        number = next(self._numbers)
        self._asked[number] = asyncio.get_running_loop().create_future()
        line = json.dumps({"number": number, "mode": mode, "activity": MODES[mode].activity or activity})
        self._process.stdin.write(f"{line}\n".encode())
        return await self._asked[number]


class Run:
    """One run.

    `finished` is the number of cases whose callers have their responses, and `shown` that of the answers in Chromium.
    """

    def __init__(self, system, history, go, workload):
        self._system, self._history, self._go, self._workload = system, history, go, workload
        self._numbers = iter(range(CASES))
        self.finished = self.shown = 0

    async def call(self):
        """Call cases of every mode, one after the other, as callers do who share them."""
        modes = [*MODES]
        for number in self._numbers:
            mode = modes[number % len(modes)]
            case_id, url = await self._go.generate(mode, *self._system.activities)
            if url:
                await self._workload.call_all(mode, case_id, url, number)
            self.finished += 1

    async def visit(self):
        """Call cases with Chromium, each until it shows the answer of the handler."""
        async with chromium() as browser, visitor(browser) as page:
            for number in range(VISITS):
                await self._reach(number * CASES // VISITS)
                case_id, url = await self._go.generate("retryable", *self._system.activities)

                async def is_shown(case_id=case_id, url=url):
                    self._history.add(step := await _visit(page, case_id, url))
                    return step.code == 200

                if url:
                    await wait_until(is_shown, deadline_s=RUN_S, what="the answer of a handler in Chromium")
                    self.shown += 1

    async def restart_servers(self):
        """Restart servers, one after the other, at times that are evenly distributed over the cases."""
        for number in range(RESTARTS):
            server, fault = self._system.servers[number % len(self._system.servers)], FAULTS[number % len(FAULTS)]
            await self._reach((number + 1) * CASES // (RESTARTS + 1))
            self._history.add(Injected(at=time.time(), fault=fault.__name__, process=server.name))
            await fault(server, 0)

    async def _reach(self, number):
        await wait_until(lambda: self.finished >= number, deadline_s=RUN_S, what=f"{number} finished cases")


async def _visit(page, case_id, url):
    """Return what Chromium got from a URL."""
    began = time.time()
    code, text, is_told_to_wait = NO_ANSWER, "", False
    with contextlib.suppress(BrowserError):  # the connection broke
        response = await page.goto(url)
        code, text = response.status, await response.text()
        is_told_to_wait = code == 202 and "location" in response.headers
    return Requested(
        began=began, ended=time.time(), case_id=case_id, body="", code=code, text=text if code in SUCCESSES else "",
        is_told_to_wait=is_told_to_wait,
    )  # fmt: skip


async def test_clients_of_all_languages_keep_every_promise_while_servers_restart(tmp_path, go_commands, node_commands):
    launcher = Launcher(tmp_path)
    with History(tmp_path / "history.ndjson") as history:
        store = Store(launcher, "store-1")
        size = Size(servers=count(1, 2), edges=1, workers=1, handlers=0, http_handlers=0)
        system = System(launcher, store.url, size=size)
        (python,) = system.handlers
        node = Handler(launcher, "node-1", [*node_commands["mixed_worker"], system.target])
        system.handlers.append(node)
        workload = Workload(system.target, system.edge_addresses, history, activities=system.activities)
        go = Program([*go_commands["mixed"], system.target], tmp_path / "go.log", history)
        resolver = Program([*node_commands["mixed_resolver"], system.target], tmp_path / "resolver.log", history)
        async with running(store), system.running(), workload.connected(), go.running(), resolver.running():
            await wait_until(lambda: of_type(history.steps, WatchStarted), what="a watch")
            for each in (python, node):
                await asyncio.to_thread(each.require_healthy)
            run = Run(system, history, go, workload)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(run.visit())
                tasks.create_task(run.restart_servers())
                for _ in range(CALLERS):
                    tasks.create_task(run.call())
            await workload.read([step.case_id for step in of_type(history.steps, Generated)], timeout_s=QUIET_S)
        history.add(*system.runs())
    violations = check(history.steps, max_attempts=MAX_ATTEMPTS)
    print(report(history.steps, violations))
    print(f"runs: Python {len([*python.runs()])}, Node {len([*node.runs()])}; Chromium: {run.shown} answers")
    assert violations == []
    assert sum(len(each.calls) for each in of_type(history.steps, Recorded)) >= CALLS
    assert all([*each.runs()] for each in (python, node))
    assert of_type(history.steps, Answered)
    assert of_type(history.steps, WatchLost) == []
    assert len(of_type(history.steps, Injected)) == RESTARTS
    assert run.shown > 0
