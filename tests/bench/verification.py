"""Cost of a call with each kind of verification profile, relative to a call without one: `verification.py [ROUNDS]`.

One system runs on this machine, with its own store. A client sends one recorded call after another over one connection,
in turn to a callback without a profile and to one of each kind, with a body of 1 KiB and a new message each time. The
output is the median time of each kind, and its ratio to the time without a profile, with the least and the greatest
ratio of five parts of the run.
"""

import asyncio
import base64
import hashlib
import hmac
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[1]))

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms
from support.system import own_store, running_system

from callback import Response

ROUNDS = 300
PARTS = 5
SECRET = b"s" * 32
WHSEC = "whsec_" + base64.b64encode(SECRET).decode()
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
P256 = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
SIGNER = HTTPMessageSigner(
    signature_algorithm=algorithms.ED25519, key_resolver=MappingKeyResolver(public_keys={}, private_keys={"k": ED})
)


def pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def signed(sign):
    """Return a function that makes the headers of a message from its URL, number and body."""
    return lambda _url, _number, body: {"x-sign": base64.b64encode(sign(body)).decode()}


def standard_webhook(_url, number, body):
    now = int(time.time())
    made = hmac.digest(SECRET, f"m{number}.{now}.".encode() + body, "sha256")
    signature = "v1," + base64.b64encode(made).decode()
    return {"webhook-id": f"m{number}", "webhook-timestamp": str(now), "webhook-signature": signature}


def token(_url, number, body):
    claims = {"iat": int(time.time()), "hash": hashlib.sha256(body).hexdigest(), "n": number}
    return {"x-token": jwt.encode(claims, RSA, "RS256")}


def message_signature(url, _number, body):
    sent = SimpleNamespace(method="POST", url=url, headers={})
    covered = ("@method", "@target-uri", "content-digest")
    SIGNER.sign(sent, key_id="k", created=datetime.now(UTC), covered_component_ids=covered, body=body)
    return sent.headers


SIGN = 'signature = "header:x-sign"\nencoding = "base64"\n'
KINDS = {
    # name: (settings, content of the file, headers of a message)
    "address": ('kind = "address"\nnetworks = ["127.0.0.0/8"]\n', b"", lambda *_: {}),
    "basic": (
        'kind = "basic"\nusername = "user"\n', SECRET,
        lambda *_: {"authorization": "Basic " + base64.b64encode(b"user:" + SECRET).decode()},
    ),
    "shared-secret": ('kind = "shared-secret"\nheader = "x-key"\n', SECRET, lambda *_: {"x-key": SECRET.decode()}),
    "hmac": (f'kind = "hmac"\n{SIGN}', SECRET, signed(lambda body: hmac.digest(SECRET, body, "sha256"))),
    "hmac-with-id": (
        f'kind = "hmac"\nid = "json:/id"\n{SIGN}', SECRET, signed(lambda body: hmac.digest(SECRET, body, "sha256")),
    ),
    "standard-webhooks": ('kind = "standard-webhooks"\n', WHSEC.encode(), standard_webhook),
    "public-key-rsa": (
        f'kind = "public-key"\nalgorithm = "rsa-sha256"\n{SIGN}', pem(RSA),
        signed(lambda body: RSA.sign(body, padding.PKCS1v15(), hashes.SHA256())),
    ),
    "public-key-ecdsa": (
        f'kind = "public-key"\nalgorithm = "ecdsa-sha256"\n{SIGN}', pem(P256),
        signed(lambda body: P256.sign(body, ec.ECDSA(hashes.SHA256()))),
    ),
    "public-key-ed25519": (f'kind = "public-key"\nalgorithm = "ed25519"\n{SIGN}', pem(ED), signed(ED.sign)),
    "jwt-with-body-hash": (
        'kind = "jwt"\nalgorithms = ["RS256"]\nheader = "x-token"\nbody_hash_claim = "hash"\nmax_age_s = 60\n',
        pem(RSA), token,
    ),
    "http-message-signatures": (
        'kind = "http-message-signatures"\nalgorithm = "ed25519"\n', pem(ED), message_signature,
    ),
}  # fmt: skip


async def measure(system, rounds):
    """Send the calls of each kind in turn, and return the times in milliseconds by kind."""
    urls = {
        name: (
            await system.client.generate_callback_url(
                "record", Response(code=204), allow_multiple_calls=True, verification_profile=name
            )
        ).url
        for name in ("", *KINDS)
    }
    times = {name: [] for name in urls}
    for number in range(-20, rounds):  # the first ones warm up
        for name, url in urls.items():
            body = b'{"id": "%s-%d", "text": "%s"}' % (name.encode(), number + 20, b"x" * 980)
            headers = KINDS[name][2](url, number + 20, body) if name else {}
            began = time.perf_counter()
            answer = await system.http.post(url, content=body, headers=headers)
            took = time.perf_counter() - began
            assert answer.status_code == 204, (name, answer.status_code)
            if number >= 0:
                times[name].append(took * 1000)
    return times


async def main(rounds):
    """Run the system, measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        config = ""
        for name, (declared, content, _) in KINDS.items():
            (directory / name).write_bytes(content)
            config += f"[profiles.{name}]\n{declared}"
            if content:
                files = "secret_files" if b"BEGIN" not in content else "key_files"
                config += f'{files} = ["{directory / name}"]\n'
        with own_store(directory) as store:
            async with running_system(directory, store, config=config) as system:
                times = await measure(system, rounds)
    none = times.pop("")
    print(f"{'none':23} {statistics.median(none):6.2f} ms")
    size = len(none) // PARTS
    for name, took in times.items():
        ratios = [
            statistics.median(took[at : at + size]) / statistics.median(none[at : at + size])
            for at in range(0, size * PARTS, size)
        ]
        ratio = statistics.median(took) / statistics.median(none)
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{name:23} {statistics.median(took):6.2f} ms   ratio {ratio:.2f} ({spread})")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
