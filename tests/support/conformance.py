"""Runs of the conformance scenarios, for the workers and clients of every language."""

import asyncio
import os

from support.fork_server import start

from callback_conform.main import run_scenarios
from callback_conform.program import Process

LONG = (
    "a call that is confirmed only after", "a worker without a Welcome", "a connection that hangs",
    "after a Welcome the pauses", "a server that is not", "a token file that cannot",
    "a file with authorities that cannot",
)  # fmt: skip
"""How the names of the scenarios begin that last for seconds by themselves."""


def launch_forked(file, log):
    """Return how to start a program of the Python package, as `launch_command` does, without its imports."""

    async def launch(variables, changes):
        reading, stdout = os.pipe()
        stdin, writing = os.pipe()
        with log.open("ab") as errors:
            program = start(
                str(file), env=os.environ | variables, stdin=stdin, stdout=stdout, stderr=errors, own_group=True,
                preloaded=["callback"],
            )  # fmt: skip
        os.close(stdin)
        os.close(stdout)
        return Process(await Forked.of(program, reading, writing), changes)

    return launch


class Forked:
    """A forked program, with what `Process` uses of a process of asyncio."""

    def __init__(self, program, stdin, stdout):
        self.pid, self.send_signal = program.pid, program.send_signal
        self.stdin, self.stdout = stdin, stdout
        self._program = program

    @classmethod
    async def of(cls, program, reading, writing):
        """Open its streams."""
        loop = asyncio.get_running_loop()
        stdout = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdout), os.fdopen(reading, "rb"))
        stdin, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(writing, "wb"))
        return cls(program, stdin, stdout)

    async def wait(self):
        code = await asyncio.to_thread(self._program.wait)
        self.stdin.close()
        return code


async def run(kind, scenarios, launch, **settings):
    """Run scenarios one after the other, and return their results."""
    return [each async for each in run_scenarios(kind, scenarios, launch, **settings)]


async def results(launch, scenarios, kind="worker"):
    """Run each long scenario, and the others in two groups, at the same time. Return the results by name."""
    short = [each for each in scenarios if not is_long(each)]
    groups = [*([each] for each in scenarios if is_long(each)), short[::2], short[1::2]]
    found = await asyncio.gather(*(run(kind, group, launch) for group in groups if group))
    by_name = {each.scenario.name: each for group in found for each in group}
    return {each.name: by_name[each.name] for each in scenarios}


async def failures(launch, scenarios, kind="worker"):
    """Run scenarios as `results` does. Return what went wrong, each with the name of its scenario."""
    found = await results(launch, scenarios, kind)
    return [(name, each.problem) for name, each in found.items() if each.problem is not None]


def is_long(scenario):
    """Return whether a scenario lasts for seconds by itself."""
    return scenario.name.startswith(LONG)
