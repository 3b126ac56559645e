"""Features of whole videos: the frames of a clip, how clips are merged, what noise they get."""

import itertools
import weakref

import numpy as np
import pytest
import torch

from vdit.build import build_backbone
from vdit.feature_options import ClipRule, FeatureOptions
from vdit.features import chunk_seed, clip_rule, collect_features, extract_features
from vdit.frame_fit import plan_fit
from vdit.models.backbones.base import Backbone, BlockInfo, Encoded


class Counting(Backbone):
    """A backbone without weights whose features say which frames it saw, and together with which.

    Frame i of a test video has the value i / 255 everywhere. "frame" gives i, the mean over the
    frames that one feature frame spans; "first" gives the first frame of the clip; "noise" the
    noise that it was given.
    """

    size_multiple = 4

    def __init__(self, temporal=True, offset=0, multiple=1, clip_length=None):
        super().__init__()
        self.temporal, self.clip_length = temporal, clip_length
        self.frame_offset, self.frame_multiple = offset, multiple
        names = ("frame", "first", "noise")
        self.blocks = {name: BlockInfo(1, 4, multiple) for name in names}
        self.clips = []

    def encode(self, video):
        self.check_video(video)
        self.clips += [[round(255 * frame.mean().item()) for frame in clip] for clip in video]
        return Encoded((video.shape[-2], video.shape[-1]), video)

    def extract(self, video, *, blocks, timestep=None, text=None, image=None, noise=None, **_):
        frames = 255 * video.latent_mean[:, :, :1, ::4, ::4]
        f, m = self.frame_offset, self.frame_multiple
        late = frames[:, f:].unflatten(1, (-1, m)).mean(2)
        found = {"frame": torch.cat([frames[:, :f], late], dim=1)}
        found["first"] = frames[:, :1].expand_as(found["frame"])
        found["noise"] = torch.zeros_like(found["frame"])
        if timestep is not None:
            found["noise"] = noise(found["frame"])
        return {block: found[block] for block in blocks}


def video(num_frames, height=8, width=12):
    values = np.arange(num_frames, dtype=np.uint8)
    return np.broadcast_to(values[:, None, None, None], (num_frames, height, width, 3)).copy()


def values(features, block="frame"):
    return features[block][:, 0, 0, 0].tolist()


def run(backbone, frames, start=0, **options):
    return list(
        extract_features(backbone, frames, FeatureOptions(**options), video_id="v", start=start)
    )


SIZES = [
    (T, d, o) for T, d in itertools.product((1, 2, 3, 5, 7, 8, 9, 16), (1, 3, 4)) for o in range(d)
]


@pytest.mark.parametrize(("T", "d", "o"), SIZES)
def test_every_frame_is_covered_by_full_clips(T, d, o):
    backbone = Counting()
    features = collect_features(run(backbone, video(T), clip_length=d, overlap=o))
    assert values(features) == pytest.approx(range(T), abs=1e-4)
    assert all(len(clip) == d for clip in backbone.clips)
    assert {i for clip in backbone.clips for i in clip} == set(range(T))
    starts = [clip[0] for clip in backbone.clips]
    assert all(b - a == d - o for a, b in itertools.pairwise(starts[:-1]))
    assert len(starts) == len(set(starts))
    if T >= d:
        assert all(clip == list(range(clip[0], clip[0] + d)) for clip in backbone.clips)
    else:
        assert backbone.clips == [[*range(T), *[T - 1] * (d - T)]]


@pytest.mark.parametrize(("T", "d", "o"), SIZES)
@pytest.mark.parametrize("merge", ["average", "later"])
def test_merging_against_the_plain_rule(T, d, o, merge):
    backbone = Counting()
    options = {"clip_length": d, "overlap": o, "merge": merge, "timestep": 1.0}
    pieces = run(backbone, video(T), **options)
    assert [p.start for p in pieces] == [0, *[p.stop for p in pieces][:-1]]
    assert [span for p in pieces for span in p.spans] == [(i, i + 1) for i in range(T)]
    starts = [clip[0] for clip in backbone.clips]
    for i, first in enumerate(values(collect_features(pieces), "first")):
        cover = [s for s in starts if s <= i < s + d]
        expected = np.mean(cover) if merge == "average" else cover[-1]
        assert first == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("T", [1, 2, 5, 8, 9, 10, 17, 18, 23])
@pytest.mark.parametrize(
    ("offset", "multiple", "d"), [(0, 2, 4), (0, 2, 8), (1, 4, 9), (1, 4, 5), (2, 2, 6)]
)
@pytest.mark.parametrize("overlap", [0, 1, 3])
def test_feature_frames_that_span_several_frames(T, offset, multiple, d, overlap):
    if overlap > d - multiple:
        pytest.skip("no step is left")
    backbone = Counting(offset=offset, multiple=multiple)
    pieces = run(backbone, video(T), clip_length=d, overlap=overlap)
    spans = [span for piece in pieces for span in piece.spans]
    assert [i for span in spans for i in range(*span)] == list(range(T)), "each frame once"
    padded = [*range(T), *[T - 1] * 99]
    groups = [
        range(i, i + 1) if g < offset else range(i, i + multiple) for g, (i, _) in enumerate(spans)
    ]
    expected = [np.mean([padded[i] for i in group]) for group in groups]
    assert values(collect_features(pieces)) == pytest.approx(expected, abs=1e-4)
    assert all(len(clip) == d for clip in backbone.clips)


def test_a_rule_counts_as_the_backbone_does():
    rule = ClipRule(17, 1, 1, 4)
    assert rule.num_features == Counting(offset=1, multiple=4).num_feature_frames(17) == 5
    assert [rule.count_features(T) for T in (1, 2, 5, 6)] == [1, 2, 2, 3]


def test_clip_lengths():
    default = FeatureOptions()
    assert clip_rule(Counting(), default).length == 16
    assert clip_rule(Counting(offset=1, multiple=4), default).length == 13
    assert clip_rule(Counting(clip_length=6), default).length == 6
    assert clip_rule(Counting(clip_length=6), FeatureOptions(clip_length=8)).length == 8
    assert clip_rule(Counting(temporal=False), FeatureOptions(clip_length=8)).length == 1


def test_image_backbones_see_single_frames_in_batches():
    backbone = Counting(temporal=False)
    calls = []
    encode = backbone.encode
    backbone.encode = lambda video: calls.append(video.shape[:2]) or encode(video)
    features = collect_features(run(backbone, video(7), batch_size=3))
    assert values(features) == pytest.approx(range(7), abs=1e-4)
    assert values(features, "first") == pytest.approx(range(7), abs=1e-4)
    assert calls == [(3, 1), (3, 1), (1, 1)]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_batches_change_no_bit(batch_size):
    options = {"timestep": 1.0, "ensemble": 2}
    one = collect_features(run(Counting(temporal=False), video(7), batch_size=1, **options))
    many = collect_features(
        run(Counting(temporal=False), video(7), batch_size=batch_size, **options)
    )
    assert all(torch.equal(one[name], many[name]) for name in one)


@pytest.mark.parametrize("start", range(12))
@pytest.mark.parametrize(
    ("backbone", "options"),
    [
        (Counting(), {"clip_length": 4, "overlap": 2}),
        (Counting(), {"clip_length": 4, "overlap": 3, "merge": "later"}),
        (Counting(temporal=False), {"batch_size": 3}),
        (Counting(offset=1, multiple=4), {"clip_length": 9}),
    ],
)
def test_work_that_is_taken_up_changes_no_bit(start, backbone, options):
    options = options | {"timestep": 1.0, "ensemble": 2}
    whole = collect_features(run(backbone, video(11), **options))
    num_features = len(whole["frame"])
    pieces = run(backbone, video(11), start=start, **options)
    if start >= num_features:
        assert not pieces
        return
    assert pieces[0].start == start
    rest = collect_features(pieces)
    assert all(torch.equal(rest[name], whole[name][start:]) for name in whole)


def test_finished_clips_are_not_computed_again():
    backbone = Counting()
    run(backbone, video(12), start=8, clip_length=4)
    assert backbone.clips == [[8, 9, 10, 11]]


def test_ensemble_is_the_mean_of_its_members():
    options = {"timestep": 1.0, "clip_length": 4, "blocks": ("noise",)}
    together = collect_features(run(Counting(), video(4), ensemble=3, **options))["noise"]
    members = [
        torch.randn(
            4, 1, 2, 3, generator=torch.Generator().manual_seed(chunk_seed(0, "v", 0, member))
        )
        for member in range(3)
    ]
    torch.testing.assert_close(together, torch.stack(members).mean(0))


def test_noise_differs_by_seed_video_clip_and_member():
    keys = [(0, "v", 0, 0), (1, "v", 0, 0), (0, "w", 0, 0), (0, "v", 4, 0), (0, "v", 0, 1)]
    assert len({chunk_seed(*key) for key in keys}) == len(keys)
    noise = collect_features(run(Counting(), video(8), timestep=1.0, clip_length=4))["noise"]
    assert not torch.equal(noise[:4], noise[4:])


def test_one_clip_is_in_memory():
    """Frames are read as clips need them, and pieces come while later frames are unread."""
    read = []

    def frames():
        for frame in video(40):
            read.append(len(read))
            yield frame

    pieces = extract_features(Counting(), frames(), FeatureOptions(clip_length=4, overlap=2))
    for piece in pieces:
        assert len(read) <= piece.stop + 2 * 4
        assert len(piece.spans) <= 4
    assert len(read) == 40


@pytest.mark.parametrize("temporal", [True, False])
def test_frames_are_let_go(temporal):
    alive = []

    def frames():
        for frame in video(60):
            frame = frame.copy()
            alive.append(weakref.ref(frame))
            yield frame

    backbone, most = Counting(temporal), 0
    options = FeatureOptions(clip_length=4, overlap=3 if temporal else 0, batch_size=4)
    for _ in extract_features(backbone, frames(), options):
        most = max(most, sum(frame() is not None for frame in alive))
    assert most <= 2 * 4 + 2, "two clips and the first frame"


# ---- sizes -------------------------------------------------------------------------------------


def test_fits_of_odd_sizes():
    pad = plan_fit(480, 854, 8)
    assert (pad.shown, pad.padded) == ((480, 854), (480, 856))
    crop = plan_fit(480, 854, 32, fit="crop")
    assert (crop.shown, crop.padded) == ((480, 832), (480, 832))
    near = plan_fit(480, 854, 14, fit="resize")
    assert near.resized == near.padded == (476, 854)
    assert plan_fit(480, 854, 8, short_side=240).resized == (240, 427)
    assert plan_fit(854, 480, 8, short_side=240).resized == (427, 240)
    assert plan_fit(480, 854, 8, size=(64, 96)).padded == (64, 96)


def test_padding_repeats_the_border_and_its_cells_are_dropped():
    fit = plan_fit(6, 9, 16)
    frame = np.arange(6 * 9 * 3, dtype=np.uint8).reshape(6, 9, 3)
    padded = fit.apply([frame])[0]
    assert padded.shape == (3, 16, 16)
    truth = torch.from_numpy(frame).permute(2, 0, 1) / 255
    assert torch.equal(padded[:, :6, :9], truth)
    assert torch.equal(padded[:, 15, 15], truth[:, 5, 8])
    assert fit.crop(torch.zeros(1, 4, 4), 4).shape == (1, 2, 3)
    assert np.array_equal(fit.frame(frame), frame)


def test_crop_keeps_the_center():
    frame = np.zeros((10, 12, 3), dtype=np.uint8)
    frame[1:9, 2:10] = 255
    fit = plan_fit(10, 12, 8, fit="crop")
    assert fit.apply([frame]).min() == 1
    assert fit.frame(frame).shape == (8, 8, 3)


def test_odd_sizes_through_a_backbone():
    (piece,) = run(Counting(), video(2, 10, 13), clip_length=2)
    assert piece.features["frame"].shape == (2, 1, 3, 4)
    (piece,) = run(Counting(), video(2, 10, 13), clip_length=2, fit="crop")
    assert piece.features["frame"].shape == (2, 1, 2, 3)


# ---- a real network ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mini():
    return build_backbone("mini")


def test_a_clip_equals_calls_of_the_backbone(mini):
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 64, 3), dtype=np.uint8)
    clip = torch.from_numpy(frames).permute(0, 3, 1, 2)[None].contiguous() / 255
    blocks = ("vae4", "up1")
    options = FeatureOptions(blocks, 9, "the red ball", clip_length=3, ensemble=2)
    found = collect_features(extract_features(mini, frames, options, video_id="v"))
    members = []
    for member in range(2):
        generator = torch.Generator().manual_seed(chunk_seed(0, "v", 0, member))
        with torch.no_grad():
            text = mini.encode_text(["the red ball"])
            encoded = mini.encode(clip)
            encoded.posterior_noise = torch.randn(encoded.latent_mean.shape, generator=generator)
            noise = torch.randn(encoded.latent_mean.shape, generator=generator)
            members.append(mini.extract(encoded, blocks=blocks, timestep=9, text=text, noise=noise))
    for name, feature in found.items():
        assert torch.equal(feature, (members[0][name] + members[1][name])[0] / 2)


def test_two_clips_of_a_real_network(mini):
    frames = np.random.default_rng(0).integers(0, 256, (5, 33, 50, 3), dtype=np.uint8)
    options = FeatureOptions(blocks=("up2",), timestep=9, clip_length=3, overlap=1)
    found = collect_features(extract_features(mini, frames, options))["up2"]
    assert found.shape == (5, mini.blocks["up2"].channels, 5, 7)
    assert found.isfinite().all()


# ---- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": ("up9",)}, "expected blocks among frame, first, noise; got 'up9'"),
        ({"clip_length": 5}, r"clips of 0 \+ 2 n frames, n >= 1, .* got clip_length=5"),
        ({"clip_length": 4, "overlap": 3}, "an overlap of at most 2 frames for clips of 4, got 3"),
        ({"text": "a dog"}, "expected no text, got 'a dog'"),
        ({"size": (8, 8), "short_side": 4}, "expected size or short_side"),
        ({"size": (0, 8)}, "at least one pixel"),
        ({"size": (2, 8), "fit": "crop"}, "at least 4x4 pixels to cut .* got 2x8"),
        ({"ensemble": 0}, "expected ensemble >= 1, got 0"),
        ({"overlap": -1}, "expected overlap >= 0, got -1"),
        ({"merge": "max"}, "expected merge among average, later; got 'max'"),
        ({"fit": "stretch"}, "expected fit among pad, resize, crop; got 'stretch'"),
        ({"image": "last"}, "expected image among none, first; got 'last'"),
        ({"clip_length": 0}, "expected clip_length >= 1, got 0"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        run(Counting(multiple=2), video(3), **options)


def test_videos_that_do_not_fit():
    with pytest.raises(ValueError, match="at least one frame, got none"):
        extract_features(Counting(), np.zeros((0, 8, 8, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"expected frames \[H, W, 3\] uint8, got .* float64"):
        extract_features(Counting(), np.zeros((1, 8, 8, 3)))
    with pytest.raises(ValueError, match="does not exist"):
        extract_features(Counting(), "nowhere.mp4")
    with pytest.raises(ValueError, match=r"expected overlap=0, got 1: .* single frames"):
        run(Counting(temporal=False), video(3), overlap=1)
    with pytest.raises(ValueError, match="at least one piece"):
        collect_features([])
