"""The tower as open_clip computes it and as transformers does, in an environment with open_clip.

Run by `make test-openclip`; skipped elsewhere.
"""

import copy
import json
import pickle

import pytest
import torch

from vdit.models.image_encoder import ClipImageEncoder, clip_pixel_values
from vdit.models.open_clip_tower import (
    ARCHITECTURE,
    convert_open_clip_state,
    load_open_clip_tower,
    tower_from_open_clip,
)

pytestmark = pytest.mark.optional

TEXT = {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1}
VISION = {"image_size": 56, "patch_size": 14, "layers": 3, "width": 64, "head_width": 16}
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def open_clip():
    reason = "needs open_clip: make test-openclip"
    return pytest.importorskip("open_clip", reason=reason)


@pytest.fixture
def tiny(open_clip, tmp_path, monkeypatch):
    """Give ViT-H-14 the size of a toy until the test ends; returns its configuration."""
    config = {"embed_dim": 24, "vision_cfg": VISION | {"mlp_ratio": 3.0}, "text_cfg": TEXT}
    file = tmp_path / f"{ARCHITECTURE}.json"
    file.write_text(json.dumps(config))
    for registry in ("_MODEL_CONFIGS", "_MODEL_CONFIG_PATHS"):
        monkeypatch.setattr(
            open_clip.factory, registry, copy.copy(vars(open_clip.factory)[registry])
        )
    open_clip.add_model_config(file)
    return config


def build(open_clip, *, quick_gelu=False, **vision):
    """Build a small model with every weight drawn, so that no zero or one hides a swap."""
    torch.manual_seed(0)
    config = VISION | vision
    model = open_clip.CLIP(embed_dim=24, vision_cfg=config, text_cfg=TEXT, quick_gelu=quick_gelu)
    for weight in model.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    return model.eval()


def tokens_of(visual, pixel_values):
    """Compute the tokens before the last norm with open_clip's modules, in its order."""
    tokens = visual.conv1(pixel_values).flatten(2).transpose(1, 2)
    class_token = visual.class_embedding.expand(len(tokens), 1, -1)
    tokens = torch.cat([class_token, tokens], dim=1) + visual.positional_embedding
    return visual.transformer(visual.ln_pre(visual.patch_dropout(tokens)))


def relative(actual, expected):
    return ((actual - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize(
    "vision",
    [
        {},
        {"head_width": 64},
        {"mlp_ratio": 2.5, "layers": 1},
        {"patch_dropout": 0.5},
        {"norm_kwargs": {"eps": 1e-2}},
        {"act_kwargs": {"approximate": "tanh"}},
        {"pos_embed_type": "sin_cos_2d"},
        {"pool_type": "avg", "final_ln_after_pool": True},
    ],
    ids=lambda vision: "-".join(vision) or "plain",
)
@torch.no_grad()
def test_tokens_are_those_of_open_clip(open_clip, vision):
    visual = build(open_clip, **vision).visual
    tower = tower_from_open_clip(visual)
    pixel_values = torch.randn(2, 3, 56, 56)
    expected = tokens_of(visual, pixel_values)
    assert expected.shape == (2, 17, 64)
    actual = tower.vision_model(pixel_values=pixel_values).last_hidden_state
    assert relative(actual, expected) <= TOLERANCE
    assert not tower.training


@torch.no_grad()
def test_image_embedding_is_that_of_open_clip(open_clip):
    visual = build(open_clip).visual
    pixel_values = torch.randn(2, 3, 56, 56)
    actual = tower_from_open_clip(visual)(pixel_values=pixel_values).image_embeds
    assert relative(actual, visual(pixel_values)) <= TOLERANCE


@torch.no_grad()
def test_encoder_gives_the_tokens_of_uint8_frames(open_clip):
    visual = build(open_clip).visual
    frames = torch.randint(0, 256, (3, 3, 60, 90), dtype=torch.uint8)
    encoder = ClipImageEncoder(tower_from_open_clip(visual))
    assert encoder.dim == 64
    expected = tokens_of(visual, clip_pixel_values(frames, 56))
    assert relative(encoder(frames), expected) <= TOLERANCE


@torch.no_grad()
def test_quick_gelu(open_clip):
    visual = build(open_clip, quick_gelu=True).visual
    tower = tower_from_open_clip(visual)
    assert tower.config.hidden_act == "quick_gelu"
    pixel_values = torch.randn(2, 3, 56, 56)
    actual = tower.vision_model(pixel_values=pixel_values).last_hidden_state
    assert relative(actual, tokens_of(visual, pixel_values)) <= TOLERANCE
    tower = tower_from_open_clip(build(open_clip).visual)
    assert tower.config.hidden_act == "gelu"


def test_full_size_matches_name_by_name(open_clip):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    from vdit.architectures import FULL

    with torch.device("meta"):
        config = CLIPVisionConfig(**FULL.image_encoder)
        wanted = CLIPVisionModelWithProjection(config).state_dict()
        visual = open_clip.create_model(ARCHITECTURE, device="meta").visual
        tower = tower_from_open_clip(visual)
    state = convert_open_clip_state(visual.state_dict())
    assert {name: weight.shape for name, weight in state.items()} == {
        name: weight.shape for name, weight in wanted.items()
    }
    assert sum(weight.numel() for weight in state.values()) == 632_076_800
    assert {**tower.config.to_dict(), "dtype": None} == {**config.to_dict(), "dtype": None}


@pytest.mark.parametrize(
    ("vision", "message"),
    [
        ({"ls_init_value": 0.1}, r"encoder\.layers\.0\.ls_1\.gamma"),
        ({"no_ln_pre": True}, "pre_layrnorm"),
        ({"qk_norm": True}, r"attn\.ln_k"),
        ({"scaled_cosine_attn": True}, r"attn\.logit_scale"),
        ({"attentional_pool": True}, "attn_pool"),
        ({"image_size": (56, 28)}, r"square .* \(56, 28\)"),
        ({"layers": (1, 1, 1, 1)}, "got ModifiedResNet"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_other_towers_are_refused(open_clip, vision, message):
    visual = build(open_clip, **vision).visual
    with pytest.raises(ValueError, match=message):
        tower_from_open_clip(visual)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@torch.no_grad()
def test_loads_a_checkpoint_as_an_image_encoder(open_clip, tiny, tmp_path, suffix):
    from safetensors.torch import save_file

    from vdit.network_loading import load_part

    model = build(open_clip, mlp_ratio=3.0)
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(model.state_dict(), path)
    tower = load_part("image_encoder", f"open_clip:{path}", None, torch.float32)
    pixel_values = torch.randn(1, 3, 56, 56)
    actual = tower.vision_model(pixel_values=pixel_values).last_hidden_state
    assert relative(actual, tokens_of(model.visual, pixel_values)) <= TOLERANCE
    half = load_part("image_encoder", f"open_clip:{path}", None, torch.bfloat16)
    assert half.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("tag", "activation"), [("laion2b_s32b_b79k", "gelu"), ("metaclip_fullcc", "quick_gelu")]
)
def test_a_tag_brings_its_activation(open_clip, tiny, tmp_path, monkeypatch, tag, activation):
    path = tmp_path / "downloaded.pt"
    torch.save(build(open_clip, mlp_ratio=3.0).state_dict(), path)
    monkeypatch.setattr(open_clip.factory, "download_pretrained", lambda *_, **__: str(path))
    assert load_open_clip_tower(tag).config.hidden_act == activation


class Danger:
    def __reduce__(self):
        return (pytest.fail, ("a checkpoint ran code",))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no weights",
        pickle.dumps({}),
        pickle.dumps([1]),
        pickle.dumps({"state_dict": Danger()}),
    ],
    ids=["empty file", "text", "no tensors", "a list", "code"],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_damaged_checkpoints_are_named(tiny, tmp_path, content, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^cannot load the image tower 'open_clip:.*weights") as e:
        load_open_clip_tower(str(path))
    assert "\n" not in str(e.value)


def test_a_checkpoint_of_another_model_is_refused(open_clip, tiny, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(build(open_clip, width=32).state_dict(), path)
    with pytest.raises(ValueError, match=r"cannot load .* size mismatch"):
        load_open_clip_tower(str(path))


@pytest.mark.parametrize("tag", ["", "nowhere"])
def test_unknown_tags_are_answered_with_the_known(tiny, tag):
    with pytest.raises(ValueError, match=rf"'open_clip:{tag}': .*; expected .* laion2b_s32b_b79k"):
        load_open_clip_tower(tag)
