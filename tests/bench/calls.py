"""Call benchmark against baselines: a hello world, a hand-written chain, a bare gRPC echo. `calls.py --help`.

Every ratio is from one run: a round measures the baseline and Callback alternately on the same machine.
Callback has every feature on: access control, limits, recording, metrics, logs at info into a file. All stores are
durable (`appendfsync always`). The output is the median, the least and the greatest of the rounds' ratios. All results,
with the machine and the versions, go into a file, with plots beside it.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.kit import measures
from bench.kit.plots import plots
from bench.kit.stage import Stage
from bench.kit.surroundings import surroundings


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    measure: object
    what: str
    required: float | None = None
    """Requirement for the value; None if the row is only informative."""
    target: float | None = None
    lower_is_better: bool = False


TABLE = {
    "full-path": Row(measures.calls, "recorded call ÷ hello world, 32 connections", 0.60, 0.90),
    "chain": Row(measures.calls, "recorded call ÷ hand-written chain, 32 connections", 1.5, 2.0),
    "latency": Row(measures.calls, "its median latency ÷ the chain's, 1 connection", 1.1, 0.9, lower_is_better=True),
    "push": Row(measures.calls, "push handler ÷ hello world, 32 connections", 0.30, 0.45),
    "pull": Row(measures.calls, "worker ÷ push handler, 32 connections", 0.7, 1.0),
    "generate": Row(measures.generate, "GenerateCallbackUrl ÷ bare echo, 64 in flight", 0.5, 0.7),
    "generate-batch": Row(measures.generate, "URLs of GenerateCallbackUrls ÷ bare echo, 4 of 100 in flight"),
    "life": Row(measures.life, "lifecycle of a single-use callback ÷ bare echo, 64 in flight", 0.25, 0.4),
    "repeat-time": Row(measures.repeats, "processor time of that lifecycle, with a repeat window ÷ without"),
    "repeat-memory": Row(measures.repeats, "bytes of the store for it, with a repeat window ÷ without"),
    "many-cases": Row(measures.cases, "recorded call with the most open cases ÷ with 1,000", 0.9, 1.0),
    "memory": Row(measures.cases, "bytes of the store for an open case", 900, 600, lower_is_better=True),
    "overload": Row(measures.rates, "goodput when called at three times the peak ÷ peak", 0.8, 0.95),
    "tail": Row(measures.rates, "p99 ÷ median at half of the peak, open loop", 8, 4, lower_is_better=True),
    "replicas": Row(measures.replicas, "2 edges and 2 servers ÷ one of each, 32 connections"),
    "replicated": Row(measures.replicated, "recorded calls with replicated:1 ÷ with always, 32 at once in turn"),
    "replicated-latency": Row(
        measures.replicated,
        "their latency with replicated:1 ÷ with always, one call in turn",
        lower_is_better=True,
    ),
    "traces": Row(
        measures.traces,
        "processor time with traces sampled at 1 % ÷ without, 32 connections",
        1.05,
        1.02,
        lower_is_better=True,
    ),
    "connections": Row(measures.connections, "recorded call ÷ hello world, 128 connections"),
}

RIVALS = {
    "webhook": Row(measures.others, "recorded call ÷ adnanh/webhook, 32 connections"),
    "restate": Row(measures.others, "push handler ÷ Restate with a handler of its SDK, 32 connections"),
    "restate-push-node": Row(measures.others, "processor time with a push handler in Node ÷ Restate with the same"),
    "restate-pull-node": Row(measures.others, "processor time with a worker in Node ÷ Restate with the same handler"),
}
LANGUAGES = {
    "worker-go": Row(measures.others, "processor time of a worker in Go ÷ the same in Python"),
    "worker-node": Row(measures.others, "processor time of a worker in Node ÷ the same in Python"),
}
ALL = TABLE | RIVALS | LANGUAGES


async def measure(rows, options, keep):
    """Measure the values of these rows, and pass them by name to `keep` as they arrive, with all raw results."""
    with tempfile.TemporaryDirectory() as folder:
        async with contextlib.AsyncExitStack() as stack:
            stage = Stage(
                Path(folder), stack, rounds=options.rounds, seconds=options.seconds, case_counts=options.cases
            )
            for once in dict.fromkeys(row.measure for row in rows.values()):
                keep(*await once(stage, [name for name in rows if rows[name].measure is once]))


def runs_of(path):
    """Return the runs in a file, or exit with a message if its format is not the current one."""
    runs = json.loads(path.read_text())
    if not isinstance(runs, list):
        sys.exit(f"{path} is in an older format, with a single run. Measure again what you want to compare")
    return runs


def merged(runs, part):
    """Merge a part of the results of several runs, by name. The last result of a repeated measurement counts."""
    return {name: each for run in runs for name, each in run[part].items()}


def table(values, earlier):
    """Print the table, and return whether every requirement is met."""
    all_met = True
    for name, row in ALL.items():
        if name not in values:
            continue
        if not (each := values[name]):
            print(f"{row.what:64} could not be measured here: see above")
            continue
        median = statistics.median(each)
        line = f"{row.what:64} {median:7.2f} ({min(each):.2f} to {max(each):.2f})"
        if earlier.get(name):
            before = statistics.median(earlier[name])
            line += f"   was {before:.2f}: {median / before - 1:+.0%}"
        if row.required is not None:
            sign, is_met = ("≤", median <= row.required) if row.lower_is_better else ("≥", median >= row.required)
            line += f"   {sign} {row.required:.2f}, target {row.target:.2f}{'' if is_met else '   MISSED'}"
            all_met = all_met and is_met
        print(line)
    return all_met


def main(options):
    """Measure, print and write the results. Return the exit code: 1 if a requirement is not met."""
    runs = runs_of(options.resume) if options.resume and options.resume.exists() else []
    earlier = runs_of(options.compare) if options.compare else []
    names = options.only or [*TABLE, *(RIVALS if options.rivals else ()), *(LANGUAGES if options.languages else ())]
    if not options.only:
        names = [name for name in names if name not in merged(runs, "values")]
    rows = {name: row for name, row in ALL.items() if name in names}
    found = surroundings()
    print(", ".join(f"{name} {version}" for name, version in found["versions"].items()))
    print(", ".join(f"{name} {fact}" for name, fact in found["machine"].items()))
    for path, before in ((options.resume, runs), (options.compare, earlier)):
        for kind in ("versions", "machine") if before else ():
            for name, each in found[kind].items():
                if (was := before[-1][kind].get(name)) != each:
                    print(f"  in {path}, {name} was {was}")
    found |= {"rounds": options.rounds, "seconds": options.seconds, "values": {}, "seen": {}}
    runs.append(found)
    options.into.mkdir(parents=True, exist_ok=True)
    file = options.resume or options.into / f"calls-{found['began']}.json"

    def keep(values, seen):
        found["values"] |= values
        found["seen"] |= seen
        file.write_text(json.dumps(runs, indent=1))

    asyncio.run(measure(rows, options, keep))
    all_met = table(merged(runs, "values"), merged(earlier, "values"))
    drawn = plots(merged(runs, "seen"), file.with_suffix(""))
    print("all results:", *(str(path) for path in (file, *drawn)))
    return 0 if all_met else 1


def arguments():
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how often each is measured (default 5)")
    parser.add_argument("--seconds", type=int, default=5, metavar="S", help="how long a measurement takes (default 5)")
    parser.add_argument(
        "--cases", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], metavar="N",
        help="with how many open cases to measure calls, in rising order (default 10000 100000 1000000)",
    )  # fmt: skip
    parser.add_argument(
        "--resume", type=Path, metavar="FILE",
        help="keep to one file over several runs: measure what it lacks, or --only, and add that",
    )  # fmt: skip
    parser.add_argument("--compare", type=Path, metavar="FILE", help="say what has changed since that run")
    parser.add_argument(
        "--into", type=Path, default=Path("bench-results"), metavar="DIR", help="where to write (default bench-results)"
    )
    parser.add_argument("--rivals", action="store_true", help="with rows for other programs that answer such calls")
    parser.add_argument("--languages", action="store_true", help="with rows for workers in other languages")
    parser.add_argument("--only", action="append", choices=[*ALL], help="only this row of the table; repeatable")
    return parser.parse_args()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # exit in the normal way, so that started processes are ended
    sys.exit(main(arguments()))
