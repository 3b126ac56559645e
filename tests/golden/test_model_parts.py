"""Every module of VD-IT against the released code, with weights by formula."""

import json

import pytest
import torch
from diffusers import AutoencoderKL, UNet3DConditionModel
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    RobertaConfig,
    RobertaModel,
)

from vdit.models.backbones.modelscope import ModelScopeBackbone
from vdit.models.backbones.unet3d import collect, run_stem, walk_unet3d
from vdit.models.conditioning import NoisePredictor, TextGuidedImageProjection
from vdit.models.deformable_attention import DeformableAttention
from vdit.models.fusion import QueryFusion, TextResizer
from vdit.models.position_encoding import sine_encoding_1d, sine_encoding_2d
from vdit.models.vdit import build_adapters
from vdit.released_names import released_name

UNET_TAPS = ["in", "down0", "down1", "up0", "up1", "up2"]


@pytest.fixture
def tensors(golden):
    def load(name):
        return {
            key: torch.from_numpy(value) if value.dtype.kind in "fiub" else str(value)
            for key, value in golden(name).items()
            if value.dtype.kind != "S" and not key.endswith("keys")
        }

    return load


@pytest.fixture
def released(fill_from_formula):
    """Fill a module that has a place in our model with its released weights."""

    def fill(module, prefix):
        fill_from_formula(module, lambda name: released_name(f"{prefix}.{name}"))
        return module.eval()

    return fill


def close(actual, expected, rtol=1e-5):
    scale = expected.abs().max().clamp(min=1e-6).item()
    torch.testing.assert_close(actual, expected, rtol=0, atol=rtol * scale)


def test_noise_predictor(tensors, released):
    arrays = tensors("vdit/noise")
    predictor = released(NoisePredictor(arrays["latents"].shape[1]), "noise_predictor")
    close(predictor.conv.weight, arrays["w_conv"])
    close(predictor(arrays["latents"].transpose(1, 2)).transpose(1, 2), arrays["noise"])


def test_noise_is_added_at_timestep_zero(tensors, released):
    arrays = tensors("vdit/noise")
    predictor = released(NoisePredictor(arrays["latents"].shape[1]), "noise_predictor")
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    backbone = ModelScopeBackbone.__new__(ModelScopeBackbone)
    nn.Module.__init__(backbone)
    backbone.register_buffer("alphas_cumprod", (1 - betas).cumprod(0))
    close(backbone.alphas_cumprod[0], arrays["alphas_cumprod0"].float())
    noisy = backbone.add_noise(arrays["latents"].transpose(1, 2), 0, predictor, None)
    close(noisy.transpose(1, 2), arrays["noisy"])


def test_text_guided_image_projection(tensors, released):
    arrays = tensors("vdit/prompt")
    text_dim, image_dim = arrays["text"].shape[-1], arrays["image_tokens"].shape[-1]
    prompt = released(TextGuidedImageProjection(text_dim, image_dim), "image_prompt")
    projected = prompt.project(arrays["image_tokens"])
    close(projected, arrays["projected"])
    repeats = len(arrays["image_tokens"]) // len(arrays["text"])
    text = arrays["text"].repeat_interleave(repeats, dim=0)
    close(prompt.attend(text, projected), arrays["after_attn"])
    close(prompt(text, arrays["image_tokens"]), arrays["prompt"])


def test_adapters(tensors, released):
    arrays = tensors("vdit/act_postprocess")
    in_channels = [arrays[f"in{k}"].shape[1] for k in range(4)]
    out_channels = [arrays[f"out{k}"].shape[1] for k in range(4)]
    adapters = released(build_adapters(in_channels, out_channels), "adapters")
    for k, adapter in enumerate(adapters):
        close(adapter(arrays[f"in{k}"]), arrays[f"out{k}"])


def test_position_encodings(tensors):
    arrays = tensors("vdit/posenc")
    close(sine_encoding_2d(arrays["mask2d"]), arrays["pos2d"])
    close(sine_encoding_1d(arrays["mask1d"]).transpose(1, 2), arrays["pos1d"])


def test_query_fusion(tensors, released):
    arrays = tensors("vdit/text_fusion")
    words, queries = arrays["text_proj"], arrays["query_tensors"]
    resizer = released(
        TextResizer(arrays["roberta_features"].shape[-1], words.shape[-1]), "head.text_resizer"
    )
    fusion = released(QueryFusion(*queries.shape), "head.query_fusion")
    close(fusion.queries, queries)
    close(resizer(arrays["roberta_features"]), words)
    fused = fusion(resizer(arrays["roberta_features"]), arrays["mask"])
    close(fused.transpose(0, 1), arrays["fused_queries_q_b_c"])


@pytest.mark.parametrize("kind", ["2", "4"])
def test_deformable_attention(tensors, released, kind):
    arrays = tensors("vdit/msdeform")
    attention = released(DeformableAttention(), "head.transformer.encoder.0.self_attn")
    shapes = [tuple(shape) for shape in arrays["shapes"].tolist()]
    reference = arrays[f"ref{kind}"]
    locations, weights = attention.sampling(arrays["query"], reference, shapes)
    close(locations, arrays[f"loc{kind}"])
    close(weights, arrays["attw"])
    out = attention(arrays["query"], reference, arrays["value"], shapes, arrays["padding"].bool())
    close(out, arrays[f"out{kind}"])


@pytest.mark.parametrize("clip", ["f3", "f1"])
def test_unet_taps(tensors, fill_from_formula, clip):
    arrays = tensors("vdit/unet_vae_small")
    unet = UNet3DConditionModel(**json.loads(arrays["config_json"])).eval()
    fill_from_formula(unet, lambda name: f"small_unet.{name}")
    latents = arrays[f"{clip}_latents"].transpose(1, 2)
    with torch.no_grad():
        stem = run_stem(unet, latents, 0)
        walk = walk_unet3d(unet, stem, arrays[f"{clip}_prompt"])
        found = collect(walk, [*UNET_TAPS, "up3"])
        predicted = unet.conv_out(unet.conv_act(unet.conv_norm_out(found["up3"])))
    for i, tap in enumerate(UNET_TAPS):
        close(found[tap], arrays[f"{clip}_ft{i}"])
    close(predicted.unflatten(0, latents.shape[:2]).transpose(1, 2), arrays[f"{clip}_pred"])


def test_vae(tensors, fill_from_formula):
    arrays = tensors("vdit/unet_vae_small")
    vae = AutoencoderKL(**json.loads(arrays["vae_config_json"])).eval()
    fill_from_formula(vae, lambda name: f"small_vae.{name}")
    unet = UNet3DConditionModel(**json.loads(arrays["config_json"]))
    backbone = ModelScopeBackbone(unet, vae, torch.ones(1000), None, None)
    skip, moments = backbone.encode_vae(arrays["vae_in"])
    mean, logvar = moments.chunk(2, dim=1)
    close(skip, arrays["vae_ft_s4"])
    close(mean, arrays["vae_mean"])
    close(logvar, arrays["vae_logvar"])


def test_text_and_image_towers(tensors, fill_from_formula):
    arrays = tensors("vdit/clip_roberta_small")
    text = CLIPTextModel(CLIPTextConfig(**json.loads(arrays["text_cfg"]))).eval()
    fill_from_formula(text, lambda name: f"small_text.text_model.{name}")
    vision = CLIPVisionModelWithProjection(CLIPVisionConfig(**json.loads(arrays["vision_cfg"])))
    fill_from_formula(vision.eval(), lambda name: f"small_vision.{name}")
    roberta = RobertaModel(RobertaConfig(**json.loads(arrays["roberta_cfg"]))).eval()
    fill_from_formula(roberta, lambda name: f"small_roberta.{name}")
    with torch.no_grad():
        close(text(input_ids=arrays["ids"]).last_hidden_state, arrays["text"])
        tokens = vision.vision_model(pixel_values=arrays["px"]).last_hidden_state
        close(tokens, arrays["vision"])
        words = roberta(input_ids=arrays["rid"], attention_mask=arrays["am"])
        close(words.last_hidden_state, arrays["roberta"])
        close(words.pooler_output, arrays["pool"])
