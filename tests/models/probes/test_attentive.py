"""The attentive probe: tokens in any order, both places of the blocks, learning, released names."""

import pytest
import torch
from torch.nn import functional as F
from transformers import VJEPA2Config
from transformers.models.vjepa2.modeling_vjepa2 import VJEPA2AttentivePooler

from tests.models.probes.learning import accuracy, clips, overfit, silent_parameters
from vdit.models.probes.attentive import AttentiveConfig, AttentiveProbe, vjepa2_config

CONFIGS = [
    AttentiveConfig(16, 5, num_heads=4),
    AttentiveConfig(16, 5, num_heads=4, depth=3),
    vjepa2_config(16, 5, num_heads=4),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_shape_and_gradients(config):
    torch.manual_seed(0)
    head = AttentiveProbe(config)
    logits = head(clips())
    assert logits.shape == (12, 5)
    assert silent_parameters(head, logits) == []


@pytest.mark.parametrize("config", CONFIGS)
def test_order_of_tokens_does_not_matter(config):
    torch.manual_seed(0)
    head, features = AttentiveProbe(config), clips()
    shuffled = features.flatten(3)[..., torch.randperm(12)].unflatten(3, (3, 4)).flip(1)
    torch.testing.assert_close(head(shuffled), head(features))


@pytest.mark.parametrize("config", CONFIGS)
def test_clips_of_a_batch_do_not_see_each_other(config):
    torch.manual_seed(0)
    head, features = AttentiveProbe(config), clips()
    torch.testing.assert_close(head(features)[3:4], head(features[3:4]))


@torch.no_grad()
def test_equal_to_attention_written_out():
    torch.manual_seed(0)
    head, features = AttentiveProbe(CONFIGS[0]), clips(batch=1)
    block = head.pooler.cross_attention_block
    tokens = block.norm1(features[0].movedim(1, -1).reshape(-1, 16))
    query = head.pooler.query_tokens[0, 0]
    q, (k, v) = block.xattn.q(query), block.xattn.kv(tokens).split(16, dim=1)
    parts = []
    for head_index in range(4):
        own = slice(4 * head_index, 4 * head_index + 4)
        weights = torch.softmax((k[:, own] @ q[own]) / 2, dim=0)
        parts.append(weights @ v[:, own])
    pooled = query + torch.cat(parts)
    pooled = pooled + block.mlp(block.norm2(pooled))
    torch.testing.assert_close(head(features)[0], head.linear(pooled))


def as_in_transformers(name):
    """Our names of the pooler's parameters from those in transformers, one part of fused ones."""
    name = name.replace("cross_attention_layer", "cross_attention_block")
    name = name.replace("self_attention_layers", "blocks").replace("layer_norm", "norm")
    return name.replace("cross_attn", "xattn").replace("self_attn", "attn")


def fused(weights):
    """The state dict of transformers' pooler under our names."""
    named = {as_in_transformers(name): weight for name, weight in weights.items()}
    ours = {}
    for name, weight in named.items():
        if "_proj." not in name:
            ours[name] = weight
        elif "out_proj" in name:
            ours[name.replace("out_proj", "proj")] = weight
        elif "xattn.q_proj" in name:
            ours[name.replace("q_proj", "q")] = weight
        elif "v_proj" in name:
            parts = ("k", "v") if "xattn" in name else ("q", "k", "v")
            rows = [named[name.replace("v_proj", f"{part}_proj")] for part in parts]
            ours[name.replace("v_proj", "".join(parts))] = torch.cat(rows)
    return ours


@torch.no_grad()
def test_four_blocks_equal_those_in_transformers():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_attention_heads": 4, "mlp_ratio": 4, "num_pooler_layers": 3}
    reference = VJEPA2AttentivePooler(
        VJEPA2Config(**sizes, layer_norm_eps=1e-5, attn_implementation="eager")
    ).eval()
    for parameter in reference.parameters():
        parameter.normal_(std=0.3)
    head = AttentiveProbe(vjepa2_config(16, 5, num_heads=4))
    head.pooler.load_state_dict(fused(reference.state_dict()))
    tokens = torch.randn(3, 11, 16)
    torch.testing.assert_close(head.pooler(tokens), reference(tokens), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("config", CONFIGS)
def test_overfits(config):
    torch.manual_seed(0)
    head, features, labels = AttentiveProbe(config), clips(), torch.arange(12) % 5
    overfit(head, lambda: F.cross_entropy(head(features), labels))
    assert accuracy(head(features), labels) > 0.95


def test_other_layers_than_the_unused_one_are_not_dropped():
    head = AttentiveProbe(CONFIGS[0])
    weights = head.state_dict() | {"pooler.cross_attention_block.xattn.projection": torch.ones(1)}
    with pytest.raises(RuntimeError, match="Unexpected key"):
        head.load_state_dict(weights)


@pytest.mark.parametrize(
    "change", [{"depth": 0}, {"num_heads": 3}, {"blocks": "between"}], ids=lambda x: next(iter(x))
)
def test_wrong_sizes_are_refused(change):
    with pytest.raises(ValueError, match="expected"):
        AttentiveProbe(
            AttentiveConfig(**{"channels": 16, "num_classes": 5, "num_heads": 4} | change)
        )
