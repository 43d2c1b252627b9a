"""What became what, as bands from left to right: a Sankey diagram without a script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from geoseg.report.page import Html, escaped
from geoseg.report.style import INK

__all__ = ["Flow", "sankey"]

_WIDE, _LEFT, _RIGHT, _NODE = 380, 122, 122, 9
_BODY, _GAP, _LINE = 210, 16, 13


@dataclass(frozen=True)
class Flow:
    """From one class to another."""

    source: str
    """The class before."""
    target: str
    """The class after."""
    value: float
    """How much, above 0."""
    text: str
    """The same in words, with its unit."""


def sankey(
    flows: Sequence[Flow], *, colors: dict[str, str], texts: tuple[dict[str, str], dict[str, str]], caption: str
) -> Html:
    """Bands as high as what flows; classes before on the left, after on the right, the largest on top.

    Parameters
    ----------
    flows
        What to draw.
    colors
        ``#rrggbb`` of each class. A band has the colour of where it comes from, and an edge.
    texts
        The sum of each class before and after, in words.
    caption
        What is shown.

    Examples
    --------
    >>> text = sankey([Flow("forest", "field", 3.0, "3 ha")], colors={"forest": "#1b6e35", "field": "#dcc268"},
    ...               texts=({"forest": "3 ha"}, {"field": "3 ha"}), caption="Change")
    >>> "<title>forest to field: 3 ha</title>" in text
    True
    """
    flows = [flow for flow in flows if flow.value > 0]
    if not flows:
        return Html("")
    total = math.fsum(flow.value for flow in flows)
    sides = [_sums(flows, "source"), _sums(flows, "target")]
    scale = _BODY / total
    tops = [_tops(side, scale) for side in sides]
    high = max(top[name] + side[name] * scale for top, side in zip(tops, sides, strict=True) for name in side) + 14
    ranks = [{name: number for number, name in enumerate(side)} for side in sides]
    at = [dict(top) for top in tops]
    bands = []
    starts = {}
    for flow in sorted(flows, key=lambda f: (ranks[0][f.source], ranks[1][f.target])):
        starts[flow] = at[0][flow.source]
        at[0][flow.source] += flow.value * scale
    for flow in sorted(flows, key=lambda f: (ranks[1][f.target], ranks[0][f.source])):
        top, thick = at[1][flow.target], flow.value * scale
        at[1][flow.target] += thick
        bands.append(_band(flow, starts[flow], top, thick, colors.get(flow.source, "#999999")))
    nodes = [
        _node(side, name, value * scale, top[name], colors.get(name, "#999999"), texts[side].get(name, ""))
        for side, (sums, top) in enumerate(zip(sides, tops, strict=True))
        for name, value in sums.items()
    ]
    return Html(
        f'<figure><svg class="chart" viewBox="0 0 {_WIDE} {high:.0f}" role="img" aria-label="{escaped(caption)}">'
        f"{''.join(bands)}{''.join(nodes)}</svg><figcaption>{escaped(caption)}</figcaption></figure>"
    )


def _sums(flows: Sequence[Flow], side: str) -> dict[str, float]:
    sums: dict[str, float] = {}
    for flow in flows:
        sums[getattr(flow, side)] = sums.get(getattr(flow, side), 0.0) + flow.value
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def _tops(sums: dict[str, float], scale: float) -> dict[str, float]:
    """Where each class begins: two lines of text have room beside each."""
    tops, place = {}, 8.0
    for name, value in sums.items():
        room = max(0.0, 2 * _LINE + 2 - value * scale) / 2
        tops[name] = place + room
        place += value * scale + 2 * room + _GAP / 2
    return tops


def _band(flow: Flow, start: float, end: float, thick: float, color: str) -> str:
    left, right = _LEFT + _NODE, _WIDE - _RIGHT - _NODE
    middle = (left + right) / 2
    path = (
        f"M{left} {start:.1f}C{middle} {start:.1f} {middle} {end:.1f} {right} {end:.1f}V{end + thick:.1f}"
        f"C{middle} {end + thick:.1f} {middle} {start + thick:.1f} {left} {start + thick:.1f}Z"
    )
    title = escaped(f"{flow.source} to {flow.target}: {flow.text}")
    return (
        f'<path d="{path}" fill="{color}" fill-opacity=".6" stroke="{INK}" stroke-opacity=".5" stroke-width=".7">'
        f"<title>{title}</title></path>"
    )


def _node(side: int, name: str, high: float, top: float, color: str, text: str) -> str:
    x = _LEFT if side == 0 else _WIDE - _RIGHT - _NODE
    at = (_LEFT - 6, "end") if side == 0 else (_WIDE - _RIGHT + 6, "start")
    middle = top + high / 2
    short = name if len(name) <= 17 else name[:16].rstrip() + "…"
    return (
        f'<rect x="{x}" y="{top:.1f}" width="{_NODE}" height="{max(high, 0.5):.1f}" fill="{color}" stroke="{INK}" '
        f'stroke-width=".8"/><text x="{at[0]}" y="{middle - 2:.1f}" text-anchor="{at[1]}">{escaped(short)}</text>'
        f'<text x="{at[0]}" y="{middle + 11:.1f}" text-anchor="{at[1]}">{escaped(text)}</text>'
    )
