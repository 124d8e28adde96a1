"""A source of keys on loopback, which can be hostile, and a network on which every public address leads to it."""

import asyncio
import contextlib
import datetime
import ssl

import httpcore
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from support.keys import RSA
from support.wait import DEADLINE_S

from callback_conform.relay import stop_accepting
from callback_server.verification.fetcher import Fetcher

PUBLIC = "93.184.215.14"
"""A public address, which no test connects to: the network below leads to loopback."""
NOT_PUBLIC = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.1", "192.88.99.1", "224.0.0.1", "239.255.255.250",
    "240.0.0.1", "255.255.255.255", "::1", "::", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8",
    "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "3fff::1",
    "5f00::1", "2001::1", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "",
    "keys.example.com",
]  # fmt: skip
"""Addresses that are not public, in every form that a resolver can return."""
THIS_MACHINE = [
    "localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "[::1]", "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
]  # fmt: skip
"""Hosts of URLs that the resolver of the system leads to this machine."""
REDIRECTS = ["https://127.0.0.1/", "http://169.254.169.254/latest/", "/other"]
"""Locations to which a server can redirect a client that follows."""
AUTHORITY = trustme.CA()
HOST = "keys.example.com"
SNS = "sns.eu-west-1.amazonaws.com"
HOSTS = (HOST, SNS, "sns.us-west-2.amazonaws.com", "api.paypal.com", "127.0.0.1")
"""The hosts that the source of the tests serves."""


class KeySource:
    """Server for one host. `answers` has the raw answer for each path, or a function that writes one."""

    def __init__(self, *hosts, authority=AUTHORITY):
        self.authority = authority
        self.answers = {}
        self.asked = []
        self.connections = 0
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*hosts).configure_cert(self._tls)

    def forget(self):
        """Forget the answers, and what was asked."""
        self.answers.clear()
        self.asked.clear()
        self.connections = 0

    def put(self, path, content, *headers, status="200 OK"):
        """Answer a path with this content."""
        content = content.encode() if isinstance(content, str) else content
        lines = [f"HTTP/1.1 {status}", f"content-length: {len(content)}", *headers]
        self.answers[path] = "\r\n".join([*lines, "", ""]).encode() + content

    async def _serve(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            self.asked.append(path)
            answer = self.answers.get(path, b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            if callable(answer):
                await answer(reader, writer)
            else:
                writer.write(answer)
                await writer.drain()
        writer.transport.abort()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error):
        await stop_accepting(self._server)
        await self._server.wait_closed()


class Network(httpcore.AsyncNetworkBackend):
    """Network that records each connection, and leads it to a source."""

    def __init__(self, source):
        self._source = source
        self._tcp = httpcore.AnyIOBackend()
        self.connected = []

    async def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.connected.append((host, port))
        # Without the timeout: on a machine with much other load a connection can take longer.
        return await self._tcp.connect_tcp("127.0.0.1", self._source.port, None, local_address, socket_options)


def resolver(*answers):
    """Return a resolver that gives these lists of addresses, one after the other and the last for ever."""
    left = list(answers or [[PUBLIC]])

    async def resolve(_host, _port):
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


def fetcher_to(source, resolve=None, *, authority=AUTHORITY, time_limit_s=DEADLINE_S):
    """Return a fetcher that trusts the authority, and its network."""
    network, tls = Network(source), trust(authority)
    return Fetcher(resolve=resolve or resolver(), network=network, tls=tls, time_limit_s=time_limit_s), network


def trust(authority=AUTHORITY):
    """Return settings of TLS that trust the authority, and verify the name of a host."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(tls)
    return tls


class Authority:
    """An authority for certificates as public ones are made, with which senders sign. Those of trustme are too lax."""

    def __init__(self, name="root", issuer=None):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._signs = issuer or self
        self.certificate = self._signs._certify(self._name, self.key, x509.BasicConstraints(ca=True, path_length=None))

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, *names, key=RSA):
        """Return a certificate of a key for these names, in PEM form."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        made = self._certify(subject, key, x509.BasicConstraints(ca=False, path_length=None), names)
        return made.public_bytes(serialization.Encoding.PEM)

    def _certify(self, subject, key, constraints, names=()):
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
             "decipher_only"), False,
        )  # fmt: skip
        usage |= {"digital_signature": not constraints.ca, "key_cert_sign": constraints.ca, "crl_sign": constraints.ca}
        builder = (
            x509.CertificateBuilder(subject_name=subject, issuer_name=self._name, public_key=key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
            .not_valid_after(datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC))
            .add_extension(constraints, critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
            ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        return builder.sign(self.key, hashes.SHA256())
