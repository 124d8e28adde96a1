"""Cost of a page of callbacks with many cases, relative to the cost with 1,000: `list_cost.py [MANY]`.

Two stores, each with its own server, run on this machine at the same time and differ only in the number of cases. A
fifth of the cases is closed, a quarter is of activity `b`, each has two labels, and every hundredth has one of its own.
The calls alternate between the two stores. The output is the medians and their ratio, with the least and the greatest
ratio of five parts of the run. Then it times pages of the console with many cases: the RPC and the rendering. The
program fails if a page of `ListCallbacks` costs more than twice as much, or one of the console more than 300 ms.

No case has a call, so a search by the newest call looks at as many cases as one page may.
"""

import asyncio
import hashlib
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.kit.loading import load
from support.console import running_console
from support.system import System, own_store

from callback import AsyncCallbackClient, CallbackStatus
from callback_server.domain.case import CallMode, NewCase, Settings
from callback_server.domain.ids import case_id_of
from callback_server.domain.response import Response, ResponseType

FEW = 1_000
MANY = 1_000_000
PARTS = 5
ROUNDS = 40
"""Number of rounds in each part of the run."""
MAX_RATIO = 2
MAX_PAGE_MS = 300
PAGES = 30
"""How often each page of the console is requested."""
PAGE = 50
RESPONSE = Response(type=ResponseType.RESPONSE, code=200, body=b"ok")
CLOSED = CallbackStatus.CLOSED
SEARCHES = {
    # name: (search, page number, number of cases on the page)
    "owner": ({}, 1, PAGE),
    "owner, page 2": ({}, 2, PAGE),
    "status": ({"status": CLOSED}, 1, PAGE),
    "status, page 2": ({"status": CLOSED}, 2, PAGE),
    "activity": ({"activity": "b"}, 1, PAGE),
    "status and activity": ({"status": CLOSED, "activity": "b"}, 1, PAGE),
    "label": ({"labels": {"team": "t1"}}, 1, PAGE),
    "label, page 2": ({"labels": {"team": "t1"}}, 2, PAGE),
    "label of one case": ({"labels": {"order": "500"}}, 1, 1),
    "two labels": ({"labels": {"team": "t1", "shop": "s2"}}, 1, PAGE),
    "label and status": ({"labels": {"team": "t1"}, "status": CLOSED}, 1, PAGE),
}
ADDRESSES = {
    "owner": "/callbacks?owner=local",
    "status": "/callbacks?status=CLOSED",
    "activity": "/callbacks?activity=b",
    "label": "/callbacks?label=team%3Dt1",
    "label of one case": "/callbacks?label=order%3D500",
    "status, activity, label": "/callbacks?status=CLOSED&activity=b&label=shop%3Ds0",
    "time": "/callbacks?until=2100-01-01T00:00",
    "newest call": "/callbacks?last=FAILED",
    "overview": "/overview",
}
"""Pages of the console."""


def case(number):
    """Return one of the cases."""
    sha = hashlib.sha256(b"%d" % number).digest()
    labels = {"team": f"t{number % 3}", "shop": f"s{number % 4}"}
    if number % 100 == 0:
        labels["order"] = str(number)
    return NewCase(
        id=case_id_of(sha), state_sha256=sha, fingerprint=sha, owner="local",
        activity="b" if number % 4 == 0 else "acd"[number % 3], mode=CallMode.MULTIPLE, state_query_parameter="",
        time_to_live_ms=None, settings=Settings(labels=labels), response=RESPONSE,
    )  # fmt: skip


async def page_seconds(client, chosen, number, count):
    """Return the time of one page, in seconds."""
    token = ""
    for _ in range(number):
        began = time.perf_counter()
        page = await client.list_callbacks_page(page_size=PAGE, page_token=token, **chosen)
        took = time.perf_counter() - began
        token = page.next_page_token
    assert len(page.items) == count
    return took


async def compare(few, many):
    """Print the cost of a page for each search, with few and with many cases, and return the greatest ratio."""
    ratios = []
    async with AsyncCallbackClient(few.grpc) as few_client, AsyncCallbackClient(many.grpc) as many_client:
        for name, search in SEARCHES.items():
            times = {few_client: [], many_client: []}
            for _ in range(PARTS * ROUNDS):
                for client, took in times.items():
                    took.append(await page_seconds(client, *search))
            few_ms, many_ms = ([each * 1000 for each in took] for took in times.values())
            parts = [
                statistics.median(many_ms[at : at + ROUNDS]) / statistics.median(few_ms[at : at + ROUNDS])
                for at in range(0, PARTS * ROUNDS, ROUNDS)
            ]
            a, b = statistics.median(few_ms), statistics.median(many_ms)
            ratios.append(b / a)
            spread = f"{min(parts):.2f} to {max(parts):.2f}"
            print(f"{name:20} few {a:6.2f} ms   many {b:6.2f} ms   ratio {ratios[-1]:.2f} ({spread})", flush=True)
    return max(ratios)


async def time_pages(system):
    """Print how long pages of the console take, and return the greatest median in milliseconds."""
    medians = []
    async with running_console(system.grpc) as console:
        url = f"http://{console.address}"
        async with httpx.AsyncClient(base_url=url, follow_redirects=True, timeout=60) as http:
            (await http.get("/sign-in")).raise_for_status()
            for name, address in ADDRESSES.items():
                times = []
                for _ in range(PAGES):
                    began = time.perf_counter()
                    (await http.get(address)).raise_for_status()
                    times.append((time.perf_counter() - began) * 1000)
                medians.append(statistics.median(times))
                print(f"console: {name:24} {medians[-1]:6.1f} ms   at most {max(times):6.1f} ms", flush=True)
    return max(medians)


async def main(many):
    """Load the stores, measure, print, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        systems = []
        try:
            for count in (FEW, many):
                directory = Path(folder, str(count))
                directory.mkdir()  # noqa: ASYNC240  # nothing else runs yet
                store = own_store(directory).start()
                system = System(directory, store)
                system.server.interpreter = [sys.executable]
                systems.append(system)
                await asyncio.to_thread(system.server.start)
                began = time.perf_counter()
                await load(store, range(count), case, is_closed=lambda number: number % 5 == 0)
                print(f"loaded {count:,} cases in {time.perf_counter() - began:.0f} s", flush=True)
            ratio, page_ms = await compare(*systems), await time_pages(systems[-1])
            return int(ratio > MAX_RATIO or page_ms > MAX_PAGE_MS)
        finally:
            for system in systems:
                system.server.stop()
                system.store.stop()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else MANY)))
