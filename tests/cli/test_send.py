"""`callback send` calls a callback as a provider does: its profile verifies the message, and the handler gets it."""

import functools
import json
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support.clients import run_callback
from support.system import running_system

from callback import Redirect, Response

SECRET = "whsec_one"
PRELOADED = ("callback_cli.verification.sample_message",)


def config_of(directory):
    """Return profiles of providers that sign with a secret, with a URL in it, and with a key; write their files."""
    key = rsa.generate_private_key(65537, 2048)
    (directory / "private.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (directory / "public.pem").write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    (directory / "secret").write_text(SECRET)
    secrets, keys = f'secret_files = ["{directory}/secret"]', f'key_files = ["{directory}/public.pem"]'
    return "".join(
        f'[profiles.{name}]\nkind = "provider:{name}"\n{files}\n'
        for name, files in {
            "stripe": secrets, "github": secrets, "square": secrets, "microsoft-graph": secrets, "aws-sns": keys,
        }.items()
    )  # fmt: skip


@pytest.fixture(scope="module")
async def system(store_of, tmp_path_factory):
    directory = tmp_path_factory.mktemp("send")
    async with running_system(directory, store_of("valkey"), config=config_of(directory)) as system:
        system.send = functools.partial(run_callback, "send", preloaded=PRELOADED)
        yield system


async def made(system, profile="", **options):
    value = await system.client.generate_callback_url(
        "record", Response("thank you"), verification_profile=profile, **options
    )
    return value.url, value.case_id


@pytest.mark.parametrize(
    ("provider", "file"),
    [*((name, "secret") for name in ("stripe", "github", "square", "microsoft-graph")), ("aws-sns", "private.pem")],
)
async def test_the_message_of_a_provider_is_verified_and_recorded(system, provider, file):
    url, case = await made(system, provider)
    ran = await system.send(url, "--provider", provider, "--secret-file", str(system.directory / file))
    assert (ran.code, ran.errors) == (0, "")
    assert ran.output.startswith("200 OK\n")
    assert ran.output.endswith("\n\nthank you\n")
    (call,) = [each async for each in system.client.list_calls(case)]
    call = await system.client.get_call(call.call_id)
    assert (call.status, call.verification_profile) == ("SUCCEEDED", provider)
    assert SECRET not in str((call.headers, call.query_string, call.body))


async def test_a_wrong_secret_is_refused_with_exit_code_1(system, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("whsec_two")
    url, case = await made(system, "stripe")
    ran = await system.send(url, "--provider", "stripe", "--secret-file", str(wrong), "--json")
    shown = json.loads(ran.output)
    assert (ran.code, shown["responseCode"]) == (1, 401)
    assert "verification_failed" in shown["responseBody"]
    assert [each async for each in system.client.list_calls(case)] == []


@pytest.mark.parametrize("provider", ["stripe", "square"], ids=["body signed", "url signed"])
async def test_a_dry_run_prints_what_verify_reads(system, provider):
    url, case = await made(system, provider)
    assert url.startswith("http://")
    arguments = [url, "--provider", provider, "--secret-file", str(system.directory / "secret"), "--dry-run"]
    printed = await system.send(*arguments)
    assert printed.code == 0
    config = str(system.directory / "callback.toml")
    ran = await run_callback(
        "verify",
        provider,
        "--config",
        config,
        stdin=printed.output.encode(),
        preloaded=("callback_server.operations.doctor",),
    )
    assert ran.output.startswith("passes: a call\n")
    assert [each async for each in system.client.list_calls(case)] == []


async def test_a_body_is_read_from_standard_input(system):
    url, case = await made(system, "github")
    body = b'{"own":   true}'
    secret = str(system.directory / "secret")
    ran = await system.send(url, "--provider", "github", "--secret-file", secret, "--body-file", "-", stdin=body)
    assert ran.code == 0, ran
    (call,) = [each async for each in system.client.list_calls(case)]
    assert (await system.client.get_call(call.call_id)).body == body


@pytest.mark.parametrize(
    ("provider", "parameter", "place"),
    [("oidc-return", "state", "query"), ("oidc-form-post", "state", "form"), ("ideal", None, "query")],
)
async def test_a_browser_returns_to_the_callback(system, provider, parameter, place):
    url, case = await made(system, state_query_parameter=parameter or "")
    ran = await system.send(url, "--provider", provider, "--value", "ec=7" if provider == "ideal" else "code=7")
    assert ran.code == 0, ran
    (call,) = [each async for each in system.client.list_calls(case)]
    call = await system.client.get_call(call.call_id)
    fields = dict(call.query if place == "query" else call.form())
    assert fields["ec" if provider == "ideal" else "code"] == "7"


async def test_a_saml_response_is_accepted_by_the_library_of_services(system, tmp_path):
    # pysaml2 takes seconds to import, which each test process would spend while it collects.
    from flows.saml_identity_provider import write_key
    from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
    from saml2.client import Saml2Client
    from saml2.config import IdPConfig, SPConfig
    from saml2.metadata import entity_descriptor

    issuer, service = "https://login.example/saml", "https://shop.example/saml"
    key = write_key(tmp_path, "idp")
    endpoints = {"single_sign_on_service": [("https://login.example/sso", BINDING_HTTP_REDIRECT)]}
    metadata = entity_descriptor(
        IdPConfig().load({"entityid": issuer, **key, "service": {"idp": {"endpoints": endpoints}}})
    )
    (tmp_path / "idp.xml").write_text(str(metadata))
    value = await system.client.generate_callback_url(
        "record", Redirect("/login/done"), state_query_parameter="RelayState"
    )
    ran = await system.send(
        *(value.url, "--provider", "saml", "--secret-file", key["key_file"], "--value", f"audience={service}"),
        *("--value", "in_response_to=id-1", "--value", 'name_id=<ann> & "bob"'),
    )
    assert (ran.code, ran.output.partition("\n")[0]) == (0, "303 See Other")
    (call,) = [each async for each in system.client.list_calls(value.case_id)]
    form = dict(parse_qsl((await system.client.get_call(call.call_id)).body.decode()))
    settings = {
        "entityid": service,
        "metadata": {"local": [str(tmp_path / "idp.xml")]},
        "service": {
            "sp": {
                "endpoints": {"assertion_consumer_service": [(value.url.partition("?")[0], BINDING_HTTP_POST)]},
                "want_assertions_signed": True,
                "want_response_signed": False,
            }
        },
    }
    client = Saml2Client(config=SPConfig().load(settings))
    answer = client.parse_authn_request_response(form["SAMLResponse"], BINDING_HTTP_POST, outstanding={"id-1": "/"})
    assert answer.name_id.text == '<ann> & "bob"'


async def test_a_secret_that_no_header_can_have_is_an_error_that_does_not_show_it(unused_port, tmp_path):
    (tmp_path / "secret").write_text("hunter2\nsecond\n")
    url = f"http://127.0.0.1:{unused_port}/cb/x"
    ran = await run_callback(
        "send", url, "--provider", "gitlab", "--secret-file", str(tmp_path / "secret"), preloaded=PRELOADED
    )
    assert ran.code == 2
    assert "the secret has a line break" in ran.errors
    assert "hunter2" not in ran.errors


async def test_an_unknown_provider_and_an_unreachable_url_are_errors(unused_port, tmp_path):
    send = functools.partial(run_callback, "send", preloaded=PRELOADED)
    ran = await send("http://127.0.0.1:1/cb/x", "--provider", "nobody")
    assert ran.code == 2
    assert "'nobody' is unknown; known: adyen-platform, " in ran.errors
    ran = await send(f"http://127.0.0.1:{unused_port}/cb/x", "--provider", "ideal")
    assert ran.code == 69
    assert "Connection refused" in ran.errors
