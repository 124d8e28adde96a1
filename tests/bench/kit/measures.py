"""The measurements. Each gives the ratios of its rows of the table, by name and one a round, and what was seen."""

from bench.kit.closed_loop import h2load, in_flight, wrk
from bench.kit.in_flight import GENERATE
from bench.kit.programs import charged
from bench.kit.stage import PULL, PUSH, quotients
from google.rpc.http_pb2 import HttpRequest

IN_FLIGHT = 64
"""How many gRPC calls, or lives of cases, are on their way at a time."""

COMPARED = {
    "full-path": ("record", "hello", "per_second", 32),
    "chain": ("record", "chain", "per_second", 32),
    "push": (PUSH, "hello", "per_second", 32),
    "pull": (PULL, PUSH, "per_second", 32),
    "latency": ("record", "chain", "p50_us", 1),
}
"""Which figure of ours is divided by which floor's, and over how many connections they are called."""


async def calls(stage, rows):
    """Whole calls beside the floors, those with the same number of connections in the same rounds."""
    values, seen = {}, {}
    compared = {row: COMPARED[row] for row in rows}
    for connections in sorted({each[-1] for each in compared.values()}, reverse=True):
        alike = {row: each for row, each in compared.items() if each[-1] == connections}
        names = dict.fromkeys(name for ours, floor, *_ in alike.values() for name in (floor, ours))
        rounds = await stage.take_turns({name: await _turn(stage, name, connections) for name in names})
        values |= {row: quotients(rounds[a], rounds[b], figure) for row, (a, b, figure, _) in alike.items()}
        seen[f"{connections} connections"] = rounds
    return values, seen


async def _turn(stage, name, connections):
    subject = await stage.subject(name)

    async def turn(seconds):
        load = wrk(subject, connections=connections, seconds=seconds, directory=stage.directory)
        return await charged(subject.processes, load)

    return turn


async def generate(stage, _rows):
    """Generating cases beside the echo of a message of the same size."""
    ours = await stage.deployment()
    echo, port = await stage.echo()
    alike = HttpRequest(body=GENERATE.SerializeToString())
    method = {"method": "GenerateCallbackUrl"}

    async def echo_turn(seconds):
        load = h2load(
            f"127.0.0.1:{port}", "/echo.Echo/Echo", alike,
            in_flight=IN_FLIGHT, seconds=seconds, directory=stage.directory,
        )  # fmt: skip
        return await charged({"echo": echo}, load)

    async def our_turn(seconds):
        made, refused = "callback_request_seconds_count", "callback_refused_total"
        before = await ours.metric(made, **method), await ours.metric(refused, **method)
        load = h2load(
            ours.grpc[0], "/callback.v1.CallbackService/GenerateCallbackUrl", GENERATE, token=ours.tokens["service"],
            in_flight=IN_FLIGHT, seconds=seconds, directory=stage.directory,
        )  # fmt: skip
        seen = await charged(ours.processes, load)
        assert await ours.metric(made, **method) - before[0] >= seen["requests"]
        assert await ours.metric(refused, **method) == before[1]
        return seen

    rounds = await stage.take_turns({"echo": echo_turn, "generate": our_turn})
    return {"generate": quotients(rounds["generate"], rounds["echo"])}, {"generate": rounds}


async def life(stage, _rows):
    """Whole lives of cases for one call, beside the echo, both by the same driver."""
    ours = await stage.deployment()
    echo, port = await stage.echo()
    options = f"--token={ours.tokens['service']}", f"--edge-port={ours.ports[0]}"

    async def echo_turn(seconds):
        load = in_flight("echo", f"127.0.0.1:{port}", in_flight=IN_FLIGHT, seconds=seconds)
        return await charged({"echo": echo}, load)

    async def our_turn(seconds):
        load = in_flight("life", ours.grpc[0], *options, in_flight=IN_FLIGHT, seconds=seconds)
        return await charged(ours.processes, load)

    rounds = await stage.take_turns({"echo": echo_turn, "life": our_turn})
    return {"life": quotients(rounds["life"], rounds["echo"])}, {"life": rounds}
