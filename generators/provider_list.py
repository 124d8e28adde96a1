"""The page of all providers, `docs/provider-list.md`, generated from their files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from callback_server.verification.providers import PROVIDERS, Provider

_HEAD: Final = """\
<!-- Generated from server/callback_server/verification/provider_files by `python3 tasks.py generate`. -->
# List of providers

This page lists the senders that an operator can choose by name. `callback profiles` prints the same list. Give the
files of the secrets, in `key_files` where the list says so, and other settings only where the notes name them:

```toml
[profiles.payments]
kind = "provider:stripe"
secret_files = ["/run/secrets/payments"]
```

[Verification](verification.md) describes what each kind proves. A provider is *proven* if a message that the provider
published, or that a library of the provider signed or accepted, passes in the tests. An *unproven* one was written
after the documentation of the provider, and its test signs its own message. Try an unproven provider on real messages
before you rely on it.

An *id* is what the provider calls one, and what only one event has: a message with the id of an earlier one is
[a repeat](answers.md#the-same-request-again), and gets its answer. Where a provider gives none, two events can have
the same body, so each message on a callback that allows multiple calls is a call of its own, also one that the provider
sends again. Then check in the handler what you have handled already. The setting `id` of a profile takes the place of
the id of the list; `id = []` means that messages have none.

[Senders that no kind verifies](verification.md#senders-that-no-kind-verifies) are not in the list, each for a reason.
A new provider is one file in `server/callback_server/verification/provider_files`.

"""


_SENT: Final = """\
## Messages of callback send

The tests give what `callback send` makes to the profile of each provider, and to the libraries named above, to
@octokit/webhooks-methods 6.0.0 (npm), boxsdk 3.14.0 (PyPI), app-store-server-library 3.1.2 (PyPI) and
software.amazon.awssdk:sns-message-manager 2.47.4 (Maven). Each accepts the message, and refuses it after a change.
Those of Apple and AWS get certificates of the tests in place of those that only Apple and AWS can have made. Twitch and
Atlassian publish no library that verifies: those of others take its place, @twurple/eventsub-http 8.1.4 (npm) and
x-hub-signature 2.1.3 (npm).
"""


def provider_page() -> str:
    """Return the page in Markdown."""
    lines = ["| kind | provider | what the file contains | signed | id of a message | |", "|---|---|---|---|---|---|"]
    for name, each in PROVIDERS.items():
        proof = "proven" if each.is_proven else "unproven"
        lines.append(
            f"| `provider:{name}` | [{each.title}]({each.source}) | {_file(each)} | {_signed(each)} | {_id(each)}"
            f" | {proof} |"
        )
    return _HEAD + "\n".join([*lines, "", *_notes()]) + "\n"


def _notes() -> Iterator[str]:
    yield "## Limitations"
    yield ""
    for name, each in PROVIDERS.items():
        needs = f"Also give {' and '.join(f'`{need}`' for need in each.needs)}." if each.needs else ""
        if text := " ".join(filter(None, (each.limits, needs))):
            yield f"- `{name}`: {text}"
    yield ""
    yield "## Odd forms that are refused"
    yield ""
    yield "The tests give the same odd forms of a message to the profile and to the library of each provider that has"
    yield "one. No profile accepts one that the library refuses. These profiles refuse some that the library accepts:"
    yield ""
    yield from (f"- `{name}`: {each.stricter}" for name, each in PROVIDERS.items() if each.stricter)
    yield ""
    yield "## Where the messages of the tests come from"
    yield ""
    for name, each in PROVIDERS.items():
        proof = each.sample.proof or "from the documentation, signed by the test"
        yield f"- `{name}`: {proof}"
    yield ""
    yield from _SENT.splitlines()


def _file(provider: Provider) -> str:
    is_told = provider.files == "key_files" and not provider.secret.startswith("no file")
    return f"in `key_files`: {provider.secret}" if is_told else provider.secret


def _signed(provider: Provider) -> str:
    profile = provider.profile
    match profile["kind"]:
        case "standard-webhooks":
            return "`{id}.{timestamp}.{body}`"
        case "shared-secret" | "basic":
            return "nothing"
        case "jwt":
            return "the token, with the hash of the body" if "body_hash_claim" in profile else "the token"
        case _ if profile.get("jws") == "compact":
            return "the payload of the JWS"
    return f"`{profile.get('signed', '{body}')}`".replace("\n", "\\n").replace("|", "\\|")


def _id(provider: Provider) -> str:
    profile = provider.profile
    if profile["kind"] == "standard-webhooks":
        return "`header:webhook-id`"
    given = profile.get("id", "none")
    places = [given] if isinstance(given, str) else given
    return ", else ".join("none" if each == "none" else f"`{each}`" for each in places)
