"""Sign-in to the console at an OpenID provider, and its ID tokens as tokens of the server."""

import base64
import contextlib
import json
import re
import secrets
import ssl
import time
from dataclasses import replace
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest
from axe_playwright_python.async_playwright import Axe
from flows.openid_provider import CLIENT_ID, Client, new_key
from support.browser import lands_at, visitor
from support.clients import scripted_server
from support.console import running_console
from support.store import free_port
from support.wait import wait_until

from callback import AsyncCallbackClient
from callback.v1 import callbacks_service_pb2 as messages
from callback_console import doctor, openid
from callback_console.sessions import Sessions
from callback_console.settings import ConsoleSettings, OpenIdSettings
from callback_process.entry_point import StartError
from callback_process.findings import Level

RETURN = "/sign-in/return"
COOKIE = "callback_console_"


@pytest.fixture(scope="module")
async def console(world):
    """A console that knows the OpenID provider."""
    async with running_console(world.system.grpc, openid=world.openid) as console:
        yield console


@pytest.fixture
def issuer(world, console):
    world.issuer.reset()
    world.issuer.client = Client(f"http://{console.address}{RETURN}")
    return world.issuer


@pytest.fixture
async def at_issuer(world):
    """A visitor of the OpenID provider."""
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=world.openid.ca_file)) as http:
        yield http


@contextlib.asynccontextmanager
async def person(console, **headers):
    url = f"http://{console.address}"
    async with httpx.AsyncClient(base_url=url, headers={"Origin": url} | headers) as http:
        yield http


async def begins(http, path="/callbacks"):
    """Begin a sign-in, and return the URL of the provider."""
    answer = await http.get("/sign-in/openid", params={"next": path})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def consents(at_issuer, url):
    """Consent at the provider, and return the path with which the browser comes back."""
    answer = await at_issuer.post(url)
    assert answer.status_code == 302, answer.text
    location = urlsplit(answer.headers["location"])
    return f"{location.path}?{location.query}"


def changed(path, **query):
    """Return a path with another query."""
    parts = urlsplit(path)
    given = dict(parse_qsl(parts.query)) | query
    return f"{parts.path}?{urlencode({name: value for name, value in given.items() if value is not None})}"


def sessions_of(answer):
    """Return the session cookies that an answer sets."""
    return [each for each in answer.headers.get_list("set-cookie") if "_sign_in_" not in each.partition("=")[0]]


async def signs_in(http, at_issuer, path="/callbacks"):
    return await http.get(await consents(at_issuer, await begins(http, path)))


async def is_refused(console, at_issuer):
    """Sign in, and check that it opens no session. Return the page that says so."""
    async with person(console) as http:
        answer = await signs_in(http, at_issuer)
        assert (answer.status_code, sessions_of(answer)) == (502, [])
        assert (await http.get("/callbacks")).status_code == 303
    return answer.text


async def test_a_person_signs_in_in_a_browser_sees_what_the_principal_may_and_signs_out(
    browser, world, console, issuer
):
    made = await world.generate()
    url = f"http://{console.address}"
    async with visitor(browser, ignore_https_errors=True, locale="en") as page:
        complaints = []
        page.on("console", lambda message: complaints.append((message.location["url"], message.text)))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(f"{url}/callbacks/{made.case_id}")
        assert (await Axe().run(page)).response["violations"] == []
        await page.click("text=Sign in with 127.0.0.5")
        await lands_at(page, f"{issuer.issuer}/authorize*")
        await page.click("#go")
        await lands_at(page, f"{url}/callbacks/{made.case_id}")
        assert "orders" in await page.inner_text("main")
        cookies = {each["name"]: each for each in await page.context.cookies(url)}
        session = cookies[f"{COOKIE}{console.address.port}"]
        assert (session["httpOnly"], session["sameSite"]) == (True, "Lax")

        await page.click("text=Sign out")
        await lands_at(page, f"{url}/sign-in?signed_out=issuer")
        await page.click("text=Sign out of 127.0.0.5, too")
        await lands_at(page, f"{issuer.issuer}/leave*")
        await page.click("#go")
        await lands_at(page, f"{url}/sign-in")
        await page.goto(f"{url}/callbacks")
        await lands_at(page, f"{url}/sign-in?*")
        # The issuer has no icon, and htmx complains of a stream that ends with its page.
        expected = [each for each in complaints if each[0].startswith(issuer.issuer) or each[1] == "[object Event]"]
        assert complaints == expected


async def test_someone_without_a_role_learns_who_they_are_and_gets_in_once_the_principals_file_has_them(
    browser, world, console, issuer, at_issuer
):
    issuer.lies = {"sub": 'user-"9"', "email": "<b>eve</b>@shop.example", "roles": ["admin"]}
    async with visitor(browser, ignore_https_errors=True, locale="en") as page:
        await page.goto(f"http://{console.address}/sign-in/openid")
        await page.click("#go")
        await lands_at(page, f"http://{console.address}{RETURN}?*")
        assert await page.title() == "You have no access yet · Callback"
        assert (await Axe().run(page)).response["violations"] == []
        text = await page.inner_text("main")
        assert "<b>eve</b>@shop.example" in text
        entry = await page.inner_text("pre")
    async with person(console, **{"Accept-Language": "nl"}) as http:
        answer = await signs_in(http, at_issuer)
        assert (answer.status_code, sessions_of(answer)) == (403, [])
        assert "U hebt nog geen toegang" in answer.text
        principals = world.system.directory / "principals.toml"
        before = principals.read_text()
        try:
            principals.write_text(f"{before}\n{entry.replace('your-name', 'eve')}\n")

            async def is_in():
                return (await signs_in(http, at_issuer)).status_code == 303

            await wait_until(is_in, what="a new principal")
            assert (await http.get("/callbacks")).status_code == 200
            assert (await http.post("/dead/pause", data={"activity": "a"})).status_code == 403  # an owner, no admin
        finally:
            principals.write_text(before)

        async def is_out():
            return (await http.get("/callbacks")).status_code == 303

        await wait_until(is_out, what="the end of the session")


@pytest.mark.parametrize(
    ("wanted", "leads_to"),
    [
        ("/calls/x?body=hex", "/calls/x?body=hex"),
        ("//evil.example", "/"),
        ("https://e.example", "/"),
        (f"/{'x' * 2000}", f"/{'x' * 2000}"),
        (f"/{'x' * 2001}", "/"),
    ],
)
async def test_it_leads_to_the_wanted_page_of_the_console_and_nowhere_else(
    console, issuer, at_issuer, wanted, leads_to
):
    async with person(console) as http:
        answer = await signs_in(http, at_issuer, wanted)
        assert (answer.status_code, answer.headers["location"]) == (303, leads_to)


async def test_the_request_to_the_provider_has_what_binds_its_answer(console, issuer):
    async with person(console) as http:
        first, second = [dict(parse_qsl(urlsplit(await begins(http)).query)) for _ in range(2)]
    assert first["redirect_uri"] == f"http://{console.address}{RETURN}"
    assert (first["response_type"], first["code_challenge_method"]) == ("code", "S256")
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) >= 43
        assert first[name] != second[name]


async def test_an_answer_counts_only_in_the_browser_that_began_and_only_once(console, issuer, at_issuer):
    async with person(console) as http, person(console) as victim:
        answer = await consents(at_issuer, await begins(http))
        for victims_cookie in (None, await begins(victim)):  # it has begun no sign-in, and another one
            brought = await victim.get(answer)
            assert (brought.status_code, sessions_of(brought)) == (400, []), victims_cookie
            assert "This browser has not begun this sign-in" in brought.text
        assert issuer.asked_for_tokens == 0
        assert (await http.get(answer)).status_code == 303
        again = await http.get(answer)
        assert (again.status_code, sessions_of(again), issuer.asked_for_tokens) == (400, [], 1)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"state": None}, 400), ({"state": ""}, 400), ({"state": "ä"}, 400),
        ({"iss": None}, 400), ({"iss": "https://evil.example"}, 400), ({"iss": ""}, 400),
        ({"error": "access_denied"}, 403), ({"code": None}, 400), ({"code": "made-up"}, 502),
    ],
)  # fmt: skip
async def test_another_answer_opens_no_session_and_one_with_its_state_uses_up_the_sign_in(
    console, issuer, at_issuer, change, status
):
    async with person(console) as http:
        right = await consents(at_issuer, await begins(http))
        answer = await http.get(changed(right, **change))
        assert (answer.status_code, sessions_of(answer)) == (status, [])
        assert 'id="token"' in answer.text  # one can still sign in with a token
        assert issuer.asked_for_tokens == (status == 502)
        assert (await http.get(right)).status_code == (303 if "state" in change else 400)


async def test_a_code_of_another_sign_in_is_worth_nothing(console, issuer, at_issuer):
    """The attacker has the code of a victim, whose browser never brought it to the console."""
    async with person(console) as victim, person(console) as attacker:
        stolen = await consents(at_issuer, await begins(victim))
        (code,) = parse_qs(urlsplit(stolen).query)["code"]
        own = await consents(at_issuer, await begins(attacker))
        answer = await attacker.get(changed(own, code=code))
        assert (answer.status_code, sessions_of(answer)) == (502, [])


@pytest.mark.parametrize(
    "lie",
    [
        {"aud": "another"}, {"aud": [CLIENT_ID, "another"]}, {"azp": "another"}, {"iss": "https://evil.example"},
        {"exp": 1}, {"iat": 4e9}, {"nonce": "another"}, {"nonce": ""}, {"nonce": None}, {"at_hash": "another"},
    ],
    ids=str,
)  # fmt: skip
async def test_an_id_token_that_is_not_for_this_sign_in_opens_no_session(console, issuer, at_issuer, lie):
    issuer.lies = lie
    assert "The answer of 127.0.0.5 is not valid" in await is_refused(console, at_issuer)


async def test_an_id_token_by_another_key_opens_no_session(console, issuer, at_issuer):
    issuer.signs_with = new_key()
    await is_refused(console, at_issuer)


async def test_a_session_gets_a_new_key_and_ends_the_one_before(console, issuer, at_issuer):
    name = f"{COOKIE}{console.address.port}"

    async def status_with(http, key):
        http.cookies.clear()
        http.cookies.set(name, key, domain="127.0.0.1")
        return (await http.get("/callbacks")).status_code

    async with person(console) as http:
        http.cookies.set(name, "planted", domain="127.0.0.1")
        assert sessions_of(await signs_in(http, at_issuer))
        kept = http.cookies.get(name, domain="127.0.0.1")
        assert [await status_with(http, key) for key in ("planted", kept)] == [303, 200]
        await signs_in(http, at_issuer)
        assert await status_with(http, kept) == 303


async def test_a_session_lives_as_long_as_its_token(console, issuer, at_issuer):
    issuer.lies = {"exp": int(time.time()) + 30}
    async with person(console) as http:
        [cookie] = sessions_of(await signs_in(http, at_issuer))
    [age] = re.findall(r"Max-Age=(\d+)", cookie)
    assert 0 < int(age) <= 90  # with the minute by which clocks may differ
    sessions = Sessions(60)
    key = await sessions.open("token", AsyncCallbackClient(), lifetime_s=0.1)
    await wait_until(lambda: sessions.find(key) is None, what="the end of the session")


async def test_the_sign_ins_of_two_tabs_do_not_meet(console, issuer, at_issuer):
    async with person(console) as http:
        first, second = [await consents(at_issuer, await begins(http, path)) for path in ("/dead", "/waiting")]
        for answer, path in ((second, "/waiting"), (first, "/dead")):
            assert (await http.get(answer)).headers["location"] == path
        assert [name for name in http.cookies if "_sign_in_" in name] == []


async def test_a_browser_keeps_a_few_sign_ins_and_the_console_none_at_all(console, issuer, at_issuer):
    async with person(console) as http, person(console) as other:
        answer = await consents(at_issuer, await begins(http))
        for length in (0, 1900) * 10:
            await begins(other, f"/{'a' * length}")
            begun = [name + value for name, value in other.cookies.items() if "_sign_in_" in name]
            assert 0 < len("".join(begun)) < 8000
        assert len(begun) < 20
        assert (await http.get(answer)).status_code == 303


def test_a_cookie_counts_for_ten_minutes_for_its_sign_in_and_with_the_signature_of_the_console():
    settings = OpenIdSettings(issuer="https://issuer.example", client_id=CLIENT_ID)
    provider, another = openid.OpenId(settings), openid.OpenId(settings)
    begun = openid.SignIn("state", "nonce", "verifier", "/", int(time.time()) + openid.SIGN_IN_S)
    cookie = provider.to_cookie(begun)
    assert provider.from_cookie(cookie, "state") == begun
    head, claims, signature = cookie.split(".")
    unsigned = f"{b64({'alg': 'none'})}.{claims}."
    for value, state in (
        (cookie, "another"), (cookie, ""), ("", ""), ("ä", "state"), (unsigned, "state"),
        (f"{head}.{b64({'state': 'state'})}.{signature}", "state"), (another.to_cookie(begun), "state"),
        (provider.to_cookie(replace(begun, exp=int(time.time()) - 1)), "state"),
    ):  # fmt: skip
        with pytest.raises(openid.SignInError, match="openid_lost"):
            provider.from_cookie(value, state)


def b64(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "change",
    [
        {}, {"end_session_endpoint": "http://issuer.example/leave"},
        {"issuer": "https://evil.example"}, {"issuer": None}, {"jwks_uri": None},
        {"authorization_endpoint": "http://issuer.example"}, {"token_endpoint": "http://issuer.example"},
    ],
    ids=str,
)  # fmt: skip
async def test_a_configuration_of_another_issuer_or_without_https_is_not_used(world, issuer, change):
    issuer.changes = change
    provider = openid.OpenId(world.openid)
    if change.keys() <= {"end_session_endpoint"}:
        _, url = await provider.begin("http://127.0.0.1/", "/")
        assert url.startswith(f"{issuer.issuer}/authorize?")
        assert (provider.sign_out_url("http://127.0.0.1/") is None) == bool(change)
    else:
        with pytest.raises(openid.SignInError, match="openid_wrong"):
            await provider.begin("http://127.0.0.1/", "/")


async def test_while_the_provider_is_down_people_sign_in_with_their_token(world):
    settings = OpenIdSettings(issuer=f"https://127.0.0.1:{free_port()}", client_id=CLIENT_ID)
    async with running_console(world.system.grpc, openid=settings) as console, person(console) as http:
        answer = await http.get("/sign-in/openid?next=/dead")
        assert (answer.status_code, "127.0.0.1 cannot be reached" in answer.text) == (503, True)
        assert "next=%2Fdead" in answer.text
        assert (await http.post("/sign-in", data={"token": world.tokens["orders"]})).status_code == 303


async def test_an_id_token_that_the_server_does_not_accept_opens_no_session(console, issuer, at_issuer):
    issuer.lies = {"events": {}}  # the console does not look at it
    assert "the server does not accept its tokens" in await is_refused(console, at_issuer)


async def test_a_console_without_a_provider_has_no_such_sign_in(world):
    async with world.visitor() as http:
        for path in ("/sign-in/openid", RETURN):
            assert (await http.get(path)).status_code == 404
        assert "Sign in with" not in (await http.get("/sign-in")).text


@pytest.mark.parametrize("name", ["client_secret_file", "ca_file"])
async def test_a_file_that_cannot_be_used_stops_the_start(world, tmp_path, name):
    (tmp_path / "empty").write_text("\n")
    for file in (tmp_path / "empty", tmp_path / "absent"):
        settings = OpenIdSettings(issuer=world.issuer.issuer, client_id=CLIENT_ID, **{name: file})
        with pytest.raises(StartError, match=r"^openid: "):
            async with running_console(world.system.grpc, openid=settings):
                pass


async def test_after_a_change_of_the_key_of_the_provider_people_sign_in(console, issuer, at_issuer):
    issuer.published = issuer.signs_with = new_key(secrets.token_hex(4))  # the next tests use it, too

    async def is_in():
        async with person(console) as http:
            return (await signs_in(http, at_issuer)).status_code == 303

    await wait_until(is_in, what="the new key")


async def test_a_new_secret_of_the_client_needs_no_restart_and_a_file_that_is_lost_keeps_the_last(
    console, world, at_issuer
):
    file, issuer = world.openid.client_secret_file, world.issuer
    issuer.reset()
    issuer.client = Client(f"http://{console.address}{RETURN}")
    right = file.read_text()
    try:
        file.write_text("another one\n")
        await is_refused(console, at_issuer)
        file.write_text(right)
        async with person(console) as http:
            assert (await signs_in(http, at_issuer)).status_code == 303
        file.unlink()
        async with person(console) as http:
            assert (await signs_in(http, at_issuer)).status_code == 303
    finally:
        file.write_text(right)
        file.chmod(0o600)


# ---- callback doctor ----


async def doctor_says(**settings):
    """Return what the doctor of a console says: check to level and text."""
    settings = ConsoleSettings(**settings)
    found = [each for look in doctor.CHECKS async for each in look(settings)]
    return {each.check: (each.level, f"{each.seen}; {each.advice}".rstrip("; ")) for each in found}


async def test_a_doctor_finds_no_problem_with_server_and_provider(world, issuer):
    file = world.openid.client_secret_file
    file.chmod(0o600)
    said = await doctor_says(server_target=world.system.grpc, openid=world.openid)
    assert said == {
        "console openid.client_secret_file": (Level.OK, f"{file} is readable, and not by everyone"),
        "console openid": (Level.OK, f"the configuration of {issuer.issuer} can be fetched"),
        "console server_target": (Level.OK, f"{world.system.grpc} is serving"),
    }


async def test_a_doctor_says_why_no_one_can_sign_in(world, tmp_path):
    lost = f"127.0.0.1:{free_port()}"
    said = await doctor_says(server_target=lost, openid=world.openid.model_copy(update={"ca_file": None}))
    level, text = said["console openid"]
    assert (level, f"{world.issuer.issuer} cannot be used: ConnectError" in text) == (Level.PROBLEM, True)
    level, text = said["console server_target"]
    assert (level, text.startswith(f"{lost} cannot be reached: ")) == (Level.PROBLEM, True)
    (tmp_path / "secret").touch(0o600)
    no_secret = world.openid.model_copy(update={"client_secret_file": tmp_path / "secret"})
    said = await doctor_says(server_target=lost, openid=no_secret, server_tls={"ca_file": tmp_path / "none"})
    assert said["console openid"] == (Level.PROBLEM, f"{tmp_path / 'secret'} is empty; correct the file")
    assert said["console server_tls.ca_file"][0] is Level.PROBLEM
    assert "console server_target" not in said


@pytest.mark.parametrize("public_url", [None, "https://console.example"])
async def test_a_doctor_tells_a_server_that_needs_no_token(public_url):
    async with scripted_server() as server:
        server.answers["ListCallbacks"] = messages.ListCallbacksResponse()
        level, text = (await doctor_says(server_target=server.address, public_url=public_url))["console server_target"]
    assert "no principals" in text
    assert level is (Level.PROBLEM if public_url else Level.OK)
