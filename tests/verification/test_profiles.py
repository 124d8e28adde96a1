"""Profiles: their declaration in the configuration, and the reload of their secrets from files."""

import base64
import json
import re
import subprocess
import sys
import tomllib

import pytest
from support.tree import ROOT
from support.verification import URL, profiles_of, refused, request

from callback_process.credentials import CredentialsError
from callback_process.effective import effective_settings
from callback_process.settings import SettingsError
from callback_server import metrics
from callback_server.settings import ServerSettings
from callback_server.verification.profiles import Profiles, profile_files
from callback_server.verification.template import Template

SECRET = {"kind": "shared-secret", "header": "x-key"}


def sent(secret):
    return request(("x-key", secret))


def problems(tmp_path, text):
    file = tmp_path / "callback.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        ServerSettings.load(file)
    return [each.replace(f" ({file})", "") for each in caught.value.problems]


# ---- Declaration ----

HMAC = 'kind = "hmac"\nsecret_files = ["s"]\nsignature = "header:x"\n'
PLACES = 'kind = "hmac"\nsecret_files = ["s"]\n'
JWT = 'kind = "jwt"\nkey_files = ["s"]\nissuer = "i"\naudience = "a"\n'


KEY = 'kind = "public-key"\nsignature = "header:x"\nalgorithm = "ed25519"\n'
CERTIFICATE = r"""
certificate_url = "header:c"
certificate_urls = ['https://a\.example/c']
certificate_names = ["a.example"]
"""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            'kind = "strip"',
            "profiles.x: must have a kind that is one of 'standard-webhooks', 'hmac', 'public-key', 'github'",
        ),
        ("header = 5", "profiles.x: must have a kind"),
        ('kind = "github"', "profiles.x.github: secret_files must be given"),
        ('kind = "github"\nsecret_files = []', "profiles.x.github: secret_files must have at least 1 of them"),
        ('kind = "github"\nsecret_files = ["s"]\nsecret = "s"', "profiles.x.github.secret: unknown"),
        ('kind = "github"\nsecret_files = ["s"]\nheader = "x"', "profiles.x.github.header: unknown"),
        ('kind = "stripe"\nsecret_files = ["s"]\ntolerance_s = 0', "profiles.x.stripe.tolerance_s: must be greater"),
        (HMAC + 'algorithm = "md5"', "profiles.x.hmac.algorithm: must be 'sha1', 'sha256', 'sha384' or 'sha512'"),
        (HMAC + 'signed = "{body}{nonce}"', "profiles.x.hmac.signed: unknown placeholder {nonce}"),
        (HMAC + 'signed = "{body} {body}"', "profiles.x.hmac.signed: a placeholder can occur only once"),
        (HMAC + 'signed = "{body"', "profiles.x.hmac.signed: { and } are allowed only around"),
        (HMAC + 'signed = "{method}"', "profiles.x.hmac: signed must contain {body} or {url}"),
        (HMAC + 'signed = "{id}{body}"\nid = "header:y"', "profiles.x.hmac.signed: some text must follow {id}"),
        (HMAC + 'signed = "{body}.{method}"', "profiles.x.hmac.signed: {body} must be the last place"),
        (HMAC + 'signed = "{url}.{body}"', "profiles.x.hmac.signed: a space, a line break or {body} must follow {url}"),
        (
            HMAC + 'signed = "{url}{method}{body}"',
            "profiles.x.hmac.signed: a space, a line break or {body} must follow {url}",
        ),
        (HMAC + 'signed = "{id}.{body}"', "profiles.x.hmac: {id} in signed needs id, such as header:x-id"),
        (HMAC + 'signed = "{timestamp}.{body}"', "profiles.x.hmac: {timestamp} in signed needs timestamp, such as"),
        (HMAC + 'timestamp = "header:y"', "profiles.x.hmac: timestamp needs {timestamp} in signed"),
        (
            HMAC + 'signed = "{timestamp}.{body}"\ntimestamp = "field:t"',
            "profiles.x.hmac: field:t needs signature_field",
        ),
        (HMAC + "tolerance_s = 60", "profiles.x.hmac: tolerance_s needs timestamp or id"),
        (HMAC + 'id = "json:/a\\u0001b"', "profiles.x.hmac.id.0: a JSON pointer begins with a slash"),
        (
            HMAC + 'id = "header:a b"',
            "profiles.x.hmac.id.0: the name after header: must have 1 to 100 characters",
        ),
        ('kind = "hmac"\nsecret_files = ["s"]', "profiles.x.hmac.signature: must be given"),
        (PLACES + "signature = []", "profiles.x.hmac.signature: must have at least 1 of them"),
        (PLACES + 'signature = "x-sign"', "profiles.x.hmac.signature.0: must be header:NAME, query:NAME"),
        (PLACES + 'signature = "cookie:x"', "profiles.x.hmac.signature.0: must be header:NAME, query:NAME"),
        (PLACES + 'signature = "json:a"', "profiles.x.hmac.signature.0: a JSON pointer begins with a slash"),
        (PLACES + 'signature = "json:/a~2"', "profiles.x.hmac.signature.0: a JSON pointer begins with a slash"),
        (PLACES + 'signature = "form:"', "profiles.x.hmac.signature.0: the name after form: must have"),
        (PLACES + 'signature = "body-hash"', "profiles.x.hmac: signature must be header:NAME, query:NAME"),
        (PLACES + 'signature = "json:/s"', "profiles.x.hmac: a signature in the body cannot cover the body"),
        (
            PLACES + 'signature = "query:s"\nsigned = "{url} {body}"',
            "profiles.x.hmac: a signature in the query cannot cover the query",
        ),
        (HMAC + "allow_unsigned_body = true", "profiles.x.hmac: allow_unsigned_body needs signed without the body"),
        (HMAC + 'timestamp_format = "rfc3339"', "profiles.x.hmac: timestamp_format needs timestamp"),
        (HMAC + 'timestamp = "body-hash"', "profiles.x.hmac: timestamp must not be body-hash"),
        (HMAC + 'timestamp = "query:t"', "profiles.x.hmac: timestamp needs {timestamp} in signed"),
        (HMAC + 'id = "field:t"', "profiles.x.hmac: id must not be field:NAME"),
        (
            HMAC + 'signed = "{members:a,b?}"',
            "profiles.x.hmac.signed: the first two of members: must not have a question",
        ),
        (HMAC + 'signed = "{members:a,b,a?}"', "profiles.x.hmac.signed: members: must be names of members, each once"),
        (HMAC + 'signed = "{members:a/b}"', "profiles.x.hmac.signed: members: must be names of members, each once"),
        (HMAC + 'signed = "{members:a}{method}"', "profiles.x.hmac.signed: {members:…} must be the last placeholder"),
        (HMAC + 'signed = "{members:a}"', "profiles.x.hmac: a place in the body needs the body in signed"),
        (HMAC + 'signed = "{body-crc32}"', "profiles.x.hmac: signed must contain {body} or {url}"),
        (
            HMAC + 'signed = "{body-crc32}{id}"',
            "profiles.x.hmac.signed: a character that it never contains must follow",
        ),
        (HMAC + 'signed = "{receiver-id}{body}"', "profiles.x.hmac: {receiver-id} in signed and receiver_id need each"),
        (HMAC + 'receiver_id = "a"', "profiles.x.hmac: {receiver-id} in signed and receiver_id need each other"),
        (HMAC + 'receiver_id = "a b"', "profiles.x.hmac.receiver_id: must"),
        (KEY, "profiles.x.public-key: needs one of key_files, jwks_url, certificate_url"),
        (KEY + 'key_files = ["k"]\njwks_url = "https://a.example/k"', "profiles.x.public-key: needs one of key_files,"),
        (KEY + 'jwks_url = "http://a.example/k"', "profiles.x.public-key.jwks_url: must be as in https://issuer"),
        (KEY + 'jwks_url = "https://10.0.0.1/k"', "profiles.x.public-key.jwks_url: must be as in https://issuer"),
        (KEY + 'jwks_url = "https://[::1]/k"', "profiles.x.public-key.jwks_url: must be as in https://issuer"),
        (KEY + 'jwks_url = "https://localhost/k"', "profiles.x.public-key.jwks_url: must be as in https://issuer"),
        (KEY + 'jwks_url = "https://u@a.example/k"', "profiles.x.public-key.jwks_url: must be as in https://issuer"),
        (KEY + 'certificate_url = "header:c"', "profiles.x.public-key: certificate_url needs certificate_urls and"),
        (
            KEY + 'key_files = ["k"]\nintermediates = ""\ncertificate_names = ["a.example"]',
            "profiles.x.public-key: certificate_urls, certificate_names and intermediates need certificate_url",
        ),
        (
            KEY + CERTIFICATE.replace("header:c", "body-hash"),
            "profiles.x.public-key: certificate_url must be header:NAME",
        ),
        (KEY + CERTIFICATE + 'intermediates = "x"', "profiles.x.public-key.intermediates: must be certificates in PEM"),
        *[
            (
                KEY + CERTIFICATE.replace("https://a\\.example/c", pattern),
                "profiles.x.public-key.certificate_urls.0: must be a regular",
            )
            for pattern in (
                "https://a.example/c",
                "http://a\\.example/c",
                "https://[^x]+/c",
                "https://.*/c",
                "https://a\\.example",
                ".*",
            )
        ],
        (
            KEY + CERTIFICATE.replace("/c'", "/(c'"),
            "profiles.x.public-key.certificate_urls.0: is not a regular expression",
        ),
        ('kind = "public-key"\nkey_files = ["k"]\nsignature = "header:x"', "profiles.x.public-key: needs algorithm or"),
        (
            KEY + 'key_files = ["k"]\nalgorithms = { a = "ed25519" }',
            "profiles.x.public-key: algorithm_place and algorithms need",
        ),
        (
            KEY + 'key_files = ["k"]\nalgorithm_place = "header:a"',
            "profiles.x.public-key: needs algorithm or algorithm_place",
        ),
        (
            JWT.replace('key_files = ["s"]', 'jwks_url = "https://a.example/k"') + 'algorithms = ["HS256"]',
            "profiles.x.jwt: jwks_url is for public keys",
        ),
        (
            JWT + 'jwks_url = "https://a.example/k"\nalgorithms = ["RS256"]',
            "profiles.x.jwt: needs one of key_files, jwks_url",
        ),
        ('kind = "provider:paypal"', "profiles.x.provider:paypal: receiver_id must be given"),
        ('kind = "provider:paypal"\nreceiver_id = "a b"', "profiles.x.provider:paypal: receiver_id must"),
        (HMAC + 'id = ["body-hash", "header:y"]', "profiles.x.hmac: body-hash must be the last place of the id"),
        (HMAC + 'id = "body-hash"\nsigned = "{url}"', "profiles.x.hmac: the id body-hash needs the body in signed"),
        (
            HMAC + 'id = "header:y"\nsigned = "{id}{timestamp}{body}"\ntimestamp = "header:t"',
            "profiles.x.hmac: some text must follow {id}, to mark its end; only a rfc3339 time",
        ),
        (HMAC + 'signed = "{header:x-a}{body}"', "profiles.x.hmac.signed: some text must follow {header:x-a}"),
        (HMAC + 'signed = "{header:}{body}"', "profiles.x.hmac.signed: the name after header: must have"),
        (HMAC + 'signed = "{host}.{body}"', "profiles.x.hmac.signed: a character that it never contains must follow"),
        (HMAC + 'signed = "{path}{body}"', "profiles.x.hmac.signed: a character that it never contains must follow"),
        (HMAC + 'signed = "{query}.{body}"', "profiles.x.hmac.signed: a space or a line break must follow {query}"),
        (HMAC + 'signed = "{form}.{method}"', "profiles.x.hmac.signed: {form} must be the last placeholder"),
        (HMAC + 'signed = "{body}{url}{timestamp}"', "profiles.x.hmac.signed: {body} must be the last placeholder"),
        (HMAC + 'separators = "|"', "profiles.x.hmac.separators: must match pattern"),
        ('kind = "provider:none"\nsecret_files = ["s"]', "profiles.x: must have a kind that is one of"),
        ('kind = "shared-secret"\nsecret_files = ["s"]', "profiles.x.shared-secret: needs header or parameter"),
        ('kind = "basic"\nsecret_files = ["s"]\nusername = "a:b"', "profiles.x.basic.username: must have no colon"),
        (JWT + "algorithms = []", "profiles.x.jwt.algorithms: must have at least 1 of them"),
        (JWT + 'algorithms = ["none"]', "profiles.x.jwt.algorithms.0: must be 'RS256'"),
        (JWT + 'algorithms = ["RS256", "HS256"]', "profiles.x.jwt: algorithms mixes ones with a public key"),
        (
            JWT + 'algorithms = ["RS256"]\nheader = "x"\nparameter = "y"',
            "profiles.x.jwt: use header or parameter, not both",
        ),
        (HMAC + 'handshake = { kind = "hub" }', "profiles.x.hmac.handshake.hub: needs verify_token_files or topics"),
        (
            HMAC + 'handshake = { kind = "cloudevents" }',
            "profiles.x.hmac.handshake.cloudevents.origins: must be given",
        ),
        (
            'kind = "address"\nnetworks = ["10.0.0.1/24"]',
            "profiles.x.address.networks.0: must be 10.0.0.0/24 for the network, or 10.0.0.1 for the address alone",
        ),
        ('kind = "address"\nnetworks = ["here"]', "profiles.x.address.networks.0: must be an address or a network, as"),
        (HMAC + 'handshake = "hub"', "profiles.x.hmac.handshake: "),
    ],
)
def test_an_invalid_profile_is_reported_by_its_name(text, problem, tmp_path):
    (told,) = problems(tmp_path, f"[profiles.x]\n{text}")
    assert told.startswith(problem)


@pytest.mark.parametrize("name", ["", "-a", ".a", "A", "a b", "a" * 64, "\u00e9", "a\n"])
def test_an_invalid_name_is_refused(name, tmp_path):
    (problem,) = problems(tmp_path, f'[profiles.{json.dumps(name)}]\nkind = "github"\nsecret_files = ["s"]')
    assert problem.startswith("profiles: the name of a profile is 1 to 63 of")
    assert problem.endswith(f"not {name!r}")


def test_names_follow_the_rules_of_principals():
    for name in ("a", "0", "order-paid.v2_x", "a" * 63):
        assert name in ServerSettings(profiles={name: {"kind": "github", "secret_files": ["s"]}}).profiles


def test_profiles_are_a_table_of_their_own(tmp_path):
    (problem,) = problems(tmp_path, '[server.profiles.x]\nkind = "github"')
    assert "profiles: must be a table of its own, [profiles]" in problem


def test_all_settings_in_effect_are_shown_without_secrets(tmp_path):
    (tmp_path / "s").write_text("hunter2")
    file = tmp_path / "callback.toml"
    file.write_text(
        f'[profiles.x]\nkind = "hmac"\nsignature = "header:x"\nsecret_files = ["{tmp_path}/s"]\n'
        'handshake = { kind = "cloudevents", origins = ["*"] }'
    )
    shown = {
        ".".join([*each.table, each.key]): (each.value, each.origin)
        for each in effective_settings(*ServerSettings.load_with_origins(file))
        if each.table[0] == "profiles"
    }
    assert shown["profiles.x.kind"] == ("hmac", str(file))
    assert shown["profiles.x.secret_files"] == ([f"{tmp_path}/s"], str(file))
    assert shown["profiles.x.tolerance_s"] == (300, "default")
    assert shown["profiles.x.handshake.origins"] == (["*"], str(file))
    assert "hunter2" not in str(shown)
    done = subprocess.run(
        [sys.executable, "-m", "callback_cli", "config", "--config", file],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "[profiles.x.handshake]" in done.stdout


def test_a_template_is_filled_in_its_order():
    template = Template("v0:{timestamp}:{url} {body}!")
    assert template.parts == ("timestamp", "url", "body")
    assert (
        template.fill({"timestamp": b"1", "url": b"{body}", "body": b"\xff{timestamp}"})
        == b"v0:1:{body} \xff{timestamp}!"
    )


# ---- Files ----


PUBLIC_KEY = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"


def whsk():
    return "whsk_" + base64.b64encode(b"x" * 32).decode()


@pytest.mark.parametrize(
    ("kind", "content", "why"),
    [
        ("github", "", "is empty"),
        ("github", "\r\n", "is empty"),
        ("github", PUBLIC_KEY, "is a public key, which anyone can have; an HMAC needs a secret"),
        ("standard-webhooks", "", "is empty"),
        ("standard-webhooks", "hunter2", "starts with neither whsec_ nor whpk_"),
        ("standard-webhooks", "whsec_hunter2!", "is not base64 after its prefix"),
        ("standard-webhooks", "whsec_" + base64.b64encode(b"x" * 23).decode(), "has 23 bytes, needs at least 24"),
        ("standard-webhooks", "whpk_" + base64.b64encode(b"x" * 31).decode(), "has 31 bytes; an Ed25519 key has 32"),
        ("standard-webhooks", whsk(), "is a private key (whsk_); use the public key (whpk_)"),
    ],
)
def test_an_unusable_secret_is_refused_with_its_file_and_without_its_content(kind, content, why, tmp_path):
    with pytest.raises(CredentialsError) as caught:
        profiles_of(tmp_path, None, content, kind=kind)
    assert str(caught.value) == f"profiles.it.secret_files[0] {tmp_path}/secret-0: {why}"


def test_all_profiles_with_unusable_files_are_reported_at_once(tmp_path):
    settings = ServerSettings(
        profiles={
            "a": {"kind": "github", "secret_files": [tmp_path / "none"]},
            "b": {"kind": "slack", "secret_files": [tmp_path]},
        }
    )
    with pytest.raises(CredentialsError) as caught:
        Profiles(settings.profiles)
    assert str(caught.value).splitlines() == [
        f"profiles.a.secret_files[0] {tmp_path}/none: No such file or directory",
        f"profiles.b.secret_files[0] {tmp_path}: Is a directory",
    ]


def counted():
    return metrics.RELOADS_FAILED.labels("profile")._value.get()


def test_a_file_that_becomes_invalid_changes_nothing_and_is_logged_and_counted_once(tmp_path, capsys):
    profiles = profiles_of(tmp_path, None, "one", "two", **SECRET)
    before = counted()
    file = tmp_path / "secret-0"
    for spoil in (lambda: file.write_text(""), file.unlink):
        spoil()
        for _ in range(3):
            profiles.reload()
            for secret in ("one", "two"):
                profiles["it"].verify(sent(secret), URL)
    assert counted() == before + 2
    logged = capsys.readouterr().out + capsys.readouterr().err
    assert "hunter2" not in logged

    file.write_text("three\n")
    profiles.reload()
    profiles["it"].verify(sent("three"), URL)
    refused(profiles["it"], sent("one"))
    assert counted() == before + 2


def test_a_file_with_a_token_of_a_hub_is_reloaded_too(tmp_path):
    file = tmp_path / "token"
    file.write_text("one")
    handshake = {"kind": "hub", "verify_token_files": [file]}
    profiles = profiles_of(tmp_path, None, "s", **SECRET, handshake=handshake)

    def asks(token):
        query = [("hub.mode", "subscribe"), ("hub.challenge", "5"), ("hub.verify_token", token)]
        return profiles["it"].handshake(request(method="get", query=query), URL)

    assert asks("one").body == b"5"
    file.write_text("two")
    profiles.reload()
    assert asks("two").body == b"5"


# ---- The documentation ----

PAGE = (ROOT / "docs" / "verification.md").read_text()
SAMPLES = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
"""The key of RFC 7515, appendix A.3."""
CONTENTS = {
    "public-key": "ab" * 32,
    "jwt": json.dumps({"keys": [KEY]}),
    "http-message-signatures": json.dumps({"keys": [KEY]}),
    "standard-webhooks": "whsec_" + base64.b64encode(b"x" * 24).decode(),
}
"""Contents of the files of a sample, by kind: else they are `whsec_c2VjcmV0`, text and base64 after a prefix."""


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda text: text.split("]")[0].strip("["))
def test_every_sample_is_loaded_and_works_with_the_files_that_it_names(sample, tmp_path):
    names = set(re.findall(r'"((?:/run/secrets|/etc/callback)/[^"]+)"', sample))
    for name in names:
        sample = sample.replace(name, str(tmp_path / name.rpartition("/")[2]))
    file = tmp_path / "callback.toml"
    file.write_text(sample)
    settings = ServerSettings.load(file)
    for name, profile in settings.profiles.items():
        for path in profile_files(name, profile).values():
            path.write_text(CONTENTS.get(profile.kind, "whsec_c2VjcmV0"))
    profiles = Profiles(settings.profiles)
    assert list(profiles) == list(tomllib.loads(sample)["profiles"])
    for profile in profiles.values():
        refused(profile, request(address="203.0.113.9"))


def test_the_page_has_every_kind_and_every_handshake():
    schema = ServerSettings.model_json_schema()["$defs"]
    kinds = {
        each
        for model in schema.values()
        if "kind" in model.get("properties", {})
        for each in model["properties"]["kind"].get("enum", [model["properties"]["kind"].get("const")])
    }
    assert len(kinds) > 10
    assert {each for each in kinds if f"`{each}`" not in PAGE} == set()
