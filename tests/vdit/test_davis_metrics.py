"""DAVIS metrics: definitions, edges, errors, and the fast path against a slow one."""

import itertools
import math

import numpy as np
import pytest

from vdit.metrics import davis
from vdit.metrics.contours import contour_radius, draw_outlines

SIZES = [(1, 1), (1, 5), (5, 1), (2, 2), (3, 4), (7, 5), (16, 16), (9, 31)]
BOUNDS = [0.0, 0.008, 0.2, 1, 1.5, 3, 8, 50]


def slow_contour_pixels(mask):
    """Every pixel asked for its three neighbors to the right and below, one by one."""
    height, width = mask.shape
    return {
        (y, x)
        for y, x in itertools.product(range(height), range(width))
        for dy, dx in ((0, 1), (1, 0), (1, 1))
        if y + dy < height and x + dx < width and mask[y, x] != mask[y + dy, x + dx]
    }


def slow_share(points, others, radius):
    near = [
        any((y - v) ** 2 + (x - u) ** 2 <= radius**2 for v, u in others) for y, x in sorted(points)
    ]
    return sum(near) / len(near)


def slow_contour_accuracy(target, prediction, void, bound_th):
    diagonal = math.sqrt(target.shape[0] ** 2 + target.shape[1] ** 2)
    radius = bound_th if bound_th >= 1 else math.ceil(bound_th * diagonal)
    true = slow_contour_pixels(target & ~void)
    predicted = slow_contour_pixels(prediction & ~void)
    if not true or not predicted:
        return float(not true and not predicted)
    precision = slow_share(predicted, true, radius)
    recall = slow_share(true, predicted, radius)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def slow_region_similarity(target, prediction, void):
    both = either = 0
    for t, p, v in zip(target.flat, prediction.flat, void.flat, strict=True):
        both += not v and t and p
        either += not v and (t or p)
    return both / either if either else 1.0


def random_masks(rng, size):
    """Eight masks from empty to full, noise and blocks."""
    blocks = [np.zeros(size, dtype=bool) for _ in range(3)]
    for block in blocks:
        y, x = rng.integers(0, size[0]), rng.integers(0, size[1])
        block[y : y + rng.integers(1, size[0] + 1), x : x + rng.integers(1, size[1] + 1)] = True
    noise = [rng.random(size) < share for share in (0.02, 0.5, 0.95)]
    return np.stack([np.zeros(size, dtype=bool), np.ones(size, dtype=bool), *blocks, *noise])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("with_void", [False, True])
def test_equals_the_slow_reference(size, with_void):
    rng = np.random.default_rng([*size, with_void])
    target = random_masks(rng, size)
    prediction = random_masks(rng, size)[rng.permutation(8)]
    void = rng.random(target.shape) < 0.2 if with_void else np.zeros_like(target)
    given = void if with_void else None
    frames = list(zip(target, prediction, void, strict=True))
    expected = [slow_region_similarity(*frame) for frame in frames]
    assert davis.region_similarity(target, prediction, given).tolist() == expected
    for bound_th in BOUNDS[:: 1 if np.prod(size) < 100 else 3]:
        expected = [slow_contour_accuracy(*frame, bound_th) for frame in frames]
        found = davis.contour_accuracy(target, prediction, given, bound_th)
        assert found.tolist() == expected
        region, contour = davis.region_and_contour(target, prediction, given, bound_th)
        assert contour.tolist() == expected
        assert region.tolist() == davis.region_similarity(target, prediction, given).tolist()


def test_disk_includes_its_rim():
    mask = np.zeros((1, 30, 30), dtype=bool)
    mask[0, 10, 10] = True
    y, x = np.mgrid[:30, :30]
    corners = [(10, 10), (9, 10), (10, 9), (9, 9)]
    expected = np.logical_or.reduce([(y - v) ** 2 + (x - u) ** 2 <= 25 for v, u in corners])
    everything = np.indices((30, 30)).sum(axis=0) % 2 == 0  # all but one of its pixels are contour
    dot, dots = draw_outlines([mask[0], everything], radius=5)
    assert dots.length == 30 * 30 - 1
    assert (dot.near & dots.contour).bit_count() == expected.sum()
    for shift, score in (((0, 5), 1.0), ((0, 7), 0.0), ((3, 4), 1.0), ((6, 6), 0.0)):
        moved = np.roll(mask, shift, axis=(1, 2))
        assert davis.contour_accuracy(mask, moved, bound_th=5).tolist() == [score]


def test_radius_of_the_benchmark():
    assert contour_radius(480, 854, 0.008) == 8
    assert contour_radius(480, 854, 3) == 3
    assert contour_radius(3, 4, 1000) == 5


def test_empty_and_full_masks():
    empty, full = np.zeros((1, 6, 7), dtype=bool), np.ones((1, 6, 7), dtype=bool)
    dot = empty.copy()
    dot[0, 3, 3] = True
    assert davis.region_similarity(empty, empty).tolist() == [1.0]
    assert davis.contour_accuracy(empty, empty).tolist() == [1.0]
    assert davis.region_similarity(empty, dot).tolist() == [0.0]
    assert davis.contour_accuracy(empty, dot).tolist() == [0.0]
    assert davis.contour_accuracy(dot, empty).tolist() == [0.0]
    # the full frame has no contour, so only J tells it from an empty mask
    assert davis.contour_accuracy(full, empty).tolist() == [1.0]
    assert davis.region_similarity(full, empty).tolist() == [0.0]
    assert davis.region_similarity(full, dot, void=full).tolist() == [1.0]
    assert davis.contour_accuracy(full, dot, void=full).tolist() == [1.0]


def test_no_frames():
    none = np.zeros((0, 4, 4), dtype=bool)
    assert davis.region_similarity(none, none).shape == (0,)
    assert davis.contour_accuracy(none, none).shape == (0,)


def test_swapping_target_and_prediction_changes_nothing():
    rng = np.random.default_rng(3)
    masks = random_masks(rng, (16, 16)), random_masks(rng, (16, 16))[::-1]
    for measure in (davis.region_similarity, davis.contour_accuracy):
        np.testing.assert_allclose(measure(*masks), measure(*masks[::-1]), rtol=0, atol=1e-15)


@pytest.mark.parametrize("measure", [davis.region_similarity, davis.contour_accuracy])
def test_masks_of_wrong_form_are_refused(measure):
    mask = np.zeros((2, 4, 4), dtype=bool)
    with pytest.raises(ValueError, match="prediction of dtype bool, got uint8"):
        measure(mask, mask.astype(np.uint8))
    with pytest.raises(ValueError, match="void of dtype bool, got float64"):
        measure(mask, mask, void=mask.astype(float))
    with pytest.raises(ValueError, match="prediction"):
        measure(mask, mask[:1])
    with pytest.raises(ValueError, match="void"):
        measure(mask, mask, void=mask[:, :2])
    with pytest.raises(ValueError, match="target"):
        measure(mask[0], mask[0])


@pytest.mark.parametrize("bound_th", [-1.0, math.nan])
def test_negative_tolerance_is_refused(bound_th):
    mask = np.zeros((1, 4, 4), dtype=bool)
    with pytest.raises(ValueError, match="bound_th >= 0"):
        davis.contour_accuracy(mask, mask, bound_th=bound_th)


def test_statistics_by_hand():
    values = np.array([1.0, 1.0, 0.6, 0.6, 0.5, 0.2, 0.2, 0.0, 0.0])
    mean, recall, decay = davis.statistics(values)
    assert mean == pytest.approx(values.sum() / 9)
    assert recall == 4 / 9  # 0.5 itself does not count
    assert decay == pytest.approx((1.0 + 1.0 + 0.6) / 3 - (0.2 + 0.0 + 0.0) / 3)


def test_statistics_of_one_frame_and_of_missing_scores():
    assert davis.statistics(np.array([0.7])) == (0.7, 1.0, 0.0)
    assert davis.statistics(np.array([0.7, np.nan]))[:2] == (0.7, 0.5)
    assert np.isnan(davis.statistics(np.array([np.nan]))[0])


@pytest.mark.parametrize("length", [256, 300, 1000])
def test_decay_of_long_sequences(length):
    values = np.linspace(1, 0, length)
    assert davis.statistics(values)[2] == pytest.approx(0.75, abs=0.01)
    assert davis.statistics(values, eight_bit_bins=True)[2] != pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros((2, 3))])
def test_statistics_of_wrong_form_are_refused(values):
    with pytest.raises(ValueError, match="expected scores"):
        davis.statistics(values)


@pytest.fixture
def labels():
    """Three objects that move down, of 3, 4 and 5 columns; the third appears after frame 0."""
    maps = np.zeros((6, 24, 24), dtype=np.uint8)
    for t in range(6):
        for k in (1, 2, 3):
            if k < 3 or t > 0:
                maps[t, 2 + t : 8 + t, 7 * k - 5 : 7 * k - 3 + k] = k
    return maps


def test_perfect_predictions(labels):
    for score in (davis.score_semi_supervised, davis.score_unsupervised):
        known = np.where(labels == 3, 0, labels)
        scores = score(labels, known)
        assert scores.predicted_ids.tolist() == [1, 2]  # ids of later frames do not count
        assert (scores.region == 1).all()
        assert (scores.contour == 1).all()


def test_semi_supervised_drops_the_first_and_the_last_frame(labels):
    prediction = np.where(labels == 3, 0, labels)
    prediction[[0, -1]] = 0
    scores = davis.score_semi_supervised(labels, prediction)
    assert scores.region.shape == scores.contour.shape == (2, 4)
    assert (scores.region == 1).all()


def test_semi_supervised_counts_missing_objects_as_empty(labels):
    scores = davis.score_semi_supervised(labels, np.where(labels == 1, labels, 0))
    assert scores.region.mean(axis=1).tolist() == [1.0, 0.0]
    assert scores.contour.mean(axis=1).tolist() == [1.0, 0.0]


def test_unsupervised_finds_the_permutation(labels):
    renamed = np.array([0, 5, 3, 9], dtype=np.uint8)[labels]
    scores = davis.score_unsupervised(labels, renamed)
    assert scores.predicted_ids.tolist() == [5, 3]
    assert scores.region.shape == (2, 6)
    assert (scores.region == 1).all()


def test_unsupervised_pairs_each_proposal_once(labels):
    merged = (labels > 0).astype(np.uint8)
    scores = davis.score_unsupervised(labels, merged)
    assert sorted(scores.predicted_ids) == [1, 2]
    assert (scores.region.mean(axis=1) == 0).sum() == 1


def test_unsupervised_is_the_best_of_all_assignments():
    rng = np.random.default_rng(7)
    target = rng.integers(0, 4, (3, 8, 9))
    target[0, 0, :4] = range(4)
    prediction = rng.integers(0, 6, (3, 8, 9))
    target[rng.random(target.shape) < 0.1] = davis.VOID_LABEL
    void = target == davis.VOID_LABEL
    pairs = np.zeros((3, 5))
    for k, p in itertools.product(range(3), range(5)):
        masks = target == k + 1, prediction == p + 1, void
        both = davis.region_similarity(*masks) + davis.contour_accuracy(*masks)
        pairs[k, p] = both.mean() / 2
    best = max(pairs[range(3), order].sum() for order in itertools.permutations(range(5), 3))
    scores = davis.score_unsupervised(target, prediction)
    found = (scores.region.mean(axis=1) + scores.contour.mean(axis=1)).sum() / 2
    assert found == pytest.approx(best)
    chosen = pairs[range(3), scores.predicted_ids - 1]
    np.testing.assert_allclose((scores.region + scores.contour).mean(axis=1) / 2, chosen)


def test_void_is_ignored_or_background(labels):
    prediction = np.where(labels == 3, 0, labels)
    target = labels.copy()
    target[2][prediction[2] > 0] = davis.VOID_LABEL
    assert (davis.score_unsupervised(target, prediction).region == 1).all()
    assert davis.score_semi_supervised(target, prediction).region[:, 1].tolist() == [0.0, 0.0]


def test_sequence_without_objects(labels):
    scores = davis.score_unsupervised(np.zeros_like(labels), labels)
    assert scores.region.shape == (0, 6)
    assert scores.object_statistics().shape == (0, 6)
    with pytest.raises(ValueError, match="at least one object"):
        davis.summarize([scores])


def test_summary_weighs_objects_not_sequences(labels):
    known = np.where(labels == 3, 0, labels)
    two = davis.score_semi_supervised(labels, known)
    single = (labels == 1).astype(np.uint8)
    one = davis.score_semi_supervised(single, np.zeros_like(single))
    summary = davis.summarize([two, one])
    assert summary["J-Mean"] == pytest.approx(2 / 3)
    assert summary["F-Recall"] == pytest.approx(2 / 3)
    assert summary["J&F-Mean"] == pytest.approx((summary["J-Mean"] + summary["F-Mean"]) / 2)
    assert summary["J-Decay"] == 0


def test_label_maps_of_wrong_form_are_refused(labels):
    for score in (davis.score_semi_supervised, davis.score_unsupervised):
        with pytest.raises(ValueError, match=r"two maps \[T, H, W\]"):
            score(labels, labels[:2])
        with pytest.raises(ValueError, match="integer dtype, got bool"):
            score(labels, labels > 0)
        with pytest.raises(ValueError, match="ids >= 0 in prediction, got -1"):
            score(labels, labels.astype(int) - 1)
    with pytest.raises(ValueError, match="ids up to 2, got 3"):
        davis.score_semi_supervised(labels, labels)
    with pytest.raises(ValueError, match="at most 2 proposals, got the id 3"):
        davis.score_unsupervised(labels, labels, max_proposals=2)
    with pytest.raises(ValueError, match="got 2 frames"):
        davis.score_semi_supervised(labels[:2], labels[:2])
    with pytest.raises(ValueError, match="at least one frame"):
        davis.score_unsupervised(labels[:0], labels[:0])
