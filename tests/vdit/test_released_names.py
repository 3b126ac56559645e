from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch

from vdit.architectures import FULL, MINI, build_networks
from vdit.build import assemble, trained_names
from vdit.released_names import canonical_name, is_unused, released_name

LIST = Path(__file__).parents[1] / "data" / "released_state_dict.txt.gz"


@pytest.fixture(scope="module")
def released():
    """Name -> (shape, trained) of all keys of the released state dict."""
    table = {}
    for line in gzip.decompress(LIST.read_bytes()).decode().splitlines():
        name, shape, kind = line.split()
        table[name] = (tuple(map(int, shape.split("x"))), kind == "trained")
    return table


@pytest.fixture(scope="module")
def full():
    with torch.device("meta"):
        networks = build_networks(FULL) | {"tokenizer": None, "roberta_tokenizer": None}
        return assemble(FULL.model, networks)


def test_every_parameter_has_one_released_tensor_of_its_shape(released, full):
    ours = {released_name(name): tensor.shape for name, tensor in full.state_dict().items()}
    assert len(ours) == len(full.state_dict()) == 3082
    assert {name: released[name][0] for name in ours} == {n: tuple(s) for n, s in ours.items()}


def test_other_keys_are_aliases_or_unused(released, full):
    ours = {released_name(name) for name in full.state_dict()}
    others = released.keys() - ours
    unused = {name for name in others if is_unused(name)}
    aliases = others - unused
    assert len(released) == 3126
    assert {name.split(".")[0] for name in unused} == {"sentence_proj"}
    assert (len(unused), len(aliases)) == (4, 40)
    assert all(canonical_name(name) in ours for name in aliases)
    assert all(released[canonical_name(name)] == released[name] for name in aliases)
    assert sum(name.startswith("transformer.decoder.bbox_embed.") for name in aliases) == 24


def test_parameters_are_neither_aliases_nor_unused(full):
    for name in map(released_name, full.state_dict()):
        assert canonical_name(name) == name
        assert not is_unused(name)


def test_trained_tensors_are_those_of_the_release(released, full):
    ours = {released_name(name) for name in trained_names(full)}
    trained = [name for name, (_, is_trained) in released.items() if is_trained]
    assert (len(ours), len(trained)) == (263, 303)
    assert {canonical_name(name) for name in trained} == ours
    parameters = dict(full.named_parameters())
    assert sum(parameters[name].numel() for name in trained_names(full)) == 30_038_986


def test_names_of_the_small_model_are_distinct(mini_networks):
    names = list(assemble(MINI.model, mini_networks).state_dict())
    assert len({released_name(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    "name",
    [
        "backbone.0.diff_ftex.text_encoder.text_model.embeddings.position_ids",
        "text_encoder.text_backbone.embeddings.token_type_ids",
        "transformer.encoder.total_ops",
        "total_params",
        "sentence_proj.layer_norm.bias",
    ],
)
def test_indices_and_profiler_counts_are_unused(name):
    assert is_unused(name)


def test_unknown_parameter_is_named():
    with pytest.raises(ValueError, match=r"parameter of VDIT, got 'backbone\.3\.weight'"):
        released_name("backbone.3.weight")
