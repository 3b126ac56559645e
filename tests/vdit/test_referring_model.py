"""Models to be trained: variants, pretrained weights, text encoders; and the recipes' values."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vdit.architectures import FULL, MINI, build_networks
from vdit.build import assemble, byte_tokenizers, load_model
from vdit.checkpoint import save_model
from vdit.cli import main
from vdit.commands.train import read_training
from vdit.config import load_config
from vdit.model_spec import WEIGHTS_FILE
from vdit.stages.benchmark import BenchmarkConfig
from vdit.stages.referring_model import ModelConfig, Variant, build_trainee, choose_trained
from vdit.training.checkpoints import TrainingState

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "vdit").glob("*.yaml"))
MINI_SOURCE = ModelConfig(source="mini")


def test_variants_change_what_they_name():
    changed = Variant("text", "none", "batch", 20, 0.0, "released").apply(MINI.model)
    assert (changed.condition, changed.noise, changed.compat) == ("text", "none", "released")
    assert changed.noise_statistics == "batch"
    assert changed.head.num_queries == 20
    assert (changed.head.word_dropout, changed.head.transformer.dropout) == (0.0, 0.0)
    assert Variant().apply(MINI.model) == MINI.model


def test_fresh_heads_depend_on_the_seed_only():
    first, again, other = (build_trainee(MINI_SOURCE, seed)[0] for seed in (0, 0, 1))
    name = "head.query_position.weight"
    assert torch.equal(first.get_parameter(name), again.get_parameter(name))
    assert not torch.equal(first.get_parameter(name), other.get_parameter(name))
    assert first.get_parameter(name).requires_grad
    assert not any(p.requires_grad for p in first.backbone.parameters())


def test_pretrained_weights_come_without_the_class_heads():
    config = replace(MINI_SOURCE, pretrained="vdit-mini")
    trained, _ = load_model("vdit-mini")
    fresh, _ = build_trainee(MINI_SOURCE, 0)
    model, spec = build_trainee(config, 0)
    for name, parameter in model.named_parameters():
        source = fresh if name.startswith("head.class_heads.") else trained
        assert torch.equal(parameter, source.get_parameter(name)), name
    assert spec.trained


def test_pretrained_weights_of_another_model_are_refused():
    config = replace(MINI_SOURCE, pretrained="vdit-mini", variant=Variant(num_queries=20))
    with pytest.raises(ValueError, match=r"has shape \[5, 64\] in place of \[20, 64\]"):
        build_trainee(config, 0)
    fresh = ["head.class_heads.", "head.query_position.", "head.query_fusion.queries"]
    build_trainee(replace(config, fresh=fresh), 0)


def test_missing_pretrained_weights_are_named(tmp_path):
    model, spec = load_model("vdit-mini")
    save_model(model, spec, tmp_path / "model")
    weights = load_file(tmp_path / "model" / WEIGHTS_FILE)
    del weights["head.query_position.weight"]
    weights["head.something"] = torch.zeros(1)
    save_file(weights, tmp_path / "model" / WEIGHTS_FILE)
    with pytest.raises(ValueError, match=r"query_position\.weight is missing; head\.something is"):
        build_trainee(replace(MINI_SOURCE, pretrained=str(tmp_path / "model")), 0)


def test_a_text_encoder_that_learned_goes_on_to_the_next_recipe(tmp_path):
    model, spec = build_trainee(replace(MINI_SOURCE, train_text_encoder=True), 0)
    name = "text_encoder.model.encoder.layer.0.output.dense.weight"
    assert model.get_parameter(name).requires_grad
    with torch.no_grad():
        model.get_parameter(name).add_(1.0)
    save_model(model, spec, tmp_path / "first")
    config = replace(MINI_SOURCE, pretrained=str(tmp_path / "first"))
    second, spec = build_trainee(config, 0)
    assert torch.equal(second.get_parameter(name), model.get_parameter(name))
    assert not second.get_parameter(name).requires_grad
    save_model(second, spec, tmp_path / "second")
    loaded, _ = load_model(tmp_path / "second")
    assert torch.equal(loaded.get_parameter(name), model.get_parameter(name))


def test_thirty_million_parameters_are_trained_at_full_size():
    with torch.device("meta"):
        model = assemble(FULL.model, build_networks(FULL) | byte_tokenizers())
        choose_trained(model)
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        optimizer = torch.optim.AdamW(trained.values())
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    state = TrainingState(model, trained, optimizer, scaler, None).collect(0)
    assert sum(value.numel() for value in state["parameters"].values()) == 30_038_986
    assert sum(value.numel() for value in state["buffers"].values()) < 1000


# ---- the recipes -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_recipes_are_valid(path):
    content = read_training(path)
    assert content.pop("stage") == "benchmark"
    config = load_config(BenchmarkConfig, content)
    assert config.run.clip == 0.1
    assert config.run.decay == 5e-4
    assert config.run.schedule == "multistep"
    assert config.run.average is None


def recipe(name):
    (path,) = (path for path in CONFIGS if path.stem == name)
    content = read_training(path)
    del content["stage"]
    return load_config(BenchmarkConfig, content)


@pytest.mark.parametrize(
    ("name", "epochs", "drops", "batch", "frames", "rate", "learns", "pretrained"),
    [
        ("vdit_ytvos", 9, [6, 8], 2, 5, 5e-5, False, False),
        ("vdit_pretrain_refcoco", 11, [8, 10], 4, 1, 2.5e-5, True, False),
        ("vdit_ytvos_finetune", 6, [3, 5], 2, 5, 2.5e-5, False, True),
        ("vdit_a2d", 6, [3, 5], 2, 5, 2.5e-5, False, True),
    ],
)
def test_recipes_are_the_released_ones(
    name, epochs, drops, batch, frames, rate, learns, pretrained
):
    config = recipe(name)
    run = config.run
    assert (run.epochs, run.drops, run.batch, run.rate) == (epochs, drops, batch, rate)
    assert config.data.recipe.num_frames == frames
    assert config.model.train_text_encoder == learns
    assert (config.model.pretrained is not None) == pretrained
    assert run.groups[0].rate == rate
    assert [group.contains for group in run.groups][1:] == ([["text_encoder"]] if learns else [])


def test_ablations_differ_from_the_recipe_in_one_thing():
    base = recipe("vdit_ytvos")
    for name, change in {
        "ablation_vd_i": {"condition": "image"},
        "ablation_vd_t": {"condition": "text"},
        "ablation_noise_gaussian": {"noise": "gaussian"},
        "ablation_noise_none": {"noise": "none"},
    }.items():
        model = replace(base.model, variant=replace(base.model.variant, **change))
        assert recipe(name) == replace(base, model=model), name


def test_a_base_that_comes_back_is_refused(tmp_path, capsys):
    for name, base in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.yaml").write_text(f"stage: benchmark\nbase: {base}.yaml\n")
    assert main(["train", str(tmp_path / "a.yaml"), "-o", str(tmp_path / "model")]) == 2
    assert "comes back to itself" in capsys.readouterr().err


def test_places_in_lists_can_be_changed():
    content = read_training(next(path for path in CONFIGS if path.stem == "vdit_pretrain_refcoco"))
    del content["stage"]
    config = load_config(BenchmarkConfig, content, ["data.datasets.1.root=/x", "run.rate=1e-3"])
    assert [entry.root for entry in config.data.datasets] == ["data/coco", "/x", "data/coco"]
    assert config.run.rate == 1e-3
