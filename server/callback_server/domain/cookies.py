"""The hosts on which responses may set cookies: alternative domains that the operator has reserved for one owner.

A cookie belongs to a host, whatever the port. On a host that owners share, one owner's answer could set or replace the
cookies of another, so responses set none there.
"""

from __future__ import annotations

from collections.abc import Mapping

from callback_server.domain.response import Response
from callback_server.domain.url import host_of
from callback_server.errors import Violation


class CookieDomains:
    """The owner of each reserved domain."""

    def __init__(self, owners: Mapping[str, str]) -> None:
        """Take the owners by their origins, as in `https://pay.example`."""
        self._owners = {host_of(origin): owner for origin, owner in owners.items()}

    def is_reserved(self, domain: str, owner: str) -> bool:
        """Return whether a domain is reserved for another owner than this one."""
        return self._owners.get(host_of(domain), owner) != owner

    def host(self, domain: str, owner: str) -> str:
        """Return the host on which the responses of a case may set cookies.

        Args:
            domain: The alternative domain of the case. Empty: none.
            owner: The owner of the case.

        Returns:
            The host. Empty: nowhere.
        """
        if not domain:
            return ""
        host = host_of(domain)
        return host if self._owners.get(host) == owner else ""


def cookie_problems(response: Response, cookie_host: str) -> list[Violation]:
    """Return the violations of the cookies that someone gives for a case; `cookie_host` is that of the case."""
    if not response.headers:
        return []
    cookies = [value for name, value in response.headers if name.lower() == "set-cookie"]
    if cookies and not cookie_host:
        message = (
            "set-cookie is allowed only on an alternative_domain that the operator has reserved for this owner"
            " (cookie_domains)"
        )
        return [Violation("response_headers", "cookie_not_allowed", message)]
    if any(_has_domain(cookie) for cookie in cookies):
        return [Violation("response_headers", "cookie_domain", "set-cookie must have no Domain")]
    return []


def _has_domain(cookie: str) -> bool:
    return any(part.partition("=")[0].strip().lower() == "domain" for part in cookie.split(";")[1:])
