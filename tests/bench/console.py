"""What live views of the console cost the server and its store: `console.py --help`.

Calls arrive at a steady rate, of callbacks of one owner, and each call changes what the views of that owner show. Each
round measures the processor time of server and store twice, in turns: without views, and with people who look at the
live views of the console, a different view each in turn. A person is a signed-in HTTP client that does what a browser
does: it keeps the stream of events open, and loads the live part of its page after each event. The people have one
token, or several: the console shares nothing between tokens. The time of the console itself is printed too, but not
compared: it is another process, which can be on another machine.

The output is the median of the rounds' ratios, with the least and the greatest. The program fails if the views cost
more than the required share.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
from bench.kit.load import open_loop
from bench.kit.programs import Subject, charged, running_deployment
from bench.kit.surroundings import surroundings
from support.store import StoreProcess
from support.system import Process

MAX_SHARE = 0.05
"""Required: how much more processor time server and store use with the views, as a share of that without."""
CALLBACKS = 64
CONNECTIONS = 32
COMPARED = ("server", "store")


class People:
    """People who look at live views of a console."""

    def __init__(self, url, tokens, views):
        self._url = url
        self._tokens = tokens
        self._views = views
        self.loads = 0
        """How often a live part was loaded."""
        self.delays = []
        """How long after an event its live part was loaded, in seconds."""

    @contextlib.asynccontextmanager
    async def looking(self, count):
        """Let this many people look until the end of the block."""
        async with contextlib.AsyncExitStack() as stack:
            visitors = [
                await stack.enter_async_context(
                    httpx.AsyncClient(base_url=self._url, headers={"Origin": self._url}, timeout=None)
                )
                for _ in range(count)
            ]
            for number, visitor in enumerate(visitors):
                answer = await visitor.post("/sign-in", data={"token": self._tokens[number % len(self._tokens)]})
                assert answer.status_code == 303, answer.text
            are_live = [asyncio.Event() for _ in visitors]
            tasks = [
                asyncio.create_task(self._look(visitor, *self._views[number % len(self._views)], are_live[number]))
                for number, visitor in enumerate(visitors)
            ]
            try:
                for is_live in are_live:
                    await is_live.wait()
                yield
            finally:
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended

    async def _look(self, visitor, page, events, is_live):
        changed = asyncio.Event()

        async def load():
            while True:
                await changed.wait()
                changed.clear()
                began = time.perf_counter()
                try:
                    answer = await visitor.get(page, headers={"HX-Request": "true"})
                except httpx.RemoteProtocolError:  # the connection was idle, and has just been closed
                    answer = await visitor.get(page, headers={"HX-Request": "true"})
                assert answer.status_code == 200, answer.text
                self.loads += 1
                self.delays.append(time.perf_counter() - began)
                is_live.set()

        assert (await visitor.get(page)).status_code == 200
        async with asyncio.TaskGroup() as tasks, visitor.stream("GET", events) as stream:
            tasks.create_task(load())
            async for line in stream.aiter_lines():
                if line.startswith("event:"):
                    changed.set()
        raise AssertionError("the stream of events has ended")


async def measure(options, directory):
    """Measure the rounds, print them, and return the ratios."""
    ratios = []
    with StoreProcess(directory / "store") as store:
        async with running_deployment(directory / "ours", store, administrators=options.tokens) as ours:
            subject = Subject("record", ours.ports[0], await ours.paths("record", CALLBACKS), ours.processes)
            console = Process(
                "callback_console", directory / "console.log", interpreter=[sys.executable],
                CALLBACK_CONSOLE_BIND="127.0.0.1:0", CALLBACK_CONSOLE_ADMIN_BIND="127.0.0.1:0",
                CALLBACK_CONSOLE_SERVER_TARGET=ours.grpc[0],
            )  # fmt: skip
            await asyncio.to_thread(console.start)
            try:
                (callback,) = (await ours.client.list_callbacks_page(page_size=1)).items
                views = [
                    ("/callbacks?owner=service", "/events"),
                    ("/waiting?owner=service", "/events"),
                    ("/dead?owner=service", "/events"),
                    (f"/callbacks/{callback.case_id}", f"/events?case={callback.case_id}"),
                ]
                people = People(f"http://{console.facts['console']}", ours.administrators, views)
                processes = {**subject.processes, "console": console.process.pid}

                async def with_people(count):
                    before = people.loads
                    async with people.looking(count):
                        load = open_loop(
                            subject, per_second=options.per_second, connections=CONNECTIONS,
                            seconds=options.seconds, directory=directory,
                        )  # fmt: skip
                        seen = await charged(processes, load)
                    used = seen["processor_us"]
                    words = ", ".join(f"{name} {us:.0f}" for name, us in used.items())
                    print(f"  {count:2} people: µs of processor a call: {words}; {people.loads - before} loads",
                          flush=True)  # fmt: skip
                    return sum(used[name] for name in COMPARED)

                for number in range(options.rounds):
                    counts = (0, options.people) if number % 2 else (options.people, 0)
                    used = {count: await with_people(count) for count in counts}
                    ratios.append(used[options.people] / used[0] - 1)
                delays = sorted(people.delays)
                print(f"a live part was loaded in {delays[len(delays) // 2] * 1000:.0f} ms (median), "
                      f"{delays[int(len(delays) * 0.99)] * 1000:.0f} ms (p99)")  # fmt: skip
            finally:
                console.stop()
    return ratios


async def main(options):
    """Measure, print the result, and return the exit code."""
    print(surroundings())
    with tempfile.TemporaryDirectory() as folder:
        ratios = await measure(options, Path(folder))
    median = statistics.median(ratios)
    print(f"{options.people} people with live views, {options.per_second:g} calls a second: server and store use "
          f"{median:+.1%} ({min(ratios):+.1%} to {max(ratios):+.1%}); required: at most {MAX_SHARE:+.0%}")  # fmt: skip
    return int(median > MAX_SHARE)


def arguments():
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=1, help="how many tokens the people have: all of administrators")
    parser.add_argument("--per-second", type=float, default=250, help="a busy hour: 900,000 calls")
    parser.add_argument("--seconds", type=float, default=60, help="duration of a measurement")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
