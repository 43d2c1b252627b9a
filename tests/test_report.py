"""Reports say what the tables say, hold nothing that a browser would fetch or run, and can be read by everybody."""

from __future__ import annotations

import itertools
import math
import os
import re
import shutil
import subprocess
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import geoseg
from geoseg.accuracy import assess_objects
from geoseg.change import change_table
from geoseg.classes import ClassInfo
from geoseg.classmap import class_map
from geoseg.estimates import estimate_accuracy, units_of_matrix
from geoseg.report import report_areas, report_object_accuracy, write_page
from geoseg.report.charts import Bar, Series, _apart, _spread, bars, matrix, series, shade
from geoseg.report.figures import Outline, class_figure, map_figure
from geoseg.report.flows import Flow, sankey
from geoseg.report.made import how_made, subtitle
from geoseg.report.numbers import Digits, count, percent, signed
from geoseg.report.of_accuracy import accuracy_parts
from geoseg.report.of_change import change_parts, series_parts
from geoseg.report.page import Html, escaped, page, section, table
from geoseg.report.style import BACKGROUND, FAINT, INK, LINK, contrast, ink_on

CHROMIUM = os.environ.get("GEOSEG_CHROMIUM", "chromium")
VOID = {"meta", "img", "br", "hr", "link", "input"}
NASTY = "<script>alert(1)</script> & \"quotes\" 'single' a\\b"


class Reader(HTMLParser):
    """Reads a page, and notes what does not fit."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1:] == [tag], f"</{tag}> closes <{self.open[-1:]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1:] != ["style"]:
            self.words.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def check(text: str) -> Reader:
    """What every report keeps."""
    found = Reader(text)
    assert not found.open
    assert text.startswith("<!doctype html>")
    assert found.all("html")[0]["lang"] == "en"
    names = {name for name, _ in found.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base"}
    for _, attrs in found.tags:
        assert not any(name.startswith("on") for name in attrs)
        for name in ("src", "href", "action", "srcset"):
            assert name not in attrs or str(attrs[name]).startswith("data:image/")
    assert not re.search(r"url\(|@import|://", text)
    assert all(image["alt"] for image in found.all("img"))
    assert all(head.get("scope") in ("row", "col") for head in found.all("th"))
    for chart in found.all("svg"):
        assert chart.get("aria-label") or chart.get("preserveaspectratio") == "none"  # outlines belong to their picture
    assert [attrs for attrs in found.all("meta") if attrs.get("name") == "viewport"]
    assert len(found.all("h1")) == 1
    return found


def cover(shape: tuple[int, int] = (40, 60), crs: str = "EPSG:32633", name: str = "water") -> geoseg.classify:  # type: ignore[valid-type]
    values = np.ones(shape, np.uint8)
    values[:, : shape[1] // 3] = 2
    values[0] = 255
    grid = GeoBox.from_bbox(
        (500_000, 5_000_000, 500_000 + 10 * shape[1], 5_000_000 + 10 * shape[0]), crs, resolution=10
    )
    return class_map(values, grid, [ClassInfo(1, name, "#1f6fb4"), ClassInfo(2, "land", "#d0b48a")])


def areas_page(name: str = "water") -> str:
    areas = class_areas_of(cover(name=name))
    record = {"inputs": {"raster": Path("a.tif")}, "options": {"min_area": "9px"}, "versions": {"geoseg": "1"}}
    return report_areas(cover(name=name), areas, title="map.tif", record=record)


def class_areas_of(cover: object) -> pd.DataFrame:
    return geoseg.class_areas(cover)  # type: ignore[no-any-return]


def trial_accuracy() -> tuple[str, ...]:
    names = ["loss", "gain", "forest", "other"]
    counts = [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]]
    sizes = {"loss": 18_000.0, "gain": 13_500.0, "forest": 288_000.0, "other": 580_500.0}
    found = estimate_accuracy(units_of_matrix(pd.DataFrame(counts, index=names, columns=names)), sizes, classes=names)
    areas = found.areas.rename(columns={"estimate": "area_ha", "lower": "lower_ha", "upper": "upper_ha"})
    areas = areas.assign(class_name=names, mapped_ha=list(sizes.values()))
    return tuple(accuracy_parts(found, areas, colors={"loss": "#c0392b"}))


def transitions() -> pd.DataFrame:
    values = {"forest": 0, "field": 1, "water": 2}
    moves = [("forest", "forest", 90.0), ("forest", "field", 8.0), ("field", "field", 40.0), ("field", "forest", 2.5),
             ("water", "water", 6.0), ("water", "field", 0.001)]  # fmt: skip
    rows = [(values[a], a, values[b], b, int(ha * 100), ha * 1e4, ha) for a, b, ha in moves]
    return pd.DataFrame(rows, columns=["from", "from_name", "to", "to_name", "pixels", "area_m2", "area_ha"])


def whole_page() -> str:
    """Everything that reports are made of, on one page."""
    colors = {"forest": "#1b6e35", "field": "#dcc268", "water": "#1f6fb4"}
    over_time = pd.DataFrame({"2000": [98.0, 42.5, 6.0], "2010": [92.5, 48.0, 6.0]}, index=list(colors))
    long = pd.DataFrame(np.full((12, 12), 1 / 144), index=[f"a rather long class name {k}" for k in range(12)])
    zone = Outline("zone", shapely.box(5e5, 5e6, 5e5 + 99, 5e6 + 99))
    parts = [
        section("Map", class_figure(cover(), caption="A map.", outlines=[zone])),
        *trial_accuracy(),
        *change_parts(transitions(), change_table(transitions(), dates=(2000, 2010)), colors=colors),
        *series_parts(over_time, places=[2000, 2010], labels=list(over_time), colors=colors),
        section("Wide", matrix(list(long.index), list(long.index), long.to_numpy(), texts=[["0.69 %"] * 12] * 12,
                               corner="x", caption="A wide matrix")),
        how_made({"inputs": {"raster": "x" * 300}}),
    ]  # fmt: skip
    return page("Everything", parts, subtitle=subtitle("trial"))


# The page


@pytest.mark.parametrize("make", [areas_page, whole_page])
def test_a_page_is_whole_and_needs_nothing_else(make) -> None:
    check(make())


def test_names_cannot_break_out() -> None:
    found = check(areas_page(NASTY))
    assert NASTY in found.words  # read back as it was given


@given(st.text(min_size=1, max_size=30))
def test_any_text_comes_back_as_it_was(text: str) -> None:
    read = HTMLParser(convert_charrefs=True)
    words: list[str] = []
    read.handle_data = words.append  # type: ignore[method-assign]
    read.feed(f"<p>{escaped(text)}</p>")
    read.close()
    assert "".join(words) == text
    assert escaped(Html("<b>x</b>")) == "<b>x</b>"


def test_the_page_says_what_the_table_says() -> None:
    words = " ".join(check(areas_page()).words)
    table = class_areas_of(cover())
    for row in table.itertuples():
        assert row.class_name in words
        assert f"{row.pixels:,}" in words
    assert "21.61 %" not in words
    assert f"{100 * table['share'].iloc[0]:.1f} %" in words
    assert "2.5 % of the area of the raster have no data" in words  # 60 of 2400 pixels
    assert "a.tif" in words
    assert "min area 9px" in words


def test_a_long_table_is_cut_and_says_so() -> None:
    rows = [[f"zone {number}", "1"] for number in range(250)]
    found = check(page("t", [table(["zone", "ha"], rows, caption="Zones", total=["all", "250"], rest="in zones.csv")]))
    assert "zone 199" in found.words
    assert "zone 200" not in found.words
    assert "The first 200 of 250 rows; all are in zones.csv." in found.words
    assert "all" in found.words


def test_it_is_written_whole(tmp_path: Path) -> None:
    text = areas_page("Wässerchen")
    assert write_page(text, tmp_path / "report.html").read_text(encoding="utf-8") == text


def test_a_day_can_be_set(monkeypatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert subtitle("Areas") == "Areas · 1970-01-01"


# Numbers


@given(st.lists(st.floats(-1e12, 1e12, allow_nan=False), min_size=1, max_size=8))
def test_numbers_are_as_good_as_their_digits(values: list[float]) -> None:
    show = Digits(values)
    for value in values:
        text = show(value)
        plain = text.replace(",", "").replace("\N{MINUS SIGN}", "-")
        if plain[0] in "<>":
            assert 0 < abs(value) <= 0.5 * 10.0**-show.decimals * (1 + 1e-9)
        else:
            assert abs(float(plain) - value) <= 0.5000001 * 10.0**-show.decimals + 1e-9 * abs(value)
            assert value == 0 or float(plain) != 0


@given(st.floats(0, 1))
def test_a_share_is_never_rounded_to_nothing_or_to_all(share: float) -> None:
    text = percent(share)
    assert (text == "0 %") == (share == 0)
    assert text not in ("100.0 %", "0.0 %")


def test_numbers_that_are_none() -> None:
    assert {count(math.nan), percent(math.nan), signed(math.nan), Digits([])(math.nan)} == {"–"}


# Charts


def test_bars_hold_their_values_and_intervals() -> None:
    drawn = bars([Bar("a", 50, "50 ha", lower=40, upper=100, mark=20), Bar("b", 0, "0 ha"), Bar("c", math.nan, "–")],
                 caption="Areas")  # fmt: skip
    assert re.findall(r'<i style="width:([\d.]+)%', drawn) == ["50.00"]
    assert re.findall(r'<b style="left:([\d.]+)%;width:([\d.]+)%', drawn) == [("40.00", "60.00")]
    assert re.findall(r'<u style="left:([\d.]+)%', drawn) == ["20.00"]
    check(page("t", [drawn]))


@given(st.lists(st.floats(0, 1e9), max_size=6))
def test_bars_stay_in_their_track(values: list[float]) -> None:
    drawn = bars([Bar(str(k), value, "") for k, value in enumerate(values)], caption="x")
    assert all(float(width) <= 100 for width in re.findall(r"width:([\d.]+)%", drawn))


def test_bands_are_as_high_as_what_flows() -> None:
    flows = [Flow("a", "b", 3.0, "3 ha"), Flow("a", "c", 1.0, "1 ha"), Flow("d", "b", 4.0, "4 ha")]
    drawn = sankey(flows, colors={}, texts=({"a": "4 ha", "d": "4 ha"}, {"b": "7 ha", "c": "1 ha"}), caption="Change")
    spans = {}
    for path, title in re.findall(r'<path d="([^"]+)"[^>]*><title>([^<]+)</title>', drawn):
        start, end = re.match(r"M[\d.]+ ([\d.]+)C.*?[\d.]+ ([\d.]+)Z$", path).groups()  # type: ignore[union-attr]
        spans[title] = float(end) - float(start)
    # Of 8 ha, which are 210 high.
    assert spans == pytest.approx({"a to b: 3 ha": 78.75, "a to c: 1 ha": 26.25, "d to b: 4 ha": 105.0}, abs=0.11)
    assert sankey([], colors={}, texts=({}, {}), caption="Change") == ""


def test_lines_begin_at_zero_and_keep_gaps() -> None:
    drawn = series([Series("a", (0.0, 10.0), "#112233"), Series("b", (5.0, math.nan), "#445566")], places=[0, 1],
                   labels=["2000", "2010"], caption="Areas", unit="ha")  # fmt: skip
    line = re.findall(r'points="([^"]*)"', drawn)
    assert [tuple(map(float, point.split(","))) for point in line[0].split()] == [(46.0, 214.0), (272.0, 12.0)]
    assert len(line[2].split()) == 1
    check(page("t", [drawn]))


@given(st.lists(st.floats(12, 214), min_size=1, max_size=12))
def test_names_at_lines_do_not_cover_each_other(places: list[float]) -> None:
    moved = sorted(_spread(places, 13))
    assert all(b - a >= 13 - 1e-6 for a, b in itertools.pairwise(moved))
    assert moved[-1] <= 234 + 1e-6


@given(st.lists(st.floats(0.1, 20), min_size=1, max_size=9), st.integers(1, 12))
def test_dates_below_lines_do_not_cover_each_other(steps: list[float], letters: int) -> None:
    places = np.cumsum([0.0, *steps])
    places = places / places[-1] * 226
    labels = ["x" * letters] * len(places)
    shown = _apart(list(places), labels)
    assert shown[0] == 0
    assert shown[-1] == len(places) - 1
    wide = 7 * letters
    ends = [wide, *(places[n] + wide / 2 for n in shown[1:-1])]
    begins = [*(places[n] - wide / 2 for n in shown[1:-1]), places[-1] - wide]
    assert all(end < begin for end, begin in zip(ends, begins, strict=True))


# Accessible


def test_all_text_can_be_read() -> None:
    assert min(contrast(ink, BACKGROUND) for ink in (INK, FAINT, LINK)) >= 4.5
    assert min(contrast(ink_on(shade(share / 100)), shade(share / 100)) for share in range(101)) >= 4.5


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # a well-known pair, just below 4.5
    assert contrast("#0000ff", "#ffffff") == pytest.approx(8.59, abs=0.005)


# Maps


def picture_of(text: str) -> np.ndarray:
    import base64
    import io

    from PIL import Image

    data = re.search(r'src="data:image/png;base64,([^"]+)"', text).group(1)  # type: ignore[union-attr]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def test_a_map_has_the_colours_of_its_classes_where_they_are() -> None:
    text = class_figure(cover((300, 300)), caption="A map.")
    picture = picture_of(text)
    assert picture.shape == (300, 300, 3)
    assert picture[150, 50].tolist() == [0xD0, 0xB4, 0x8A]
    assert picture[150, 250].tolist() == [0x1F, 0x6F, 0xB4]
    assert picture[0, 10].tolist() == [0xE9, 0xE9, 0xE6]  # no data
    assert {"water", "land", "no data"} <= set(Reader(text).words)


def test_a_pixel_is_as_high_as_it_is_on_the_ground() -> None:
    grid = GeoBox.from_bbox((10, 59.5, 12, 60.5), "EPSG:4326", shape=(500, 1000))  # 111 × 112 km
    text = class_figure(class_map(np.ones((500, 1000), np.uint8), grid, [ClassInfo(1, "a")]), caption="x")
    high, wide, _ = picture_of(text).shape
    assert high == pytest.approx(wide, rel=0.02)


def test_the_scale_bar_is_as_long_as_it_says() -> None:
    grid = GeoBox.from_bbox((5e5, 5e6, 5e5 + 1000, 5e6 + 200), "EPSG:32633", resolution=10)
    text = map_figure(np.zeros((20, 100, 3), np.uint8), grid, caption="x")
    percent_of_width = float(re.search(r'class="scale"><i style="width:([\d.]+)%', text).group(1))  # type: ignore[union-attr]
    assert "200 m" in Reader(text).words
    assert percent_of_width == pytest.approx(20.0, rel=1e-3)  # 0.9996 at the central meridian


def test_outlines_lie_where_they_are() -> None:
    zone = shapely.box(500_100, 5_000_100, 500_300, 5_000_300)
    text = class_figure(cover((40, 60)), caption="x", outlines=[Outline(NASTY, zone)])
    view = re.search(r'viewBox="0 0 (\d+) (\d+)"', text)
    path = re.search(r'<path d="M([^"]+)"', text)
    assert view
    assert path
    scale = int(view.group(1)) / 60
    points = np.array([[float(part) for part in point.split()] for point in path.group(1).split("L")]) / scale
    assert points.min(axis=0) == pytest.approx([10, 10], abs=0.2)
    assert points.max(axis=0) == pytest.approx([30, 30], abs=0.2)
    assert NASTY in Reader(text).words


def test_objects_against_a_reference() -> None:
    truth = gpd.GeoDataFrame(geometry=[shapely.box(x, 0, x + 10, 10) for x in (0, 20, 40)], crs="EPSG:32632")
    extra = gpd.GeoDataFrame(geometry=[shapely.box(60, 0, 70, 10)], crs="EPSG:32632")
    found = assess_objects(gpd.GeoDataFrame(pd.concat([truth.iloc[:2], extra]), crs="EPSG:32632"), truth)
    words = check(report_object_accuracy(found, title="o.gpkg", record={"settings": found.settings})).words
    assert {"found", "missed", "false", "0.667"} <= set(words)
    empty = assess_objects(truth.iloc[:0], truth.iloc[:0])
    assert "There is no object on either side." in check(report_object_accuracy(empty, title="o", record={})).words


def test_of_accuracy_and_change_the_figures_are_those_of_the_tables() -> None:
    words = check(page("t", trial_accuracy())).words
    # Olofsson et al. 2014: 21,158 ± 6158 ha of deforestation, 94.7 % overall.
    assert "15,000 to 27,315 ha" in words
    assert "94.7 %" in words
    words = check(page("t", change_parts(transitions(), change_table(transitions()), colors={}))).words
    assert "10.50" in words
    assert "7.2 %" in words
    assert any("dates of the maps were not given" in word for word in words)
    still = transitions().query("`from` == to")
    assert "Nothing changed." in check(page("t", change_parts(still, change_table(still), colors={}))).words


# In a browser


@cache
def why_no_browser() -> str:
    return "" if shutil.which(CHROMIUM) else f"no browser: {CHROMIUM} is not there (set GEOSEG_CHROMIUM)"


def browse(*arguments: str) -> str:
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.skipif(bool(why_no_browser()), reason=why_no_browser() or "there is one")
@pytest.mark.parametrize("width", [360, 794])  # a phone, and A4
def test_a_browser_shows_it_without_scrolling_sideways(tmp_path: Path, width: int) -> None:
    text = whole_page()
    assert "Content-Security-Policy" in text
    # A script measures the page from within a frame as wide as the screen; the policy of the real page would refuse it.
    measured = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text).replace(
        "</body>",
        "<script>const d=document.documentElement;const i=[...document.images].every(i=>i.naturalWidth>0);"
        "parent.postMessage(`W${d.scrollWidth}H${d.scrollHeight}I${i}E`,'*')</script></body>",
    )
    (tmp_path / "page.html").write_text(measured, encoding="utf-8")
    (tmp_path / "frame.html").write_text(
        "<body style='margin:0'><script>onmessage=e=>document.title=e.data</script>"
        f"<iframe src='page.html' style='border:0;width:{width}px;height:800px'></iframe>"
    )
    seen = browse("--virtual-time-budget=5000", "--dump-dom", (tmp_path / "frame.html").as_uri())
    wide, high, images = re.search(r"W(\d+)H(\d+)I(\w+)E", seen).groups()  # type: ignore[union-attr]
    assert int(wide) == width
    assert int(high) > 1000
    assert images == "true"


@pytest.mark.skipif(bool(why_no_browser()), reason=why_no_browser() or "there is one")
def test_a_browser_draws_it(tmp_path: Path) -> None:
    import matplotlib.image

    write_page(areas_page(), tmp_path / "report.html")
    shot = tmp_path / "shot.png"
    browse("--window-size=794,1400", f"--screenshot={shot}", (tmp_path / "report.html").as_uri())
    picture = np.round(matplotlib.image.imread(shot)[..., :3] * 255).astype(int)
    water = (picture == (0x1F, 0x6F, 0xB4)).all(axis=-1).sum()
    land = (picture == (0xD0, 0xB4, 0x8A)).all(axis=-1).sum()
    assert water > 10_000
    assert 1.5 < water / land < 2.5
