"""The page of guides: its programs run in processes of their own, and a visitor's browser goes through each flow."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
import redis.asyncio
from flows.expenses import Expenses
from flows.openid_provider import CLIENT_SECRET, USER, Client, Provider
from flows.payment_provider import KEY, PaymentProvider
from flows.programs import running
from flows.recipes import blocks_of, files_of, run_file
from flows.serving import serving
from support.browser import lands_at
from support.store import free_port
from support.system import own_store, running_system
from support.timers import make_expiry_due, make_reminder_due
from support.wait import wait_until

from callback import AsyncCallbackClient, CallbackStatus, CallFilter, PermissionDeniedError, Response

FILES = files_of(blocks_of("guides.md"))
MAX_LINES = 39
WAITING = "One moment, please"
"""Title of the page that waits."""


@pytest.mark.parametrize("name", FILES)
def test_a_guide_is_a_complete_program_of_less_than_40_lines_of_code(name):
    assert len([line for line in FILES[name].splitlines() if line.strip()]) <= MAX_LINES


def write(name, directory, addresses):
    """Write a file of the page, with the addresses of the test."""
    text = FILES[name]
    for address, ours in addresses.items():
        assert address in text
        text = text.replace(address, ours)
    (directory / name).write_text(text + "\n")


@contextlib.asynccontextmanager
async def working(name, directory, addresses):
    """Run the worker of a program of the page, and yield the names that the program defines."""
    write(name, directory, addresses)
    async with running(directory, name, says="worker_connected"):
        names = run_file(directory / name)
        yield names
        await names["http"].aclose()
        await names["client"].close()


# ---- A payment ----


@pytest.fixture(scope="module")
def payments():
    provider = PaymentProvider()
    with serving(provider.app, "127.0.0.8") as provider.origin:
        yield provider


@pytest.fixture(scope="module")
async def checkout(payments, world, tmp_path_factory):
    """Run the worker of the guide, and return the names of its program."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAYMENT_API_KEY", KEY)
        shop, api = "https://shop.example", "https://api.payments.example"
        addresses = {shop: world.platform.origin, api: payments.origin, "127.0.0.1:50051": world.target}
        async with working("checkout.py", tmp_path_factory.mktemp("checkout"), addresses) as names:
            yield names


@pytest.fixture
async def payment(payments, world, checkout):
    """Start a payment, and return it as the provider knows it."""
    payments.reset()
    world.platform.pages.update({path: f"<title>{path}</title>" for path in ("/thankyou", "/cancelled", "/orders/5")})
    url = await checkout["begin"]("5", "10.00")
    return next(iter(payments.payments.values())) | {"checkout": url}


@pytest.mark.parametrize(("outcome", "landing"), [("paid", "/thankyou"), ("failed", "/cancelled")])
async def test_a_visitor_who_returns_after_the_webhook_gets_its_outcome(
    page, world, payments, payment, outcome, landing
):
    payments.outcome = outcome
    await page.goto(payment["checkout"])
    await page.click("#go")
    await lands_at(page, world.platform.origin + landing)
    assert payments.told == [200]


async def test_a_visitor_who_returns_before_the_webhook_waits_and_reloads_without_harm(page, world, payments, payment):
    payments.webhook_first = False
    await page.goto(payment["checkout"])
    await page.click("#go")
    await lands_at(page, payment["redirectUrl"])
    assert await page.title() == WAITING
    await page.reload()
    await page.goto(payment["redirectUrl"])
    assert await page.title() == WAITING
    await asyncio.to_thread(payments.finish, payment["id"])
    await lands_at(page, f"{world.platform.origin}/thankyou")
    await asyncio.to_thread(payments.tell, payment["id"])
    assert payments.told == [200, 200]

    await page.goto(payment["redirectUrl"])
    await lands_at(page, f"{world.platform.origin}/thankyou")
    await page.goto(f"{payment['redirectUrl']}?another=request")
    await lands_at(page, f"{world.platform.origin}/orders/5")
    case = await world.client.get_callback(payment["metadata"])
    assert (case.status, case.call_count) == (CallbackStatus.CLOSED, 1)


async def test_the_webhook_of_another_payment_does_not_end_the_wait(page, world, payments, payment):
    payments.payments["tr_other"] = payment | {"id": "tr_other", "status": "paid", "metadata": "another case"}
    await asyncio.to_thread(payments.tell, "tr_other")
    assert payments.told == [422]
    assert (await world.client.get_callback(payment["metadata"])).status is CallbackStatus.OPEN


# ---- A login ----


@pytest.fixture(scope="module")
def openid(world):
    provider = Provider()
    provider.client = Client(f"{world.url}/cbq/state")
    with serving(provider.app, "127.0.0.9") as provider.issuer:
        yield provider


@pytest.fixture(scope="module")
async def running_app(openid, world, tmp_path_factory):
    """Run the app of the guide, with a page that shows the user. Return its origin."""
    directory, address = tmp_path_factory.mktemp("login"), f"127.0.0.7:{free_port()}"
    write(
        "login_app.py",
        directory,
        {
            "https://app.example": f"http://{address}", "https://login.example": openid.issuer,
            "https://box.example": world.url, "127.0.0.1:50051": world.target,
        },
    )  # fmt: skip
    (directory / "pages.py").write_text(
        """
from fastapi import Request
from login_app import app

@app.get("/")
async def home(request: Request):
    return request.session.get("user", "nobody")
"""
    )
    command = ("-m", "hypercorn", "pages:app", "--bind", address)
    settings = {"OPENID_CLIENT_SECRET": CLIENT_SECRET, "SESSION_KEY": "k" * 32}
    async with running(directory, *command, says="Running on", **settings):
        yield f"http://{address}"


@pytest.fixture
def app(openid, running_app):
    """Return the origin of the app, before any visitor has logged in."""
    openid.reset()
    return running_app


async def user_of(page, app):
    """Wait until the browser has landed in the app, and return the user that the app shows."""
    await lands_at(page, f"{app}/")
    return json.loads(await page.inner_text("body"))


async def test_a_visitor_logs_in_to_the_app_once(page, openid, app):
    await page.goto(f"{app}/login")
    cookies = await page.context.cookies()
    async with page.expect_request(f"{app}/session?*") as entering:
        await page.click("#go")
    assert await user_of(page, app) == USER
    (arrival,) = page.arrivals
    await page.goto(arrival.url)
    assert await user_of(page, app) == USER
    assert openid.asked_for_tokens == 1

    await page.context.add_cookies(cookies)  # the session as it was before the login
    await page.goto((await entering.value).url)
    assert await user_of(page, app) == "nobody"


async def test_a_visitor_with_two_tabs_logs_in_with_both(page, app):
    other = await page.context.new_page()
    for tab in (page, other):
        await tab.goto(f"{app}/login")
    for tab in (page, other):
        await tab.click("#go")
        assert await user_of(tab, app) == USER


async def test_a_visitor_who_cancels_lands_in_the_app(page, world, app):
    await page.goto(f"{app}/login")
    state = dict(parse_qsl(urlsplit(page.url).query))["state"]
    await page.goto(f"{world.url}/cbq/state?{urlencode({'error': 'access_denied', 'state': state})}")
    assert await user_of(page, app) == "nobody"


async def test_the_login_of_one_browser_logs_no_other_browser_in(page, browser, openid, app):
    async with httpx.AsyncClient(trust_env=False) as sender:
        login = (await sender.get(f"{app}/login")).headers["location"]
        returned = (await sender.post(login)).headers["location"]
    await page.goto(f"{app}/login")
    await page.goto(returned)
    assert await user_of(page, app) == "nobody"
    assert openid.asked_for_tokens == 1


async def test_a_token_of_another_login_is_refused(page, openid, app):
    openid.lies = {"nonce": "another"}
    await page.goto(f"{app}/login")
    await page.click("#go")
    assert await user_of(page, app) == "nobody"


# ---- An approval ----


@pytest.fixture(scope="module")
def expenses():
    app = Expenses()
    with serving(app.app, "127.0.0.10") as app.origin:
        yield app


@pytest.fixture(scope="module")
async def asking(expenses, world, tmp_path_factory):
    """Run the worker of the guide, and return the names of its program."""
    addresses = {"https://app.example": expenses.origin, "127.0.0.1:50051": world.target}
    async with working("approval.py", tmp_path_factory.mktemp("approval"), addresses) as names:
        yield names


@pytest.fixture
async def approval(expenses, world, asking, request):
    """Ask for an approval. Return the case."""
    expenses.reset()
    await asking["ask"](request.node.name, "eve@shop.example")
    return await anext(world.client.list_callbacks(activity="approval"))  # the newest


async def test_a_person_who_was_reminded_decides_with_the_same_link(page, world, expenses, approval):
    async with redis.asyncio.Redis(port=world.store.port) as store:
        for number in (2, 3):
            await make_reminder_due(store, approval.case_id)
            await wait_until(lambda number=number: len(expenses.mails) == number, what="a mail")
    first, *others = expenses.mails
    assert others == [first, first]
    await page.goto(first["text"].rpartition(" ")[2])
    await page.get_by_role("button", name="Approve").click()
    await page.wait_for_selector("text=Your decision is recorded.")
    assert expenses.decisions == {approval.activity_case: True}
    await page.goto(first["text"].rpartition(" ")[2])
    assert "is decided already" in await page.inner_text("body")


async def test_an_approval_without_a_decision_is_declined_after_a_week(page, world, expenses, approval):
    async with redis.asyncio.Redis(port=world.store.port) as store:
        await make_expiry_due(store, approval.case_id)
    await wait_until(lambda: expenses.decisions, what="the last word")
    assert expenses.decisions == {approval.activity_case: False}
    await page.goto(expenses.mails[0]["text"].rpartition(" ")[2])
    assert "is decided already" in await page.inner_text("body")
    assert len(expenses.mails) == 1


async def test_a_person_whose_approval_comes_with_the_expiry_gets_the_decision_that_was_kept(
    page, world, expenses, approval
):
    expenses.takes_approvals.clear()
    await page.goto(expenses.mails[0]["text"].rpartition(" ")[2])
    await page.get_by_role("button", name="Approve").click()
    async with redis.asyncio.Redis(port=world.store.port) as store:
        await make_expiry_due(store, approval.case_id)
    await wait_until(lambda: expenses.decisions, what="the last word")
    expenses.takes_approvals.set()
    await page.wait_for_selector("text=is decided already")
    assert expenses.decisions == {approval.activity_case: False}


async def test_a_person_decides_again_if_the_app_could_not_be_reached(page, expenses, approval):
    expenses.failures = 1
    link = expenses.mails[0]["text"].rpartition(" ")[2]
    await page.goto(link)
    await page.get_by_role("button", name="Approve").click()
    await page.get_by_role("heading", name="Could not be processed").wait_for()
    await page.goto(link)
    await page.get_by_role("button", name="Approve").click()
    await page.wait_for_selector("text=Your decision is recorded.")
    assert expenses.decisions == {approval.activity_case: True}


# ---- Another team ----


@pytest.fixture(scope="module")
async def teams(tmp_path_factory):
    """Run a system with the principals of the guide. Yield it, and the names of the program with its address.

    The tokens and the program are in its directory.
    """
    directory = tmp_path_factory.mktemp("teams")
    (tokens,) = [text for language, text in blocks_of("guides.md") if language == "sh" and "finance" in text]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    await asyncio.to_thread(
        subprocess.run, ["bash", "-ec", tokens], cwd=directory, env=os.environ | {"PATH": path}, check=True
    )
    server = {"CALLBACK_PRINCIPALS_FILE": str(directory / "principals.toml")}
    edge = {"CALLBACK_EDGE_SERVER_TOKEN_FILE": str(directory / "edge.token")}
    with own_store(directory) as store:
        async with running_system(directory, store, server=server, edge=edge) as system:
            write("credit_check.py", directory, {"127.0.0.1:50051": system.grpc})
            yield system, run_file(directory / "credit_check.py")


@pytest.mark.parametrize(("says", "gets"), [("y", (200, "granted")), ("n", (422, "not granted"))])
async def test_a_person_of_finance_answers_the_partner(teams, monkeypatch, says, gets):
    system, names = teams
    monkeypatch.chdir(system.directory)
    url = await asyncio.to_thread(names["begin"], "order-5")
    asks = asyncio.create_task(system.http.post(url, data={"days": "30"}))
    async with AsyncCallbackClient(system.grpc, token_file=system.directory / "finance.token") as finance:

        async def held():
            return [call async for call in finance.list_owner_calls(CallFilter.WAITING, owner="orders")]

        (call,) = await wait_until(held, what="the question")
        with pytest.raises(PermissionDeniedError):
            await finance.erase_calls(call.case_id)
        with pytest.raises(PermissionDeniedError):
            await finance.generate_callback_url("credit-check", Response())
    answered = await asyncio.to_thread(
        subprocess.run, [sys.executable, "credit_check.py"], input=f"{says}\n", capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert "Grant 30 days for order order-5? [y/n]" in answered.stdout
    reply = await asks
    assert (reply.status_code, reply.text) == gets


async def test_the_team_of_the_orders_generates_callbacks_of_its_activity_only(teams):
    system, _ = teams
    async with AsyncCallbackClient(system.grpc, token_file=system.directory / "orders.token") as orders:
        with pytest.raises(PermissionDeniedError, match="activities of its entry"):
            await orders.generate_callback_url("another", Response())
