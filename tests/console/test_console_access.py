"""Access to the console: sessions, origins, hosts, and what each role may see."""

import asyncio
import datetime
import html
import json
import re
import secrets
import ssl
from types import SimpleNamespace
from urllib.parse import parse_qsl

import httpx
import pytest
from flows.openid_provider import Client
from soak.counts import count
from support.clients import CALL, CASE
from support.connect import PATH
from support.console import running_console
from support.secrets import Haystack
from support.services import running_services
from support.store import free_port
from support.wait import wait_until

from callback import AsyncCallbackClient, CallbackError, CallStatus, Redirect, Response, UnavailableError
from callback_console import sessions
from callback_console.sessions import Sessions
from callback_console.views import audit, dead
from callback_server.access.roles import Role
from callback_server.access.tokens import add_token


async def record(world, body=b"hello"):
    """Make one recorded call of the owner `orders`, and return its id."""
    return await world.call(await world.generate(response=Response("secret answer")), content=body)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/waiting",
        "/callbacks",
        f"/callbacks/{CASE}",
        f"/calls/{CALL}",
        f"/calls/{CALL}/request-body",
        "/events",
        "/audit",
        "/audit/export",
    ],
)
async def test_without_a_session_every_page_leads_to_the_form(world, path):
    async with world.visitor() as http:
        answer = await http.get(path)
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/sign-in")
        assert (await http.post(f"/calls/{CALL}/replay")).headers["location"].startswith("/sign-in")


async def test_a_wrong_token_and_a_token_without_the_role_open_no_session(world):
    async with world.visitor() as http:
        refused = {"": 401, "wrong": 401, "ä\n": 401, world.tokens["edge"]: 403, world.tokens["work"]: 403}
        for token, status in refused.items():
            answer = await http.post("/sign-in", data={"token": token})
            assert (answer.status_code, answer.headers.get("set-cookie")) == (status, None)


@pytest.mark.parametrize(
    ("wanted", "leads_to"),
    [
        ("/calls/x?body=hex", "/calls/x?body=hex"),
        ("//evil.example", "/"), ("/\\evil.example", "/"), ("https://evil.example", "/"), ("/\t/evil.example", "/"),
    ],
)  # fmt: skip
async def test_signing_in_leads_to_the_wanted_page_of_the_console_and_nowhere_else(world, wanted, leads_to):
    async with world.visitor() as http:
        answer = await http.post("/sign-in", params={"next": wanted}, data={"token": world.tokens["orders"]})
        assert (answer.status_code, answer.headers["location"]) == (303, leads_to)
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert world.tokens["orders"] not in cookie


async def test_signing_out_ends_the_session_everywhere(world):
    async with world.visitor("orders") as http:
        kept = dict(http.cookies)
        assert (await http.get("/waiting")).status_code == 200
        assert (await http.post("/sign-out")).headers["location"] == "/sign-in?signed_out=1"
        assert not http.cookies
        http.cookies.update(kept)
        assert (await http.get("/waiting")).status_code == 303


async def test_a_session_ends_after_its_time_with_its_token_and_its_live_pages():
    kept = Sessions(0.1)
    key = await kept.open("token", AsyncCallbackClient())
    session = kept.find(key)
    with session.live_page(CASE) as page:
        await wait_until(lambda: kept.find(key) is None, what="the end of the session")
        assert await page.receive() is None  # it is closed
        with pytest.raises(CallbackError, match="closed"):
            await session.identity.client.get_callback(CASE)


async def test_sessions_with_the_same_token_share_a_client_until_the_last_one_ends():
    kept = Sessions(60)
    clients = [AsyncCallbackClient("127.0.0.1:1", timeout=0.01) for _ in range(3)]
    keys = [await kept.open(*each) for each in zip(("one", "one", "another"), clients, strict=True)]
    first, second, third = [kept.find(key).identity for key in keys]
    assert (first is second, first is third) == (True, False)
    await kept.close(keys[0])
    with pytest.raises(UnavailableError):
        await second.client.get_callback(CASE)
    await kept.close(keys[1])
    for client in clients[:2]:
        with pytest.raises(CallbackError, match="closed"):
            await client.get_callback(CASE)
    again = kept.find(await kept.open("one", AsyncCallbackClient())).identity
    assert again is not first
    await kept.close_all()


async def test_signing_in_again_ends_the_session_before(world):
    async with world.visitor("orders") as http:
        before = dict(http.cookies)
        assert (await http.post("/sign-in", data={"token": world.tokens["orders"]})).status_code == 303
        assert (await http.get("/waiting")).status_code == 200
        http.cookies.clear()
        http.cookies.update(before)
        assert (await http.get("/waiting")).status_code == 303


async def test_the_oldest_session_and_its_oldest_live_page_make_room(limits):
    limits(sessions, MAX_SESSIONS=2, MAX_LIVE_PAGES=2)
    kept = Sessions(60)
    first, second, third = [await kept.open("token", AsyncCallbackClient()) for _ in range(3)]
    assert [kept.find(key) is not None for key in (first, second, third)] == [False, True, True]
    session = kept.find(third)
    with session.live_page(CASE) as one, session.live_page(CASE) as two, session.live_page(CASE) as three:
        assert session.live_pages == [two, three]
        assert await one.receive() is None  # it is closed
    assert session.live_pages == []
    await kept.close_all()


@pytest.fixture
async def newcomer(world):
    """Return a function that adds a principal, waits until it can sign in, and returns its entry."""
    principals = world.system.directory / "principals.toml"
    before = principals.read_text()

    async def add(name, role):
        world.tokens[name] = add_token(principals, name, [role], None)

        async def enters():
            async with world.visitor() as http:
                return (await http.post("/sign-in", data={"token": world.tokens[name]})).status_code == 303

        await wait_until(enters, what="a new principal")
        return principals.read_text().removeprefix(before)

    add.file, add.before = principals, before
    yield add
    principals.write_text(before)


async def test_a_session_ends_when_the_server_no_longer_knows_the_token(world, newcomer):
    await newcomer("leaver", Role.OWNER)
    async with world.visitor("leaver") as http:
        newcomer.file.write_text(newcomer.before)

        async def is_out():
            answer = await http.get("/waiting")
            return answer.status_code == 303 and "ended=1" in answer.headers["location"]

        await wait_until(is_out, what="the end of the session")
        answer = await http.get("/waiting", headers={"HX-Request": "true"})
        assert answer.headers["hx-redirect"].startswith("/sign-in")


async def test_a_live_page_ends_when_the_server_no_longer_knows_the_token(world, newcomer):
    await newcomer("watcher", Role.OWNER)
    async with world.visitor("watcher") as http, http.stream("GET", "/events", timeout=None) as live:
        lines = live.aiter_lines()
        assert await anext(lines) == "event: change"
        newcomer.file.write_text(newcomer.before)
        async for _ in lines:  # to the end of the stream
            pass


async def test_an_administrator_who_loses_the_role_gets_the_pages_of_an_owner(world, newcomer):
    entry = await newcomer("changer", Role.ADMIN)
    async with world.visitor("changer") as http:
        assert "/overview" in (await http.get("/dead")).text
        newcomer.file.write_text(newcomer.before + entry.replace('"admin"', '"owner"'))

        async def is_owner():
            answer = await http.get("/dead")
            return answer.status_code == 200 and "/overview" not in answer.text

        await wait_until(is_owner, what="the pages of an owner")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example", ""])
async def test_a_request_for_another_host_is_refused(world, host):
    async with world.visitor() as http:
        answer = await http.get("/sign-in", headers={"Host": host})
        assert (answer.status_code, answer.text) == (421, "unknown host\n")


@pytest.mark.parametrize("id_", ["%0d%0aset-cookie:a=1", f"{CASE}%0d%0a", "%00", f"{CASE}x", "a" * 3000])
async def test_an_address_with_what_is_no_id_is_not_found(world, id_):
    async with world.visitor("orders") as http:
        for path in (f"/callbacks/{id_}/response", f"/calls/{id_}/answer"):
            assert (await http.post(path)).status_code == 404
            assert (await http.get(path.rpartition("/")[0])).status_code == 404


async def test_an_offer_of_a_websocket_is_ignored(world):
    async with world.visitor("orders") as http:
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        answer = await http.get("/waiting", headers=upgrade | {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")


async def test_a_live_page_of_a_case_that_does_not_exist_ends(world):
    async with world.visitor("orders") as http:
        answer = await http.get("/events", params={"case": CASE})
        assert (answer.status_code, answer.text) == (200, "")


async def test_a_change_reaches_the_live_pages_of_all_people_with_a_token_and_nobody_else_sees_it(world):
    made = await world.generate()
    live = {"HX-Request": "true"}
    async with (
        world.visitor("orders") as one,
        world.visitor("orders") as two,
        world.visitor("stranger") as other,
        one.stream("GET", "/events") as first,
        two.stream("GET", "/events") as second,
        other.stream("GET", "/events") as third,
    ):
        streams = [each.aiter_lines() for each in (first, second, third)]
        for lines in streams:
            assert await anext(lines) == "event: change"
        await world.client.close_callback(made.case_id)

        async def sees(visitor, lines):
            async for line in lines:  # a change before this one may come first
                if line == "event: change":
                    answer = await visitor.get("/callbacks?status=CLOSED", headers=live)
                    if f"/callbacks/{made.case_id}" in answer.text:
                        return

        await asyncio.gather(sees(one, streams[0]), sees(two, streams[1]))
        assert f"/callbacks/{made.case_id}" not in (await other.get("/callbacks?status=CLOSED", headers=live)).text


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "https://127.0.0.1"])
async def test_a_form_of_another_site_changes_nothing(world, origin):
    made = await world.generate("form", Response("welcome"))
    call_id, caller = await world.hold(made)
    async with world.visitor("orders") as http:
        del http.headers["Origin"]
        headers = {} if origin is None else {"Origin": origin}
        for path in ("/sign-in", "/sign-out", f"/calls/{call_id}/answer"):
            assert (await http.post(path, data={"verdict": "reject"}, headers=headers)).status_code == 403
        assert (await http.get("/waiting")).status_code == 200
    await world.client.answer_call(call_id)
    assert (await caller).text == "welcome"


async def test_an_owner_sees_only_its_own_calls_and_an_administrator_sees_all(world):
    call_id = await record(world)
    for name, status in (("orders", 200), ("stranger", 404), ("operator", 200)):
        async with world.visitor(name) as http:
            for part in ("", "/request-body", f"/compare?with={call_id}"):
                answer = await http.get(f"/calls/{call_id}{part}")
                assert answer.status_code == status, (name, part)
                assert ("secret answer" in answer.text) <= (status == 200)
            case = f"/callbacks/{call_id[:32]}"
            assert (await http.get(case)).status_code == status
            if name == "stranger":
                assert (await http.post(f"{case}/close")).status_code == status
                assert (await http.post(f"{case}/response", data={"body": "stolen"})).status_code == status
                assert (await http.post(f"{case}/resolve")).status_code == status
                assert (await http.post(f"{case}/extend", data={"amount": "1", "unit": "days"})).status_code == status
            assert (await http.get("/callbacks?owner=orders")).status_code == (403 if name == "stranger" else 200)
            for path in ("/waiting", "/dead"):
                assert (await http.get(f"{path}?owner=orders")).status_code == (403 if name == "stranger" else 200)
            if name != "operator":
                assert (await http.post("/dead/pause", data={"activity": "ship-order"})).status_code == 403


async def test_the_audit_is_filtered_by_its_address_and_exported_by_the_same_filters(world, limits):
    limits(audit, PAGE_SIZE=1, EXPORT_PAGE_SIZE=1)
    case_id = (await world.generate()).case_id
    async with world.visitor("orders") as http:
        assert f"/audit?callback={case_id}" in (await http.get(f"/callbacks/{case_id}")).text
        assert "No entry matches" in (await http.get("/audit", params={"callback": case_id})).text
        await http.post(f"/callbacks/{case_id}/extend", data={"amount": "1", "unit": "days"})
    async with world.visitor("operator") as http:
        await http.post(f"/callbacks/{case_id}/close")

    def entries(text):
        (table,) = re.findall(r"<tbody>(.*?)</tbody>", text, re.DOTALL) or [""]
        return [kind for kind in ("Callback closed", "Expiry set") if kind in table]

    found = {
        "": ["Callback closed"],
        "&actor=orders": ["Expiry set"],
        "&action=CALLBACK_EXTENDED": ["Expiry set"],
        "&owner=orders": ["Callback closed"],
        "&from=2020-01-01T00:00": ["Callback closed"],
        "&until=2020-01-01T00:00": [],
        "&actor=stranger": [],
        "&action=nonsense&from=yesterday": ["Callback closed"],
    }
    async with world.visitor("orders") as http:
        for more, kinds in found.items():
            text = (await http.get(f"/audit?callback={case_id}{more}")).text
            assert entries(text) == kinds, more
            assert ("A time has the form" in text) is ("yesterday" in more)
            if kinds:
                [export] = re.findall(r'href="(/audit/export[^"]+)"', text)
                answer = await http.get(html.unescape(export))
                assert answer.headers["content-disposition"] == 'attachment; filename="audit.ndjson"'
                exported = [json.loads(line) for line in answer.text.splitlines()]
                both = [("CALLBACK_CLOSED", "operator"), ("CALLBACK_EXTENDED", "orders")]
                assert [(each["action"], each["actor"]) for each in exported] == (
                    both if kinds != ["Expiry set"] else both[1:]
                )
                assert {each["callbackCaseId"] for each in exported} == {case_id}
        text = (await http.get(f"/audit?callback={case_id}")).text
        [older] = re.findall(r'id="older" href="([^"]+)"', text)
        assert entries((await http.get(f"/audit{html.unescape(older)}")).text) == ["Expiry set"]
    async with world.visitor("stranger") as http:
        for path in ("/audit", "/audit/export"):
            assert case_id not in (await http.get(path)).text
            assert (await http.get(f"{path}?owner=orders")).status_code == 403
        assert "No change so far" in (await http.get("/audit")).text


async def plant(world, number):
    """Call a callback with secrets: its state, credentials in a header and the query, texts in its body and label.

    `paths` shows it without its secrets, and `open_paths` with them.
    """
    header, query, body, label = (secrets.token_urlsafe(24) for _ in range(4))
    made = await world.generate(
        response=Response(body), state_query_parameter="state" if number % 2 else "", labels={"planted": label}
    )
    if not number % 2:  # it gets an entry in the audit
        await world.client.set_response(made.case_id, Response(body, headers={"x-label": label}))
    headers = {"authorization": f"Bearer {header}", "referer": made.url}
    call_id = await world.call(made, f"{'&' if number % 2 else '?'}token={query}", content=body, headers=headers)
    call = f"/calls/{call_id}"
    return SimpleNamespace(
        made=made, call_id=call_id, credentials=[header, query], texts=[body, label],
        paths=[f"/callbacks/{made.case_id}", call, f"{call}?body=hex", f"{call}/compare?with={call_id}"],
        open_paths=[f"{call}{rest}" for rest in ("?secrets=shown", "/request-body", "/response-body")],
    )  # fmt: skip


async def test_planted_states_and_secrets_are_on_no_page_of_those_who_may_not_see_them(world):
    """A page is its status, its header fields (of a download its name, too) and its content."""
    planted = [await plant(world, number) for number in range(count(8, 200))]
    lists = ["/callbacks", "/callbacks?owner=orders", "/waiting?owner=orders", "/dead?owner=orders", "/callbacks/x"]
    lists += ["/audit", "/audit?owner=orders", "/audit/export"]
    foreign, own, shown = Haystack(), Haystack(), Haystack()

    def keep(haystack, name, answer):
        haystack.add(f"{len(haystack.pieces)} {name}", b"%r %b" % (answer.headers.raw, answer.content))

    async def get(haystack, http, *paths):
        for path in paths:
            keep(haystack, path, await http.get(path))

    async def ask(haystack, token, rpc, **request):
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=f"{world.url}{PATH}", headers=headers) as http:
            keep(haystack, rpc, await http.post(rpc, json=request))

    for name in (None, "stranger"):
        async with world.visitor(name) as http:
            await get(foreign, http, *lists)
            for each in planted:
                await get(foreign, http, *each.paths, *each.open_paths, f"/events?case={each.made.case_id}")
                keep(foreign, "resolve", await http.post(f"/callbacks/{each.made.case_id}/resolve", data={"body": "x"}))
    async with world.visitor("orders") as http:
        await get(own, http, *lists)
        for each in planted:
            await get(own, http, *each.paths)
            await get(shown, http, *each.open_paths)
    for token in ("wrong", world.tokens["stranger"], world.tokens["edge"]):
        await ask(foreign, token, "ListCallbacks", owner="orders")
        for each in planted:
            await ask(foreign, token, "GetCallback", callbackCaseId=each.made.case_id)
            await ask(foreign, token, "GetCall", callId=each.call_id)
    await ask(own, world.tokens["orders"], "ListCallbacks", pageSize=1000)
    for each in planted:
        await ask(own, world.tokens["orders"], "GetCallback", callbackCaseId=each.made.case_id)

    states = [each.made.state for each in planted]
    credentials = [text for each in planted for text in each.credentials]
    texts = [text for each in planted for text in each.texts]
    print(f"\n{len(states)} states, {len(credentials + texts)} other secrets, {len(foreign.pieces)} foreign answers, "
          f"{len(own.pieces)} to their owner")  # fmt: skip
    assert not foreign.names_with(states)
    assert not foreign.names_with_texts([*credentials, *texts])
    assert not own.names_with(states)
    assert not own.names_with_texts(credentials)
    for haystack in (foreign, own, shown):
        assert not haystack.names_with_texts(world.tokens.values())
    changes = [text for name, text in own.pieces.items() if name.endswith("/audit/export")]
    assert all(each.made.case_id.encode() in changes[0] for each in planted[::2])
    assert not Haystack({"audit": changes[0]}).names_with_texts(texts)
    # The search finds what their owner may see.
    assert shown.names_with_texts(credentials)
    assert shown.names_with(states)
    assert own.names_with_texts(texts)


async def test_callbacks_are_listed_by_the_filters_of_the_address_a_page_at_a_time(world):
    cases = [
        (await world.generate(activity, labels={"batch": "filters", "n": str(n)})).case_id
        for n, activity in enumerate(["a", "b"] * 26)
    ]
    await world.client.close_callback(cases[0])

    async def listed(http, **filters):
        text = (await http.get("/callbacks", params=filters)).text
        return [case for case in cases if f"/callbacks/{case}" in text], text

    async with world.visitor("orders") as http:
        first, text = await listed(http, label="batch=filters")
        [older] = re.findall(r'href="\?(label=batch[^"]+)"', text)
        second, last = await listed(http, **dict(parse_qsl(html.unescape(older))))
        assert sorted(first + second) == sorted(cases)
        assert (len(first), len(second), "Older" in last) == (50, 2, False)
        assert (await listed(http, label="batch=filters", status="CLOSED"))[0] == cases[:1]
        assert (await listed(http, label="n=1", activity="b"))[0] == cases[1:2]
        assert "No callback matches" in (await listed(http, label="n=1", activity="a"))[1]
        assert "This one was ignored" in (await listed(http, label="n", status="nonsense"))[1]
    async with world.visitor("operator") as http:
        assert (await listed(http, label="n=1"))[0] == []
        assert (await listed(http, label="n=1", owner="orders"))[0] == cases[1:2]
        assert "No callbacks yet" in (await listed(http))[1]


async def test_callbacks_are_found_by_their_newest_call_and_by_time_as_far_as_the_search_has_come(world):
    called = (await record(world))[:32]
    uncalled = (await world.generate()).case_id

    async def listed(http, **filters):
        text = (await http.get("/callbacks", params=filters)).text
        return [case for case in (called, uncalled) if f"/callbacks/{case}" in text], text

    async with world.visitor("orders") as http:
        found, text = await listed(http, last="SUCCEEDED")
        assert found == [called]
        assert "It is not live" in text
        assert "sse-connect" not in text
        assert (await listed(http, last="FAILED"))[0] == []
        found, text = await listed(http, **{"from": "2020-01-01T00:00"})
        assert found == [called, uncalled]
        assert "sse-connect" in text
        assert (await listed(http, until="2020-01-01T00:00"))[0] == []
        assert "A time has the form" in (await listed(http, until="yesterday"))[1]


async def test_failing_callbacks_are_searched_a_page_at_a_time_which_says_how_far_the_search_has_come(world, limits):
    limits(dead, FAILING_PAGE_SIZE=2)
    # The search for callbacks that FAILED comes further back than that for those whose call was NOT_STARTED.
    urls, cases = [], set()
    for activity, options in [("form", {"hold_time": datetime.timedelta(seconds=0.1)})] * 3 + [("unserved", {})] * 3:
        made = await world.generate(activity, **options)
        urls.append(made.url)
        cases.add(made.case_id)
    await asyncio.gather(*map(world.system.http.post, urls))

    async def have_failed():
        found = [
            {each.case_id async for each in world.client.list_callbacks(last_call_status=status)}
            for status in (CallStatus.FAILED, CallStatus.NOT_STARTED)
        ]
        return cases <= found[0] | found[1]

    await wait_until(have_failed, what="every call to fail")
    async with world.visitor("orders") as http:
        seen, addresses = set(), ["/dead/failing"]
        while not cases <= seen:
            text = (await http.get(addresses[-1])).text
            seen |= {*re.findall(r'href="/calls/([0-9a-f]{32})-', text)}
            addresses += re.findall(r'Searched back to.*href="(/dead/failing\?until=[^"]+)"', text) or ["/no-more"]
            assert addresses.count(addresses[-1]) == 1, text  # it has come further
        assert len(addresses) > 1
        assert (await http.get("/dead/group?activity=x&status=FAILED&reason=nonsense")).status_code == 404
    async with world.visitor("stranger") as http:
        assert (await http.get("/dead/failing?owner=orders")).status_code == 403


async def test_only_an_administrator_sees_the_overview(world):
    async with world.visitor("orders") as http:
        assert (await http.get("/")).headers["location"] == "/waiting"
        for path in ("/overview", "/overview/findings"):
            assert (await http.get(path)).status_code == 403
        assert "/overview" not in (await http.get("/waiting")).text
    async with world.visitor("operator") as http:
        assert (await http.get("/")).headers["location"] == "/overview"
        assert "/overview" in (await http.get("/waiting")).text


@pytest.mark.parametrize("amount", ["", "0x1", "-1", "1.5", "100000", "\u0663"])
async def test_an_extension_by_no_time_changes_nothing(world, amount):
    made = await world.generate()
    async with world.visitor("orders") as http:
        for fields in ({"amount": amount, "unit": "days"}, {"amount": "1", "unit": "weeks"}):
            answer = await http.post(f"/callbacks/{made.case_id}/extend", data=fields)
            assert answer.headers["location"] == f"/callbacks/{made.case_id}?done=nothing_given"
        answer = await http.post(f"/callbacks/{made.case_id}/extend", data={"amount": "0", "unit": "days"})
        assert (answer.status_code, "must be later than now" in answer.text) == (400, True)
    assert (await world.client.get_callback(made.case_id)).expire_time is None


async def test_a_form_without_a_field_sets_no_response(world):
    made = await world.generate()
    async with world.visitor("orders") as http:
        answer = await http.post(f"/callbacks/{made.case_id}/response", data={"body": "", "type": ""})
        assert answer.headers["location"] == f"/callbacks/{made.case_id}?done=nothing_given"
        answer = await http.post(f"/callbacks/{made.case_id}/response", data={"code": "99"})
        assert (answer.status_code, "must be 200-299 or 400-599" in answer.text) == (400, True)
        answer = await http.post(f"/callbacks/{made.case_id}/response", data={"code": "9" * 5000})
        assert (answer.status_code, "must be 200-299 or 400-599" in answer.text) == (400, True)


async def test_every_answer_has_a_strict_policy_and_no_page_is_kept(world):
    call_id = await record(world)
    async with world.visitor("orders") as http:
        for path in ("/waiting", f"/calls/{call_id}", "/nowhere", "/sign-in", "/static/console.js"):
            headers = (await http.get(path)).headers
            policy = headers["content-security-policy"]
            assert "unsafe" not in policy
            assert "default-src 'none'; script-src 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert (headers["cache-control"] == "no-store") is not path.startswith("/static")


async def test_a_browser_asks_whether_a_static_file_has_changed(world):
    async with world.visitor() as http:
        first = await http.get("/static/console.js")
        assert (first.status_code, first.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        assert first.headers["cache-control"] == "no-cache"
        again = await http.get("/static/console.js", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (await http.get("/static/VENDORED.md")).status_code == 404


async def test_a_browser_that_disconnects_leaves_no_static_file_open(world):
    """The console runs in this process, where a file that stays open is a warning, which fails the test."""
    for turns in range(100):
        _, writer = await asyncio.open_connection("127.0.0.1", world.console.address.port)
        writer.write(f"GET /static/htmx.min.js HTTP/1.1\r\nHost: {world.console.address}\r\n\r\n".encode())
        for _ in range(turns):
            await asyncio.sleep(0)  # it disconnects at another moment each time
        writer.close()


async def test_a_body_is_downloaded_byte_for_byte_and_never_shown_as_a_page(world):
    body = b"<script>alert(1)</script>\0\xff"
    call_id = await record(world, body)
    async with world.visitor("orders") as http:
        for path, expected in (("request-body", body), ("response-body", b"secret answer")):
            answer = await http.get(f"/calls/{call_id}/{path}")
            assert answer.content == expected
            assert answer.headers["content-type"] == "application/octet-stream"
            assert answer.headers["content-disposition"] == f'attachment; filename="{call_id}.body"'
            assert "sandbox" in answer.headers["content-security-policy"]


async def test_credentials_are_masked_in_the_form_for_an_answer_too(world):
    made = await world.generate("form", Redirect("https://shop.example/?token=verysecret"))
    call_id, caller = await world.hold(made)
    async with world.visitor("orders") as http:
        masked, shown = [(await http.get(f"/calls/{call_id}{query}")).text for query in ("", "?secrets=shown")]
        assert ("?token=***" in masked, "verysecret" in masked, "verysecret" in shown) == (True, False, True)
    await world.client.answer_call(call_id)
    await caller


async def test_a_server_that_cannot_be_reached_is_reported(world):
    async with running_console(f"127.0.0.1:{free_port()}") as console, httpx.AsyncClient() as http:
        answer = await http.get(f"http://{console.address}/sign-in")
    assert (answer.status_code, "The server cannot be reached" in answer.text) == (503, True)


async def test_without_principals_a_session_opens_by_itself_and_only_on_the_own_machine(world, store_of):
    async with running_services(store_of()) as services:
        async with running_console(services.address) as console, httpx.AsyncClient(follow_redirects=True) as http:
            answer = await http.get(f"http://{console.address}/")
            assert (answer.status_code, answer.url.path) == (200, "/overview")
        url = "https://console.example"
        async with running_console(services.address, public_url=url) as console, httpx.AsyncClient() as http:
            for method in ("GET", "POST"):
                headers = {"Host": "console.example", "Origin": url}
                answer = await http.request(method, f"http://{console.address}/sign-in", headers=headers)
                assert (answer.status_code, answer.headers.get("set-cookie")) == (403, None)
        world.issuer.reset()
        world.issuer.client = Client(f"{url}/sign-in/return")
        headers = {"Host": "console.example"}
        trusts = ssl.create_default_context(cafile=world.openid.ca_file)
        async with (
            running_console(services.address, public_url=url, openid=world.openid) as console,
            httpx.AsyncClient(base_url=f"http://{console.address}", headers=headers) as http,
            httpx.AsyncClient(verify=trusts) as at_issuer,
        ):
            begun = await http.get("/sign-in/openid")
            cookie = begun.headers["set-cookie"].partition(";")
            assert cookie[0].startswith("__Host-callback_console_sign_in_")
            assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= {each.strip() for each in cookie[2].split(";")}
            back = (await at_issuer.post(begun.headers["location"])).headers["location"]
            answer = await http.get(back.removeprefix(url), headers={"Cookie": cookie[0]})
            assert (answer.status_code, answer.headers["set-cookie"].startswith(cookie[0].partition("=")[0])) == (
                403,
                True,
            )
            assert len(answer.headers.get_list("set-cookie")) == 1


async def test_a_stop_ends_live_pages_at_once(world):
    async with running_console(world.system.grpc, grace_s=60) as console:
        url = f"http://{console.address}"
        async with httpx.AsyncClient(base_url=url, headers={"Origin": url}, timeout=30) as http:
            await http.post("/sign-in", data={"token": world.tokens["orders"]})
            async with http.stream("GET", "/events") as answer:
                lines = answer.aiter_lines()
                assert await anext(lines) == "event: change"
                await console.stop()
                assert [line async for line in lines if line.startswith("event")] == []
