"""Every head under autocast and in half precision: finite, near single precision, no warnings."""

import pytest
import torch

from tests.models.probes.learning import clips
from vdit.models.probes.attentive import AttentiveConfig, AttentiveProbe
from vdit.models.probes.dense import DenseConfig, DenseHead, LinearDenseHead
from vdit.models.probes.pixel_readout import PixelReadout, pixel_centers
from vdit.models.probes.pooled import PooledProbe
from vdit.models.probes.query_readout import (
    BoxReadout,
    BoxReadoutConfig,
    PointReadout,
    PointReadoutConfig,
)
from vdit.models.probes.query_transformer import QueryTransformerConfig
from vdit.models.probes.readout import (
    ClassificationReadout,
    DepthReadout,
    DepthReadoutConfig,
    PoseReadout,
    ReadoutConfig,
)
from vdit.models.probes.track_readout import BoxTrackReadout, PointTrackReadout

SIZES = ReadoutConfig(16, 2, 32, 4)
QUERIES = QueryTransformerConfig(16, 32, 2, 4, 48)
POINTS, BOXES, SIZE = torch.rand(2, 3, 2), torch.rand(2, 3, 4), (8, 12)
CASES = {
    "pooled": (lambda: PooledProbe(16, 3), ()),
    "attentive": (lambda: AttentiveProbe(AttentiveConfig(16, 3, 4)), ()),
    "classes": (lambda: ClassificationReadout(SIZES, 3), ()),
    "pose": (lambda: PoseReadout(SIZES), ()),
    "depth": (lambda: DepthReadout(DepthReadoutConfig(SIZES, (4, 8, 8), (2, 4, 4))), ()),
    "points": (lambda: PointReadout(PointReadoutConfig(SIZES, 4)), (POINTS,)),
    "boxes": (lambda: BoxReadout(BoxReadoutConfig(SIZES, 4)), (BOXES,)),
    "point tracks": (lambda: PointTrackReadout(QUERIES), (POINTS,)),
    "box tracks": (lambda: BoxTrackReadout(QUERIES), (BOXES,)),
    "pixels": (lambda: PixelReadout(QUERIES), (pixel_centers(2, 3),)),
    "dense": (lambda: DenseHead(DenseConfig(16, 3, 8)), (SIZE,)),
    "linear dense": (lambda: LinearDenseHead(16, 3), (SIZE,)),
}


def tensor(output):
    return output if isinstance(output, torch.Tensor) else output.points


@pytest.mark.parametrize("name", CASES)
def test_half_precision(name):
    torch.manual_seed(0)
    build, inputs = CASES[name]
    head, features = build(), clips(batch=2)
    expected = tensor(head(features, *inputs))
    tolerance = {"rtol": 0.05, "atol": 0.05, "check_dtype": False}
    with torch.autocast("cpu", torch.bfloat16):
        mixed = tensor(head(features, *inputs))
    torch.testing.assert_close(mixed, expected, **tolerance)
    mixed.float().sum().backward()
    half = tensor(head.bfloat16()(features.bfloat16(), *inputs))
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half, expected, **tolerance)
