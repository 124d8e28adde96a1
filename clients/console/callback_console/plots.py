"""Plots as values: where the shapes of an SVG are, and the numbers of its axes. Pure.

Each plot is `WIDTH` wide and `HEIGHT` high, whatever the size at which a page shows it. Its texts are not part of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

WIDTH: Final = 600
HEIGHT: Final = 120
_GAP: Final = 0.2
"""The part of a column that stays empty."""
_LEAST_S: Final = 0.001
"""Start of the axis of durations, in seconds. It is logarithmic: stages take from a millisecond to minutes."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle."""

    kind: str
    """Name of its colour."""
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Columns:
    """A plot of columns, each of stacked bars."""

    top: float
    """The value at the top of the plot."""
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """A plot of lines over time, with a logarithmic axis of durations."""

    top: timedelta
    """The duration at the top of the plot."""
    bottom: timedelta
    """The duration at its bottom."""
    grid: tuple[float, ...]
    """Heights of the lines at powers of ten."""
    paths: tuple[tuple[str, str], ...]
    """The kind of each line, and its path: the `d` of an SVG. A line is interrupted where there is no value."""


def columns(values: Sequence[Sequence[tuple[str, float]]]) -> Columns:
    """Return a plot with a column for each item: its parts from the bottom up, each with its kind and value."""
    top = nice_top(max((sum(value for _, value in parts) for parts in values), default=0))
    step = WIDTH / max(len(values), 1)
    bars = []
    for at, parts in enumerate(values):
        below = 0.0
        for kind, value in parts:
            height = value / top * HEIGHT
            if value:
                x, y = step * (at + _GAP / 2), HEIGHT - below - height
                bars.append(Bar(kind, round(x, 2), round(y, 2), round(step * (1 - _GAP), 2), round(height, 2)))
            below += height
    return Columns(top, tuple(bars))


def lines(series: Sequence[tuple[str, Sequence[timedelta | None]]]) -> Lines:
    """Return a plot with a line for each series of durations: its kind, and a value for each moment or None."""
    longest = max((each.total_seconds() for _, values in series for each in values if each), default=_LEAST_S)
    decades = max(math.ceil(math.log10(max(longest, _LEAST_S) / _LEAST_S) - 1e-9), 1)

    def height(value: timedelta) -> float:
        share = math.log10(max(value.total_seconds(), _LEAST_S) / _LEAST_S) / decades
        return round(HEIGHT - share * HEIGHT, 2)

    return Lines(
        top=timedelta(seconds=_LEAST_S * 10**decades),
        bottom=timedelta(seconds=_LEAST_S),
        grid=tuple(round(HEIGHT * at / decades, 2) for at in range(1, decades)),
        paths=tuple(
            (kind, _path([None if each is None else height(each) for each in values])) for kind, values in series
        ),
    )


def sparkline(values: Sequence[float | None]) -> str:
    """Return the path of a line over time, from 0 at the bottom to the largest value at the top."""
    top = max((each for each in values if each), default=1)
    return _path([None if each is None else round(HEIGHT - each / top * HEIGHT, 2) for each in values])


def _path(heights: Sequence[float | None]) -> str:
    """Return a path with a step for each height. It is interrupted where there is none."""
    step, moves, is_drawing = WIDTH / max(len(heights), 1), [], False
    for at, height in enumerate(heights):
        if height is not None:
            start = round(step * at, 2)
            moves.append(f"{'L' if is_drawing else 'M'}{start} {height}H{round(start + step, 2)}")
        is_drawing = height is not None
    return "".join(moves)


def nice_top(largest: float) -> float:
    """Return the end of an axis for values up to `largest`: 1, 2 or 5 times a power of ten."""
    if largest <= 0:
        return 1
    power: float = 10.0 ** math.floor(math.log10(largest))
    ends = (factor * power for factor in (1.0, 2.0, 5.0, 10.0))
    return next(end for end in ends if end >= largest * (1 - 1e-9))
