"""What encoders of pixels alone promise beyond the contract of all."""

import pytest
import torch

from tests.models.tiny_vits import TINY
from vdit.models.backbones.vision_encoder import nearest_multiple


@pytest.fixture(scope="module", params=TINY)
def backbone(request):
    return TINY[request.param]()


@pytest.fixture
def video(generator):
    return torch.rand(2, 4, 3, 60, 90, generator=generator)


def features(backbone, video, *blocks):
    with torch.no_grad():
        return backbone.extract(video, blocks=blocks or list(backbone.blocks))


def grid(backbone, info, height, width):
    """Cells of a map: on the resized patch grid, or with a part of a cell at the border."""
    if hasattr(backbone, "patch_size"):
        return tuple(nearest_multiple(side, info.stride) // info.stride for side in (height, width))
    return tuple(-(-side // info.stride) for side in (height, width))


def check_shapes(backbone, video):
    B, T, _, H, W = video.shape
    for name, feature in features(backbone, video).items():
        info = backbone.blocks[name]
        frames = T // info.temporal_stride
        assert frames == backbone.num_feature_frames(T)
        assert feature.shape == (B, frames, info.channels, *grid(backbone, info, H, W)), name
        assert feature.isfinite().all()


@pytest.mark.parametrize("size", [(480, 854), (256, 256), (512, 896)])
def test_sizes_that_are_no_multiples(backbone, size):
    T = backbone.frame_multiple
    check_shapes(backbone, torch.rand(1, T, 3, *size))


def test_frames_see_each_other_where_the_backbone_says_so(backbone, video):
    before = features(backbone, video, "last")["last"]
    video[:, -1] = 1 - video[:, -1]
    change = (features(backbone, video, "last")["last"] - before).abs().mean(dim=(0, 2, 3, 4))
    assert change[-1] > 1e-3
    assert bool(change[0] > 1e-6) == backbone.temporal


def test_encoded_frames_are_normalized_and_shared(backbone, video):
    encoded = backbone.encode(video)
    assert encoded.size == (60, 90)
    assert encoded.num_frames == 4
    first, again = features(backbone, encoded), features(backbone, video)
    assert all(torch.equal(first[name], again[name]) for name in first)
    part = features(backbone, encoded.select_frames(slice(0, 2)), "last")["last"]
    alone = features(backbone, video[:, :2], "last")["last"]
    torch.testing.assert_close(part, alone, rtol=1e-4, atol=1e-4)


def test_half_precision(backbone, video):
    try:
        low = features(backbone.to(torch.bfloat16), video, "last")["last"]
    finally:
        backbone.to(torch.float32)
    assert low.dtype == torch.bfloat16


def test_errors_say_what_to_do(backbone, video):
    with pytest.raises(ValueError, match=r"expected blocks among .*last.*; got .up9."):
        features(backbone, video, "up9")
    with pytest.raises(ValueError, match=r"expected a video \[B, T, 3, H, W\], got shape"):
        features(backbone, video[0])
    if backbone.frame_multiple > 1:
        with pytest.raises(ValueError, match="expected 2 n frames, got 3; repeat the last frame"):
            features(backbone, video[:, :3])
        with pytest.raises(ValueError, match="expected 2 n frames, got 3"):
            features(backbone, backbone.encode(video).select_frames(slice(0, 3)))


@pytest.mark.parametrize(
    ("length", "multiple", "nearest"),
    [(256, 14, 252), (512, 14, 518), (896, 14, 896), (259, 14, 266), (854, 16, 848), (3, 14, 14)],
)
def test_nearest_multiple(length, multiple, nearest):
    assert nearest_multiple(length, multiple) == nearest
