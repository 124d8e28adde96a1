"""Templates of `--format`: text with the fields of a JSON view, as in `{callId} {delivery.status}`."""

import json
import re
from typing import Any

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


class Template:
    """A template.

    Raises:
        ValueError: It has no placeholder, or one that is not the name of a field.
    """

    def __init__(self, text: str) -> None:
        names = _PLACEHOLDER.findall(text)
        wrong = [name for name in names if not _NAME.fullmatch(name)]
        if wrong or not names or set("{}") & set(_PLACEHOLDER.sub("", text)):
            raise ValueError("must have names of fields of --json in braces, as in '{callId} {delivery.status}'")
        self._text = text.replace("\\t", "\t").replace("\\n", "\n")

    def fill(self, view: dict[str, Any]) -> str:
        """Return the text with the fields of a view. A field that the view does not have is empty."""
        return _PLACEHOLDER.sub(lambda found: _shown(view, found[1].split(".")), self._text)


def _shown(value: Any, names: list[str]) -> str:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
