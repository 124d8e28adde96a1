"""Settings of handshakes, `[profiles.NAME.handshake]`: one model for each `kind`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from callback_server.verification.settings.table import SettingsTable
from callback_server.verification.settings.values import ValuePlace


class SlackHandshake(SettingsTable):
    """Slack's `url_verification`, verified like a call. The kind `slack` always has it."""

    kind: Literal["slack"]
    """The kind."""


class ChallengeHandshake(SettingsTable):
    """Challenge at a place of the request, which the answer repeats or signs.

    Only a challenge of 1 to 1,024 letters, digits, `_`, `-` and `=` gets an answer. One that the answer only repeats
    can also have `.`, `~`, `+`, `/` and `:`. With `hexadecimal` it is shorter.
    """

    kind: Literal["challenge"]
    """The kind."""
    method: Literal["get", "post"]
    """Method of the request."""
    challenge: ValuePlace
    """Place of the challenge: `header:NAME`, `query:NAME`, `form:NAME` or `json:POINTER`."""
    when: dict[ValuePlace, str] = {}
    """Places that must have these values. Without it, each request with a challenge is a handshake."""
    verified: bool = True
    """Whether the request must pass the profile as a call must. False: any sender that knows the URL gets the
    answer."""
    answer: str = Field(default="{challenge}", min_length=1, max_length=500, pattern=r"^[ !#-%(-;=?-~\"]+$")
    """Body of the answer, with `{challenge}`, or with `{hmac}` or `{hmac:base64}`: the HMAC of the challenge with the
    first secret of the profile, in lower-case hexadecimal or in base64. `{receiver-id}` is the `receiver_id` of the
    profile. An answer that begins with the brace of an object is JSON."""
    hexadecimal: bool = False
    """Whether the sender's challenges are 20 to 64 lower-case hexadecimal digits, and no other gets an answer. A call
    is refused if what it signs could be one: anyone can have a challenge signed."""
    answer_in_header: bool = False
    """Whether the answer is the value of the header in which the challenge came, and the body is empty."""

    @model_validator(mode="after")
    def _has_a_header(self) -> ChallengeHandshake:
        if self.answer_in_header and not self.challenge.startswith("header:"):
            raise ValueError("answer_in_header needs a challenge at header:NAME")
        return self

    @property
    def signs(self) -> bool:
        """Whether the answer contains an HMAC of the challenge."""
        return "{hmac}" in self.answer or "{hmac:base64}" in self.answer


class HubHandshake(SettingsTable):
    """`hub.challenge` of Meta, WebSub and Strava, to start a subscription."""

    kind: Literal["hub"]
    """The kind."""
    verify_token_files: list[Path] = []
    """Files, each with one valid `hub.verify_token`, as Meta sends it."""
    topics: list[str] = []
    """Valid values of `hub.topic`, as WebSub sends it."""
    denials: bool = False
    """Whether a GET with `hub.mode=denied` for one of `topics` is a call, so that its owner learns that the hub has
    denied or ended the subscription. Nothing proves its sender, so the call is not verified: its handler must check
    that."""
    answer: Literal["text", "json"] = "text"
    """Form of the answer: the challenge alone, or a JSON object with it, as Strava expects."""

    @model_validator(mode="after")
    def _proves_something(self) -> HubHandshake:
        if not self.verify_token_files and not self.topics:
            raise ValueError("needs verify_token_files or topics")
        if self.denials and not self.topics:
            raise ValueError("denials needs topics")
        return self


class ValidationTokenHandshake(SettingsTable):
    """Microsoft's `validationToken`, which the answer repeats."""

    kind: Literal["validation-token"]
    """The kind."""


class CloudEventsHandshake(SettingsTable):
    """The OPTIONS request of CloudEvents, as Azure Event Grid sends it."""

    kind: Literal["cloudevents"]
    """The kind."""
    origins: list[str] = Field(min_length=1)
    """Valid values of `WebHook-Request-Origin`, such as `eventgrid.azure.net`; `*` allows any."""
    max_requests_per_minute: int | None = Field(default=None, ge=1)
    """Requests per minute that the answer allows. None: any number."""


HandshakeSettings = Annotated[
    SlackHandshake | ChallengeHandshake | HubHandshake | ValidationTokenHandshake | CloudEventsHandshake,
    Field(discriminator="kind"),
]
"""Handshake by which a sender asks whether a URL accepts its calls."""


def signs_challenges(handshake: HandshakeSettings | None) -> bool:
    """Return whether the answer of a handshake contains an HMAC of the challenge."""
    return isinstance(handshake, ChallengeHandshake) and handshake.signs
