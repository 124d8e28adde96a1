"""Responses of one type, which begin with the attributes of that type."""

from typing import Unpack

from callback._enums import ResponseType
from callback._values import Response, ResponseAttributes


class Redirect(Response):
    """A response of the type redirect: `Redirect("/page/thankyou")`.

    Without a URL, that of the case or of the handler is used. The other attributes apply only if a handler chooses the
    type response; see `Response`.

    Args:
        redirect_url: `/path` on your platform, or an absolute http(s) URL.
        attributes: Further attributes of a `Response`.
    """

    __slots__ = ()

    def __init__(self, redirect_url: str | None = None, /, **attributes: Unpack[ResponseAttributes]) -> None:
        first: ResponseAttributes = {"redirect_url": redirect_url, "type": ResponseType.REDIRECT}
        super().__init__(**_joined(first, attributes))


class PageResponse(Response):
    """A response of the type page: `PageResponse("Thank you", "Your payment has arrived.")`.

    The edge renders it in the style of its own pages. A caller that does not prefer HTML gets the same as text. What is
    None is that of the case.

    Args:
        heading: The heading: text, not HTML. At most 200 characters.
        text: The text: text, not HTML. Line breaks are kept. At most 2,000 characters.
        link_label: The label of the link. An empty label removes the link.
        link_url: The target of the link: `/path` on your platform, or an absolute http(s) URL.
        code: The HTTP status. See `Response`.
        attributes: Further attributes of a `Response`.
    """

    __slots__ = ()

    def __init__(
        self,
        heading: str | None = None,
        text: str | None = None,
        link_label: str | None = None,
        link_url: str | None = None,
        code: int | None = None,
        /,
        **attributes: Unpack[ResponseAttributes],
    ) -> None:
        first: ResponseAttributes = {
            "heading": heading,
            "text": text,
            "link_label": link_label,
            "link_url": link_url,
            "code": code,
            "type": ResponseType.PAGE,
        }
        super().__init__(**_joined(first, attributes))


def _joined(by_position: ResponseAttributes, by_name: ResponseAttributes) -> ResponseAttributes:
    """Return the attributes of both.

    Raises:
        TypeError: An attribute is given twice.
    """
    for name in by_name.keys() - {"type"}:
        if by_position.get(name) is not None:
            raise TypeError(f"{name} is given by position and by name")
    return by_position | by_name
