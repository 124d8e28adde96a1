"""Brand of the pages: name, logo and colour of the operator.

1. A colour has enough contrast to the page, in the light and in the dark scheme (WCAG 2.2, success criterion 1.4.11).
   The text on it is white or black, whichever has more contrast: that is always enough (1.4.3).
2. A logo is part of each page, as the data of an image: a page loads nothing, and nothing in an image can run.
"""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LIGHT_CARD: Final = "#ffffff"
"""Ground of the content of a page in the light scheme: `--card` of `style.css`."""
DARK_CARD: Final = "#1a2027"
"""Ground of the content of a page in the dark scheme."""
MIN_CONTRAST: Final = 3.0
"""Least contrast of a button to its ground."""
MAX_LOGO_BYTES: Final = 32 * 1024
"""Largest file of a logo: every page has it."""

_WHITE: Final = "#ffffff"
_BLACK: Final = "#000000"
_IMAGE_TYPES: Final = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))


class BrandError(Exception):
    """The brand cannot be used. The message is one line for an operator."""


@dataclass(frozen=True, slots=True)
class Brand:
    """Brand of the pages."""

    name: str = ""
    """Name, which stands in the title of each page, and on it where there is no logo."""
    logo: str = ""
    """Logo as a `data:` URL."""
    logo_dark: str = ""
    """Logo in the dark scheme. Empty: the same."""
    url: str = ""
    """Website of the operator, to which a page of an error links. Empty: no link."""
    style: str = ""
    """Style that sets the colours."""


def load_brand(
    *,
    name: str,
    url: str = "",
    logo_file: Path | None,
    logo_dark_file: Path | None,
    color: str | None,
    color_dark: str | None,
) -> Brand:
    """Return a brand, with the files that it names.

    Raises:
        BrandError: A file cannot be read, or is no image.
    """
    return Brand(
        name=name,
        url=url,
        logo="" if logo_file is None else _data_url("brand_logo_file", logo_file),
        logo_dark="" if logo_dark_file is None else _data_url("brand_logo_dark_file", logo_dark_file),
        style="" if color is None else _style(color, color_dark or lightened(color)),
    )


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours `#rrggbb`, from 1 to 21."""
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def lightened(color: str) -> str:
    """Return a colour mixed with as much white as it needs in the dark scheme."""
    shares = (each / 20 for each in range(21))
    return next(mixed for each in shares if contrast(mixed := _mix(color, _WHITE, each), DARK_CARD) >= 2 * MIN_CONTRAST)


def _style(light: str, dark: str) -> str:
    return (
        f"\n:root {{ {_variables(light, LIGHT_CARD)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {_variables(dark, DARK_CARD)} }} }}\n"
    )


def _variables(color: str, card: str) -> str:
    ink, away = (_WHITE, _BLACK) if contrast(color, _WHITE) >= contrast(color, _BLACK) else (_BLACK, _WHITE)
    over, tint = _mix(color, away, 0.2), _mix(card, color, 0.12)
    return f"--act: {color}; --act-ink: {ink}; --act-over: {over}; --act-tint: {tint};"


def _channels(color: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(color[1:]))


def _luminance(color: str) -> float:
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (channel / 255 for channel in _channels(color))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _mix(color: str, other: str, share: float) -> str:
    pairs = zip(_channels(color), _channels(other), strict=True)
    return "#" + bytes(round(one + (two - one) * share) for one, two in pairs).hex()


def _data_url(setting: str, file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BrandError(f"{setting} {file}: {error.strerror}") from None
    if len(content) > MAX_LOGO_BYTES:
        raise BrandError(f"{setting} {file}: has {len(content):,} bytes, more than {MAX_LOGO_BYTES:,}")
    kind = next((kind for start, kind in _IMAGE_TYPES if content.startswith(start)), "")
    if not kind and b"<svg" in content[:1024] and _is_utf_8(content):
        kind = "image/svg+xml"
    if not kind:
        raise BrandError(f"{setting} {file}: is not an SVG, PNG or JPEG image")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _is_utf_8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
