"""`callback.testing`, as a project with handlers and code that generates URLs uses it."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from queue import Queue

import pytest
from support.up import is_running
from support.wait import DEADLINE_S, wait_until_sync

from callback import Accept, CallbackStatus, CallReason, Handlers, Redirect, Response
from callback._multi_mapping import Headers
from callback.testing import Reply, SystemStartError, running_system
from callback.testing._http import call

CONFTEST = """
import pytest
from shop.handlers import handlers

pytest_plugins = ["callback.testing.fixtures"]

@pytest.fixture(scope="session")
def callback_handlers():
    return handlers

@pytest.fixture(scope="session")
def callback_config():
    return '''
    [server]
    platform_url = "https://shop.example"

    [activities.refund]
    deadline_s = 1
    '''
"""
HANDLERS = """
from callback import Handlers, Redirect, Reject, Response

handlers = Handlers()

@handlers.activity("order-paid")
async def paid(call):
    if call.query.get("status") != "paid":
        raise Reject(Response(b"not paid", code=400))
    return Redirect("/thankyou")
"""
SYNC_TESTS = """
import pytest
from callback import Redirect, Response

@pytest.mark.parametrize("round", range(3))
def test_a_visitor_who_paid_is_sent_on(callback_system, round):
    made = callback_system.client.generate_callback_url("order-paid", Redirect())
    reply = callback_system.visit(made.url, query={"status": "paid"})
    assert (reply.status, reply.location) == (302, "https://shop.example/thankyou")

def test_a_handler_that_fails_is_in_the_log(callback_system, caplog):
    async def broken(call):
        raise RuntimeError("the bank is closed")
    made = callback_system.client.generate_callback_url("order-paid", Redirect(), retryable_after_error=True)
    with callback_system.handling("order-paid", broken):
        assert callback_system.send(made.url, json={"id": 5}).status == 502
    assert "the bank is closed" in caplog.text
    assert callback_system.visit(made.url + "?status=paid").status == 302

def test_an_activity_of_others_can_be_named(callback_system):
    made = callback_system.client.generate_callback_url("refund", Response("refunded"))
    assert made.url.startswith(callback_system.url)
"""
ASYNC_TESTS = """
import asyncio
from callback import Redirect

async def test_a_visitor_who_did_not_pay_is_told_so(callback_system):
    async with callback_system.async_client() as client:
        made = await client.generate_callback_url("order-paid", Redirect())
        reply = await callback_system.async_visit(made.url, query={"status": "open"})
        assert (reply.status, reply.text) == (400, "not paid")

async def test_simultaneous_calls(callback_system):
    async with callback_system.async_client() as client:
        made = await client.generate_callback_url("order-paid", Redirect(), allow_multiple_calls=True)
        replies = await asyncio.gather(*(callback_system.async_send(made.url + "?status=paid") for _ in range(5)))
        assert [reply.status for reply in replies] == [303] * 5
"""
WITH_ASYNCIO = ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
WAITING_TEST = """
import pathlib, time

def test_that_takes_long(callback_system):
    pathlib.Path("log").write_text(str(callback_system.log))
    time.sleep(3600)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write a project with handlers and a `conftest.py`, without tests, and return its path."""
    monkeypatch.setenv("CALLBACK_CONFIG", "/nowhere")  # the environment must not influence the test
    monkeypatch.setenv("CALLBACK_EDGE_GRACE_S", "nonsense")
    path = tmp_path / "project"
    (path / "shop").mkdir(parents=True)
    (path / "shop" / "__init__.py").touch()
    (path / "shop" / "handlers.py").write_text(HANDLERS)
    (path / "structlog.py").write_text("raise SystemError('a file of the project was taken for a module')")
    (path / "conftest.py").write_text(CONFTEST)
    return path


def pytest_command(project, *options, with_asyncio=False):
    command = [sys.executable, "-m", "pytest", "-W", "error", f"--basetemp={project}/temporary", *options]
    return [*command, "-p", "no:cacheprovider", *(WITH_ASYNCIO if with_asyncio else ["-p", "no:asyncio"])]


def run_pytest(project, *options, **choices):
    command = pytest_command(project, *options, **choices)
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def pids(log):
    """Return the processes of a system: `callback up` and its children."""
    events = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    started = [event for event in events if event["event"] == "child_started"]
    return {event["pid"] for event in started} | {event["child_pid"] for event in started}


def logs(project):
    return list((project / "temporary").rglob("callback.log"))


def all_gone(project):
    processes = set().union(*map(pids, logs(project)))
    assert processes
    return not any(map(is_running, processes))


def test_a_project_with_pytest_asyncio_passes_and_leaves_no_processes(project):
    (project / "test_sync.py").write_text(SYNC_TESTS)
    (project / "test_async.py").write_text(ASYNC_TESTS)
    done = run_pytest(project, with_asyncio=True)
    assert "7 passed" in done.stdout, done.stdout + done.stderr
    assert "warning" not in done.stdout
    (log,) = logs(project)  # one system for all of them
    assert len(pids(log)) == 4
    assert all_gone(project)


def test_a_project_without_pytest_asyncio_works_too_and_each_xdist_worker_has_its_own_system(project):
    (project / "test_sync.py").write_text(SYNC_TESTS)
    done = run_pytest(project, "-n", "2")
    assert "5 passed" in done.stdout, done.stdout + done.stderr
    assert len(logs(project)) == 2
    assert all_gone(project)


def test_a_killed_pytest_leaves_no_processes(project):
    (project / "test_waiting.py").write_text(WAITING_TEST)
    with subprocess.Popen(pytest_command(project), cwd=project, stdout=subprocess.DEVNULL) as running:
        try:
            wait_until_sync((project / "log").exists, what="the test")
            (log,) = logs(project)
            assert all(map(is_running, pids(log)))
        finally:
            running.send_signal(signal.SIGKILL)
    wait_until_sync(lambda: all_gone(project), what="the end of the system")
    assert [json.loads(line)["child"] for line in log.read_text().splitlines() if "child_stopped" in line] == [
        "edge", "server", "store",
    ]  # fmt: skip


# ---- In this process ----

handlers = Handlers()


@handlers.activity("echo")
async def echo(call):
    said = {"headers": call.headers.pairs, "query": call.query.pairs, "body": call.body.decode(), "method": call.method}
    return Response(json.dumps(said), headers={"x-a": ["1", "2"], "content-type": "application/json"})


notifications = Queue()


@handlers.notification("echo")
async def notified(notification):
    notifications.put(notification)


CONFIG = """
[server]
platform_url = "https://shop.example"
[activities.other]
deadline_s = 1
target = "x:1"
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    with running_system(handlers, config=CONFIG, directory=tmp_path_factory.mktemp("system")) as system:
        yield system


@pytest.fixture
def url(system):
    """Return a URL that echoes every call."""
    return system.client.generate_callback_url("echo", Response(), allow_multiple_calls=True).url


@pytest.mark.parametrize(
    ("arguments", "method", "kind", "body"),
    [
        ({"body": b"raw"}, "post", None, "raw"),
        ({"body": "text é", "method": "PUT"}, "put", None, "text é"),
        ({"form": [("a", "1"), ("a", "&")]}, "post", "application/x-www-form-urlencoded", "a=1&a=%26"),
        ({"json": {"id": "5"}}, "post", "application/json", '{"id": "5"}'),
        ({"json": [], "headers": {"content-type": "application/cloudevents+json"}}, "post",
         "application/cloudevents+json", "[]"),
        ({"method": "GET"}, "get", None, ""),
    ],
)  # fmt: skip
def test_send_sends_the_request_as_described(system, url, arguments, method, kind, body):
    reply = system.send(url, **arguments)
    said = reply.json()
    assert (reply.status, said["method"], said["body"]) == (200, method, body)
    assert dict(said["headers"]).get("content-type") == kind or ["Content-Type", kind] in said["headers"]
    assert reply.headers.get_all("X-A") == ("1", "2")


def test_repeated_headers_are_all_sent(system, url):
    said = system.send(url, headers=[("x-signature", "1"), ("x-signature", "2")]).json()
    assert [value for name, value in said["headers"] if name.lower() == "x-signature"] == ["1", "2"]


def test_visit_sends_browser_headers_and_adds_the_query(system, url):
    said = system.visit(f"{url}?a=1", query={"b": "2 3"}, headers={"Accept-Language": "nl"}).json()
    headers = {name.lower(): value for name, value in said["headers"]}
    assert (said["method"], said["query"]) == ("get", [["a", "1"], ["b", "2 3"]])
    assert headers["user-agent"].startswith("Mozilla/5.0")
    assert headers["accept-language"] == "nl"
    assert "text/html" in headers["accept"]


def test_visit_can_post_a_form(system):
    made = system.client.generate_callback_url("echo", Response(), state_query_parameter="state")
    said = system.visit(made.url.partition("?")[0], form={"state": made.state, "code": "7"}).json()
    assert (said["method"], said["body"]) == ("post", f"state={made.state}&code=7")


def test_an_error_is_a_page_for_visit_and_json_for_send(system):
    unknown = f"{system.url}/cb/00000000-0000-4000-8000-000000000000"
    assert system.visit(unknown).headers["content-type"] == "text/html; charset=utf-8"
    assert system.send(unknown).json()["status"] == 404


def test_a_url_of_another_domain_reaches_the_system(system):
    made = system.client.generate_callback_url("echo", Response(), alternative_domain="https://pay.example")
    assert made.url.startswith("https://pay.example/cb/")
    assert ["Host", "pay.example"] in [[name.title(), value] for name, value in system.send(made.url).json()["headers"]]


def test_a_request_needs_one_body_and_an_absolute_url(system, url):
    with pytest.raises(ValueError, match="one body"):
        system.send(url, b"x", form={})
    with pytest.raises(ValueError, match="absolute"):
        system.send("/cb/x")
    for wrong in ("http://x/ not a url", "http://x/\u20ac", "http://[x/"):
        with pytest.raises(ValueError):  # noqa: PT011  # three of Python's own texts
            system.send(wrong)


def test_a_reply_that_is_not_http_is_an_os_error():
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as threads:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        threads.submit(answer)
        edge = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(OSError, match="the reply is not HTTP"):
            call(edge, "http://x/", method="GET", headers=Headers(()), body=b"", timeout=DEADLINE_S)


def test_a_handler_is_replaced_inside_a_block(system, url):
    def answers(text):
        async def handler(_call):
            return Response(text)

        return handler

    with system.handling("echo", answers("one")):
        with system.handling("echo", answers("two")):
            assert system.visit(url).text == "two"
        assert system.visit(url).text == "one"
        with system.handling("echo", lambda _call: Response("plain")):
            assert system.visit(url).text == "plain"
    assert system.visit(url).json()["method"] == "get"


def test_a_reminder_after_three_days_and_the_expiry_reach_the_handler_of_notifications_at_once(system):
    async def surprised(call):
        pytest.fail(f"a call: {call}")

    with system.handling("echo", surprised):
        made = system.client.generate_callback_url(
            "echo",
            Response(),
            time_to_live=timedelta(days=4),
            remind_after=[timedelta(days=3)],
            notify=[CallReason.REMINDER, CallReason.EXPIRY],
        )
        for reason, status in ((CallReason.REMINDER, CallbackStatus.OPEN), (CallReason.EXPIRY, CallbackStatus.CLOSED)):
            system.advance(timedelta(days=3))
            notification = notifications.get(timeout=DEADLINE_S)
            assert (notification.case_id, notification.reason) == (made.case_id, reason)
            found = system.client.get_callback(made.case_id)
            assert (found.status, found.call_count) == (status, 0)


async def test_the_window_of_repeats_ends_when_the_clock_is_moved(system):
    made = system.client.generate_callback_url("echo", Response(), repeat_window=timedelta(hours=1))
    for status in (200, 200, 410):
        assert system.send(made.url, b"the same").status == status
        await system.async_advance(timedelta(minutes=31))
    with pytest.raises(ValueError, match="at least a millisecond"):
        system.advance(timedelta(0))
    with pytest.raises(RuntimeError, match="after the year 2286"):
        system.advance(timedelta.max)


def test_the_clock_of_data_that_exists_is_not_moved(tmp_path):
    (tmp_path / "data" / "store" / "appendonlydir").mkdir(parents=True)
    with pytest.raises(SystemStartError, match="needs a new data directory"), running_system(directory=tmp_path):
        pass


def test_an_invalid_replacement_is_refused_at_once(system):
    with pytest.raises(TypeError, match="must be a function"), system.handling("echo", "two"):
        pass
    with pytest.raises(ValueError, match="no activity 'ecco', only echo"), system.handling("ecco", echo):
        pass


async def test_a_system_can_be_used_from_an_event_loop_while_its_handlers_run(system, url):
    everyone = asyncio.Barrier(4)

    async def together(_call):
        await everyone.wait()
        return Accept()

    async with system.async_client() as client:
        with system.handling("echo", together):
            replies = await asyncio.gather(*(system.async_visit(url) for _ in range(3)), system.async_send(url))
        assert [reply.status for reply in replies] == [200] * 4
        made = await client.generate_callback_url("echo", Response())
        assert (await client.get_callback(made.case_id)).status is CallbackStatus.OPEN


def test_settings_and_deadlines_are_those_of_the_configuration(system):
    async def stuck(_call):
        await asyncio.Event().wait()

    made = system.client.generate_callback_url("other", Redirect("/thankyou"), retryable_after_error=True)
    with system.handling("other", stuck):
        assert system.send(made.url, timeout=DEADLINE_S).status == 504
    assert system.visit(made.url).status == 502  # the system has no other handler for it
    assert "other" in system.log.read_text()


def test_stopping_a_system_does_not_wait_for_a_stuck_handler_and_removes_its_default_directory():
    begun, cancelled = [], []

    async def stuck(_call):
        begun.append(True)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    with running_system(handlers, config="[activities.echo]\ndeadline_s = 300") as system:
        folder, processes = system.log.parent, pids(system.log)
        made = system.client.generate_callback_url("echo", Response())
        with system.handling("echo", stuck):
            while not begun:
                with pytest.raises(TimeoutError):
                    system.send(made.url, timeout=0.5)
    assert cancelled
    assert len(processes) == 4
    assert not any(map(is_running, processes))
    assert not folder.exists()


def test_an_invalid_setting_is_named(tmp_path):
    with pytest.raises(SystemStartError, match=re.escape("platfrom_url")), running_system(
        config='[server]\nplatfrom_url = "https://shop.example"', directory=tmp_path
    ):  # fmt: skip
        pass


def test_a_missing_package_is_reported(tmp_path, monkeypatch):
    (tmp_path / "structlog.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'structlog'\", name='structlog')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(SystemStartError, match=re.escape("with its extra [up]")), running_system():
        pass


def test_the_repr_of_a_reply_omits_possible_secrets():
    reply = Reply(
        302, Headers({"location": "https://shop.example/?token=hunter2", "set-cookie": "hunter2"}), b"hunter2"
    )
    assert repr(reply) == "Reply(status=302)"
