"""Libraries of providers that do not run among the other tests: they are many, and need packages that exclude others.

A soak installs each by itself, and sets the clock to the time of the message. What a library accepts, a program of its
language says: `makers/verify.*`. The libraries for Node need npm, that for Go needs Go, that for Java a JDK and Maven.
"""

import dataclasses
import json
import os
import re
import struct
import subprocess
import sys
import time
from base64 import b64encode, urlsafe_b64decode
from pathlib import Path

import pytest
from soak.counts import SOAK
from support.key_source import Authority
from support.keys import ED25519, P521, RSA, der, pem, private_pem
from support.tools import require
from support.tree import ROOT
from support.verification import NOW
from verification.test_certificate_chains import BETWEEN_OID, DAY, LEAF_OID, START, Issued, signed
from verification.test_makers import MAKERS, SIGNS_ONLY, URL, Message, altered, compare, sample_of

from callback_cli.verification.sample_message import sample_message
from callback_server.verification.providers import PROVIDERS

PROGRAMS = Path(__file__).parent / "makers"
PACKAGES = {
    # provider: (what installs it, package and version, extra or other packages that it needs)
    "alipay": ("pip", "alipay-sdk-python==3.7.1411"),
    "anthropic": ("pip", "anthropic==2.15.0", "standardwebhooks==1.1.0"),
    "apple-app-store": ("pip", "app-store-server-library==3.1.2"),
    "atlassian": ("npm", "x-hub-signature@2.1.3"),
    "aws-sns": ("maven", "software.amazon.awssdk:sns-message-manager@2.47.4"),
    "box": ("pip", "boxsdk==3.14.0"),
    "braintree": ("pip", "braintree==4.48.0"),
    "clerk": ("npm", "@clerk/backend@3.25.0"),
    "contentful": ("npm", "@contentful/node-apps-toolkit@3.16.1"),
    "dropbox-sign": ("pip", "dropbox-sign==2.0.0"),
    "elevenlabs": ("pip", "elevenlabs==2.78.0"),
    "github": ("npm", "@octokit/webhooks-methods@6.0.0"),
    "hubspot": ("pip", "hubspot-api-client==12.0.0"),
    "line": ("pip", "line-bot-sdk==3.27.0"),
    "linear": ("npm", "@linear/sdk@98.0.0"),
    "livekit": ("pip", "livekit-api==1.2.2"),
    "messagebird": ("pip", "messagebird==2.2.0"),
    "modern-treasury": ("pip", "modern-treasury==1.80.0"),
    "mux": ("npm", "@mux/mux-node@15.3.0"),
    "onfido": ("pip", "onfido-python==6.2.0"),
    "openai": ("pip", "openai==3.57.0"),
    "pagerduty": ("go", "github.com/PagerDuty/go-pagerduty@v1.8.0"),
    "plivo": ("pip", "plivo==4.63.0"),
    "pusher": ("pip", "pusher==3.3.4"),
    "qstash": ("pip", "qstash==3.4.0"),
    "resend": ("pip", "resend==2.52.0"),
    "sanity": ("npm", "@sanity/webhook@4.0.4"),
    "shopify": ("npm", "@shopify/shopify-api@13.1.0"),
    "shopify-query": ("pip", "ShopifyAPI==12.7.0"),
    "standard-webhooks": ("pip", "standardwebhooks==1.1.0"),
    "svix": ("pip", "svix==2.9.1"),
    "telnyx": ("pip", "telnyx==4.189.0", "pynacl==1.6.2"),
    "truelayer": ("pip", "truelayer-signing==0.4.0"),
    "twitch": ("npm", "@twurple/eventsub-http@8.1.4", "@twurple/api@8.1.4"),
    "vonage": ("pip", "vonage-jwt==1.1.5"),
    "webflow": ("npm", "webflow-api@3.3.4"),
    "wechat-pay": ("pip", "wechatpayv3==2.0.4"),
    "workos": ("pip", "workos==10.8.0"),
    "x": ("npm", "twitter-autohook@1.7.2"),
    "zoom": ("npm", "@zoom/rivet@0.4.0"),
}
SAME_LIBRARY = {"truelayer-sandbox": "truelayer"}
"""Providers whose library runs under another name."""
EARLY = {"start": START - 1000 * DAY, "days": 5000}
APPLE_ROOT = Issued("root", **EARLY)
APPLE_BETWEEN = Issued("between", APPLE_ROOT, oid=BETWEEN_OID, **EARLY)
CHAIN = [Issued("leaf", APPLE_BETWEEN, oid=LEAF_OID, is_authority=False, **EARLY), APPLE_BETWEEN, APPLE_ROOT]
"""Certificates in place of those that only Apple can have made. They are valid at the time in the message."""
KEYS = {
    "alipay": (private_pem(RSA), b64encode(der(RSA)).decode()),
    "apple-app-store": (private_pem(CHAIN[0].key), CHAIN[-1].der),
    "aws-sns": (private_pem(RSA), Authority().issue("sns.amazonaws.com").decode()),
    "telnyx": (private_pem(ED25519), b64encode(ED25519.public_key().public_bytes_raw()).decode()),
    "truelayer": (private_pem(P521), pem(P521).decode()),
    "wechat-pay": (private_pem(RSA), pem(RSA).decode()),
}
"""Private key, and public key or certificate as the library takes it."""
VALUES = {"apple-app-store": {"receiver_id": "com.example"}, "braintree": {"receiver_id": "integration_public_key"}}
"""Values that an operator gives to `callback send`."""
POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>library</groupId>
  <artifactId>library</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>
  </dependencies>
</project>
"""
"""Project of Maven that depends on one library."""
SIGNED_APART = {"dropbox-sign", "shopify-query", "vonage"}
"""Providers whose library does not verify the body."""


@pytest.fixture(scope="module")
def run_at(tmp_path_factory):
    """Return a function that runs a program at a time, and returns what it prints."""
    folder = tmp_path_factory.mktemp("clock")
    library, source = folder / "clock.so", PROGRAMS.parents[1] / "support" / "clock.c"
    subprocess.run([require("gcc"), "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)

    def run(command, now, given, **more):
        (folder / "offset").write_bytes(struct.pack("2q", 0, now * 1_000_000))
        clocked = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(folder / "offset"), "PATH": os.environ["PATH"]}
        clocked |= more.pop("env", {})
        ran = subprocess.run(command, input=given, text=True, capture_output=True, check=False, env=clocked, **more)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    return run


@pytest.fixture(scope="module", params=PACKAGES if SOAK else ())
def library(request, tmp_path_factory, run_at):
    """The name of a provider, and a function that tells which of some messages of a time its library accepts."""
    name, folder = request.param, tmp_path_factory.mktemp("library")
    kind, *packages = PACKAGES[name]
    env, command = {}, []
    match kind:
        case "pip":
            pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", str(folder)]
            subprocess.run([*pip, *packages], check=True)
            env = {"PYTHONPATH": str(folder)}
            command = [sys.executable, str(PROGRAMS / "verify.py"), name]
        case "npm":
            (folder / "package.json").write_text('{"private": true}')
            install = [require("npm"), "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run([*install, *packages], cwd=folder, check=True)
            command = [require("node"), str(PROGRAMS / "verify.mjs"), name]
        case "maven":
            (artifact,) = packages
            group, name_and_version = artifact.split(":")
            (folder / "pom.xml").write_text(POM.format(group, *name_and_version.split("@")))
            copy = ["dependency:copy-dependencies", "-DoutputDirectory=jars"]
            subprocess.run([require("mvn"), "--quiet", "--batch-mode", *copy], cwd=folder, check=True)
            command = [require("java"), "-cp", "jars/*", str(PROGRAMS / "verify.java")]
        case "go":
            (folder / "main.go").write_text((PROGRAMS / "verify.go").read_text())
            for arguments in (["mod", "init", "verify"], ["get", *packages], ["build", "-o", "verify", "."]):
                subprocess.run([require("go"), *arguments], cwd=folder, check=True)
            command = [str(folder / "verify")]

    def are_accepted(messages, now):
        given = json.dumps([dataclasses.asdict(each) for each in messages])
        return json.loads(run_at(command, now, given, cwd=folder, env=env).splitlines()[-1])

    return name, are_accepted


@pytest.fixture(autouse=True)
def _chain_of_these_tests(monkeypatch):
    """Give the message of Apple a chain of which these tests have the keys. `callback send` takes it from there."""
    apple = PROVIDERS["apple-app-store"]
    _, payload, _ = json.loads(apple.sample.body)["signedPayload"].split(".")
    jws = signed(urlsafe_b64decode(f"{payload}=="), CHAIN[0].key, x5c=[each.der for each in CHAIN])
    sample = dataclasses.replace(apple.sample, secret=CHAIN[0].pem, body=json.dumps({"signedPayload": jws}))
    monkeypatch.setitem(PROVIDERS, "apple-app-store", dataclasses.replace(apple, sample=sample))


def test_the_profile_accepts_no_odd_form_that_the_library_refuses(library, tmp_path):
    name, are_accepted = library
    sample = PROVIDERS[name].sample
    secret = CHAIN[-1].der if name == "apple-app-store" else sample.secret

    def by_library(sent):
        return are_accepted([dataclasses.replace(each, secret=secret) for each in sent], sample.time or NOW)

    compare(name, tmp_path, by_library)


def test_the_library_accepts_what_send_makes_and_nothing_that_is_altered(library):
    name, are_accepted = library
    sample, now = sample_of(name), int(time.time())
    key, public = KEYS.get(name, (sample.secret.encode(), sample.secret))
    made = sample_message(name, URL.partition("?")[0], key, now, values=VALUES.get(name, {}))
    headers = {header.lower(): value for header, value in made.headers}
    sent = Message(public, made.body.decode(), made.url, headers)
    changed = [] if name in SIGNED_APART else [dataclasses.replace(sent, body=altered(sent.body))]
    assert are_accepted([sent, *changed], now) == [True, *(False for _ in changed)]


def test_the_page_names_the_library_and_version_that_runs_here():
    named = {name: each.sample.proof for name, each in PROVIDERS.items()}
    page = (ROOT / "docs" / "provider-list.md").read_text().partition("## Messages of callback send")[2]
    for name, (_, package, *_) in PACKAGES.items():
        library, _, version = package.replace("==", "@").rpartition("@")
        text = named[name] if re.search(r"\((PyPI|npm|Go)\)", named[name]) else page
        assert f"{library} {version.removeprefix('v')} (" in text.replace("\n", " "), name


def test_each_provider_that_a_library_proves_is_compared_with_it():
    proofs = {name: each.sample.proof for name, each in PROVIDERS.items()}
    proven = {name for name, proof in proofs.items() if re.search(r"\((PyPI|npm|Go)\)", proof)}
    assert proven <= (MAKERS.keys() - SIGNS_ONLY) | PACKAGES.keys() | SAME_LIBRARY.keys()
