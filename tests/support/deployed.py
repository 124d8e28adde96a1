"""A deployment made from the samples in `docs/deploy`.

It has two servers and two edges on one store, each in its own process, and a proxy in front of the edges.
"""

import asyncio
import contextlib
import os
import re
import socket
import ssl
import subprocess

import httpx
import trustme
import yaml
from support.store import free_port
from support.system import SystemLauncher
from support.tools import require
from support.tree import ROOT

from callback import AsyncCallbackClient
from callback_launcher.child import Child, running
from callback_launcher.launcher import System
from callback_server.access.roles import EVERY_ACTIVITY, Role
from callback_server.access.tokens import add_token

SAMPLES = ROOT / "docs" / "deploy"
HOST = "callback.example"
"""Public host name of the samples."""
PROXIES = ("nginx", "haproxy")
RULES = SAMPLES / "prometheus-rules.yaml"
_RULES = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in _RULES if "alert" in rule]
RATIOS = {rule["record"]: rule["expr"] for rule in _RULES if "record" in rule}
"""What the alerts use, by its name."""
OPERATIONS = ROOT / "docs" / "operations.md"
PAUSE_S = 3
"""Seconds that an operator waits between the readiness of one process and the restart of the next."""


def sample(name, changes):
    """Return the text of a sample with each key of `changes` replaced by its value.

    Each key must be in the sample. So a test fails when the sample changes, instead of testing outdated text.
    """
    text = (SAMPLES / name).read_text()
    for old, new in changes.items():
        assert old in text, f"{name} no longer says {old!r}"
        text = text.replace(old, str(new))
    return text


def runbook_commands(alert):
    """Return the commands of `callback` in the section of an alert in the page on operations, without that word."""
    (section,) = re.findall(rf"^### {alert}\n(.*?)(?=^##)", OPERATIONS.read_text(), re.MULTILINE | re.DOTALL)
    return re.findall(r"`callback ([a-z][^`]*)`", section)


class Fleet(System):
    """Two `servers` and two `edges`, with the configuration and the principals of the samples.

    `client` is the sample's service `orders`, `operator` its administrator. The client balances between the two servers
    as edges do. The token in `worker_token_file` allows work on every activity.
    """

    def __init__(self, directory, store, *, activities="", server=()):
        principals, configuration, token = (directory / name for name in ("principals.toml", "callback.toml", "token"))
        principals.write_text(sample("principals.toml", {}))
        self.tokens = {name: add_token(principals, name, (), None) for name in ("edge", "orders", "operator")}
        token.write_text(self.tokens["edge"])
        self.worker_token_file = directory / "worker-token"
        self.worker_token_file.write_text(
            add_token(principals, "workers", (Role.WORKER,), None, activities=(EVERY_ACTIVITY,))
        )
        box_url = f'box_url = "https://{HOST}"'
        changes = {
            "redis://127.0.0.1:6379/0": store.url, "/etc/callback/principals.toml": principals, box_url: box_url,
        }  # fmt: skip
        configuration.write_text(sample("callback.toml", changes).partition("[activities.")[0] + activities)
        ours = SystemLauncher(directory, server={"CALLBACK_CONFIG": str(configuration), **dict(server)}, edge={})
        edge = {"SERVER_TOKEN_FILE": token, "TRUSTED_PROXIES": "127.0.0.1", "UNKNOWN_STATES_PER_MINUTE_PER_ADDRESS": 60}
        super().__init__(
            ours, store.url, servers=2, edges=2, server={"BOX_URL": f"https://{HOST}", "STATE_KEY": "k" * 32}, edge=edge
        )
        self.addresses = [
            tuple(each.environment[f"CALLBACK_EDGE_{name}"] for name in ("BIND", "ADMIN_BIND")) for each in self.edges
        ]
        """By edge: the address for callers, and the admin port."""
        self.client = self.operator = None

    async def restart(self, process):
        """Restart a process by the steps of the operations page, and return its exit code."""
        code = await asyncio.to_thread(process.stop)
        await asyncio.to_thread(process.start)
        await asyncio.sleep(PAUSE_S)  # a fixed pause: from outside one cannot see whether edges have found a server
        return code


@contextlib.asynccontextmanager
async def running_fleet(directory, store, **options):
    """Run a `Fleet` on a store, with its files in an empty directory.

    Args:
        directory: Directory for configuration and logs.
        store: A running `StoreProcess`.
        options: `activities` (TOML), and `server` (environment of the servers).
    """
    fleet = Fleet(directory, store, **options)
    async with (
        fleet.running(),
        AsyncCallbackClient(fleet.target, token=fleet.tokens["orders"]) as fleet.client,
        AsyncCallbackClient(fleet.target, token=fleet.tokens["operator"]) as fleet.operator,
    ):
        yield fleet


class Proxy(Child):
    """nginx or haproxy, configured by its sample, in front of the edges at these addresses (as in `Fleet`).

    Its logs and all other files that it writes are in a directory of its own.
    """

    def __init__(self, kind, directory, addresses):
        self.kind = kind
        self.directory = directory
        self.port = free_port()
        self.origin = f"https://{HOST}:{self.port}"
        authority = trustme.CA()
        identity = authority.issue_cert(HOST)
        self.trust = ssl.create_default_context()
        authority.configure_trust(self.trust)
        certificate, key, both = (directory / name for name in ("certificate.pem", "key.pem", "both.pem"))
        certificate.write_bytes(b"".join(blob.bytes() for blob in identity.cert_chain_pems))
        key.write_bytes(identity.private_key_pem.bytes())
        both.write_bytes(identity.private_key_and_cert_chain_pem.bytes())
        configuration = directory / f"{kind}.conf"
        command = [require(kind), "-f", str(configuration), "-db"]
        if kind == "nginx":
            user = " user root;" if os.geteuid() == 0 else ""  # only the owner can read the directories of tests
            command = [
                require(kind), "-c", str(configuration), "-e", str(directory / "start.log"), "-g", f"daemon off;{user}",
            ]  # fmt: skip
        configuration.write_text(getattr(self, f"_{kind}")(addresses))
        super().__init__(
            name=kind, command=command, is_healthy=self._accepts, start_s=120, stop_s=60, log=directory / "output.log",
            environment={"BIND": f"127.0.0.1:{self.port}", "CERTIFICATE": str(both)},
        )  # fmt: skip

    def _nginx(self, addresses):
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"    {kind}_temp_path {self.directory / kind};\n" for kind in kinds)
        return sample(
            "nginx.conf",
            {
                "/run/nginx.pid": self.directory / "pid",
                "/var/log/nginx/": f"{self.directory}/",
                "/etc/nginx/callback.pem": self.directory / "certificate.pem",
                "/etc/nginx/callback.key": self.directory / "key.pem",
                "listen 443 ssl http2;": f"listen 127.0.0.1:{self.port} ssl http2;",
                "listen [::]:443 ssl http2;": "",
                "http {\n": f"http {{\n{places}",
                **{f"127.0.0.1:808{n}": address for n, (address, _) in enumerate(addresses, 1)},
            },
        )

    def _haproxy(self, addresses):
        # Only root can switch to another user.
        changes = {} if os.geteuid() == 0 else {"    user haproxy\n": "", "    group haproxy\n": ""}
        for n, (address, admin) in enumerate(addresses, 1):
            changes[f'"${{EDGE_{n}-127.0.0.1}}:808{n}"'] = address
            changes[f"port 908{n}"] = f"port {admin.rpartition(':')[2]}"
        return sample("haproxy.cfg", changes)

    def check(self):
        """Check the configuration with the proxy's own linter, and return the exit code and the output."""
        flag = {"nginx": "-t", "haproxy": "-c"}[self.kind]
        ran = subprocess.run(
            [*self.command, flag], env={**os.environ, **self.environment}, capture_output=True, text=True, check=False
        )
        return ran.returncode, ran.stdout + ran.stderr

    def _accepts(self):
        with socket.create_connection(("127.0.0.1", self.port)):
            return True

    def said(self):
        """Return all text that it has logged or written, without its configuration."""
        logs = sorted(self.directory.glob("*.log"))
        return "".join(log.read_text(errors="backslashreplace") for log in logs)

    async def connect(self, alpn="http/1.1", *, source=None):
        """Open a connection over TLS, from a loopback address if one is given, and return its reader and writer."""
        self.trust.set_alpn_protocols([alpn])
        return await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.trust, server_hostname=HOST,
            local_addr=None if source is None else (source, 0),
        )  # fmt: skip

    def browser(self, **options):
        """Return an HTTP client that connects only to the proxy, and calls it by the host name of the samples."""
        # Idle connections expire before the proxy closes them: a request on a closing connection fails.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=5)
        transport = httpx.AsyncHTTPTransport(verify=self.trust, limits=limits, trust_env=False, **options)
        return httpx.AsyncClient(base_url=f"https://127.0.0.1:{self.port}", transport=_Named(transport), timeout=60)

    def own(self, url):
        """Return a URL that a server generated, without its host: the form that a `browser` requests."""
        return re.sub(r"^https://[^/]+", "", url)


class _Named(httpx.AsyncBaseTransport):
    """Transport that names the samples' host in TLS and in the request, whatever the address."""

    def __init__(self, inner):
        self._inner = inner

    async def handle_async_request(self, request):
        request.headers["host"] = HOST
        request.extensions["sni_hostname"] = HOST
        return await self._inner.handle_async_request(request)

    async def aclose(self):
        await self._inner.aclose()


@contextlib.asynccontextmanager
async def running_proxy(kind, directory, addresses):
    """Run a `Proxy`, in a directory that does not exist yet."""
    directory.mkdir()
    proxy = Proxy(kind, directory, addresses)
    async with running(proxy):
        yield proxy
