"""The URL of a case: `{base}/cb/{state}` or `{base}/cbq/{param}?{param}={state}`."""

from __future__ import annotations


def callback_url(base: str, state: str, parameter: str) -> str:
    """The URL to hand out. `base` is an origin, with or without a path, and without a slash at its end."""
    if parameter:
        return f"{base}/cbq/{parameter}?{parameter}={state}"
    return f"{base}/cb/{state}"
