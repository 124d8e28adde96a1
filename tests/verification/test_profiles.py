"""Profiles: their declaration in the configuration, and the reload of their secrets from files."""

import base64
import json
import re
import tomllib

import pytest
from prometheus_client import REGISTRY
from support.keys import ED25519, P256, key_set, pem
from support.tree import ROOT
from support.verification import URL, profiles_of, refused, request

from callback_process.credentials import CredentialsError
from callback_process.effective import effective_settings
from callback_process.settings import SettingsError
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

KEY = 'kind = "public-key"\nsignature = "header:x"\nalgorithm = "ed25519"'


def certificate_of(url=r"https://a\.example/c", place="header:c"):
    """Return the settings of a certificate that messages name, with a pattern of its URL."""
    urls = f"certificate_url = '{place}'\ncertificate_urls = ['{url}']"
    return f'{KEY}\n{urls}\ncertificate_names = ["a.example"]'


INVALID = {
    # beginning of the settings: their further lines, and the problem behind the kind
    "": [
        ('kind = "strip"', ": must have a kind that is one of 'standard-webhooks', 'hmac', 'public-key', 'github'"),
        ("header = 5", ": must have a kind"),
        ('kind = "github"', ".github: secret_files must be given"),
        ('kind = "github"\nkey_files = ["s"]', ".github: key_files must be secret_files"),
        ('kind = "provider:livekit"\nsecret_files = ["s"]', ".provider:livekit: secret_files must be key_files"),
        ('kind = "github"\nsecret_files = []', ".github: secret_files must have at least 1 of them"),
        ('kind = "github"\nsecret_files = ["s"]\nsecret = "s"', ".github.secret: unknown"),
        ('kind = "github"\nsecret_files = ["s"]\nheader = "x"', ".github.header: unknown"),
        ('kind = "stripe"\nsecret_files = ["s"]\ntolerance_s = 0', ".stripe.tolerance_s: must be greater"),
        ('kind = "hmac"\nsecret_files = ["s"]', ".hmac.signature: must be given"),
        ('kind = "public-key"\nkey_files = ["k"]\nsignature = "header:x"', ".public-key: needs algorithm or"),
        ('kind = "provider:paypal"', ".provider:paypal: receiver_id must be given"),
        ('kind = "provider:paypal"\nreceiver_id = "a b"', ".provider:paypal: receiver_id must"),
        ('kind = "provider:none"\nsecret_files = ["s"]', ": must have a kind that is one of"),
        ('kind = "shared-secret"\nsecret_files = ["s"]', ".shared-secret: needs header or parameter"),
        ('kind = "basic"\nsecret_files = ["s"]\nusername = "a:b"', ".basic.username: must have no colon"),
        ('kind = "address"\nnetworks = ["10.0.0.1/24"]', ".address.networks.0: must be 10.0.0.0/24 for the network"),
        ('kind = "address"\nnetworks = ["here"]', ".address.networks.0: must be an address or a network, as"),
    ],
    'kind = "hmac"\nsecret_files = ["s"]\nsignature = "header:x"': [
        ('algorithm = "md5"', ".hmac.algorithm: must be 'sha1', 'sha256', 'sha384' or 'sha512'"),
        ('signed = "{body}{nonce}"', ".hmac.signed: unknown placeholder {nonce}"),
        ('signed = "{body} {body}"', ".hmac.signed: a placeholder can occur only once"),
        ('signed = "{body"', ".hmac.signed: { and } are allowed only around"),
        ('signed = "{method}"', ".hmac: signed must contain {body} or {url}"),
        ('signed = "{id}{body}"\nid = "header:y"', ".hmac.signed: some text must follow {id}"),
        ('signed = "{body}.{method}"', ".hmac.signed: {body} must be the last place"),
        ('signed = "{url}.{body}"', ".hmac.signed: a space, a line break, a question mark or {body}"),
        ('signed = "{url}{method}{body}"', ".hmac.signed: a space, a line break, a question mark or {body}"),
        ('signed = "{id}.{body}"', ".hmac: {id} in signed needs id, such as header:x-id"),
        ('signed = "{timestamp}.{body}"', ".hmac: {timestamp} in signed needs timestamp, such as"),
        ('timestamp = "header:y"', ".hmac: timestamp needs {timestamp} in signed"),
        ('signed = "{timestamp}.{body}"\ntimestamp = "field:t"', ".hmac: field:t needs signature_field"),
        ('signature_format = "t={timestamp},v1={signature}"', ".hmac: signature_format must name signature_field"),
        (
            'signed = "{timestamp}.{body}"\ntimestamp = "field:t"\nsignature_field = "v1"\n'
            'signature_format = "t={timestamp},v0={signature}"',
            ".hmac: signature_format must name signature_field",
        ),
        ('signature_format = "v1={signature}"', ".hmac.signature_format"),
        ("tolerance_s = 60", ".hmac: tolerance_s needs timestamp or id"),
        ('id = "json:/a\\u0001b"', ".hmac.id.0: a JSON pointer begins with a slash"),
        ('id = "header:a b"', ".hmac.id.0: the name after header: must have 1 to 100 characters"),
        ("allow_unsigned_body = true", ".hmac: allow_unsigned_body needs signed without the body"),
        ('timestamp_format = "rfc3339"', ".hmac: timestamp_format needs timestamp"),
        ('timestamp = "body-hash"', ".hmac: timestamp must not be body-hash"),
        ('timestamp = "query:t"', ".hmac: timestamp needs {timestamp} in signed"),
        ('id = "field:t"', ".hmac: id must not be field:NAME"),
        ('signed = "{members:a,b?}"', ".hmac.signed: the first two of members: must not have a question"),
        ('signed = "{members:a,b,a?}"', ".hmac.signed: members: must be names of members, each once"),
        ('signed = "{members:a/b}"', ".hmac.signed: members: must be names of members, each once"),
        ('signed = "{members:a}{method}"', ".hmac.signed: {members:…} must be the last placeholder"),
        ('signed = "{members:a}"', ".hmac: a place in the body needs the body in signed"),
        ('signed = "{body-crc32}"', ".hmac: signed must contain {body} or {url}"),
        ('signed = "{body-crc32}{id}"', ".hmac.signed: a character that it never contains must follow"),
        ('signed = "{receiver-id}{body}"', ".hmac: {receiver-id} in signed or prefix, or receiver, and"),
        ('receiver_id = "a"', ".hmac: {receiver-id} in signed or prefix, or receiver, and receiver_id need"),
        ('receiver_id = "a b"', ".hmac.receiver_id: must"),
        ('id = ["none", "header:y"]', ".hmac: none must be the last place of the id"),
        ('id = "none"', ".hmac: none must follow another place"),
        ('id = ["body-hash", "header:y"]', ".hmac: body-hash must be the last place of the id"),
        ('id = "body-hash"\nsigned = "{url}"', ".hmac: the id body-hash needs the body in signed"),
        ('id = "header:y"\nsigned = "{id}{timestamp}{body}"\ntimestamp = "header:t"', ".hmac: some text must follow"),
        ('signed = "{header:x-a}{body}"', ".hmac.signed: some text must follow {header:x-a}"),
        ('signed = "{header:}{body}"', ".hmac.signed: the name after header: must have"),
        ('signed = "{host}.{body}"', ".hmac.signed: a character that it never contains must follow"),
        ('signed = "{path}{body}"', ".hmac.signed: a character that it never contains must follow"),
        ('signed = "{query}.{body}"', ".hmac.signed: a space or a line break must follow {query}"),
        ('signed = "{form}.{method}"', ".hmac.signed: {form} must be the last placeholder"),
        ('signed = "{body}{url}{timestamp}"', ".hmac.signed: {body} must be the last placeholder"),
        ('prefix = "v1,"\nseparators = ", "', ".hmac: prefix contains one of separators"),
        ('prefix = "v1;"\nsignature_field = "s"', ".hmac: prefix contains one of separators"),
        ('separators = "|"', ".hmac.separators: must match pattern"),
        ('handshake = { kind = "hub" }', ".hmac.handshake.hub: needs verify_token_files or topics"),
        ('handshake = { kind = "cloudevents" }', ".hmac.handshake.cloudevents.origins: must be given"),
        ('handshake = "hub"', ".hmac.handshake: "),
    ],
    'kind = "hmac"\nsecret_files = ["s"]': [
        ("signature = []", ".hmac.signature: must have at least 1 of them"),
        ('signature = "x-sign"', ".hmac.signature.0: must be header:NAME, query:NAME"),
        ('signature = "cookie:x"', ".hmac.signature.0: must be header:NAME, query:NAME"),
        ('signature = "json:a"', ".hmac.signature.0: a JSON pointer begins with a slash"),
        ('signature = "json:/a~2"', ".hmac.signature.0: a JSON pointer begins with a slash"),
        ('signature = "form:"', ".hmac.signature.0: the name after form: must have"),
        ('signature = "body-hash"', ".hmac.signature.0: must be header:NAME, query:NAME"),
        ('signature = "json:/s"', ".hmac: a signature in the body cannot cover the body"),
        ('signature = "query:s"\nsigned = "{url} {body}"', ".hmac: a signature in the query cannot cover the query"),
    ],
    KEY: [
        ("", ".public-key: needs one of key_files, jwks_url, certificate_url, roots"),
        ('key_files = ["k"]\njwks_url = "https://a.example/k"', ".public-key: needs one of key_files,"),
        ('jwks_url = "http://a.example/k"', ".public-key.jwks_url: must be as in https://issuer"),
        ('jwks_url = "https://10.0.0.1/k"', ".public-key.jwks_url: must be as in https://issuer"),
        ('jwks_url = "https://[::1]/k"', ".public-key.jwks_url: must be as in https://issuer"),
        ('jwks_url = "https://localhost/k"', ".public-key.jwks_url: must be as in https://issuer"),
        ('jwks_url = "https://u@a.example/k"', ".public-key.jwks_url: must be as in https://issuer"),
        ('certificate_url = "header:c"', ".public-key: certificate_url needs certificate_urls and"),
        ('key_files = ["k"]\nintermediates = ""\ncertificate_names = ["a.example"]', ".public-key: certificate_urls, "),
        ('key_files = ["k"]\nalgorithms = { a = "ed25519" }', ".public-key: algorithm_place and algorithms need"),
        ('key_files = ["k"]\nalgorithm_place = "header:a"', ".public-key: needs algorithm or algorithm_place"),
    ],
    'kind = "jwt"\nkey_files = ["s"]\nissuer = "i"\naudience = "a"': [
        ('jwks_url = "https://a.example/k"\nalgorithms = ["RS256"]', ".jwt: needs one of key_files, jwks_url"),
        ("algorithms = []", ".jwt.algorithms: must have at least 1 of them"),
        ('algorithms = ["none"]', ".jwt.algorithms.0: must be 'RS256'"),
        ('algorithms = ["RS256", "HS256"]', ".jwt: algorithms mixes ones with a public key"),
        ('algorithms = ["RS256"]\nheader = "x"\nparameter = "y"', ".jwt: use header or parameter, not both"),
    ],
    'kind = "jwt"\nissuer = "i"\naudience = "a"\njwks_url = "https://a.example/k"': [
        ('algorithms = ["HS256"]', ".jwt: jwks_url is for public keys"),
    ],
    certificate_of(place="body-hash"): [("", ".public-key.certificate_url: must be header:NAME")],
    certificate_of(): [('intermediates = "x"', ".public-key.intermediates: must be certificates in PEM")],
    certificate_of("https://a\\.example/(c"): [("", ".public-key.certificate_urls.0: is not a regular expression")],
    **{
        certificate_of(pattern): [("", ".public-key.certificate_urls.0: must be a regular")]
        for pattern in (
            ".*", "https://a.example/c", r"http://a\.example/c", "https://[^x]+/c", "https://.*/c", r"https://a\.example",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "problem"), [(f"{begin}\n{more}", problem) for begin, all_ in INVALID.items() for more, problem in all_]
)
def test_an_invalid_profile_is_reported_by_its_name(text, problem, tmp_path):
    (told,) = problems(tmp_path, f"[profiles.x]\n{text}")
    assert told.startswith(f"profiles.x{problem}")


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


def test_all_settings_in_effect_are_shown(tmp_path):
    file = tmp_path / "callback.toml"
    file.write_text(
        '[profiles.x]\nkind = "hmac"\nsignature = "header:x"\nsecret_files = ["s"]\n'
        'handshake = { kind = "cloudevents", origins = ["*"] }'
    )
    shown = {
        ".".join([*each.table, each.key]): (each.value, each.origin)
        for each in effective_settings(*ServerSettings.load_with_origins(file))
        if each.table[0] == "profiles"
    }
    assert shown["profiles.x.kind"] == ("hmac", str(file))
    assert shown["profiles.x.secret_files"] == (["s"], str(file))
    assert shown["profiles.x.tolerance_s"] == (300, "default")
    assert shown["profiles.x.handshake.origins"] == (["*"], str(file))


def test_a_template_is_filled_in_its_order():
    template = Template("v0:{timestamp}:{url} {body}!")
    assert template.parts == ("timestamp", "url", "body")
    assert (
        template.fill({"timestamp": b"1", "url": b"{body}", "body": b"\xff{timestamp}"})
        == b"v0:1:{body} \xff{timestamp}!"
    )


# ---- Files ----


def secret_of(prefix, size):
    return prefix + base64.b64encode(b"x" * size).decode()


@pytest.mark.parametrize(
    ("kind", "content", "why"),
    [
        ("github", "", "is empty"),
        ("github", "\r\n", "is empty"),
        ("github", pem(ED25519), "is a public key, which anyone can have; an HMAC needs a secret"),
        ("standard-webhooks", "", "is empty"),
        ("standard-webhooks", "hunter2", "starts with neither whsec_ nor whpk_"),
        ("standard-webhooks", "whsec_hunter2!", "is not base64 after its prefix"),
        ("standard-webhooks", secret_of("whsec_", 23), "has 23 bytes, needs at least 24"),
        ("standard-webhooks", secret_of("whpk_", 31), "has 31 bytes; an Ed25519 key has 32"),
        ("standard-webhooks", secret_of("whsk_", 32), "is a private key (whsk_); use the public key (whpk_)"),
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
    return REGISTRY.get_sample_value("callback_reloads_failed_total", {"file": "profile"}) or 0


def test_a_file_that_becomes_invalid_changes_nothing_and_is_counted_once(tmp_path):
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
CONTENTS = {
    "public-key": "ab" * 32,
    "jwt": key_set(k=P256),
    "http-message-signatures": key_set(k=P256),
    "standard-webhooks": secret_of("whsec_", 24),
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
