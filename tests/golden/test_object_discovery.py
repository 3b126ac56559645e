"""The parts of the object discovery head against the code of Motion-Guided Tokens."""

import re

import pytest
import torch

from vdit.models.probes.code_discovery import CodeDiscoveryOutput, code_discovery_losses
from vdit.models.probes.conv_gru import ConvGru
from vdit.models.probes.slot_attention import SlotAttention, SlotAttentionConfig
from vdit.models.probes.slot_decoder import PerceiverDecoder, SlotDecoder, SlotDecoderConfig
from vdit.models.probes.slots import SoftPositionEmbedding, distances_to_edges
from vdit.models.probes.vector_quantizer import VectorQuantizer, VectorQuantizerConfig

TOLERANCE = {"rtol": 0, "atol": 1e-5}
CELL_KEYS = ("gates.weight", "gates.bias", "can.weight", "can.bias")

SLOT_NAMES = {
    "to_q.": "step.query.",
    "to_k.": "step.key.",
    "to_v.": "step.value.",
    "fc1.": "step.mlp.layers.0.",
    "fc2.": "step.mlp.layers.1.",
    "gru.": "step.gru.",
    "norm_input.": "step.norm_tokens.",
    "norm_slots.": "step.norm_slots.",
    "norm_pre_ff.": "step.norm_update.",
    "norm1_predictor.": "predictor.norm_attention.",
    "norm2_predictor.": "predictor.norm_linear.",
    "self_attn.": "predictor.attention.",
    "fc3.": "predictor.linear.",
    "slots": "initial",
}
PERCEIVER_NAMES = {
    r"layers\.(\d+)\.0\.fn\.": r"layers.\1.attention.",
    r"layers\.(\d+)\.0\.norm\.": r"layers.\1.norm_attention.",
    r"layers\.(\d+)\.1\.fn\.net\.0\.": r"layers.\1.mlp.expand.",
    r"layers\.(\d+)\.1\.fn\.net\.2\.": r"layers.\1.mlp.contract.",
    r"layers\.(\d+)\.1\.norm\.": r"layers.\1.norm_mlp.",
    r"decoder_cross_attn\.fn\.": "read.",
    r"decoder_cross_attn\.norm\.": "norm_queries.",
    r"decoder_cross_attn\.norm_context\.": "norm_slots.",
    r"to_logits\.": "out.",
    r"to_q\.": "query.",
    r"to_kv\.": "key_value.",
    r"to_out\.": "out.",
}


@pytest.fixture
def arrays(golden):
    return {key: torch.from_numpy(v) for key, v in golden("probing/motok_modules").items()}


def weights(arrays, tag):
    prefix = f"{tag}/sd/"
    return {key[len(prefix) :]: v for key, v in arrays.items() if key.startswith(prefix)}


def renamed(state, names):
    def rename(key):
        for pattern, name in names.items():
            key = re.sub(rf"^{pattern}|(?<=\.){pattern}", name, key)
        return key

    return {rename(key): value for key, value in state.items()}


def close(actual, expected):
    torch.testing.assert_close(actual, expected, **TOLERANCE)


@torch.no_grad()
def test_slot_attention(arrays):
    state = renamed(weights(arrays, "slot"), {re.escape(k): v for k, v in SLOT_NAMES.items()})
    state["initial"] = state["initial"][0]
    num_slots, dim = state["initial"].shape
    hidden_dim = len(state["step.mlp.layers.0.bias"])
    attention = SlotAttention(SlotAttentionConfig(num_slots, dim, hidden_dim))
    attention.load_state_dict(state)
    found = attention.eval()(arrays["slot/x"])
    close(found.slots, arrays["slot/slots"])
    close(found.masks, arrays["slot/attn"])


@torch.no_grad()
def test_conv_gru(arrays):
    x, state = arrays["convgru/x"], weights(arrays, "convgru")
    dim = arrays["convgru/out"].shape[2]
    num_layers = len(state) // 4
    gru = ConvGru(x.shape[2], dim, num_layers)
    ours = {}
    for i in range(num_layers):
        theirs = {key: state[f"cell_list.{i}.conv_{key}"] for key in CELL_KEYS}
        inputs = x.shape[2] if i == 0 else dim
        both = torch.cat([theirs["gates.weight"], theirs["can.weight"]])
        ours[f"layers.{i}.from_input.weight"] = both[:, :inputs]
        ours[f"layers.{i}.from_input.bias"] = torch.cat([theirs["gates.bias"], theirs["can.bias"]])
        ours[f"layers.{i}.gates.weight"] = theirs["gates.weight"][:, inputs:]
        ours[f"layers.{i}.candidate.weight"] = theirs["can.weight"][:, inputs:]
    gru.load_state_dict(ours)
    close(gru(x)[0], arrays["convgru/out"])


@torch.no_grad()
def test_perceiver_decoder(arrays):
    state = renamed(weights(arrays, "perceiver"), PERCEIVER_NAMES)
    depth = len({key.split(".")[1] for key in state if key.startswith("layers")})
    dim = arrays["perceiver/out"].shape[-1]
    decoder = PerceiverDecoder(dim, SlotDecoderConfig(depth=depth))
    decoder.load_state_dict(state)
    close(decoder(arrays["perceiver/slots"], arrays["perceiver/queries"]), arrays["perceiver/out"])


@torch.no_grad()
def test_positions_of_the_decoder(arrays):
    stored = weights(arrays, "posenc")["pe"][0]
    decoder = SlotDecoder(*stored.shape, SlotDecoderConfig()).eval()
    decoder.positions.copy_(stored)
    asked = []
    norm = decoder.perceiver.norm_queries
    norm.register_forward_pre_hook(lambda _, given: asked.append(given[0]))
    decoder(torch.zeros(len(arrays["posenc/out"]), 1, 3, stored.shape[1]))
    close(asked[0], arrays["posenc/out"])


@torch.no_grad()
def test_soft_position_embedding(arrays):
    state = weights(arrays, "softpos")
    _, h, w, dim = arrays["softpos/x"].shape
    close(distances_to_edges((h, w)), state["grid"][0])
    embedding = SoftPositionEmbedding(dim, (h, w))
    embedding.linear.weight.copy_(state["embedding.weight"])
    embedding.linear.bias.copy_(state["embedding.bias"])
    close(embedding(arrays["softpos/x"]), arrays["softpos/out"])


@torch.no_grad()
def test_vector_quantizer(arrays):
    x, entries = arrays["vqvae/x"], arrays["vqvae/sd/codebook.embedding.weight"]
    stride = x.shape[-1] // arrays["vqvae/z_e"].shape[-1]
    quantizer = VectorQuantizer(VectorQuantizerConfig(*entries.shape, stride))
    names = {r"codebook\.embedding\.weight": "codebook.entries"}
    state = renamed(weights(arrays, "vqvae"), names)
    # the blocks of ours leave out the first ReLU, which has no weights
    state = {
        re.sub(r"block\.(\d+)", lambda match: f"body.{int(match[1]) - 1}", key): value
        for key, value in state.items()
    }
    quantizer.load_state_dict(state)
    out = quantizer.eval()(x)
    close(out.reconstruction, arrays["vqvae/recon"])
    close(out.encoding, arrays["vqvae/z_e"])
    close(out.codes, arrays["vqvae/z_q"])
    assert torch.equal(out.indices, arrays["vqvae/latents"])
    losses = code_discovery_losses(
        CodeDiscoveryOutput(None, None, out.codes[None], x, out, None), entries
    )
    close(losses["distinct_codes"], arrays["vqvae/token_loss"])
