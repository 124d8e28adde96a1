"""How long a static file of the console takes beside hostile callers: `hostile_console.py --help`.

Each row is an attack on a console, from several connections: forms of many fields before a sign-in, bodies that never
end, streams of HTTP/2 that are reset, requests whose answers are not read, messages of many members of gzip,
slow messages of one token, sign-ins, and live pages that are opened over and over. In turns the median of a static
file is measured idle and beside the attack, on a new connection each time. The callers of an attack are a process of
their own. The program prints the most memory that the console had. It fails if a median beside an attack is more than
the required multiple of the idle one, or if an attack has signed the administrator out.
"""

import argparse
import asyncio
import contextlib
import gzip
import itertools
import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.kit.programs import running_deployment
from bench.kit.surroundings import surroundings
from support.store import StoreProcess
from support.system import Process

MAX_RATIO = 5
"""Required: how many times the idle median one beside an attack may be."""
STATIC = "GET /static/console.js HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
HONEST, HOSTILE = "127.0.0.1", "127.0.0.9"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))


class Attacks:
    """The attacks, each a coroutine that goes on until it is cancelled, as one of several connections."""

    def __init__(self, address, tokens):
        self.host = str(address)
        self._target = tuple(str(address).rsplit(":", 1))
        self._worker, self._owner, _admin = tokens
        self._members = gzip.compress(b"", mtime=0) * 300_000

    @contextlib.asynccontextmanager
    async def connection(self, source=HOSTILE):
        host, port = self._target
        reader, writer = await asyncio.open_connection(host, int(port), local_addr=(source, 0))
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def head(self, path, size, *fields):
        lines = [f"POST {path} HTTP/1.1", f"Host: {self.host}", f"Content-Length: {size}", *fields, "", ""]
        return "\r\n".join(lines).encode()

    def form(self, path, size, *fields):
        kind = "Content-Type: application/x-www-form-urlencoded"
        return self.head(path, size, f"Origin: http://{self.host}", kind, *fields)

    async def post(self, head, body):
        async with self.connection() as (reader, writer):
            writer.write(head + body)
            with contextlib.suppress(OSError):
                await writer.drain()
            return await reader.read(65536)

    async def again(self, head, body=b""):
        while True:
            with contextlib.suppress(OSError):
                await self.post(head, body)

    async def forms(self):
        body = b"a&" * (1024 * 1024)
        await self.again(self.form("/sign-in", len(body)), body)

    async def small_forms(self):
        body = b"a&" * 8000
        await self.again(self.form("/sign-in", len(body)), body)

    async def unfinished(self):
        async with self.connection() as (_, writer):
            writer.write(self.form("/sign-in", 2_000_000) + b"a" * 1_999_999)
            await asyncio.Event().wait()

    async def rapid_reset(self):
        def frame(kind, flags, stream, payload):
            return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload

        fields = b"\x82\x84\x86\x41" + bytes((len(self.host),)) + self.host.encode()
        burst = b"".join(
            frame(1, 5, each, fields) + frame(3, 0, each, b"\0\0\0\x08") for each in range(1, 2001, 2)
        )  # fmt: skip
        while True:
            with contextlib.suppress(OSError):
                await self.post(PREFACE, burst)

    async def pipelining(self):
        while True:
            with contextlib.suppress(OSError):
                async with self.connection() as (_, writer):
                    request = f"GET /static/htmx.min.js HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode()
                    writer.write(request * 200)
                    await writer.drain()
                    await asyncio.sleep(1)

    async def members(self, token):
        fields = ("Content-Type: application/json", "Content-Encoding: gzip", f"Authorization: Bearer {token}")
        await self.again(
            self.head("/callback.v1.CallbacksService/GetCallback", len(self._members), *fields), self._members
        )

    async def members_of_a_worker(self):
        await self.members(self._worker)

    async def members_of_an_owner(self):
        await self.members(self._owner)

    async def slow(self):
        fields = ("Content-Type: application/json", f"Authorization: Bearer {self._owner}")
        while True:
            with contextlib.suppress(OSError):
                async with self.connection() as (reader, writer):
                    writer.write(self.head("/callback.v1.CallbacksService/GetCallback", 1000, *fields) + b"{")
                    await reader.read()

    async def sign_ins(self):
        body = f"token={self._owner}".encode()
        await self.again(self.form("/sign-in", len(body)), body)

    async def wrong_sign_ins(self):
        body = b"token=wrong"
        await self.again(self.form("/sign-in", len(body)), body)

    async def live_pages(self):
        cookie = await self.signed_in(self._owner)
        for number in itertools.count():
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                async with self.connection() as (reader, writer):
                    target = f"/events?case={number:032x}"
                    writer.write(f"GET {target} HTTP/1.1\r\nHost: {self.host}\r\nCookie: {cookie}\r\n\r\n".encode())
                    await reader.readuntil(b"\r\n\r\n")

    async def signed_in(self, token):
        """Open a session, and return its cookie."""
        body = f"token={token}".encode()
        answer = await self.post(self.form("/sign-in", len(body)), body)
        return answer.partition(b"set-cookie: ")[2].partition(b";")[0].decode()

    async def is_signed_in(self, cookie):
        async with self.connection(HONEST) as (reader, writer):
            writer.write(f"GET / HTTP/1.1\r\nHost: {self.host}\r\nCookie: {cookie}\r\n\r\n".encode())
            return b"location: /overview" in await reader.readuntil(b"\r\n\r\n")

    async def static_s(self):
        """Return how long a static file takes, in seconds."""
        began = time.perf_counter()
        async with self.connection(HONEST) as (reader, writer):
            writer.write(STATIC.format(host=self.host).encode())
            answer = await reader.read()
            while part := await reader.read():
                answer += part
        assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
        return time.perf_counter() - began

    async def median_s(self, seconds):
        """Return the median of static files that are asked for one after the other."""
        found = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(found) < 5:
            found.append(await self.static_s())
            await asyncio.sleep(0.01)
        return statistics.median(found)


ROWS = {
    "forms": 4, "small_forms": 8, "unfinished": 240, "rapid_reset": 8, "pipelining": 200, "members_of_a_worker": 4,
    "members_of_an_owner": 4, "slow": 140, "sign_ins": 8, "wrong_sign_ins": 8, "live_pages": 16,
}  # fmt: skip
"""Attacks with their number of connections."""


def attack(name, address, tokens):
    """Attack a console until this process is ended."""

    async def run():
        attacks = Attacks(address, tokens)
        await asyncio.gather(*(getattr(attacks, name)() for _ in range(ROWS[name])))

    asyncio.run(run())


def memory_mb(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6


async def measure(options, directory):
    """Measure the rows, print them, and return the problems."""
    problems = []
    with StoreProcess(directory / "store") as store:
        async with running_deployment(directory / "ours", store, administrators=1) as ours:
            console = Process(
                "callback_console", directory / "console.log", interpreter=[sys.executable],
                CALLBACK_CONSOLE_BIND="127.0.0.1:0", CALLBACK_CONSOLE_ADMIN_BIND="127.0.0.1:0",
                CALLBACK_CONSOLE_SERVER_TARGET=ours.grpc[0],
                **({"CALLBACK_CONSOLE_TRUSTED_PROXIES": options.trusted_proxies} if options.trusted_proxies else {}),
            )  # fmt: skip
            await asyncio.to_thread(console.start)
            try:
                known = console.facts["console"], (ours.tokens["worker"], ours.tokens["service"], *ours.administrators)
                attacks = Attacks(*known)
                for name in options.only or ROWS:
                    cookie = await attacks.signed_in(known[1][2])
                    idle = await attacks.median_s(options.seconds / 2)
                    running = multiprocessing.get_context("spawn").Process(target=attack, args=(name, *known))
                    running.start()
                    await asyncio.sleep(3)  # it imports, and connects
                    beside = await attacks.median_s(options.seconds)
                    most = memory_mb(console.process.pid)
                    running.kill()
                    running.join()
                    ratio = beside / idle
                    print(f"  {name:20} {idle * 1000:6.2f} ms idle, {beside * 1000:7.2f} ms beside, {ratio:5.1f} times;"
                          f" {most:.0f} MB", flush=True)  # fmt: skip
                    if ratio > MAX_RATIO:
                        problems.append(f"{name}: {ratio:.1f} times")
                    if not await attacks.is_signed_in(cookie):
                        problems.append(f"{name}: the administrator is signed out")
            finally:
                console.stop()
    return problems


async def main(options):
    """Measure, print the result, and return the exit code."""
    print(surroundings())
    with tempfile.TemporaryDirectory() as folder:
        problems = await measure(options, Path(folder))
    print(f"required: at most {MAX_RATIO} times the idle median: {', '.join(problems) or 'holds'}")
    return int(bool(problems))


def arguments():
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=ROWS, help="these attacks")
    parser.add_argument("--seconds", type=float, default=5, help="duration of a measurement beside an attack")
    parser.add_argument("--trusted-proxies", default="[]", help="setting of the console; empty: unset")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
