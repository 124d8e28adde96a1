"""The URL of a case, `{base}/cb/{state}` or `{base}/cbq/{param}?{param}={state}`, and the URL of a request to it."""

from __future__ import annotations

import re
from typing import Final

from callback_server.domain.ids import is_state

_HANDED_OUT: Final = re.compile(r"[^?]*/(?:cb/([^/?]+)|cbq/([^/?]+)\?\2=(.+))")

_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


def normalize_origin(origin: str) -> str:
    """Return an origin in its one spelling: in lower case, and without the default port of its scheme."""
    origin = origin.lower()
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition(":")[0], ""))


def host_of(origin: str) -> str:
    """Return the host of an origin in its one spelling, without the port. Empty: there is no origin."""
    return re.sub(r":[0-9]+$", "", origin.partition("://")[2])


def callback_url(base: str, state: str, parameter: str) -> str:
    """Return the URL to hand out. `base` is an origin, without a path."""
    if parameter:
        return f"{base}/cbq/{parameter}?{parameter}={state}"
    return f"{base}/cb/{state}"


def request_url(base: str, state: str, parameter: str, query_string: str) -> str:
    """Return the URL of a request as its sender knows it, with the query as it was sent."""
    path = f"/cbq/{parameter}" if parameter else f"/cb/{state}"
    return f"{base}{path}?{query_string}" if query_string else f"{base}{path}"


def event_url(base: str, endpoint: str, path: str, query_string: str) -> str:
    """Return the URL of an event as its sender knows it: `path` is what stands behind the name of the endpoint."""
    url = f"{base}/in/{endpoint}{path}"
    return f"{url}?{query_string}" if query_string else url


def is_as_handed_out(url: str) -> bool:
    """Return whether the URL of a request is exactly the URL that was handed out."""
    found = _HANDED_OUT.fullmatch(url)
    return found is not None and is_state(found[1] or found[3])
