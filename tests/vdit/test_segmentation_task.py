"""Segmentation as a probe: geometry of labels, losses, learning, chance, scores of whole maps."""

import json

import numpy as np
import pytest
import torch

from tests.models.probes.learning import clips, overfit, silent_parameters
from tests.vdit.dense_task_worlds import (
    CLASSES,
    GEOMETRIES,
    LARGE_BLOCKS,
    dataset,
    labelled,
    labels_of,
    pure,
    with_depth,
)
from vdit.metrics.segmentation import accumulate_confusion, class_iou, mean_iou
from vdit.probing.clip_views import ViewOptions
from vdit.probing.probe_task import FeatureShape
from vdit.probing.tasks.segmentation import Segmentation, SegmentationHead

VIEW = ViewOptions(num_frames=3, sampling="around", size=(12, 16))
HEADS = {
    "dense": SegmentationHead(width=24),
    "layer": SegmentationHead(width=24, norm="layer"),
    "linear": SegmentationHead("linear"),
    "all steps": SegmentationHead(width=24, steps="all"),
}
SHAPE = FeatureShape(3, 16, 3, 4)


def make(head="dense", view=VIEW, **options):
    return Segmentation(HEADS[head], view, CLASSES, **options)


@pytest.fixture(params=list(HEADS))
def task(request):
    torch.manual_seed(0)
    return make(request.param)


# ---- targets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", GEOMETRIES)
def test_labels_follow_the_pixels(options):
    """Wherever a pixel of the clip has the color of one block, it has its label."""
    task = make(view=ViewOptions(num_frames=3, sampling="around", **options))
    video = labelled(**LARGE_BLOCKS)
    for view in task.views(video, is_training=False):
        frame = view.frames(video)[1]
        (labels,) = task.targets(video, view, False)["labels"].numpy()
        assert (labels.dtype, labels.shape) == (np.uint8, frame.shape[:2])
        is_pure = pure(frame)
        assert is_pure.mean() > 0.2
        np.testing.assert_array_equal(labels[is_pure], labels_of(frame[is_pure][:, 0]))


def test_all_frames_of_a_clip_may_have_labels():
    video = labelled(labelled=(1, 2, 3))
    task = make(view=ViewOptions(num_frames=4, sampling="strided"))
    (view,) = task.views(video, True)
    labels = task.targets(video, view, True)["labels"].numpy()
    assert view.indices == (0, 1, 2, 3)
    assert (labels[0] == 255).all()  # nobody labelled it
    for t in (1, 2, 3):
        np.testing.assert_array_equal(labels[t], video.labels(t))


def test_whole_frames_are_scored_at_their_own_size():
    video, task = labelled(), make(scored="frame")
    (view,) = task.views(video, False)
    (labels,) = task.targets(video, view, False)["labels"].numpy()
    np.testing.assert_array_equal(labels, video.labels(2))
    assert task.targets(video, view, True)["labels"].shape == (1, 12, 16)
    with pytest.raises(ValueError, match=r"no view\.crop with scored=frame"):
        make(view=ViewOptions(crop=(8, 8), size=(12, 16), sampling="around"), scored="frame")


# ---- learning ----------------------------------------------------------------------------------


def test_shapes_and_gradients(task):
    head = task.build_head(SHAPE)
    logits = head(clips(steps=3), (12, 16))
    assert logits.shape == (12, 1, 3, 12, 16)
    assert silent_parameters(head, logits) == []
    answer = task.answer(head, clips(steps=3), {"labels": torch.zeros(12, 1, 24, 31)})
    assert (answer["classes"].shape, answer["classes"].dtype) == ((12, 1, 24, 31), torch.uint8)


def cells_that_show_classes(seed=0, batch=4):
    """Features whose middle step says the class of each cell, and labels of 4 x 4 pixels a cell."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randint(3, (batch, 1, 3, 4), generator=generator)
    features = clips(batch, steps=3, seed=seed)
    for k in range(3):
        features[:, 1, k] += 4 * (cells[:, 0] == k)
    labels = cells.repeat_interleave(4, 2).repeat_interleave(4, 3).to(torch.uint8)
    return features, {"labels": labels}


def test_a_tiny_set_is_learned_by_heart(task):
    """Of pixels in the middle of cells: those between two classes are mixed by upsampling."""
    features, targets = cells_that_show_classes()
    head = task.build_head(SHAPE)
    overfit(head, lambda: task.losses(head, features, targets)["loss"], steps=80, rate=1e-2)
    classes = task.answer(head, features, targets)["classes"]
    middle = (slice(None), slice(None), slice(1, None, 4), slice(1, None, 4))
    assert (classes[middle] == targets["labels"][middle]).float().mean() > 0.95


def test_pixels_that_nobody_knows_do_not_count():
    torch.manual_seed(0)
    task = make()
    head = task.build_head(SHAPE)
    features, targets = cells_that_show_classes()
    head.eval()
    labels = targets["labels"].clone()
    labels[:, :, :6] = 255
    logits = head(features, (12, 16))[:, 0].movedim(1, -1)
    shares = logits.softmax(-1)
    known = torch.gather(shares, 3, targets["labels"][:, 0, ..., None].long())[:, 6:, :, 0]
    losses = task.losses(head, features, {"labels": labels})
    torch.testing.assert_close(losses["loss"], -known.log().mean())
    hits = logits.argmax(-1)[:, 6:] == targets["labels"][:, 0, 6:]
    torch.testing.assert_close(losses["pixel_accuracy"], hits.float().mean())
    nothing = task.losses(head, features, {"labels": torch.full_like(labels, 255)})
    assert nothing["loss"].item() == 0


def test_steps_that_are_not_labelled_are_not_seen():
    torch.manual_seed(0)
    features, targets = cells_that_show_classes()
    for name, is_seen in (("dense", False), ("all steps", True)):
        task = make(name)
        head = task.build_head(SHAPE).eval()
        changed = features.clone()
        changed[:, 0] += 1
        losses = [task.losses(head, each, targets)["loss"] for each in (features, changed)]
        assert (losses[0] != losses[1]).item() == is_seen


# ---- chance and scores -------------------------------------------------------------------------


def test_chance_is_the_most_frequent_class_of_each_pixel():
    def labels(*rows):
        return {"labels": torch.tensor([rows], dtype=torch.uint8)}

    training = [
        labels([0, 1], [255, 2]),
        labels([0, 1], [255, 255]),
        labels([2, 2], [255, 2]),
        labels([1, 2], [255, 2]),
    ]
    rule = make().blind_rule(iter(training))
    # 2 is the most frequent of all; 1 and 2 are equally frequent at the top right
    expected = torch.tensor([[[0, 1], [2, 2]]], dtype=torch.uint8)
    torch.testing.assert_close(rule(labels([1, 1], [1, 1]))["classes"], expected)
    larger = rule({"labels": torch.zeros(3, 4, 4, dtype=torch.uint8)})["classes"]
    torch.testing.assert_close(
        larger, expected.repeat_interleave(2, 1).repeat_interleave(2, 2).expand(3, -1, -1)
    )


def test_scores_are_those_of_whole_maps():
    """At full size: the metric of the set, over maps of several sizes that are joined."""
    rng = np.random.default_rng(0)
    task, maps, records = make(), [], []
    for size in ((48, 64), (48, 64), (30, 50)):
        true = rng.choice([0, 1, 2, 255], size=(1, *size)).astype(np.uint8)
        found = np.where(rng.random(true.shape) < 0.6, true % 3, rng.integers(0, 3, true.shape))
        maps.append((true, found.astype(np.uint8)))
        answer = {"classes": torch.from_numpy(maps[-1][1])}
        records.append(task.score([answer], [{"labels": torch.from_numpy(true)}]))
    records = json.loads(json.dumps(records))
    confusion = accumulate_confusion(maps, 3)
    scores = task.summarize(records)
    assert scores["mIoU"] == pytest.approx(100 * mean_iou(confusion))
    assert scores["IoU car"] == pytest.approx(100 * class_iou(confusion)[1])
    known = [(true[true < 255], found[true < 255]) for true, found in maps]
    hits = sum(int((true == found).sum()) for true, found in known)
    assert scores["pixel_accuracy"] == pytest.approx(100 * hits / sum(len(t) for t, _ in known))
    assert set(task.metrics) < set(scores)


def test_views_of_a_video_are_counted_together():
    task = make()
    truth = {"labels": torch.tensor([[[0, 1]]], dtype=torch.uint8)}
    right, wrong = ({"classes": torch.tensor([[row]])} for row in ([0, 1], [1, 1]))
    record = task.score([right, wrong], [truth, truth])
    assert record == {"confusion": [[1, 1, 0], [0, 2, 0], [0, 0, 0]]}


def test_other_data_is_refused():
    make().check(dataset([labelled()], CLASSES))
    for wrong in (dataset([labelled()]), dataset([with_depth()], CLASSES)):
        with pytest.raises(ValueError, match="expected a data set with classes of pixels, got blo"):
            make().check(wrong)
