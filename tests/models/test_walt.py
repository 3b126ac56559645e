"""WALT: who sees whom, what the two variants share, sizes as published."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests.models.tiny_walt import NETWORK, lively, walt, walt_network
from vdit.models.backbones.walt import walt_schedule
from vdit.models.backbones.walt_attention import ConditionAttention, WindowAttention
from vdit.models.backbones.walt_transformer import WALT_L, WALT_XL, Walt
from vdit.models.backbones.walt_windows import RelativeBias, Tiling, Window

T5_XXL = 4096
PUBLISHED = {
    "L": (WALT_L, 313),
    "L without LoRA": (replace(WALT_L, lora_rank=None), 460),
    "XL": (WALT_XL, 460),
    "L with prompts": (replace(WALT_L, num_classes=None, text_dim=T5_XXL), 419),
}
"""Configuration, millions of parameters in Tables 1 and 4 of the paper."""
WINDOWS = [Window(1, 4, 4), Window(3, 2, 2), Window(2, 3, 2)]
SIZE = 3, 4, 6


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_those_of_the_paper(name):
    config, millions = PUBLISHED[name]
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in Walt(config).parameters())
    assert abs(count / 1e6 / millions - 1) < 0.005


# ---- windows -------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("size", [SIZE, (1, 4, 4), (3, 5, 7), (2, 1, 3)])
def test_joining_undoes_splitting(window, size, generator):
    cells = torch.randn(2, *size, 5, generator=generator)
    tiling = Tiling(window, size)
    windows = tiling.split(cells)
    assert windows.shape[1] == tiling.window.cells
    assert torch.equal(tiling.join(windows), cells)
    inside = tiling.inside(torch.device("cpu"))
    held = windows.shape[0] * windows.shape[1] if inside is None else 2 * int(inside.sum())
    assert held == cells[..., 0].numel()


def same_window(window, size):
    """Which cells share a window, [N, N], from their coordinates."""
    places = torch.cartesian_prod(*(torch.arange(side) for side in size))
    homes = places // torch.tensor(window)
    return (homes[:, None] == homes[None]).all(-1), places


def slow_attention(layer, cells):
    """Attention over all cells at once, under the mask of `same_window`, offsets spelled out."""
    size = cells.shape[1:4]
    mask, places = same_window(layer.window, size)
    query, key, value = (
        each.flatten(1, 3).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
        for each in layer.qkv(cells).chunk(3, dim=-1)
    )
    logits = layer.query_norm(query) @ layer.key_norm(key).transpose(-1, -2)
    logits = logits / query.shape[-1] ** 0.5
    most = layer.bias.largest
    for i, j in mask.nonzero().tolist():
        dt, dy, dx = (
            int(a - b) + side - 1 for a, b, side in zip(places[i], places[j], most, strict=True)
        )
        bias = layer.bias.time[:, dt] + layer.bias.space[:, dy, dx]
        logits[:, :, i, j] = logits[:, :, i, j] + bias
    weights = logits.masked_fill(~mask, float("-inf")).softmax(-1)
    return layer.out((weights @ value).transpose(1, 2).flatten(2)).view(cells.shape)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("size", [(3, 4, 4), (3, 3, 5)])
def test_attention_equals_the_slow_form(window, size, generator):
    layer = lively(WindowAttention(8, 2, window, Window(3, 4, 4))).double()
    cells = torch.randn(2, *size, 8, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(layer(cells, [False, False]), slow_attention(layer, cells))


@pytest.mark.parametrize("kind", [WindowAttention, ConditionAttention])
@pytest.mark.parametrize("window", WINDOWS)
def test_cells_outside_of_a_window_have_zero_gradient(kind, window, generator):
    options = (Window(3, 4, 4),) if kind is WindowAttention else ()
    layer = lively(kind(8, 2, window, *options))
    condition = () if options else (torch.randn(1, 5, 8, generator=generator),)
    cells = torch.randn(1, *SIZE, 8, generator=generator, requires_grad=True)
    mask, _ = same_window(window, SIZE)
    found = layer(cells, *condition, [False]).flatten(1, 3)
    for i in range(0, len(mask), 7):
        (gradient,) = torch.autograd.grad(found[0, i].square().sum(), cells, retain_graph=True)
        sees = gradient.flatten(1, 3)[0].abs().sum(-1) > 0
        assert torch.equal(sees, mask[i])


def test_bias_covers_the_whole_table_and_turns_with_the_offset():
    bias = RelativeBias(1, Window(2, 3, 3))
    with torch.no_grad():
        bias.space.copy_(torch.arange(25.0).view(1, 5, 5))
        bias.time.copy_(torch.tensor([[100.0, 200.0, 300.0]]))
    found = bias(Window(2, 3, 3))[0]
    assert found.shape == (18, 18)
    assert found[0, 0] == 200 + 12  # no offset
    assert found[9, 0] == 300 + 12  # one frame later
    assert found[0, 8] == 200 + 0  # two rows and columns before
    assert found[8, 0] == 200 + 24


# ---- pictures ------------------------------------------------------------------------------------


def identity_masked(layer, cells, condition):
    """The condition's attention with the identity mask written out."""
    B = len(cells)
    query = layer.query(cells).flatten(1, 3)
    key_value = torch.cat([layer.key_value(cells).flatten(1, 3), layer.key_value(condition)], 1)
    key, value = (layer.split_heads(each) for each in key_value.chunk(2, dim=-1))
    N = query.shape[1]
    mask = torch.cat([torch.eye(N).bool(), torch.ones(N, condition.shape[1]).bool()], dim=1)
    mixed = F.scaled_dot_product_attention(
        layer.query_norm(layer.split_heads(query)), layer.key_norm(key), value, mask
    )
    return layer.out(mixed.transpose(1, 2).reshape(B, *cells.shape[1:]))


def test_pictures_see_the_identity_mask(generator):
    window = Window(3, 2, 2)
    cells = torch.randn(2, *SIZE, 8, generator=generator)
    condition = torch.randn(2, 5, 8, generator=generator)
    layer = lively(ConditionAttention(8, 2, window))
    torch.testing.assert_close(
        layer(cells, condition, [True, True]), identity_masked(layer, cells, condition)
    )
    own = lively(WindowAttention(8, 2, window, Window(3, 4, 4)))
    torch.testing.assert_close(
        own(cells, [True, True]), own.out(own.qkv(cells).chunk(3, dim=-1)[2])
    )


def inputs(B, T, generator, h=5, w=6):
    return {
        "latents": torch.randn(B, T, 4, h, w, generator=generator),
        "levels": torch.randint(0, 1000, (B, T), generator=generator),
        "estimate": torch.randn(B, T, 4, h, w, generator=generator),
        "text": torch.randn(B, 6, 10, generator=generator),
    }


def rows(given, *chosen):
    return {name: value[list(chosen)] for name, value in given.items()}


def test_a_joint_batch_equals_separate_ones(generator):
    """Two clips and two rows of pictures; every picture also equals its pass alone."""
    network = walt_network()
    given = inputs(4, 3, generator)
    joint = network(**given, images=[False, True, True, False])
    clips = network(**rows(given, 0, 3))
    torch.testing.assert_close(joint[[0, 3]], clips, rtol=1e-4, atol=1e-5)
    for row in (1, 2):
        for t in range(3):
            one = {n: v[[row]] if n == "text" else v[[row], t : t + 1] for n, v in given.items()}
            alone = network(**one)
            torch.testing.assert_close(joint[[row], t : t + 1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temporal", [True, False])
def test_pictures_see_no_other_frame_and_clips_do(temporal, generator):
    network = walt_network(NETWORK if temporal else NETWORK.as_image_model())
    given = inputs(2, 3, generator)
    given["latents"].requires_grad_()
    found = network(**given, images=[False, True])
    (gradient,) = torch.autograd.grad(found[:, 0].square().sum(), given["latents"])
    reached = gradient.abs().sum(dim=(2, 3, 4)) > 0
    assert reached.tolist() == [[True, temporal, temporal], [True, False, False]]


def test_prompts_are_dropped_by_row(generator):
    network = walt_network()
    given = inputs(2, 3, generator)
    mixed = network(**given, has_text=[True, False])
    torch.testing.assert_close(mixed[:1], network(**given)[:1], rtol=1e-4, atol=1e-5)
    without = {name: value for name, value in given.items() if name != "text"}
    torch.testing.assert_close(mixed[1:], network(**without)[1:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(mixed[1:], network(**given)[1:], atol=1e-3)


def test_classes_and_their_absence(generator):
    config = replace(NETWORK, text_dim=None, num_classes=3)
    network = walt_network(config)
    given = {name: value for name, value in inputs(2, 3, generator).items() if name != "text"}
    told = network(**given, classes=torch.tensor([1, 3]))
    unknown = network(**given)
    assert not torch.allclose(told[0], unknown[0], atol=1e-3)
    torch.testing.assert_close(told[1], unknown[1])


# ---- the two variants ----------------------------------------------------------------------------


def test_both_variants_have_the_same_parameters():
    """One sequence of random numbers makes the same weights of both."""
    networks = []
    for config in (NETWORK, NETWORK.as_image_model()):
        torch.manual_seed(3)
        networks.append(Walt(config))
    video, image = (dict(network.named_parameters()) for network in networks)
    assert list(video) == list(image)
    assert all(torch.equal(video[name], image[name]) for name in video)


def test_the_variants_agree_on_space_alone(generator):
    """Give V-WALT windows of one frame and pictures: then nothing is left that differs."""
    spatial = replace(NETWORK, spacetime_window=NETWORK.space_window)
    video, image = Walt(spatial), Walt(spatial.as_image_model())
    lively(video)
    image.load_state_dict(video.state_dict())
    for block in video.blocks:
        for layer in (block.attention, block.condition_attention):
            layer.window = Window(1, *NETWORK.space_window)
    given = inputs(2, 3, generator)
    flags = [True, True]
    torch.testing.assert_close(video(**given, images=flags), image(**given))


def test_frames_of_the_image_variant_equal_frames_alone(generator):
    backbone = walt(temporal=False)
    video = torch.rand(2, 11, 3, 32, 48, generator=generator)
    noise = torch.randn(2, 11, 4, 4, 6, generator=generator)
    text = torch.randn(2, 5, 10, generator=generator)
    options = {"blocks": ["block4"], "timestep": 200}
    together = backbone.extract(video, noise=noise, text=text, **options)["block4"]
    for t in (0, 10):
        alone = backbone.extract(
            video[:, t : t + 1], noise=noise[:, t : t + 1], text=text, **options
        )["block4"]
        torch.testing.assert_close(together[:, t : t + 1], alone, rtol=1e-4, atol=1e-5)


def test_extraction_equals_the_full_forward(generator):
    """The head on the last block's features is what the network predicts."""
    backbone = walt()
    network = backbone.network
    video = torch.rand(2, 9, 3, 32, 48, generator=generator)
    latents = backbone.vae.normalize(backbone.encode(video).latent_mean)
    noise = torch.randn(latents.shape, generator=generator)
    block = list(backbone.blocks)[-1]
    cells = backbone.extract(video, blocks=[block], timestep=300, noise=noise)[block]
    states = []
    hook = network.head.register_forward_pre_hook(lambda _, given: states.append(given[0]))
    noisy = walt_schedule().add_noise(latents, 300, noise)
    network(noisy, torch.full((2,), 300.0))
    hook.remove()
    level = network.time_embedding(torch.full((2, 1), 300.0))
    shift, scale = network.last_modulation(level)[:, :, None, None].chunk(2, dim=-1)
    normal = F.layer_norm(cells.movedim(2, -1), (16,), eps=1e-6)
    torch.testing.assert_close(states[0], normal * (1 + scale) + shift, rtol=1e-4, atol=1e-5)


def test_clips_that_are_too_long():
    backbone = walt()
    with pytest.raises(ValueError, match="expected at most 13 frames, got 17; split the video"):
        backbone.extract(torch.rand(1, 17, 3, 32, 32), blocks=["block1"])
    with pytest.raises(ValueError, match=r"expected at most 4 latent frames, .* got 5"):
        backbone.network(torch.zeros(1, 5, 4, 4, 4), torch.zeros(1))
