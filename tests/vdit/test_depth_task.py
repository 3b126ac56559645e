"""Depth as a probe: geometry of truth, codes, losses by loops, learning, chance, scores."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.models.probes.learning import clips, overfit, silent_parameters
from tests.vdit.dense_task_worlds import (
    GEOMETRIES,
    LARGE_BLOCKS,
    dataset,
    depth_of,
    labelled,
    pure,
    with_depth,
)
from vdit.metrics.depth import depth_sums, mean_over_images
from vdit.probing.clip_views import ViewOptions
from vdit.probing.probe_task import FeatureShape
from vdit.probing.tasks.depth import Depth
from vdit.probing.tasks.depth_heads import DepthCode, DepthHead

VIEW = ViewOptions(num_frames=4, sampling="around", size=(12, 16), position=1)
RANGE = {"min_depth": 0.5, "max_depth": 8.0}  # the center is 2 m
HEADS = {
    "dense": DepthHead(width=24, **RANGE),
    "layer": DepthHead(width=24, norm="layer", output="disparity", **RANGE),
    "linear": DepthHead("linear", **RANGE),
    "all steps": DepthHead(width=24, steps="all", **RANGE),
    "readout": DepthHead("readout", width=32, num_heads=4, patch=(2, 4, 4), **RANGE),
    "pixels": DepthHead("pixels", width=32, num_heads=4, num_layers=2, pixel_share=0.5, **RANGE),
}
SPANS = ((0, 2), (2, 4))
SHAPE = FeatureShape(2, 16, 3, 4, SPANS)


def make(head="dense", view=VIEW, **options):
    return Depth(HEADS[head], view, **options)


@pytest.fixture(params=list(HEADS))
def task(request):
    torch.manual_seed(0)
    return make(request.param)


# ---- targets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", GEOMETRIES)
def test_depth_follows_the_pixels(options):
    """Wherever a pixel of the clip has the color of one block, it has its depth."""
    task = make(view=ViewOptions(num_frames=3, sampling="around", **options))
    video = with_depth(**LARGE_BLOCKS)
    for view in task.views(video, is_training=False):
        frame = view.frames(video)[1]
        (depth,) = task.targets(video, view, False)["depth"].numpy()
        assert (depth.dtype, depth.shape) == (np.float32, frame.shape[:2])
        is_pure = pure(frame)
        assert is_pure.mean() > 0.2
        np.testing.assert_array_equal(depth[is_pure], depth_of(frame[is_pure][:, 0]))


def test_frames_of_a_clip_and_whole_frames():
    video = with_depth(labelled=(1, 2))
    every = make(view=ViewOptions(num_frames=3, sampling="strided"))
    (view,) = every.views(video, True)
    assert view.indices[0] == 1
    depth = every.targets(video, view, True)["depth"].numpy()
    np.testing.assert_array_equal(depth[0], video.depth(1))
    assert (depth[2] == 0).all()
    whole = make(scored="frame")
    (view, _) = whole.views(video, False)
    np.testing.assert_array_equal(whole.targets(video, view, False)["depth"][0], video.depth(1))
    assert whole.targets(video, view, True)["depth"].shape == (1, 12, 16)


# ---- codes and losses --------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["log", "disparity"])
def test_codes_are_inverse_and_monotonic(output):
    code = DepthCode(output, 0.5, 8.0)
    numbers = torch.linspace(-6, 6, 101, dtype=torch.float64)
    metres = code.metres(numbers)
    assert code.metres(torch.zeros(())) == 2
    assert (metres.min(), metres.max()) == (0.5, 8.0)
    steps = metres.diff() * (1 if output == "log" else -1)
    assert (steps >= 0).all()
    inside = (metres > 0.5) & (metres < 8)
    torch.testing.assert_close(code.compared(numbers)[inside], code.compared_truth(metres[inside]))
    torch.testing.assert_close(code.log_depth(numbers)[inside], (metres[inside] / 2).log())


@pytest.mark.parametrize("output", ["log", "disparity"])
def test_losses_are_those_of_a_loop(output):
    rng = np.random.default_rng(0)
    head = replace(HEADS["dense"], output=output, scale_share=0.7, l1_weight=2.0, scale_weight=3.0)
    task = Depth(head, VIEW)
    numbers = torch.from_numpy(rng.normal(0, 0.5, (3, 1, 1, 2, 3)).astype(np.float32))
    depth = torch.tensor([[1, 2, 0, 9, 8, 0.4], [0] * 6, [4] * 6]).view(3, 1, 2, 3)
    l1, scale = [], []
    for code, truth in zip(numbers.flatten(1).tolist(), depth.flatten(1).tolist(), strict=True):
        known = [(x, d) for x, d in zip(code, truth, strict=True) if 0 < d <= 8]
        if not known:
            continue
        if output == "log":
            errors = [x - math.log(d / 2) for x, d in known]
            ratios = errors
        else:
            found = [x + 1 if x > 0 else math.exp(x) for x, _ in known]
            errors = [x - 2 / d for x, (_, d) in zip(found, known, strict=True)]
            ratios = [math.log(2 / x) - math.log(d) for x, (_, d) in zip(found, known, strict=True)]
        l1.append(np.mean(np.abs(errors)))
        scale.append(np.mean(np.square(ratios)) - 0.7 * np.mean(ratios) ** 2)
    losses = task.losses(lambda features, size: numbers, torch.zeros(()), {"depth": depth})
    assert losses["l1"].item() == pytest.approx(np.mean(l1), rel=1e-5)
    assert losses["scale_invariant"].item() == pytest.approx(np.mean(scale), rel=1e-5)
    expected = 2 * np.mean(l1) + 3 * np.mean(scale)
    assert losses["loss"].item() == pytest.approx(expected, rel=1e-5)


def test_nothing_known_is_no_loss(task):
    head = task.build_head(SHAPE)
    losses = task.losses(head, clips(2), {"depth": torch.zeros(2, 1, 12, 16)})
    assert losses["loss"].item() == 0
    losses["loss"].backward()
    assert all(each.grad is None or each.grad.isfinite().all() for each in head.parameters())


def test_a_share_of_the_pixels_is_trained_on():
    torch.manual_seed(0)
    task = Depth(replace(HEADS["pixels"], pixel_share=0.125), VIEW)
    asked = []

    def head(features, size, chosen):
        asked.append(chosen)
        return torch.zeros(2, 1, len(chosen))

    depth = torch.arange(1.0, 193).view(1, 1, 12, 16).expand(2, 1, 12, 16) / 24
    losses = [task.losses(head, clips(2), {"depth": depth})["l1"].item() for _ in range(2)]
    assert [len(set(each.tolist())) for each in asked] == [24, 24]  # an eighth
    assert set(asked[0].tolist()) != set(asked[1].tolist())
    for chosen, loss in zip(asked, losses, strict=True):
        expected = (depth[0].flatten()[chosen] / 2).log().abs().mean().item()
        assert loss == pytest.approx(expected, rel=1e-5)


# ---- learning ----------------------------------------------------------------------------------


def test_shapes_and_gradients(task):
    head = task.build_head(SHAPE)
    numbers = head(clips(3), (12, 16))
    assert numbers.shape == (3, 1, 1, 12, 16)
    assert silent_parameters(head, numbers) == []
    depth = task.answer(head, clips(3), {"depth": torch.zeros(3, 1, 24, 31)})["depth"]
    assert depth.shape == (3, 1, 24, 31)
    assert 0.5 <= depth.min() <= depth.max() <= 8


def cells_that_show_depth(batch=2):
    """Features whose first step holds the log-depth of a smooth map, and the map."""
    features = clips(batch, steps=2)
    smooth = torch.nn.functional.interpolate(
        features[:, 0, :1], (12, 16), mode="bilinear", align_corners=False
    )
    return features, {"depth": 2 * torch.exp(0.5 * smooth).clamp(0.25, 4)}


def test_a_tiny_set_is_learned_by_heart(task):
    features, targets = cells_that_show_depth()
    head = task.build_head(SHAPE)
    overfit(head, lambda: task.losses(head, features, targets)["loss"], steps=200, rate=1e-2)
    depth = task.answer(head, features, targets)["depth"]
    relative = ((depth - targets["depth"]).abs() / targets["depth"]).mean()
    constant = targets["depth"].log().mean().exp()
    chance = ((constant - targets["depth"]).abs() / targets["depth"]).mean()
    assert chance > 0.3
    assert relative < 0.04


def test_the_labelled_frame_is_the_one_that_is_answered_for():
    torch.manual_seed(0)
    for name in ("dense", "pixels"):  # see one step, of frames 0 and 1
        task = make(name)
        head = task.build_head(SHAPE).eval()
        changed = clips(1)
        changed[:, 1] += 1
        torch.testing.assert_close(head(changed, (12, 16)), head(clips(1), (12, 16)))
    readout = make("readout").build_head(SHAPE)
    whole = readout.readout(clips(1))
    torch.testing.assert_close(readout(clips(1), (12, 16))[:, 0, 0], whole[:, 1])


def test_readout_needs_a_size():
    task = make("readout", view=ViewOptions(num_frames=4, sampling="around", short_side=12))
    with pytest.raises(ValueError, match=r"view\.size or view\.crop with head\.kind=readout"):
        task.build_head(SHAPE)


# ---- chance and scores -------------------------------------------------------------------------


def test_chance_is_the_mean_log_depth_of_each_pixel():
    training = [
        {"depth": torch.tensor([[[1.0, 4.0], [0.0, 80.0]]])},
        {"depth": torch.tensor([[[4.0, 0.0], [0.0, 0.0]]])},
    ]
    rule = make().blind_rule(iter(training))
    everywhere = 16 ** (1 / 3)  # 80 m are beyond the range
    expected = torch.tensor([[[2.0, 4.0], [everywhere, everywhere]]])
    torch.testing.assert_close(rule({"depth": torch.zeros(1, 2, 2)})["depth"], expected)
    larger = rule({"depth": torch.zeros(3, 4, 4)})["depth"]
    torch.testing.assert_close(larger[2, ::2, ::2], expected[0])
    with pytest.raises(ValueError, match="a clip with known depth to train on"):
        make().blind_rule([{"depth": torch.zeros(1, 2, 2)}])


def test_scores_are_those_of_whole_maps():
    """At full size: errors of each frame, then the mean over frames of all videos."""
    rng = np.random.default_rng(0)
    task, sums, records = make(), [], []
    for size in ((2, 48, 64), (1, 30, 50), (1, 8, 8)):
        true = np.where(rng.random(size) < 0.2, 0, rng.uniform(0.2, 10, size)).astype(np.float32)
        if size[1] == 8:
            true[:] = 0  # a video without any known pixel
        found = (true * rng.uniform(0.5, 1.5, size) + 0.1).astype(np.float32)
        answer = {"depth": torch.from_numpy(found)}
        records.append(task.score([answer], [{"depth": torch.from_numpy(true)}]))
        sums += [
            depth_sums(t, f, max_depth=8.0, prediction_range=(0.5, 8.0))
            for t, f in zip(true, found, strict=True)
        ]
    scores = task.summarize(json.loads(json.dumps(records)))
    expected = mean_over_images(sums)
    assert scores.pop("mErr") == pytest.approx(expected.pop("MeanError"))
    assert scores == pytest.approx(expected)
    assert records[2] == {"frames": []}
    assert set(task.metrics) <= {"mErr", *scores}


# ---- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"min_depth": 0.0}, r"0 < head\.min_depth < head\.max_depth, got 0\.0 and 8\.0 m"),
        ({"pixel_share": 0.0}, r"head\.pixel_share in 0\.\.1"),
        ({"scale_share": 2.0}, r"head\.scale_share in 0\.\.1"),
        ({"l1_weight": 0.0, "scale_weight": 0.0}, r"one above, got 0\.0 and 0\.0"),
    ],
)
def test_options_outside_of_their_range(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(HEADS["dense"], **change)


def test_other_data_is_refused():
    make().check(dataset([with_depth()]))
    with pytest.raises(ValueError, match="expected a data set with depth, got blocks"):
        make().check(dataset([labelled()]))
