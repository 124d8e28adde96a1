"""The load generators. All except the open loop send the next request when the last one is answered.

Two are written in C: on a small machine, a Python load generator takes more processor time than the program it
measures.
"""

import asyncio
import json
import re
import resource
import shutil
import sys
from pathlib import Path

_PATIENCE_S = 30
"""Maximum time of an answer, in seconds. It is long because a slow answer is measured, not counted as a failure."""
_WARM_UP_S = 3
"""Duration of an overload before it counts, in seconds: until queues have reached their stable length."""
_TESTS = Path(__file__).parents[2]
_SCRIPT = Path(__file__).with_name("wrk.lua")


async def wrk(subject, *, connections, seconds, directory):
    """Call the paths of a subject one after another over this many connections, and return the results."""
    said = await _run(
        "wrk", "--threads=1", f"--connections={connections}", f"--duration={seconds}s", f"--timeout={_PATIENCE_S}s",
        f"--script={_SCRIPT}", f"http://127.0.0.1:{subject.port}", "--", _paths(subject, directory),
    )  # fmt: skip
    seen = json.loads(said.splitlines()[-1])
    if seen["failed"] or not seen["requests"]:
        sys.exit(f"{subject.name}: {seen['failed']} of {seen['requests']} requests failed")
    return {"per_second": seen["requests"] / seen["seconds"], **seen}


async def overload(subject, *, per_second, connections, seconds, directory):
    """Call the paths of a subject at this rate, answered or not: see `overload.lua`."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each connection is a file
    said = await _run(
        "wrk", "--threads=1", f"--connections={connections}", f"--duration={seconds + _WARM_UP_S}s",
        f"--timeout={_PATIENCE_S}s", f"--script={_SCRIPT.with_name('overload.lua')}",
        f"http://127.0.0.1:{subject.port}", "--", _paths(subject, directory), str(per_second), str(_WARM_UP_S),
    )  # fmt: skip
    seen = json.loads(said.splitlines()[-1])
    counted = seen.pop("seconds")
    return {
        **seen,
        "per_second": seen["answered"].get("200", 0) / counted,
        "due_per_second": per_second,
        "sent_per_second": seen.pop("sent") / counted,
        "seconds": counted,
    }


async def h2load(address, method, message, *, token="", in_flight, seconds, directory):
    """Call a unary method of a gRPC server repeatedly with the same message, and return the results.

    h2load ignores the gRPC status, so the caller must check that the calls succeeded.
    """
    frame = directory / "frame"
    body = message.SerializeToString()
    frame.write_bytes(b"\0" + len(body).to_bytes(4, "big") + body)
    authorization = [f"--header=authorization: Bearer {token}"] if token else []
    said = await _run(
        "h2load", "--clients=4", f"--max-concurrent-streams={in_flight // 4}", f"--duration={seconds}",
        "--header=content-type: application/grpc", "--header=te: trailers", *authorization, f"--data={frame}",
        f"http://{address}{method}",
    )  # fmt: skip
    per_second = re.search(r"finished in [\d.]+m?s, ([\d.]+) req/s", said)
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", said)
    succeeded, *others = map(int, counts.groups())
    if any(others) or not succeeded:
        sys.exit(f"{method}: h2load says: {said}")
    return {"per_second": float(per_second[1]), "requests": succeeded}


async def in_flight(what, target, *options, in_flight, seconds):
    """Generate load with Callback's own driver, for steps that need the previous answer: see `in_flight.py`."""
    return await _driver("in_flight", what, target, f"--seconds={seconds}", f"--in-flight={in_flight}", *options)


async def open_loop(subject, *, per_second, connections, seconds, directory):
    """Call the paths of a subject at this rate, answered or not: see `open_loop.py`."""
    return await _driver(
        "open_loop", subject.port, _paths(subject, directory), f"--per-second={per_second}",
        f"--connections={connections}", f"--seconds={seconds}",
    )  # fmt: skip


def _paths(subject, directory):
    file = directory / f"{subject.name}.paths"
    file.write_text("".join(f"{path}\n" for path in subject.paths))
    return file


async def _driver(module, *arguments):
    said = await _run(sys.executable, "-m", f"bench.kit.{module}", *map(str, arguments))
    return json.loads(said.splitlines()[-1])


async def _run(program, *arguments):
    if shutil.which(program) is None:
        sys.exit(f"{program} is not installed")
    process = await asyncio.create_subprocess_exec(
        program, *arguments, cwd=_TESTS, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    if process.returncode:
        sys.exit(f"{program} ended with {process.returncode}: {said.decode()}")
    return said.decode()
