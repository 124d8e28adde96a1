"""Providers: a message that a provider sends again gets the answer of the first one, and its handler is not run."""

import hashlib
from types import SimpleNamespace

import pytest
from pydantic import ValidationError
from support.cases import new_case
from support.handlers import accept, override, stub_handler
from support.services import running_services
from support.verification import Clock, declared, profile_of, sample_request, sample_settings, with_header

from callback_server.domain.case import DEFAULT_REPEAT_WINDOW_MS, CallMode, Settings
from callback_server.settings import ActivitySettings
from callback_server.store.recording import Recording
from callback_server.store.transitions.create_cases import create_cases
from callback_server.verification.profiles import Profiles
from callback_server.verification.providers import PROVIDERS

STATE = "3fae4a0e-6c0f-4d0a-9f6b-5d2b6a3f8c11"
"""State in the URLs that samples sign."""
WITHOUT_ID = {
    name
    for name, each in PROVIDERS.items()
    if each.profile["kind"] != "standard-webhooks" and not each.profile.get("id")
}
"""Providers whose messages have no id."""


@pytest.fixture(scope="module")
async def running(store_of, tmp_path_factory):
    """Run services with the profiles of all providers, and a `push` handler that counts its calls."""
    store, asked, clock = store_of(), [], Clock()

    async def counts(request, _context):
        asked.append(request)
        return accept(override(response_body=b"answer %d" % len(asked)))

    def profile(name):
        folder = tmp_path_factory.mktemp(name)
        return declared(folder, PROVIDERS[name].sample.secret, **sample_settings(name, folder))

    profiles = Profiles({name: profile(name) for name in PROVIDERS}, clock)
    async with stub_handler() as stub:
        script, activities = stub.play(counts), {"push": ActivitySettings(target=stub.target)}
        async with running_services(store, activities=activities, profiles=profiles) as services:
            yield SimpleNamespace(store=store, services=services, script=script, asked=asked, clock=clock)


@pytest.fixture
def up(running):
    """Return the services of the module with an empty store."""
    running.store.flush_below()
    running.asked.clear()
    return running


async def sent_twice(up, name, *, multiple):
    """Deliver the sample of a provider twice to a case with its profile and its state, and return both answers."""
    sent = sample_request(name)
    return await delivered(up, name, sent, sent, multiple=multiple)


async def delivered(up, name, *messages, multiple=True):
    """Deliver messages of a provider to a case with its profile and its state, and return the answers."""
    up.clock.now = float(PROVIDERS[name].sample.time or Clock.now)
    case = new_case(
        states=[STATE], owner="local", verification_profile=name, settings=Settings(activity_case=up.script),
        mode=CallMode.MULTIPLE if multiple else CallMode.SINGLE,
        repeat_window_ms=0 if multiple else DEFAULT_REPEAT_WINDOW_MS,
    )  # fmt: skip
    await create_cases(up.services.control_plane.scripts, [case], recording=Recording())
    made = SimpleNamespace(callback_state=STATE)
    requests = [
        {
            "method": sent.method, "body": sent.body, "request_query_string": sent.query_string,
            "request_headers": [{"name": header, "value": value} for header, value in sent.headers],
            "request_query": [{"name": parameter, "value": value} for parameter, value in sent.query],
        }
        for sent in messages
    ]  # fmt: skip
    return [await up.services.call(made, **request) for request in requests]


@pytest.mark.parametrize("multiple", [False, True], ids=["single use", "multiple calls"])
@pytest.mark.parametrize("name", sorted(PROVIDERS))
async def test_a_message_that_is_sent_again_is_one_call_by_its_id_or_within_a_window(up, name, multiple):
    """Check that an id tells a repeat on any callback, and the request itself only where a callback has a window."""
    first, again = await sent_twice(up, name, multiple=multiple)
    has_id = name not in WITHOUT_ID
    assert [(each.verified, bool(each.message_id)) for each in up.asked[:1]] == [(True, has_id)]
    assert first.response.response_body == b"answer 1"
    if has_id or not multiple:
        assert (again.response, again.repeated_call_id) == (first.response, first.call_id)
        assert len(up.asked) == 1
    else:
        assert again.response.response_body == b"answer 2"
        assert len(up.asked) == 2


@pytest.mark.parametrize("name", ["plaid", "dropbox", "twilio"])
async def test_of_two_events_with_the_same_body_each_is_handled(up, name):
    """Check what lost events before: with the hash of the body as id, the second event got the first one's answer."""
    first = sample_request(name)
    second = with_header(first, "i-twilio-idempotency-token", "another") if name == "twilio" else first
    answers = await delivered(up, name, first, second)
    assert [each.response.response_body for each in answers] == [b"answer 1", b"answer 2"]


async def test_the_id_of_a_provider_can_be_replaced_and_switched_off(tmp_path):
    def message_id(name, **given):
        profile = profile_of(tmp_path, PROVIDERS[name].sample.secret, kind=f"provider:{name}", **given)
        return profile.verify(sample_request(name), "https://box.example/cb/1").message_id

    assert message_id("github", id=[]) == ""
    body_hash = hashlib.sha256(sample_request("github").body).hexdigest()
    assert message_id("github", id=["header:x-none", "body-hash"]) == body_hash
    with pytest.raises(ValidationError, match="id"):
        message_id("gitlab", id="header:idempotency-key")
