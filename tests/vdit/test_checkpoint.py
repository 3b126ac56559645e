from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import vdit.checkpoint
from vdit.architectures import MINI, build_networks
from vdit.build import assemble, byte_tokenizers, load_model, trained_names
from vdit.checkpoint import save_model
from vdit.model_spec import ModelSpec, Parts, local_parts, read_spec
from vdit.structures import VideoBatch

SPEC = ModelSpec(name="small", model=MINI.model)
PARTS = set(vars(local_parts()))


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return assemble(MINI.model, build_networks(MINI) | byte_tokenizers()).eval()


@pytest.fixture
def predict():
    def run(model):
        video = torch.rand(1, 2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
        batch = VideoBatch(video, torch.zeros(1, 64, 96, dtype=torch.bool), [(64, 96)])
        with torch.no_grad():
            output = model(batch, ["a red dog"], generator=torch.Generator().manual_seed(2))
        return output.mask_logits[0]

    return run


def names(folder):
    return {entry.name for entry in folder.iterdir()}


def test_model_with_frozen_networks_comes_back_bit_for_bit(model, predict, tmp_path):
    spec = save_model(model, SPEC, tmp_path / "saved", with_frozen=True)
    assert names(tmp_path) == {"saved"}
    assert names(tmp_path / "saved") == PARTS | {"config.json", "model.safetensors"}
    loaded, read = load_model(tmp_path / "saved")
    assert read == spec == replace(SPEC, parts=local_parts())
    weights = loaded.state_dict()
    assert weights.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(weights[name], tensor), name
    assert torch.equal(loaded.backbone.alphas_cumprod, model.backbone.alphas_cumprod)
    assert torch.equal(predict(loaded), predict(model))


def test_frozen_networks_keep_their_precision(model, tmp_path):
    model.backbone.unet.to(torch.bfloat16)
    save_model(model, SPEC, tmp_path / "saved", with_frozen=True)
    with safe_open(tmp_path / "saved/unet/diffusion_pytorch_model.safetensors", "pt") as file:
        assert file.get_tensor("conv_in.weight").dtype == torch.bfloat16


def test_frozen_networks_stay_at_their_sources(model, tmp_path):
    save_model(model, SPEC, tmp_path / "saved")
    assert names(tmp_path / "saved") == {"config.json", "model.safetensors"}
    assert read_spec(tmp_path / "saved") == SPEC
    weights = load_file(tmp_path / "saved/model.safetensors")
    assert sorted(weights) == sorted(trained_names(model))
    for name, tensor in weights.items():
        assert torch.equal(tensor, model.get_parameter(name)), name


def test_parts_of_the_folder_itself_are_written_again(model, tmp_path):
    parts = Parts(vae="./vae", tokenizer="./tokenizer")
    save_model(model, replace(SPEC, parts=parts), tmp_path / "saved")
    assert names(tmp_path / "saved") - {"config.json", "model.safetensors"} == {"vae", "tokenizer"}
    assert read_spec(tmp_path / "saved").parts == parts


def test_trained_roberta_is_written(model, tmp_path):
    model.text_encoder.frozen = False
    spec = save_model(model, SPEC, tmp_path / "saved")
    assert spec.parts == Parts(roberta="./roberta")
    assert names(tmp_path / "saved/roberta") == {"config.json", "model.safetensors"}


def test_older_model_is_replaced_as_a_whole(model, tmp_path):
    save_model(model, SPEC, tmp_path / "saved", with_frozen=True)
    save_model(model, replace(SPEC, name="newer"), tmp_path / "saved")
    assert names(tmp_path / "saved") == {"config.json", "model.safetensors"}
    assert json.loads((tmp_path / "saved/config.json").read_text())["name"] == "newer"


def test_folder_with_other_files_is_kept(model, tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(ValueError, match=r"which also holds thesis\.tex; pass another"):
        save_model(model, SPEC, tmp_path)
    assert names(tmp_path) == {"thesis.tex"}


def test_file_in_the_way_is_kept(model, tmp_path):
    (tmp_path / "saved").write_text("mine")
    with pytest.raises(ValueError, match="which is a file"):
        save_model(model, SPEC, tmp_path / "saved")
    assert (tmp_path / "saved").read_text() == "mine"


def test_full_disk_leaves_nothing(model, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(vdit.checkpoint, "save_file", fail)
    with pytest.raises(ValueError, match=r"cannot be written: .*No space left on device; free"):
        save_model(model, SPEC, tmp_path / "saved")
    assert names(tmp_path) == set()


def test_other_noise_schedule_is_refused(model, tmp_path):
    model.backbone.alphas_cumprod = model.backbone.alphas_cumprod[:15]
    with pytest.raises(ValueError, match=r"schedule of ModelScopeT2V \(1000 steps\).*15 steps"):
        save_model(model, SPEC, tmp_path / "saved")
    assert names(tmp_path) == set()
