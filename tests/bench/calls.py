"""What a call costs beside the floors: hello world, a hand-written chain, a bare gRPC echo. `calls.py --help`.

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

from bench.kit import programs
from bench.kit.closed_loop import wrk

CASES = 64
"""How many cases are called in turn, where it is not their number that matters."""
WARM_UP_S = 2


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure of ours divided by the same figure of a floor."""

    name: str
    what: str
    ours: str
    floor: str
    figure: str
    connections: int
    required: float
    aim: float

    @property
    def lower_is_better(self):
        """Whether it is a cost, or a rate."""
        return self.figure != "per_second"


ROWS = (
    Row("full-path", "recorded call ÷ hello world", "record", "hello", "per_second", 32, 0.60, 0.90),
    Row("chain", "recorded call ÷ hand-written chain", "record", "chain", "per_second", 32, 1.5, 2.0),
    Row("latency", "median latency ÷ hand-written chain", "record", "chain", "p50_us", 1, 1.1, 0.9),
)


class Stage:
    """What runs, each subject from when it is first asked for until the end."""

    def __init__(self, directory, stack):
        self.directory = directory
        self._stack = stack
        self._subjects = {}
        self._deployment = None

    async def subject(self, name):
        """The subject of that name, running."""
        if name not in self._subjects:
            floor = {"hello": programs.hello, "chain": programs.chain}.get(name)
            if floor:
                self._subjects[name] = await self._stack.enter_async_context(floor(self.directory))
            else:
                ours = await self.deployment()
                paths = await ours.paths(name, CASES)
                self._subjects[name] = programs.Subject(name, ours.ports[0], paths, ours.processes)
        return self._subjects[name]

    async def deployment(self):
        """Ours, running."""
        if self._deployment is None:
            store = self._stack.enter_context(programs.running_store(self.directory / "store"))
            self._deployment = await self._stack.enter_async_context(
                programs.running_deployment(self.directory / "ours", store)
            )
        return self._deployment


async def take_turns(stage, names, connections, options):
    """Calls the subjects in turn, in rounds. Returns what was seen, for each subject in each round."""
    subjects = [await stage.subject(name) for name in names]
    rounds = {name: [] for name in names}
    for number in range(options.rounds + 1):  # the first is to warm up
        for subject in subjects if number % 2 else reversed(subjects):
            seconds = options.seconds if number else WARM_UP_S
            seen = await wrk(subject, connections=connections, seconds=seconds, directory=stage.directory)
            if number:
                rounds[subject.name].append(seen)
                cost = ", ".join(f"{name} {us:.0f}" for name, us in seen["processor_us"].items())
                print(
                    f"  {connections:3} connections, {subject.name:7} {seen['per_second']:7.0f} requests/s,"
                    f" median {seen['p50_us'] / 1000:6.2f} ms, p99 {seen['p99_us'] / 1000:6.2f} ms;"
                    f" µs of processor time each: {cost}",
                    flush=True,
                )
    return rounds


def ratios(row, rounds):
    """The ratios of a row, one a round."""
    return [
        ours[row.figure] / floor[row.figure] for ours, floor in zip(rounds[row.ours], rounds[row.floor], strict=True)
    ]


async def main(options):
    """Measures and prints."""
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    table = []
    with tempfile.TemporaryDirectory() as folder:
        async with contextlib.AsyncExitStack() as stack:
            stage = Stage(Path(folder), stack)
            for connections in sorted({row.connections for row in rows}, reverse=True):
                alike = [row for row in rows if row.connections == connections]
                names = list(dict.fromkeys(name for row in alike for name in (row.floor, row.ours)))
                rounds = await take_turns(stage, names, connections, options)
                table += [(row, ratios(row, rounds)) for row in alike]
    for row, found in table:
        sign = "≤" if row.lower_is_better else "≥"
        print(
            f"{row.what + f', {row.connections} connections':60} {statistics.median(found):5.2f}"
            f" ({min(found):.2f} to {max(found):.2f})   {sign} {row.required:.2f}, aim {row.aim:.2f}"
        )


def arguments():
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how often each takes its turn (default 5)")
    parser.add_argument("--seconds", type=int, default=5, metavar="S", help="how long a turn takes (default 5)")
    parser.add_argument("--only", action="append", choices=[row.name for row in ROWS], help="only this row; repeatable")
    return parser.parse_args()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and end what was started
    asyncio.run(main(arguments()))
