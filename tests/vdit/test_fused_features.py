"""Features of several backbones as one: weights, grids, clips, what is stored, what is loaded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from vdit.feature_options import FeatureOptions
from vdit.features import collect_features, extract_features
from vdit.models.backbones.base import Backbone, BlockInfo, Encoded
from vdit.probing.feature_sources import Backbones, FeatureSource
from vdit.probing.fused_features import SharedFeatures, fused_features
from vdit.propagation.fusion import fuse_features

T, H, W = 7, 16, 24


class Frames:
    """A video that counts the frames it has handed out."""

    height, width = H, W

    def __init__(self):
        generator = np.random.default_rng(0)
        self.frames = generator.integers(0, 256, (T, H, W, 3), dtype=np.uint8)
        self.num_read = 0

    def __iter__(self):
        for frame in self.frames:
            self.num_read += 1
            yield frame


class Mixing(Backbone):
    """Cells are pixels at a stride plus noise; a video network adds the mean over its clip."""

    size_multiple = 8

    def __init__(self, temporal, stride):
        super().__init__()
        self.temporal = temporal
        self.clip_length = 4 if temporal else None
        self.blocks = {"fine": BlockInfo(3, stride), "coarse": BlockInfo(3, 2 * stride)}
        self.num_passes = 0

    def encode(self, video):
        self.check_video(video)
        return Encoded((video.shape[-2], video.shape[-1]), video)

    def extract(self, video, *, blocks, timestep=None, noise=None, **_):
        self.num_passes += 1
        frames = video.latent_mean
        if timestep is not None:
            frames = frames + timestep * noise(frames)
        if self.temporal:
            frames = frames + frames.mean(dim=1, keepdim=True)
        strides = {name: self.blocks[name].stride for name in blocks}
        return {name: frames[..., ::stride, ::stride] for name, stride in strides.items()}


@pytest.fixture
def frames():
    return Frames()


@pytest.fixture
def built():
    return {}


@pytest.fixture
def backbones(built):
    def build(name, *, path, dtype, **options):
        assert name not in built
        built[name] = Mixing(**{"video": dict(temporal=True, stride=8),
                                "image": dict(temporal=False, stride=4)}[name])  # fmt: skip
        return built[name]

    return Backbones(build=build)


VIDEO = FeatureSource("video", "fine", timestep=0.5, weight=0.4)
IMAGE = FeatureSource("image", "fine", timestep=0.1, weight=0.6)


def stacked(frames, sources, backbones, **options):
    return torch.stack(list(fused_features(frames, sources, backbones, video_id="v", **options)))


def plain(backbones, frames, source):
    options = FeatureOptions((source.block,), source.timestep, fit="resize")
    chunks = extract_features(backbones.get(source), frames, options, video_id="v")
    return collect_features(chunks)[source.block]


def test_a_single_source_gives_the_plain_features(frames, backbones):
    for source in (VIDEO, IMAGE):
        found = stacked(frames, [source], backbones)
        assert len(found) == T  # the tail behind the last whole clip, too
        assert torch.equal(found, plain(backbones, frames, source))


def test_fusion_is_that_of_the_whole_videos(frames, backbones):
    found = stacked(frames, [VIDEO, IMAGE], backbones)
    maps = [plain(backbones, frames, source) for source in (VIDEO, IMAGE)]
    assert found.shape == (T, 6, H // 4, W // 4)
    assert torch.equal(found, fuse_features(maps, (0.4, 0.6)))
    np.testing.assert_allclose(found[:, :3].norm(dim=1), 0.4, rtol=1e-5)
    np.testing.assert_allclose(found[:, 3:].norm(dim=1), 0.6, rtol=1e-5)


def test_a_source_of_weight_0_is_neither_used_nor_loaded(frames, backbones, built):
    found = stacked(frames, [replace(VIDEO, weight=0.0), IMAGE], backbones)
    assert torch.equal(found, stacked(frames, [IMAGE], backbones))
    assert list(built) == ["image"]
    with pytest.raises(ValueError, match="expected a source of a weight > 0"):
        stacked(frames, [replace(VIDEO, weight=0.0)], backbones)


def test_any_number_of_sources(frames, backbones):
    third = replace(IMAGE, block="coarse", weight=0.5)
    found = stacked(frames, [VIDEO, IMAGE, third], backbones)
    assert found.shape == (T, 9, H // 4, W // 4)
    without = stacked(frames, [VIDEO, IMAGE, replace(third, weight=0.0)], backbones)
    assert torch.equal(found[:, :6], without)


def test_one_clip_is_read_before_the_first_map(frames, backbones):
    stream = fused_features(frames, [VIDEO, IMAGE], backbones)
    next(stream)
    # the video source: a clip of 4 and what tells whether it is the last; the image source: 7 of 8
    assert frames.num_read <= 2 * 4 + T
    assert backbones.get(VIDEO).num_passes == 1


def test_noise_differs_between_videos_but_not_between_runs(frames, backbones):
    one, again = (stacked(frames, [VIDEO, IMAGE], backbones) for _ in range(2))
    other = torch.stack(list(fused_features(frames, [VIDEO, IMAGE], backbones, video_id="w")))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


# ---- sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "frame", "expected"),
    [
        (dict(long_multiple=32, fit="below"), (480, 854), (480, 832)),  # DIFT
        (dict(long_multiple=64, fit="below", short_side=480), (1080, 1920), (480, 832)),  # DINO
        (dict(), (480, 854), (480, 856)),
        (dict(size=(320, 320)), (240, 320), (320, 320)),
        (dict(long_multiple=14), (480, 854), (480, 840)),  # of 56
        (dict(long_multiple=64), (854, 480), (832, 480)),
        (dict(size=(5, 100)), (480, 854), (8, 104)),
    ],
)
def test_input_size(options, frame, expected):
    assert FeatureSource("image", "fine", **options).input_size(*frame, multiple=8) == expected


def test_frames_are_resized_by_each_source_on_its_own(frames, backbones):
    small = replace(IMAGE, size=(8, 16))
    assert stacked(frames, [small], backbones).shape[-2:] == (2, 4)
    assert stacked(frames, [VIDEO, small], backbones).shape[-2:] == (2, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(weight=-1.0), "expected a weight >= 0"),
        (dict(weight=float("nan")), "expected a weight >= 0"),
        (dict(long_multiple=0), "expected long_multiple >= 1"),
        (dict(size=(8, 8), short_side=8), "expected size or short_side"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FeatureSource("image", "fine", **options)


def test_unknown_blocks_and_feature_frames_of_several_frames_are_refused(frames, backbones):
    with pytest.raises(ValueError, match="expected blocks among fine, coarse"):
        stacked(frames, [replace(IMAGE, block="nowhere")], backbones)
    backbones.get(IMAGE).frame_multiple = 2
    with pytest.raises(ValueError, match="expected a backbone with a feature map for every frame"):
        stacked(frames, [IMAGE], backbones)


class Pairs(Mixing):
    """One feature frame for two frames: the mean of both."""

    frame_multiple = 2

    def __init__(self):
        super().__init__(temporal=True, stride=8)

    def extract(self, video, **options):
        found = super().extract(video, **options)
        return {name: each.unflatten(1, (-1, 2)).mean(dim=2) for name, each in found.items()}


def test_features_of_several_frames_are_repeated_where_that_is_asked_for(frames, tmp_path):
    source = FeatureSource("pairs", "fine", repeat_features=True)
    backbones = Backbones(build=lambda *_, **__: Pairs())
    found = stacked(frames, [source], backbones)
    options = FeatureOptions(("fine",), fit="resize")
    chunks = extract_features(backbones.get(source), frames, options, video_id="v")
    pairs = collect_features(chunks)["fine"]
    assert len(pairs) == 4  # of 7 frames
    assert torch.equal(found, pairs.repeat_interleave(2, dim=0)[:T])
    shared = SharedFeatures(tmp_path, {source.pass_key: ["fine"]})
    assert torch.equal(stacked(frames, [source], backbones, shared=shared), found)


# ---- features that several probes need ---------------------------------------------------------


def test_stored_features_are_the_same_and_computed_once(frames, backbones, tmp_path):
    shared = SharedFeatures(tmp_path, {IMAGE.pass_key: ["fine", "coarse"]})
    truth = [
        stacked(frames, [VIDEO, replace(IMAGE, block=block, weight=weight)], backbones)
        for block, weight in (("fine", 0.6), ("fine", 0.2), ("coarse", 0.6))
    ]
    image = backbones.get(IMAGE)
    before = image.num_passes
    found = [
        stacked(frames, [VIDEO, replace(IMAGE, block=b, weight=w)], backbones, shared=shared)
        for b, w in (("fine", 0.6), ("fine", 0.2), ("coarse", 0.6))
    ]
    assert image.num_passes - before == 1  # all frames in one batch
    for one, other in zip(found, truth, strict=True):
        assert torch.equal(one, other)
    shared.remove("v")
    assert not any(tmp_path.iterdir())


def test_stored_features_need_no_network(frames, backbones, built, tmp_path):
    shared = SharedFeatures(tmp_path, {IMAGE.pass_key: ["fine"]})
    truth = stacked(frames, [IMAGE], backbones, shared=shared)
    built.clear()
    assert torch.equal(stacked(frames, [IMAGE], Backbones(build=None), shared=shared), truth)


def test_pass_key_depends_on_what_the_pass_depends_on():
    assert replace(VIDEO, weight=1.0, block="coarse", batch_size=2).pass_key == VIDEO.pass_key
    for change in (dict(timestep=1.0), dict(seed=1), dict(ensemble=2), dict(path="x"),
                   dict(options={"a": 1}), dict(size=(8, 8)), dict(overlap=1)):  # fmt: skip
        assert replace(VIDEO, **change).pass_key != VIDEO.pass_key, change
