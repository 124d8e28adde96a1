"""The id that a sender gives a message, at the places of the setting `id`."""

from __future__ import annotations

from collections.abc import Sequence

from callback_server.domain.call import Request
from callback_server.verification import request_fields
from callback_server.verification.places import Place, parse_place
from callback_server.verification.profile import FailureReason, VerificationError


class MessageIds:
    """Finds the id of a message.

    Args:
        places: The places, of which the first that is there counts.
    """

    def __init__(self, places: Sequence[str]) -> None:
        self.places = [parse_place(each) for each in places]
        """The parsed places."""

    def find(self, request: Request, *, must_be_there: bool = False) -> str:
        """Return the id of the message. Empty: there is none, and the settings do not require one.

        An id in a header or in the query must be there, unless `none` follows. In a body it may be missing: not each
        message has the same members.

        Args:
            request: The request.
            must_be_there: Whether an id is required wherever its place is, because it is signed by itself.

        Raises:
            VerificationError: The id is missing, or it cannot be an id.
        """
        for place in self.places:
            if place.kind in ("header", "query"):
                found = place.find(request)
                if found is not None:
                    return request_fields.message_id(found)
            elif found := _in_body(place, request):
                return found
        if self.places and (must_be_there or self.places[-1].kind in ("header", "query")):
            raise VerificationError(f"{self.places[0]} is missing", FailureReason.MISSING)
        return ""


def check_id_places(places: Sequence[str], *, is_body_signed: bool) -> None:
    """Raise ValueError if these cannot be the places of an id."""
    kinds = [parse_place(each).kind for each in places]
    if "field" in kinds:
        raise ValueError("id must not be field:NAME")
    for last in ("body-hash", "none"):
        if last in kinds[:-1]:
            raise ValueError(f"{last} must be the last place of the id, because every request has it")
    if kinds == ["none"]:
        raise ValueError("none must follow another place; for no id at all, write id = []")
    if "body-hash" in kinds and not is_body_signed:
        raise ValueError("the id body-hash needs the body in signed, and no {id}")


def _in_body(place: Place, request: Request) -> str:
    try:
        found = place.find(request) or ""
    except VerificationError:  # the body is signed, so this is no attack
        return ""
    return found if request_fields.is_message_id(found) else ""
