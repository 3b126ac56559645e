"""Diffusion transformers come back from folders in the layout of their releases."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

from tests.models import tiny_transformers as tiny
from vdit.backbone_loading import open_sora, sd3, wan
from vdit.byte_tokenizers import clip_byte_tokenizer
from vdit.models.backbones.open_sora_vae import OpenSoraVideoEncoder
from vdit.models.backbones.stdit3 import STDiT3, STDiT3Config


def letters():
    """A T5 tokenizer with one token a letter."""
    pieces = ["<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz"]
    return T5Tokenizer(vocab=[(piece, -float(i > 2)) for i, piece in enumerate(pieces)])


def clip_tower(projection):
    tokenizer = clip_byte_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=4,
        intermediate_size=8,
        num_attention_heads=1,
        num_hidden_layers=2,
        projection_dim=projection,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    return CLIPTextModelWithProjection(config).eval()


def t5_sizes(width):
    return {
        "d_model": width,
        "d_kv": 4,
        "d_ff": 8,
        "num_layers": 1,
        "num_heads": 1,
        "vocab_size": len(letters()),
    }


@pytest.fixture(scope="module")
def sd3_folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sd3")
    transformer, vae = tiny.sd3_networks()
    pipeline = StableDiffusion3Pipeline(
        transformer,
        FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae,
        clip_tower(4),
        clip_byte_tokenizer(),
        clip_tower(6),
        clip_byte_tokenizer(),
        T5EncoderModel(T5Config(**t5_sizes(12))).eval(),
        letters(),
    )
    pipeline.save_pretrained(folder)
    return folder, pipeline


@pytest.mark.parametrize("t5", [True, False])
def test_sd3_encodes_a_prompt_as_its_pipeline(sd3_folder, t5):
    folder, pipeline = sd3_folder
    backbone = sd3.load(str(folder), torch.float32, prompt="a dog", t5=t5)
    if not t5:
        parts = {"text_encoder_3": None, "tokenizer_3": None}
        pipeline = StableDiffusion3Pipeline(**(pipeline.components | parts))
    with torch.no_grad():
        tokens, _, pooled, _ = pipeline.encode_prompt(
            "a dog", None, None, do_classifier_free_guidance=False
        )
    assert tokens.shape == (1, 77 + 256, 12)
    torch.testing.assert_close(backbone.null_tokens, tokens)
    torch.testing.assert_close(backbone.null_pooled, pooled)
    assert not backbone.null_tokens.is_inference()


def test_sd3_networks_come_back(sd3_folder):
    folder, pipeline = sd3_folder
    backbone = sd3.load(str(folder), torch.bfloat16)
    weights = backbone.transformer.state_dict()
    for name, value in pipeline.transformer.state_dict().items():
        torch.testing.assert_close(weights[name].float(), value, rtol=1e-2, atol=1e-2)
    check_dtypes(backbone, sd3.load(str(folder), torch.float32), frames=2)


@pytest.fixture(scope="module")
def wan_folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("wan")
    transformer, vae = tiny.wan_networks()
    transformer.save_pretrained(folder / "transformer")
    vae.save_pretrained(folder / "vae")
    tower = UMT5EncoderModel(UMT5Config(**t5_sizes(10))).eval()
    tower.save_pretrained(folder / "text_encoder")
    letters().save_pretrained(folder / "tokenizer")
    return folder, tower


def test_wan_text_is_zero_behind_the_last_token(wan_folder):
    folder, tower = wan_folder
    text = wan.load(str(folder), torch.float32, prompt="a dog").null_text
    ids = letters()(["a dog"], return_tensors="pt").input_ids
    with torch.no_grad():
        states = tower(ids).last_hidden_state
    assert text.shape == (1, 512, 10)
    torch.testing.assert_close(text[:, : ids.shape[1]], states, rtol=1e-5, atol=1e-5)
    assert not text[:, ids.shape[1] :].any()


def test_wan_networks_come_back(wan_folder):
    folder, _ = wan_folder
    loaded = wan.load(str(folder), torch.bfloat16)
    check_dtypes(loaded, wan.load(str(folder), torch.float32), frames=5)


@pytest.fixture
def open_sora_files(tmp_path, monkeypatch):
    """Both files of the release, at tiny sizes; with a decoder, which features do not need."""
    sizes = {
        "block_out_channels": (32,) * 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 1,
        "latent_channels": 4,
    }
    monkeypatch.setattr(open_sora, "IMAGE_VAE", sizes)
    torch.manual_seed(0)
    network = STDiT3(STDiT3Config(hidden_size=16, depth=2, num_heads=2, text_dim=10))
    image_vae = open_sora.AutoencoderKL(**sizes)
    vae = OpenSoraVideoEncoder(image_vae, filters=32, num_res_blocks=1)
    for name, module in {"dit": network, "vae": vae}.items():
        (tmp_path / name).mkdir()
        weights = dict(module.state_dict())
        if module is vae:
            weights["temporal_vae.decoder.conv1.conv.bias"] = torch.zeros(3)
            weights["temporal_vae.post_quant_conv.conv.bias"] = torch.zeros(3)
        save_file(weights, tmp_path / name / "model.safetensors")
    return tmp_path, network, vae


def test_open_sora_comes_back(open_sora_files):
    folder, network, vae = open_sora_files
    places = {"place": str(folder / "dit"), "vae": str(folder / "vae")}
    backbone = open_sora.load(dtype=torch.float32, fps=8.0, temporal_layers=False, **places)
    assert backbone.network.config == network.config
    for found, expected in ((backbone.network, network), (backbone.vae, vae)):
        weights = found.state_dict()
        assert weights.keys() == expected.state_dict().keys()
        assert all(torch.equal(weights[name], v) for name, v in expected.state_dict().items())
    assert backbone.fps == 8.0
    assert not backbone.network.temporal_layers
    check_dtypes(
        open_sora.load(dtype=torch.bfloat16, **places),
        open_sora.load(dtype=torch.float32, **places),
        frames=5,
    )


def test_image_vae_of_open_sora_is_that_of_sdxl():
    with torch.device("meta"):
        image_vae = open_sora.AutoencoderKL(**open_sora.IMAGE_VAE)
    assert sum(parameter.numel() for parameter in image_vae.parameters()) == 83_653_863
    assert image_vae.encoder.conv_norm_out.num_groups == 32


def test_frequencies_need_not_be_in_the_file(open_sora_files):
    folder, network, _ = open_sora_files
    file = folder / "dit" / "model.safetensors"
    weights = load_file(file)
    del weights["rope.freqs"]
    save_file(weights, file)
    loaded = open_sora.load_stdit3(str(folder / "dit"), torch.float32)
    assert torch.equal(loaded.rope.freqs, network.rope.freqs)


def test_other_weights_are_refused(open_sora_files):
    folder, _, _ = open_sora_files
    file = folder / "dit" / "model.safetensors"
    weights = load_file(file)
    del weights["t_block.1.bias"]
    save_file(weights, file)
    with pytest.raises(ValueError, match=r"cannot load STDiT3 from .*check the path or hub id"):
        open_sora.load(str(folder / "dit"), torch.float32)


@pytest.mark.parametrize("family", [sd3, wan, open_sora])
def test_missing_folders_are_named(family, tmp_path):
    with pytest.raises(ValueError, match=r"cannot load .* from .*nowhere"):
        family.load(str(tmp_path / "nowhere"), torch.float32)
    assert all(source.count("/") == 1 for source in family.SOURCES.values())


def check_dtypes(backbone, exact, frames):
    """Features in bfloat16 are near those in float32; the VAE stays in float32."""
    assert {p.dtype for p in backbone.vae.parameters()} == {torch.float32}
    video = torch.rand(1, frames, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found, expected = (
        each.extract(
            video, blocks=["block2"], timestep=49.3, generator=torch.Generator().manual_seed(0)
        )["block2"].float()
        for each in (backbone, exact)
    )
    assert (found - expected).norm() < 0.05 * expected.norm()
