"""The secret in a URL appears only where only its owner can read it: in the request that contained it."""

import asyncio
import base64
import uuid

import pytest
import redis
from support.clients import run_callback
from support.secrets import Haystack
from support.system import running_system

from callback import CallbackError, GeneratedCallback, Redirect, Reject, Response

BROWSER = {"Accept": "text/html"}


def fails(call):
    raise ValueError(f"a handler that shows all it has: {call!r} {call.headers.pairs} {call.query_string}")


async def made_and_called(system, handler, haystack):
    """Create cases of all kinds, and call them in all ways. Return those of `/cb/` and those of `/cbq/`."""

    async def script(call):
        if call.activity_case == "fails":
            fails(call)
        if call.activity_case == "rejects":
            raise Reject("no")
        if call.activity_case == "nonsense":
            return Redirect("//evil")
        if call.activity_case == "hangs":
            await asyncio.sleep(3600)
        return None

    handler.script = script
    cases: dict[str, list[GeneratedCallback]] = {"": [], "state": []}
    plain, shared = cases[""], cases["state"]

    async def make(kind, parameter="", activity="work", **options):
        case = await system.client.generate_callback_url(
            activity, Response("ok"), activity_case=kind, state_query_parameter=parameter, **options
        )
        cases[parameter].append(case)
        return case

    def keep(answer):
        haystack.add(f"answer {len(haystack.pieces)}", b"%r %b" % (answer.headers.raw, answer.content))
        return answer

    for parameter in ("", "state"):
        for kind in ("accepts", "fails", "rejects", "nonsense", "hangs"):
            case = await make(kind, parameter)
            for headers in (BROWSER, {}):
                keep(await system.http.get(case.url, headers=headers))
        multiple = await make("accepts", parameter, "record", allow_multiple_calls=True, request_id=f"once {parameter}")
        keep(await system.http.post(multiple.url, content=b"paid"))
        for method in ("FOO", "HEAD", "OPTIONS"):
            keep(await system.http.request(method, multiple.url))
        keep(await system.http.post(multiple.url, content=b"x" * 2_000_000))
        unreachable = await make("accepts", parameter, "unreachable")
        keep(await system.http.get(unreachable.url))
        closed = await make("accepts", parameter)
        await system.client.close_callback(closed.case_id)
        keep(await system.http.get(closed.url, headers=BROWSER))

    # Malformed and unknown states, and states in the wrong form of URL.
    state, other = plain[0].state, shared[0].state
    for path in (f"/cb/{state.upper()}", f"/cb/{state}x", f"/cb//{state}", f"/cb/{state}%00", f"/{state}",
                 f"/cb/{state.replace('-', '%2D')}",
                 f"/cbq/wrong?wrong={other}", f"/cbq/state?state={other}&state={other}", f"/cbq/state?state={state}",
                 f"/cb/{uuid.uuid4()}/{state}", f"/cb/{other}"):  # fmt: skip
        for headers in (BROWSER, {}):
            keep(await system.http.get(path, headers=headers))
    form = {"state": shared[-3].state}
    keep(await system.http.post("/cbq/state", data=form, params=form))
    keep(await system.http.post("/cbq/state", data=form, params={"state": other}))
    reader, writer = await asyncio.open_connection(*system.url.removeprefix("http://").split(":"))
    writer.write(f"GET /cb/{state} HTTP/1.1\r\nHost: a\r\nHost: b\r\nbroken {state}\r\n\r\n".encode())
    haystack.add("answer to nonsense", await reader.read())
    writer.close()
    return plain, shared


async def shown(system, cases, haystack):
    """Return what clients and the command line show of cases and calls."""
    for case in cases:
        haystack.add(f"case {case.case_id}", repr(await system.client.get_callback(case.case_id)))
        calls = (await system.client.list_calls_page(case.case_id)).items
        haystack.add(f"calls of {case.case_id}", repr(calls))
    for wrong in (cases[0].state, cases[0].url):
        with pytest.raises(CallbackError) as refused:
            await system.client.get_callback(wrong)
        haystack.add(f"refusal {len(haystack.pieces)}", str(refused.value))


async def said_by_the_command_line(system, cases, haystack):
    """Return what the command line shows of some cases, in both output formats."""
    called = [
        (case, (await system.client.list_calls_page(case.case_id)).items[-1])
        for case in cases
        if (await system.client.get_callback(case.case_id)).call_count
    ]
    commands = [["list"], *(["calls", case.case_id] for case, _ in called[:2])]
    commands += [["call", call.call_id] for _, call in called[:2]] + [["get", called[0][0].case_id]]
    runs = [[*command, *form] for command in commands for form in ([], ["--json"])]
    gate = asyncio.Semaphore(3)

    async def run(command):
        async with gate:
            ran = await run_callback(*command, CALLBACK_TARGET=system.grpc)
        assert ran.code == 0, ran
        haystack.add(f"callback {' '.join(command)}", ran.output + ran.errors)

    await asyncio.gather(*(run(command) for command in runs))


async def test_a_state_is_found_nowhere_but_in_the_request_that_brought_it(tmp_path, store, handler, caplog):
    haystack = Haystack()
    config = handler.config.replace("deadline_s = 250", "deadline_s = 1")
    config += '\n[activities.unreachable]\ntarget = "127.0.0.1:1"\nconnect_timeout_s = 0.1\n'
    debug = {"server": {"CALLBACK_LOG_LEVEL": "DEBUG"}, "edge": {"CALLBACK_EDGE_LOG_LEVEL": "DEBUG"}}
    async with running_system(tmp_path, store, config=config, **debug) as system:
        plain, shared = await made_and_called(system, handler, haystack)
        await shown(system, plain, haystack)
        await shown(system, shared, haystack)
        await said_by_the_command_line(system, plain + shared, haystack)
        store.kill()
        for case in (plain[0], shared[0]):
            answer = await system.http.get(case.url, headers=BROWSER)
            assert answer.status_code == 503
            haystack.add(f"answer {case.case_id}", answer.content)
        await asyncio.to_thread(store.start)
    haystack.add_files(tmp_path, "*.log")
    haystack.add_files(tmp_path / "store", "log")
    # A handler may log a request of /cbq/ with its state. It never gets the state of a /cb/ request.
    recorded, hidden = Haystack(haystack.pieces), Haystack(haystack.pieces)
    hidden.add("the handlers' log", caplog.text)
    hidden.add_files(tmp_path / "store" / "appendonlydir", "*")
    hidden.add_store(store)
    recorded.add_store(store, but=is_recorded_request)
    print(f"\n{len(plain)} + {len(shared)} cases, looked for in {len(hidden.pieces)} and {len(recorded.pieces)} places")
    assert not hidden.names_with(case.state for case in plain)
    assert not recorded.names_with(case.state for case in shared)
    assert hidden.names_with(case.state for case in shared)  # the search finds the state where it is allowed


def is_recorded_request(key, field):
    """Return whether a field of a hash is the request of a call as received."""
    return b":call:" in key and field in (b"request", b"request_body")


def test_the_search_finds_what_is_planted(tmp_path, store):
    spellings = {
        "raw": lambda state: state.encode(),
        "upper": lambda state: state.upper().encode(),
        "no dashes": lambda state: state.replace("-", "").encode(),
        "url": lambda state: state.replace("-", "%2D").encode(),
        "base64": lambda state: base64.b64encode(f"GET /cb/{state} HTTP/1.1".encode()),
        "base64 of its bytes": lambda state: base64.urlsafe_b64encode(b"a state: " + uuid.UUID(state).bytes + b"."),
        "hex": lambda state: state.encode().hex().encode(),
        "bytes": lambda state: uuid.UUID(state).bytes,
    }
    states = {spelling: str(uuid.uuid4()) for spelling in spellings}
    planted = {spelling: b"before " + spell(states[spelling]) + b" after" for spelling, spell in spellings.items()}
    with redis.Redis(port=store.port) as client:
        for spelling, text in planted.items():
            (tmp_path / f"{spelling}.log").write_bytes(b"{}\n" + text)
            client.set(f"value {spelling}", text)
            client.set(f"name {spelling}".encode() + text, "")
            client.hset(f"hash {spelling}", "field", text)
            client.hset(f"field {spelling}", text, "")
            client.sadd(f"set {spelling}", text)
            client.zadd(f"zset {spelling}", {text: 1})
            client.hset(f"x:call:{spelling}", "request", text)
    haystack = Haystack()
    haystack.add_files(tmp_path, "*.log")
    haystack.add_files(tmp_path / "store" / "appendonlydir", "*")
    haystack.add_store(store, but=is_recorded_request)
    for spelling, state in states.items():
        found = haystack.names_with([state])
        kinds = [f"key {kind} {spelling}" for kind in ("value", "name", "hash", "field", "set", "zset")]
        for name in (f"{spelling}.log", "incr.aof", *kinds):
            assert any(name in each for each in found), (name, spelling)
        assert f"key x:call:{spelling}" not in found
    assert not haystack.names_with([str(uuid.uuid4())])
