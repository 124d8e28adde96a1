"""The page docs/answers.md: tests run its commands and programs, unchanged, against a running system."""

import asyncio
import functools
import os
import re
import shlex
import subprocess
import sys
from asyncio.subprocess import PIPE
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from support.tree import ROOT
from support.wait import wait_until

from callback import CallFilter, Response
from callback.testing import running_system

PAGE = (ROOT / "docs" / "answers.md").read_text()
SHELL = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PAGE_COMMANDS, HELD_COMMANDS, SCRIPT_COMMANDS, FRAME_COMMANDS, CLOSED_COMMANDS, REMINDER_COMMANDS = (
    [*block.replace("\\\n", "").splitlines()] for block in SHELL
)
"""Lines of the shell blocks: pages, held calls, scripts and frames of other sites, closed callbacks, reminders."""
PROGRAMS = {
    text.partition("\n")[0].removeprefix("# "): text
    for text in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
}
PATIENCE_S = 900
"""How long a caller waits for an answer to a held call: longer than any test."""


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    with running_system(directory=tmp_path_factory.mktemp("system")) as running:
        yield running


def run(system, command, call=""):
    """Run a line of the page's shell block, and return its output."""
    arguments = shlex.split(command.replace("CALL", call), comments=True)[1:]
    ran = subprocess.run(
        [sys.executable, "-m", "callback_cli", *arguments], env=os.environ | {"CALLBACK_TARGET": system.target},
        capture_output=True, timeout=60, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran
    return ran.stdout


async def calling(system, url, **request):
    """Make a call, wait until it is held, and return its reply (a future) and its id.

    Each call has a thread of its own: the loop has few, and as many held calls would leave none to anything else.
    """
    before = {each.call_id for each in system.client.list_owner_calls(CallFilter.WAITING)}
    send = functools.partial(system.send, url, **request, timeout=PATIENCE_S)
    reply = asyncio.get_running_loop().run_in_executor(ThreadPoolExecutor(1), send)

    def held():
        return {each.call_id for each in system.client.list_owner_calls(CallFilter.WAITING)} - before

    [call] = await wait_until(lambda: asyncio.to_thread(held), what="a call that is held")
    return reply, call


def test_the_command_of_the_page_makes_a_callback_with_a_page(system):
    (generate,) = PAGE_COMMANDS
    url = re.search(r"URL +(\S+)", run(system, generate))[1]
    assert system.send(url).text == (
        "Thank you\n\nOrder 5 has arrived.\n\nTo the shop: https://shop.example/orders/5\n"
    )


def test_the_commands_of_the_page_name_the_origins_of_scripts_and_of_frames(system):
    for (generate,), origins in ((SCRIPT_COMMANDS, "allowed_origins"), (FRAME_COMMANDS, "frame_origins")):
        case_id = re.search(r"case +(\S+)", run(system, generate))[1]
        assert getattr(system.client.get_callback(case_id), origins) == ("https://shop.example",)


def test_the_command_of_the_page_makes_a_callback_with_a_closed_response(system):
    (generate,) = CLOSED_COMMANDS
    url = re.search(r"URL +(\S+)", run(system, generate))[1]
    assert system.send(url).text == "thank you"
    after = system.send(url, json={})
    assert (after.status, after.text) == (410, "Already done\n")


async def test_the_program_of_the_page_gets_the_expiry_of_the_callback_of_its_command(system):
    program = PROGRAMS["reminded.py"].replace("127.0.0.1:50051", system.target)
    worker = await asyncio.create_subprocess_exec(sys.executable, "-u", "-c", program, stdout=PIPE)
    try:
        (generate,) = REMINDER_COMMANDS
        case_id = re.search(r"case +(\S+)", await asyncio.to_thread(run, system, generate))[1]
        system.client.extend_callback(case_id, datetime.now(UTC) + timedelta(seconds=1))
        assert await worker.stdout.readline() == b"no decision on \n"
    finally:
        worker.terminate()
        await worker.wait()


async def test_the_commands_of_the_page_answer_a_held_call(system):
    generate, waiting, answer = HELD_COMMANDS
    url = re.search(r"URL +(\S+)", await asyncio.to_thread(run, system, generate))[1]
    reply, call = await calling(system, url)
    assert call in await asyncio.to_thread(run, system, waiting)
    await asyncio.to_thread(run, system, answer, call)
    assert ((await reply).status, (await reply).text) == (201, "welcome")


async def test_the_program_of_the_page_answers_a_held_call_and_its_watch_shows_it(system):
    watching = await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-c", PROGRAMS["watching.py"].replace("127.0.0.1:50051", system.target), stdout=PIPE
    )
    try:
        made, seen = [], b""
        while not seen:  # wait until it watches
            reply, call = await calling(
                system, system.client.generate_callback_url("form", Response()).url, form={"name": "Ada"}
            )
            made.append((reply, call))
            try:
                seen = await asyncio.wait_for(watching.stdout.readline(), 1)
            except TimeoutError:
                continue
        assert seen.decode().split()[0] in [call for _, call in made]
    finally:
        watching.kill()
        await watching.wait()
    program = PROGRAMS["answering.py"].replace("127.0.0.1:50051", system.target)
    answering = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    assert await answering.wait() == 0
    for reply, _ in made:
        assert (await reply).text == "welcome, Ada"


async def test_the_webhook_of_the_page_answers_the_visitor_who_waits_and_the_one_who_comes_later(system):
    program = PROGRAMS["resolving.py"].replace("127.0.0.1:50051", system.target)
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", program)

    def is_served():
        found = system.client.list_activities()
        return any(each.activity == "payment-webhook" and each.is_served for each in found)

    try:
        await wait_until(is_served, what="the worker")
        for visitor_comes_first in (True, False):
            visited = system.client.generate_callback_url("form", Response())
            hook = system.client.generate_callback_url("payment-webhook", Response(), activity_case=visited.case_id)
            if visitor_comes_first:
                reply, _ = await calling(system, visited.url)
            said = await system.async_send(hook.url, form={"status": "paid"})
            assert said.status == 200, said
            got = await reply if visitor_comes_first else await system.async_send(visited.url)
            assert (got.status, got.location) == (303, "https://shop.example/thankyou")
    finally:
        worker.terminate()
        await worker.wait()
