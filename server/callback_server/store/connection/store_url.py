"""The URL of a store: where it is, how it is found, and how to connect.

| scheme | the store |
|---|---|
| `redis://`, `rediss://`, `unix://` | one node, or one address that leads to the primary |
| `redis+sentinel://h1,h2,h3/NAME`, `rediss+sentinel://` | the primary of the service NAME, which these Sentinels name |
| `redis+cluster://h1,h2,h3`, `rediss+cluster://` | a cluster, which is found at any of these nodes |

`rediss` is TLS, to the Sentinels too. Options of redis-py are in the query, such as `ssl_ca_certs`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlencode, urlsplit

from redis.asyncio.connection import parse_url

PORT: Final = 6379
SENTINEL_PORT: Final = 26379
SENTINEL_OPTIONS: Final = ("sentinel_username", "sentinel_password")
"""The options of a URL for user and password of the Sentinels."""
SCHEMES: Final = (
    "redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster",
)  # fmt: skip


class Topology(enum.Enum):
    """How the node that accepts writes is found."""

    ADDRESS = "address"
    """It is at the address."""
    SENTINEL = "sentinel"
    """Sentinels know it."""
    CLUSTER = "cluster"
    """The nodes of the cluster know it, for each slot."""


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """The parts of a URL."""

    topology: Topology
    is_tls: bool
    addresses: list[tuple[str, int]] = field(default_factory=list)
    """The Sentinels, or nodes of the cluster."""
    service: str = ""
    """The name of the service that the Sentinels watch."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The arguments of a connection to a node, in redis-py's names."""
    sentinel_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The arguments of a connection to a Sentinel."""


def check_url(url: str) -> None:
    """Refuse a text that is not a URL of a store. The error repeats nothing of it, because it can hold a password.

    Raises:
        ValueError: The text has none of our schemes, or cannot be parsed.
    """
    _, parts = _split(url)
    scheme = parts.scheme if url.isprintable() else ""
    if scheme not in SCHEMES:
        raise ValueError(f"must begin with {', '.join(f'{each}://' for each in SCHEMES)}")
    try:
        if scheme != "unix" and "@" in f"{parts.path}{parts.query}{parts.fragment}":
            raise ValueError  # the password has a `/`, `?` or `#`, and the text before that would be taken for the host
        parsed = parse_store_url(url)
    except ValueError:
        raise ValueError(
            "must be a URL such as redis://user:password@host:6379/0, "
            "with special characters of the password percent-encoded"
        ) from None
    if parsed.topology is Topology.SENTINEL and not parsed.service:
        raise ValueError("must name the service of the Sentinels, as in redis+sentinel://h1,h2,h3/NAME")


def parse_store_url(url: str) -> StoreUrl:
    """Return the parts of a URL.

    Raises:
        ValueError: It cannot be parsed.
    """
    authority, parts = _split(url)
    transport, _, kind = parts.scheme.partition("+")
    is_tls = transport == "rediss"
    if not kind:
        return StoreUrl(Topology.ADDRESS, is_tls, options=parse_url(url))
    topology = Topology(kind)
    service, _, database = parts.path.strip("/").partition("/") if topology is Topology.SENTINEL else ("", "", "")
    query = parse_qs(parts.query)
    of_sentinel = {name.removeprefix("sentinel_"): query.pop(name)[0] for name in SENTINEL_OPTIONS if name in query}
    user, at, hosts = authority.rpartition("@")
    addresses, options = [], dict[str, Any]()
    for host in hosts.split(","):
        options = dict(
            parse_url(
                parts._replace(
                    scheme=transport,
                    netloc=f"{user}{at}{host}",
                    path=f"/{database}",
                    query=urlencode(query, doseq=True),
                ).geturl()
            )
        )
        port = options.pop("port", SENTINEL_PORT if topology is Topology.SENTINEL else PORT)
        if not options.get("host"):
            raise ValueError("an address has no host")
        addresses.append((str(options.pop("host")), int(port)))
    options.pop("connection_class", None)
    tls_options = {name: value for name, value in options.items() if name.startswith("ssl_")}
    return StoreUrl(topology, is_tls, addresses, unquote(service), options, of_sentinel | tls_options)


def with_password(url: str, password: str) -> str:
    """Return a URL that has no password with this one."""
    authority, parts = _split(url)
    user, _, host = authority.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()


def with_sentinel_password(url: str, password: str) -> str:
    """Return a URL with this password of the Sentinels."""
    authority, parts = _split(url)
    option = urlencode({"sentinel_password": password}, quote_via=quote)
    return parts._replace(netloc=authority, query=f"{parts.query}&{option}" if parts.query else option).geturl()


def _split(url: str) -> tuple[str, SplitResult]:
    """Return the authority of a URL, and the other parts.

    `urlsplit` takes an authority for one host: since the mend of CVE-2025-0938 it refuses `a,[::1]:2`.
    """
    scheme, separator, rest = url.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    return authority, urlsplit(f"{scheme}{separator}{rest.removeprefix(authority)}")
