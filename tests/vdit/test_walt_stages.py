"""Tokenizer, latents, V-WALT and I-WALT, a few steps each: folders come out that load."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vdit.backbone_loading.walt import load_video_tokenizer
from vdit.build import build_backbone
from vdit.cli import main
from vdit.commands.train import read_training
from vdit.config import load_config
from vdit.stages.video_tokenizer import PART, VideoTokenizerStage, VideoTokenizerTraining
from vdit.stages.walt import WaltStage, WaltTraining
from vdit.stages.walt_latents import LatentClips

DATA = ["data.height=32", "data.width=48", "data.rendered=5", "data.frames=5", "recipes=[simple]"]
RUN = ["run.steps=2", "run.batch=2", "run.workers=0", "run.log_every=1", "run.sample_every=2"]
FEW = ["held_out=2", "run.validate_every=2"]
DRAWN = ["levels=2", "sampling.steps=2", "sampling.count=2"]
CONFIGS = Path(__file__).parents[2] / "configs" / "walt"


def train(name, *words, folder):
    return main(["train", str(CONFIGS / f"{name}.yaml"), *words, "-o", str(folder)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs") / "walt"
    assert train("tiny_tokenizer", *DATA, *RUN, *FEW, "crop=16", folder=root) == 0
    counts = ["train=5", "held_out=3", "shard=2", "workers=0"]
    assert train("tiny_latents", *DATA, *counts, folder=root) == 0
    for kind in ("image", "video"):
        extra = ["frechet.samples=3"] if kind == "video" else []
        assert train(f"tiny_{kind}", *RUN, *FEW, *DRAWN, *extra, folder=root) == 0
    return root


def stage_of(folder, kind, **changes):
    config = read_training(CONFIGS / f"tiny_{kind}.yaml")
    del config["stage"]
    return WaltStage(load_config(WaltTraining, config | changes), folder)


def lines(folder, name):
    work = folder.parent / "walt-training" / name
    return [json.loads(line) for line in (work / "metrics.jsonl").read_text().splitlines()]


def test_every_stage_leaves_metrics_and_samples(folder):
    samples = folder.parent / "walt-training"
    assert list((samples / "tiny_tokenizer" / "samples" / "000002").iterdir())
    video, image = (samples / f"tiny_{k}" / "samples" / "000002" for k in ("video", "image"))
    assert {path.name for path in video.iterdir()} == {
        *("samples.png", "samples.txt", "samples.gif", "v-walt"),
    }
    assert {path.name for path in image.iterdir()} == {"samples.png", "samples.txt", "i-walt"}
    with Image.open(video / "samples.gif") as gif:
        assert gif.n_frames == 5
    psnr = lines(folder, "tiny_tokenizer")[-1]
    assert psnr["validation/psnr_clips"] > 5
    assert psnr["validation/psnr_frames"] > 5


def test_a_clip_gives_several_squares(tmp_path, monkeypatch):
    content = read_training(CONFIGS / "tiny_tokenizer.yaml")
    del content["stage"]
    config = load_config(VideoTokenizerTraining, content, [*DATA, "crop=16", "crops=3"])
    stage = VideoTokenizerStage(config, tmp_path)
    seen, encode = [], stage.tokenizer.encode
    monkeypatch.setattr(stage.tokenizer, "encode", lambda x: (seen.append(x), encode(x))[1])
    torch.manual_seed(0)
    stage.losses([stage.data[0], stage.data[1]])
    assert seen[0].shape == (6, 5, 3, 16, 16)
    assert not torch.equal(seen[0][:2], seen[0][2:4])


def test_held_out_losses_by_level_and_distances(folder):
    found = lines(folder, "tiny_video")[-1]
    names = {name.removeprefix("validation/") for name in found if "validation" in name}
    both = {"stills", "stills_000", "stills_999"}
    clips = {"clips", "clips_000", "clips_999", "frechet_frames", "frechet_clips"}
    assert names == both | clips
    assert all(np.isfinite(value) for value in found.values())
    image = {name for name in lines(folder, "tiny_image")[-1] if "validation" in name}
    assert image == {f"validation/{name}" for name in both}


@pytest.mark.parametrize(("part", "frames"), [("v-walt", 2), ("i-walt", 5)])
def test_folders_load_as_backbones(folder, part, frames, generator):
    backbone = build_backbone("walt", path=folder / part)
    assert backbone.temporal == (part == "v-walt")
    video = torch.rand(1, 5, 3, 32, 48, generator=generator)
    text = backbone.encode_text(["a red ball"])
    options = {"blocks": ["block8"], "timestep": 200}
    found = backbone.extract(video, **options, generator=generator)["block8"]
    assert found.shape == (1, frames, 128, 4, 6)
    told = backbone.extract(video, text=text, **options)["block8"]
    assert told.isfinite().all()
    snapshot = folder.parent / "walt-training" / f"tiny_{'video' if frames == 2 else 'image'}"
    again = build_backbone("walt", path=snapshot / "samples" / "000002" / part)
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_both_kinds_train_on_the_same_with_the_same_weights(folder):
    video, image = (stage_of(folder, kind) for kind in ("video", "image"))
    weights = [dict(each.network.named_parameters()) for each in (video, image)]
    assert list(weights[0]) == list(weights[1])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    batch = [video.data[0, i] for i in range(4)]
    clips, pictures = video._draw_rows(batch), image._draw_rows(batch)
    assert clips.latents.shape == pictures.latents.shape
    assert clips.images == [True, False, False, False]
    assert pictures.images == [True] * 4
    changed = {"kind", "base"}
    configs = [read_training(CONFIGS / f"tiny_{kind}.yaml") for kind in ("video", "image")]
    assert {k: v for k, v in configs[0].items() if k not in changed} == {
        k: v for k, v in configs[1].items() if k not in changed
    }


@pytest.mark.parametrize("kind", ["video", "image"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_every_weight_gets_a_gradient_with_self_conditioning(folder, kind, precision):
    stage = stage_of(folder, kind, self_conditioning=1.0)
    torch.nn.init.normal_(stage.network.head.weight)
    for added in stage.network.added_modulations:
        torch.nn.init.normal_(added.up.weight, std=0.1)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        losses = stage.losses([stage.data[0, i] for i in range(4)])
    losses["loss"].backward()
    for name, parameter in stage.network.named_parameters():
        assert parameter.grad is not None, name
        if kind == "video" or "bias.time" not in name:
            assert parameter.grad.abs().sum() > 0, name


def test_resuming_gives_the_same_weights(folder, tmp_path):
    root = tmp_path / "walt"
    source = [f"source={folder}", "sampling.count=1", "run.precision=float32", *RUN, *DRAWN]
    assert train("tiny_video", *source, folder=root) == 0
    straight = build_backbone("walt", path=root / "v-walt").state_dict()
    other = tmp_path / "other"
    assert train("tiny_video", *source, "--minutes", "0", folder=other) == 0
    assert not (other / "v-walt").exists()
    assert train("tiny_video", *source, "--resume", folder=other) == 0
    resumed = build_backbone("walt", path=other / "v-walt").state_dict()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_latents_are_those_of_the_clips(folder):
    data = LatentClips(folder, "held_out")
    tokenizer = load_video_tokenizer(folder / PART)
    assert len(data) == 3
    example = data[0, 2]
    assert example.captions
    pixels = 2 * data.render(2)[None].float() / 255 - 1
    with torch.no_grad():
        clip = tokenizer.normalize(tokenizer.encode(pixels)[0])[0]
        still = tokenizer.normalize(tokenizer.encode(pixels[:, 3:4])[0])[0, 0]
    torch.testing.assert_close(example.clip, clip, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(example.stills[3], still, rtol=1e-2, atol=1e-2)


def test_finished_latents_are_kept_and_others_refused(folder, capsys):
    shard = folder / "latents" / "train-00000.safetensors"
    facts = json.loads((folder / "latents" / "config.json").read_text())
    assert "first" not in facts["data"]  # it would part them from older ones, and changes nothing
    before = shard.stat().st_mtime_ns
    counts = ["train=6", "held_out=3", "shard=2", "workers=0"]
    assert train("tiny_latents", *DATA, *counts, folder=folder) == 0
    assert shard.stat().st_mtime_ns == before
    assert len(LatentClips(folder, "train")) in (5, 6)
    capsys.readouterr()
    assert train("tiny_latents", *DATA, *counts, "still_every=2", folder=folder) == 2
    assert "found others; remove the folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words", "sentence"),
    [
        ("tiny_video", [], "expected latents of an earlier stage"),
        ("tiny_latents", [], "config.json in"),
        ("tiny_tokenizer", ["data.frames=6"], "1 + 4 n frames"),
    ],
)
def test_mistakes(tmp_path, capsys, name, words, sentence):
    assert train(name, *words, folder=tmp_path / "walt") == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_folders_without_a_model(tmp_path):
    with pytest.raises(ValueError, match=r"expected a folder that .vdit train .* path=FOLDER"):
        build_backbone("walt", path=tmp_path)
    with pytest.raises(ValueError, match=r"expected a folder that .vdit train"):
        build_backbone("walt")
