"""Keys and certificates of a profile that the server fetches, and fetches again before they expire.

1. A URL of the settings is fetched when the server starts, and then regularly. A request causes no fetch of it, unless
   its owner asks for one (`fetch_again`), at most once in `AGAIN_S`.
2. A URL that a message names, and that the settings allow, is fetched once it was asked for: one at a time, at most one
   in `NAMED_INTERVAL_S`. A URL that could not be fetched is left alone for a minute, then for longer, up to an hour. So
   however many requests arrive, the sender's hosts get at most twelve requests a minute from a server and profile.
   Of the URLs that wait for their first fetch, each callback URL has one: a caller who knows one can name made-up
   URLs, and delays the certificates of other callbacks by a place in the queue only.
3. If a source fails, the last content stays valid for `KEEP_S` after it was fetched.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from callback_process.credentials import CredentialsError
from callback_process.logs import get_logger
from callback_server import metrics
from callback_server.verification.fetcher import Fetched, FetchError
from callback_server.verification.profile import FailureReason, VerificationError

log = get_logger()

T = TypeVar("T")

KEEP_S: Final = 24 * 3600.0
"""Time for which content stays valid while its source fails, in seconds."""
MIN_FRESH_S: Final = 300.0
MAX_FRESH_S: Final = 3600.0
"""Bounds of the time after which content is fetched again, whatever its Cache-Control says, in seconds."""
DEFAULT_FRESH_S: Final = 600.0
"""The same time for a source that does not say any, in seconds."""
REFRESH_SHARE: Final = 0.9
"""Share of that time after which content is fetched again."""
RETRY_S: Final = (5.0, 300.0)
"""First and longest time after which a failed fetch of a URL of the settings is repeated, in seconds. It doubles."""
NAMED_RETRY_S: Final = (60.0, 3600.0)
"""The same for a URL that a message named."""
NAMED_INTERVAL_S: Final = 5.0
"""Shortest time between two fetches of URLs that messages named, in seconds."""
MAX_NAMED: Final = 16
"""Number of URLs that messages named and that are kept."""
UNUSED_S: Final = 7 * 24 * 3600.0
"""Time after which such a URL is forgotten if no message names it again, in seconds."""
AGAIN_S: Final = 10.0
"""Shortest time between two fetches of a URL of the settings of which one was asked for, in seconds."""


class Source(Protocol):
    """What the keys are fetched from."""

    async def fetch(self, url: str) -> Fetched:
        """Fetch a URL. Raise FetchError."""


@dataclass(slots=True)
class _Source(Generic[T]):
    url: str
    is_named: bool
    """Whether a message named the URL."""
    due: float
    """Time of the next fetch."""
    used: float
    asker: str = ""
    """Callback URL whose request named it first."""
    content: bytes = b""
    value: T | None = None
    good_until: float = 0.0
    fetched: float = -math.inf
    """Time of the last fetch, also of one that failed."""
    failures: int = 0
    problem: str = "it was not fetched yet"


class FetchedKeys(Generic[T]):
    """Keys of one profile, by URL.

    Args:
        profile: Name of the profile.
        fetcher: Fetches a URL.
        parse: Makes the keys from a URL and its content; raises CredentialsError.
        urls: URLs of the settings.
        clock: Clock that is never set, in seconds.
    """

    def __init__(
        self,
        profile: str,
        fetcher: Source,
        parse: Callable[[str, bytes], T],
        urls: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._profile = profile
        self._fetcher = fetcher
        self._parse = parse
        self._clock = clock
        self._sources = {url: _Source[T](url, is_named=False, due=0.0, used=0.0) for url in urls}
        self._named_at = -NAMED_INTERVAL_S
        self._wanted = asyncio.Event()

    def get(self, url: str, *, asker: str = "") -> T:
        """Return the keys of a URL that the settings allow. Have them fetched if a message is the first to name it.

        Args:
            url: The URL.
            asker: Callback URL of the request that names it, without its query.

        Raises:
            VerificationError: They are not known now. The reason is KEYS.
        """
        now = self._clock()
        source = self._sources.get(url) or self._add(url, asker, now)
        source.used = now
        if source.value is not None and now < source.good_until:
            return source.value
        self._wanted.set()
        raise VerificationError(f"the keys are not known: {source.problem}", FailureReason.KEYS)

    def fetch_again(self, url: str) -> bool:
        """Have a URL of the settings fetched again, for a key that is not known yet.

        Returns:
            Whether it is being fetched. False: it was fetched within the last `AGAIN_S`.
        """
        source, now = self._sources[url], self._clock()
        if source.due > now:
            if now - source.fetched < AGAIN_S:
                return False
            source.due = now
        self._wanted.set()
        return True

    def problems(self) -> list[str]:
        """Return why keys are missing, one text for each URL."""
        return [f"{each.url}: {each.problem}" for each in self._sources.values() if each.value is None]

    async def run(self) -> None:
        """Fetch what is due until cancelled."""
        while True:
            wait_s = await self.refresh()
            try:
                async with asyncio.timeout(wait_s):
                    await self._wanted.wait()
            except TimeoutError:
                pass

    async def refresh(self) -> float | None:
        """Fetch what is due, one after the other, and return the time until the next fetch, in seconds. None: never."""
        self._wanted.clear()
        now = self._clock()
        for source in [each for each in self._sources.values() if not each.is_named and each.due <= now]:
            await self._fetch(source)
        self._forget_unused()
        named = self._wanted_named()
        if named and named[0].due <= now and self._named_at + NAMED_INTERVAL_S <= now:
            self._named_at = now
            await self._fetch(named[0])
        now = self._clock()
        waits = [each.due - now for each in self._sources.values() if not each.is_named]
        waits += [max(each.due, self._named_at + NAMED_INTERVAL_S) - now for each in self._wanted_named()]
        return max(0.0, min(waits)) if waits else None

    def _wanted_named(self) -> list[_Source[T]]:
        """Return the named URLs to fetch, the first one first."""
        wanted = (each for each in self._sources.values() if each.is_named and self._is_wanted(each))
        return sorted(wanted, key=lambda each: each.due)

    def _is_wanted(self, source: _Source[T]) -> bool:
        """Return whether a named URL is to be fetched: it was fetched before, or a message named it since it failed."""
        return source.value is not None or source.used >= source.due

    def _add(self, url: str, asker: str, now: float) -> _Source[T]:
        named = [each for each in self._sources.values() if each.is_named]
        unknown = [each for each in named if each.value is None]
        own = [each for each in unknown if each.asker == asker]
        if not own and len(named) >= MAX_NAMED:
            # First those that failed. What waits stays, and what is valid makes room only where all are valid.
            own = [each for each in unknown if each.failures] or ([] if unknown else named)
            if not own:
                raise VerificationError("the keys are not known: too many others are waited for", FailureReason.KEYS)
        if own:
            del self._sources[min(own, key=lambda each: each.used).url]
        self._sources[url] = source = _Source[T](url, is_named=True, due=now, used=now, asker=asker)
        return source

    def _forget_unused(self) -> None:
        oldest = self._clock() - UNUSED_S
        for source in [each for each in self._sources.values() if each.is_named and each.used < oldest]:
            del self._sources[source.url]

    async def _fetch(self, source: _Source[T]) -> None:
        source.fetched = self._clock()
        try:
            fetched = await self._fetcher.fetch(source.url)
            is_new = fetched.content != source.content or source.value is None
            value = self._parse(source.url, fetched.content)
        except (FetchError, CredentialsError) as error:
            self._note_failure(source, str(error))
            return
        except Exception as error:  # whatever a source sends, the other sources are still fetched
            self._note_failure(source, f"fault: {type(error).__name__}")
            return
        now = self._clock()
        fresh_s = DEFAULT_FRESH_S if fetched.fresh_s is None else fetched.fresh_s
        source.due = now + REFRESH_SHARE * min(max(fresh_s, MIN_FRESH_S), MAX_FRESH_S)
        source.content, source.value, source.good_until = fetched.content, value, now + KEEP_S
        source.failures, source.problem = 0, ""
        metrics.KEY_FETCHES.labels(self._profile, "ok").inc()
        metrics.KEYS_FETCHED_TIME_SECONDS.labels(self._profile).set_to_current_time()
        if is_new:
            log.info("keys_fetched", profile=self._profile, url=source.url)

    def _note_failure(self, source: _Source[T], problem: str) -> None:
        first_s, longest_s = NAMED_RETRY_S if source.is_named and source.value is None else RETRY_S
        source.due = self._clock() + min(first_s * 2 ** min(source.failures, 20), longest_s)
        source.failures += 1
        metrics.KEY_FETCHES.labels(self._profile, "failed").inc()
        if problem != source.problem:
            log.error("keys_not_fetched", profile=self._profile, url=source.url, problem=problem)
        source.problem = problem
