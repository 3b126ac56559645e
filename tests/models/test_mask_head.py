"""The dynamic mask head against a loop over queries, and what the mask decoder keeps."""

import torch
from torch.nn import functional as F

from vdit.models.mask_head import DynamicMaskHead, MaskDecoder, _lay_out, sum_levels


def slow_maps(head, states, centers, features, sizes):
    """One grouped convolution for each query, from the definition."""
    N, Q, C = states.shape
    h, w = features.shape[-2:]
    maps = []
    for n in range(N):
        for q in range(Q):
            weights = head.controller(states[n, q])
            w0, w1, b0, b1 = weights.split(head.sizes)
            y, x = torch.meshgrid(torch.arange(h) * 8 + 4, torch.arange(w) * 8 + 4, indexing="ij")
            height, width = sizes[n]
            dx, dy = centers[n, q, 0] * width - x, centers[n, q, 1] * height - y
            inputs = torch.cat([features[n], dx[None], dy[None]])[None]
            hidden = F.conv2d(inputs, w0.view(16, C + 2, 1, 1), b0).relu()
            maps.append(F.conv2d(hidden, w1.view(16, 16, 1, 1), b1)[0])
    return torch.stack(maps).view(N, Q, 16, h, w)


def test_equal_to_a_loop_over_queries():
    torch.manual_seed(0)
    head = DynamicMaskHead(dim=24)
    states, centers = torch.randn(2, 3, 24), torch.rand(2, 3, 2)
    features, sizes = torch.randn(2, 24, 4, 6), torch.tensor([[30, 45], [32, 48]])
    expected = slow_maps(head, states, centers, features, sizes)
    torch.testing.assert_close(
        head(states, centers, features, sizes), expected, rtol=1e-4, atol=1e-4
    )


def test_untouched_by_a_silent_decoder():
    decoder = MaskDecoder(fine_dim=8, finest_dim=4)
    for layer in (decoder.conv2_8, decoder.conv2_4):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    maps = torch.full((1, 16, 3, 5), 2.5)
    logits = decoder(maps, torch.randn(1, 8, 3, 5), torch.randn(1, 4, 6, 10))
    assert logits.shape == (1, 24, 40)
    assert (logits == 2.5).all()


def test_levels_are_summed_at_the_finest_size():
    total = sum_levels([torch.ones(1, 2, 8, 8), torch.ones(1, 2, 4, 4), torch.ones(1, 2, 2, 2)])
    torch.testing.assert_close(total, torch.full((1, 2, 8, 8), 3.0))


def test_the_layout_is_that_of_pixel_shuffle():
    maps = torch.randn(3, 16, 5, 6)
    assert torch.equal(_lay_out(maps), torch.pixel_shuffle(maps, 4).squeeze(1))


def test_no_mask_at_all_gives_zero_gradients():
    decoder = MaskDecoder(16, 8, 4)
    maps = torch.randn(2, 16, 4, 6, requires_grad=True)
    fine, finest = torch.randn(2, 8, 4, 6), torch.randn(2, 4, 8, 12)
    none = torch.zeros(0, dtype=torch.long)
    logits = decoder(maps[none], fine[none], finest[none])
    assert logits.shape == (0, 32, 48)
    logits.sum().backward()
    for gradient in (maps.grad, *(parameter.grad for parameter in decoder.parameters())):
        assert gradient is not None
        assert not gradient.any()
