"""Nothing that is secret reaches a trace: states, tokens, and what callers and handlers send."""

import asyncio
import itertools
import secrets
import uuid

from soak.counts import count
from support.secrets import Haystack
from support.wait import wait_until

from callback import Response

CALLS = count(40, 1000)
AT_ONCE = 20


async def test_no_state_and_no_secret_of_a_call_is_in_a_trace(traced):
    http, receiver = traced.system.http, traced.receiver
    numbers, secret_texts, states = itertools.count(), [], []
    before = len(receiver.spans(service="callback-edge"))

    def secret():
        secret_texts.append(f"planted-{secrets.token_hex(12)}")
        return secret_texts[-1]

    async def send(method, url, body):
        headers = {
            "authorization": f"Bearer {secret()}",
            "cookie": f"session={secret()}",
            "user-agent": secret(),
            "traceparent": f"00-{secret()}-01",
            "tracestate": f"shop={secret()}",
            "baggage": f"user={secret()}",
        }
        await http.request(method, url, content=body, headers=headers)

    async def call_one():
        number = next(numbers)
        activity, parameter = ("record", "broken")[number % 2], ("", "state")[number // 2 % 2]
        made = await traced.system.client.generate_callback_url(
            activity,
            Response(secret().encode(), headers=[("x-answer", secret())]),
            activity_case=secret(),
            state_query_parameter=parameter,
            request_id=secret(),
            labels={"customer": secret()},
            traceparent=f"00-{secret()}-01",
        )
        states.append(made.state)
        words = ("", "reject ")[number // 4 % 2]
        separator = "&" if "?" in made.url else "?"
        await send("POST", f"{made.url}{separator}token={secret()}", f"{words}{secret()}".encode())
        states.append(str(uuid.uuid4()))
        await send("PUT", f"{traced.system.url}/cb/{states[-1]}", secret().encode())
        await send("GET", f"{traced.system.url}/wait/{secrets.token_hex(16)}-{secrets.token_hex(8)}/{_token()}", b"")

    def _token():
        secret_texts.append(secrets.token_hex(32))
        return secret_texts[-1]

    for _ in range(0, CALLS, AT_ONCE):
        await asyncio.gather(*(call_one() for _ in range(AT_ONCE)))
    await wait_until(lambda: len(receiver.spans(service="callback-edge")) >= before + 3 * CALLS)

    haystack = Haystack({"traces": b"".join(request.SerializeToString() for request in receiver.requests)})
    assert len(states) == 2 * CALLS
    assert haystack.names_with(states) == set()
    assert haystack.names_with_texts(secret_texts) == set()
