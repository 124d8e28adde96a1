"""Many states, tokens and other secrets: none is in logs, metrics, traces, the audit, settings or errors.

In a soak they are more than a thousand.
"""

import hashlib
import json
import secrets
import uuid
from datetime import UTC, datetime, timedelta

import grpc
import pytest
import redis
from soak.counts import count
from support.clients import run_callback
from support.edge_calls import EdgeCalls
from support.handler import handler_service
from support.otlp import exporting_to, otlp_receiver
from support.secrets import Haystack
from support.system import running_system
from support.wait import wait_until

from callback import AsyncCallbackClient, CallbackError, Response
from callback.v1 import edge_service_pb2

GOOD, BAD, EXPIRED, UNKNOWN = count(24, 300), count(12, 150), count(4, 50), count(16, 200)
"""Numbers of tokens that are known, that nobody knows, and that were known once, and of states that nobody made."""


def new_token():
    return "callback_" + secrets.token_urlsafe(32)


def principals(tokens, expired, edge):
    def entries(name, tokens, expires):
        for token in tokens:
            digest = hashlib.sha256(token.encode()).hexdigest()
            yield f'[[principals.{name}.tokens]]\nsha256 = "{digest}"\nexpires = {expires.isoformat()}\n'

    now = datetime.now(UTC)
    return "".join([
        '[principals.orders]\nroles = ["owner"]\n',
        *entries("orders", tokens, now + timedelta(days=1)), *entries("orders", expired, now - timedelta(days=1)),
        '[principals.edge]\nroles = ["edge"]\n', *entries("edge", [edge], now + timedelta(days=1)),
    ])  # fmt: skip


async def test_planted_secrets_are_found_nowhere(tmp_path, store, caplog):
    password = secrets.token_urlsafe(24)
    with redis.Redis(port=store.port) as client:
        client.acl_setuser("app", enabled=True, passwords=[f"+{password}"], keys="*", channels="*", commands=["+@all"])
    good, bad, expired = ([new_token() for _ in range(many)] for many in (GOOD, BAD, EXPIRED))
    edge_token, state_key, proxy_password = new_token(), secrets.token_urlsafe(32), secrets.token_urlsafe(24)
    (tmp_path / "principals.toml").write_text(principals(good, expired, edge_token))
    (tmp_path / "store.password").write_text(f"{password}\n")
    (tmp_path / "edge.token").write_text(f"{edge_token}\n")
    haystack, states = Haystack(), []
    server = {
        "CALLBACK_LOG_LEVEL": "DEBUG", "CALLBACK_STATE_KEY": state_key,
        "CALLBACK_STORE_URL": f"redis://app@127.0.0.1:{store.port}/0",
        "CALLBACK_STORE_PASSWORD_FILE": str(tmp_path / "store.password"),
        "CALLBACK_PRINCIPALS_FILE": str(tmp_path / "principals.toml"),
    }  # fmt: skip
    edge = {
        "CALLBACK_EDGE_LOG_LEVEL": "DEBUG", "CALLBACK_EDGE_ACCESS_LOG_SAMPLE": "1",
        "CALLBACK_EDGE_SERVER_TOKEN_FILE": str(tmp_path / "edge.token"),
    }  # fmt: skip
    async with (
        otlp_receiver() as receiver,
        handler_service("work") as handler,
        running_system(
            tmp_path,
            store,
            config=f"server.tracing = true\nedge.tracing = true\n{handler.config}",
            server=server | exporting_to(receiver),
            edge=edge | exporting_to(receiver),
        ) as system,
    ):
        for number, token in enumerate(good):
            async with AsyncCallbackClient(system.grpc, token=token) as client:
                parameter = "state" if number % 2 else ""
                made = await client.generate_callback_url(
                    "work" if number % 3 else "record", Response("ok"), state_query_parameter=parameter
                )
                haystack.add(f"client {number}", repr(client))
            states.append(made.state)
            # A caller may also have one of the server's tokens. It is recorded for the owner unchanged.
            answer = await system.http.get(made.url, headers={"authorization": f"Bearer {good[-number]}"})
            assert answer.status_code == 200
        async with AsyncCallbackClient(system.grpc, token=good[0]) as client:
            for _ in range(10):
                changed = await client.generate_callback_url("record", Response(good[1]))
                await client.set_response(changed.case_id, Response(good[2], headers={"x-token": good[3]}))
                states.append(changed.state)
            entries = [entry async for entry in client.list_audit_entries()]
        assert len([entry for entry in entries if entry.case_id]) == 10
        haystack.add("audit", repr(entries))
        for number in range(UNKNOWN):
            states.append(str(uuid.uuid4()))
            path = f"/cbq/state?state={states[-1]}" if number % 2 else f"/cb/{states[-1]}"
            answer = await system.http.get(path, headers={"authorization": f"Bearer {bad[number % BAD]}"})
            assert answer.status_code == 404
            haystack.add(f"answer {number}", answer.content + repr(answer.headers).encode())
        async with grpc.aio.insecure_channel(system.grpc) as channel:
            for number, token in enumerate([*bad, *expired]):
                metadata = (("authorization", f"Bearer {token}"),)
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await EdgeCalls(channel).Invoke(
                        edge_service_pb2.InvokeRequest(state=states[0], request_method="get"), metadata=metadata
                    )
                assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
                haystack.add(f"refusal {number}", refused.value.debug_error_string())
                async with AsyncCallbackClient(system.grpc, token=token) as client:
                    with pytest.raises(CallbackError) as refused:
                        await client.get_callback(made.case_id)
                haystack.add(f"client's refusal {number}", f"{refused.value} {refused.value!r} {client!r}")
        for process in (system.server, system.edge):
            answer = await system.http.get(f"http://{process.facts['admin']}/metrics")
            haystack.add(f"metrics {process.facts['admin']}", answer.content)
        environment = {**server, **edge, "CALLBACK_CONFIG": str(tmp_path / "callback.toml")}
        environment["CALLBACK_EDGE_SERVER_TARGET"] = environment["CALLBACK_GRPC_BIND"] = system.grpc
        for command in (["config"], ["config", "--json"], ["doctor"], ["doctor", "--json"]):
            ran = await run_callback(*command, **environment)
            assert ran.output, ran
            haystack.add(f"callback {' '.join(command)}", ran.output + ran.errors)
        wrong = environment | {
            "CALLBACK_STORE_URL": f"redis://app:{proxy_password}@127.0.0.1:{store.port}/0",
            "CALLBACK_STORE_PASSWORD_FILE": "",
            "CALLBACK_STATE_KEY": state_key[:20],
            "CALLBACK_DRAIN_S": "soon",
        }
        for command in (["config"], ["doctor"], ["server"]):
            ran = await run_callback(*command, **wrong)
            assert ran.code, ran
            haystack.add(f"callback {' '.join(command)} with wrong settings", ran.output + ran.errors)
        await wait_until(lambda: len(receiver.spans(service="callback-edge")) >= GOOD + UNKNOWN, what="all traces")
        haystack.add("traces", b"".join(request.SerializeToString() for request in receiver.requests))
    haystack.add_files(tmp_path, "*.log")
    haystack.add_files(tmp_path / "store", "log")
    hidden = Haystack(haystack.pieces)
    hidden.add("this process's log", caplog.text)
    in_store = Haystack()
    in_store.add_store(store)

    texts = [*good, *bad, *expired, edge_token, state_key, state_key[:20], password, proxy_password]
    print(f"\n{len(states)} states and {len(texts)} other secrets, looked for in {len(hidden.pieces)} places")
    assert len(states) + len(texts) >= count(80, 1000)
    assert not hidden.names_with(states)
    assert not hidden.names_with_texts(texts)
    assert not in_store.names_with_texts([edge_token, state_key, password, *expired])
    events = [json.loads(line) for line in system.edge.log.read_text().splitlines()]
    assert [event for event in events if event["event"] == "request_ended"]  # the search did read the log


def test_the_search_finds_a_secret_that_is_planted():
    secret = new_token()
    for spelled in (secret, secret.encode().hex(), json.dumps({"token": secret})):
        haystack = Haystack()
        haystack.add("here", f"before {spelled} after")
        assert haystack.names_with_texts([secret]) == {"here"}
        assert not haystack.names_with_texts([new_token()])
