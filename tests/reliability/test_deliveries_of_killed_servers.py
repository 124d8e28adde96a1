"""A server is killed during an attempt and between two: the acknowledged call is delivered."""

import asyncio

import grpc
from support.handlers import accept, stub_handler
from support.leases import end_leases_of_deliveries
from support.system import running_system
from support.wait import wait_until

from callback import AnswerMode, DeliveryStatus, Response


async def test_a_server_that_is_killed_in_an_attempt_and_between_two_loses_nothing(tmp_path, store):
    never, attempts = asyncio.Event(), []

    async def script(request, context):
        attempts.append((request.attempt, request.call_id, request.request_body))
        if request.attempt == 1:
            await never.wait()
        if request.attempt == 2:
            await context.abort(grpc.StatusCode.INTERNAL, "broken")
        return accept()

    async with stub_handler() as stub:
        config = f'[activities.act]\ntarget = "{stub.target}"\ndeadline_s = 200\n'
        config += "retry = { initial_s = 60, max_attempts = 3 }\n"
        async with running_system(tmp_path, store, config=config) as system:

            async def restart():
                system.server.kill()
                await system.start_server()

            async def delivery():
                return (await system.client.get_call(call_id)).delivery

            made = await system.client.generate_callback_url(
                "act", Response("", code=202), activity_case=stub.play(script), answer_mode=AnswerMode.ACK
            )
            assert (await system.http.post(made.url, content=b"body")).status_code == 202
            (call,) = (await system.client.list_calls_page(made.case_id)).items
            call_id = call.call_id
            await wait_until(lambda: attempts)
            await restart()
            assert (await delivery()).status is DeliveryStatus.RUNNING
            assert await end_leases_of_deliveries(store) == 1
            await wait_until(lambda: len(attempts) >= 2)
            await restart()

            async def delivered():
                """If the end of the second attempt was lost with its server, end the lease of that attempt too."""
                await end_leases_of_deliveries(store)
                return (await delivery()).status is DeliveryStatus.DELIVERED

            await wait_until(delivered)
            assert attempts == [(number, call_id, b"body") for number in (1, 2, 3)]
            assert (await delivery()).attempts == 3
            never.set()
