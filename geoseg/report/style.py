"""How a report looks: on a phone, on a screen and on paper, without anything from the network."""

from __future__ import annotations

__all__ = ["BACKGROUND", "CSS", "FAINT", "INK", "LINK", "POLICY", "RULE", "contrast", "ink_on"]

INK = "#1c1f23"
FAINT = "#565d66"
LINK = "#0b5394"
RULE = "#c9ced6"
BACKGROUND = "#ffffff"

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""The browser itself keeps the page from loading or running anything."""

CSS = f"""
:root{{color-scheme:light}}
*{{box-sizing:border-box}}
html{{-webkit-text-size-adjust:100%}}
body{{font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;color:{INK};
background:{BACKGROUND};max-width:58rem;margin:0 auto;padding:1.25rem 1rem 3rem;overflow-wrap:break-word;
-webkit-print-color-adjust:exact;print-color-adjust:exact}}
h1{{font-size:1.6rem;line-height:1.2;margin:0 0 .2rem}}
h2{{font-size:1.2rem;line-height:1.3;margin:2.2rem 0 .6rem;padding-top:.6rem;border-top:2px solid {INK}}}
h3{{font-size:1rem;margin:1.4rem 0 .4rem}}
p{{margin:.5rem 0;max-width:44rem}}
.sub,figcaption,caption,.cap,.note{{color:{FAINT}}}
a{{color:{LINK}}}
.key{{display:flex;flex-wrap:wrap;gap:.8rem 2rem;margin:1rem 0;padding:0;list-style:none}}
.key b{{display:block;font-size:1.5rem;line-height:1.2;font-variant-numeric:tabular-nums}}
.scroll{{overflow-x:auto;margin:0 0 .6rem}}
.scroll:focus-visible{{outline:3px solid {LINK}}}
table{{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92rem}}
caption,.cap{{text-align:left;padding:.2rem 0;font-size:.92rem;max-width:44rem}}
.cap{{margin:.8rem 0 0}}
th,td{{padding:.25rem .7rem .25rem 0;text-align:right;vertical-align:top;border-bottom:1px solid {RULE}}}
td,thead th{{white-space:nowrap}}td.t{{white-space:normal}}
th{{font-weight:600}}.scroll th[scope=row]{{min-width:8rem}}
thead th{{vertical-align:bottom;border-bottom:2px solid {FAINT}}}
th:first-child,td.t{{text-align:left}}
tr.sum th,tr.sum td{{border-top:2px solid {FAINT};font-weight:600}}
.nw{{white-space:nowrap}}
.sw{{display:inline-block;width:.85em;height:.85em;margin-right:.45em;border:1px solid {FAINT};vertical-align:-.06em}}
figure{{margin:.8rem 0;break-inside:avoid}}
figcaption{{font-size:.92rem;margin-top:.3rem}}
.maps{{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start}}
.maps figure{{flex:1 1 20rem;min-width:0;margin:0}}
.frame{{position:relative;border:1px solid {FAINT};line-height:0}}
.frame,.under{{max-width:calc(44rem*var(--a))}}
.frame img{{width:100%;height:auto;image-rendering:pixelated}}
.frame svg{{position:absolute;inset:0;width:100%;height:100%}}
.under{{display:flex;justify-content:space-between;align-items:center;margin-top:.35rem;font-size:.85rem}}
.scale{{flex:1 1 auto}}
.scale i{{display:block;height:.45rem;border:1px solid {INK};
background:linear-gradient(90deg,{INK} 50%,{BACKGROUND} 50%)}}
.north svg{{width:1.6rem;height:1.9rem;display:block}}
ul.legend{{list-style:none;margin:.5rem 0;padding:0;display:flex;flex-wrap:wrap;gap:.15rem 1.2rem;font-size:.92rem}}
.bars{{width:100%;table-layout:fixed}}
.bars th{{width:30%;font-weight:400;text-align:left}}
.bars td{{border-bottom:1px solid {RULE}}}
.bars td.n{{width:27%}}
.track{{position:relative;height:1.25rem;margin:.05rem 0}}
.track i{{position:absolute;top:.15rem;bottom:.15rem;left:0;border:1px solid {FAINT}}}
.track.whole{{outline:1px solid {FAINT};outline-offset:-1px}}.track.whole i{{border-width:0 1px 0 0;top:0;bottom:0}}
.track b{{position:absolute;top:50%;height:0;border-top:2px solid {INK}}}
.track b::before,.track b::after{{content:"";position:absolute;top:-.36rem;height:.6rem;border-left:2px solid {INK}}}
.track b::before{{left:-1px}}.track b::after{{right:-1px}}
.track u{{position:absolute;top:0;bottom:0;border-left:3px dotted {INK}}}
table.matrix td,table.matrix th{{padding:.3rem .55rem;border:1px solid {RULE}}}
table.matrix td.d{{outline:2px solid {INK};outline-offset:-2px}}
svg.chart{{width:100%;max-width:36rem;height:auto;display:block}}
svg.chart text{{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:{INK}}}
dl{{display:grid;grid-template-columns:minmax(7rem,max-content) 1fr;gap:.15rem 1.2rem;margin:.6rem 0;font-size:.92rem}}
dt{{color:{FAINT}}}dd{{margin:0;min-width:0;overflow-wrap:anywhere}}
li{{margin:.3rem 0;max-width:44rem}}
@media (max-width:32rem){{
body{{padding:1rem .75rem 2rem}}h1{{font-size:1.35rem}}
.bars,.bars tbody,.bars tr{{display:block}}
.bars tr{{display:grid;grid-template-columns:1fr auto;border-bottom:1px solid {RULE};padding:.2rem 0}}
.bars th,.bars td,.bars td.n{{width:auto;border:0;padding:0}}
.bars td.g{{grid-column:1/-1;grid-row:2}}
.bars caption{{display:block}}
dl{{grid-template-columns:1fr}}dd{{margin-bottom:.4rem}}
}}
@media print{{
@page{{margin:16mm 14mm}}
body{{font-size:10.5pt;max-width:none;padding:0}}
h1,h2,h3,caption,.cap{{break-after:avoid}}tr,li,dd,.bars.short,.matrix,.key{{break-inside:avoid}}thead{{display:table-header-group}}
.scroll{{overflow:visible}}svg.chart{{max-width:24rem}}
.frame,.under{{max-width:calc(150mm*var(--a))}}.maps figure{{flex-basis:14rem}}
}}
"""


def contrast(one: str, other: str) -> float:
    """How well one colour can be read on another, 1..21: WCAG 2.1, where 4.5 is enough for text.

    >>> contrast("#000000", "#ffffff")
    21.0
    """
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def ink_on(color: str) -> str:
    """Black or white text, whichever can be read better on a colour: 4.58 at least, whatever the colour.

    >>> ink_on("#222222"), ink_on("#eeeeee")
    ('#ffffff', '#000000')
    """
    return max(("#000000", "#ffffff"), key=lambda ink: contrast(ink, color))


def _luminance(color: str) -> float:
    parts = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
