"""Steadiness of masks and features: by hand and by properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdit.metrics.consistency import (
    overlap_change,
    pool_regions,
    precise_share,
    similarity_to_first,
)

ious = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(ious, st.integers(1, 6))
def test_overlap_change_is_the_mean_over_pairs(values, interval):
    pairs = list(zip(values, values[interval:], strict=False))
    found = overlap_change(values, interval)
    if not pairs:
        assert math.isnan(found)
        return
    assert found == pytest.approx(sum(abs(a - b) for a, b in pairs) / len(pairs))
    assert found == pytest.approx(overlap_change(values[::-1], interval))
    assert 0 <= found <= 1


def test_overlap_change_of_steady_and_alternating_answers():
    assert overlap_change([0.2] * 9, 5) == 0.0
    assert overlap_change([0.0, 1.0] * 6, 1) == 1.0
    assert overlap_change([0.0, 1.0] * 6, 2) == 0.0


@given(ious)
def test_precise_share(values):
    found = precise_share(values)
    good = [value for value in values if value > 0.5]
    if not good:
        assert math.isnan(found)
        return
    assert found == sum(value > 0.9 for value in good) / len(good)
    assert precise_share([*values, 0.1]) == found


def test_borders_do_not_count():
    assert precise_share([0.9, 0.5, 0.6]) == 0.0


def test_pooling_by_hand():
    features = np.arange(12.0).reshape(1, 3, 2, 2)
    weights = np.array([[[1.0, 0.0], [0.0, 3.0]]])
    np.testing.assert_allclose(pool_regions(features, weights), [[2.25, 6.25, 10.25]])
    assert np.isnan(pool_regions(features, 0 * weights)).all()


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10))
def test_pooling_depends_on_shares_only(seed, scale):
    rng = np.random.default_rng(seed)
    features, weights = rng.standard_normal((3, 4, 5, 6)), rng.random((3, 5, 6))
    pooled = pool_regions(features, weights)
    np.testing.assert_allclose(pool_regions(features, scale * weights), pooled)
    constant = np.broadcast_to(features[:, :, :1, :1], features.shape)
    np.testing.assert_allclose(pool_regions(constant, weights), features[:, :, 0, 0])


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10))
def test_similarity_depends_on_direction_only(seed, scale):
    vectors = np.random.default_rng(seed).standard_normal((4, 6))
    found = similarity_to_first(vectors)
    assert (np.abs(found) <= 1 + 1e-12).all()
    lengths = np.array([[1.0], [scale], [2.0], [0.5]])
    np.testing.assert_allclose(similarity_to_first(lengths * vectors), found)
    np.testing.assert_allclose(similarity_to_first([vectors[0], vectors[0], -vectors[0]]), [1, -1])


def test_frames_without_the_object_have_no_similarity():
    vectors = np.array([[1.0, 2.0], [np.nan, np.nan], [0.0, 0.0], [1.0, 2.0]])
    assert np.isnan(similarity_to_first(vectors)).tolist() == [True, True, False]
    assert np.isnan(similarity_to_first(vectors[[1, 0]])).all()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: overlap_change([[1.0]], 1), "of shape"),
        (lambda: overlap_change([1.0], 0), "at least 1, got"),
        (lambda: pool_regions(np.ones((2, 3, 4, 4)), np.ones((2, 4, 5))), "expected features"),
        (lambda: similarity_to_first(np.ones((0, 3))), "at least one frame"),
    ],
)
def test_mistakes(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
