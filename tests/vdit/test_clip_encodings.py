"""Training clips from stored encodings: equal to direct ones, refused where they cannot be."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vdit.build import load_model
from vdit.cli import main
from vdit.datasets.clip_dataset import ClipDataset, collate_clips
from vdit.datasets.clip_mix import DatasetEntry
from vdit.datasets.clip_recipe import AugmentationOptions, ClipRecipe
from vdit.datasets.ref_youtube_vos import read_ref_youtube_vos
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.datasets.synthetic.writers.ref_youtube_vos import write_ref_youtube_vos
from vdit.encoding_cache import CacheRecipe, describe_encoder, store_encodings
from vdit.models.backbones.modelscope import ModelScopeBackbone
from vdit.stages.clip_encodings import ClipEncodings, expressible_size
from vdit.training.engine import METRICS

SIDE, LONG_SIDE = 32, 640
PLAIN = AugmentationOptions(
    short_sides=[SIDE], max_side=LONG_SIDE, crop_probability=0, flip_probability=0, color=None
)
MIRROR = replace(PLAIN, flip_probability=0.5)
NAME = "ref-youtube-vos"


@pytest.fixture(scope="module")
def model():
    return load_model("vdit-mini-random")[0]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rvos")
    clips = [(f"v{k}", render(make_scene("referring", k, 6, 40, 56))) for k in (0, 1)]
    write_ref_youtube_vos(clips, folder, "train")
    return folder


@pytest.fixture(scope="module")
def samples(root):
    return read_ref_youtube_vos(root, "train")


@pytest.fixture(scope="module")
def store(model, samples, tmp_path_factory):
    """Function of changes of the recipe: the folder of a cache."""

    def run(**changes):
        folder = tmp_path_factory.mktemp("cache")
        recipe = CacheRecipe(
            NAME, "train", SIDE, LONG_SIDE, 32, describe_encoder(model.backbone), mirrored=True
        )
        videos = {n: (s[0], range(len(s[0].frame_names))) for n, s in samples.by_video().items()}
        store_encodings(model.backbone, videos, folder, replace(recipe, **changes))
        return str(folder)

    return run


@pytest.fixture(scope="module")
def cache(store):
    return store()


def open_encodings(model, folders, augmentation=MIRROR, entries=None, **changes):
    recipe = ClipRecipe(num_frames=3, augmentation=augmentation, **changes)
    return ClipEncodings(folders, entries or [DatasetEntry(NAME, "")], recipe, model.backbone)


def test_clips_of_an_epoch_equal_direct_ones(model, samples, cache):
    """Frames drawn twice, reversed and mirrored; within the rounding of other groups of frames."""
    recipe = ClipRecipe(num_frames=3, augmentation=MIRROR)
    data = ClipDataset(samples, recipe)
    encodings = open_encodings(model, [cache])
    clips = [data[0, index] for index in range(min(len(data), 8))]
    assert {clip.mirrored for clip in clips} == {False, True}
    for clip in clips:
        batch, captions, _ = encodings.collate([clip])
        with torch.inference_mode():
            expected = model.encode(collate_clips([clip])[0].video)
        assert batch.encoded.size == expected.size
        for name in ("latent_mean", "latent_logvar", "image_tokens"):
            torch.testing.assert_close(getattr(batch.encoded, name), getattr(expected, name))
        torch.testing.assert_close(batch.encoded.skips[4], expected.skips[4])
        assert captions == [clip.caption]


def test_the_model_answers_the_same(model, samples, cache):
    data = ClipDataset(samples, ClipRecipe(num_frames=3, augmentation=MIRROR))
    clips = [data[0, 0], data[0, 1]]
    stored, captions, _ = open_encodings(model, [cache]).collate(clips)
    plain = collate_clips(clips)[0]
    outputs = []
    for batch, encoded in ((stored.to("cpu"), stored.encoded), (plain, None)):
        with torch.inference_mode():
            generator = torch.Generator().manual_seed(0)
            output = model(batch, captions, encoded=encoded, generator=generator)
        outputs.append(output)
    torch.testing.assert_close(
        outputs[0].mask_logits[-1], outputs[1].mask_logits[-1], atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_probability": 0.5}, r"draws windows \(crop_probability=0\.5\); set data\.recipe"),
        ({"short_sides": [32, 48]}, "draws one of 2 sizes"),
        ({"color": AugmentationOptions().color}, "draws changes of color"),
    ],
)
def test_augmentation_that_is_not_stored(changes, message):
    recipe = ClipRecipe(augmentation=replace(PLAIN, **changes))
    with pytest.raises(ValueError, match=message):
        expressible_size(recipe, NAME)


def test_released_training_is_refused():
    with pytest.raises(ValueError, match="cannot express the clips of ref-youtube-vos"):
        expressible_size(ClipRecipe(), NAME)
    with pytest.raises(ValueError, match="random views of a picture"):
        expressible_size(ClipRecipe(), "refcoco")
    still = ClipRecipe(num_frames=1, picture_augmentation=PLAIN)
    assert expressible_size(still, "refcoco") == (SIDE, LONG_SIDE, False)


def test_caches_that_do_not_fit(model, store, cache):
    plain = store(mirrored=False)
    open_encodings(model, [plain], PLAIN)
    with pytest.raises(ValueError, match="the recipe mirrors clips"):
        open_encodings(model, [plain])
    with pytest.raises(ValueError, match="expected stored encodings of mevis, found only those of"):
        open_encodings(model, [cache], entries=[DatasetEntry("mevis", "")])
    with pytest.raises(ValueError, match="stored with short_side 32, expected 48"):
        open_encodings(model, [cache], replace(PLAIN, short_sides=[48]))
    with pytest.raises(ValueError, match="stored with split 'train', expected 'valid'"):
        open_encodings(model, [cache], entries=[DatasetEntry(NAME, "", "valid")])
    with pytest.raises(ValueError, match="stored with multiple 16, expected 32"):
        open_encodings(model, [store(multiple=16)])


# ---- commands ----------------------------------------------------------------------------------

RECIPE = Path(__file__).parents[2] / "configs" / "vdit" / "vdit_ytvos.yaml"


def words_of(root, *changes):
    """A small training that stored encodings can express."""
    return [
        str(RECIPE),
        f"data.datasets=[{{name: {NAME}, root: {root}, split: train}}]",
        "data.recipe.num_frames=2",
        f"data.recipe.augmentation.short_sides=[{SIDE}]",
        "data.recipe.augmentation.crop_probability=0",
        "data.recipe.augmentation.color=null",
        "data.epoch_size=2",
        "model.source=mini",
        "run.epochs=1",
        "run.drops=[1]",
        "run.workers=0",
        "run.device=cpu",
        "run.log_every=1",
        *changes,
    ]


def losses(folder):
    metrics = folder.parent / f"{folder.name}-training" / RECIPE.stem / METRICS
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_training_reads_what_was_stored_for_it(root, tmp_path, capsys, monkeypatch):
    words = words_of(root)
    calls = []
    encode = ModelScopeBackbone.encode
    monkeypatch.setattr(
        ModelScopeBackbone, "encode", lambda self, video: calls.append(1) or encode(self, video)
    )
    assert main(["train", *words, "-o", str(tmp_path / "direct")]) == 0
    num_direct = len(calls)
    assert main(["cache", *words, "-o", str(tmp_path / "cache"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert facts["caches"] == [str(tmp_path / "cache" / NAME)]
    assert facts["frames"] == 2 * len(list((root / "train" / "JPEGImages" / "v0").iterdir()))
    calls.clear()
    caches = f"caches=[{facts['caches'][0]}]"
    assert main(["train", *words, caches, "-o", str(tmp_path / "cached")]) == 0
    assert len(calls) == num_direct - 2, "the two clips of training; pictures are still drawn"
    direct, cached = losses(tmp_path / "direct"), losses(tmp_path / "cached")
    assert len(direct) >= 1
    assert cached == pytest.approx(direct, rel=1e-4)


def test_trainings_that_cannot_be_stored(root, tmp_path, capsys):
    colored = words_of(root, "data.recipe.augmentation.crop_probability=0.5")
    assert main(["cache", *colored, "-o", str(tmp_path / "x")]) == 2
    assert "the recipe draws windows" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    assert main(["cache", *words_of(root), "-o", str(tmp_path / "x"), "--mirrored"]) == 2
    assert "expected --mirrored to be said by the configuration" in capsys.readouterr().err
    mini = Path(__file__).parents[2] / "configs" / "mini" / "9_referring.yaml"
    assert main(["cache", str(mini), "-o", str(tmp_path / "x")]) == 2
    assert "expected `stage: benchmark`" in capsys.readouterr().err
