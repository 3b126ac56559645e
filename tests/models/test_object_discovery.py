"""Object discovery: what its parts promise, and that the whole learns to tell things apart."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from vdit.models.probes.code_discovery import (
    CodeDiscovery,
    CodeDiscoveryConfig,
    CodeLossWeights,
    code_discovery_losses,
    weighted_sum,
)
from vdit.models.probes.conv_gru import ConvGru
from vdit.models.probes.slot_attention import SlotAttention, SlotAttentionConfig
from vdit.models.probes.slot_decoder import SlotDecoder, SlotDecoderConfig
from vdit.models.probes.slots import fit_to_grid
from vdit.models.probes.vector_quantizer import Codebook, VectorQuantizer, VectorQuantizerConfig

pytestmark = pytest.mark.usefixtures("seeded")

SLOTS = SlotAttentionConfig(num_slots=4, dim=16, hidden_dim=24, num_heads=2)
TINY = CodeDiscoveryConfig(
    channels=6,
    size=(4, 5),
    attention=SLOTS,
    decoder=SlotDecoderConfig(num_heads=2, head_dim=8, mlp_ratio=2),
    quantizer=VectorQuantizerConfig(num_codes=8, dim=16),
)
B, T, K = 2, 3, 4


@pytest.fixture
def head():
    return CodeDiscovery(TINY).eval()


@pytest.fixture
def clip(generator):
    features = torch.randn(B, T, 6, 4, 5, generator=generator)
    return features, torch.rand(B, T, 3, 32, 40, generator=generator)


def losses_of(head, output):
    return code_discovery_losses(output, head.quantizer.codebook.entries)


# ---- the recurrent network ---------------------------------------------------------------------


def test_conv_gru_equals_its_equations(generator):
    gru = ConvGru(3, 4, num_layers=1).double()
    x = torch.randn(2, 3, 3, 5, 6, generator=generator, dtype=torch.float64)
    (layer,) = gru.layers
    wx, wu = layer.from_input.weight, layer.gates.weight
    hidden = torch.zeros(2, 4, 5, 6, dtype=torch.float64)
    for t in range(3):
        r, u, c = (
            F.conv2d(x[:, t], w, b, padding=1)
            for w, b in zip(wx.chunk(3), layer.from_input.bias.chunk(3), strict=True)
        )
        reset = torch.sigmoid(r + F.conv2d(hidden, wu[:4], padding=1))
        update = torch.sigmoid(u + F.conv2d(hidden, wu[4:], padding=1))
        new = torch.tanh(c + F.conv2d(reset * hidden, layer.candidate.weight, padding=1))
        hidden = (1 - update) * hidden + update * new
    torch.testing.assert_close(gru(x)[0][:, -1], hidden)


def test_conv_gru_does_not_see_the_future(generator):
    gru = ConvGru(3, 4)
    x = torch.randn(1, 4, 3, 5, 5, generator=generator)
    changed = x.clone()
    changed[:, 2] += 1
    before, after = gru(x)[0], gru(changed)[0]
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 3], after[:, 3])


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match="expected an odd kernel_size, got 4"):
        ConvGru(3, 4, kernel_size=4)


# ---- slot attention ----------------------------------------------------------------------------


def test_slots_follow_a_permutation_of_their_initial_values(generator):
    attention = SlotAttention(SLOTS)
    tokens = torch.randn(B, T, 20, 16, generator=generator)
    initial = torch.randn(B, K, 16, generator=generator)
    order = torch.tensor([2, 0, 3, 1])
    for start in (None, initial):
        plain = attention(tokens, start)
        if start is None:
            attention.initial.copy_(attention.initial[order])
        moved = attention(tokens, None if start is None else start[:, order])
        torch.testing.assert_close(moved.slots, plain.slots[:, :, order])
        torch.testing.assert_close(moved.masks, plain.masks[:, :, order])
        torch.testing.assert_close(moved.next_slots, plain.next_slots[:, order])


def test_slots_do_not_care_for_the_order_of_cells(generator):
    attention = SlotAttention(SLOTS)
    tokens = torch.randn(B, T, 20, 16, generator=generator)
    order = torch.randperm(20, generator=generator)
    plain, moved = attention(tokens), attention(tokens[:, :, order])
    torch.testing.assert_close(moved.slots, plain.slots)
    torch.testing.assert_close(moved.masks, plain.masks[..., order])


@pytest.mark.parametrize("rounds", [1, 3])
def test_the_first_frame_of_a_video_has_one_round_more(generator, rounds):
    attention = SlotAttention(replace(SLOTS, rounds=rounds))
    tokens = torch.randn(B, T, 20, 16, generator=generator)
    keys, values = attention.step.keys_and_values(tokens)
    slots = attention.initial.expand(B, -1, -1)
    slots, _ = attention.step(keys[:, 0], values[:, 0], slots)
    for t in range(T):
        for _ in range(rounds):
            slots, masks = attention.step(keys[:, t], values[:, t], slots)
        torch.testing.assert_close(attention(tokens).slots[:, t], slots)
        torch.testing.assert_close(attention(tokens).masks[:, t], masks)
        slots = attention.predictor(slots)


def test_initial_slots_learn_only_where_asked_to():
    names = [name for name, _ in SlotAttention(SLOTS).named_parameters()]
    assert "initial" not in names
    assert "initial" in SlotAttention(SLOTS).state_dict()
    trained = SlotAttentionConfig(num_heads=2, initial_slots="trained")
    assert "initial" in dict(SlotAttention(trained).named_parameters())


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match="expected dim to be a multiple of num_heads=8, got 20"):
        SlotAttention(SlotAttentionConfig(dim=20))


# ---- decoder and autoencoder -------------------------------------------------------------------


def test_decoder_reads_slots_as_a_set(generator):
    decoder = SlotDecoder(20, 16, TINY.decoder).eval()
    slots = torch.randn(B, T, K, 16, generator=generator)
    decoded = decoder(slots)
    assert decoded.shape == (B, T, 20, 16)
    torch.testing.assert_close(decoder(slots.flip(2)), decoded)
    assert decoded.std(dim=2).min() > 0  # cells differ


def test_codes_are_the_nearest_entries(generator):
    codebook = Codebook(8, 16)
    torch.nn.init.normal_(codebook.entries, std=2.0)  # lengths matter
    encoding = torch.randn(3, 16, 4, 5, generator=generator)
    codes, indices = codebook(encoding)
    cells = encoding.movedim(1, -1)
    expected = torch.cdist(cells.flatten(0, 2), codebook.entries).argmin(1).view(3, 4, 5)
    assert torch.equal(indices, expected)
    assert torch.equal(codes.movedim(1, -1), codebook.entries[indices])


def test_gradients_pass_the_codebook_by(generator):
    quantizer = VectorQuantizer(VectorQuantizerConfig(8, 16)).eval()
    out = quantizer(2 * torch.rand(2, 3, 32, 32, generator=generator) - 1)
    (through,) = torch.autograd.grad(out.reconstruction.sum(), out.encoding, retain_graph=True)
    assert through.abs().max() > 0
    reached = torch.autograd.grad(
        out.reconstruction.sum(), quantizer.codebook.entries, allow_unused=True
    )
    assert reached == (None,)


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_autoencoder_at_every_stride(stride, generator):
    quantizer = VectorQuantizer(VectorQuantizerConfig(8, 16, stride)).eval()
    out = quantizer(torch.rand(2, 3, 32, 48, generator=generator))
    assert out.reconstruction.shape == (2, 3, 32, 48)
    assert out.encoding.shape == out.codes.shape == (2, 16, 32 // stride, 48 // stride)
    assert out.reconstruction.abs().max() <= 1


@pytest.mark.parametrize("stride", [0, 1, 2, 6])
def test_other_strides_are_refused(stride):
    with pytest.raises(ValueError, match="expected stride 4, 8, 16"):
        VectorQuantizer(VectorQuantizerConfig(stride=stride))


def test_images_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="multiples of 8, got 32 x 30"):
        VectorQuantizer(VectorQuantizerConfig(8, 16))(torch.zeros(1, 3, 32, 30))


# ---- the head ----------------------------------------------------------------------------------


@torch.no_grad()
def test_shapes_and_shares(head, clip):
    output = head(*clip)
    assert output.masks.shape == (B, T, K, 4, 5)
    assert output.slots.shape == (B, T, K, 16)
    assert output.decoded.shape == (B, T, 16, 4, 5)
    assert output.decoded.flatten(0, 1).shape == output.quantized.codes.shape
    assert output.images.shape == (B * T, 3, 32, 40)
    torch.testing.assert_close(output.images, 2 * clip[1].flatten(0, 1) - 1)
    torch.testing.assert_close(output.masks.sum(2), torch.ones(B, T, 4, 5))
    assert torch.equal(head.segment(clip[0])[0], output.masks)


@torch.no_grad()
def test_a_batch_equals_its_clips(head, clip):
    features, frames = clip
    together = head(features, frames)
    for i in range(B):
        alone = head(features[i : i + 1], frames[i : i + 1])
        for name in ("masks", "slots", "decoded"):
            torch.testing.assert_close(getattr(alone, name)[0], getattr(together, name)[i])


@torch.no_grad()
def test_a_video_in_two_clips_equals_the_video(head, clip):
    features, _ = clip
    whole, state = head.segment(features)
    first, carried = head.segment(features[:, :1])
    second, last = head.segment(features[:, 1:], carried)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(last, state)


def test_gradients_reach_every_parameter(head, clip):
    losses = losses_of(head, head(*clip))
    assert set(losses) == set(vars(CodeLossWeights()))
    weighted_sum(losses, CodeLossWeights()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_each_term_moves_its_side_only(head, clip):
    losses = losses_of(head, head(*clip))
    parts = {
        "slots": head.encoder.recurrent.layers[0].candidate.weight,
        "codes": head.quantizer.codebook.entries,
        "encoder": head.quantizer.encoder[0].weight,
    }
    moved = {
        name: {
            part
            for part, weight in parts.items()
            if torch.autograd.grad(loss, weight, retain_graph=True, allow_unused=True)[0]
            is not None
        }
        for name, loss in losses.items()
    }
    assert moved == {
        "image": {"encoder"},
        "codebook": {"codes"},
        "commitment": {"encoder"},
        "decoded": {"slots"},
        "codes_to_slots": {"codes"},
        "distinct_codes": {"codes"},
    }


def test_losses_are_means_of_squares(head, clip):
    output = head(*clip)
    losses = losses_of(head, output)
    difference = output.quantized.encoding - output.quantized.codes
    assert losses["codebook"].item() == pytest.approx(difference.square().mean().item())
    assert losses["commitment"].item() == pytest.approx(losses["codebook"].item())
    total = weighted_sum(losses, CodeLossWeights(distinct_codes=0.5))
    plain = weighted_sum(losses, CodeLossWeights(distinct_codes=0.0))
    assert (total - plain).item() == pytest.approx(0.5 * losses["distinct_codes"].item(), abs=1e-5)


@torch.no_grad()
def test_other_sizes_are_brought_to_the_grid(head, clip, generator):
    features, frames = clip
    constant = torch.randn(B, T, 6, 1, 1, generator=generator)
    fitted = fit_to_grid(constant.expand(-1, -1, -1, 8, 15), 6, (4, 5))
    torch.testing.assert_close(fitted, constant.expand(-1, -1, -1, 4, 5))
    output = head(F.interpolate(features, scale_factor=(1, 2, 2)), frames[..., ::2, ::2])
    assert output.masks.shape == (B, T, K, 4, 5)
    assert output.images.shape == (B * T, 3, 32, 40)


@pytest.mark.parametrize("shape", [(2, 3, 7, 4, 5), (2, 0, 6, 4, 5), (3, 6, 4, 5)])
def test_features_that_do_not_fit_are_refused(head, shape):
    with pytest.raises(ValueError, match=r"expected features \[B, T, 6, h, w\]"):
        head.segment(torch.zeros(shape))


def test_frames_that_do_not_fit_are_refused(head, clip):
    with pytest.raises(ValueError, match=r"expected frames \[2, 3, 3, H, W\]"):
        head(clip[0], clip[1][:, :2])


def test_codes_must_be_as_wide_as_slots():
    with pytest.raises(ValueError, match=r"got quantizer.dim=64 and attention.dim=16"):
        CodeDiscoveryConfig(attention=SLOTS)
