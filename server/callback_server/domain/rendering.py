"""Rendering: the answer and the outcome of a call, of the response of its case and a decision on it."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from callback_server.domain.call import CallFailure, CallStatus, Decision, Outcome, failed
from callback_server.domain.cookies import CookieDomains
from callback_server.domain.response import REJECTION, Response, complete, overlay, problems
from callback_server.errors import Violation


class ResponseRenderer:
    """Renders responses as the settings of this server say."""

    def __init__(
        self, *, platform_url: str | None, cookie_domains: CookieDomains, redirect_schemes: Collection[str] = ()
    ) -> None:
        """Create a renderer.

        Args:
            platform_url: The target of redirects to `/path`. None: such redirects are refused.
            cookie_domains: The domains on which a response may set cookies.
            redirect_schemes: The schemes besides `http` and `https` that a redirect or a link may have.
        """
        self._platform_url = platform_url
        self._redirect_schemes = redirect_schemes
        self._cookie_domains = cookie_domains

    def cookie_host(self, alternative_domain: str, owner: str) -> str:
        """Return the host on which the response to a call may set cookies. Empty: nowhere."""
        return self._cookie_domains.host(alternative_domain, owner)

    def outcome_of_decision(self, base: Response, decision: Decision | Outcome) -> Outcome:
        """Return the outcome of a decision; `base` is the case's response. An outcome does not depend on it."""
        if isinstance(decision, Outcome):
            return decision
        if decision.accepted:
            merged, status = overlay(base, decision.override), CallStatus.SUCCEEDED
        else:
            merged, status = overlay(REJECTION, decision.override), CallStatus.REJECTED
        outcome = self.outcome_of_response(merged, status)
        if outcome.status is CallStatus.SUCCEEDED and (decision.keep_open or decision.close):
            outcome = replace(outcome, keep_open=decision.keep_open, close=decision.close)
        return replace(outcome, no_repeat=True) if decision.no_repeat else outcome

    def outcome_of_response(self, response: Response, status: CallStatus = CallStatus.SUCCEEDED) -> Outcome:
        """Return the outcome of a call with this effective response: a failure if it cannot be rendered."""
        broken = self.problems(response)
        if broken:
            return invalid(broken)
        return Outcome(status, self.complete(response))

    def outcome_at_claim(self, response: Response) -> Outcome:
        """Return the outcome of a call that its claim has ended, by the rule of the claim.

        It refuses only a `/path` without a platform_url. All else was checked when the response was set, perhaps by a
        server with other redirect_schemes.
        """
        broken = [each for each in self.problems(response) if each.rule == "platform_url"]
        return invalid(broken) if broken else Outcome(CallStatus.SUCCEEDED, self.complete(response))

    def problems(self, response: Response) -> list[Violation]:
        """Return why an effective response cannot be rendered; empty if it can."""
        return problems(
            response, platform_url=self._platform_url, redirect_schemes=self._redirect_schemes, must_be_complete=True
        )

    def complete(self, response: Response) -> Response:
        """Return the response as it is sent. It must have no problems."""
        return complete(response, platform_url=self._platform_url)


def invalid(broken: list[Violation]) -> Outcome:
    """Return the outcome of a call whose response has these problems."""
    return failed(CallFailure.INVALID_RESPONSE, "; ".join(f"{each.field}: {each.message}" for each in broken))
