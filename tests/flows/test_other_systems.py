"""The page on other systems: its programs run with the libraries of these, which `tasks.py guides` installs.

Without the libraries, only what needs none of them is tested.
"""

import asyncio
import contextlib
import importlib.util
import re
import sys
from types import SimpleNamespace

import grpc
import httpx
import pytest
from flows.recipes import blocks_of, files_of
from support.wait import wait_until
from support.workers import connected

from callback import CallbackStatus, Worker

FILES = files_of(blocks_of("other-systems.md"))
MAX_LINES = 45


def needs(library):
    """Skip a test if a library is not installed."""
    return pytest.mark.skipif(
        importlib.util.find_spec(library) is None, reason=f"{library}: run python3 tasks.py guides"
    )


@pytest.mark.parametrize("name", FILES)
def test_a_program_compiles_and_has_at_most_45_lines_of_code(name):
    compile(FILES[name], name, "exec")
    assert len([line for line in FILES[name].splitlines() if line.strip()]) <= MAX_LINES


@pytest.fixture
def program(world, tmp_path, request):
    """Return a function that runs a program of the page as a module, at the system of the test."""

    def run(name, **addresses):
        text = FILES[name].replace("127.0.0.1:50051", world.target)
        for usual, ours in addresses.items():
            assert usual in text
            text = text.replace(usual, ours)
        path = tmp_path / name
        path.write_text(text + "\n")
        # Libraries look up annotations in the module of a function.
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        request.addfinalizer(lambda: sys.modules.pop(path.stem))
        spec.loader.exec_module(module)
        return module

    return run


async def decide(url, choice):
    """Decide as a person does on the page of a callback, and return the text of the answer."""
    async with httpx.AsyncClient() as browser:
        headers = {"accept": "text/html"}
        page = await browser.get(url, headers=headers)
        assert f'value="{choice}"' in page.text
        return (await browser.post(url, data={"callback_choice": choice}, headers=headers)).text


# ---- MCP ----


@needs("mcp")
@pytest.mark.parametrize(("choice", "result"), [("yes", "approved"), ("no", "declined"), (None, "not decided")])
async def test_a_tool_of_an_mcp_server_waits_for_the_person_that_it_sends_to_the_url(program, choice, result):
    from mcp import Client
    from mcp_types import ElicitResult

    module, asked = program("approval_server.py"), []

    async def elicit(_context, params):
        asked.append(params)
        if choice is None:
            return ElicitResult(action="decline")
        assert "Thank you" in await decide(params.url, choice)
        return ElicitResult(action="accept")

    async with module.client, Client(module.server, elicitation_callback=elicit) as client:
        answer = await client.call_tool("approve", {"expense": f"a dinner ({choice})"})
    assert answer.content[0].text == f"a dinner ({choice}): {result}"
    assert [(each.mode, each.message) for each in asked] == [("url", f"Decide about a dinner ({choice}).")]


@needs("mcp")
async def test_a_tool_of_an_mcp_server_asks_anew_for_each_request_of_each_user(program):
    from mcp import Client
    from mcp_types import ElicitResult

    module, asked = program("approval_server.py"), []

    def decides(choice):
        async def elicit(_context, params):
            asked.append(params.url)
            await decide(params.url, choice)
            return ElicitResult(action="accept")

        return elicit

    answers = []
    async with module.client:
        for choice in ("yes", "no", "yes"):
            async with Client(module.server, elicitation_callback=decides(choice)) as client:
                answers.append((await client.call_tool("approve", {"expense": "a taxi"})).content[0].text)
    assert answers == ["a taxi: approved", "a taxi: declined", "a taxi: approved"]
    assert len(set(asked)) == 3


# ---- Temporal ----


@contextlib.asynccontextmanager
async def temporal():
    """Run a server that stands for Temporal: it knows one activity, which can be completed once."""
    from temporalio.api.workflowservice.v1 import GetSystemInfoResponse, RespondActivityTaskCompletedByIdResponse
    from temporalio.api.workflowservice.v1.service_pb2_grpc import (
        WorkflowServiceServicer,
        add_WorkflowServiceServicer_to_server,
    )

    class Temporal(WorkflowServiceServicer):
        def __init__(self):
            self.completed = []

        async def GetSystemInfo(self, _request, _context):
            return GetSystemInfoResponse()

        async def RespondActivityTaskCompletedById(self, request, context):
            if self.completed:
                await context.abort(grpc.StatusCode.NOT_FOUND, "activity not found")
            self.completed.append(request)
            return RespondActivityTaskCompletedByIdResponse()

    server, servicer = grpc.aio.server(), Temporal()
    add_WorkflowServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield SimpleNamespace(address=f"127.0.0.1:{port}", completed=servicer.completed)
    finally:
        await server.stop(0)


@needs("temporalio")
async def test_a_temporal_activity_is_completed_by_the_decision_and_only_once(program, world, capsys):
    from temporalio.activity import _CompleteAsyncError
    from temporalio.testing import ActivityEnvironment

    async with temporal() as server:
        module = program("approval_activity.py", **{"127.0.0.1:7233": server.address})
        environment = ActivityEnvironment()
        for _ in range(2):  # the retry of an activity asks with the same URL
            with pytest.raises(_CompleteAsyncError):
                await environment.run(module.ask_for_approval, "a dinner")
        (url,) = set(re.findall(r"http\S+", capsys.readouterr().out))
        async with module.client, connected(Worker(module.handlers, world.target)):
            assert "Your decision is recorded." in await decide(url, "yes")
            (done,) = server.completed
            info = environment.info
            assert (done.workflow_id, done.run_id, done.activity_id) == (
                info.workflow_id, info.workflow_run_id, info.activity_id,
            )  # fmt: skip
            assert done.result.payloads[0].data == b"true"

            made = await module.client.generate_callback_url(
                "approval", module.PageResponse("x", "y"), retryable_after_error=True,
                get_guard=module.GetGuard.CONFIRM,
                prompt=module.Prompt("Approve?", choices={"yes": "Yes"}),
                labels={"workflow": info.workflow_id, "run": info.workflow_run_id, "activity": info.activity_id},
            )  # fmt: skip
            assert "Too late" in await decide(made.url, "yes")


# ---- LangGraph ----


@needs("langgraph")
async def test_an_agent_is_resumed_once_by_the_decision(program, world, capsys):
    module = program("expense_agent.py")
    running, printed = asyncio.create_task(module.main()), []

    def url():
        printed.append(capsys.readouterr().out)
        found = re.search(r"http\S+", "".join(printed))
        return found and found[0]

    try:
        address = await wait_until(url, what="the URL")
        assert "Your decision is recorded." in await decide(address, "yes")
        thread = {"configurable": {"thread_id": "thread-1"}}

        async def is_resumed():
            return (await module.graph.aget_state(thread)).values.get("approved")

        await wait_until(is_resumed, what="the agent to go on")
        closed = module.client.list_callbacks(activity="approval", status=CallbackStatus.CLOSED)
        (case,) = [each async for each in closed if each.activity_case == "thread-1"]
        (call,) = (await module.client.list_calls_page(case.case_id)).items
        before = await module.graph.aget_state(thread)
        await module.client.replay_call(call.call_id)
        await wait_until(lambda: is_delivered(module.client, call), what="the second delivery")
        assert (await module.graph.aget_state(thread)).config == before.config
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await module.client.close()


async def is_delivered(client, call):
    """Return whether the replay of a call has been delivered."""
    delivery = (await client.get_call(call.call_id)).delivery
    return delivery is not None and delivery.status == "DELIVERED" and delivery.attempts >= 1
