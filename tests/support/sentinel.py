"""A primary, a replica, and three Sentinels that watch them."""

import contextlib
import subprocess

import redis
import trustme
from support.store import StoreProcess, free_port, program
from support.wait import wait_until_sync

SERVICE = "callbacks"


class SentinelProcess:
    """One Sentinel."""

    def __init__(self, directory, kind, lines, *, tls=()):
        directory.mkdir()
        self.port = free_port()
        ports = ("--port", "0", "--tls-port", str(self.port), *tls) if tls else ("--port", str(self.port))
        self._file = directory / "sentinel.conf"
        self._file.write_text("\n".join(lines) + "\n")
        self._command = [
            program(kind), str(self._file), "--sentinel", *ports, "--bind", "127.0.0.1",
            "--dir", str(directory), "--logfile", str(directory / "log"),
        ]  # fmt: skip
        self.process = None

    def start(self):
        """Start it."""
        self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        return self

    def stop(self):
        """Stop it."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)


class Trio:
    """Two stores and their Sentinels. `url` is what a server gets, but for the password of the Sentinels."""

    def __init__(self, stores, ports, sentinels, password="", sentinel_password="", authority=None):
        self.stores = stores
        self._ports = ports
        self.sentinels = sentinels
        self._options = {"host": "127.0.0.1", "password": sentinel_password or None, "decode_responses": True}
        user = f":{password}@" if password else ""
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in sentinels)
        self.url = f"redis+sentinel://{user}{hosts}/{SERVICE}"
        if authority is not None:
            self._options |= {"ssl": True, "ssl_ca_certs": str(authority)}
            self.url = f"rediss+sentinel://{user}{hosts}/{SERVICE}?ssl_ca_certs={authority}"

    def primary(self):
        """Return the store that the Sentinels name, if they agree."""
        named = set()
        for each in self.sentinels:
            with redis.Redis(port=each.port, **self._options) as client:
                named.add(client.sentinel_get_master_addr_by_name(SERVICE))
        found = [store for store, port in zip(self.stores, self._ports, strict=True) if named == {("127.0.0.1", port)}]
        return found[0] if found else None

    def notice_soon(self):
        """Let the Sentinels notice from now on within a second that the primary is gone."""
        for each in self.sentinels:
            with redis.Redis(port=each.port, **self._options) as client:
                client.sentinel_set(SERVICE, "down-after-milliseconds", 500)

    def are_ready(self):
        """Return whether every Sentinel knows the replica and the other Sentinels."""
        for each in self.sentinels:
            with redis.Redis(port=each.port, **self._options) as client:
                state = client.sentinel_master(SERVICE)
                if (state["num-slaves"], state["num-other-sentinels"]) != (1, 2):
                    return False
                (replica,) = client.sentinel_slaves(SERVICE)
                if replica["master-link-status"] != "ok":
                    return False
        return True


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


@contextlib.contextmanager
def running_trio(directory, kind, *, password="", sentinel_password="", has_tls=False):
    """Run a `Trio` of a kind of store: with passwords if they are given, with TLS everywhere if that is asked for."""
    stores, ports = [], []
    authority, tls = tls_files(directory) if has_tls else (None, ())
    secret = ("--requirepass", password, "--masterauth", password) if password else ()
    with contextlib.ExitStack() as stack:
        for name in ("first", "second"):
            (directory / name).mkdir()
            port = free_port()
            settings = [*secret, *(("--tls-port", str(port), *tls) if has_tls else ())]
            if stores:
                settings += ["--replicaof", f"127.0.0.1 {ports[0]}"]
            stores.append(StoreProcess(directory / name, kind=kind, settings=settings, password=password).start())
            stack.callback(stores[-1].stop)
            ports.append(port if has_tls else stores[-1].port)
        lines = [
            f"sentinel monitor {SERVICE} 127.0.0.1 {ports[0]} 2",
            f"sentinel down-after-milliseconds {SERVICE} 60000",  # a busy machine can pause a store for a second
            f"sentinel failover-timeout {SERVICE} 5000",
            *([f"sentinel auth-pass {SERVICE} {password}"] if password else []),
            *([f"requirepass {sentinel_password}", f"sentinel sentinel-pass {sentinel_password}"]
              if sentinel_password else []),
        ]  # fmt: skip
        sentinels = [SentinelProcess(directory / f"sentinel{n}", kind, lines, tls=tls).start() for n in range(3)]
        for each in sentinels:
            stack.callback(each.stop)
        trio = Trio(stores, ports, sentinels, password, sentinel_password, authority)

        def are_ready():
            with contextlib.suppress(redis.ConnectionError, ValueError):
                return trio.are_ready()
            return False

        wait_until_sync(are_ready, what="Sentinels that know each other")
        yield trio
