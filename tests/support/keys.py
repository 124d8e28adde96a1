"""Keys of senders, and their forms in files. A process makes each key once, because an RSA key takes long."""

import base64
import hmac
import json

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

RSA, OTHER_RSA = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
SHORT_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)
P256, P384, P521 = (ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1))
ED25519, OTHER_ED25519 = (ed25519.Ed25519PrivateKey.from_private_bytes(bytes([each] * 32)) for each in (1, 2))


def pem(key):
    """Return the public key in PEM form."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def der(key):
    """Return the public key in DER form."""
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def private_pem(key):
    """Return the private key in PEM form."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def jwk(key, **facts):
    """Return the public key as a JSON Web Key with more members."""
    algorithms = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    algorithm = next((each for kind, each in algorithms.items() if isinstance(key, kind)), OKPAlgorithm)
    return algorithm.to_jwk(key.public_key(), as_dict=True) | facts


def key_set(**keys):
    """Return a JSON Web Key Set of public keys, by key id."""
    return json.dumps({"keys": [jwk(key, kid=name) for name, key in keys.items()]})


def segment(value):
    """Return a part of a token: JSON, or bytes, in base64url."""
    octets = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def hmac_token(head, claims, secret):
    """Return a token that is signed by HMAC with SHA-256, whatever its head says."""
    signed = f"{segment(head)}.{segment(claims)}"
    return f"{signed}.{segment(hmac.digest(secret, signed.encode(), 'sha256'))}"
