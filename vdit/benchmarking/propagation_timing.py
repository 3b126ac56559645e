"""Time and peak memory of label propagation over a video, features included."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vdit.backbone_loading.random_weights import random_backbone
from vdit.benchmarking.feature_timing import CpuMeter, CudaMeter, Place
from vdit.benchmarking.processes import run_in_new_process
from vdit.build import build_backbone, quiet_libraries
from vdit.memory import map_large_blocks
from vdit.probing.feature_sources import Backbones
from vdit.probing.fused_features import fused_features
from vdit.probing.propagation_config import LabelPropagationConfig
from vdit.propagation import stream_labels
from vdit.propagation.mask_labels import labels_from_mask, mask_from_labels

NUM_OBJECTS = 3


@dataclass(frozen=True)
class NoiseVideo:
    """A video whose frames are noise, made anew in each loop; costs do not depend on pictures."""

    num_frames: int
    height: int
    width: int

    def __iter__(self) -> Iterator[np.ndarray]:
        """Frames [H, W, 3] uint8."""
        generator = np.random.default_rng(0)
        for _ in range(self.num_frames):
            yield generator.integers(0, 256, (self.height, self.width, 3), dtype=np.uint8)

    def mask(self) -> Tensor:
        """Give labels [H, W] of objects side by side, the background among them."""
        columns = torch.arange(self.width) * (NUM_OBJECTS + 1) // self.width
        return columns.expand(self.height, -1)


@dataclass(frozen=True)
class PropagationCost:
    """What a video cost.

    Attributes:
        feature_seconds: from pixels to fused features, of the whole video.
        propagation_seconds: from features to masks.
        weight_bytes: of all parameters and buffers of the backbones.
        peak_bytes: peak beyond them.
    """

    feature_seconds: float
    propagation_seconds: float
    weight_bytes: int
    peak_bytes: int


def measure_propagation(
    config: LabelPropagationConfig, video: NoiseVideo, place: Place
) -> PropagationCost:
    """Measure one configuration in a new process, which ends with the measurement.

    The dtype of `place` is not used: every source of the configuration has its own.

    Raises:
        ValueError: weights cannot be loaded, a source asks for options with random weights, memory
            runs out, or the system does not tell peaks of memory.
    """
    return run_in_new_process(_measure, config, video, place)


@torch.no_grad()
def _measure(config: LabelPropagationConfig, video: NoiseVideo, place: Place) -> PropagationCost:
    quiet_libraries()
    map_large_blocks()
    torch.set_num_threads(place.threads)
    on_cpu = torch.device(place.device).type == "cpu"
    clock = time.process_time if on_cpu and place.threads == 1 else time.perf_counter
    sources = config.weighted_sources()
    backbones = Backbones(place.device, _random if place.random else build_backbone)
    networks = {id(network): network for network in map(backbones.get, sources)}
    tensors = [
        tensor
        for network in networks.values()
        for tensor in (*network.parameters(), *network.buffers())
    ]
    meter = CpuMeter() if on_cpu else CudaMeter(place.device)
    meter.start()
    timed = TimedMaps(fused_features(video, sources, backbones), place.device, clock)
    start = clock()
    options = config.propagation
    first = next(timed)
    labels = labels_from_mask(video.mask(), (first.shape[-2], first.shape[-1]))
    maps = _with_first(first, timed)
    dtype = getattr(torch, options.dtype)
    for soft in stream_labels(maps, labels, options.settings(), dtype=dtype):
        mask_from_labels(soft, (video.height, video.width), stride=options.enlarge)
    if not on_cpu:
        torch.cuda.synchronize(place.device)
    seconds = clock() - start
    return PropagationCost(
        feature_seconds=timed.seconds,
        propagation_seconds=seconds - timed.seconds,
        weight_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        peak_bytes=meter.peak(),
    )


class TimedMaps:
    """Maps on a device, and the seconds that making them took.

    Attributes:
        seconds: so far.
    """

    def __init__(self, maps: Iterator[Tensor], device: str, clock: Callable[[], float]) -> None:
        self._maps, self._device, self._clock = maps, device, clock
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Tensor]:
        return self

    def __next__(self) -> Tensor:
        start = self._clock()
        try:
            return next(self._maps).to(self._device)
        finally:
            self.seconds += self._clock() - start


def _with_first(first: Tensor, rest: Iterator[Tensor]) -> Iterator[Tensor]:
    yield first
    yield from rest


def _random(name: str, *, path: str | None, dtype: torch.dtype, **options: Any) -> Any:
    """Stand in for `build_backbone`; a path changes no size and is left aside."""
    if options:
        raise ValueError(
            f"expected no options of {name} with random weights, got {', '.join(options)}; measure "
            "it with its own weights"
        )
    return random_backbone(name, dtype=dtype)
