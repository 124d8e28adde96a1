"""The measurements. Each returns the ratios of its table rows, by name and one per round, and the raw results."""

import asyncio
import contextlib
import itertools
import random
import statistics
import time
import uuid

import redis.asyncio
from bench.kit.connection import Connection, get
from bench.kit.in_flight import GENERATE
from bench.kit.load import h2load, in_flight, open_loop, overload, wrk
from bench.kit.loading import load
from bench.kit.programs import NotInstalledError, Subject, charged, resident_bytes, running_deployment
from bench.kit.stage import CASES, PULL, PULL_GO, PULL_NODE, PUSH, PUSH_NODE, quotients
from google.rpc.http_pb2 import HttpRequest
from support.otlp import exporting_to, otlp_receiver
from support.replicas import running_stores
from support.store import StoreProcess
from support.wait import wait_until

from callback.v1.callbacks_service_pb2 import GenerateCallbackUrlsRequest
from callback_server.domain.case import CallMode, NewCase, Settings
from callback_server.domain.ids import case_id_of, state_hash
from callback_server.domain.response import Response, ResponseType

CONNECTIONS = (1, 2, 4, 8, 16, 32, 64, 128)
FEW = 1_000
"""Small number of open cases, and the number of cases that are called when there are many."""
MEMORY_CASES = 100_000
"""Number of cases for the memory of one case, if no other number is measured."""
SOME_CONNECTIONS, MANY_CONNECTIONS = 256, 2_000
"""Maximum number of caller connections in an open loop: at a load that is served in time, and in overload."""
CONTENT = Response(type=ResponseType.RESPONSE, code=200, body=bytes(range(200)))
BURST = 32
"""Number of calls at once to a deployment."""
IN_FLIGHT = 64
"""Number of gRPC calls, or lives of cases, in flight."""
BATCH, BATCHES_IN_FLIGHT = 100, 4
"""Number of requests in a batch, and of batches in flight: one for each connection of h2load."""
REPEAT_WINDOW_S = 86_400

COMPARED = {
    "full-path": ("record", "hello", "per_second", 32),
    "chain": ("record", "chain", "per_second", 32),
    "push": (PUSH, "hello", "per_second", 32),
    "pull": (PULL, PUSH, "per_second", 32),
    "webhook": ("record", "webhook", "per_second", 32),
    "restate": (PUSH, "restate", "per_second", 32),
    "latency": ("record", "chain", "p50_us", 1),
    "worker-go": (PULL_GO, PULL, "worker_us", 32),
    "worker-node": (PULL_NODE, PULL, "worker_us", 32),
    "restate-push-node": (PUSH_NODE, "restate", "all_us", 32),
    "restate-pull-node": (PULL_NODE, "restate", "all_us", 32),
}
"""By row: the subject, the subject to compare it with, the compared metric, and the number of connections."""


async def calls(stage, rows):
    """Measure whole calls and the baselines, those with the same number of connections in the same rounds."""
    values, seen = {}, {}
    compared = {row: COMPARED[row] for row in rows}
    for connections in sorted({each[-1] for each in compared.values()}, reverse=True):
        alike = {row: each for row, each in compared.items() if each[-1] == connections}
        names = dict.fromkeys(name for ours, baseline, *_ in alike.values() for name in (baseline, ours))
        rounds = await stage.measure_in_rounds(
            {name: _measurement(stage, await stage.subject(name), connections) for name in names}
        )
        values |= {row: quotients(rounds[a], rounds[b], metric) for row, (a, b, metric, _) in alike.items()}
        seen[str(connections)] = rounds
    return values, {"calls": seen}


async def others(stage, rows):
    """Measure whole calls and programs that need more than this repository, one row after the other.

    A row has no values if one of its programs cannot be installed.
    """
    values, seen = {}, {}
    for row in rows:
        try:
            for name in COMPARED[row][:2]:
                await stage.subject(name)
        except NotInstalledError as error:
            print(f"  {row}: {error}", flush=True)
            values[row], seen[row] = [], str(error)
            continue
        found, rounds = await calls(stage, [row])
        values |= found
        seen[row] = rounds["calls"]
    return values, {"others": seen}


async def connections(stage, _rows):
    """Measure calls and baselines over an increasing number of connections. The value is that of the largest number."""
    seen = {}
    for count in CONNECTIONS:
        seen[str(count)] = rounds = await stage.measure_in_rounds(
            {name: _measurement(stage, await stage.subject(name), count) for name in ("hello", "chain", "record")}
        )
    return {"connections": quotients(rounds["record"], rounds["hello"])}, {"connections": seen}


def _measurement(stage, subject, connections):
    async def measure(seconds):
        load = wrk(subject, connections=connections, seconds=seconds, directory=stage.directory)
        return await charged(subject.processes, load)

    return measure


async def generate(stage, rows):
    """Measure the generation of cases, alone and in batches, and the echo of a message of the size of a single request.

    Rates and processor times are those of a case.
    """
    ours = await stage.deployment()
    echo, port = await stage.echo()
    alike = HttpRequest(body=GENERATE.SerializeToString())
    batch = GenerateCallbackUrlsRequest(requests=[GENERATE] * BATCH)

    async def measure_echo(seconds):
        load = h2load(
            f"127.0.0.1:{port}", "/echo.Echo/Echo", alike,
            in_flight=IN_FLIGHT, seconds=seconds, directory=stage.directory,
        )  # fmt: skip
        return await charged({"echo": echo}, load)

    def measure_ours(method, message, *, cases, in_flight):
        async def load(seconds):
            seen = await h2load(
                ours.grpc[0], f"/callback.v1.CallbacksService/{method}", message, token=ours.tokens["service"],
                in_flight=in_flight, seconds=seconds, directory=stage.directory,
            )  # fmt: skip
            return {name: cases * each for name, each in seen.items()}

        async def measure(seconds):
            made, refused = "callback_request_seconds_count", "callback_refused_total"
            before = await ours.metric(made, method=method), await ours.metric(refused, method=method)
            seen = await charged(ours.processes, load(seconds))
            assert cases * (await ours.metric(made, method=method) - before[0]) >= seen["requests"]
            assert await ours.metric(refused, method=method) == before[1]
            return seen

        return measure

    measurements = {
        "generate": measure_ours("GenerateCallbackUrl", GENERATE, cases=1, in_flight=IN_FLIGHT),
        "generate-batch": measure_ours("GenerateCallbackUrls", batch, cases=BATCH, in_flight=BATCHES_IN_FLIGHT),
    }
    rounds = await stage.measure_in_rounds({"echo": measure_echo} | {name: measurements[name] for name in rows})
    return {name: quotients(rounds[name], rounds["echo"]) for name in rows}, {"generate": rounds}


async def life(stage, _rows):
    """Measure whole lives of cases for one call, and the echo, both with the same driver."""
    ours = await stage.deployment()
    echo, port = await stage.echo()
    options = f"--token={ours.tokens['service']}", f"--edge-port={ours.ports[0]}"

    async def measure_echo(seconds):
        load = in_flight("echo", f"127.0.0.1:{port}", in_flight=IN_FLIGHT, seconds=seconds)
        return await charged({"echo": echo}, load)

    async def measure_ours(seconds):
        load = in_flight("life", ours.grpc[0], *options, in_flight=IN_FLIGHT, seconds=seconds)
        return await charged(ours.processes, load)

    rounds = await stage.measure_in_rounds({"echo": measure_echo, "life": measure_ours})
    return {"life": quotients(rounds["life"], rounds["echo"])}, {"life": rounds}


async def repeats(stage, rows):
    """Measure whole lives of cases with a repeat window, and without one: their processor time and their memory.

    Each has a deployment and a store of its own. Its window is longer than the run, so the answers for repeats stay.
    """
    measurements = {}
    for name, window_s in (("no repeat window", 0), ("repeat window", REPEAT_WINDOW_S)):
        directory = stage.directory / name.replace(" ", "-")
        store = stage.stack.enter_context(StoreProcess(directory.with_suffix(".store")))
        ours = await stage.stack.enter_async_context(running_deployment(directory, store))
        measurements[name] = _life_measurement(ours, window_s)
    rounds = await stage.measure_in_rounds(measurements)
    off, on = rounds.values()
    for each in (*off, *on):
        each["all_processor_us"] = sum(each["processor_us"].values())
    values = {
        "repeat-time": quotients(on, off, "all_processor_us"),
        "repeat-memory": quotients(on, off, "bytes_each"),
    }
    return {row: values[row] for row in rows}, {"repeats": rounds}


def _life_measurement(ours, window_s):
    options = f"--token={ours.tokens['service']}", f"--edge-port={ours.ports[0]}", f"--repeat-window-s={window_s}"

    async def measure(seconds):
        before = await _memory(ours.store)
        load = in_flight("life", ours.grpc[0], *options, in_flight=IN_FLIGHT, seconds=seconds)
        seen = await charged(ours.processes, load)
        return {**seen, "bytes_each": (await _memory(ours.store) - before) / seen["requests"]}

    return measure


async def cases(stage, rows):
    """Measure the cost of open cases: their memory, and the slowdown of calls.

    One store has few cases, the other an increasing number. The values are those of the largest number. Stores are
    restarted before calls are measured, to exclude the memory that loading left behind.
    """
    values, seen = {}, {}
    few, many = (stage.stack.enter_context(StoreProcess(stage.directory / f"{name}-store")) for name in ("few", "many"))
    await load(few, range(FEW), open_case)
    loaded = grown = 0
    for count in stage.case_counts if "many-cases" in rows else (MEMORY_CASES,):
        before = await _memory(many)
        began = time.monotonic()
        await load(many, range(loaded, count), open_case)
        took = time.monotonic() - began
        grown += await _memory(many) - before
        loaded = count
        seen[str(count)] = {"bytes_each": grown / count}
        print(f"  {count:,} open cases of {grown / count:.0f} bytes, loaded in {took:.0f} s", flush=True)
        values["memory"] = [grown / count]
        if "many-cases" in rows:
            numbers = {"few": range(FEW), "many": range(0, count, count // FEW)}
            async with contextlib.AsyncExitStack() as stack:
                measurements = {}
                for (name, called), store in zip(numbers.items(), (few, many), strict=True):
                    store.stop()
                    store.start()
                    directory = stage.directory / f"{name}-beside-{count}"
                    deployment = await stack.enter_async_context(running_deployment(directory, store))
                    measurements[name] = _called_measurement(stage, deployment, called)
                rounds = await stage.measure_in_rounds(measurements)
            seen[str(count)] |= rounds
            values["many-cases"] = quotients(rounds["many"], rounds["few"])
    return {row: each for row, each in values.items() if row in rows}, {"cases": seen}


async def _memory(store):
    async with redis.asyncio.Redis(port=store.port) as client:
        return (await client.info("memory"))["used_memory"]


def _called_measurement(stage, deployment, numbers):
    paths = [f"/cb/{state(number)}" for number in numbers]
    subject = Subject(deployment.directory.name, deployment.ports[0], paths, deployment.processes)
    return _measurement(stage, subject, 32)


def state(number):
    """Return the state of one of the loaded cases."""
    return str(uuid.UUID(int=random.Random(number).getrandbits(128), version=4))


def open_case(number):
    """Return one of the loaded cases: 200 bytes of content, no labels, any number of calls allowed."""
    sha = state_hash(state(number))
    return NewCase(
        id=case_id_of(sha), state_sha256=sha, fingerprint=sha, owner="service", activity="record",
        mode=CallMode.MULTIPLE, state_query_parameter="", time_to_live_ms=None, settings=Settings(), response=CONTENT,
    )  # fmt: skip


async def traces(stage, _rows):
    """Measure the processor time of recorded calls whose traces are sampled at 1 %, and of others without traces.

    Each has a deployment and a store of its own. The receiver of the spans is a part of the benchmark.
    """
    receiver = await stage.stack.enter_async_context(otlp_receiver())
    sampled = exporting_to(receiver, OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0.01")
    measurements = {}
    for name, config, environment in (
        ("not traced", "", {}),
        ("traced at 1 %", "server.tracing = true\nedge.tracing = true\n", sampled),
    ):
        directory = stage.directory / name.replace(" ", "-").replace("-%", "")
        store = stage.stack.enter_context(StoreProcess(directory.with_suffix(".store")))
        ours = await stage.stack.enter_async_context(
            running_deployment(directory, store, config=config, environment=environment)
        )
        measurements[name] = _fleet_measurement(stage, ours, await ours.paths("record", CASES))
    rounds = await stage.measure_in_rounds(measurements)
    assert receiver.spans(service="callback-edge")
    off, on = rounds.values()
    return {"traces": quotients(on, off, "all_us")}, {"traces": rounds}


async def rates(stage, rows):
    """Measure calls that arrive faster than they can be served, and calls at half of the peak rate.

    The peak is that of a closed loop in the same round.
    """
    subject, ours = await stage.subject("record"), await stage.deployment()
    peak = 0

    async def closed(seconds):
        nonlocal peak
        load = wrk(subject, connections=32, seconds=seconds, directory=stage.directory)
        seen = await charged(subject.processes, load)
        peak = seen["per_second"]
        return seen

    def opened(load, times, connections):
        async def measure(seconds):
            before = memory()
            seen = await charged(
                subject.processes,
                load(
                    subject,
                    per_second=peak * times,
                    connections=connections,
                    seconds=seconds,
                    directory=stage.directory,
                ),
            )
            after = memory()
            await wait_until(is_left, deadline_s=120, what="the edge to be done with what was asked")
            return {**seen, "times_peak": times, "resident_bytes_before": before, "resident_bytes": after}

        return measure

    async def is_left():
        return not await ours.metric("callback_edge_connections")

    def memory():
        return {name: resident_bytes(pid) for name, pid in subject.processes.items()}

    measurements = {"peak": closed}
    measurements |= {"three times the peak": opened(overload, 3, MANY_CONNECTIONS)} if "overload" in rows else {}
    measurements |= {"half of the peak": opened(open_loop, 0.5, SOME_CONNECTIONS)} if "tail" in rows else {}
    rounds = await stage.measure_in_rounds(measurements, in_order=True)
    values = {}
    if "overload" in rows:
        values["overload"] = quotients(rounds["three times the peak"], rounds["peak"])
    if "tail" in rows:
        values["tail"] = [seen["p99_us"] / seen["p50_us"] for seen in rounds["half of the peak"]]
    return values, {"rates": rounds}


async def replicas(stage, _rows):
    """Measure two servers and two edges, and one of each, on this machine."""
    measurements = {}
    for count in (1, 2):
        store = stage.stack.enter_context(StoreProcess(stage.directory / f"store-of-{count}"))
        fleet = await stage.stack.enter_async_context(
            running_deployment(stage.directory / f"fleet-of-{count}", store, servers=count, edges=count)
        )
        measurements[f"{count} + {count}"] = _fleet_measurement(stage, fleet, await fleet.paths("record", CASES))
    rounds = await stage.measure_in_rounds(measurements)
    return {"replicas": quotients(rounds["2 + 2"], rounds["1 + 1"])}, {"replicas": rounds}


async def replicated(stage, _rows):
    """Measure `store_durability = "replicated:1"` and `always`, with all of the stores on this machine."""
    targets = {}
    primary, replica = stage.stack.enter_context(running_stores(stage.directory, 2))
    alone = stage.stack.enter_context(StoreProcess(stage.directory / "store-alone"))
    await replica.follow(str(primary.address))
    for durability, store in (("always", alone), ("replicated:1", primary)):
        config = f'[server]\nstore_durability = "{durability}"\n'
        folder = stage.directory / f"fleet-{durability.partition(':')[0]}"
        fleet = await stage.stack.enter_async_context(running_deployment(folder, store, config=config))
        targets[durability] = fleet.ports[0], [get(path) for path in await fleet.paths("record", CASES)]
    bursts = [await _durations_in_turns(targets, stage.seconds, BURST) for _ in range(stage.rounds)]
    single = [await _durations_in_turns(targets, stage.seconds, 1) for _ in range(stage.rounds)]
    values = {
        "replicated": [each["always"] / each["replicated:1"] for each in bursts],
        "replicated-latency": [each["replicated:1"] / each["always"] for each in single],
    }
    return values, {"burst_ms": bursts, "call_ms": single}


async def _durations_in_turns(targets, seconds, count):
    """Return how long a number of calls at once take at each target, as the median in milliseconds.

    They have one burst each in turn, so that other load of the machine is the same for all.
    """
    took, open_ = {name: [] for name in targets}, {name: [] for name in targets}
    end = time.monotonic() + seconds
    for number in itertools.count():
        for name, (port, requests) in targets.items():
            open_[name] = [each for each in open_[name] if each.is_open]
            while len(open_[name]) < count:
                open_[name].append(await Connection.to(port))
            began = time.perf_counter()
            statuses = await asyncio.gather(
                *(each.ask(requests[(number * count + n) % len(requests)]) for n, each in enumerate(open_[name]))
            )
            took[name].append(1000 * (time.perf_counter() - began))
            assert set(statuses) == {200}, f"{name}: {statuses}"
        if time.monotonic() > end:
            break
    for connection in itertools.chain(*open_.values()):
        connection.close()
    medians = {name: statistics.median(each) for name, each in took.items()}
    print(f"  {count} at once, in turn:", ", ".join(f"{name} {ms:.2f} ms" for name, ms in medians.items()))
    return medians


def _fleet_measurement(stage, fleet, paths):
    async def load(seconds):
        subjects = [Subject(f"edge-{port}", port, paths, {}) for port in fleet.ports]
        each = await asyncio.gather(
            *(
                wrk(each, connections=BURST // len(subjects), seconds=seconds, directory=stage.directory)
                for each in subjects
            )
        )
        return {name: sum(seen[name] for seen in each) for name in ("per_second", "requests")}

    return lambda seconds: charged(fleet.processes, load(seconds))
