"""A primary, a replica, and three Sentinels that watch them."""

import contextlib

import trustme
from support.store import Launcher, program

from callback_launcher.sentinel import SENTINELS, SERVICE, Sentinel, Watched
from callback_launcher.store import REPLICATION, Store

SLOW_MS = 60_000
"""Time until a Sentinel misses a primary, in milliseconds: a busy machine can pause a store for a second."""


class Trio(Watched):
    """Two stores and their Sentinels. `url` is what a server gets, but for the password of the Sentinels."""

    def __init__(self, *processes, password, authority):
        super().__init__(*processes)
        user = f":{password}@" if password else ""
        scheme, query = ("redis", "") if authority is None else ("rediss", f"?ssl_ca_certs={authority}")
        self.url = f"{scheme}+sentinel://{user}{self.hosts}/{SERVICE}{query}"

    async def notice_soon(self):
        """Let the Sentinels notice from now on within a second that the primary is gone."""
        for each in self.sentinels:
            await each.execute("SENTINEL", "SET", SERVICE, "down-after-milliseconds", 500)


def tls_files(directory):
    """Make an authority and a certificate for loopback. Return the file of the authority, and settings of a store."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(directory / "store.pem")
    settings = {
        "--tls-cert-file": directory / "store.pem", "--tls-key-file": directory / "store.pem",
        "--tls-ca-cert-file": directory / "ca.pem", "--tls-auth-clients": "no", "--tls-replication": "yes",
    }  # fmt: skip
    return directory / "ca.pem", [str(each) for pair in settings.items() for each in pair]


@contextlib.asynccontextmanager
async def running_trio(directory, kind, *, password="", sentinel_password="", has_tls=False):
    """Run a `Trio` of a kind of store: with passwords if they are given, with TLS everywhere if that is asked for."""
    launcher = Launcher(directory, store=program(kind))
    authority, tls = tls_files(directory) if has_tls else (None, ())

    def make(cls, name, *arguments, secret, **options):
        """Make a process that is reached over TLS and with a password where these are asked for."""
        address = launcher.take()
        ports = ("--port", "0", "--tls-port", str(address.port), *tls) if has_tls else ()
        connection = ({"ssl": True, "ssl_ca_certs": str(authority)} if has_tls else {}) | {"password": secret or None}
        return cls(launcher, name, *arguments, *ports, address=address, connection=connection, **options)

    secret = ("--requirepass", password, "--masterauth", password) if password else ()
    primary, replica = (make(Store, name, *REPLICATION, *secret, secret=password) for name in ("first", "second"))
    lines = [
        *([f"sentinel auth-pass {SERVICE} {password}"] if password else []),
        *([f"requirepass {sentinel_password}", f"sentinel sentinel-pass {sentinel_password}"]
          if sentinel_password else []),
    ]  # fmt: skip
    sentinels = [
        make(Sentinel, f"sentinel-{n}", primary.address, secret=sentinel_password, down_after_ms=SLOW_MS, lines=lines)
        for n in range(SENTINELS)
    ]
    trio = Trio(primary, replica, sentinels, password=password, authority=authority)
    async with trio.running():
        yield trio
