"""The segmenter: windows, shared work, seeds, errors, memory."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from vdit import Prediction, ReferringSegmenter, SegmentOptions
from vdit.architectures import MINI
from vdit.build import assemble
from vdit.clip_encoding import ClipEncoder
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render_frames
from vdit.measure import Stopwatch

SMALL = {"short_side": 48}


@pytest.fixture(scope="module")
def segmenter():
    return ReferringSegmenter.from_pretrained("vdit-mini-random")


@pytest.fixture(scope="module")
def clip():
    return render_frames(make_scene("referring", 3, 7, 60, 81))


def masks_of(predictions):
    return [prediction.masks[:] for prediction in predictions]


def test_one_prediction_a_prompt(segmenter, clip):
    predictions = segmenter.segment(clip, ["a dog", "the red ball"], **SMALL)
    assert [prediction.prompt for prediction in predictions] == ["a dog", "the red ball"]
    for prediction in predictions:
        assert isinstance(prediction, Prediction)
        assert prediction.masks.shape == (7, 60, 81)
        assert prediction.scores.shape == (7,)
        assert prediction.boxes_xyxy.shape == (7, 4)
        assert not prediction.trained
    assert not np.array_equal(*masks_of(predictions))


def test_a_window_that_holds_the_clip_changes_nothing(segmenter, clip):
    whole = segmenter.segment(clip, ["a dog"], window=7, overlap=0, **SMALL)[0]
    for window, overlap in ((7, 3), (36, 8), (1000, 999)):
        again = segmenter.segment(clip, ["a dog"], window=window, overlap=overlap, **SMALL)[0]
        assert np.array_equal(whole.masks[:], again.masks[:])
        assert np.array_equal(whole.scores, again.scores)


@pytest.mark.parametrize(("window", "overlap"), [(4, 2), (3, 0), (5, 4), (1, 0)])
def test_every_frame_comes_once_and_in_order(segmenter, clip, window, overlap):
    frames = list(segmenter.stream(clip, ["a dog"], window=window, overlap=overlap, **SMALL))
    assert [frame.index for frame in frames] == list(range(7))
    assert all(np.array_equal(frame.frame, clip[frame.index]) for frame in frames)


def test_prompts_share_the_encoding(segmenter, clip, monkeypatch):
    counts = {"videos": 0, "frames": 0, "texts": 0, "stems": 0}
    encode, encode_captions = segmenter.model.encode, segmenter.model.encode_captions
    start = segmenter.model.start

    def counting_encode(video):
        counts["videos"] += 1
        counts["frames"] += video.shape[1]
        return encode(video)

    def counting_captions(captions):
        counts["texts"] += len(captions)
        return encode_captions(captions)

    def counting_start(encoded, generator):
        counts["stems"] += 1
        return start(encoded, generator)

    monkeypatch.setattr(segmenter.model, "start", counting_start)
    monkeypatch.setattr(segmenter.model, "encode", counting_encode)
    monkeypatch.setattr(segmenter.model, "encode_captions", counting_captions)
    prompts = ["a", "b", "c", "d"]
    together = segmenter.segment(clip, prompts, **SMALL)
    assert counts == {"videos": 1, "frames": 7, "texts": 4, "stems": 1}
    for prompt, prediction in zip(prompts, together, strict=True):
        alone = segmenter.segment(clip, [prompt], **SMALL)[0]
        assert np.array_equal(alone.masks[:], prediction.masks[:])
    counts["frames"] = 0
    segmenter.segment(clip[:6], prompts, window=4, overlap=2, **SMALL)
    assert counts["frames"] == 6, "frames that windows share are encoded once"


def test_seeds_choose_the_latents_of_the_released_rule(mini_networks, clip):
    model = assemble(replace(MINI.model, compat="released"), mini_networks).eval()
    segmenter = ReferringSegmenter(model, "small", trained=False)
    first, again, other = (
        segmenter.segment(clip, ["a dog"], seed=seed, **SMALL)[0] for seed in (0, 0, 1)
    )
    assert np.array_equal(first.masks[:], again.masks[:])
    assert np.array_equal(first.scores, again.scores)
    assert not np.array_equal(first.scores, other.scores)


def test_latents_of_a_frame_do_not_depend_on_the_window(segmenter, clip):
    encoder = ClipEncoder(segmenter.model, 48, None, seed=5, stopwatch=Stopwatch())
    batch = encoder.batch(clip)
    whole = encoder.encode(batch, range(7)).posterior_noise
    part = encoder.encode(batch, range(3, 7), first=3).posterior_noise
    assert torch.equal(whole[:, 3:], part)


def test_windows_without_overlap_are_clips_of_their_own(segmenter, clip):
    """The rule of Ref-DAVIS17: each clip chooses its query, and the last one may be short."""
    options = {"window": 3, "overlap": 0, "last_window": "short", **SMALL}
    whole = segmenter.segment(clip, ["a dog"], **options)[0]
    for start in (0, 3, 6):
        part = segmenter.segment(clip[start : start + 3], ["a dog"], **SMALL)[0]
        assert np.array_equal(whole.scores[start : start + 3], part.scores)
        assert np.array_equal(whole.masks[start : start + 3], part.masks[:])


def test_probabilities_on_request(segmenter, clip):
    plain, asked = (
        next(segmenter.stream(clip, ["a dog", "a cat"], keep_probabilities=keep, **SMALL))
        for keep in (False, True)
    )
    assert plain.probabilities is None
    assert asked.probabilities.shape == (2, 60, 81)
    assert np.array_equal(asked.probabilities > 0.5, plain.masks)


def test_one_frame_of_a_clip(segmenter, clip):
    """The others are seen: the answer is that of the whole clip, and of no clip without them."""
    options = SegmentOptions(**SMALL)
    prompts = ["a dog", "the red ball"]
    frame = segmenter.segment_frame(list(clip), range(7), 2, prompts, options)
    whole = segmenter.segment(clip, prompts, options, keep_queries=True)
    assert frame.query_masks.shape == (2, 5, 60, 81)
    for p in range(2):
        for q in range(5):
            assert np.allclose(frame.query_scores[p, q], whole[p].queries[q].scores[2], atol=1e-6)
            assert np.array_equal(frame.query_masks[p, q], whole[p].queries[q].masks[2])
    alone = segmenter.segment_frame(list(clip[2:3]), [2], 0, prompts, options)
    assert not np.array_equal(alone.query_scores, frame.query_scores)


def test_queries_on_request(segmenter, clip):
    plain = segmenter.segment(clip, ["a dog"], **SMALL)[0]
    kept = segmenter.segment(clip, ["a dog"], keep_queries=True, **SMALL)[0]
    assert plain.queries == []
    assert len(kept.queries) == 5
    best = max(kept.queries, key=lambda query: query.scores.mean())
    assert np.array_equal(best.masks[:], plain.masks[:])
    assert np.allclose(best.scores, plain.scores)
    windowed = segmenter.segment(clip, ["a dog"], keep_queries=True, window=4, overlap=2, **SMALL)[
        0
    ]
    assert all(query.masks.shape == (7, 60, 81) for query in windowed.queries)


def test_union_holds_every_good_query(segmenter, clip):
    frames = clip[:, :48, :64]  # the size that the model sees: no resizing in between
    kept = segmenter.segment(frames, ["a dog"], keep_queries=True, **SMALL)[0]
    union = segmenter.segment(frames, ["a dog"], select="union", no_target_threshold=0.0, **SMALL)[
        0
    ]
    every = np.any([query.masks[:] for query in kept.queries], axis=0)
    assert np.array_equal(union.masks[:], every)
    none = segmenter.segment(frames, ["a dog"], select="union", **SMALL)[0]
    assert not none.masks[:].any(), "an untrained head is sure of nothing"


def test_threshold(segmenter, clip):
    low, high = (
        segmenter.segment(clip, ["a dog"], threshold=value, **SMALL)[0].masks[:]
        for value in (0.1, 0.9)
    )
    assert low.sum() > high.sum()
    assert not (high & ~low).any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_close(segmenter, clip, dtype):
    half = ReferringSegmenter.from_pretrained("vdit-mini-random", dtype=dtype)
    assert {p.dtype for p in half.model.head.parameters()} == {torch.float32}
    assert {p.dtype for p in half.model.backbone.parameters()} == {dtype}
    full, low = (s.segment(clip, ["a dog"], **SMALL)[0] for s in (segmenter, half))
    assert np.allclose(full.scores, low.scores, atol=0.02)
    assert (full.masks[:] == low.masks[:]).mean() > 0.9


def test_image_and_paths(segmenter, clip, tmp_path):
    from PIL import Image

    for i, frame in enumerate(clip[:3]):
        Image.fromarray(frame).save(tmp_path / f"{i:05d}.png")
    folder = segmenter.segment(tmp_path, ["a dog"], **SMALL)[0]
    assert folder.frame_names == ["00000", "00001", "00002"]
    assert np.array_equal(
        folder.masks[:], segmenter.segment(clip[:3], ["a dog"], **SMALL)[0].masks[:]
    )
    image = segmenter.segment(tmp_path / "00001.png", ["a dog"], **SMALL)[0]
    assert image.masks.shape == (1, 60, 81)


@pytest.mark.parametrize(
    ("prompts", "changes", "message"),
    [
        ([], {}, "expected at least one prompt"),
        (["a", "  "], {}, "blank prompt '  '"),
        ("a dog", {}, "wrap it in"),
        (["a"], {"window": 4, "overlap": 4}, "window=4 and overlap=4; pass a smaller overlap"),
        (["a"], {"threshold": 1.5}, "expected 0 < threshold < 1, got 1.5"),
        (["a"], {"no_target_threshold": -1}, "no_target_threshold"),
        (["a"], {"select": "worst"}, "among best, union; got 'worst'"),
        (["a"], {"short_side": 3}, "short_side >= 16"),
        (["a"], {"seed": -1}, "seed >= 0"),
    ],
)
def test_wrong_requests_fail_before_any_work(segmenter, clip, prompts, changes, message):
    with pytest.raises(ValueError, match=message):
        segmenter.stream(clip, prompts, **changes)


@pytest.mark.parametrize("video", [np.zeros((0, 4, 4, 3), np.uint8), np.zeros((2, 4, 4), np.uint8)])
def test_wrong_arrays(segmenter, video):
    with pytest.raises(ValueError, match=r"expected frames \[T, H, W, 3\] uint8 with T >= 1"):
        segmenter.segment(video, ["a"])


def test_save(segmenter, clip, tmp_path):
    prediction = segmenter.segment(clip[:2], ["a dog"], **SMALL)[0]
    prediction.save(tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "00000.png",
        "00001.png",
        "prediction.json",
    ]
    prediction.save(tmp_path / "out")
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match=r"which holds thesis\.tex"):
        prediction.save(tmp_path / "out")
    assert (tmp_path / "out" / "thesis.tex").exists()


def test_options_are_one_dataclass(segmenter, clip):
    options = SegmentOptions(short_side=48, seed=3)
    by_object = segmenter.segment(clip, ["a dog"], options)[0].masks[:]
    by_keyword = segmenter.segment(clip, ["a dog"], seed=3, **SMALL)[0].masks[:]
    assert np.array_equal(by_object, by_keyword)


MEMORY = """
import sys
import numpy as np
from vdit import ReferringSegmenter
from vdit.measure import peak_memory

class Frames:
    '''Noise that is drawn when it is asked for: T frames without holding them.'''

def frames(count):
    rng = np.random.default_rng(0)
    for i in range(count):
        yield rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)

from vdit import segmenter as module
count = int(sys.argv[1])
module.frames_of = lambda video: (module.Frame(f"{i:05d}", f) for i, f in enumerate(frames(count)))
model = ReferringSegmenter.from_pretrained("vdit-mini-random")
for frame in model.stream(None, ["a", "b", "c", "d"], window=8, overlap=2, short_side=64):
    pass
print(peak_memory())
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_video():
    short, long = (
        int(
            subprocess.run(
                [sys.executable, "-c", MEMORY, str(count)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for count in (40, 400)
    )
    assert long <= 1.1 * short
