"""Fixtures for all tests, and the option `--quick`: the tests that need no store and no browser."""

import asyncio
import contextlib
import functools
import gc
import signal
import sys
from pathlib import Path

import grpc.aio
import httpx
import hypothesis
import pytest
from soak import runs
from soak.counts import SOAK, count
from support import crashes, fork_server, timing
from support.limits import limited
from support.store import StoreProcess, folder_in_memory
from support.wait import DEADLINE_S

from callback_server.store.connection import client, pipelined_connection

TESTS = Path(__file__).parent
QUICK = (
    "domain",
    "verification",
    "packaging/test_contract.py",
    "packaging/test_language.py",
    "packaging/test_links.py",
    "packaging/test_tree.py",
)
"""Folders and files whose tests start no store and no browser. `python3 tasks.py quick` runs them."""
NOT_QUICK = (
    "domain/test_page_templates.py",
    "verification/test_fetched_keys.py",
    "verification/test_fetcher.py",
    "verification/test_hostile.py",
    "verification/test_issuers.py",
    "verification/test_jwt.py",
    "verification/test_makers.py",
    "verification/test_providers.py",
    "verification/test_public_keys.py",
    "verification/test_sample_messages.py",
    "verification/test_signature_formats.py",
)
"""Files of these that take most of a second of processor time, or more: `quick` is for a loop of ten seconds."""
SLOW_PROGRAMS = (
    "valkey-server",
    "redis-server",
    "chromium",
    "callback_cli up",
    "-m callback_server",
    "-m callback_edge",
)
"""Programs that these tests may not start, as parts of a command."""

LONGEST = (
    "languages/test_go.py",
    "languages/test_typescript.py",
    "prove/test_proofs.py",
    "prove/test_planted_faults.py",
    "console/test_console_in_chromium.py",
    "end_to_end/test_waiting_in_chromium.py",
    "end_to_end/test_readme.py",
    "packaging/test_contributing.py",
    "cli/test_diagnostics.py",
    "store/test_stored_data.py",
    "deploy/test_proxies.py",
    "flows/test_guides.py",
    "up/test_up.py",
    "workers/test_processes.py",
    "conformance/test_worker_scenarios.py",
    "clients/test_testing.py",
    "console/test_console_access.py",
    "reliability/test_store_errors.py",
    "edge/test_pages_in_chromium.py",
    "deploy/test_night.py",
    "store/test_repair_of_lists.py",
    "deploy/test_runbooks.py",
    "end_to_end/test_browser.py",
    "end_to_end/test_matrix.py",
    "edge/test_process.py",
    "deploy/test_alerts.py",
    "reliability/test_failover.py",
    "store/test_pipeline.py",
    "languages/test_mixed_run.py",
    "console/test_console_fields.py",
    "cli/test_terminal.py",
    "deploy/test_raw_requests.py",
    "reliability/test_planted_secrets.py",
    "reliability/test_slow_peers.py",
    "store/test_epochs.py",
    "reliability/test_callers_without_an_answer.py",
    "server/test_waiting_answers.py",
    "deploy/test_backup.py",
    "deploy/test_rolling_restarts.py",
)
"""Files that take longest, the slowest first. They run first, so that at the end no process waits long for another."""

hypothesis.settings.register_profile(
    "callback",
    max_examples=count(20, 500),
    deadline=None,  # machines are shared: a slow example is not a failure
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="run only the tests that need no store and no browser")


def pytest_configure(config):
    assert [each for each in (*LONGEST, *NOT_QUICK) if not (TESTS / each).is_file()] == []
    config.pluginmanager.register(timing)
    config.pluginmanager.register(crashes)
    # A shell starts a command in the background with SIGINT ignored. The programs of the tests would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    hypothesis.settings.load_profile("callback")
    if hasattr(config, "workerinput") and config.args_source is config.ArgsSource.TESTPATHS:
        config.args = folders_in_turn(config.workerinput)


def folders_in_turn(workerinput):
    """Return the folders of tests, from another one on in each process of xdist.

    The processes collect at the same time. So they do not all compile the same file, which takes as long as the rest of
    a collection, but find what another one has compiled. Where each begins does not change the order of the tests.
    """
    folders = sorted(str(each) for each in TESTS.iterdir() if any(each.glob("test_*.py")))
    number, count = int(workerinput["workerid"].removeprefix("gw")), workerinput["workercount"]
    begin = len(folders) * number // count
    return folders[begin:] + folders[:begin]


def pytest_sessionfinish(session):
    config = session.config
    runs_whole_files = not config.option.keyword and not any("::" in each for each in config.args)
    if SOAK and runs_whole_files and not hasattr(config, "workerinput"):
        passed = timing.seconds_of_passed_files()
        runs.record({str(Path(file).relative_to(TESTS.name)): seconds for file, seconds in passed.items()})


def is_quick(path):
    name = path.relative_to(TESTS)
    return str(name) not in NOT_QUICK and any(name.is_relative_to(each) for each in QUICK)


def pytest_ignore_collect(collection_path, config):
    """Ignore a path unless it is one of these folders and files, inside one, or a parent of one."""
    if not config.getoption("quick") or is_quick(collection_path):
        return None
    return not any((TESTS / each).is_relative_to(collection_path) for each in QUICK) or None


def pytest_collection_modifyitems(items):
    """Move the longest files to the front. The order of the others, and inside a file, stays random."""
    ranks = {TESTS / each: rank for rank, each in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Keep the garbage collector away from what is imported and collected: it stays, and is most of all objects."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


_running_quick_test = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    global _running_quick_test  # the audit hook below cannot be removed, so it asks a variable
    _running_quick_test = is_quick(item.path)
    try:
        return (yield)
    finally:
        _running_quick_test = False


def _refuse_slow_programs(event, arguments):
    """Fail a quick test that starts a store, a browser, or a process of the product that needs a store."""
    if event == "subprocess.Popen" and _running_quick_test:
        command = " ".join(map(str, arguments[1]))
        found = [program for program in SLOW_PROGRAMS if program in command]
        assert not found, (
            f"this test is among the quick ones (tests/conftest.py) and may not start {found[0]}: {command}"
        )


sys.addaudithook(_refuse_slow_programs)


@pytest.fixture(scope="session")
def store_of():
    """Return a running, empty store of a kind. The session uses the same one throughout."""
    stores = {}

    def get(kind="valkey", *, is_in_use=False):
        if kind not in stores:
            stores[kind] = StoreProcess(folder_in_memory(), kind=kind).start()
        if is_in_use:  # by services of the module
            stores[kind].flush_below()
        else:
            stores[kind].flush()
        return stores[kind]

    yield get
    for store in stores.values():
        store.stop()


@pytest.fixture
def limits():
    """Give constants of a module other values until the end of the test: `limits(sweeper, SWEEP_INTERVAL_S=0.1)`."""
    with contextlib.ExitStack() as given:
        yield lambda module, **values: given.enter_context(limited(module, **values))


@pytest.fixture(scope="session", autouse=True)
def httpx_suits_a_busy_machine():
    """Let clients of httpx share a TLS context, for which each reads 150 authorities, and wait longer than 5 s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx._transports.default, "create_ssl_context", functools.cache(httpx.create_ssl_context))
        for limit in ("connect", "read", "write", "pool"):
            patch.setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, limit, DEADLINE_S)
        yield


@pytest.fixture(scope="session", autouse=True)
def a_busy_store_has_time():
    """Let what runs in this process wait for a store longer than 2 s, but not so long that each test of it is slow."""
    with pytest.MonkeyPatch.context() as patch:
        for module, limit in (
            (client, "SOCKET_TIMEOUT_S"), (pipelined_connection, "SOCKET_TIMEOUT_S"),
            (client, "CONNECT_TIMEOUT_S"), (client, "POOL_WAIT_S"),
        ):  # fmt: skip
            patch.setattr(module, limit, 8.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def fork_servers_end():
    yield
    fork_server.stop_all()


@pytest.fixture(scope="session", autouse=True)
async def no_grpc_loop_is_closed():
    """Fail a test that closes an event loop on which it used grpc.aio.

    grpc.aio has one completion queue per process. An event that arrives for a closed loop raises in another loop: it
    fails a test that runs then, or ends the process. A program with a loop of its own runs in a process of its own.
    """
    loops = {}
    session_loop = asyncio.get_running_loop()

    def noting(make):
        @functools.wraps(make)
        def note(*args, **kwargs):
            loop = asyncio.get_running_loop()
            loops[id(loop)] = loop  # held, so that no other loop gets its id
            return make(*args, **kwargs)

        return note

    def close(loop):
        assert loop is session_loop or id(loop) not in loops, (
            "a test closes an event loop on which it used grpc.aio: run it in a process of its own"
        )
        close_before(loop)

    close_before = asyncio.SelectorEventLoop.close
    with pytest.MonkeyPatch.context() as patch:
        for made in (grpc.aio._channel.Channel, grpc.aio._server.Server):
            patch.setattr(made, "__init__", noting(made.__init__))
        patch.setattr(asyncio.SelectorEventLoop, "close", close)
        yield
