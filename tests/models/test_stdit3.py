"""STDiT3 against its equations, written a second time, slowly and on plain tensors."""

import math

import pytest
import torch

from tests.models import tiny_transformers as tiny
from vdit.models.backbones.base import BlockInfo
from vdit.models.backbones.stdit3 import STDiT3, STDiT3Config

C, HEADS, DIM = 16, 2, 8
SIZE = (48, 32)  # of the video, for latents of 6 x 4


@pytest.fixture
def network():
    """In float64, with norms that are not all ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = STDiT3(tiny.STDIT3).double().requires_grad_(False)
        for name, parameter in network.named_parameters():
            if name.endswith(("q_norm.weight", "k_norm.weight")):
                parameter.uniform_(0.5, 1.5)
    return network


@pytest.fixture
def inputs(generator):
    """Latents, time, caption, frame rate and size of two clips."""
    draw = {"generator": generator, "dtype": torch.float64}
    return (
        torch.randn(2, 4, 3, 6, 4, **draw),
        torch.tensor([49.3, 700.0]),
        torch.randn(2, 5, 10, **draw),
        torch.tensor([24.0, 8.0]),
        SIZE,
    )


# ---- the equations -----------------------------------------------------------------------------


def linear(w, name, x):
    return torch.einsum("oi,...i->...o", w[f"{name}.weight"], x) + w[f"{name}.bias"]


def gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def silu(x):
    return x / (1 + torch.exp(-x))


def norm(x):
    x = x - x.mean(-1, keepdim=True)
    return x / torch.sqrt((x**2).mean(-1, keepdim=True) + 1e-6)


def attend(query, key, value):
    """One head: [N, D], [M, D], [M, D] -> [N, D], a query at a time."""
    rows = []
    for q in query:
        weights = torch.exp(torch.stack([(q * k).sum() for k in key]) / math.sqrt(DIM))
        rows.append(((weights / weights.sum())[:, None] * value).sum(0))
    return torch.stack(rows)


def self_attention(w, name, x, rotate):
    """Of one sequence [N, C]; `rotate` turns the n-th position by n times the frequencies."""
    qkv = linear(w, f"{name}.qkv", x)
    heads = []
    for h in range(HEADS):
        parts = [qkv[:, i * C + h * DIM : i * C + (h + 1) * DIM] for i in range(3)]
        for i, letter in enumerate("qk"):
            power = (parts[i] ** 2).mean(-1, keepdim=True)
            parts[i] = parts[i] / torch.sqrt(power + 1e-6) * w[f"{name}.{letter}_norm.weight"]
            if rotate:
                pairs = torch.complex(parts[i][:, 0::2], parts[i][:, 1::2])
                for n in range(len(x)):
                    for j in range(DIM // 2):
                        angle = torch.tensor(n * 10000 ** (-2 * j / DIM), dtype=torch.float64)
                        pairs[n, j] *= torch.polar(torch.ones_like(angle), angle)
                parts[i] = torch.view_as_real(pairs).reshape(len(x), DIM)
        heads.append(attend(*parts))
    return linear(w, f"{name}.proj", torch.cat(heads, dim=-1))


def cross_attention(w, name, x, context):
    query, kv = linear(w, f"{name}.q_linear", x), linear(w, f"{name}.kv_linear", context)
    heads = []
    for h in range(HEADS):
        own = slice(h * DIM, (h + 1) * DIM)
        heads.append(attend(query[:, own], kv[:, :C][:, own], kv[:, C:][:, own]))
    return linear(w, f"{name}.proj", torch.cat(heads, dim=-1))


def block(w, name, x, context, modulation, temporal):
    """One block for one clip: x [T, S, C], context [L, C], modulation [6, C]."""
    table = w[f"{name}.scale_shift_table"] + modulation
    moved = norm(x) * (1 + table[1]) + table[0]
    if temporal:
        cells = [self_attention(w, f"{name}.attn", moved[:, s], True) for s in range(x.shape[1])]
        change = torch.stack(cells, dim=1)
    else:
        change = torch.stack([self_attention(w, f"{name}.attn", frame, False) for frame in moved])
    x = x + table[2] * change
    x = x + torch.stack([cross_attention(w, f"{name}.cross_attn", each, context) for each in x])
    moved = norm(x) * (1 + table[4]) + table[3]
    hidden = gelu(linear(w, f"{name}.mlp.fc1", moved))
    return x + table[5] * linear(w, f"{name}.mlp.fc2", hidden)


def embed_number(w, name, value):
    rates = [10000 ** (-i / 128) for i in range(128)]
    waves = [math.cos(value * r) for r in rates] + [math.sin(value * r) for r in rates]
    hidden = silu(linear(w, f"{name}.mlp.0", torch.tensor(waves, dtype=torch.float64)))
    return linear(w, f"{name}.mlp.2", hidden)


def position(row, column, rows, columns):
    base = round(math.sqrt(rows * columns))
    scale = math.sqrt(SIZE[0] * SIZE[1]) / 64
    values = []
    for place in (column / scale * base / columns, row / scale * base / rows):
        angles = [place * 10000 ** (-2 * i / (C // 2)) for i in range(C // 4)]
        values += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    return torch.tensor(values, dtype=torch.float64)


def whole_network(w, latents, time, caption, fps):
    """All block outputs [T, S, C] of one clip, and the prediction [2 * 4, T, h, w]."""
    _, T, h, width = latents.shape
    condition = embed_number(w, "t_embedder", time) + embed_number(w, "fps_embedder", fps)
    modulation = linear(w, "t_block.1", silu(condition)).reshape(6, C)
    hidden = gelu(linear(w, "y_embedder.y_proj.fc1", caption))
    context = linear(w, "y_embedder.y_proj.fc2", hidden)
    kernel = w["x_embedder.proj.weight"][:, :, 0]
    x = torch.empty(T, h * width // 4, C, dtype=torch.float64)
    for t in range(T):
        for i in range(h // 2):
            for j in range(width // 2):
                patch = latents[:, t, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                token = torch.einsum("ocyx,cyx->o", kernel, patch) + w["x_embedder.proj.bias"]
                x[t, i * width // 2 + j] = token + position(i, j, h // 2, width // 2)
    outputs = []
    for k in range(tiny.STDIT3.depth):
        x = block(w, f"spatial_blocks.{k}", x, context, modulation, temporal=False)
        x = block(w, f"temporal_blocks.{k}", x, context, modulation, temporal=True)
        outputs.append(x)
    shift, scale = w["final_layer.scale_shift_table"] + condition
    patches = linear(w, "final_layer.linear", norm(x) * (1 + scale) + shift)
    result = torch.empty(8, T, h, width, dtype=torch.float64)
    for i in range(h):
        for j in range(width):
            within = ((i % 2) * 2 + j % 2) * 8
            cell = patches[:, (i // 2) * (width // 2) + j // 2, within : within + 8]
            result[:, :, i, j] = cell.T
    return outputs, result


# ---- tests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("temporal", [False, True])
def test_block_equals_its_equations(network, temporal, generator):
    draw = {"generator": generator, "dtype": torch.float64}
    x, context = torch.randn(2, 3, 6, C, **draw), torch.randn(2, 5, C, **draw)
    modulation = torch.randn(2, 6, C, **draw)
    name = "temporal_blocks.1" if temporal else "spatial_blocks.1"
    angles = torch.arange(3)[:, None] * network.rope.freqs if temporal else None
    found = network.get_submodule(name)(x, context, modulation, angles)
    w = network.state_dict()
    expected = [
        block(w, name, *each, temporal) for each in zip(x, context, modulation, strict=True)
    ]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-6)


def test_network_equals_its_equations(network, inputs):
    latents, time, caption, fps, _ = inputs
    blocks = [tokens for _, tokens in network.walk(*inputs)]
    prediction = network(*inputs)
    w = network.state_dict()
    for b in range(2):
        outputs, result = whole_network(w, latents[b], float(time[b]), caption[b], float(fps[b]))
        for found, expected in zip(blocks, outputs, strict=True):
            torch.testing.assert_close(found[b], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(prediction[b], result, rtol=1e-4, atol=1e-5)


def test_without_temporal_blocks_frames_are_images(inputs):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = STDiT3(tiny.STDIT3, temporal_layers=False).double()
    latents, *others = inputs
    order = [2, 0, 1]
    with torch.no_grad():
        tokens = dict(network.walk(latents, *others))["block3"]
        turned = dict(network.walk(latents[:, :, order], *others))["block3"]
        single = dict(network.walk(latents[:, :, 1:2], *others))["block3"]
    torch.testing.assert_close(turned, tokens[:, order])
    torch.testing.assert_close(single, tokens[:, 1:2])


def test_temporal_blocks_know_the_order_of_frames(network, inputs):
    latents, *others = inputs
    tokens = dict(network.walk(latents, *others))["block3"]
    turned = dict(network.walk(latents.flip(2), *others))["block3"]
    assert (turned.flip(1) - tokens).abs().max() > 1e-3


BLOCK_SHAPES = {
    "scale_shift_table": (6, 16),
    "attn.qkv.weight": (48, 16),
    "attn.qkv.bias": (48,),
    "attn.q_norm.weight": (8,),
    "attn.k_norm.weight": (8,),
    "attn.proj.weight": (16, 16),
    "attn.proj.bias": (16,),
    "cross_attn.q_linear.weight": (16, 16),
    "cross_attn.q_linear.bias": (16,),
    "cross_attn.kv_linear.weight": (32, 16),
    "cross_attn.kv_linear.bias": (32,),
    "cross_attn.proj.weight": (16, 16),
    "cross_attn.proj.bias": (16,),
    "mlp.fc1.weight": (64, 16),
    "mlp.fc1.bias": (64,),
    "mlp.fc2.weight": (16, 64),
    "mlp.fc2.bias": (16,),
}
SHAPES = {
    "rope.freqs": (4,),
    "x_embedder.proj.weight": (16, 4, 1, 2, 2),
    "x_embedder.proj.bias": (16,),
    "t_embedder.mlp.0.weight": (16, 256),
    "t_embedder.mlp.0.bias": (16,),
    "t_embedder.mlp.2.weight": (16, 16),
    "t_embedder.mlp.2.bias": (16,),
    "fps_embedder.mlp.0.weight": (16, 256),
    "fps_embedder.mlp.0.bias": (16,),
    "fps_embedder.mlp.2.weight": (16, 16),
    "fps_embedder.mlp.2.bias": (16,),
    "t_block.1.weight": (96, 16),
    "t_block.1.bias": (96,),
    "y_embedder.y_embedding": (6, 10),
    "y_embedder.y_proj.fc1.weight": (16, 10),
    "y_embedder.y_proj.fc1.bias": (16,),
    "y_embedder.y_proj.fc2.weight": (16, 16),
    "y_embedder.y_proj.fc2.bias": (16,),
    "final_layer.scale_shift_table": (2, 16),
    "final_layer.linear.weight": (32, 16),
    "final_layer.linear.bias": (32,),
}


def test_names_and_shapes_of_the_released_checkpoint(network):
    expected = dict(SHAPES)
    for k in range(3):
        for kind in ("spatial", "temporal"):
            expected |= {f"{kind}_blocks.{k}.{n}": shape for n, shape in BLOCK_SHAPES.items()}
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == expected


def test_published_configuration():
    """The page of hpcai-tech/OpenSora-STDiT-v3 gives 1.21 B parameters."""
    with torch.device("meta"):
        network = STDiT3(STDiT3Config())
    total = sum(value.numel() for value in network.state_dict().values())
    assert round(total / 1e9, 2) == 1.21
    backbone = tiny.OpenSoraBackbone(network, tiny.open_sora().vae)
    assert list(backbone.blocks) == [f"block{k}" for k in range(1, 29)]
    assert set(backbone.blocks.values()) == {BlockInfo(1152, 16, 4)}
