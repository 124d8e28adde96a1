"""Fairness benchmark: what the calls of one owner cost another owner. `fairness.py --help`.

One owner floods a system, in each of these ways: as many small calls as it can, the same beyond a rate limit, bodies of
1 MiB, calls of a slow handler for which two owners share the workers, held calls, and 50,000 deliveries of one callback
whose activity was paused. Meanwhile another owner makes a call every 50 milliseconds. The output has its median latency
and the 99th percentile as multiples of those without the flood, beside a process that uses the processor as much as the
generator of the flood did, and how many of its calls were refused.
The exit code is 1 if a bound is exceeded.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.kit.connection import Connection
from bench.kit.loading import load_calls
from bench.kit.programs import running, running_deployment
from support.store import StoreProcess

from callback import AnswerMode, AsyncCallbackClient, Response

MOST_TIMES_ALONE = 2
"""Bound of the other owner's median latency, as a multiple of its median alone."""
PAUSE_S = 0.05
"""Time between two calls of the other owner, in seconds."""
RAMP_S = 1.5
"""How long a flood lasts before the other owner is measured, in seconds."""
BURN = """
import sys, time
share, end = float(sys.argv[1]), time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    began = time.process_time(); started = time.monotonic()
    while time.process_time() - began < share * 0.01: pass
    time.sleep(max(0, 0.01 - (time.monotonic() - started)))
"""


@dataclass(frozen=True)
class Flood:
    """What the owner does that floods."""

    connections: int
    activity: str = "record"
    body: bytes = b""
    own_body: bytes = b""
    """The body of the other owner's calls."""
    config: str = ""
    is_held: bool = False
    deliveries: int = 0
    """How many deliveries wait for their activity, in place of calls."""


FLOODS = {
    "flood": Flood(24),
    "rate-limited": Flood(24, config="[server]\nmax_calls_per_minute_per_owner = 1200\n"),
    "bodies": Flood(8, body=b"x" * (1 << 20)),
    "workers": Flood(260, activity="slow", body=b"6", own_body=b"0"),
    "held": Flood(2300, is_held=True),
    "deliveries": Flood(1, activity="slow", body=b"0", own_body=b"0", deliveries=50_000),
}


def request(url, body, caller):
    """Return the bytes of a call, as the proxy in front sends it."""
    path = urlsplit(url).path
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: {caller}\r\ncontent-length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


async def measured(port, asked, seconds):
    """Make a call now and then for some seconds.

    Return the median latency and the 99th percentile, in seconds, and how often it got each status.
    """
    latencies, statuses = [], Counter()
    connection = await Connection.to(port)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        if not connection.is_open:
            connection = await Connection.to(port)
        began = time.perf_counter()
        statuses[await connection.ask(asked)] += 1
        latencies.append(time.perf_counter() - began)
        await asyncio.sleep(PAUSE_S)
    connection.close()
    return statistics.median(latencies), statistics.quantiles(latencies, n=100)[98], dict(statuses)


async def beside(command, port, asked, seconds):
    """Measure beside a command. Return also its share of a processor, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=Path(__file__).parents[1], stdout=asyncio.subprocess.PIPE
    )
    await asyncio.sleep(RAMP_S)
    clock = ~process.pid << 3 | 2
    used, began = time.clock_gettime(clock), time.monotonic()
    found = await measured(port, asked, seconds)
    share = (time.clock_gettime(clock) - used) / (time.monotonic() - began)
    said, _ = await process.communicate()
    return found, share, said.decode()


async def flood_files(flood, client, store, directory):
    """Write the requests of the flood to files, each for 100 connections: a callback holds no more calls."""
    mode = AnswerMode.HOLD if flood.is_held else AnswerMode.ACK if flood.deliveries else AnswerMode.HANDLER
    files = []
    for number in range(-(-flood.connections // 100)):
        made = await client.generate_callback_url(
            flood.activity if not flood.is_held else "held",
            Response(b"ok"), allow_multiple_calls=True, answer_mode=mode,
        )  # fmt: skip
        file = directory / f"request-{number}"
        file.write_bytes(request(made.url, flood.body, f"203.0.{number}.7"))
        if flood.deliveries:
            await load_calls(store, urlsplit(made.url).path.rpartition("/")[2], flood.deliveries, flood.body)
        files.append(file)
    return files


async def run(name, options, directory):
    """Measure beside one flood, then alone. Print a line, and return whether its bounds are met."""
    flood = FLOODS[name]
    with StoreProcess(directory / f"{name}-store") as store:
        async with contextlib.AsyncExitStack() as stack:
            ours = await stack.enter_async_context(
                running_deployment(directory / name, store, administrators=1, config=flood.config)
            )
            other = await stack.enter_async_context(AsyncCallbackClient(ours.target, token=ours.administrators[0]))
            (port,) = ours.ports
            if flood.activity == "slow":
                token = directory / "worker.token"
                token.write_text(ours.tokens["worker"])
                await stack.enter_async_context(running("kit/slow.py", ours.grpc[0], token, directory=directory))
            if flood.deliveries:
                await other.pause_activity(flood.activity)
            files = await flood_files(flood, ours.client, store, directory)
            made = await other.generate_callback_url(
                flood.activity, Response(b"ok"), allow_multiple_calls=True, repeat_window=None
            )
            asked = request(made.url, flood.own_body, "198.51.100.1")
            await measured(port, asked, 1)
            each = -(-flood.connections // len(files))
            lasts = options.seconds + RAMP_S + 1
            command = ["-m", "bench.kit.flood", port, ",".join(map(str, files)), each * len(files), lasts]
            if flood.deliveries:
                command = ["-c", "import sys, time; time.sleep(float(sys.argv[1]))", lasts]
                await other.resume_activity(flood.activity)
            (median_s, p99_s, statuses), share, said = await beside([*map(str, command)], port, asked, options.seconds)
            if flood.deliveries:
                ended = await ours.metric("callback_deliveries_total", activity=flood.activity)
                said = f"{ended:.0f} deliveries"
            await asyncio.sleep(7)  # the last calls of the slow handler
            left = await ours.metric("callback_calls_in_flight")
            if flood.deliveries:
                await other.pause_activity(flood.activity)
                await asyncio.sleep(1)
            burn = ["-c", BURN, str(share), str(lasts)]
            (alone_s, alone_p99_s, _), _, _ = await beside(burn, port, asked, options.seconds)
    refused = sum(count for status, count in statuses.items() if status != 200)
    times = median_s / alone_s
    is_met = times <= MOST_TIMES_ALONE and not refused
    print(
        f"{name:13} {times:6.1f} times alone ({median_s * 1000:.1f} ms ÷ {alone_s * 1000:.1f} ms), "
        f"p99 {p99_s / alone_p99_s:.1f} times ({p99_s * 1000:.1f} ms ÷ {alone_p99_s * 1000:.1f} ms), "
        f"{refused} of {sum(statuses.values())} refused, the flood got {said.strip()}, its generator used "
        f"{share:.0%} of a processor, {left:.0f} calls in flight after it, load {os.getloadavg()[0]:.1f}"
        f"{'' if is_met else '   MISSED'}",
        flush=True,
    )
    return is_met


async def main(options):
    """Measure all floods. Return whether every bound is met."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each connection is a file
    with tempfile.TemporaryDirectory() as folder:
        return all([await run(name, options, Path(folder)) for name in options.only or FLOODS])


def arguments():
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, metavar="S", help="how long each flood lasts (default 5)")
    parser.add_argument("--only", nargs="+", choices=[*FLOODS], help="only these floods")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main(arguments())) else 1)
