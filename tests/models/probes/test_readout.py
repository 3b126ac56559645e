"""Cross-attention readouts: published shapes, order of tokens and time, rotations, learning."""

import math

import pytest
import torch
from torch.nn import functional as F

from tests.models.probes.learning import accuracy, clips, overfit, silent_parameters
from vdit.models.probes.readout import (
    AttentionReadout,
    ClassificationReadout,
    DepthReadout,
    DepthReadoutConfig,
    PoseReadout,
    ReadoutConfig,
    nearest_rotation,
    resize_time,
)

SIZES = ReadoutConfig(channels=16, time_steps=2, width=32, num_heads=4)
DEPTH = DepthReadoutConfig(ReadoutConfig(16, 4, 32, 4), clip=(4, 8, 12), patch=(2, 4, 4))
HEADS = {
    "classes": (lambda: ClassificationReadout(SIZES, 5), (12, 5)),
    "pose": (lambda: PoseReadout(SIZES), (12, 3, 4)),
    "depth": (lambda: DepthReadout(DEPTH), (12, 4, 8, 12)),
}


@pytest.fixture(params=list(HEADS))
def head_and_shape(request):
    torch.manual_seed(0)
    build, shape = HEADS[request.param]
    return build(), shape


def test_shape_and_gradients(head_and_shape):
    head, shape = head_and_shape
    output = head(clips())
    assert output.shape == shape
    assert silent_parameters(head, output) == []


def test_order_within_frames_does_not_matter_and_of_frames_does(head_and_shape):
    head, _ = head_and_shape
    torch.nn.init.normal_(head.readout.time_encoding)
    features = clips()
    expected = head(features)
    shuffled = features.flatten(3)[..., torch.randperm(12)].unflatten(3, (3, 4))
    torch.testing.assert_close(head(shuffled), expected)
    assert (head(features.flip(1)) - expected).abs().max() > 1e-3


@torch.no_grad()
def test_equal_to_a_loop_over_queries_and_heads():
    torch.manual_seed(0)
    readout = AttentionReadout(SIZES, 3)
    features, queries = clips(batch=1), torch.randn(1, 4, 32)
    frames = [readout.norm(frame.flatten(1).T) for frame in features[0]]
    tokens = torch.cat(
        [frame + code for frame, code in zip(frames, readout.time_encoding, strict=True)]
    )
    keys, values = readout.kv(tokens).split(32, dim=1)
    answers = []
    for query in queries[0]:
        parts = []
        for start in range(0, 32, 8):
            own = slice(start, start + 8)
            weights = torch.softmax(keys[:, own] @ query[own] / math.sqrt(8), dim=0)
            parts.append(weights @ values[:, own])
        found = query + readout.proj(torch.cat(parts))
        answers.append(readout.output(found + readout.mlp(readout.mlp_norm(found))))
    torch.testing.assert_close(readout(features, queries)[0], torch.stack(answers))


def test_other_sizes_of_features_are_refused():
    with pytest.raises(ValueError, match=r"expected features \[B, 2, 16, h, w\]"):
        ClassificationReadout(SIZES, 5)(clips(steps=3))
    with pytest.raises(ValueError, match="heads divide"):
        ClassificationReadout(ReadoutConfig(16, 2, 32, 5), 5)
    for width, num_heads in ((0, 4), (32, 0)):
        with pytest.raises(ValueError, match="heads divide"):
            ClassificationReadout(ReadoutConfig(16, 2, width, num_heads), 5)


# ---- learning ----------------------------------------------------------------------------------


def test_classes_overfit():
    torch.manual_seed(0)
    head, features, labels = ClassificationReadout(SIZES, 4), clips(), torch.arange(12) % 4
    overfit(head, lambda: F.cross_entropy(head(features), labels))
    assert accuracy(head(features), labels) > 0.95


def test_poses_overfit():
    torch.manual_seed(0)
    head, features = PoseReadout(SIZES), clips()
    rotations = nearest_rotation(torch.randn(12, 3, 3))
    poses = torch.cat([rotations, torch.randn(12, 3, 1)], dim=2)
    assert overfit(head, lambda: F.mse_loss(head(features), poses), steps=200) < 1e-3
    error = (nearest_rotation(head(features)[..., :3]) - rotations).abs().max()
    assert error < 0.1


def test_depth_overfits():
    torch.manual_seed(0)
    head, features, depth = DepthReadout(DEPTH), clips(batch=3), torch.rand(3, 4, 8, 12)
    assert overfit(head, lambda: F.l1_loss(head(features), depth), steps=300) < 0.03


# ---- depth -------------------------------------------------------------------------------------


def test_published_depth_readout_has_a_query_for_each_patch():
    with torch.device("meta"):
        head = DepthReadout(DepthReadoutConfig(ReadoutConfig(1024, 16)))
        assert head.queries.shape == (1, 8 * 28 * 28, 1024)
        assert head.readout.output.out_features == 2 * 8 * 8


@torch.no_grad()
def test_each_query_answers_for_one_patch():
    torch.manual_seed(0)
    head, features = DepthReadout(DEPTH), clips(batch=1)
    before = head(features)
    head.queries[0, 1 * (2 * 3) + 0 * 3 + 2] += 1  # second run of frames, top row, third column
    changed = head(features) != before
    assert changed[0, 2:, :4, 8:].all()
    assert changed.sum() == 2 * 4 * 4


def test_patches_that_do_not_tile_are_refused():
    with pytest.raises(ValueError, match="tile the clip"):
        DepthReadout(DepthReadoutConfig(SIZES, clip=(4, 8, 10), patch=(2, 4, 4)))


# ---- time and rotations ------------------------------------------------------------------------


def test_time_keeps_as_many_steps_and_constants():
    features = clips(steps=4)
    assert torch.equal(resize_time(features, 4), features)
    still = features[:, :1].expand(-1, 4, -1, -1, -1)
    torch.testing.assert_close(resize_time(still, 16), features[:, :1].expand(-1, 16, -1, -1, -1))


def keys_kernel(x):
    """Keys' cubic kernel with a = -0.5, from the definition."""
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def test_time_is_resized_with_keys_kernel():
    features = clips(batch=1, steps=5)
    resized = resize_time(features, 16)
    for step in range(16):
        place = (step + 0.5) * 5 / 16 - 0.5
        weights = torch.tensor([keys_kernel(place - i) for i in range(5)])
        expected = (weights / weights.sum())[:, None, None, None] * features[0]
        torch.testing.assert_close(resized[0, step], expected.sum(0), rtol=1e-4, atol=1e-5)


def test_rotations_are_found_again_and_reflections_are_not_kept():
    torch.manual_seed(0)
    rotations = nearest_rotation(torch.randn(50, 3, 3, dtype=torch.float64))
    identity = torch.eye(3, dtype=torch.float64).expand(50, 3, 3)
    torch.testing.assert_close(rotations @ rotations.mT, identity)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(50, dtype=torch.float64))
    torch.testing.assert_close(nearest_rotation(3 * rotations), rotations)


def test_no_rotation_is_nearer():
    torch.manual_seed(0)
    matrix = torch.randn(20, 3, 3, dtype=torch.float64)
    found = (nearest_rotation(matrix) - matrix).square().sum((1, 2))
    others = nearest_rotation(torch.randn(2000, 1, 3, 3, dtype=torch.float64))
    assert ((others - matrix).square().sum((2, 3)) >= found).all()
