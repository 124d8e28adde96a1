"""Keys and certificates of a profile that the server fetches, and fetches again before they expire.

1. A URL of the settings is fetched when the server starts, and then regularly. A request causes no fetch of it, unless
   its owner asks for one (`fetch_again`), at most once in `AGAIN_S`.
2. A URL that a message names, and that the settings allow, is fetched once it was asked for: one at a time, at most one
   in `NAMED_INTERVAL_S`. A URL that could not be fetched is left alone for a minute, then for longer, up to an hour. So
   however many requests arrive, the sender's hosts get at most twelve requests a minute from a server and profile.
   The owners of the callbacks take turns, and so do the certificates that are fetched again. Of an owner, the callbacks
   come first whose last URL did not fail, then those for which that is longest ago. So a caller who makes up URLs
   delays other callbacks by one place for each callback URL that it knows, once.
   A certificate with which a message was signed is *proven*. Only another proven one takes its place.
3. If a source fails, the last content stays valid for `KEEP_S` after it was fetched.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import math
import time
from collections import Counter
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
MAX_PROVEN: Final = 64
"""Number of certificates that are kept because a message was signed with them. A provider has fewer."""
MAX_UNKNOWN: Final = 16
"""Number of URLs that requests of one callback URL named, and that have no keys yet."""
MAX_UNPROVEN: Final = 1000
"""Number of URLs that messages named and that are kept without a proof. Beyond it, the owner with most makes room."""
MAX_FAILED: Final = 10_000
"""Number of callback URLs whose last named URL could not be fetched, and that are kept."""
UNUSED_S: Final = 7 * 24 * 3600.0
"""Time after which such a URL is forgotten if no message names it again, in seconds."""
AGAIN_S: Final = 10.0
"""Shortest time between two fetches of a URL of the settings of which one was asked for, in seconds."""


_NOT_YET: Final = "it was not fetched yet"


class Source(Protocol):
    """What the keys are fetched from."""

    async def fetch(self, url: str) -> Fetched:
        """Fetch a URL. Raise FetchError."""


@dataclass(frozen=True, slots=True)
class Requester:
    """Whose request names a URL."""

    owner: str
    """Owner of the callback."""
    url: str
    """URL of the callback, without its query."""


@dataclass(slots=True)
class _Source(Generic[T]):
    url: str
    due: float
    """Time of the next fetch."""
    used: float
    requester: Requester | None = None
    """For whom it is fetched. None: it is a URL of the settings."""
    is_proven: bool = False
    """Whether a message was signed with its key."""
    digest: bytes = b""
    """SHA-256 of its content."""
    value: T | None = None
    good_until: float = 0.0
    fetched: float = -math.inf
    """Time of the last fetch, also of one that failed."""
    failures: int = 0
    problem: str = _NOT_YET


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
        self._sources = {url: _Source[T](url, due=0.0, used=0.0) for url in urls}
        self._named_at = -NAMED_INTERVAL_S
        self._turns: dict[str, float] = {}
        """When each owner had a URL fetched that a message named. Empty name: when a proven certificate was."""
        self._failed: dict[Requester, float] = {}
        """When the last URL of a requester could not be fetched. The oldest is first."""
        self._wanted = asyncio.Event()

    def get(self, url: str) -> T:
        """Return the keys of a URL that the settings allow.

        Raises:
            VerificationError: They are not known now: `want` has them fetched. The reason is KEYS.
        """
        now = self._clock()
        source = self._sources.get(url)
        if source is not None:
            source.used = now
            if source.value is not None and now < source.good_until:
                return source.value
        problem = _NOT_YET if source is None else source.problem
        raise VerificationError(f"the keys are not known: {problem}", FailureReason.KEYS, keys_url=url)

    def want(self, url: str, requester: Requester) -> None:
        """Have a URL fetched that a message names and the settings allow, if there is room for it."""
        now = self._clock()
        source = self._sources.get(url)
        if source is None:
            if self._make_room(requester):
                self._sources[url] = _Source[T](url, due=now, used=now, requester=requester)
                self._wanted.set()
            return
        source.used = now
        if source.requester is not None:
            source.requester = min(source.requester, requester, key=self._rank)
        if source.due <= now:
            self._wanted.set()

    def note_proven(self, url: str) -> None:
        """Record that a message was signed with the key of a URL that it named."""
        source = self._sources.get(url)
        if source is None or source.is_proven:
            return
        proven = [each for each in self._sources.values() if each.is_proven]
        if len(proven) >= MAX_PROVEN:
            del self._sources[min(proven, key=lambda each: each.used).url]
        source.is_proven = True
        self._wanted.set()  # from now on it is fetched again: `run` has not planned that

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
        """Return why keys are missing, one text for each URL, of at most `MAX_UNKNOWN`."""
        missing = (each for each in self._sources.values() if each.value is None)
        return [f"{each.url}: {each.problem}" for each in itertools.islice(missing, MAX_UNKNOWN)]

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
        for source in [each for each in self._sources.values() if each.requester is None and each.due <= now]:
            await self._fetch(source)
        self._forget_unused()
        due = [each for each in self._wanted_named() if each.due <= now]
        if due and self._named_at + NAMED_INTERVAL_S <= now:
            source = min(due, key=self._queue_key)
            self._named_at = self._turns[self._share(source)] = now
            await self._fetch(source)
        now = self._clock()
        waits = [each.due - now for each in self._sources.values() if each.requester is None]
        waits += [max(each.due, self._named_at + NAMED_INTERVAL_S) - now for each in self._wanted_named()]
        return max(0.0, min(waits)) if waits else None

    def _wanted_named(self) -> list[_Source[T]]:
        """Return the named URLs to fetch: what is proven, and what a message named since it was due."""
        named = (each for each in self._sources.values() if each.requester is not None)
        return [each for each in named if each.is_proven or each.used >= each.due]

    def _queue_key(self, source: _Source[T]) -> tuple[float, float, float]:
        """Return what sorts named URLs in the order in which they are fetched."""
        return self._turns.get(self._share(source), -math.inf), self._rank(source.requester), source.due

    def _share(self, source: _Source[T]) -> str:
        return "" if source.is_proven or source.requester is None else source.requester.owner

    def _rank(self, requester: Requester | None) -> float:
        return -math.inf if requester is None else self._failed.get(requester, -math.inf)

    def _make_room(self, requester: Requester) -> bool:
        """Make room for a URL that is not known, and return whether there is some."""
        named = [each for each in self._sources.values() if each.requester is not None and not each.is_proven]
        own = [each for each in named if each.value is None and each.requester == requester]
        if len(own) >= MAX_UNKNOWN:
            leaving = [each for each in own if each.failures]
        elif len(named) >= MAX_UNPROVEN:
            [(most, _)] = Counter(map(self._share, named)).most_common(1)
            theirs = [each for each in named if self._share(each) == most]
            failed = [each for each in theirs if each.failures]
            leaving = failed or [each for each in theirs if each.value is not None or most != requester.owner]
        else:
            return True
        if leaving:
            del self._sources[min(leaving, key=lambda each: each.used).url]
        return bool(leaving)

    def _forget_unused(self) -> None:
        oldest = self._clock() - UNUSED_S
        for source in [each for each in self._sources.values() if each.requester is not None and each.used < oldest]:
            del self._sources[source.url]
        self._turns = {share: time for share, time in self._turns.items() if time >= oldest}

    async def _fetch(self, source: _Source[T]) -> None:
        source.fetched = self._clock()
        try:
            fetched = await self._fetcher.fetch(source.url)
            digest = hashlib.sha256(fetched.content).digest()
            is_new = digest != source.digest or source.value is None
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
        source.digest, source.value, source.good_until = digest, value, now + KEEP_S
        source.failures, source.problem = 0, ""
        if source.requester is not None:
            self._failed.pop(source.requester, None)
        metrics.KEY_FETCHES.labels(self._profile, "ok").inc()
        metrics.KEYS_FETCHED_TIME_SECONDS.labels(self._profile).set_to_current_time()
        if is_new:
            log.info("keys_fetched", profile=self._profile, url=source.url)

    def _note_failure(self, source: _Source[T], problem: str) -> None:
        first_s, longest_s = NAMED_RETRY_S if source.requester is not None and source.value is None else RETRY_S
        source.due = self._clock() + min(first_s * 2 ** min(source.failures, 20), longest_s)
        source.failures += 1
        if source.requester is not None and source.value is None:
            self._failed.pop(source.requester, None)
            self._failed[source.requester] = self._clock()
            if len(self._failed) > MAX_FAILED:
                del self._failed[next(iter(self._failed))]
        metrics.KEY_FETCHES.labels(self._profile, "failed").inc()
        if problem != source.problem:
            log.error("keys_not_fetched", profile=self._profile, url=source.url, problem=problem)
        source.problem = problem
