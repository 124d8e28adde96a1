"""Senders that operators choose by name: `kind = "provider:NAME"`. The folder `provider_files` has one file for each.

A file has the settings of a kind in `[profile]`, the page on which the provider describes its signatures, and a message
with a valid signature in `[sample]`. If the message comes from the provider, `proof` says from where. Without `proof`
the sample was signed by us, after the documentation, and the provider is *unproven*. A file that names another one as
`like` has only what differs from it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Sample:
    """A message with a valid signature."""

    secret: str
    """Content of a secret or key file."""
    headers: list[list[str]]
    """Pairs of name and value."""
    time: int = 0
    """Time at which the message was sent, in seconds since 1970. 0: the message has no time."""
    body: str = ""
    method: str = "post"
    url: str = ""
    """URL of the request, if it is signed."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings that an operator must give, as they were for this message."""
    proof: str = ""
    """Where the message comes from: an address or the name of a library. Empty: we signed it ourselves."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A sender."""

    title: str
    """Name of the provider, and of its product if it has several."""
    source: str
    """Address of the page that describes the signatures."""
    secret: str
    """What the file contains, in the words of the provider."""
    profile: dict[str, Any]
    """Settings of a profile, without its files."""
    sample: Sample
    limits: str = ""
    """What the signature does not prove, and what else an operator must know."""
    stricter: str = ""
    """What the library of the provider accepts and the profile refuses, with the reason. Empty: nothing is known."""
    needs: list[str] = field(default_factory=list)
    """Settings that an operator must give, besides the files."""
    example: dict[str, Any] = field(default_factory=dict)
    """A `body` that is more like a real one than that of the sample, and other `headers`, for `callback send`."""

    @property
    def files(self) -> str:
        """The setting that names its files."""
        return "key_files" if self.profile["kind"] in ("jwt", "public-key") else "secret_files"

    @property
    def is_proven(self) -> bool:
        """Whether the sample comes from the provider."""
        return bool(self.sample.proof)


def _load() -> Mapping[str, Provider]:
    folder = resources.files(__package__).joinpath("provider_files")
    content = {
        file.name.removesuffix(".toml"): tomllib.loads(file.read_text("utf-8"))
        for file in sorted(folder.iterdir(), key=lambda each: each.name)
    }
    return {name: _provider(each, content) for name, each in content.items()}


def _provider(own: dict[str, Any], content: Mapping[str, dict[str, Any]]) -> Provider:
    """Return the provider of a file's content, which comes before that of the file that it is `like`."""
    like = content[own["like"]] if "like" in own else {"profile": {}, "sample": {}}
    facts = {name: value for name, value in (like | own).items() if name != "like"}
    facts["profile"] = like["profile"] | own["profile"]
    facts["sample"] = Sample(**like["sample"] | own["sample"])
    return Provider(**facts)


PROVIDERS: Final = _load()
"""The providers, by name."""
