"""The best union of segments against all unions."""

from itertools import chain, combinations

import numpy as np
import pytest

from vdit.metrics.unions import best_union


def iou(segments, chosen, mask):
    union = np.isin(segments, chosen)
    return (union & mask).sum() / (union | mask).sum()


def slow_best_union(segments, mask, count):
    """Try every subset."""
    subsets = chain.from_iterable(combinations(range(count), size) for size in range(count + 1))
    return max(iou(segments, subset, mask) for subset in subsets)


@pytest.mark.parametrize("seed", range(12))
def test_no_union_is_better(seed):
    generator = np.random.default_rng(seed)
    segments = generator.integers(0, 8, size=(3, 9, 7))
    share = generator.uniform(size=8) ** 2
    mask = generator.uniform(size=segments.shape) < share[segments]
    mask[0, 0, 0] = True
    score, chosen = best_union(segments, mask)
    assert score == pytest.approx(slow_best_union(segments, mask, 8))
    assert score == pytest.approx(iou(segments, chosen, mask))
    assert list(chosen) == sorted(chosen)


def test_all_subsets_of_ten():
    generator = np.random.default_rng(0)
    segments = generator.integers(0, 10, size=(4, 12))
    mask = (segments % 3 == 0) ^ (generator.uniform(size=segments.shape) < 0.2)
    assert best_union(segments, mask)[0] == pytest.approx(slow_best_union(segments, mask, 10))


def test_simple_unions():
    segments = np.array([[0, 0, 1, 2], [0, 0, 1, 4]])  # number 3 has no cell
    mask = np.array([[False, False, True, True], [False, False, True, False]])
    assert best_union(segments, mask) == (1.0, (1, 2))
    assert best_union(segments, np.ones_like(mask))[0] == 1.0
    assert best_union(segments, np.zeros_like(mask)) == (1.0, ())
    assert best_union(np.zeros_like(segments), mask) == (3 / 8, (0,))


def test_wrong_arrays():
    with pytest.raises(ValueError, match=r"expected segments and mask of one shape, got \[2, 3\]"):
        best_union(np.zeros((2, 3), int), np.ones((3, 2), bool))
    with pytest.raises(ValueError, match="expected segments >= 0, got -1"):
        best_union(np.full((2, 2), -1), np.ones((2, 2), bool))
