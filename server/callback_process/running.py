"""What `callback doctor` finds out about the process that runs, at its admin port."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from callback_process.addresses import parse_bind
from callback_process.findings import Finding
from callback_process.version import VERSION

DESCRIPTORS_SHARE: Final = 0.8
"""The share of its file descriptors above which a process is warned of."""
TIMEOUT_S: Final = 3.0
"""Time limit of the process to answer, in seconds. One without file descriptors does not."""


async def check_running(check: str, admin_bind: str) -> AsyncIterator[Finding]:
    """Check the version and the file descriptors of the process with this admin port. That none runs is no problem."""
    address = parse_bind(admin_bind)
    if not address.port:
        return
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104  # to connect, not to bind
    url = f"http://{address._replace(host=host)}/metrics"
    try:
        text = await asyncio.to_thread(_read, url)
    except TimeoutError:
        seen = f"the process at {url} does not answer in {TIMEOUT_S:g} s"
        yield Finding.problem(check, seen, "look at its log; if it lacks file descriptors, allow more and restart it")
        return
    except OSError:
        yield Finding.ok(check, f"none answers at {url}")
        return
    samples = {each.name: each for family in text_string_to_metric_families(text) for each in family.samples}
    try:
        runs = samples["callback_build_info"].labels["version"]
        used, most = (int(samples[f"process_{name}_fds"].value) for name in ("open", "max"))
    except KeyError:
        yield Finding.ok(check, f"what answers at {url} is not this release of Callback")
        return
    seen = f"it runs version {runs} and uses {used} of its {most} file descriptors"
    if used > DESCRIPTORS_SHARE * most:
        yield Finding.warning(check, seen, "allow more open files, or lower the limit of connections")
    elif runs != VERSION:
        yield Finding.warning(check, f"{seen}; version {VERSION} is installed", "restart it")
    else:
        yield Finding.ok(check, seen)


def _read(url: str) -> str:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=TIMEOUT_S) as answer:
            text: str = answer.read().decode()
            return text
    except urllib.error.URLError as error:
        raise error.reason if isinstance(error.reason, OSError) else error from None
