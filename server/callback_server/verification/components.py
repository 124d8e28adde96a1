"""Components of a request that a message signature covers (RFC 9421, 2): headers, and derived ones with `@`.

A component is written as in `@method`, as in `content-type`, or with parameters as in `"@query-param";name="id"`.
"""

from __future__ import annotations

from typing import Any, Final

import http_sf
from http_sf.item import ser_item

from callback_server.verification.places import FIELD_NAME

DERIVED: Final = (
    "@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query", "@query-param",
)  # fmt: skip
"""Components that are derived from a request."""
_OF_FIELDS: Final = {"sf", "key", "bs"}
"""Parameters of headers. There are no trailers (`tr`), and the messages are requests (`req` is of responses)."""


def identity(name: str, parameters: dict[str, Any]) -> str:
    """Return the one spelling of a component. The order of its parameters has no meaning (RFC 9421, 2)."""
    item: Any = (name, dict(sorted(parameters.items())))
    return ser_item(item)


def parse_component(text: str) -> str:
    """Return the identity of a component that an operator wrote. Raise ValueError if it is none."""
    quoted = text if text.startswith('"') else f'"{text}"'
    try:
        item: Any = http_sf.parse(quoted.encode("ascii"), tltype="item")
    except ValueError:
        raise ValueError('must be as in @method, content-type or "@query-param";name="id"') from None
    name, parameters = item
    if not isinstance(name, str) or name != name.lower():
        raise ValueError("a component must be in lower case")
    if name.startswith("@"):
        if name not in DERIVED:
            raise ValueError(f"{name} is unknown; known: {', '.join(DERIVED)}, and the names of headers")
        if parameters.keys() != ({"name"} if name == "@query-param" else set()):
            raise ValueError('only @query-param has a parameter, as in "@query-param";name="id"')
    elif not FIELD_NAME.fullmatch(name):
        raise ValueError(f"{name} is not the name of a header")
    elif not parameters.keys() <= _OF_FIELDS:
        raise ValueError(f"the parameters of a header are {', '.join(sorted(_OF_FIELDS))}")
    return identity(name, parameters)
