"""The parts of a request that a profile proves, as far as a correlation key needs them.

A key in another part proves nothing: who has captured a message could send it again with another key. A kind that signs
no part of a request proves all of it or nothing: a secret, a user or an address. A token whose claims name neither the
body nor the URL is such a secret, too.
"""

from __future__ import annotations

from callback_server.domain.endpoint import KeyLocation, KeyLocationKind
from callback_server.verification.components import identity, parse_component
from callback_server.verification.places import Place
from callback_server.verification.settings.credentials import AddressSettings, BasicSettings, SharedSecretSettings
from callback_server.verification.settings.message_signature import MessageSignatureSettings
from callback_server.verification.settings.profiles import DeclaredSettings, StandardWebhooksSettings
from callback_server.verification.settings.signed import HmacSettings, PublicKeySettings, SignedSettings
from callback_server.verification.settings.token import JwtSettings
from callback_server.verification.template import COVERS_BODY, URL, Template

_QUERY, _SEGMENT = KeyLocationKind.QUERY, KeyLocationKind.SEGMENT


def is_proven(location: KeyLocation, settings: DeclaredSettings) -> bool:
    """Return whether a message that passes a profile proves what stands at a location."""
    match settings:
        case SharedSecretSettings() | BasicSettings() | AddressSettings():
            return True
        case StandardWebhooksSettings():
            return location.kind.is_in_body
        case HmacSettings() | PublicKeySettings():
            return _is_signed(location, settings)
        case MessageSignatureSettings():
            return _is_covered(location, settings)
        case JwtSettings():
            return _is_claimed(location, settings)


def _is_signed(location: KeyLocation, settings: SignedSettings) -> bool:
    template = Template(settings.signed)
    parts = set(template.parts)
    if location.kind is _SEGMENT:
        return bool(parts & {"url", "path", "target"})
    if any(_is_same(location, place) for place in template.places()):
        return True
    if str(location) in settings.signature:
        return False
    if location.kind is _QUERY:
        return bool(parts & {*URL, "query-pairs"})
    # Nothing marks where a field in {form} ends: another key could be read from the same signed bytes. A compact JWS
    # signs what is in it, and not the body.
    return location.kind.is_in_body and bool(parts & (COVERS_BODY - {"form"})) and not settings.signs_own_payload


def _is_covered(location: KeyLocation, settings: MessageSignatureSettings) -> bool:
    covered = {parse_component(each) for each in settings.components}

    def covers(*names: str) -> bool:
        return not covered.isdisjoint(identity(each, {}) for each in names)

    match location.kind:
        case KeyLocationKind.QUERY:
            is_one = identity("@query-param", {"name": location.name}) in covered
            return is_one or covers("@target-uri", "@request-target", "@query")
        case KeyLocationKind.SEGMENT:
            return covers("@target-uri", "@request-target", "@path")
        case KeyLocationKind.HEADER:
            return covers(location.name)
        case _:
            return covers("content-digest")


def _is_claimed(location: KeyLocation, settings: JwtSettings) -> bool:
    has_body = settings.body_hash_claim is not None
    has_url = settings.url_claim or settings.url_hash_claim or settings.audience == "{url}"
    if not has_body and not has_url:
        return True
    if location.kind in (_QUERY, _SEGMENT):
        return bool(has_url)
    return has_body and location.kind.is_in_body


def _is_same(location: KeyLocation, place: Place) -> bool:
    """Return whether a location is a place of a template."""
    name = place.name.lower() if place.kind == "header" else place.name
    return (location.kind, f"{location.name}{location.pointer}") == (place.kind, name)
