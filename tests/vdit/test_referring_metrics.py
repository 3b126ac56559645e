"""Scores of referring segmentation: by hand, by properties, and beside pycocotools."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vdit.masks import encode_rle
from vdit.metrics import davis, referring

THRESHOLDS = referring.AVERAGE_PRECISION_THRESHOLDS


def test_overlaps_by_hand():
    target = np.zeros((3, 4, 5), dtype=bool)
    target[0, :2] = True
    target[1, 0, 0] = True
    prediction = np.zeros_like(target)
    prediction[0, 1:3] = True
    both, either = referring.intersection_and_union(target, prediction)
    assert both.tolist() == [5, 0, 0]
    assert either.tolist() == [15, 1, 0]
    summary = referring.summarize_overlaps(both, either)
    assert summary["overall IoU"] == pytest.approx(5 / 16)
    assert summary["mean IoU"] == pytest.approx((1 / 3 + 0 + 1) / 3, abs=1e-6)
    assert [summary[f"P@{k}"] for k in (0.5, 0.9)] == [1 / 3, 1 / 3]


def test_precision_is_above_not_at_the_threshold():
    # 1e-6 in both counts lifts an IoU of exactly 1/2 above it, as in the released code
    assert referring.summarize_overlaps([1], [2])["P@0.5"] == 1.0
    assert referring.summarize_overlaps([499_999], [1_000_000])["P@0.5"] == 0.0


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: referring.summarize_overlaps([], []), "at least one sample"),
        (lambda: referring.summarize_overlaps([1, 2], [1]), "at least one sample"),
        (lambda: referring.average_precision([], []), "scores and IoU of samples"),
        (lambda: referring.average_precision([[0.5]], [[0.5, 0.1]]), "one IoU a score"),
        (lambda: referring.answer_accuracies([True], [True, False]), "of one length"),
        (
            lambda: referring.intersection_and_union(np.ones((2, 2)), np.ones((2, 2), bool)),
            "target of dtype bool, got float64",
        ),
        (
            lambda: referring.intersection_and_union(np.ones((2, 2), bool), np.ones((2, 3), bool)),
            "of one shape",
        ),
    ],
)
def test_mistakes(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def coco_average_precision(targets, predictions):
    """mAP, AP50 and AP75 of pycocotools; a prediction is (sample, score, mask)."""
    height, width = targets[0].shape
    truth = COCO()
    truth.dataset = {
        "images": [{"id": k, "height": height, "width": width} for k in range(len(targets))],
        "annotations": [
            {
                "id": k + 1,
                "image_id": k,
                "category_id": 1,
                "iscrowd": 0,
                "area": int(mask.sum()),
                "segmentation": encode_rle(mask),
            }
            for k, mask in enumerate(targets)
        ],
        "categories": [{"id": 1, "name": "thing"}],
    }
    records = [
        {"image_id": k, "category_id": 1, "score": score, "segmentation": encode_rle(mask)}
        for k, score, mask in predictions
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(records), "segm")
        evaluation.params.useCats = 0
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:3]


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_is_that_of_pycocotools(seed):
    rng = np.random.default_rng(seed)
    targets, predictions = [], []
    for k in range(12):
        mask = np.zeros((24, 30), dtype=bool)
        y, x = rng.integers(0, 16, 2)
        mask[y : y + rng.integers(3, 9), x : x + rng.integers(3, 9)] = True
        targets.append(mask)
        for _ in range(rng.integers(0 if seed % 2 else 1, 6)):
            shifted = np.roll(mask, rng.integers(-2, 3, 2), axis=(0, 1))
            predictions.append((k, float(rng.integers(0, 12)) / 12, shifted))  # with ties
    scores, ious = [], []
    for k, mask in enumerate(targets):
        own = [(score, other) for sample, score, other in predictions if sample == k]
        scores.append([score for score, _ in own])
        ious.append([(mask & other).sum() / (mask | other).sum() for _, other in own])
    found = referring.average_precision(scores, ious)
    expected = coco_average_precision(targets, predictions)
    # pycocotools adds 2e-16 to the number of masks
    np.testing.assert_allclose([found.mean(), found[0], found[5]], expected, rtol=0, atol=1e-12)


overlaps = st.lists(st.floats(0, 1), min_size=1, max_size=4)


@settings(max_examples=100, deadline=None)
@given(st.lists(overlaps, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_average_precision_falls_with_the_threshold_and_not_with_scale(ious, random):
    scores = [[random.randrange(64) / 64 for _ in each] for each in ious]
    found = referring.average_precision(scores, ious)
    assert (np.diff(found) <= 1e-12).all()
    assert ((found >= 0) & (found <= 1)).all()
    squeezed = [[0.5 * score + 0.25 for score in each] for each in scores]
    np.testing.assert_allclose(referring.average_precision(squeezed, ious), found)


def test_average_precision_of_perfect_and_absent_masks():
    assert referring.average_precision([[0.1], [0.9]], [[1.0], [1.0]]).tolist() == [1.0] * 10
    assert referring.average_precision([[], []], [[], []]).tolist() == [0.0] * 10
    half = referring.average_precision([[0.9], []], [[1.0], []])
    np.testing.assert_allclose(half, 51 / 101)  # recalls 0 to 0.5


def test_answers_by_hand():
    assert referring.answer_accuracies([True] * 3, [True, True, False]) == {"T-acc": 2 / 3}
    assert referring.answer_accuracies([False] * 2, [True, False]) == {"N-acc": 0.5}


def test_identity_counts():
    target = np.zeros((2, 12, 12), dtype=np.uint8)
    target[:, 1:5, 1:5], target[:, 7:11, 7:11] = 1, 2
    swapped = np.array([0, 2, 1], dtype=np.uint8)[target]
    assert (referring.score_by_identity(target, target, [1, 2]).region == 1).all()
    assert (referring.score_by_identity(target, swapped, [1, 2]).region == 0).all()
    assert (davis.score_unsupervised(target, swapped).region == 1).all()
    only = referring.score_by_identity(target, np.where(target == 2, 2, 0), [2, 1])
    assert only.region.mean(axis=1).tolist() == [1.0, 0.0]
    assert only.predicted_ids.tolist() == [2, 1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_matched_objects_never_score_less_than_named_ones(seed):
    rng = np.random.default_rng(seed)
    target, prediction = rng.integers(0, 4, (2, 3, 9, 8)).astype(np.uint8)
    target[0, 0, :4] = range(4)
    target[rng.random(target.shape) < 0.1] = davis.VOID_LABEL
    target[0, 0, 3] = 3
    strict = davis.summarize([referring.score_by_identity(target, prediction, [1, 2, 3])])
    matched = davis.summarize([davis.score_unsupervised(target, prediction)])
    assert strict["J&F-Mean"] <= matched["J&F-Mean"] + 1e-12
