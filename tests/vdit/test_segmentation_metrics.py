"""mIoU: against loops over pixels and sets, accumulation, ignored pixels, absent classes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdit.metrics.segmentation import (
    accumulate_confusion,
    class_iou,
    confusion_matrix,
    mean_iou,
    pixel_accuracy,
)


def slow_confusion(target, prediction, num_classes, ignore_index=255):
    """Count one pixel at a time."""
    counts = np.zeros((num_classes, num_classes), int)
    for true, predicted in zip(target.flat, prediction.flat, strict=True):
        if true != ignore_index:
            counts[true, predicted] += 1
    return counts


def slow_iou(images, num_classes):
    """Intersection over union of the sets of pixels of each class over all images."""
    scores = []
    for k in range(num_classes):
        true, predicted = set(), set()
        for number, (target, prediction) in enumerate(images):
            for place in np.ndindex(target.shape):
                if target[place] == 255:
                    continue
                if target[place] == k:
                    true.add((number, place))
                if prediction[place] == k:
                    predicted.add((number, place))
        union = true | predicted
        scores.append(len(true & predicted) / len(union) if union else math.nan)
    return scores


def make_images(seed, num_images, num_classes):
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(num_images):
        shape = tuple(rng.integers(0, 6, 2))
        target = rng.integers(0, num_classes, shape).astype(np.uint8)
        right = rng.uniform(size=shape) < 0.5
        prediction = np.where(right, target, rng.integers(0, num_classes, shape))
        target[rng.uniform(size=shape) < 0.2] = 255
        images.append((target, prediction))
    return images


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), num_images=st.integers(0, 4), num_classes=st.integers(1, 20))
def test_equal_to_loops(seed, num_images, num_classes):
    images = make_images(seed, num_images, num_classes)
    confusion = accumulate_confusion(images, num_classes)
    expected = sum(
        (slow_confusion(*image, num_classes) for image in images),
        start=np.zeros((num_classes, num_classes), int),
    )
    np.testing.assert_array_equal(confusion, expected)
    scores = slow_iou(images, num_classes)
    np.testing.assert_allclose(class_iou(confusion), scores, rtol=1e-12)
    present = [score for score in scores if not math.isnan(score)]
    mean = sum(present) / len(present) if present else math.nan
    np.testing.assert_allclose(mean_iou(confusion), mean, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), num_classes=st.integers(1, 8))
def test_names_of_classes_and_roles_do_not_matter(seed, num_classes):
    confusion = accumulate_confusion(make_images(seed, 3, num_classes), num_classes)
    order = np.random.default_rng(seed).permutation(num_classes)
    scores = class_iou(confusion)
    np.testing.assert_array_equal(class_iou(confusion[order][:, order]), scores[order])
    np.testing.assert_array_equal(class_iou(confusion.T), scores)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_ignored_pixels_have_no_influence(seed):
    target, prediction = make_images(seed, 1, 4)[0]
    wild = np.where(target == 255, np.iinfo(np.int64).min, prediction)
    np.testing.assert_array_equal(
        confusion_matrix(target, wild, 4), confusion_matrix(target, prediction, 4)
    )


def test_by_hand():
    confusion = confusion_matrix([[0, 0, 1], [1, 255, 2]], [[0, 1, 1], [1, 2, 0]], 4)
    assert confusion.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(class_iou(confusion), [1 / 3, 2 / 3, 0, math.nan])
    assert mean_iou(confusion) == pytest.approx(1 / 3)
    assert pixel_accuracy(confusion) == 0.6


def test_a_predicted_class_that_is_nowhere_true_counts_as_zero():
    assert mean_iou(confusion_matrix([0, 0, 0, 0], [0, 0, 0, 1], 3)) == 0.375


def test_images_are_pooled_not_averaged():
    images = [([0, 0, 0], [0, 0, 0]), ([1], [0])]
    confusion = accumulate_confusion(images, 2)
    np.testing.assert_allclose(class_iou(confusion), [3 / 4, 0])


def test_labels_of_eight_bits_do_not_overflow():
    labels = np.full((2, 2), 150, np.uint8)
    assert confusion_matrix(labels, labels, 151)[150, 150] == 4


def test_another_ignore_index():
    assert confusion_matrix([-1, 0], [0, 0], 1, ignore_index=-1).tolist() == [[1]]


def test_no_pixel_counts():
    confusion = confusion_matrix([255, 255], [0, 1], 2)
    assert np.isnan(class_iou(confusion)).all()
    assert math.isnan(mean_iou(confusion))
    assert math.isnan(pixel_accuracy(confusion))


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"prediction \[2\] as target, got \[1\]"):
        confusion_matrix([0, 1], [0], 2)
    with pytest.raises(ValueError, match=r"prediction in 0\.\.1, got 2"):
        confusion_matrix([0, 1], [0, 2], 2)
    with pytest.raises(ValueError, match=r"target in 0\.\.1, got -1"):
        confusion_matrix([0, -1], [0, 1], 2)
    with pytest.raises(ValueError, match="prediction of an integer dtype, got float64"):
        confusion_matrix([0], [0.0], 2)
    with pytest.raises(ValueError, match=r"ignore_index outside of 0\.\.1"):
        confusion_matrix([0], [0], 2, ignore_index=1)
    with pytest.raises(ValueError, match="at least 1 class"):
        confusion_matrix([0], [0], 0)
    with pytest.raises(ValueError, match=r"\[C, C\], got \[2, 3\]"):
        mean_iou(np.zeros((2, 3)))
