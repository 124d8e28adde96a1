"""The outside world: one HTTP request to an edge, as a webhook's sender or a browser makes it, and what came back."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from callback._multi_mapping import Headers, Pairs, PairsLike

FORM = "application/x-www-form-urlencoded"
"""The type of a form's fields."""
BROWSER: Mapping[str, str] = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.5",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "cross-site",
    "Upgrade-Insecure-Requests": "1",
}
"""What a browser sends when it is sent to a page. Its `Accept` makes an error a readable page."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the caller of a URL got."""

    status: int
    """The HTTP status."""
    headers: Headers = field(repr=False)
    """The header fields, in their order."""
    body: bytes = field(repr=False)
    """The body."""

    @property
    def text(self) -> str:
        """The body as UTF-8; what is not is replaced."""
        return self.body.decode("utf-8", "replace")

    @property
    def location(self) -> str | None:
        """Where a redirect leads. None: it is not one."""
        return self.headers.get("location")

    def json(self) -> Any:
        """Read the body as JSON.

        Raises:
            ValueError: It is not.
        """
        return json.loads(self.body)


def content(body: bytes | str, form: PairsLike | None, json_value: object) -> tuple[bytes, str | None]:
    """Return the body of a request and its type; no type for a body that was given as it is.

    Raises:
        ValueError: More than one of the three is given.
    """
    if sum((body not in (b"", ""), form is not None, json_value is not None)) > 1:
        raise ValueError("a request has one body: give one of body, form and json")
    if form is not None:
        return urlencode(Pairs(form).pairs).encode("ascii"), FORM
    if json_value is not None:
        return json.dumps(json_value).encode("ascii"), "application/json"
    return (body.encode() if isinstance(body, str) else body), None


def call(edge: str, url: str, *, method: str, headers: Headers, body: bytes, timeout: float) -> Reply:
    """Make one request, on a connection of its own, and return the reply. A redirect is not followed.

    Args:
        edge: `host:port` to connect to, whatever the host in the URL: names of callback URLs lead nowhere in a test.
        url: The URL. Its host is sent as `Host`.
        method: The method, sent as it is.
        headers: Header fields. They replace `Host`, `User-Agent` and `Content-Length` if they name them.
        body: The body, sent with its `Content-Length` if it is not empty or the method is one that has one.
        timeout: How long each step may take, in seconds.

    Raises:
        OSError: There was no answer in time, or no connection.
        ValueError: The URL is not absolute, or there is something in it, or in the headers, that HTTP does not allow.
    """
    parts = urlsplit(url)
    if not parts.netloc:
        raise ValueError("the URL has to be absolute, as it was generated")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    own: dict[str, str] = {"Host": parts.netloc, "User-Agent": "callback-testing"}
    if body or method not in ("GET", "HEAD", "OPTIONS"):
        own["Content-Length"] = str(len(body))
    with closing(http.client.HTTPConnection(edge, timeout=timeout)) as connection, _plain_errors():
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in own.items():
            if name not in headers:
                connection.putheader(name, value)
        for name, value in headers.pairs:
            connection.putheader(name, value)
        connection.endheaders(body)
        with connection.getresponse() as response:
            return Reply(response.status, Headers(response.getheaders()), response.read())


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn the errors of `http.client` into ValueError and OSError."""
    try:
        yield
    except http.client.InvalidURL as error:
        raise ValueError(f"the URL cannot be sent: {error}") from error
    except http.client.HTTPException as error:
        raise OSError(f"the answer is not HTTP, or not whole: {error!r}") from error
