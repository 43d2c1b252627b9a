"""Charts that need no script: bars with error bars, a shaded matrix, series."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from geoseg.report.page import Html, escaped, scrolled
from geoseg.report.style import INK, RULE, ink_on

__all__ = ["Bar", "Series", "bars", "matrix", "series", "shares"]

_SHADE = (11, 83, 148)  # one hue, by lightness: readable without telling colours apart, and in grey
_WIDE, _HIGH, _LEFT, _RIGHT, _TOP, _BOTTOM = 380, 240, 46, 108, 12, 26
_LETTER = 7  # as wide as one is, with room
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "5 5")


@dataclass(frozen=True)
class Bar:
    """One bar."""

    name: str
    """What it is of."""
    value: float
    """How long it is, at least 0."""
    text: str
    """The value in words, with its unit."""
    color: str = "#8fa3b8"
    """``#rrggbb``"""
    lower: float = math.nan
    """Where the error bar begins; NaN = there is none."""
    upper: float = math.nan
    """Where it ends."""
    mark: float = math.nan
    """Another value, drawn as a dotted line: the pixel count, say."""


def bars(items: Sequence[Bar], *, caption: str) -> Html:
    """Bars from 0 on, with error bars; the numbers stand beside.

    >>> 'style="width:100.00%' in bars([Bar("water", 3.0, "3 ha")], caption="Areas")
    True
    """
    finite = [v for item in items for v in (item.value, item.upper, item.mark) if math.isfinite(v)]
    scale = 100 / (max(finite, default=0.0) or 1.0)
    rows = []
    for item in items:
        drawn = ""
        if item.value > 0:
            drawn += f'<i style="width:{item.value * scale:.2f}%;background:{escaped(item.color)}"></i>'
        if math.isfinite(item.lower) and math.isfinite(item.upper):
            width = (item.upper - item.lower) * scale
            drawn += f'<b style="left:{item.lower * scale:.2f}%;width:{width:.2f}%"></b>'
        if math.isfinite(item.mark):
            drawn += f'<u style="left:{item.mark * scale:.2f}%"></u>'
        rows.append(
            f'<tr><th scope="row">{escaped(item.name)}</th>'
            f'<td class="g"><div class="track" aria-hidden="true">{drawn}</div></td>'
            f'<td class="n">{escaped(item.text)}</td></tr>'
        )
    kind = "bars short" if len(rows) <= 20 else "bars"  # a short one is not cut by the end of a sheet
    return Html(f'<table class="{kind}"><caption>{escaped(caption)}</caption><tbody>{"".join(rows)}</tbody></table>')


def shares(rows: Sequence[tuple[str, Sequence[tuple[str, str, float]], str]], *, caption: str) -> Html:
    """One bar for each row, divided by what it is made of.

    Parameters
    ----------
    rows
        Name, parts (name, ``#rrggbb``, share 0..1 in order), and a text beside the bar.
    caption
        What is shown. What is left of a bar stays white.

    Examples
    --------
    >>> drawn = shares([("Au", [("water", "#1f6fb4", 0.25)], "25 %")], caption="Zones")
    >>> 'left:0.00%;width:25.00%' in drawn
    True
    """
    lines = []
    for name, parts, text in rows:
        drawn, left = "", 0.0
        for part, color, share in parts:
            if share > 0:
                place = f"left:{100 * left:.2f}%;width:{100 * share:.2f}%"
                drawn += f'<i title="{escaped(part)}" style="{place};background:{escaped(color)}"></i>'
                left += share
        lines.append(
            f'<tr><th scope="row">{escaped(name)}</th>'
            f'<td class="g"><div class="track whole" aria-hidden="true">{drawn}</div></td>'
            f'<td class="n">{escaped(text)}</td></tr>'
        )
    kind = "bars short" if len(lines) <= 20 else "bars"
    return Html(f'<table class="{kind}"><caption>{escaped(caption)}</caption><tbody>{"".join(lines)}</tbody></table>')


def matrix(
    rows: Sequence[str],
    columns: Sequence[str],
    values: np.ndarray,
    *,
    texts: Sequence[Sequence[str]],
    corner: str,
    caption: str,
    diagonal: bool = True,
) -> Html:
    """A table shaded by its values, each row by itself, so that rare classes can be read too.

    Parameters
    ----------
    rows, columns
        The names.
    values
        float64 (row, column), at least 0.
    texts
        The same as they are to be read.
    corner
        What rows and columns are: ``map \\ reference``.
    caption
        What it shows.
    diagonal
        Frame the cells where row and column are the same.
    """
    sums = values.sum(axis=1, keepdims=True)
    shares = np.divide(values, sums, out=np.zeros_like(values, dtype=float), where=sums > 0)
    heads = "".join(f'<th scope="col">{escaped(name)}</th>' for name in columns)
    body = []
    for name, part, row in zip(rows, shares, texts, strict=True):
        cells = ""
        for other, share, text in zip(columns, part, row, strict=True):
            color = shade(float(share))
            framed = ' class="d"' if diagonal and name == other else ""
            cells += f'<td{framed} style="background:{color};color:{ink_on(color)}">{escaped(text)}</td>'
        body.append(f'<tr><th scope="row">{escaped(name)}</th>{cells}</tr>')
    top = f'<thead><tr><th scope="col">{escaped(corner)}</th>{heads}</tr></thead>'
    return scrolled(f'<table class="matrix">{top}<tbody>{"".join(body)}</tbody></table>', caption)


def shade(share: float) -> str:
    """White for 0, dark blue for 1.

    >>> shade(0.0), shade(1.0)
    ('#ffffff', '#0b5394')
    """
    return "#" + "".join(f"{round(255 + (full - 255) * share):02x}" for full in _SHADE)


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    """What it is of."""
    values: tuple[float, ...]
    """One for each date, at least 0; NaN is a gap."""
    color: str
    """``#rrggbb``"""


def series(lines: Sequence[Series], *, places: Sequence[float], labels: Sequence[str], caption: str, unit: str) -> Html:
    """Lines over time from 0 on, each named at its end and dashed in its own way.

    Parameters
    ----------
    lines
        What to draw.
    places
        Where the dates lie, in any unit, rising.
    labels
        The dates.
    caption, unit
        What is drawn, and in what.
    """
    high = max((v for line in lines for v in line.values if math.isfinite(v)), default=0.0) or 1.0
    step = _round_step(high / 4)
    top = step * math.ceil(high / step - 1e-9)
    first, span = places[0], (places[-1] - places[0]) or 1.0

    def x(place: float) -> float:
        return _LEFT + (place - first) / span * (_WIDE - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _HIGH - _BOTTOM - value / top * (_HIGH - _TOP - _BOTTOM)

    drawn = []
    for number in range(round(top / step) + 1):
        level = number * step
        drawn.append(
            f'<line x1="{_LEFT}" x2="{_WIDE - _RIGHT}" y1="{y(level):.1f}" y2="{y(level):.1f}" stroke="{RULE}"/>'
        )
        drawn.append(f'<text x="{_LEFT - 5}" y="{y(level) + 4:.1f}" text-anchor="end">{level:,g}</text>')
    for number in _apart([x(place) for place in places], labels):
        anchor = "start" if number == 0 else "end" if number == len(labels) - 1 else "middle"
        place = f'x="{x(places[number]):.1f}" y="{_HIGH - 8}" text-anchor="{anchor}"'
        drawn.append(f"<text {place}>{escaped(labels[number])}</text>")
    ends = _spread([y(line.values[-1]) if math.isfinite(line.values[-1]) else y(0) for line in lines], 13)
    for number, (line, end) in enumerate(zip(lines, ends, strict=True)):
        points = [(x(at), y(value)) for at, value in zip(places, line.values, strict=True) if math.isfinite(value)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        for width, color in ((4, INK), (2.4, line.color)):  # a dark edge: pale colours can be seen on white
            dash = f' stroke-dasharray="{_DASHES[number % len(_DASHES)]}"'
            drawn.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}"{dash}/>')
        drawn += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{line.color}" stroke="{INK}" stroke-width=".8"/>'
            for a, b in points
        ]
        drawn.append(f'<text x="{_WIDE - _RIGHT + 7}" y="{end + 4:.1f}">{escaped(_short(line.name, 15))}</text>')
    text = f"{caption}, {unit}"
    return Html(
        f'<figure><svg class="chart" viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label="{escaped(text)}">'
        f"<title>{escaped(text)}</title>{''.join(drawn)}</svg><figcaption>{escaped(text)}</figcaption></figure>"
    )


def _apart(places: Sequence[float], labels: Sequence[str]) -> list[int]:
    """The labels below the line that have room: the last one, the first one, and what fits between."""
    last = len(labels) - 1
    shown, end = ([0], _LETTER * len(labels[0])) if last else ([], 0.0)
    limit = places[last] - (places[0] if last else 0.0) - _LETTER * len(labels[last])
    for number in range(1, last):
        place, half = places[number] - places[0], _LETTER * len(labels[number]) / 2
        if place - half > end + _LETTER and place + half < limit - _LETTER:
            shown.append(number)
            end = place + half
    return [*shown, last]


def _spread(places: Sequence[float], apart: float) -> list[float]:
    """The places, moved as little as needed for texts not to cover each other."""
    order = np.argsort(places, kind="stable")
    result = np.array(places, dtype=float)
    for before, now in pairwise(order):
        result[now] = max(result[now], result[before] + apart)
    beyond = max(0.0, float(result.max(initial=0)) - (_HIGH - 6))
    if beyond:  # push back up
        result[order[-1]] -= beyond
        for now, after in zip(order[-2::-1], order[:0:-1], strict=False):
            result[now] = min(result[now], result[after] - apart)
    return [float(value) for value in result]


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9))


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
