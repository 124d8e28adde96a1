"""A handler that uses only the generated stubs: it works in the whole system, and gets every field."""

import ast
import json
import subprocess
import sys
import textwrap
from urllib.parse import quote

import pytest

from callback import CallbackStatus, CallStatus, CloseReason, Redirect

DECIDES = """
    import json, sys
    from callback.v1 import callback_handler_service_pb2 as messages
    from callback.v1 import callback_handler_service_pb2_grpc as services
    from callback.v1 import callback_pb2

    def decide(request):
        told = {
            "call": request.call_id, "case": request.callback_system_case, "activity": request.callback_activity,
            "activity_case": request.callback_activity_case, "attempt": request.attempt,
            "method": request.request_method, "query_string": request.request_query_string,
            "query": [[pair.name, pair.value] for pair in request.request_query],
            "headers": [[field.name, field.value] for field in request.request_headers],
            "body": request.request_body.hex(), "client": request.client_address, "labels": dict(request.labels),
            "type": request.response.response_type, "url": request.response.response_redirect_url,
            "deadline": request.deadline.ToSeconds(),
        }
        if request.request_body == b"open":
            return messages.HandleCallbackResponse(verdict=messages.VERDICT_ACCEPTED, keep_open=True)
        if request.request_body == b"wrong":
            return messages.HandleCallbackResponse(verdict=messages.VERDICT_REJECTED)
        return messages.HandleCallbackResponse(
            verdict=messages.VERDICT_ACCEPTED,
            response=callback_pb2.Response(
                response_type=callback_pb2.RESPONSE_TYPE_RESPONSE,
                response_code=418,
                response_body=json.dumps(told).encode(),
                response_headers=callback_pb2.ResponseHeaders(
                    headers=[callback_pb2.ResponseHeader(name="Content-Type", value="application/json")]
                ),
            ),
        )
"""

PROGRAMS = {
    "asyncio": DECIDES
    + """
    import asyncio, grpc

    class Handler(services.CallbackHandlerServiceServicer):
        async def HandleCallback(self, request, context):
            return decide(request)

    async def main():
        server = grpc.aio.server()
        services.add_CallbackHandlerServiceServicer_to_server(Handler(), server)
        server.add_insecure_port(sys.argv[1])
        await server.start()
        print("ready", flush=True)
        await server.wait_for_termination()

    asyncio.run(main())
    """,
    "threads": DECIDES
    + """
    import grpc
    from concurrent.futures import ThreadPoolExecutor

    class Handler(services.CallbackHandlerServiceServicer):
        def HandleCallback(self, request, context):
            return decide(request)

    server = grpc.server(ThreadPoolExecutor(4))
    services.add_CallbackHandlerServiceServicer_to_server(Handler(), server)
    server.add_insecure_port(sys.argv[1])
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()
    """,
}


@pytest.fixture(params=PROGRAMS)
def program(request, world):
    """Run such a handler as a program, for the activity `mortal`."""
    source = textwrap.dedent(PROGRAMS[request.param])
    with subprocess.Popen([sys.executable, "-c", source, world.mortal], stdout=subprocess.PIPE) as running:
        assert running.stdout.readline() == b"ready\n"
        yield source
        running.kill()


async def test_a_handler_of_bare_stubs_gets_all_fields_and_decides(world, program):
    case = await world.client.generate_callback_url(
        "mortal",
        Redirect("/page/thankyou"),
        activity_case="1:142:432",
        labels={"order": "5"},
        retryable_after_error=True,
    )
    answer = await world.ask(case.url, "POST", body=b"open")
    assert (answer.status, answer["location"]) == (303, "https://platform.example/page/thankyou")
    assert (await world.ask(case.url, "POST", body=b"wrong")).status == 422
    assert (await world.client.get_callback(case.case_id)).status is CallbackStatus.OPEN

    query = f"id=5&id=6&empty&name={quote('é &')}"
    headers = [("X-Trace", "a"), ("X-Trace", "b"), ("X-Byte", "é")]
    answer = await world.ask(f"{case.url}?{query}", "PUT", headers, b"\x00\xff")
    assert (answer.status, answer["content-type"]) == (418, "application/json")
    told = json.loads(answer.body)
    recorded = await world.client.get_call(told["call"])
    assert recorded.status is CallStatus.SUCCEEDED
    own = [pair for pair in told.pop("headers") if pair[0].startswith("x-")]
    assert own == [["x-trace", "a"], ["x-trace", "b"], ["x-byte", "é"]]
    assert 0 <= told.pop("deadline") - recorded.start_time.timestamp() <= 31
    assert told == {
        "call": recorded.call_id,
        "case": case.case_id,
        "activity": "mortal",
        "activity_case": "1:142:432",
        "attempt": 3,
        "method": "put",
        "query_string": query,
        "query": [["id", "5"], ["id", "6"], ["empty", ""], ["name", "é &"]],
        "body": "00ff",
        "client": "127.0.0.1",
        "labels": {"order": "5"},
        "type": 1,
        "url": "/page/thankyou",
    }
    assert (await world.client.get_callback(case.case_id)).close_reason is CloseReason.CONSUMED


@pytest.mark.parametrize("name", PROGRAMS)
def test_these_programs_import_only_the_stubs(name):
    tree = ast.parse(textwrap.dedent(PROGRAMS[name]))
    froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert froms - {"concurrent.futures"} == {"callback.v1"}
    assert plain <= {"asyncio", "grpc", "json", "sys"}
