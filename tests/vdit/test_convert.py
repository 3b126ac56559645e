"""Conversion of released checkpoints, which an exporter of the tests writes from small models."""

from __future__ import annotations

import collections
import functools
import json
import os
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

import vdit.commands.convert
from vdit.architectures import MINI, build_networks
from vdit.build import assemble, byte_tokenizers, load_model, trained_names
from vdit.checkpoint import convert_released
from vdit.cli import main
from vdit.model_spec import ModelSpec, Parts, local_parts, read_spec, write_spec
from vdit.released_names import released_name
from vdit.structures import VideoBatch

NUM_ALIASES = 16 + 6 * MINI.model.head.transformer.num_decoder_layers
DIFFUSION = "backbone.0.diff_ftex."
UNUSED = {
    "sentence_proj.fc.weight": torch.ones(64, 64),
    "sentence_proj.fc.bias": torch.ones(64),
    "text_encoder.text_backbone.embeddings.position_ids": torch.arange(514)[None],
    f"{DIFFUSION}cv_model.vision_model.embeddings.position_ids": torch.arange(65)[None],
}


def build(architecture=MINI):
    """Build a model none of whose tensors are zero, so that none can be confused."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = assemble(architecture.model, build_networks(architecture) | byte_tokenizers())
        for box_head in model.head.box_heads:
            torch.nn.init.normal_(box_head.layers[-1].weight, std=0.02)
    return model.eval()


def export_state(model):
    """Name the tensors of a model as the released code does, with its aliases and leftovers."""
    state = {released_name(name): tensor for name, tensor in model.state_dict().items()}
    for name, tensor in list(state.items()):
        if name.startswith("bbox_embed."):
            state[f"transformer.decoder.{name}"] = tensor
        if name.startswith(f"{DIFFUSION}act_"):
            level, _, rest = name.removeprefix(f"{DIFFUSION}act_").partition("_postprocess.")
            state[f"{DIFFUSION}act_postprocess.{int(level) - 1}.{rest}"] = tensor
    return collections.OrderedDict(state | UNUSED)


def write_checkpoint(path, state, legacy=True):
    """Write all that the released training loop writes."""
    head = [tensor.clone() for tensor in state.values()][-20:]
    moments = {i: {"step": 3, "exp_avg": x, "exp_avg_sq": x * x} for i, x in enumerate(head)}
    content = {
        "model": state,
        "optimizer": {"state": moments, "param_groups": [{"lr": 1e-4, "params": [0, 1]}]},
        "lr_scheduler": {"milestones": collections.Counter({6: 1}), "_last_lr": [1e-4]},
        "epoch": 5,
        "args": Namespace(lr=1e-4, lr_text_encoder_names=["text_encoder"], device="cuda"),
    }
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def convert(checkpoint, folder, **options):
    return convert_released(checkpoint, folder, architecture=MINI, **options)


def predict(model):
    video = torch.rand(1, 2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    batch = VideoBatch(video, torch.zeros(1, 64, 96, dtype=torch.bool), [(64, 96)])
    with torch.no_grad():
        output = model(batch, ["a red dog"], generator=torch.Generator().manual_seed(2))
    return output.mask_logits[0]


def names(folder):
    return {entry.name for entry in folder.iterdir()}


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture
def state(model):
    return export_state(model)


# ---- what comes out ----------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [True, False], ids=["legacy", "zip"])
def test_converted_model_predicts_bit_for_bit_what_it_did(model, state, tmp_path, legacy):
    checkpoint = write_checkpoint(tmp_path / "released.pth", state, legacy)
    out = tmp_path / "out"
    convert(checkpoint, out, with_frozen=True)
    spec = read_spec(out)
    local = replace(local_parts(), tokenizer=Parts().tokenizer, roberta_tokenizer=Parts().roberta)
    assert spec == ModelSpec(name="released", trained=True, model=MINI.model, parts=local)
    for part, tokenizer in byte_tokenizers().items():
        tokenizer.save_pretrained(out / part)
    write_spec(replace(spec, parts=local_parts()), out)
    loaded, _ = load_model(out)
    weights = loaded.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(weights[name], tensor), name
    assert torch.equal(loaded.backbone.alphas_cumprod, model.backbone.alphas_cumprod)
    assert torch.equal(predict(loaded), predict(model))


def test_frozen_networks_stay_on_the_hub_but_roberta_does_not(model, state, tmp_path):
    report = convert(write_checkpoint(tmp_path / "a.pth", state), tmp_path / "out")
    assert names(tmp_path / "out") == {"config.json", "model.safetensors", "roberta"}
    assert read_spec(tmp_path / "out").parts == Parts(roberta="./roberta")
    weights = load_file(tmp_path / "out/model.safetensors")
    assert sorted(weights) == sorted(trained_names(model))
    assert all(torch.equal(weights[name], model.get_parameter(name)) for name in weights)
    assert report.written == ["roberta", "head"]
    assert report.sources["unet"] == Parts().unet
    assert "roberta" not in report.sources


def test_report_accounts_for_every_key(model, state, tmp_path):
    report = convert(write_checkpoint(tmp_path / "a.pth", state), tmp_path / "out")
    assert sum(report.tensors.values()) == len(model.state_dict())
    assert report.tensors["head"] == len(trained_names(model))
    assert report.tensors["roberta"] == len(model.text_encoder.state_dict())
    assert report.num_aliases == NUM_ALIASES
    assert report.unused == sorted(UNUSED)
    assert len(state) == len(model.state_dict()) + NUM_ALIASES + len(UNUSED)
    assert report.not_finite == []
    assert report.checkpoint_bytes == os.path.getsize(tmp_path / "a.pth")
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert report.folder_bytes == sum(file.stat().st_size for file in files)


def test_bare_state_dict_of_a_distributed_model(model, state, tmp_path):
    torch.save({f"module.{key}": tensor for key, tensor in state.items()}, tmp_path / "a.pth")
    report = convert(tmp_path / "a.pth", tmp_path / "out")
    assert (sum(report.tensors.values()), report.num_aliases) == (
        len(model.state_dict()),
        NUM_ALIASES,
    )


def test_tensors_may_lack_aliases_or_stand_under_them_alone(model, state, tmp_path):
    for key in list(state):
        if key.startswith(("bbox_embed.", f"{DIFFUSION}act_postprocess.")):
            del state[key]
    report = convert(write_checkpoint(tmp_path / "a.pth", state), tmp_path / "out")
    assert (sum(report.tensors.values()), report.num_aliases) == (len(model.state_dict()), 0)


def test_tensors_may_share_memory_and_have_gaps(state, tmp_path):
    shared = torch.full((1,), 7.0)
    state["query_embed.weight"] = torch.ones(64, 5).T
    state["class_embed.0.bias"], state["class_embed.1.bias"] = shared, shared
    convert(write_checkpoint(tmp_path / "a.pth", state), tmp_path / "out")
    weights = load_file(tmp_path / "out/model.safetensors")
    assert [weights[f"head.class_heads.{i}.bias"].item() for i in (0, 1)] == [7, 7]
    assert weights["head.query_position.weight"].shape == (5, 64)


def test_nan_is_reported_not_refused(state, tmp_path, caplog):
    state["bbox_embed.1.layers.0.bias"].fill_(torch.nan)
    try:
        report = convert(write_checkpoint(tmp_path / "a.pth", state), tmp_path / "out")
    finally:
        state["bbox_embed.1.layers.0.bias"].zero_()
    assert report.not_finite == ["head.box_heads.1.layers.0.bias"]
    assert "1 tensors of" in caplog.text


# ---- what is refused ---------------------------------------------------------------------------


def contradict(state):
    state["transformer.decoder.bbox_embed.0.layers.1.bias"] = torch.full((64,), 7.0)


def become(tensor):
    return lambda state: state.update(query_tensors=tensor)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda state: state.pop("query_tensors"), r"1 missing \(query_tensors\); is it the"),
        (lambda state: state.update({"stem.w": torch.ones(1)}), r"its keys 1 unknown \(stem\.w\)"),
        (become(torch.zeros(6, 64)), r"1 misshapen \(query_tensors is \[6, 64\] instead of \[5, 6"),
        (become(torch.ones(5, 64).long()), r"1 misshapen \(query_tensors is of torch\.int64\)"),
        (contradict, r"1 contradicting \(transformer\.decoder\.bbox_embed\.0\.layers\.1\.bias"),
    ],
    ids=["missing", "unknown", "misshapen", "integer", "contradicting"],
)
def test_wrong_keys_are_named(state, tmp_path, change, problem):
    change(state)
    write_checkpoint(tmp_path / "a.pth", state)
    with pytest.raises(ValueError, match=problem):
        convert(tmp_path / "a.pth", tmp_path / "out")
    assert names(tmp_path) == {"a.pth"}


# ---- command -----------------------------------------------------------------------------------


@pytest.fixture
def small_command(monkeypatch):
    converter = functools.partial(convert_released, architecture=MINI)
    monkeypatch.setattr(vdit.commands.convert, "convert_released", converter)


def test_command_prints_a_summary(small_command, model, state, tmp_path, capsys):
    write_checkpoint(tmp_path / "a.pth", state)
    assert main(["convert", str(tmp_path / "a.pth"), "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    count = len(model.state_dict())
    assert f"a.pth: {count} tensors, {NUM_ALIASES} aliases, all equal, 4 unused" in printed
    assert f"tensors, from {Parts().unet}\n" in printed
    assert printed.count("tensors, written\n") == 2
    assert f"roberta_tokenizer: from {Parts().roberta_tokenizer}\n" in printed
    assert "out: model a, " in printed


def test_command_prints_json(small_command, state, tmp_path, capsys):
    write_checkpoint(tmp_path / "a.pth", state)
    words = ["convert", str(tmp_path / "a.pth"), "-o", str(tmp_path / "out"), "--json"]
    assert main([*words, "--with-frozen"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["num_aliases"] == NUM_ALIASES
    assert report["written"] == list(report["tensors"])
    assert set(report["sources"]) == {"tokenizer", "roberta_tokenizer"}


@pytest.mark.parametrize(("file", "what"), [("gone.pth", "does not exist"), (".", "is a folder")])
def test_command_reports_mistakes_in_one_line(tmp_path, capsys, file, what):
    assert main(["convert", str(tmp_path / file), "-o", str(tmp_path / "out")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("vdit convert: expected a checkpoint file")
    assert lines[0].endswith(what)


# ---- memory ------------------------------------------------------------------------------------

MEASURE = """
import json, sys
from dataclasses import replace
from vdit.architectures import MINI
from vdit.checkpoint import convert_released

def kilobytes(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field))

checkpoint, folder, sizes = sys.argv[1:]
architecture = replace(MINI, image_encoder=MINI.image_encoder | json.loads(sizes))
before = kilobytes("VmRSS")
report = convert_released(checkpoint, folder, with_frozen=True, architecture=architecture)
print(report.checkpoint_bytes, 1024 * (kilobytes("VmHWM") - before))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux to measure")
@pytest.mark.parametrize(
    ("width", "megabytes", "legacy"),
    [
        (12_000, 200, True),
        pytest.param(64_000, 1000, True, marks=pytest.mark.slow),
        pytest.param(64_000, 1000, False, marks=pytest.mark.slow),
    ],
    ids=["small", "large", "large-zip"],
)
def test_peak_memory_is_that_of_the_file(tmp_path, width, megabytes, legacy):
    sizes = {"num_hidden_layers": 32, "intermediate_size": width}
    architecture = replace(MINI, image_encoder=MINI.image_encoder | sizes)
    checkpoint = tmp_path / "released.pth"
    write_checkpoint(checkpoint, export_state(build(architecture)), legacy)
    words = [str(checkpoint), str(tmp_path / "out"), json.dumps(sizes)]
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", MEASURE, *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    size, peak = map(int, done.stdout.split())
    assert size > megabytes * 1e6
    assert peak < 1.3 * size, f"{peak / size:.2f} times the size"
