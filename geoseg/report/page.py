"""The page of a report, out of parts that are HTML already. What a user gave is escaped here and nowhere else."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from geoseg.files import replacing
from geoseg.report.style import CSS, POLICY

__all__ = [
    "Html",
    "bullets",
    "escaped",
    "facts",
    "keys",
    "named",
    "page",
    "paragraph",
    "section",
    "table",
    "write_page",
]

_MAX_ROWS = 200
_SHORT = 20  # characters that are not worth a line break


class Html(str):
    """Text that is HTML already; all else is escaped."""


def escaped(text: Any) -> Html:
    """Any text as HTML.

    >>> escaped("a < b"), escaped(Html("<b>x</b>"))
    ('a &lt; b', '<b>x</b>')
    """
    return text if isinstance(text, Html) else Html(html.escape(str(text)))


def page(title: str, parts: Iterable[str], *, subtitle: str = "") -> Html:
    """A whole page that needs no other file.

    Parameters
    ----------
    title, subtitle
        What it is of.
    parts
        Sections, in order.

    Examples
    --------
    >>> text = page("Areas of <map.tif>", [section("Areas", paragraph("None."))])
    >>> "<title>Areas of &lt;map.tif&gt;</title>" in text, "<script" in text, "://" in text
    (True, False, False)
    """
    head = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escaped(title)}</title>\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n<style>{CSS}</style></head>\n'
    )
    sub = f'<p class="sub">{escaped(subtitle)}</p>' if subtitle else ""
    body = "\n".join(part for part in parts if part)
    return Html(f"{head}<body><main><header><h1>{escaped(title)}</h1>{sub}</header>\n{body}\n</main></body></html>\n")


def write_page(text: str, path: str | Path) -> Path:
    """Write a page: whole or not at all."""
    target = Path(path)
    with replacing(target) as beside:
        beside.write_text(text, encoding="utf-8")
    return target


def section(heading: str, *parts: str) -> Html:
    """A heading and what belongs to it."""
    return Html(f"<section><h2>{escaped(heading)}</h2>\n" + "\n".join(part for part in parts if part) + "</section>")


def paragraph(text: str, *, note: bool = False) -> Html:
    """A paragraph; a note is fainter.

    >>> paragraph("1 < 2")
    '<p>1 &lt; 2</p>'
    """
    kind = ' class="note"' if note else ""
    return Html(f"<p{kind}>{escaped(text)}</p>")


def bullets(texts: Iterable[str]) -> Html:
    """A list."""
    return Html("<ul>" + "".join(f"<li>{escaped(text)}</li>" for text in texts) + "</ul>")


def keys(numbers: Mapping[str, str]) -> Html:
    """The few numbers that matter most, large.

    >>> keys({"of the pixels": "12 %"})
    '<ul class="key"><li><b>12 %</b> of the pixels</li></ul>'
    """
    items = "".join(f"<li><b>{escaped(value)}</b> {escaped(name)}</li>" for name, value in numbers.items())
    return Html(f'<ul class="key">{items}</ul>')


def facts(items: Mapping[str, Any]) -> Html:
    """Names and what they are; what is empty is left out."""
    rows = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>" for name, value in items.items() if value != "")
    return Html(f"<dl>{rows}</dl>")


def named(name: str, color: str | None) -> Html:
    """A class's name with its colour before it."""
    patch = "" if color is None else f'<span class="sw" style="background:{escaped(color)}"></span>'
    text = Html(f"{patch}{escaped(name)}")
    return text if len(name) > _SHORT else Html(f'<span class="nw">{text}</span>')


def scrolled(content: str, caption: str) -> Html:
    """A table that may be wider than the page, under its caption, which is not."""
    label = escaped(caption)
    return Html(
        f'<p class="cap">{label}</p><div class="scroll" tabindex="0" role="region" aria-label="{label}">{content}</div>'
    )


def table(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str,
    total: Sequence[str] | None = None,
    text_columns: Sequence[int] = (),
    rest: str = "in the tables beside this report",
) -> Html:
    """A table whose first column names its rows; a wide one can be scrolled, a long one is cut, and says so.

    Parameters
    ----------
    titles
        Of the columns, with units.
    rows
        Texts, the first of which is the row's name.
    caption
        What the table shows.
    total
        A last row.
    text_columns
        Columns of text; all others hold numbers and are set flush right.
    rest
        Where rows are that have no room.

    Examples
    --------
    >>> text = table(["class", "ha"], [["water", "1.5"]], caption="Areas")
    >>> '<th scope="row">water</th><td>1.5</td>' in text
    True
    """

    def row_of(row: Sequence[str], kind: str = "") -> str:
        cells = "".join(
            f'<td class="t">{escaped(cell)}</td>' if number in text_columns else f"<td>{escaped(cell)}</td>"
            for number, cell in enumerate(row[1:], start=1)
        )
        return f'<tr{kind}><th scope="row">{escaped(row[0])}</th>{cells}</tr>'

    heads = "".join(f'<th scope="col">{escaped(title)}</th>' for title in titles)
    body = "".join(row_of(row) for row in rows[:_MAX_ROWS])
    more = len(rows) - _MAX_ROWS
    said = paragraph(f"The first {_MAX_ROWS} of {len(rows):,} rows; all are {rest}.", note=True) if more > 0 else ""
    body += row_of(total, ' class="sum"') if total else ""
    return Html(f"{scrolled(f'<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>', caption)}{said}")
