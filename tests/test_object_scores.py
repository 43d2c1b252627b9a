"""Scores of objects, against hand-computed cases, brute force, shapely and COCO's own tool."""

from __future__ import annotations

import itertools

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import box

import geoseg
from geoseg.accuracy import matching
from geoseg.accuracy.average_precision import THRESHOLDS
from geoseg.accuracy.matching import Pairs, match_one_to_one
from geoseg.accuracy.outlines import boundary_iou, polis_distance
from geoseg.errors import OptionError

# Not (0, 0) in the middle: there PROJ is exact, and 0.4 mm off all around.
METRES = pyproj.CRS("+proj=laea +lat_0=47 +lon_0=11 +x_0=9000 +y_0=9000 +datum=WGS84 +units=m")
BOXES = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(2, 12), st.integers(2, 12)), max_size=8
).map(lambda corners: frame([box(x, y, x + w, y + h) for x, y, w, h in corners]))


def frame(shapes, crs=METRES, **columns) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(columns, geometry=np.array(shapes, dtype=object), crs=crs)


def town(rng: np.random.Generator, count: int) -> list[shapely.Polygon]:
    """Houses of six corners on plots of 30 m."""
    places = rng.permutation(400)[:count]
    houses = []
    for x, y in zip(places % 20 * 30, places // 20 * 30, strict=True):
        w, h = rng.integers(4, 27, 2)
        houses.append(box(x, y, x + w, y + h).difference(box(x, y, x + w // 2, y + h // 3)))
    return houses


@pytest.mark.parametrize("crs", [METRES, "EPSG:4326", "EPSG:3857", "EPSG:2154", "EPSG:4979"])
def test_equal_sides_are_perfect(crs) -> None:
    truth = frame(town(np.random.default_rng(0), 40), score=np.linspace(0, 1, 40)).to_crs(crs)
    found = geoseg.assess_objects(truth, truth, score_column="score")
    for figure in ("precision", "recall", "f1", "pq", "sq", "rq", "ap", "ap50", "ap75"):
        assert found.overall[figure] == 1, figure
    assert found.overall["boundary_iou"] == pytest.approx(1, abs=1e-6)
    assert found.overall["polis_m"] == 0
    assert found.overall[["found", "missed", "false", "split", "merged"]].tolist() == [40, 0, 0, 0, 0]
    assert found.overall["count_error"] == 0
    assert found.overall["over_segmentation"] == pytest.approx(0, abs=1e-9)
    assert found.by_size["found"].sum() == 40


def test_a_square_shifted_by_hand() -> None:
    """Ten metres, shifted by two: 80 of 120 in common; two of four corners 2 m off on both sides."""
    truth, moved = frame([box(0, 0, 10, 10)]), frame([box(2, 0, 12, 10)])
    row = geoseg.assess_objects(moved, truth).overall
    assert row["sq"] == row["pq"] == pytest.approx(2 / 3, abs=1e-6)
    assert row["f1"] == 1
    assert row["polis_m"] == pytest.approx(1, rel=1e-5)
    assert row["over_segmentation"] == pytest.approx(0.2)
    assert row["under_segmentation"] == pytest.approx(0.2)
    # Bands of 1 m: 36 m² each. Common: the horizontal bars, 2 x 8 m²; of the four uprights none lies on another.
    assert row["boundary_iou"] == pytest.approx(16 / 56, rel=1e-5)


def test_a_square_shifted_by_half() -> None:
    truth, moved = frame([box(0, 0, 10, 10)]), frame([box(5, 0, 15, 10)])
    strict = geoseg.assess_objects(moved, truth)
    assert strict.overall[["found", "missed", "false"]].tolist() == [0, 1, 1]
    assert strict.overall["pq"] == strict.overall["f1"] == 0
    assert np.isnan(strict.overall["sq"])
    assert np.isnan(strict.overall["polis_m"])
    assert strict.matches["class_name"].tolist() == ["false", "missed"]
    lenient = geoseg.assess_objects(moved, truth, iou=1 / 3)
    assert lenient.overall["pq"] == pytest.approx(1 / 3)


def test_an_iou_on_the_threshold_counts() -> None:
    truth, half = frame([box(0, 0, 10, 10)]), frame([box(0, 0, 10, 5)])
    assert geoseg.assess_objects(half, truth).overall["found"] == 1
    assert geoseg.assess_objects(half.to_crs(3857), truth.to_crs(32632)).overall["found"] == 1


def test_figures_by_hand() -> None:
    """Three of the reference, four objects: IoUs 1 and 0.8; one missed, two false."""
    truth = frame([box(0, 0, 10, 10), box(20, 0, 30, 10), box(40, 0, 50, 10)])
    objects = frame([box(0, 0, 10, 10), box(20, 0, 28, 10), box(60, 0, 70, 10), box(80, 0, 90, 10)])
    row = geoseg.assess_objects(objects, truth).overall
    assert row[["reference", "objects", "found", "missed", "false"]].tolist() == [3, 4, 2, 1, 2]
    assert row["count_error"] == pytest.approx(1 / 3)
    assert row["precision"] == pytest.approx(2 / 4)
    assert row["recall"] == pytest.approx(2 / 3)
    assert row["f1"] == row["rq"] == pytest.approx(4 / 7)
    assert row["sq"] == pytest.approx(0.9)
    assert row["pq"] == pytest.approx(1.8 / 3.5)


def test_nothing_on_a_side() -> None:
    some, nothing = frame(town(np.random.default_rng(1), 5)), frame([])
    missed = geoseg.assess_objects(nothing, some)
    assert missed.overall[["missed", "false", "recall", "f1", "pq", "count_error"]].tolist() == [5, 0, 0, 0, 0, -1]
    assert np.isnan(missed.overall["precision"])
    false = geoseg.assess_objects(some, nothing)
    assert false.overall[["missed", "false", "precision", "f1", "pq"]].tolist() == [0, 5, 0, 0, 0]
    assert np.isnan(false.overall[["recall", "count_error", "ap"]].astype(float)).all()
    none = geoseg.assess_objects(nothing, nothing)
    assert none.overall[["objects", "reference"]].tolist() == [0, 0]
    assert np.isnan(none.overall["f1"])
    assert len(none.matches) == 0


def test_average_precision_without_objects_is_zero() -> None:
    row = geoseg.assess_objects(frame([], score=np.zeros(0)), frame([box(0, 0, 9, 9)]), score_column="score").overall
    assert row["ap"] == row["ap50"] == 0


def test_invalid_polygons_are_mended_and_empty_ones_left_out() -> None:
    bow = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    triangles = shapely.MultiPolygon(
        [shapely.Polygon([(0, 0), (5, 5), (0, 10)]), shapely.Polygon([(10, 0), (5, 5), (10, 10)])]
    )
    flat = shapely.Polygon([(0, 0), (1, 1), (2, 2)])
    found = geoseg.assess_objects(frame([None, bow, shapely.Polygon(), flat]), frame([triangles]))
    assert found.overall[["found", "missed", "false", "f1"]].tolist() == [1, 0, 0, 1]
    assert found.left_out["objects"] == {"mended": 2, "without_area": 3, "outside": 0, "less_than_half_inside": 0}
    assert found.matches["object_row"].tolist() == [1]
    assert found.matches.is_valid.all()


def test_a_multipolygon_is_one_object() -> None:
    parts = [box(0, 0, 10, 10), box(12, 0, 22, 10)]
    whole = geoseg.assess_objects(frame([shapely.MultiPolygon(parts)]), frame([shapely.MultiPolygon(parts)])).overall
    assert (whole["objects"], whole["f1"], whole["polis_m"]) == (1, 1, 0)
    apart = geoseg.assess_objects(frame(parts), frame([shapely.MultiPolygon(parts)])).overall
    assert (apart["found"], apart["false"], apart["split"]) == (1, 1, 1)  # half of the area is an IoU of 0.5


def test_holes_are_not_area() -> None:
    court = box(0, 0, 10, 10).difference(box(2, 2, 8, 8))
    row = geoseg.assess_objects(frame([court]), frame([box(0, 0, 10, 10)])).overall
    assert row["sq"] == pytest.approx(0.64, abs=1e-6)
    # Outer corners 0, the hole's four corners 2 m from the outline; the other way all are 0: (8 / 8 + 0) / 2.
    assert row["polis_m"] == pytest.approx(0.5, rel=1e-5)


def test_the_crs_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    houses = town(rng, 100)
    truth = frame(houses)
    objects = frame([shapely.affinity.translate(h, *rng.normal(0, 1, 2)) for h in houses[:90]], score=rng.random(90))
    expected = geoseg.assess_objects(objects, truth, score_column="score")
    for crs, other in [("EPSG:4326", "EPSG:3857"), ("EPSG:32632", "EPSG:4326"), ("EPSG:25832", METRES)]:
        got = geoseg.assess_objects(objects.to_crs(crs), truth.to_crs(other), score_column="score")
        pd.testing.assert_frame_equal(got.table, expected.table, rtol=1e-5)
        assert got.matches.crs == pyproj.CRS(other)


def test_areas_are_those_of_the_ellipsoid() -> None:
    field = box(20, 60, 20.5, 60.25)
    edge = shapely.segmentize(field, 1e-4)
    expected, _ = pyproj.Geod(ellps="WGS84").geometry_area_perimeter(edge)
    found = geoseg.assess_objects(frame([field], "EPSG:4326"), frame([box(20, 60, 20.25, 60.25)], "EPSG:4326"))
    assert found.matches["area_m2"][0] == pytest.approx(abs(expected), rel=1e-6)
    assert found.overall["sq"] == pytest.approx(0.5, abs=1e-6)


def test_both_sides_of_the_date_line() -> None:
    pair = frame([box(179.999, -17, 179.9999, -16.999), box(-179.9999, -17, -179.999, -16.999)], "EPSG:4326")
    found = geoseg.assess_objects(pair, pair)
    assert found.overall["f1"] == 1
    assert found.matches["area_m2"].max() < 2e4


@pytest.mark.parametrize(
    ("objects", "options", "message"),
    [
        (frame([box(0, 0, 1, 1)], None), {}, "needs a CRS on both sides"),
        (frame([box(0, 0, 1, 1)], 'LOCAL_CS["plan",UNIT["metre",1]]'), {}, "tied to the Earth"),
        (frame([shapely.Point(0, 0)]), {}, "feature 0 of the objects .* is a Point"),
        (frame([box(0, 0, 1, 1), shapely.LineString([(0, 0), (1, 1)])]), {}, "feature 1 of the objects .* LineString"),
        (frame([box(0, 0, np.inf, 1)]), {}, "Coordinates are finite"),
        (frame([box(0, 95, 1, 96)], "EPSG:4326"), {}, "nowhere|place on the Earth"),
        (frame([None, box(100, 0, 101, 1)], "EPSG:4326"), {}, "within 5000 km.*feature 1 of the objects"),
        (frame([box(0, 0, 1, 1)]), {"score_column": "score"}, "not 'score'"),
        (frame([box(0, 0, 1, 1)], score=["high"]), {"score_column": "score"}, "score that is a number.*'high'"),
        (frame([box(0, 0, 1, 1)], score=[np.nan]), {"score_column": "score"}, "score that is a number"),
        (frame([box(0, 0, 1, 1)]), {"class_column": "kind"}, "not 'kind'"),
        (frame([box(0, 0, 1, 1)], kind=[None]), {"class_column": "kind"}, "Every object needs a class.*feature 0"),
        (frame([box(0, 0, 1, 1)]), {"reference_class_column": "kind"}, "Give class_column"),
        (frame([box(0, 0, 1, 1)]), {"iou": 0}, "An IoU is above 0"),
        (frame([box(0, 0, 1, 1)]), {"boundary_m": -1}, "boundary_m is -1"),
        (frame([box(0, 0, 1, 1)]), {"sizes_m2": (50, 20, 100)}, "three rising areas"),
        (gpd.GeoDataFrame({"a": [1]}), {}, "no geometry"),
        (frame([box(0, 0, 1, 1)]), {"within": frame([])}, "area of interest needs polygons"),
    ],
)
def test_what_is_refused(objects, options, message) -> None:
    with pytest.raises(OptionError, match=message):
        geoseg.assess_objects(objects, frame([box(0, 0, 1, 1)], kind=["house"]), **options)


def test_classes_are_compared_with_their_like() -> None:
    shapes = [box(0, 0, 10, 10), box(20, 0, 30, 10), box(40, 0, 50, 10)]
    truth = frame(shapes, kind=["house", "house", "shed"])
    objects = frame(shapes, name=["house", "shed", "shed"])
    found = geoseg.assess_objects(objects, truth, class_column="name", reference_class_column="kind")
    assert found.overall[["found", "missed", "false"]].tolist() == [2, 1, 1]
    assert found.by_class.set_index("name").loc["house", ["found", "missed", "false"]].tolist() == [1, 1, 0]
    assert found.by_class.set_index("name").loc["shed", ["found", "missed", "false"]].tolist() == [1, 0, 1]
    assert geoseg.assess_objects(objects, truth).overall["f1"] == 1


def test_numbers_as_classes_are_equal_whatever_their_type() -> None:
    shapes = [box(0, 0, 10, 10), box(20, 0, 30, 10)]
    found = geoseg.assess_objects(frame(shapes, c=[2.0, 10.0]), frame(shapes, c=[2, 10]), class_column="c")
    assert found.by_class["name"].tolist() == ["2", "10"]
    assert found.overall["f1"] == 1


def test_split_and_merged() -> None:
    whole, halves = frame([box(0, 0, 20, 10)]), frame([box(0, 0, 9, 10), box(9, 0, 20, 10)])
    cut = geoseg.assess_objects(halves, whole).overall
    assert (cut["split"], cut["merged"], round(cut["under_segmentation"], 6)) == (1, 0, 0)
    assert cut["over_segmentation"] == pytest.approx((1 - 0.45 + 1 - 0.55) / 2)
    joined = geoseg.assess_objects(whole, halves).overall
    assert (joined["split"], joined["merged"], round(joined["over_segmentation"], 6)) == (0, 2, 0)
    assert joined["under_segmentation"] == pytest.approx(0.5)


def test_size_classes_are_of_the_reference() -> None:
    """A shed of 49 m² found as one of 56 m² is a tiny one found, and no false small one."""
    found = geoseg.assess_objects(frame([box(0, 0, 8, 7), box(50, 0, 65, 10)]), frame([box(0, 0, 7, 7)]))
    rows = found.by_size.set_index("name")
    assert rows.loc["tiny", ["reference", "found", "false"]].tolist() == [1, 1, 0]
    assert rows.loc["small", ["reference", "found", "false"]].tolist() == [0, 0, 1]
    assert found.matches["size"].tolist() == ["small", "small"]


def test_an_area_of_interest_cuts_both_sides() -> None:
    area = frame([box(0, 0, 100, 100)])
    truth = [
        box(10, 10, 20, 20),  # inside
        box(94, 10, 104, 20),  # 60 % inside: counts, by what lies inside
        box(96, 50, 106, 60),  # 40 % inside: cannot be missed
        box(97, 70, 107, 80),  # 30 % inside, and its object is inside: neither right nor false
        box(200, 0, 210, 10),  # outside
    ]
    objects = [
        box(10, 10, 20, 20),
        box(94, 10, 120, 20),  # equal inside, though little of it lies inside
        box(97, 70, 100, 80),
        box(99, 90, 109, 99),  # 10 % inside, matches nothing: cannot be false
        box(300, 0, 310, 10),
    ]
    found = geoseg.assess_objects(frame(objects), frame(truth), within=area.to_crs(4326))
    assert found.overall[["found", "missed", "false"]].tolist() == [2, 0, 0]
    assert found.overall["sq"] == pytest.approx(1, abs=1e-6)
    assert found.left_out["reference"]["outside"] == found.left_out["objects"]["outside"] == 1
    assert found.left_out["reference"]["less_than_half_inside"] == 2
    assert found.matches["class_name"].tolist() == ["found", "found", "not counted", "not counted", "not counted"]
    assert found.matches.geometry.area.max() == pytest.approx(260)  # shown as they are, not as they are cut


def test_an_area_of_interest_with_parts_and_holes() -> None:
    area = frame([box(0, 0, 50, 50).difference(box(20, 20, 30, 30)), box(60, 0, 70, 50), box(50, 0, 60, 50)])
    truth = [box(21, 21, 29, 29), box(45, 5, 65, 15), box(18, 22, 24, 28), box(70, 0, 75, 5)]
    found = geoseg.assess_objects(frame(truth), frame(truth), within=area)
    assert found.overall[["found", "missed", "false"]].tolist() == [1, 0, 0]
    assert found.left_out["reference"]["outside"] == 2


def brute_force(pairs: Pairs) -> float:
    """The largest sum of weights of pairs that share nothing."""
    best = 0.0
    for count in range(1, min(len(set(pairs.object)), len(set(pairs.reference))) + 1):
        for chosen in itertools.combinations(range(len(pairs)), count):
            some = pairs.at(np.array(chosen))
            if len(set(some.object)) == len(set(some.reference)) == count:
                best = max(best, float(some.iou.sum()))
    return best


@pytest.mark.parametrize("cells", [matching._DENSE_CELLS, 0])
@settings(max_examples=40, deadline=None)
@given(
    edges=st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 4)), st.integers(1, 100), max_size=9),
)
def test_a_matching_is_the_best_there_is(cells, edges) -> None:
    ends = sorted(edges)
    pairs = Pairs(
        np.array([a for a, _ in ends], np.int64),
        np.array([b for _, b in ends], np.int64),
        np.zeros(len(ends)),
        np.array([edges[end] / 100 for end in ends]),
    )
    before, matching._DENSE_CELLS = matching._DENSE_CELLS, cells
    try:
        chosen = pairs.at(match_one_to_one(pairs))
    finally:
        matching._DENSE_CELLS = before
    assert len(set(chosen.object)) == len(set(chosen.reference)) == len(chosen)
    assert chosen.iou.sum() == pytest.approx(brute_force(pairs))


@settings(max_examples=40, deadline=None)
@given(objects=BOXES, reference=BOXES, threshold=st.sampled_from([0.1, 0.3, 0.5, 0.7]))
def test_random_rectangles(objects, reference, threshold) -> None:
    found = geoseg.assess_objects(objects, reference, iou=threshold)
    row, back = found.overall, geoseg.assess_objects(reference, objects, iou=threshold).overall
    assert row["objects"] == len(objects)
    assert row["reference"] == len(reference)
    np.testing.assert_allclose(
        row[["precision", "recall", "f1", "pq", "polis_m", "boundary_iou"]].astype(float),
        back[["recall", "precision", "f1", "pq", "polis_m", "boundary_iou"]].astype(float),
        atol=1e-6,
    )
    ends = [(i, j) for i, a in enumerate(objects.geometry) for j, b in enumerate(reference.geometry) if a.intersects(b)]
    ious = [
        objects.geometry[i].intersection(reference.geometry[j]).area
        / objects.geometry[i].union(reference.geometry[j]).area
        for i, j in ends
    ]
    close = [k for k, value in enumerate(ious) if value >= threshold - 1e-9][:9]
    if len([value for value in ious if value >= threshold - 1e-9]) == len(close):
        i, j = (np.array([ends[k][side] for k in close], np.int64) for side in (0, 1))
        best = brute_force(Pairs(i, j, np.zeros(len(close)), np.array([ious[k] for k in close])))
        assert np.nansum(found.matches["iou"]) == pytest.approx(best, abs=1e-6)


def test_outlines_against_shapely() -> None:
    rng = np.random.default_rng(3)
    one = np.array([shapely.Point(*rng.uniform(0, 4, 2)).buffer(rng.uniform(3, 9), 4) for _ in range(30)])
    other = np.array([shapely.Point(*rng.uniform(0, 4, 2)).buffer(rng.uniform(3, 9), 3) for _ in range(30)])
    other[:5] = shapely.difference(other[:5], shapely.buffer(shapely.centroid(other[:5]), 1.5))
    one[5] = shapely.MultiPolygon([one[5], box(20, 20, 22, 23)])
    got_bands, got_polis = boundary_iou(one, other, 1.0), polis_distance(one, other)
    for a, b, bands, polis in zip(one, other, got_bands, got_polis, strict=True):
        rims = [shape.intersection(shape.boundary.buffer(1.0, 64)) for shape in (a, b)]
        assert bands == pytest.approx(rims[0].intersection(rims[1]).area / rims[0].union(rims[1]).area, abs=2e-3)
        means = []
        for from_, to in ((a, b), (b, a)):
            rings = [ring for part in shapely.get_parts(from_) for ring in shapely.get_rings(part)]
            vertices = np.concatenate([shapely.get_coordinates(ring)[:-1] for ring in rings])
            means.append(np.mean([shapely.Point(at).distance(to.boundary) for at in vertices]))
        assert polis == pytest.approx(np.mean(means))


def coco_precision(objects: gpd.GeoDataFrame, reference: gpd.GeoDataFrame, sizes: list[float], side: int) -> np.ndarray:
    """(threshold, recall, class, size) of pycocotools, on masks of pixels of 1 m."""
    cocotools = pytest.importorskip("pycocotools.coco")
    from pycocotools import mask
    from pycocotools.cocoeval import COCOeval
    from rasterio.features import rasterize

    def encoded(shape):
        pixels = rasterize([(shape, 1)], (side, side), transform=(1, 0, 0, 0, 1, 0), dtype=np.uint8)
        assert pixels.sum() == pytest.approx(shape.area)
        return mask.encode(np.asfortranarray(pixels))

    kinds = sorted(set(reference["kind"]) | set(objects["kind"]))
    truth = cocotools.COCO()
    truth.dataset = {
        "images": [{"id": 1, "height": side, "width": side}],
        "categories": [{"id": k + 1, "name": kind} for k, kind in enumerate(kinds)],
        "annotations": [
            {"id": n + 1, "image_id": 1, "category_id": kinds.index(row.kind) + 1, "iscrowd": 0}
            | {"area": row.geometry.area, "segmentation": encoded(row.geometry)}
            for n, row in enumerate(reference.itertuples())
        ],
    }
    truth.createIndex()
    results = truth.loadRes(
        [
            {"image_id": 1, "category_id": kinds.index(row.kind) + 1, "score": row.score}
            | {"segmentation": encoded(row.geometry)}
            for row in objects.itertuples()
        ]
    )
    evaluation = COCOeval(truth, results, "segm")
    evaluation.params.maxDets = [10_000]
    evaluation.params.areaRng = [[0, 1e10], *zip([0, *sizes], [*sizes, 1e10], strict=True)]
    evaluation.params.areaRngLbl = ["all", "tiny", "small", "medium", "large"]
    np.testing.assert_allclose(evaluation.params.iouThrs, THRESHOLDS)
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"][..., 0]


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_that_of_pycocotools(seed) -> None:
    rng = np.random.default_rng(seed)
    houses = town(rng, 150)
    jitter = rng.integers(-2, 3, (2, 150, 2))
    drawn = [shapely.affinity.translate(h, *by) for h, by in zip(houses[:120], jitter[0], strict=False)]
    again = [shapely.affinity.translate(h, *by) for h, by in zip(houses[:40], jitter[1], strict=False)]  # duplicates
    objects = [shapely.intersection(shape, box(0, 0, 640, 640)) for shape in [*drawn, *again, *town(rng, 15)]]
    kind = rng.choice(["house", "shed"], 150, p=[0.7, 0.3])
    guess = [*kind[:120], *kind[:40], *rng.choice(["house", "shed"], 15)]
    score = rng.random(len(objects)).round(3)
    truth, found = frame(houses, kind=kind), frame(objects, kind=guess, score=score)
    sizes = [60.5, 150.5, 300.5]
    expected = coco_precision(found, truth, sizes, 640)
    got = geoseg.assess_objects(found, truth, class_column="kind", score_column="score", sizes_m2=sizes).table
    groups = [(slice(None), 0), *((slice(None), k) for k in (1, 2, 3, 4)), (0, 0), (1, 0)]
    assert len(got) == len(groups)
    for row, (of_kind, size) in zip(got.to_dict(orient="records"), groups, strict=True):
        values = expected[:, :, of_kind, size]
        for name, chosen in (("ap", values), ("ap50", values[0]), ("ap75", values[5])):
            assert row[name] == pytest.approx(chosen[chosen > -1].mean(), abs=1e-9), (row["name"], name)
    assert 0 < got["ap"][0] < got["ap50"][0] < 1


@pytest.mark.data
def test_real_footprints(data_dir) -> None:
    """Footprints in degrees, against themselves drawn half a metre to the east in UTM."""
    truth = gpd.read_file(data_dir / "banepa/buildings.gpkg")
    same = geoseg.assess_objects(truth, truth)
    assert same.overall[["missed", "false", "split", "merged"]].tolist() == [0, 0, 0, 0]
    assert same.overall["pq"] == 1
    moved = truth.to_crs("EPSG:32645")
    moved.geometry = moved.translate(0.5, 0)
    shifted = geoseg.assess_objects(moved, truth)
    assert shifted.overall["recall"] > 0.95
    assert 0.2 < shifted.overall["polis_m"] < 0.5  # walls to the north and south stay on their lines
    large = shifted.by_size.set_index("name")["sq"]
    assert large["medium"] > large["small"] > large["tiny"]
