"""Memory of living tensors, counted without running anything."""

import pytest
import torch
import torch.nn.functional as F

from vdit.backbone_loading.random_weights import random_backbone
from vdit.benchmarking.feature_cases import FeatureCase
from vdit.benchmarking.feature_counts import count
from vdit.benchmarking.live_tensors import FusedAttention, LiveTensors


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_peak_counts_what_is_alive_at_once(device):
    weight = torch.ones(1000, device=device)  # 4000 bytes
    with LiveTensors([weight]) as live:
        first = weight + 1  # 4000
        view = first.view(10, 100)  # the same memory
        del first
        second = view * 2  # 8000
        del view  # 4000
        third = torch.cat([second, second])  # 12000
        assert live.peak == 12000
        del second, third
        live.restart_peak()
        assert live.peak == 0
        weight.view(10, 100).mul_(2)  # no memory of its own
        assert live.peak == 0
        last = weight.double()
    assert live.peak == 8000
    del last


def test_attention_without_scores():
    query, key = torch.empty(2, 3, 50, 8, device="meta"), torch.empty(2, 3, 70, 8, device="meta")
    with FusedAttention() as attention, LiveTensors() as live:
        found = F.scaled_dot_product_attention(query, key, value=key[..., :4])
    assert found.shape == (2, 3, 50, 4)
    assert live.peak <= 4 * (found.numel() + key.numel())
    assert attention.flops == 2 * 2 * 3 * 50 * 70 * (8 + 4)
    real = torch.randn(2, 3, 5, 8)
    with FusedAttention() as attention:
        assert torch.equal(
            F.scaled_dot_product_attention(real, real, real),
            F.scaled_dot_product_attention(query=real, key=real, value=real),
        )
    assert attention.flops == 0


def test_counts_on_the_meta_device_are_those_of_a_run():
    backbone = random_backbone("dino-s16")
    video = torch.zeros(1, 2, 3, 64, 64)
    with torch.no_grad(), LiveTensors([*backbone.parameters(), *backbone.buffers()]) as live:
        backbone.extract(backbone.encode(video), blocks=["last"])
    counted = count(FeatureCase("dino-s16", "last", 2, 64, 64))
    assert counted.live_bytes == pytest.approx(live.peak, rel=0.05)


@pytest.mark.parametrize("num_frames", [6, 16])
def test_text_to_video_takes_little_more_than_text_to_image(num_frames):
    """The paper has 8.3 against 1.8 of DINOv2, weights included; it is without them here."""
    video, image = (
        count(FeatureCase(name, "up2", num_frames, 256, 256)) for name in ("modelscope", "sd-2.1")
    )
    assert video.live_bytes <= 1.1 * image.live_bytes
