"""Depth errors: against loops, by hand, units, which pixels count, images without any."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdit.metrics.depth import depth_sums, mean_over_images


def slow_errors(target, prediction, valid, max_depth, prediction_range):
    """Look at one pixel at a time."""
    pairs = []
    for true, predicted, is_valid in zip(target.flat, prediction.flat, valid.flat, strict=True):
        if not is_valid or not true > 0 or true > max_depth:
            continue
        pairs.append((true, min(max(predicted, prediction_range[0]), prediction_range[1])))
    if not pairs:
        return None

    def mean(function):
        return math.fsum(function(true, predicted) for true, predicted in pairs) / len(pairs)

    errors = {
        "MeanError": mean(lambda t, p: abs(p - t)),
        "AbsRel": mean(lambda t, p: abs(p - t) / t),
        "SqRel": mean(lambda t, p: (p - t) ** 2 / t),
        "RMSE": math.sqrt(mean(lambda t, p: (p - t) ** 2)),
        "RMSElog": math.sqrt(mean(lambda t, p: (math.log(p) - math.log(t)) ** 2)),
    }
    for k in (1, 2, 3):
        errors[f"delta_{k}"] = mean(lambda t, p, k=k: max(p / t, t / p) < 1.25**k)
    return errors


def make_image(seed, shape=(5, 6)):
    rng = np.random.default_rng(seed)
    target = np.where(rng.uniform(size=shape) < 0.2, 0, rng.uniform(0.5, 100, shape))
    prediction = np.maximum(target, 0.1) * np.exp(rng.normal(0, 0.4, shape))
    return target, prediction, rng.uniform(size=shape) < 0.8


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    height=st.integers(0, 4),
    max_depth=st.floats(1, 120),
    least=st.floats(1e-3, 5),
)
def test_equal_to_loops(seed, height, max_depth, least):
    image = make_image(seed, (2, height, 5))
    sums = depth_sums(*image, max_depth=max_depth, prediction_range=(least, 80))
    expected = slow_errors(*image, max_depth, (least, 80))
    if expected is None:
        assert sums.num_pixels == 0
        assert all(math.isnan(value) for value in sums.errors().values())
    else:
        assert_same(sums.errors(), expected)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_pooled_pixels_are_those_of_one_large_image(seed):
    images = [make_image(seed + i, (4, 4 + i)) for i in range(2)]
    pooled = depth_sums(*images[0]) + depth_sums(*images[1])
    joined = [np.concatenate([a.ravel(), b.ravel()]) for a, b in zip(*images, strict=True)]
    assert_same(pooled.errors(), depth_sums(*joined).errors())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_what_does_not_count_has_no_influence(seed):
    target, prediction, valid = make_image(seed)
    expected = depth_sums(target, prediction, valid).errors()
    hidden = ~valid | (target == 0)
    for unknown in (0.0, -1.0, np.nan, np.inf):
        changed = np.where(hidden, unknown, target)
        assert_same(depth_sums(changed, np.where(hidden, np.nan, prediction)).errors(), expected)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), unit=st.floats(0.01, 100))
def test_unit(seed, unit):
    target, prediction, _ = make_image(seed)
    metres = depth_sums(target, prediction).errors()
    others = depth_sums(target * unit, prediction * unit).errors()
    for name in ("MeanError", "RMSE", "SqRel"):
        assert others[name] == pytest.approx(metres[name] * unit)
    assert others["AbsRel"] == pytest.approx(metres["AbsRel"])
    assert others["RMSElog"] == pytest.approx(metres["RMSElog"])
    assert metres["MeanError"] <= metres["RMSE"] * (1 + 1e-12)
    assert 0 <= metres["delta_1"] <= metres["delta_2"] <= metres["delta_3"] <= 1


def test_by_hand():
    errors = depth_sums([[2.0, 4.0]], [[1.0, 4.0]]).errors()
    expected = [0.5, 0.25, 0.25, math.sqrt(0.5), math.log(2) / math.sqrt(2), 0.5, 0.5, 0.5]
    assert list(errors.values()) == pytest.approx(expected)


def test_true_depth_has_no_error():
    target, _, _ = make_image(1)
    errors = depth_sums(target, target).errors()
    assert list(errors.values()) == [0, 0, 0, 0, 0, 1, 1, 1]


def test_the_border_of_delta_is_outside():
    errors = depth_sums([4.0, 5.0], [5.0, 4.0]).errors()
    assert (errors["delta_1"], errors["delta_2"]) == (0, 1)


def test_the_largest_depth_counts():
    assert depth_sums([80.0, 80.5], [80.0, 1.0], max_depth=80).num_pixels == 1


def test_images_weigh_the_same():
    small, large = depth_sums([1.0], [2.0]), depth_sums(np.ones(9), np.ones(9))
    empty = depth_sums([0.0], [1.0])
    assert mean_over_images([small, large, empty])["MeanError"] == 0.5
    assert (small + large + empty).errors()["MeanError"] == pytest.approx(0.1)
    assert math.isnan(mean_over_images([empty])["AbsRel"])
    with pytest.raises(ValueError, match="at least one image"):
        mean_over_images([])


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"prediction \[2\] as target, got \[3\]"):
        depth_sums([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"valid \[2\] as target, got \[1\]"):
        depth_sums([1.0, 2.0], [1.0, 2.0], [True])
    with pytest.raises(ValueError, match="valid of dtype bool"):
        depth_sums([1.0], [1.0], [255])
    with pytest.raises(ValueError, match=r"above 0 m, got -1\.0; give prediction_range"):
        depth_sums([1.0], [-1.0])
    with pytest.raises(ValueError, match="above 0 m, got nan"):
        depth_sums([1.0], [np.nan], prediction_range=(0.1, 80))
    with pytest.raises(ValueError, match="max_depth above 0"):
        depth_sums([1.0], [1.0], max_depth=0)
    with pytest.raises(ValueError, match="0 < least <= largest"):
        depth_sums([1.0], [1.0], prediction_range=(0, 80))
