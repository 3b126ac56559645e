"""Tasks of points and boxes: what is asked, what counts, losses, heads that learn, scores."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from vdit.datasets.truth_videos import (
    BoxTrackVideo,
    BoxTruth,
    ClassifiedVideo,
    PointTrackVideo,
    PointTruth,
)
from vdit.datasets.videos import VideoDataset
from vdit.metrics.box_tracks import box_iou
from vdit.metrics.points import choose_queries, score_points
from vdit.probing.clip_views import ClipView, ViewOptions
from vdit.probing.probe_task import FeatureShape
from vdit.probing.tasks.boxes import Boxes, BoxHead
from vdit.probing.tasks.points import PointHead, Points

T, H, W = 8, 40, 80
VIEW = ViewOptions(num_frames=T, sampling="strided")
WHOLE = ClipView(tuple(range(T)), (H, W), 0, 0, (H, W))
CROP = ClipView((2, 4, 5), (20, 40), 0, 10, (20, 20))  # the middle half of the width
HEADS = {"width": 32, "num_heads": 2, "num_layers": 1}


@dataclass(frozen=True)
class Frames:
    """A video whose frames nobody needs."""

    names: tuple[str, ...]

    def size(self):
        return H, W


@dataclass(frozen=True, eq=False)
class Truth:
    """Points or boxes that are known."""

    truth: PointTruth | BoxTruth

    def read_points(self):
        return self.truth

    def read_boxes(self):
        return self.truth


def names(count):
    return tuple(str(t) for t in range(count))


def point_video(points, visible, labelled=None, name="v"):
    labelled = np.ones_like(visible) if labelled is None else labelled
    truth = PointTruth(np.asarray(points, float), visible, labelled)
    return PointTrackVideo("set", "a", name, Frames(names(visible.shape[1])), Truth(truth))


def box_video(boxes, labelled, name="v"):
    truth = BoxTruth(np.asarray(boxes, float), labelled)
    return BoxTrackVideo("set", "a", name, Frames(names(labelled.shape[1])), Truth(truth))


def random_points(seed, count=6, frames=T):
    rng = np.random.default_rng(seed)
    return point_video(
        rng.uniform(0, 1, (count, frames, 2)),
        rng.uniform(size=(count, frames)) < 0.7,
        name=f"v{seed}",
    )


def random_boxes(seed, count=5, frames=T):
    rng = np.random.default_rng(seed)
    low = rng.uniform(-0.1, 0.6, (count, frames, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.1, 0.6, low.shape)], axis=-1)
    return box_video(boxes, rng.uniform(size=(count, frames)) < 0.7, name=f"v{seed}")


def points_task(view=VIEW, **head):
    return Points(PointHead(**head), view)


def boxes_task(view=VIEW, **head):
    return Boxes(BoxHead(**head), view)


def batch(examples):
    return {name: torch.stack([each[name] for each in examples]) for name in examples[0]}


# ---- what is asked -----------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["start", "first"])
@pytest.mark.parametrize("seed", range(4))
def test_points_in_the_window(seed, asked):
    video = random_points(seed, frames=9)
    task = points_task(kind="recurrent", asked=asked)
    found = task.targets(video, CROP, False)
    truth = video.points()
    expected = []
    for point, seen in zip(truth.points, truth.visible, strict=True):
        x, y = (point[list(CROP.indices)] * (40, 20)).T  # pixels of the resized frame
        x = (x - 10) / 20
        y = y / 20
        visible = seen[list(CROP.indices)] & (x >= 0) & (x < 1)
        first = visible.argmax()
        if visible.any() and (first == 0 or asked == "first"):
            expected.append((first, x, y, visible))
    assert len(found["queries"]) == len(expected)
    for q, (first, x, y, visible) in enumerate(expected):
        assert found["query_frames"][q] == first
        np.testing.assert_allclose(found["queries"][q], (x[first], y[first]), rtol=1e-5)
        np.testing.assert_array_equal(found["visible"][q], visible)
        np.testing.assert_allclose(found["points"][q, visible, 0], x[visible], rtol=1e-5)
        np.testing.assert_allclose(found["points"][q, visible, 1], y[visible], rtol=1e-5)
    assert found["labelled"].all()


def test_hidden_points_may_be_anything():
    video = random_points(0)
    truth = video.points()
    truth.points[~truth.visible] = np.nan
    found = points_task().targets(video, WHOLE, False)
    assert found["points"].isfinite().all()


def test_boxes_are_cut_at_the_window():
    # in shares of the frame the window is x 0.25 to 0.75
    boxes = np.array(
        [
            [[0.3, 0.2, 0.5, 0.6]] * 9,  # inside
            [[0.0, 0.2, 0.5, 0.6]] * 9,  # cut
            [[0.0, 0.2, 0.2, 0.6]] * 9,  # outside
            [[0.3, 0.2, 0.31, 0.3]] * 9,  # 0.02 x 0.1 of the window, too small
        ]
    )
    found = boxes_task().targets(box_video(boxes, np.ones((4, 9), bool)), CROP, False)
    expected = [[0.1, 0.2, 0.5, 0.6], [0, 0.2, 0.5, 0.6]]
    np.testing.assert_allclose(found["queries"], expected, rtol=1e-6)
    np.testing.assert_allclose(found["boxes"], np.repeat(np.array(expected)[:, None], 3, 1),
                               rtol=1e-6)  # fmt: skip
    all_sizes = boxes_task(min_area=0.0).targets(box_video(boxes, np.ones((4, 9), bool)), CROP, 0)
    assert len(all_sizes["queries"]) == 3


def test_objects_that_leave_the_window_stop_counting():
    boxes = np.tile([0.3, 0.2, 0.5, 0.6], (1, 9, 1))
    boxes[0, 4:] += [0.5, 0, 0.5, 0]
    found = boxes_task().targets(box_video(boxes, np.ones((1, 9), bool)), CROP, False)
    assert found["labelled"].tolist() == [[True, False, False]]


def test_boxes_asked_in_the_middle_of_a_clip():
    labelled = np.zeros((3, T), bool)
    labelled[0, 0], labelled[1, 3:], labelled[2, 2:4] = True, True, True
    boxes = np.tile([0.3, 0.2, 0.5, 0.6], (3, T, 1))
    boxes[2, 2] = [0.3, 0.2, 0.301, 0.201]  # too small
    video = box_video(boxes, labelled)
    first = boxes_task(kind="recurrent", asked="first").targets(video, WHOLE, False)
    assert first["query_frames"].tolist() == [0, 3, 3]
    assert len(boxes_task(kind="recurrent").targets(video, WHOLE, False)["queries"]) == 1


@pytest.mark.parametrize("make", [random_points, random_boxes])
def test_repeated_frames_count_once(make):
    view = replace(WHOLE, indices=(0, 1, 2, 3, 3, 3, 3, 3))
    task = points_task() if make is random_points else boxes_task()
    found = task.targets(make(1, frames=4), view, False)
    assert not found["labelled"][:, 4:].any()
    assert found["labelled"][:, :4].any()


@pytest.mark.parametrize("make", [random_points, random_boxes])
def test_training_clips_have_as_many_questions(make):
    task = points_task if make is random_points else boxes_task
    video = make(2, count=30)
    everything = task().targets(video, WHOLE, False)
    count = len(everything["queries"])
    few = task(num_queries=5).targets(video, WHOLE, True)
    again = task(num_queries=5).targets(video, WHOLE, True)
    assert few["asked"].tolist() == [True] * 5
    rows = {tuple(row.tolist()) for row in everything["queries"]}
    drawn = {tuple(row.tolist()) for row in few["queries"]}
    assert len(drawn) == 5
    assert drawn <= rows
    assert all(torch.equal(few[name], again[name]) for name in few)
    other = task(num_queries=5).targets(replace(video, name="w"), WHOLE, True)
    assert not torch.equal(few["queries"], other["queries"])
    many = task(num_queries=50).targets(video, WHOLE, True)
    assert int(many["asked"].sum()) == count
    assert {name: value.shape[0] for name, value in many.items()} == dict.fromkeys(many, 50)
    for name in everything:
        assert torch.equal(many[name][:count], everything[name])


def test_a_clip_without_a_question():
    video = point_video(np.zeros((3, T, 2)), np.zeros((3, T), bool))
    for task, name, each in (
        (points_task(**HEADS), "points", video),
        (boxes_task(**HEADS), "boxes", box_video(np.zeros((3, T, 4)), np.zeros((3, T), bool))),
    ):
        targets = task.targets(each, WHOLE, False)
        head = task.build_head(FeatureShape(T, 6, 2, 2))
        answer = task.answer(head, torch.zeros(1, T, 6, 2, 2), batch([targets]))
        assert answer[name].shape[:3] == (1, 0, T)
        record = task.score([{key: value[0] for key, value in answer.items()}], [targets])
        assert np.isnan(list(task.summarize([record]).values())).all()
        padded = batch([task.targets(each, WHOLE, True)])
        losses = task.losses(head, torch.zeros(1, T, 6, 2, 2), padded)
        assert losses["loss"] == 0


def test_mistakes_are_sentences():
    video = ClassifiedVideo("set", "a", "v", Frames(names(T)), 0)
    for task in (points_task(), boxes_task()):
        with pytest.raises(ValueError, match="choose another task"):
            task.check(VideoDataset("set", "a", (video,)))
    for head in (PointHead, BoxHead):
        with pytest.raises(ValueError, match='which knows no other frame, got "first"'):
            head(asked="first")
        with pytest.raises(ValueError, match="num_queries of 1 or more"):
            head(num_queries=0)


# ---- heads and losses --------------------------------------------------------------------------

CASES = [
    (task, kind, steps)
    for task in (points_task, boxes_task)
    for kind in ("readout", "recurrent")
    for steps in (T, T // 2)
]


def make_clips(task, count=2):
    make = random_points if isinstance(task, Points) else random_boxes
    return batch([task.targets(make(seed), WHOLE, True) for seed in range(count)])


@pytest.mark.parametrize(("make", "kind", "steps"), CASES)
def test_shapes_and_gradients(make, kind, steps):
    torch.manual_seed(0)
    task = make(kind=kind, num_queries=7, **HEADS)
    head = task.build_head(FeatureShape(steps, 6, 2, 3))
    features = torch.randn(2, steps, 6, 2, 3, requires_grad=True)
    targets = make_clips(task)
    losses = task.losses(head, features, targets)
    losses["loss"].backward()
    assert all(value.shape == () and value.isfinite() for value in losses.values())
    assert all(each.grad is not None and each.grad.isfinite().all() for each in head.parameters())
    assert (features.grad.abs().amax((2, 3, 4)) > 0).all()  # of every step
    answer = task.answer(head, features, targets)
    name = "points" if isinstance(task, Points) else "boxes"
    assert answer[name].shape == targets[name].shape
    if name == "points":
        assert answer["visible"].shape == (2, 7, T)
        assert answer["visible"].dtype == torch.bool


@pytest.mark.parametrize("kind", ["readout", "recurrent"])
@pytest.mark.parametrize("make", [points_task, boxes_task])
def test_a_relative_head_that_says_nothing_is_chance(make, kind):
    task = make(kind=kind, is_relative=True, **HEADS)
    head = task.build_head(FeatureShape(T, 6, 2, 3))
    torch.nn.init.zeros_(head.readout.output.weight if kind == "readout" else last(head).weight)
    torch.nn.init.zeros_(head.readout.output.bias if kind == "readout" else last(head).bias)
    video = (random_points if make is points_task else random_boxes)(1)
    targets = batch([task.targets(video, WHOLE, False)])
    name = "points" if make is points_task else "boxes"
    found = task.answer(head, torch.randn(1, T, 6, 2, 3), targets)[name][0]
    still = task.blind_rule([])({key: value[0] for key, value in targets.items()})[name]
    torch.testing.assert_close(found, still, atol=2e-4, rtol=0)


def last(head):
    return (head.place if hasattr(head, "place") else head.corners)[-1]


@pytest.mark.parametrize(("make", "kind", "steps"), CASES)
def test_padding_and_what_is_unknown_teach_nothing(make, kind, steps):
    torch.manual_seed(0)
    task = make(kind=kind, num_queries=9, **HEADS)
    head = task.build_head(FeatureShape(steps, 6, 2, 3))
    features = torch.randn(2, steps, 6, 2, 3)
    targets = make_clips(task)
    name = "points" if isinstance(task, Points) else "boxes"
    targets["labelled"][:, :, 5] = False
    before = task.losses(head, features, targets)
    assert not targets["asked"].all()
    changed = {key: value.clone() for key, value in targets.items()}
    changed["queries"][~targets["asked"]] = 0.7
    changed["labelled"][~targets["asked"]] = True
    changed[name][~targets["asked"]] = 0.3
    changed[name][:, :, 5] = 0.9
    if name == "points":
        changed["visible"][~targets["asked"]] = True
        changed["visible"][:, :, 5] ^= True
    after = task.losses(head, features, changed)
    for key, value in before.items():
        torch.testing.assert_close(after[key], value)
    changed["labelled"][:, :, 3] ^= True
    assert task.losses(head, features, changed)["loss"] != before["loss"]


def test_frames_before_the_question_teach_nothing():
    torch.manual_seed(0)
    task = points_task(kind="recurrent", asked="first", num_queries=6, **HEADS)
    head = task.build_head(FeatureShape(T, 6, 2, 3))
    targets = make_clips(task)
    before = torch.arange(T) < targets["query_frames"][..., None]
    assert before.any()
    features = torch.randn(2, T, 6, 2, 3)
    changed = targets | {"visible": targets["visible"] | before}
    losses = (task.losses(head, features, each)["loss"] for each in (targets, changed))
    torch.testing.assert_close(*losses)


def test_loss_of_points_by_hand():
    task = points_task(num_queries=1, huber_px=4.0, certain_px=6.0, position_weight=0.05)
    shift = torch.tensor([[2.0, 0.0], [0.0, 10.0], [3.0, 4.0]]) / 256  # 2, 10 and 5 pixels
    points = torch.full((1, 1, 3, 2), 0.5)

    class Said:
        def __call__(self, features, queries):
            from vdit.models.probes.tracks import PointTracks

            return PointTracks(points + shift, torch.zeros(1, 1, 3), torch.full((1, 1, 3), 2.0))

    targets = {
        "queries": points[:, :, 0],
        "query_frames": torch.zeros(1, 1, dtype=torch.long),
        "points": points,
        "visible": torch.tensor([[[True, True, False]]]),
        "labelled": torch.ones(1, 1, 3, dtype=torch.bool),
        "asked": torch.ones(1, 1, dtype=torch.bool),
    }
    found = task.losses(Said(), torch.zeros(1, 3, 1, 1, 1), targets)
    position = (2**2 / 2 + 4 * (10 - 2)) / 2
    certainty = (np.log1p(np.exp(-2)) + np.log1p(np.exp(2))) / 2  # 2 px is near, 10 px is not
    assert found["position"].item() == pytest.approx(position, rel=1e-4)
    assert found["visibility"].item() == pytest.approx(np.log(2), rel=1e-5)
    assert found["certainty"].item() == pytest.approx(certainty, rel=1e-5)
    assert found["error_px"].item() == pytest.approx(6, rel=1e-4)
    expected = 0.05 * position + np.log(2) + certainty
    assert found["loss"].item() == pytest.approx(expected, rel=1e-4)


def test_loss_of_boxes_by_hand():
    truth = torch.tensor([0.2, 0.2, 0.6, 0.6]).expand(1, 1, 2, 4)
    targets = {
        "queries": truth[:, :, 0],
        "query_frames": torch.zeros(1, 1, dtype=torch.long),
        "boxes": truth,
        "labelled": torch.ones(1, 1, 2, dtype=torch.bool),
        "asked": torch.ones(1, 1, dtype=torch.bool),
    }
    said = truth + torch.tensor([[0.2, 0, 0.2, 0], [0, 0, 0, 0]])  # half of it overlaps, all of it
    said[0, 0, 1] = said[0, 0, 1].flip(0)  # inside out, so that nothing overlaps
    iou = (1 / 3 + 0) / 2  # the enclosing box of the first is its union
    corners = {"l2": 0.04 / 2 / 2 + 0.16 / 2, "smooth_l1": 0.02 / 2 / 2 + 0.08 / 2}
    for position, expected in corners.items():
        task = boxes_task(num_queries=1, position=position, giou_weight=0.5)
        found = task.losses(lambda features, queries: said, torch.zeros(1, 2, 1, 1, 1), targets)
        assert found["giou"].item() == pytest.approx(1 - iou, abs=1e-4)
        assert found["position"].item() == pytest.approx(expected, rel=1e-4)
        assert found["loss"].item() == pytest.approx(expected + 0.5 * (1 - iou), abs=1e-4)


@pytest.mark.parametrize("kind", ["readout", "recurrent"])
@pytest.mark.parametrize("make", [points_task, boxes_task])
def test_heads_learn_clips_by_heart(make, kind):
    torch.manual_seed(0)
    asked = "first" if kind == "recurrent" else "start"
    task = make(
        view=replace(VIEW, num_frames=4),
        kind=kind,
        asked=asked,
        num_queries=4,
        **({"embedding_width": 64} | HEADS),
    )
    head = task.build_head(FeatureShape(2, 8, 2, 2))
    features = torch.randn(2, 2, 8, 2, 2)
    videos = [(random_points if make is points_task else random_boxes)(k, 4, 4) for k in (0, 1)]
    view = replace(WHOLE, indices=(0, 1, 2, 3))
    targets = batch([task.targets(video, view, True) for video in videos])
    optimizer = torch.optim.AdamW(head.parameters(), 6e-3, weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=300)
    for _ in range(300):
        optimizer.zero_grad()
        task.losses(head, features, targets)["loss"].backward()
        optimizer.step()
        schedule.step()
    records = []
    for video, each in zip(videos, features, strict=True):
        asked_for = task.targets(video, view, False)
        with torch.no_grad():
            answer = task.answer(head, each[None], batch([asked_for]))
        records.append(task.score([{k: v[0] for k, v in answer.items()}], [asked_for]))
    found = task.summarize(records)
    assert min(found[name] for name in task.metrics) > 95


# ---- scores ------------------------------------------------------------------------------------


def said_points(targets, seed):
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 0.02, targets["points"].shape).astype(np.float32)
    return {
        "points": targets["points"] + torch.from_numpy(noise),
        "visible": torch.from_numpy(rng.uniform(size=targets["visible"].shape) < 0.6),
    }


@pytest.mark.parametrize("seed", range(3))
def test_points_are_scored_as_tap_vid_scores_a_video(seed):
    video = random_points(seed)
    task = points_task(kind="recurrent", asked="first")
    targets = task.targets(video, WHOLE, False)
    answer = said_points(targets, seed)
    truth = video.points()
    queries, owners = choose_queries(truth.points, ~truth.visible, "first")
    expected = score_points(
        queries,
        truth.points[owners] * 256,
        ~truth.visible[owners],
        answer["points"].numpy() * 256,
        ~answer["visible"].numpy(),
        "first",
    )
    found = task.summarize([task.score([answer], [targets])])
    assert found["AJ"] == pytest.approx(100 * expected.average_jaccard)
    assert found["delta_avg"] == pytest.approx(100 * expected.average_within)
    assert found["OA"] == pytest.approx(100 * expected.occlusion_accuracy)


def test_the_clips_of_a_video_are_one_video():
    task = points_task()
    targets = [task.targets(random_points(seed, count=4 + seed), WHOLE, False) for seed in (0, 1)]
    answers = [said_points(each, 5) for each in targets]
    together = task.score(answers, targets)
    joined = [
        {name: torch.cat([each[name] for each in pair]) for name in pair[0]}
        for pair in (answers, targets)
    ]
    assert task.score([joined[0]], [joined[1]]) == together
    assert together["num_points"] == sum(len(each["queries"]) for each in targets)


def test_videos_have_the_same_weight():
    task = points_task()
    records = [
        task.score([said_points(each, seed)], [each])
        for seed, each in enumerate(
            task.targets(random_points(seed, count=3 * seed + 2), WHOLE, False) for seed in (0, 1)
        )
    ]
    alone = [task.summarize([record]) for record in records]
    both = task.summarize(records)
    for name in task.metrics:
        assert both[name] == pytest.approx((alone[0][name] + alone[1][name]) / 2)


def test_chance_of_points_is_that_they_stay():
    task = points_task()
    targets = task.targets(random_points(3, count=40), WHOLE, False)
    answer = task.blind_rule([])(targets)
    assert answer["visible"].all()
    for t in range(T):
        torch.testing.assert_close(answer["points"][:, t], targets["points"][:, 0])
    found = task.summarize([task.score([answer], [targets])])
    visible = targets["visible"][:, 1:].float()
    assert found["OA"] == pytest.approx(100 * visible.mean().item())
    still = point_video(np.full((1, T, 2), 0.5), np.ones((1, T), bool))
    targets = task.targets(still, WHOLE, False)
    found = task.summarize([task.score([task.blind_rule([])(targets)], [targets])])
    assert found["AJ"] == found["delta_avg"] == found["OA"] == 100


@pytest.mark.parametrize("seed", range(3))
def test_boxes_are_scored_frame_by_frame(seed):
    video = random_boxes(seed)
    task = boxes_task(kind="recurrent", asked="first")
    targets = task.targets(video, WHOLE, False)
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 0.05, targets["boxes"].shape)
    answer = {"boxes": targets["boxes"] + torch.from_numpy(noise).float()}
    tracks, frames = [], []
    for q, first in enumerate(targets["query_frames"].tolist()):
        scores = [
            float(box_iou(answer["boxes"][q, t], targets["boxes"][q, t]))
            for t in range(first + 1, T)
            if targets["labelled"][q, t]
        ]
        tracks += [np.mean(scores)] if scores else []
        frames += scores
    found = task.summarize([task.score([answer], [targets])])
    assert found["mean_iou"] == pytest.approx(100 * np.mean(tracks))
    assert found["frame_iou"] == pytest.approx(100 * np.mean(frames))


def test_chance_of_boxes_is_that_they_stay():
    boxes = np.tile([0.2, 0.2, 0.6, 0.6], (1, T, 1))
    boxes[0, 1::2] += [0.2, 0, 0.2, 0]  # IoU 1/3 with where it was
    task = boxes_task()
    targets = task.targets(box_video(boxes, np.ones((1, T), bool)), WHOLE, False)
    found = task.summarize([task.score([task.blind_rule([])(targets)], [targets])])
    assert found["mean_iou"] == pytest.approx(100 * (4 / 3 + 3) / 7, rel=1e-5)
