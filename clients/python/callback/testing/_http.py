"""HTTP requests to an edge, as the sender of a webhook or a browser makes them, and their replies."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from callback._multi_mapping import Headers, Pairs, PairsLike

FORM = "application/x-www-form-urlencoded"
"""The content type of a form."""
BROWSER: Mapping[str, str] = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.5",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "cross-site",
    "Upgrade-Insecure-Requests": "1",
}
"""The headers of a browser that navigates to a page. With its `Accept`, errors are readable pages."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply that the caller of a URL received."""

    status: int
    """The HTTP status."""
    headers: Headers = field(repr=False)
    """The header fields, in order."""
    body: bytes = field(repr=False)
    """The body."""

    @property
    def text(self) -> str:
        """The body as UTF-8. Invalid bytes are replaced."""
        return self.body.decode("utf-8", "replace")

    @property
    def location(self) -> str | None:
        """The target of a redirect. None if the reply is no redirect."""
        return self.headers.get("location")

    def json(self) -> Any:
        """Parse the body as JSON.

        Raises:
            ValueError: The body is not JSON.
        """
        return json.loads(self.body)


def content(body: bytes | str, form: PairsLike | None, json_value: object) -> tuple[bytes, str | None]:
    """Return the body of a request, and its content type. The type is None for a plain body.

    Raises:
        ValueError: More than one of the three is given.
    """
    if sum((body not in (b"", ""), form is not None, json_value is not None)) > 1:
        raise ValueError("a request has only one body: give one of body, form and json")
    if form is not None:
        return urlencode(Pairs(form).pairs).encode("ascii"), FORM
    if json_value is not None:
        return json.dumps(json_value).encode("ascii"), "application/json"
    return (body.encode() if isinstance(body, str) else body), None


def call(edge: str, url: str, *, method: str, headers: Headers, body: bytes, timeout: float) -> Reply:
    """Send a request on a new connection, and return the reply. Redirects are not followed.

    Args:
        edge: The `host:port` to connect to. The host of the URL is not used, because it does not exist in a test.
        url: The URL. Its host is sent as `Host`.
        method: The method, sent unchanged.
        headers: Header fields. They may replace `Host`, `User-Agent` and `Content-Length`.
        body: The body. Its `Content-Length` is sent unless the body is empty and the method has none.
        timeout: Timeout of each network operation in seconds.

    Raises:
        OSError: No connection was possible, or no reply arrived in time.
        ValueError: The URL is not absolute, or the URL or a header has characters that HTTP does not allow.
    """
    parts = urlsplit(url)
    if not parts.netloc:
        raise ValueError("the URL must be absolute, as the server generated it")
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
    """Convert errors of `http.client` to the built-in exceptions."""
    try:
        yield
    except http.client.InvalidURL as error:
        raise ValueError(f"the URL cannot be sent: {error}") from error
    except http.client.HTTPException as error:
        raise OSError(f"the reply is not HTTP, or incomplete: {error!r}") from error
