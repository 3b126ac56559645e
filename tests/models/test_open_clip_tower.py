"""The image tower of open_clip, as far as open_clip is not needed for it."""

import sys
from collections import OrderedDict

import pytest
import torch
from torch import nn

from vdit.models.open_clip_tower import tower_from_open_clip
from vdit.network_loading import load_part


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        layers = [("c_fc", nn.Linear(dim, 3 * dim)), ("gelu", nn.GELU())]
        self.mlp = nn.Sequential(OrderedDict([*layers, ("c_proj", nn.Linear(3 * dim, dim))]))

    def forward(self, tokens):
        normed = self.ln_1(tokens)
        tokens = tokens + self.attn(normed, normed, normed, need_weights=False)[0]
        return tokens + self.mlp(self.ln_2(tokens))


class Visual(nn.Module):
    """The vision transformer of CLIP with the names that open_clip gives to its weights."""

    def __init__(self, dim=32, heads=4, depth=2, side=28, patch=14, output_dim=12):
        super().__init__()
        self.image_size, self.patch_size, self.output_dim = (side, side), (patch, patch), output_dim
        self.conv1 = nn.Conv2d(3, dim, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(dim))
        self.positional_embedding = nn.Parameter(torch.zeros(1 + (side // patch) ** 2, dim))
        self.ln_pre, self.ln_post = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.Sequential(*[Block(dim, heads) for _ in range(depth)])
        self.proj = nn.Parameter(torch.zeros(dim, output_dim))

    def tokens(self, pixel_values):
        patches = self.conv1(pixel_values).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(patches), 1, -1)
        tokens = torch.cat([first, patches], dim=1) + self.positional_embedding
        return self.transformer.resblocks(self.ln_pre(tokens))

    def forward(self, pixel_values):
        return self.ln_post(self.tokens(pixel_values)[:, 0]) @ self.proj


@torch.no_grad()
def test_tokens_and_embedding_are_those_of_the_layout():
    torch.manual_seed(0)
    visual = Visual().eval()
    for weight in visual.parameters():
        weight += 0.2 * torch.randn_like(weight)
    pixel_values = torch.randn(2, 3, 28, 28)
    tower = tower_from_open_clip(visual)
    output = tower(pixel_values=pixel_values)
    tolerance = {"rtol": 0, "atol": 3e-6}
    torch.testing.assert_close(output.last_hidden_state, visual.tokens(pixel_values), **tolerance)
    torch.testing.assert_close(output.image_embeds, visual(pixel_values), **tolerance)


def test_other_activations_are_refused():
    visual = Visual()
    visual.transformer.resblocks[0].mlp.gelu = nn.ReLU()
    with pytest.raises(ValueError, match=r"expected an activation among .*GELU.*; got ReLU\(\)"):
        tower_from_open_clip(visual)


def load():
    return load_part("image_encoder", "open_clip:laion2b_s32b_b79k", None, torch.float32)


def test_without_open_clip_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    message = r"'open_clip:laion2b_s32b_b79k', but .*; run `pip install vdit\[openclip\]`$"
    with pytest.raises(ValueError, match=message):
        load()


def test_a_torchvision_that_does_not_fit_is_named(monkeypatch, tmp_path):
    fails = 'raise RuntimeError("operator torchvision::nms does not exist")'
    (tmp_path / "open_clip.py").write_text(fails)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "open_clip", raising=False)
    with pytest.raises(
        ValueError, match=r"nms does not exist; install the torchvision .* for torch"
    ):
        load()
