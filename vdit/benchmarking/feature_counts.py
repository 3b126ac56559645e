"""Products, parameters and memory of a backbone up to a block, counted without running it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from vdit.backbone_loading.random_weights import random_backbone
from vdit.benchmarking.feature_cases import READS_PIXELS_WITH_PIL, FeatureCase, make_inputs
from vdit.benchmarking.live_tensors import FusedAttention, LiveTensors


@dataclass(frozen=True)
class FeatureCounts:
    """What a clip takes.

    Attributes:
        parameters: of all networks of the backbone.
        parameters_used: of the layers that run before the early stop.
        macs: multiplications with an addition in products and convolutions, `encode` included.
        macs_encode: those of `encode`.
        live_bytes: most bytes of tensors alive at once in float32 beyond the weights, the video
            included; attention counts as fused.
        shape: of the features, [T', C, h, w].
    """

    parameters: int
    parameters_used: int
    macs: int
    macs_encode: int
    live_bytes: int
    shape: tuple[int, ...]


class UsedParameters(TorchDispatchMode):
    """Note which parameters of a network any operator reads while this is active."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._known = {id(parameter): parameter for parameter in network.parameters()}
        self._used: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        self._used |= {id(each) for each in tree_leaves((args, kwargs))} & self._known.keys()
        return func(*args, **kwargs)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters that were read."""
        return [parameter for key, parameter in self._known.items() if key in self._used]


@torch.no_grad()
def count(case: FeatureCase) -> FeatureCounts:
    """Send a clip of shapes through a network of shapes.

    Raises:
        ValueError: the network does not take clips of this size.
    """
    device = "cpu" if case.name in READS_PIXELS_WITH_PIL else "meta"
    backbone: Any = random_backbone(case.name, device=device)
    video, options = make_inputs(case, backbone, device)
    live = LiveTensors([*backbone.parameters(), *backbone.buffers()])
    with UsedParameters(backbone) as used, live, FusedAttention() as attention:
        with FlopCounterMode(display=False) as encoding:
            encoded = backbone.encode(video)
        flops_encode = encoding.get_total_flops() + attention.flops
        with FlopCounterMode(display=False) as rest:
            features = backbone.extract(encoded, blocks=[case.block], **options)[case.block]
    flops = encoding.get_total_flops() + rest.get_total_flops() + attention.flops
    return FeatureCounts(
        parameters=sum(parameter.numel() for parameter in backbone.parameters()),
        parameters_used=sum(parameter.numel() for parameter in used.parameters),
        macs=flops // 2,
        macs_encode=flops_encode // 2,
        live_bytes=live.peak,
        shape=tuple(features.shape[1:]),
    )
