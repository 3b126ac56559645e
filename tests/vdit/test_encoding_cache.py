"""Stored encodings: equal to direct ones, resumed, shared, and refused where they do not fit."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from vdit import ReferringSegmenter
from vdit.cli import main
from vdit.clip_encoding import pad_frames
from vdit.datasets.referring_datasets import REFERRING_DATASETS
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render, render_frames
from vdit.datasets.synthetic.writers.layouts import LAYOUTS
from vdit.encoding_cache import CacheRecipe, EncodingCache, describe_encoder, store_encodings
from vdit.evaluation.inference import run_inference
from vdit.evaluation.inference_config import read_inference_config
from vdit.segment_frames import resize_frame

SIDE = 32


class Frames:
    """Frames in memory; counts what is read."""

    def __init__(self, frames):
        self.pixels, self.num_read = frames, 0

    @property
    def frame_names(self):
        return tuple(str(number) for number in range(len(self.pixels)))

    def frames(self, indices=None):
        chosen = self.frame_names if indices is None else indices
        self.num_read += len(chosen)
        return self.pixels[[int(index) for index in chosen]]


@pytest.fixture(scope="module")
def segmenter():
    return ReferringSegmenter.from_pretrained("vdit-mini-random")


@pytest.fixture
def videos():
    clips = {f"v{k}": render_frames(make_scene("referring", k, 7, 40, 56)) for k in (0, 1)}
    return {name: (Frames(frames), range(len(frames))) for name, frames in clips.items()}


@pytest.fixture
def recipe(segmenter):
    encoder = describe_encoder(segmenter.model.backbone)
    return CacheRecipe("ref-davis", "valid", SIDE, None, 16, encoder)


@pytest.fixture
def store(segmenter, videos, recipe, tmp_path):
    """Function of changes of the recipe: stores both videos, four frames a file."""

    def run(videos=videos, folder="cache", share=(0, 1), **changes):
        return store_encodings(
            segmenter.model.backbone,
            videos,
            tmp_path / folder,
            replace(recipe, **changes),
            frames_per_shard=4,
            share=share,
        )

    return run


def direct(segmenter, frames, multiple=16, mirrored=False):
    """Encode [T, 40, 56, 3] resized to 32 x 44; training mirrors what was resized."""
    resized = np.stack([resize_frame(frame, (32, 44)) for frame in frames])
    resized = resized[:, :, ::-1].copy() if mirrored else resized
    with torch.inference_mode():
        return segmenter.model.encode(pad_frames(torch.from_numpy(resized), multiple)[None])


def assert_same(found, expected, tolerance=0.0):
    """Posterior bit for bit, the rest within the tolerance, relative to each number."""
    assert found.size == expected.size
    assert torch.equal(found.latent_mean, expected.latent_mean)
    assert torch.equal(found.latent_logvar, expected.latent_logvar)
    assert found.posterior_noise is None, "a sample is never stored"
    for ours, theirs in (
        (found.skips[4], expected.skips[4]),
        (found.image_tokens, expected.image_tokens),
    ):
        assert ours.dtype == theirs.dtype
        if tolerance:
            assert ((ours - theirs).abs() <= tolerance * theirs.abs() + 1e-7).all()
            assert not torch.equal(ours, theirs)
        else:
            assert torch.equal(ours, theirs)


def test_stored_equals_direct(segmenter, videos, store):
    """Bit for bit, as long as the networks take the same frames at once: four here."""
    cache = store()
    for name, (frames, numbers) in videos.items():
        expected = direct(segmenter, frames.pixels)
        assert_same(cache.video(name).read(list(numbers)), expected)
        some = cache.video(name).read([5, 0, 0, 3])  # of two files, one frame twice
        assert torch.equal(some.skips[4], expected.skips[4][:, [5, 0, 0, 3]])
        assert torch.equal(some.latent_mean, expected.latent_mean[:, [5, 0, 0, 3]])
        clip = direct(segmenter, frames.pixels[[5, 0, 0, 3]])  # other frames at once
        torch.testing.assert_close(some.latent_mean, clip.latent_mean)
        torch.testing.assert_close(some.skips[4], clip.skips[4])


@pytest.mark.parametrize(("storage", "tolerance"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_half_precision_is_as_close_as_it_can_be(segmenter, videos, store, storage, tolerance):
    """Half a unit in the last place of the format."""
    found = store(storage=storage).video("v0").read(range(7))
    assert_same(found, direct(segmenter, videos["v0"][0].pixels), tolerance)


def test_mirror_images(segmenter, videos, store):
    cache = store(mirrored=True)
    frames = videos["v1"][0].pixels
    found = cache.video("v1", mirrored=True).read(range(7))
    assert_same(found, direct(segmenter, frames, mirrored=True))
    assert_same(cache.video("v1").read(range(7)), direct(segmenter, frames))
    with pytest.raises(
        ValueError, match="holds no mirror images; run `vdit cache` with --mirrored"
    ):
        store(folder="plain").video("v1", mirrored=True)


def test_batches_of_clips(segmenter, videos, store):
    cache = store(multiple=32, mirrored=True)
    clips = [("v0", [1, 2, 2], False), ("v1", [0, 3, 6], True)]
    found = cache.read_clips(clips)
    assert found.latent_mean.shape[:2] == (2, 3)
    assert found.size == (32, 64)
    parts = [
        direct(segmenter, videos[name][0].pixels[numbers], 32, mirrored)
        for name, numbers, mirrored in clips
    ]
    for b, part in enumerate(parts):
        torch.testing.assert_close(found.skips[4][b], part.skips[4][0])
        torch.testing.assert_close(found.image_tokens[b], part.image_tokens[0])
    with pytest.raises(ValueError, match="differ in size or length"):
        cache.read_clips([("v0", [1, 2], False), ("v1", [0, 3, 6], False)])


# ---- resuming, sharing, damage -----------------------------------------------------------------


def test_an_interrupted_run_goes_on(segmenter, videos, store, tmp_path):
    store(folder="at_once")

    class Failing(Frames):
        def frames(self, indices=None):
            if self.num_read >= 4:
                raise KeyboardInterrupt
            return super().frames(indices)

    broken = Failing(videos["v0"][0].pixels)
    with pytest.raises(KeyboardInterrupt):
        store({"v0": (broken, range(7)), "v1": videos["v1"]})
    folder = tmp_path / "cache" / "frames" / "v0"
    assert [path.name for path in folder.iterdir()] == ["00000.safetensors"]
    with pytest.raises(ValueError, match=r"no index\.json that can be read"):
        EncodingCache(tmp_path / "cache").video("v0")
    videos["v0"][0].num_read = 0
    cache = store()
    assert videos["v0"][0].num_read == 3, "the first file was kept"
    videos["v0"][0].num_read = 0
    store()
    assert videos["v0"][0].num_read == 0, "a finished video is not read again"
    whole = EncodingCache(tmp_path / "at_once").video("v0").read(range(7))
    assert_same(cache.video("v0").read(range(7)), whole)


def test_a_damaged_index_is_written_again(videos, store):
    index = store().folder / "frames" / "v0" / "index.json"
    whole = json.loads(index.read_text())
    index.write_text("")
    videos["v0"][0].num_read = 0
    store()
    assert json.loads(index.read_text()) == whole
    assert videos["v0"][0].num_read == 0, "the encodings were kept"


def test_processes_share_the_videos(store, tmp_path):
    store(share=(0, 2))
    assert not (tmp_path / "cache" / "frames" / "v1").exists()
    store(share=(1, 2)).video("v1").read([6])


def test_damage_is_found(store, tmp_path, capsys):
    cache = store()
    assert main(["cache", "ref-davis", "-o", str(cache.folder), "--verify"]) == 0
    path = cache.folder / "frames" / "v0" / "00001.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    assert cache.video("v0").read([0, 1, 2, 3]).num_frames == 4
    with pytest.raises(ValueError, match=r"00001.safetensors is damaged: frame [456] has another"):
        cache.video("v0").read([4, 5, 6])
    assert main(["cache", "ref-davis", "-o", str(cache.folder), "--verify"]) == 2
    assert "(1 damaged frames)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "mevis"}, "stored with dataset 'ref-davis', expected 'mevis'"),
        ({"short_side": 48}, "stored with short_side 32, expected 48"),
        ({"long_side": 640}, "stored with long_side None, expected 640"),
        ({"multiple": 32}, "stored with multiple 16, expected 32"),
        ({"encoder": "x"}, "stored with weights or settings of the encoder"),
        ({"storage": "float16"}, "with storage exact and mirrored=False, expected float16"),
        ({"mirrored": True}, "mirrored=False, expected exact and True"),
    ],
)
def test_another_recipe_is_refused(store, changes, message):
    store({})
    with pytest.raises(ValueError, match=message):
        store({}, **changes)


def test_the_fingerprint_knows_every_weight_of_the_encoder(mini_backbone):
    before = describe_encoder(mini_backbone)
    weights = mini_backbone.encoding_weights()
    assert any(name.startswith("image_encoder.") for name in weights)
    assert not any("decoder" in name for name in weights)
    unet = next(mini_backbone.unet.parameters())
    with torch.no_grad():
        unet.add_(1)
        assert describe_encoder(mini_backbone) == before, "encodings do not depend on the UNet"
        unet.sub_(1)
        for name in (min(weights), max(weights)):
            value = weights[name].flatten()
            kept = value[0].clone()
            value[0] += 0.5
            assert describe_encoder(mini_backbone) != before, name
            value[0] = kept
    mini_backbone.rounding = "nearest"
    assert describe_encoder(mini_backbone) != before


def test_a_full_disk_is_foreseen(store, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("vdit.encoding_cache.shutil.disk_usage", lambda path: usage)
    with pytest.raises(ValueError, match="the encodings of 7 more frames need about"):
        store()


# ---- inference ---------------------------------------------------------------------------------


def write_tree(tmp_path, dataset, split):
    clips = [(f"v{k}", render(make_scene("referring", k, 5, 40, 56))) for k in (0, 1)]
    LAYOUTS[dataset](clips, tmp_path / dataset, split)
    return tmp_path / dataset


def test_predictions_from_a_cache(tmp_path, capsys):
    root = write_tree(tmp_path, "ref-youtube-vos", "valid")
    common = ["ref-youtube-vos", f"short_side={SIDE}", "--root", str(root)]
    common += ["--model", "vdit-mini-random"]
    cache, out = str(tmp_path / "cache"), tmp_path / "out"
    assert main(["cache", *common, "-o", cache, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["videos"] == 2
    assert main(["infer", *common, "-o", str(out / "cached"), "--cache", cache]) == 0
    assert main(["infer", *common, "-o", str(out / "direct")]) == 0
    found = sorted((out / "direct").rglob("*.png"))
    assert found
    for path in found:
        again = out / "cached" / path.relative_to(out / "direct")
        assert again.read_bytes() == path.read_bytes()
    assert main(["infer", *common, "short_side=48", "-o", str(out / "x"), "--cache", cache]) == 2
    assert "stored with short_side 32, expected 48" in capsys.readouterr().err


def test_records_from_a_cache(tmp_path):
    """Only the frames around labelled ones are stored; scores agree up to rounding."""
    root = write_tree(tmp_path, "jhmdb", "test")
    common = ["jhmdb", f"short_side={SIDE}", "context=1", "--root", str(root)]
    common += ["--model", "vdit-mini-random"]
    cache = str(tmp_path / "cache")
    assert main(["cache", *common, "-o", cache]) == 0
    records = []
    for name, words in (("cached", ["--cache", cache]), ("direct", [])):
        assert main(["infer", *common, *words, "-o", str(tmp_path / name)]) == 0
        records.append(json.loads((tmp_path / name / "predictions.json").read_text()))
    cached, straight = records
    assert [r["image_id"] for r in cached] == [r["image_id"] for r in straight]
    scores = [[r["score"] for r in each] for each in records]
    np.testing.assert_allclose(*scores, rtol=1e-4)


def test_nothing_is_encoded_twice(segmenter, tmp_path, monkeypatch):
    root = write_tree(tmp_path, "ref-youtube-vos", "valid")
    config = read_inference_config("ref-youtube-vos", [f"short_side={SIDE}"])
    data = REFERRING_DATASETS["ref-youtube-vos"].read(root, "valid").by_video()
    encoder = describe_encoder(segmenter.model.backbone)
    cache = store_encodings(
        segmenter.model.backbone,
        {name: (samples[0], range(5)) for name, samples in data.items()},
        tmp_path / "cache",
        CacheRecipe("ref-youtube-vos", "valid", SIDE, None, 16, encoder),
    )
    monkeypatch.setattr(segmenter.model.backbone, "encode", None)
    few = {name: samples[:1] for name, samples in data.items()}
    assert run_inference(segmenter, few, config, tmp_path / "out", encodings=cache).complete


def test_files_hold_the_posterior_and_no_sample(store):
    cache = store()
    with safe_open(cache.folder / "frames" / "v0" / "00000.safetensors", "pt") as shard:
        names = {"latent_mean", "latent_logvar", "skip_4", "image_tokens"}
        assert set(shard.keys()) == names
