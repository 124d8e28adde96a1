"""Flood benchmark: memory and latency while one caller floods the edge with bodies and refused requests. `--help`.

One caller keeps connections busy with bodies of 1 MiB to a callback that is closed, unknown, not verified, busy or
slow, to an address without a callback, as a prefetch and by a method that is not allowed, with bodies and heads beyond
their limits, with bodies of 10 bytes that are refused, with GETs of a call that no one waits for and of a callback that
answers with 1 MiB, and, from five addresses, with bodies that are accepted. Meanwhile another caller
makes one call after the other. The output has, for each kind of flood, the most resident memory of each process above
its memory at rest, and the median latency of the other caller, also as a multiple of its median on the idle system just
before. The bounds of the memory are those of docs/operations.md for the default limits. The exit code is 1 if one is
exceeded.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.kit.connection import Connection
from bench.kit.programs import resident_bytes, running_deployment
from support.store import StoreProcess

from callback import AnswerMode, Response
from callback_edge.settings import EdgeSettings
from callback_process.http.parser import MAX_HEAD_BYTES
from callback_server.settings import ServerSettings

MIB = 1 << 20
MOST_TIMES_IDLE, MOST_TIMES_BESIDE_ANSWERS = 10, 20
"""Bounds of the other caller's median latency, as a multiple of its median on the idle system. The second one is for
large answers."""
COPIES, OF_A_CONNECTION = 3, 0.4 * MIB
"""Memory of a body, in bodies, and of a connection that sends one."""
FLOODER, HONEST = "203.0.113.7", "198.51.100.1"
FLOODERS = [f"203.0.113.{number}" for number in range(1, 6)]
PROFILES = """
[profiles.partner]
kind = "shared-secret"
header = "x-secret"
secret_files = ["{secret}"]

[profiles.signed]
kind = "github"
secret_files = ["{secret}"]
"""


def request(url, method="POST", body=b"", caller=FLOODER, fields=""):
    """Return the bytes of a request from a caller, as the proxy in front sends it."""
    parts = urlsplit(url)
    head = f"{method} {parts.path}?{parts.query} HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: {caller}\r\n{fields}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def floods(client):
    """Return the requests of each kind of flood."""
    answer, body, short = Response(b"ok"), b"x" * MIB, b"x" * 10
    unknown, nowhere, prefetch = f"http://localhost/cb/{uuid.uuid4()}", "http://localhost/", "sec-purpose: prefetch\r\n"
    not_waiting = f"http://localhost/wait/{uuid.uuid4().hex}-{'0' * 16}/{'0' * 64}"
    closed = await client.generate_callback_url("record", answer)
    await client.close_callback(closed.case_id)
    partner = await client.generate_callback_url("record", answer, verification_profile="partner")
    signed = await client.generate_callback_url("record", answer, verification_profile="signed")
    busy = await client.generate_callback_url("held", answer, answer_mode=AnswerMode.HOLD)
    slow = await client.generate_callback_url(
        "held", answer, answer_mode=AnswerMode.HOLD, allow_multiple_calls=True, time_to_live=timedelta(hours=1)
    )
    accepted = await client.generate_callback_url("record", answer, allow_multiple_calls=True)
    large = await client.generate_callback_url("record", Response(body), allow_multiple_calls=True)
    requests = {
        "closed": request(closed.url, body=body),
        "unknown": request(unknown, body=body),
        "unverified": request(partner.url, body=body),
        "badly signed": request(signed.url, body=body),
        "busy": request(busy.url, body=body),
        "slow": request(slow.url, body=body),
        "no callback": request(nowhere, body=body),
        "prefetch": request(unknown, body=body, fields=prefetch),
        "method": request(unknown, "PROPFIND", body=body),
        "large body": request(unknown, body=b"x" * (EdgeSettings.model_fields["body_limit_bytes"].default + 1)),
        "large head": request(unknown, fields=f"x-large: {'x' * MAX_HEAD_BYTES}\r\n"),
        "short closed": request(closed.url, body=short),
        "short unknown": request(unknown, body=short),
        "short no callback": request(nowhere, body=short),
        "short prefetch": request(unknown, body=short, fields=prefetch),
        "short method": request(unknown, "PROPFIND", body=short),
        "no wait": request(not_waiting, "GET"),
        "large answer": request(large.url, "GET"),
    }
    addresses = [request(accepted.url, body=body, caller=caller) for caller in FLOODERS]
    return {kind: [each] for kind, each in requests.items()} | {"accepted": addresses}


def bounds(kind, connections):
    """Return how much the memory of each process may rise with this many connections to the edge."""
    edge, server = EdgeSettings.model_fields, ServerSettings.model_fields
    if kind == "large answer":
        return {"edge": COPIES * connections * MIB, "server": COPIES * connections * MIB}
    limit = "max_body_bytes_in_flight" if kind == "accepted" else "max_body_bytes_in_flight_per_address"
    return {
        "edge": COPIES * edge[limit].default + connections * OF_A_CONNECTION,
        "server": COPIES * server["max_body_bytes_in_flight"].default,
    }


async def median_s(port, asked, seconds):
    """Make one call after the other for some seconds. Return the median latency, and how often it got each status."""
    latencies, statuses = [], Counter()
    connection = await Connection.to(port)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        if not connection.is_open:
            connection = await Connection.to(port)
        began = time.perf_counter()
        statuses[await connection.ask(asked)] += 1
        latencies.append(time.perf_counter() - began)
        await asyncio.sleep(0.01)
    connection.close()
    return statistics.median(latencies), dict(statuses)


@contextlib.asynccontextmanager
async def peaks(deployment, processes):
    """Yield a dictionary that has, at the end, the most resident memory of each process and connections meanwhile.

    A connection whose last answer was sent is one for some time, until its client closes it or the edge does.
    """
    most = dict.fromkeys((*processes, "connections"), 0)

    async def watch_memory():
        while True:
            for name, pid in processes.items():
                most[name] = max(most[name], resident_bytes(pid))
            await asyncio.sleep(0.02)

    async def watch_connections():
        while True:
            most["connections"] = max(most["connections"], await deployment.metric("callback_edge_connections"))
            await asyncio.sleep(0.2)

    watching = [asyncio.create_task(watch()) for watch in (watch_memory, watch_connections)]
    try:
        yield most
    finally:
        for each in watching:
            each.cancel()


async def flood(port, requests, options, directory):
    """Run the flood, and return how often it got each answer."""
    files = [directory / f"request-{number}" for number in range(len(requests))]
    for file, asked in zip(files, requests, strict=True):
        file.write_bytes(asked)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.kit.flood", str(port), ",".join(map(str, files)),
        str(options.connections), str(options.seconds),
        cwd=Path(__file__).parents[1], stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    return json.loads(said)


def report(kind, rest, most, times_idle):
    """Print a line of the table, and return whether its bounds are met."""
    line, all_met = f"{kind:17}", True
    for name, bound in bounds(kind, most["connections"]).items():
        risen = most[name] - rest[name]
        line += f"  {name} {rest[name] / MIB:.0f} + {risen / MIB:.0f} MiB (≤ {bound / MIB:.0f})"
        all_met &= risen <= bound
    bound = MOST_TIMES_BESIDE_ANSWERS if kind == "large answer" else MOST_TIMES_IDLE
    line += f"  median {times_idle:.1f} times the idle one (≤ {bound})"
    all_met &= times_idle <= bound
    print(line + ("" if all_met else "   MISSED"))
    return all_met


async def main(options):
    """Measure, and print the table. Return whether every bound is met."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        secret = directory / "secret"
        secret.write_text("a secret of an operator")
        with StoreProcess(directory / "store") as store:
            async with running_deployment(directory / "ours", store, config=PROFILES.format(secret=secret)) as ours:
                (port,) = ours.ports
                honest = await ours.client.generate_callback_url("record", Response(b"ok"), allow_multiple_calls=True)
                asked = request(honest.url, caller=HONEST)
                await median_s(port, asked, 1)
                all_met = True
                processes = {name: ours.processes[name] for name in ("edge", "server")}
                rest = {name: resident_bytes(pid) for name, pid in processes.items()}
                for kind, flooded in (await floods(ours.client)).items():
                    if options.only and kind not in options.only:
                        continue
                    idle_s, _ = await median_s(port, asked, options.seconds)
                    async with peaks(ours, processes) as most:
                        (beside_s, statuses), answers = await asyncio.gather(
                            median_s(port, asked, options.seconds), flood(port, flooded, options, directory)
                        )
                    all_met &= report(kind, rest, most, beside_s / idle_s)
                    print(
                        f"    idle {idle_s * 1000:.1f} ms, beside {beside_s * 1000:.1f} ms", statuses, "flood", answers
                    )
                    sys.stdout.flush()
                    await asyncio.sleep(2)
                return all_met


def arguments():
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=190, metavar="N", help="of the flood (default 190)")
    parser.add_argument("--seconds", type=float, default=5, metavar="S", help="how long each flood lasts (default 5)")
    parser.add_argument("--only", nargs="+", metavar="KIND", help="kinds of flood (default all)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main(arguments())) else 1)
