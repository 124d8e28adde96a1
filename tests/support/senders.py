"""Senders that sign their requests, with libraries of the specifications. The providers have samples of their own."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import standardwebhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.verification import URL, request

from callback_server.domain.call import Request

BODY = '{"id": "evt_7", "event_id": "Ev7", "text": "caf\u00e9"}'
ID = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"


@dataclass(frozen=True)
class Sender:
    """A sender that signs its requests."""

    settings: dict
    secrets: tuple[str, str]
    """Texts for a profile's secret files, two of them."""
    sign: Callable[[str, str, int], Request]
    """Function that makes a request from a secret, a body and a time."""
    signed: tuple[str, ...]
    """Headers of which the signature covers every bit."""


def whsec(seed):
    return "whsec_" + base64.b64encode(hashlib.sha256(seed).digest()).decode()


def ed25519(seed):
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed).digest())


def whpk(seed):
    return "whpk_" + base64.b64encode(ed25519(seed).public_key().public_bytes_raw()).decode()


PRIVATE_KEYS = {whpk(seed): ed25519(seed) for seed in (b"1", b"2")}


def by_standard_webhooks(secret, body, time):
    signature = standardwebhooks.Webhook(secret).sign(ID, datetime.fromtimestamp(time, UTC), body)
    return standard_webhook(signature, body, time)


def by_ed25519(public_key, body, time):
    """Sign as `v1a`. The specification's library signs `v1` only."""
    signature = PRIVATE_KEYS[public_key].sign(f"{ID}.{time}.{body}".encode())
    return standard_webhook("v1a," + base64.b64encode(signature).decode(), body, time)


def standard_webhook(signature, body, time):
    return request(
        ("webhook-id", ID), ("webhook-timestamp", str(time)), ("webhook-signature", signature), body=body.encode()
    )


def by_everything(secret, body, time):
    """Sign every part of a request, as a custom sender does."""
    signed = f"POST {URL} {ID};{time};{body}".encode()
    signature = base64.b64encode(hmac.digest(secret.encode(), signed, "sha512")).decode()
    return request(("X-Id", ID), ("X-Time", str(time)), ("X-Sign", f"k1={signature}"), body=body.encode())


EVERYTHING = {
    "kind": "hmac",
    "signature": "header:x-sign",
    "algorithm": "sha512",
    "encoding": "base64",
    "prefix": "k1=",
    "signed": "{method} {url} {id};{timestamp};{body}",
    "timestamp": "header:x-time",
    "id": "header:x-id",
}
WEBHOOK = ("webhook-id", "webhook-timestamp", "webhook-signature")
SENDERS = {
    "standard-webhooks": Sender(
        {"kind": "standard-webhooks"}, (whsec(b"1"), whsec(b"2")), by_standard_webhooks, WEBHOOK
    ),
    "standard-webhooks-v1a": Sender({"kind": "standard-webhooks"}, (whpk(b"1"), whpk(b"2")), by_ed25519, WEBHOOK),
    "everything": Sender(EVERYTHING, ("one", "two"), by_everything, ("X-Id", "X-Time", "X-Sign")),
}
