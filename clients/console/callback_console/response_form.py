"""The fields of a form that describe a response and a decision. Pure."""

from collections.abc import Mapping
from typing import Final

from callback import Accept, Reject, Response, ResponseType

_TEXTS: Final = ("body", "redirect_url", "heading", "text", "link_label", "link_url")
"""Fields that are attributes of a response by the same name."""


def response_of(form: Mapping[str, str]) -> Response | None:
    """Return the response of a form: an empty field is not given. None if no field is."""
    given = {name: value for name, value in form.items() if value}
    texts = {name: given[name] for name in _TEXTS if name in given}
    code = int(given["code"][:9]) if given.get("code", "").isdecimal() else None  # a longer one fits no int32
    kind = ResponseType(given["type"]) if given.get("type") in set(ResponseType) else None
    headers = {"content-type": given["content_type"]} if "content_type" in given else None
    if not texts and code is None and kind is None and headers is None:
        return None
    return Response(code=code, type=kind, headers=headers, **texts)


def decision_of(form: Mapping[str, str]) -> Accept | Reject:
    """Return the decision of a form."""
    response, no_repeat = response_of(form), "no_repeat" in form
    if form.get("verdict") == "reject":
        return Reject(response, no_repeat=no_repeat)
    return Accept(response, keep_open="keep_open" in form, no_repeat=no_repeat)
