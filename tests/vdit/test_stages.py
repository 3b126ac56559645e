"""All stages in a row, two steps each: a model folder comes out that loads and segments."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from vdit import ReferringSegmenter
from vdit.cli import main
from vdit.commands.train import read_training
from vdit.config import load_config
from vdit.stages import clips as clips_module
from vdit.stages.bundle import bundle
from vdit.stages.cell_network import FILE as CELLS
from vdit.stages.cell_network import NAMES_FILE as NAMES
from vdit.stages.clips import ClipConfig, TrainingClips, choose_frames
from vdit.stages.diffusion import DiffusionConfig, DiffusionStage
from vdit.stages.parts import fresh_networks, load_parts, save_part
from vdit.stages.simple_names import words_of

SIZE = ["data.height=48", "data.width=48"]
DATA = [*SIZE, "data.rendered=3", "data.frames=2"]
RUN = ["run.steps=2", "run.batch=2", "run.workers=0", "run.sample_every=2", "run.log_every=1"]
PREPARATIONS = {
    "0_tokenizers": ["clips=8", *DATA],
    "1_pictures": ["count=5", "shard=3", "workers=0", *SIZE],
    "2_clips": ["count=5", "shard=3", "workers=0", *SIZE, "data.rendered=4", "data.frames=3"],
    "6_encodings": ["workers=0"],
}
STAGES = {
    "3_autoencoder": [*DATA, "crop=32"],
    "4_towers": [],
    "5_words": DATA,
    "7_diffusion": [*DATA, "run.precision=float32"],  # bfloat16: torch's gradients overflow for T=2
    "8_images": DATA,
    "9_referring": DATA,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for stage in sorted([*PREPARATIONS, *STAGES]):
        extra = PREPARATIONS.get(stage) or [*STAGES[stage], *RUN]
        words = ["train", f"configs/mini/{stage}.yaml", *extra]
        assert main([*words, "-o", str(root / "model")]) == 0
    return root / "model"


def test_the_folder_is_a_model(folder):
    segmenter = ReferringSegmenter.from_pretrained(folder)
    assert segmenter.trained
    assert segmenter.short_side == 96
    frames = np.random.default_rng(0).integers(0, 255, (3, 40, 60, 3), dtype=np.uint8)
    masks = segmenter.segment(frames, ["the red ball"])[0].masks
    assert masks.shape == (3, 40, 60)


def diffusion_of(folder, *changes):
    content = read_training(Path("configs/mini/7_diffusion.yaml"))
    del content["stage"]
    config = load_config(DiffusionConfig, content, [*STAGES["7_diffusion"], *changes])
    return DiffusionStage(config, folder)


def test_pictures_do_not_end_with_the_first_clips(folder):
    stage = diffusion_of(folder, "data.first=2")
    assert (len(stage.data.store), len(stage.pictures.store)) == (2, 5)


def test_maps_are_asked_where_a_prompt_names_one_object(folder):
    stage = diffusion_of(folder, "aligned=[up1]")
    cells = torch.stack([stage.data.take(i, (0, 1)).cells for i in range(3)])
    maps = {"up1": torch.randn(6, 96, 4, 4)}
    assert float(stage.naming_loss([None, (None, None), None], maps, cells)) == 0
    names = [("ball", None), None, ("cube", "red")]
    loss = stage.naming_loss(names, maps, cells)
    for clip, matters in enumerate((True, False, True)):
        changed = {"up1": maps["up1"].clone()}
        changed["up1"][2 * clip : 2 * clip + 2] *= -1
        assert bool(stage.naming_loss(names, changed, cells) != loss) == matters
    other = stage.naming_loss([("ball", None), None, ("cube", "blue")], maps, cells)
    assert other != loss


def test_the_unet_learns_three_things_at_once(folder):
    prompts = ["sentences=1.0", "without_text=0.0", "images=0.0"]
    stage = diffusion_of(folder, *prompts, "alignment=2.0", "naming=3.0")
    torch.manual_seed(0)
    found = stage.losses([stage.data[i] for i in range(4)])
    assert all(loss.detach() > 0 for loss in found.values())
    wanted = found["denoising"] + 2 * found["alignment"] + 3 * found["naming"]
    torch.testing.assert_close(found["loss"], wanted)


def test_the_bundle_is_the_model_at_half_precision(folder, tmp_path):
    target = tmp_path / "bundled"
    target.mkdir()
    (target / "README.md").write_text("card")
    size = bundle(folder, target)
    weights = [file for file in folder.rglob("*.safetensors")]
    assert size < 0.6 * sum(file.stat().st_size for file in weights) + 200_000
    assert (target / "README.md").read_text() == "card"
    trained = {file.name for file in folder.iterdir()}
    assert {file.name for file in target.iterdir()} == {"README.md", *trained} - {CELLS, NAMES}
    for config in target.rglob("*.json"):
        assert str(folder) not in config.read_text(), config
    whole, half = (ReferringSegmenter.from_pretrained(each).model for each in (folder, target))
    halves = dict(half.named_parameters())
    for name, value in whole.named_parameters():
        if "pooler" not in name:  # never trained, never used, not written
            assert halves[name].dtype == torch.float32
            assert torch.equal(halves[name], value.half().float()), name


def test_every_stage_leaves_metrics_and_samples(folder):
    for name in STAGES:
        work = folder.parent / "model-training" / name
        lines = [json.loads(line) for line in (work / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == [1, 2]
        assert all(np.isfinite(line["loss"]) for line in lines)
        assert list((work / "samples" / "000002").iterdir()), name


def test_an_untrained_unet_takes_the_place_of_the_trained(folder, tmp_path):
    target = shutil.copytree(folder, tmp_path / "model")
    assert main(["train", "configs/mini/7_untrained.yaml", "-o", str(target)]) == 0
    fresh = fresh_networks(folder, seed=0)["unet"].state_dict()
    found, trained = (load_parts(each, ["unet"])["unet"].state_dict() for each in (target, folder))
    assert all(torch.equal(found[name], value) for name, value in fresh.items())
    assert not all(torch.equal(trained[name], value) for name, value in fresh.items())


def test_encodings_of_other_networks_are_refused(folder, tmp_path, capsys):
    target = shutil.copytree(folder, tmp_path / "model")
    shutil.copytree(folder.parent / "model-clips", tmp_path / "model-clips")
    words = ["train", "configs/mini/7_diffusion.yaml", *STAGES["7_diffusion"], *RUN]
    words += ["-o", str(target)]
    save_part(fresh_networks(folder, seed=5)["vae"], target, "vae")
    assert main(words) == 2
    assert "run the stage `encodings` first" in capsys.readouterr().err
    assert main(["train", "configs/mini/6_encodings.yaml", "workers=0", "-o", str(target)]) == 0
    assert main(words) == 0


def test_latents_have_unit_size(folder):
    segmenter = ReferringSegmenter.from_pretrained(folder)
    backbone = segmenter.model.backbone
    video = TrainingClips(ClipConfig(height=32, width=48, rendered=3, frames=2), seed=3)[0].video
    encoded = backbone.encode(video[None].float() / 255)
    latents = encoded.latent_mean * backbone.vae.config.scaling_factor
    assert 0.2 < float(latents.std()) < 5


def test_a_stage_is_not_overwritten_by_accident(folder, capsys):
    words = ["train", "configs/mini/3_autoencoder.yaml", *DATA, *RUN, "crop=32"]
    assert main([*words, "-o", str(folder)]) == 2
    assert "pass --resume to go on" in capsys.readouterr().err
    assert main([*words, "-o", str(folder), "--resume"]) == 0
    assert "step 2, complete" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere.yaml"], "expected a readable YAML file"),
        (["configs/mini/9_referring.yaml"], "of an earlier stage"),
        (["configs/mini/3_autoencoder.yaml", "run.stepps=3"], "stepps"),
        (["README.md"], "expected"),
    ],
)
def test_mistakes(tmp_path, capsys, words, sentence):
    assert main(["train", *words, "-o", str(tmp_path / "model")]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_examples_depend_on_the_index_only():
    clips = TrainingClips(ClipConfig(height=32, width=48, rendered=4, frames=2), seed=1)
    first, again, other = clips[5], clips[5], clips[6]
    assert torch.equal(first.video, again.video)
    assert first.captions == again.captions
    assert not torch.equal(first.video, other.video)
    for caption, target in zip(first.captions, first.targets, strict=True):
        assert caption
        assert target.masks.shape == (1, 2, 32, 48)
        x, y, w, h = target.boxes_cxcywh[0, 0] * torch.tensor([48, 32, 48, 32])
        rows, columns = torch.nonzero(target.masks[0, 0], as_tuple=True)
        if len(rows):
            assert columns.min() == round(float(x - w / 2))
            assert rows.max() + 1 == round(float(y + h / 2))


def test_frames_stay_inside():
    rng = np.random.default_rng(0)
    for rendered, count in [(12, 6), (6, 6), (7, 1), (2, 2), (12, 4)]:
        steps = set()
        for _ in range(40):
            frames = choose_frames(rng, rendered, count)
            assert len(frames) == count
            assert frames.min() >= 0
            assert frames.max() < rendered
            steps |= set(np.diff(frames).tolist())
        assert len(steps) <= max((rendered - 1) // max(count - 1, 1), 1)


def test_a_clip_without_a_sentence_is_drawn_again(monkeypatch):
    choose, calls = clips_module.choose_captions, []

    def nothing_at_first(*words):
        calls.append(words)
        return [] if len(calls) == 1 else choose(*words)

    monkeypatch.setattr(clips_module, "choose_captions", nothing_at_first)
    example = TrainingClips(ClipConfig(height=48, width=64, rendered=3, frames=2), seed=1)[0]
    assert len(calls) == 2
    assert len(example.captions) == len(example.targets) >= 1


def test_only_the_kinds_that_are_asked_for_and_what_is_absent():
    config = ClipConfig(
        height=48, width=48, rendered=2, frames=2, absent=1, per_kind=8, kinds=["appearance"]
    )
    clips = TrainingClips(config, seed=1)
    absent = 0
    for index in range(8):
        example = clips[index]
        counts = [len(target.valid) for target in example.targets]
        assert counts[:-1] == [1] * (len(counts) - 1)
        if counts[-1] == 0:
            absent += 1
            category, color = words_of(example.captions[-1])
            wanted = f"{color} {category}" if color else category
            assert wanted not in example.description
            assert not example.targets[-1].masks.any()
        for caption in example.captions[: sum(counts)]:
            assert not {"left", "right", "leftmost", "rightmost"} & set(caption.split())
    assert absent
