"""The fields of a form that describe a response and a decision. Pure."""

from collections.abc import Mapping
from typing import Final

from callback import Accept, Callback, Reject, Response, ResponseType

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


def with_choice(form: Mapping[str, str], callback: Callback) -> Mapping[str, str]:
    """Return a form with the response of the choice that its person pressed, where the form says nothing else.

    A person who answers with a choice of the callback's prompt accepts the call. The caller gets the value of the
    choice as the body, or its label as the text of a page.
    """
    choice = form.get("choice", "")
    if callback.prompt is None or choice not in callback.prompt.choices:
        return form
    given = {name: value for name, value in form.items() if value}
    if given.get("type", callback.response.type) == ResponseType.PAGE:
        return {"text": callback.prompt.choices[choice], **given}
    return {"body": choice, "content_type": "text/plain; charset=utf-8", **given}
