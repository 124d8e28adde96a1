"""Endpoints in the settings: each must have a profile that refuses, and a key in a part that it proves."""

import pytest
from pydantic import ValidationError

from callback_server.domain.endpoint import Endpoint, parse_location
from callback_server.settings import ServerSettings

SECRET = {"secret_files": ["secret"]}
PROFILES = {
    "stripe": {"kind": "stripe", **SECRET},
    "github": {"kind": "provider:github", **SECRET},
    "slack": {"kind": "slack", **SECRET},
    "standard": {"kind": "standard-webhooks", **SECRET},
    "url": {"kind": "hmac", "signature": "header:x-sign", "signed": "{url}", "allow_unsigned_body": True, **SECRET},
    "twilio": {"kind": "provider:twilio", **SECRET},
    "pairs": {"kind": "hmac", "signature": "form:sign", "signed": "{form-pairs}", **SECRET},
    "header": {"kind": "hmac", "signature": "header:x-sign", "signed": "{header:X-Id}.{body}", **SECRET},
    "named": {"kind": "hmac", "signature": "header:x-sign", "signed": "{header-lines}{body}",
              "signed_headers": "header:x-names", **SECRET},
    "members": {"kind": "hmac", "signature": "json:/sign", "signed": "{members:Type,Id}", "allow_unsigned_body": True,
                **SECRET},
    "crc": {"kind": "hmac", "signature": "header:x-sign", "signed": "{body-crc32}", "allow_unsigned_body": True,
            **SECRET},
    "message": {"kind": "http-message-signatures", "algorithm": "ed25519", "key_files": ["key"],
                "components": ["@path", '"@query-param";name="id"', "x-id", "content-digest"]},
    "target": {"kind": "http-message-signatures", "algorithm": "ed25519", "key_files": ["key"],
               "components": ["@target-uri"], "allow_unsigned_body": True},
    "bearer": {"kind": "jwt", "algorithms": ["RS256"], "audience": "us", "issuer": "them", "key_files": ["key"]},
    "bodies": {"kind": "jwt", "algorithms": ["RS256"], "body_hash_claim": "sha", "key_files": ["key"]},
    "urls": {"kind": "jwt", "algorithms": ["RS256"], "audience": "{url}", "issuer": "them", "key_files": ["key"]},
    "jws": {"kind": "public-key", "signature": "form:jws", "jws": "compact", "algorithm": "rsa-sha256",
            "encoding": "base64url", "key_files": ["key"]},
    "secret": {"kind": "shared-secret", "header": "x-secret", **SECRET},
    "basic": {"kind": "basic", "username": "u", **SECRET},
    "address": {"kind": "address", "networks": ["192.0.2.0/24"]},
}  # fmt: skip
BODY = {"json:/id", "form:id", "form-json:payload/id"}
URL = {"query:id", "segment:1"}
ALL = BODY | URL | {"header:x-id"}
PROVEN = {
    "stripe": BODY,
    "github": BODY,
    "slack": BODY,
    "standard": BODY,
    "url": URL,
    "twilio": URL,
    "pairs": BODY,
    "header": BODY | {"header:x-id"},
    "named": BODY,
    "members": set(),
    "crc": set(),
    "message": ALL,
    "target": URL,
    "bearer": ALL,
    "bodies": BODY,
    "urls": URL,
    "jws": set(),
    "secret": ALL,
    "basic": ALL,
    "address": ALL,
}


def problem(profile, *locations, profiles=PROFILES):
    """Return why an endpoint is refused. Empty: it is not."""
    endpoint = {"owner": "orders", "profile": profile, "correlation_key": list(locations)}
    try:
        ServerSettings(profiles=profiles, endpoints={"psp": endpoint})
    except ValidationError as error:
        return error.errors()[0]["msg"].removeprefix("Value error, ")
    return ""


@pytest.mark.parametrize("profile", PROFILES)
def test_a_key_must_stand_in_a_part_that_the_profile_proves(profile):
    assert {each for each in ALL if not problem(profile, each)} == PROVEN[profile]
    for each in ALL - PROVEN[profile]:
        assert problem(profile, *PROVEN[profile], each) == (
            f"endpoints.psp.correlation_key {each} is not signed by messages of the profile '{profile}', so a captured"
            " message could be sent again with another key"
        )


def test_a_single_field_can_be_signed():
    assert not problem("members", "json:/Id")
    assert problem("message", "query:other")
    assert problem("message", "header:x-other")


def test_a_profile_must_be_declared_and_refuse():
    assert problem("other", "json:/id") == "endpoints.psp.profile is 'other', which is not one of [profiles.NAME]"
    profiles = {"github": {"kind": "github", "enforce": False, **SECRET}}
    assert problem("github", "json:/id", profiles=profiles) == (
        "endpoints.psp.profile is 'github', which only reports; remove enforce = false"
    )


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("PSP", {}, "the name of an endpoint is 1 to 63 of"),
        ("x" * 64, {}, "the name of an endpoint is"),
        ("a.b", {}, "the name of an endpoint is"),
        ("psp", {"owner": ""}, "owner"),
        ("psp", {"correlation_key": []}, "correlation_key"),
        ("psp", {"correlation_key": ["body-hash"]}, "must be json:/POINTER, header:NAME, query:NAME,"),
        ("psp", {"unmatched_code": 302}, "must be 200 to 299, or 400 to 599"),
        ("psp", {"unmatched_code": 100}, "unmatched_code"),
        ("psp", {"unmatched": "early"}, "unmatched"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused_by_name(name, changes, said):
    endpoint = {"owner": "orders", "profile": "github", "correlation_key": "json:/id", **changes}
    with pytest.raises(ValueError, match=said):
        ServerSettings(profiles=PROFILES, endpoints={name: endpoint})


def test_an_endpoint_is_as_it_is_declared():
    endpoint = {"owner": "orders", "profile": "stripe", "correlation_key": "json:/data/object/id"}
    both = {"psp": endpoint, "psp-2": {**endpoint, "unmatched_code": 503}}
    settings = ServerSettings(profiles=PROFILES, endpoints=both)
    locations = (parse_location("json:/data/object/id"),)
    assert settings.to_endpoints() == {
        "psp": Endpoint("psp", "orders", "stripe", locations, 202),
        "psp-2": Endpoint("psp-2", "orders", "stripe", locations, 503),
    }
