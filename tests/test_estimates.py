"""Estimates from a sample: as printed in the papers, as worked out by hand, and as often right as they say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import OptionError
from geoseg.estimates import (
    allocate,
    disagreement,
    estimate_accuracy,
    estimate_from_clusters,
    exact_accuracy,
    expected_se,
    kappa,
    sample_size_for_accuracy,
    sample_size_for_area,
    stratified_ratio,
    units_of_matrix,
)

# Olofsson et al. 2014, section 5: table 8, and the mapped pixels of 30 m
NAMES = ["deforestation", "forest gain", "stable forest", "stable non-forest"]
COUNTS = [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]]
PIXELS = dict(zip(NAMES, [200_000, 150_000, 3_200_000, 6_450_000], strict=True))
GUESS = dict(zip(NAMES, [0.7, 0.6, 0.9, 0.95], strict=True))
HECTARES = {name: pixels * 0.09 for name, pixels in PIXELS.items()}

# Stehman 2014, table 2: strata, map and reference of 40 units
STEHMAN = pd.DataFrame(
    {
        "stratum": np.repeat([1, 2, 3, 4], 10),
        "map": [*"AAAAAAABBB", *"ABBBBBBBBB", *"BBCCCCCCBB", *"DDDDDDDDDD"],
        "reference": [*"AAAAACBABC", *"ABBBBBAABB", *"CCCCCDDBBA", *"DDDDDDDCCB"],
    }
)
STEHMAN_SIZES = {1: 40_000, 2: 30_000, 3: 20_000, 4: 10_000}


def matrix(counts, names=NAMES) -> pd.DataFrame:
    return pd.DataFrame(counts, index=names, columns=names)


@pytest.fixture(scope="module")
def olofsson():
    return estimate_accuracy(units_of_matrix(matrix(COUNTS)), HECTARES, classes=NAMES)


@pytest.fixture(scope="module")
def stehman():
    return estimate_accuracy(STEHMAN, STEHMAN_SIZES)


def printed(frame: pd.DataFrame, digits: int) -> list[tuple[float, float]]:
    """As papers print it: the estimate ± 1.96 standard errors."""
    half = 1.96 * frame["se"]
    return list(zip(frame["estimate"].round(digits), half.round(digits), strict=True))


# ---- Olofsson et al. 2014: strata are the map's classes ----


def test_accuracies_of_olofsson_as_printed(olofsson) -> None:
    assert printed(olofsson.of("users"), 2) == [(0.88, 0.07), (0.73, 0.10), (0.93, 0.04), (0.96, 0.02)]
    assert printed(olofsson.of("overall"), 2) == [(0.95, 0.02)]
    # the intervals by eq. 7 of the paper, worked out below
    assert printed(olofsson.of("producers"), 2) == [(0.75, 0.21), (0.85, 0.25), (0.93, 0.03), (0.96, 0.02)]


def test_producers_accuracies_of_olofsson_by_its_equation_7(olofsson) -> None:
    """As the Python package pymapaccuracy has them; half widths of 95 % intervals."""
    assert olofsson.of("producers")["estimate"].tolist() == pytest.approx([0.7486614, 0.8471564, 0.9345089, 0.9616090])
    half = 1.959964 * olofsson.of("producers")["se"]
    assert half.tolist() == pytest.approx([0.21330593, 0.25440369, 0.03432379, 0.01836120], rel=1e-5)
    # and by hand, forest gain: 55 of 75 units of its own stratum, 1 of 325 of the last
    total = 150_000 * 55 / 75 + 6_450_000 / 325
    p = 110_000 / total
    own = (150_000 * (1 - p)) ** 2 * (55 / 75) * (20 / 75) / 74
    other = p**2 * 6_450_000**2 * (1 / 325) * (324 / 325) / 324
    assert half["forest gain"] == pytest.approx(1.959964 * np.sqrt(own + other) / total)


def test_areas_of_olofsson_as_printed(olofsson) -> None:
    areas = [(21_158, 6_158), (11_686, 3_756), (285_770, 15_510), (581_386, 16_282)]
    assert printed(olofsson.areas, 0) == areas
    half = (olofsson.areas["upper"] - olofsson.areas["lower"]) / 2  # the interval's z is 1.95996
    np.testing.assert_allclose(half, [area[1] for area in areas], rtol=1e-4)
    assert olofsson.areas["estimate"].sum() == pytest.approx(900_000)


def test_the_matrix_of_olofsson(olofsson) -> None:
    assert olofsson.counts.to_numpy().tolist() == COUNTS
    expected = [  # W_i n_ij / n_i, as in table 9
        [0.0176, 0, 0.0013, 0.0011],
        [0, 0.0110, 0.0016, 0.0024],
        [0.0019, 0, 0.2967, 0.0213],
        [0.0040, 0.0020, 0.0179, 0.6212],
    ]
    assert olofsson.proportions.round(4).to_numpy().tolist() == expected
    assert olofsson.proportions.sum(axis=1).tolist() == pytest.approx([0.02, 0.015, 0.32, 0.645])


def test_the_sample_size_of_olofsson() -> None:
    assert sample_size_for_accuracy(PIXELS, GUESS, target_se=0.01) == 641
    assert allocate(640, PIXELS, rule="equal").tolist() == [160] * 4
    assert allocate(641, PIXELS).tolist() == [13, 10, 205, 413]


# ---- Stehman 2014: strata that are not the map's classes ----


def test_the_example_of_stehman_as_printed(stehman) -> None:
    proportion, users, producers = stehman.of("proportion"), stehman.of("users"), stehman.of("producers")
    assert proportion.loc["A", ["estimate", "se"]].round(3).tolist() == [0.35, 0.082]
    assert proportion.loc["C", ["estimate", "se"]].round(3).tolist() == [0.20, 0.064]
    assert stehman.overall[["estimate", "se"]].round(3).tolist() == [0.63, 0.085]
    assert users.loc["B", ["estimate", "se"]].round(3).tolist() == [0.574, 0.125]
    assert producers.loc["B", ["estimate", "se"]].round(3).tolist() == [0.794, 0.117]
    assert stehman.proportions.loc["B", "C"] == pytest.approx(0.08)


def test_stehmans_example_against_another_implementation(stehman) -> None:
    """The figures that the R package mapac prints for these data."""
    others = {
        "users": [(0.7419355, 0.1645627), (0.5744681, 0.1248023), (0.5, 0.2151657)],
        "producers": [(0.6571429, 0.1477318), (0.7941176, 0.1165671), (0.3, 0.1504438)],
    }
    for measure, figures in others.items():
        ours = stehman.of(measure).loc[["A", "B", "C"], ["estimate", "se"]]
        np.testing.assert_allclose(ours, figures, rtol=1e-6, err_msg=measure)
    assert stehman.of("f1")["estimate"].iloc[:3].tolist() == pytest.approx([0.6969697, 0.6666667, 0.375])
    # its standard errors of F1 take user's and producer's accuracy as independent, which makes them too small
    users, producers, f1 = (stehman.of(measure).iloc[:3] for measure in ("users", "producers", "f1"))
    slopes = (f1["estimate"] / users["estimate"]) ** 2 / 2, (f1["estimate"] / producers["estimate"]) ** 2 / 2
    independent = np.hypot(slopes[0] * users["se"], slopes[1] * producers["se"])
    assert independent.tolist() == pytest.approx([0.11034620, 0.09354009, 0.13219833])
    assert (f1["se"] > independent).all()
    expected = [[0.23, 0.04, 0.04, 0], [0.12, 0.27, 0.08, 0], [0, 0.02, 0.06, 0.04], [0, 0.01, 0.02, 0.07]]
    np.testing.assert_allclose(stehman.proportions, expected, atol=1e-12)


tables = st.lists(st.lists(st.integers(0, 30), min_size=3, max_size=3), min_size=3, max_size=3).filter(
    lambda counts: all(sum(row) >= 2 for row in counts)
)


@settings(max_examples=60, deadline=None)
@given(tables, st.lists(st.floats(1, 1e7), min_size=3, max_size=3))
def test_where_strata_are_the_maps_classes_both_papers_agree(counts, sizes) -> None:
    """Eqs. 5 to 11 of Olofsson et al. 2014, written out, give what the general ratio estimator gives."""
    found = estimate_accuracy(
        units_of_matrix(matrix(counts, list("abc"))), dict(zip("abc", sizes, strict=True)), classes=list("abc")
    )
    n, size = np.array(counts, float), np.array(sizes)
    weight, share = size / size.sum(), n / n.sum(axis=1, keepdims=True)
    users = np.diagonal(share)
    freedom = n.sum(axis=1) - 1
    total = (size[:, None] * share).sum(axis=0)  # estimated pixels of each reference class
    overall_se = np.sqrt((weight**2 * users * (1 - users) / freedom).sum())  # eq. 5
    users_se = np.sqrt(users * (1 - users) / freedom)  # eq. 6
    area_se = size.sum() * np.sqrt(((weight[:, None] ** 2) * share * (1 - share) / freedom[:, None]).sum(axis=0))
    assert found.overall["estimate"] == pytest.approx((weight * users).sum())
    assert found.overall["se"] == pytest.approx(overall_se, abs=1e-12)
    np.testing.assert_allclose(found.of("users")["se"], users_se, rtol=1e-9, atol=1e-12)
    rounding = 1e-12 * size.sum()  # an error of 0 may come out as 1e-17
    np.testing.assert_allclose(found.areas["estimate"], total, rtol=1e-9, atol=rounding)
    np.testing.assert_allclose(found.areas["se"], area_se, rtol=1e-9, atol=rounding)
    for j in range(3):
        if not total[j]:
            assert np.isnan(found.of("producers")["estimate"].iloc[j])
            continue
        p = size[j] * users[j] / total[j]
        others = [i for i in range(3) if i != j]
        variance = size[j] ** 2 * (1 - p) ** 2 * users[j] * (1 - users[j]) / freedom[j]  # eq. 7
        variance += p**2 * sum(size[i] ** 2 * share[i, j] * (1 - share[i, j]) / freedom[i] for i in others)
        assert found.of("producers")["estimate"].iloc[j] == pytest.approx(p)
        assert found.of("producers")["se"].iloc[j] == pytest.approx(np.sqrt(variance) / total[j], rel=1e-6, abs=1e-9)


# ---- by hand ----


def test_two_by_two_by_hand() -> None:
    """100 ha of water, 300 ha of land; 9 of 10 and 16 of 20 units are right."""
    found = estimate_accuracy(
        units_of_matrix(matrix([[9, 1], [4, 16]], ["water", "land"])),
        {"water": 100, "land": 300},
        classes=["water", "land"],
    )
    assert found.proportions.to_numpy().ravel().tolist() == pytest.approx([0.225, 0.025, 0.15, 0.6])
    assert found.overall["estimate"] == pytest.approx(0.825)
    assert found.overall["se"] ** 2 == pytest.approx(0.25**2 * 0.09 / 9 + 0.75**2 * 0.16 / 19)
    assert found.of("users")["estimate"].tolist() == pytest.approx([0.9, 0.8])
    assert found.of("producers")["estimate"].tolist() == pytest.approx([0.6, 0.96])
    assert found.of("f1")["estimate"].tolist() == pytest.approx([0.72, 2 * 0.8 * 0.96 / 1.76])
    assert found.of("iou")["estimate"].tolist() == pytest.approx([0.225 / 0.4, 0.6 / 0.775])
    assert found.areas["estimate"].tolist() == pytest.approx([150, 250])
    assert found.areas["se"].tolist() == pytest.approx([np.sqrt(100**2 * 0.09 / 9 + 300**2 * 0.16 / 19)] * 2)
    assert (found.quantity_disagreement, found.allocation_disagreement) == pytest.approx((0.125, 0.05))
    assert found.kappa == pytest.approx((0.825 - 0.5625) / (1 - 0.5625))


def test_a_simple_random_sample_is_one_stratum() -> None:
    units = pd.DataFrame({"stratum": "all", "map": [*"aaabbb", *"bbbb"], "reference": [*"aabbbb", *"bbbb"]})
    found = estimate_accuracy(units, {"all": 1000.0})
    assert found.overall["estimate"] == pytest.approx(0.9)
    assert found.overall["se"] == pytest.approx(np.sqrt(0.9 * 0.1 / 9))
    assert found.areas["estimate"].tolist() == pytest.approx([200, 800])


def test_quantity_and_allocation_disagreement() -> None:
    assert disagreement([[0.4, 0.1], [0.1, 0.4]]) == pytest.approx((0, 0.2))  # exchanged places only
    assert disagreement([[0.4, 0.2], [0.0, 0.4]]) == pytest.approx((0.2, 0))  # too much of the first only
    # a circle of three classes: no class has a wrong size
    assert disagreement([[0.2, 0.1, 0], [0, 0.2, 0.1], [0.1, 0, 0.3]]) == pytest.approx((0, 0.3))
    assert kappa([[0.25, 0.25], [0.25, 0.25]]) == pytest.approx(0)
    assert kappa([[0.3, 0], [0, 0.7]]) == pytest.approx(1)


def test_disagreement_is_what_overall_accuracy_leaves(olofsson, stehman) -> None:
    for found in (olofsson, stehman):
        parts = found.quantity_disagreement + found.allocation_disagreement
        assert parts == pytest.approx(1 - found.overall["estimate"])


def test_a_wider_interval_for_more_confidence(olofsson) -> None:
    surer = estimate_accuracy(units_of_matrix(matrix(COUNTS)), HECTARES, classes=NAMES, confidence=0.99)
    assert (surer.areas["upper"] > olofsson.areas["upper"]).all()
    assert surer.areas["se"].tolist() == olofsson.areas["se"].tolist()
    assert olofsson.of("producers").loc["forest gain", "upper"] == 1  # 0.85 + 0.25 is cut: no accuracy is above 1


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False), st.floats(1e-6, 1e6))
def test_neither_the_order_nor_the_unit_of_area_matters(random, factor) -> None:
    rows = list(range(len(STEHMAN)))
    random.shuffle(rows)
    sizes = {name: size * factor for name, size in random.sample(list(STEHMAN_SIZES.items()), 4)}
    one, other = estimate_accuracy(STEHMAN, STEHMAN_SIZES), estimate_accuracy(STEHMAN.iloc[rows], sizes)
    for measure in ("overall", "users", "producers", "f1", "iou", "proportion"):
        np.testing.assert_allclose(other.of(measure), one.of(measure), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(other.areas, one.areas * factor, rtol=1e-9, atol=1e-7 * factor)


# ---- as often right as they say ----


def drawn(truth: np.ndarray, units: list[int], samples: int) -> np.ndarray:
    """(sample, stratum, map class, reference class) from the shares of each stratum."""
    rng = np.random.default_rng(20140501)
    shape = truth.shape[1:]
    parts = [rng.multinomial(n, p.ravel(), size=samples) for n, p in zip(units, truth, strict=True)]
    return np.stack(parts, axis=1).reshape(samples, len(units), *shape)


def coverage(counts: np.ndarray, sizes: np.ndarray, above: np.ndarray, below: np.ndarray, true: float) -> float:
    ratio, se = stratified_ratio(counts, sizes, above, below)
    return float((np.abs(ratio - true) <= 1.959964 * se).mean())


def test_intervals_cover_the_truth_where_pixel_counting_misses() -> None:
    """5 % of the area is mapped as lost; 70 % of that is, and 4 % of the rest as well: 7.3 % in truth."""
    sizes = np.array([50.0, 950.0])
    truth = np.array([[[0.7, 0.3], [0, 0]], [[0, 0], [0.04, 0.96]]])
    true_area = float((sizes[:, None, None] * truth).sum(axis=(0, 1))[0])
    assert true_area == pytest.approx(73)
    counts = drawn(truth, [150, 1000], 1000)
    lost, everything = np.array([[1.0, 0], [1, 0]]), np.ones((2, 2))
    assert 0.93 <= coverage(counts, sizes, lost, everything, true_area / 1000) <= 0.97
    assert 0.93 <= coverage(counts, sizes, np.eye(2), everything, 0.947) <= 0.97

    ratio, se = stratified_ratio(counts, sizes, lost, everything)
    assert ratio.mean() * 1000 == pytest.approx(true_area, rel=0.01)  # unbiased; standard error of this mean: 0.4 %
    counted = sizes[0]  # the pixels of the map: always the same, 32 % too few
    assert abs(counted - true_area) / true_area > 0.3
    inside = np.abs(ratio * 1000 - counted) <= 1.959964 * se * 1000
    assert inside.mean() < 0.05  # nearly every sample says that the count is wrong


def test_intervals_cover_the_truth_where_strata_are_not_the_maps_classes() -> None:
    sizes = np.array([300.0, 500.0, 200.0])
    truth = np.array([[[0.5, 0.1], [0.1, 0.3]], [[0.1, 0.1], [0.1, 0.7]], [[0.3, 0.2], [0.2, 0.3]]])
    whole = np.tensordot(sizes / sizes.sum(), truth, axes=1)
    counts = drawn(truth, [100, 200, 80], 1000)
    mapped, true, both = np.array([[1.0, 1], [0, 0]]), np.array([[1.0, 0], [1, 0]]), np.array([[1.0, 0], [0, 0]])
    for above, below in (
        (true, np.ones((2, 2))),
        (both, mapped),
        (both, true),
        (2 * both, mapped + true),
        (both, mapped + true - both),
    ):
        expected = (whole * above).sum() / (whole * below).sum()
        assert 0.93 <= coverage(counts, sizes, above, below, expected) <= 0.97
        ratio, se = stratified_ratio(counts, sizes, above, below)
        assert se.mean() == pytest.approx(ratio.std(), rel=0.06)  # the standard error is the spread over samples


@pytest.mark.parametrize("rule", ["neyman", "proportional", "equal"])
def test_a_sample_of_the_size_asked_for_has_the_error_asked_for(rule) -> None:
    sizes, share = {"a": 100.0, "b": 700.0, "c": 200.0}, {"a": 0.7, "b": 0.05, "c": 0.4}
    n = sample_size_for_area(sizes, share, target_se=15, rule=rule)
    units = allocate(n, sizes, rule=rule, shares=share)
    size, p = np.array(list(sizes.values())), np.array(list(share.values()))
    assert np.sqrt((size**2 * p * (1 - p) / units).sum()) == pytest.approx(15, rel=0.02)


def test_neyman_needs_the_fewest_and_simple_the_most() -> None:
    sizes, share = {"a": 100.0, "b": 900.0}, {"a": 0.8, "b": 0.01}
    needed = [
        sample_size_for_area(sizes, share, target_se=10, rule=rule) for rule in ("neyman", "proportional", "simple")
    ]
    assert needed == sorted(needed)
    assert needed[2] == int(np.ceil(0.089 * 0.911 / 0.01**2))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=8),
    st.integers(0, 20),
    st.integers(1, 2000),
    st.sampled_from(["equal", "proportional", "neyman"]),
)
def test_every_unit_is_allocated_and_every_stratum_has_enough(sizes, at_least, extra, rule) -> None:
    named = dict(enumerate(sizes))
    n = at_least * len(sizes) + extra
    shares = {name: [0.5, 0.1, 0.0][name % 3] for name in named}
    units = allocate(n, named, rule=rule, shares=shares, at_least=at_least)
    assert units.sum() == n
    assert (units >= at_least).all()


# ---- what can be wrong ----


def test_a_reference_class_that_the_map_does_not_have() -> None:
    units = pd.DataFrame({"stratum": [*"aaaabb"], "map": [*"aaaabb"], "reference": [*"aaawbb"]})
    found = estimate_accuracy(units, {"a": 100, "b": 100})
    assert found.counts.loc["w"].tolist() == [0, 0, 0]
    assert found.areas.loc["w", "estimate"] == pytest.approx(25)
    assert found.areas.loc["w", "se"] > 0
    assert found.of("producers").loc["w", "estimate"] == 0
    assert np.isnan(found.of("users").loc["w"].to_numpy(dtype=float)).all()


def test_classes_may_be_numbers() -> None:
    units = pd.DataFrame({"district": [7, 7, 9, 9], "map": [1, 2, 1, 2], "truth": [1.0, 2.0, 2.0, 2.0]})
    found = estimate_accuracy(units, {9: 1, 7: 1}, stratum="district", reference="truth")
    assert found.areas["estimate"].to_dict() == {1: 0.5, 2: 1.5}
    assert found.table["class"].tolist()[:5] == [None, None, None, 1, 2]


GOOD = pd.DataFrame({"stratum": [*"aabb"], "map": [*"aabb"], "reference": [*"abbb"]})


@pytest.mark.parametrize(
    ("units", "sizes", "options", "said"),
    [
        (GOOD, {"a": 1, "b": 1, "c": 1}, {}, "at least 2 sample units, but 'c' has none.*merge"),
        (GOOD.iloc[1:], {"a": 1, "b": 1}, {}, "at least 2 sample units, but 'a' has 1.*variance.*Interpret more"),
        (GOOD, {"a": 1}, {}, r"stratum of each sample unit is one of \['a'\], but there is 'b'. Give its size"),
        (GOOD, {"a": 1, "b": 0}, {}, "positive number, but that of 'b' is 0. Leave out"),
        (GOOD, {"a": 1, "b": float("nan")}, {}, "positive number, but that of 'b' is nan"),
        (GOOD, {"a": 1, "b": "large"}, {}, "positive number, but that of 'b' is large"),
        (GOOD, pd.Series([1, 2], index=["a", "a"]), {}, "one size, but 'a' has several"),
        (GOOD, {}, {}, "needs strata, but there are none"),
        (GOOD.iloc[:0], {"a": 1}, {}, "'a' has none"),
        (GOOD, {"a": 1, "b": 1}, {"reference": "label"}, "but not 'label'. Choose one"),
        (GOOD.assign(reference=["a", None, "b", "b"]), {"a": 1, "b": 1}, {}, r"row 1 \(counted from 0\) has none"),
        (GOOD.assign(reference=[1, 1, 2, 2]), {"a": 1, "b": 1}, {}, "values of type int and str"),
        (GOOD, {"a": 1, "b": 1}, {"classes": ["a"]}, "is one of .*, but there is 'b'. Add it"),
        (GOOD, {"a": 1, "b": 1}, {"classes": ["a", "b", "a"]}, "named once"),
        (GOOD, {"a": 1, "b": 1}, {"confidence": 95}, "between 0 and 1, but it is 95"),
    ],
)
def test_what_cannot_be_estimated_is_said(units, sizes, options, said) -> None:
    with pytest.raises(OptionError, match=said):
        estimate_accuracy(units, sizes, **options)


def test_wrong_designs_are_said() -> None:
    sizes = {"a": 1.0, "b": 2.0}
    with pytest.raises(OptionError, match="at least 2 units each need as many in all, but there are 3"):
        allocate(3, sizes)
    with pytest.raises(OptionError, match=r"not 'random'\. Choose one"):
        allocate(10, sizes, rule="random")
    with pytest.raises(OptionError, match="needs a guess for each stratum"):
        allocate(10, sizes, rule="neyman")
    with pytest.raises(OptionError, match="share between 0 and 1, but they are"):
        allocate(10, sizes, rule="neyman", shares={"a": 0, "b": 1})
    with pytest.raises(OptionError, match=r"those given are for \['a'\]"):
        sample_size_for_accuracy(sizes, {"a": 0.5}, target_se=0.01)
    with pytest.raises(OptionError, match=r"that of 'b' is 90\. Give 0\.9"):
        sample_size_for_accuracy(sizes, {"a": 0.5, "b": 90}, target_se=0.01)
    with pytest.raises(OptionError, match="between 0 and 1, but 1 was asked for"):
        sample_size_for_accuracy(sizes, {"a": 0.5, "b": 0.9}, target_se=1)
    with pytest.raises(OptionError, match="the whole area, 3, but 5 was asked for"):
        sample_size_for_area(sizes, {"a": 0.5, "b": 0.9}, target_se=5)


def test_wrong_matrices_and_measures_are_said(olofsson) -> None:
    with pytest.raises(OptionError, match="but one is -1"):
        units_of_matrix(matrix([[1, -1], [0, 1]], ["a", "b"]))
    with pytest.raises(OptionError, match=r"but one is 0\.5"):
        units_of_matrix(matrix([[1, 0.5], [0, 1]], ["a", "b"]))
    with pytest.raises(OptionError, match="'a' is there twice in the rows"):
        units_of_matrix(matrix([[1, 0], [0, 1]], ["a", "a"]))
    with pytest.raises(OptionError, match="'recall' was asked for"):
        olofsson.of("recall")


# ---- what a finite map, disagreement and clusters change ----


def test_a_stratum_that_is_known_whole_adds_no_error() -> None:
    units = pd.DataFrame({"stratum": [*"aaab"], "map": [*"aaab"], "reference": [*"aabb"]})
    with pytest.raises(OptionError, match="'b' has 1"):
        estimate_accuracy(units, {"a": 6, "b": 1})
    known = estimate_accuracy(units, {"a": 6, "b": 1}, populations={"a": 6, "b": 1})
    # a: 2 of 3 right; s² = 1/3; half of it is drawn
    assert known.overall["se"] == pytest.approx(6 / 7 * np.sqrt((1 / 3) / 3 * (1 - 3 / 6)))
    assert estimate_accuracy(units, {"a": 3, "b": 1}, populations={"a": 3, "b": 1}).overall["se"] == 0
    with pytest.raises(OptionError, match="'a' has 3 of 2"):
        estimate_accuracy(units, {"a": 6, "b": 1}, populations={"a": 2, "b": 1})
    with pytest.raises(OptionError, match="one number of units for each"):
        estimate_accuracy(units, {"a": 6, "b": 1}, populations={"a": 2})


def test_standard_errors_of_disagreement_by_hand_and_by_simulation(olofsson) -> None:
    quantity, allocation = olofsson.of("quantity").iloc[0], olofsson.of("allocation").iloc[0]
    assert quantity["estimate"] == pytest.approx(olofsson.quantity_disagreement)
    assert allocation["estimate"] == pytest.approx(olofsson.allocation_disagreement)
    # the classes of which the map has too much are 2 and 3; so quantity is their mapped less their true area
    too_much = olofsson.counts.loc[:, ["forest gain", "stable forest"]].sum(axis=1) / olofsson.counts.sum(axis=1)
    weights = np.array(list(PIXELS.values())) / 10_000_000
    n = olofsson.counts.sum(axis=1)
    by_hand = np.sqrt((weights**2 * too_much * (1 - too_much) / (n - 1)).sum())
    assert quantity["se"] == pytest.approx(by_hand)

    truth = np.array([[[0.9, 0.1], [0, 0]], [[0, 0], [0.3, 0.7]]])  # of 300 in the map, 480 in truth
    for measure in ("quantity", "allocation"):
        found = [
            estimate_accuracy(units_of_matrix(matrix(counts.sum(axis=0), [*"ab"])), {"a": 300, "b": 700}).of(measure)
            for counts in drawn(truth, [200, 200], 300)
        ]
        estimates, errors = (np.array([row[column].iloc[0] for row in found]) for column in ("estimate", "se"))
        assert errors.mean() == pytest.approx(estimates.std(), rel=0.1)


@given(st.lists(st.tuples(st.floats(0.01, 1000), st.integers(1, 60)), min_size=1, max_size=6), st.data())
def test_no_stratum_gives_more_than_it_holds(strata, data) -> None:
    sizes, most = ({at: pair[side] for at, pair in enumerate(strata)} for side in (0, 1))
    n = data.draw(st.integers(1, sum(most.values())))
    units = allocate(n, sizes, at_least=0, at_most=most)
    assert units.sum() == n
    assert all(0 <= units[at] <= most[at] for at in most)


def test_the_expected_error_is_what_the_sample_size_was_made_for() -> None:
    n = sample_size_for_accuracy(PIXELS, GUESS, target_se=0.01)
    units = allocate(n, PIXELS, rule="neyman", shares=GUESS)
    assert expected_se(units, PIXELS, GUESS) == pytest.approx(0.01, rel=0.01)
    with pytest.raises(OptionError, match="hold 4 units, but 5"):
        allocate(5, {"a": 1, "b": 9}, at_most={"a": 2, "b": 2})


def test_clusters_of_one_pixel_are_a_sample_of_pixels() -> None:
    rng = np.random.default_rng(3)
    mapped = rng.choice(["a", "b", "c"], 900)
    true = np.where(rng.random(900) < 0.8, mapped, rng.choice(["a", "b", "c"], 900))
    sizes = {"a": 200.0, "b": 500.0, "c": 300.0}
    units = pd.DataFrame({"stratum": mapped, "map": mapped, "reference": true})
    single = estimate_accuracy(units, sizes)
    parts = pd.DataFrame({"cluster": range(900), "map": mapped, "reference": true, "area": 7.0, "pixels": 1})
    found = estimate_from_clusters(parts, sizes)
    pd.testing.assert_frame_equal(found.counts, single.counts)
    np.testing.assert_allclose(found.table["estimate"], single.table["estimate"])
    np.testing.assert_allclose(found.table["se"], single.table["se"], rtol=0.005)
    assert found.design_effect == pytest.approx(1, rel=0.01)
    # the same pixels, twice each: nothing new is known
    again = estimate_from_clusters(pd.concat([parts, parts]), sizes)
    np.testing.assert_allclose(again.table["se"], found.table["se"])
    assert again.design_effect == pytest.approx(2, rel=0.01)


def test_clusters_at_fault() -> None:
    parts = pd.DataFrame({"cluster": [0, 1], "map": [*"ab"], "reference": [*"ab"], "area": 1.0, "pixels": 1})
    with pytest.raises(OptionError, match="of 'a' only 1 has any"):
        estimate_from_clusters(parts, {"a": 1, "b": 1})
    with pytest.raises(OptionError, match="'b' has none"):
        estimate_from_clusters(parts, {"a": 1})


def test_where_all_is_known_nothing_is_estimated() -> None:
    areas = matrix([[60.0, 10], [5, 25]], ["a", "b"])
    found = exact_accuracy(areas, areas.astype(int))
    assert found.table["se"].eq(0).all()
    assert found.areas["estimate"].tolist() == [65, 35]
    assert found.of("users").loc["a", ["lower", "upper"]].tolist() == pytest.approx([60 / 70] * 2)


def test_the_examples_of_the_page_run(capsys) -> None:
    """What docs/estimates.md shows is what comes out."""
    page = (Path(__file__).parents[1] / "docs/estimates.md").read_text(encoding="utf-8")
    first, second = re.findall(r"```python\n(.*?)```", page, re.S)
    names: dict = {}
    exec(compile(first, "docs/estimates.md", "exec"), names)
    assert f"```text\n{capsys.readouterr().out}```" in page
    exec(compile(second, "docs/estimates.md", "exec"), names)
    assert names["n"] > 100
