"""What a call costs beside the floors: a hello world, a hand-written chain, a bare gRPC echo. `calls.py --help`.

Every ratio is of one run: floor and ours take turns on the same machine, in rounds, each the other way round than the
one before. Ours has everything on: access control, limits, recording, metrics, logs at info into a file; all stores
are durable (`appendfsync always`). Printed are the median of the rounds' ratios, and the least and the greatest.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.kit import measures
from bench.kit.stage import Stage


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    measure: object
    what: str
    required: float | None = None
    """What it must be; None if it is only to be known."""
    aim: float | None = None
    lower_is_better: bool = False


TABLE = {
    "full-path": Row(measures.calls, "recorded call ÷ hello world, 32 connections", 0.60, 0.90),
    "chain": Row(measures.calls, "recorded call ÷ hand-written chain, 32 connections", 1.5, 2.0),
    "latency": Row(measures.calls, "its median latency ÷ the chain's, 1 connection", 1.1, 0.9, lower_is_better=True),
    "push": Row(measures.calls, "push handler ÷ hello world, 32 connections", 0.30, 0.45),
    "pull": Row(measures.calls, "pull worker ÷ push handler, 32 connections", 0.7, 1.0),
    "generate": Row(measures.generate, "GenerateCallbackUrl ÷ bare grpc.aio echo, 64 in flight", 0.5, 0.7),
    "life": Row(measures.life, "life of a case for one call ÷ bare grpc.aio echo, 64 in flight", 0.25, 0.4),
    "many-cases": Row(measures.cases, "recorded call with the most open cases ÷ with 1,000", 0.9, 1.0),
    "memory": Row(measures.cases, "bytes of the store for an open case", 900, 600, lower_is_better=True),
    "overload": Row(measures.rates, "goodput when called at three times the peak ÷ peak", 0.8, 0.95),
    "tail": Row(measures.rates, "p99 ÷ median at half of the peak, open loop", 8, 4, lower_is_better=True),
    "replicas": Row(measures.replicas, "2 edges and 2 servers ÷ one of each, 32 connections"),
}


async def main(options):
    """Measures and prints. Returns the exit code: 1 if something is not as it must be."""
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    chosen = {name: row for name, row in TABLE.items() if not options.only or name in options.only}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        async with contextlib.AsyncExitStack() as stack:
            stage = Stage(
                Path(folder), stack, rounds=options.rounds, seconds=options.seconds, case_counts=options.cases
            )
            for measure in dict.fromkeys(row.measure for row in chosen.values()):
                values, _ = await measure(stage, [name for name, row in chosen.items() if row.measure is measure])
                found |= values
    missed = 0
    for name, values in found.items():
        row, median = TABLE[name], statistics.median(values)
        line = f"{row.what:64} {median:6.2f} ({min(values):.2f} to {max(values):.2f})"
        if row.required is not None:
            sign, is_met = ("≤", median <= row.required) if row.lower_is_better else ("≥", median >= row.required)
            line += f"   {sign} {row.required:.2f}, aim {row.aim:.2f}{'' if is_met else '   MISSED'}"
            missed += not is_met
        print(line)
    return int(missed > 0)


def arguments():
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how often each takes its turn (default 5)")
    parser.add_argument("--seconds", type=int, default=5, metavar="S", help="how long a turn takes (default 5)")
    parser.add_argument(
        "--cases", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], metavar="N",
        help="with how many open cases to measure calls, in rising order (default 10000 100000 1000000)",
    )  # fmt: skip
    parser.add_argument("--only", action="append", choices=TABLE, help="only this row of the table; repeatable")
    return parser.parse_args()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and end what was started
    sys.exit(asyncio.run(main(arguments())))
