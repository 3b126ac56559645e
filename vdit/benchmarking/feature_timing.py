"""Time and peak memory of a backbone on a clip, in a process of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from vdit.backbone_loading.random_weights import random_backbone
from vdit.benchmarking.feature_cases import FeatureCase, fitting_length, make_inputs
from vdit.benchmarking.processes import run_in_new_process
from vdit.build import build_backbone, quiet_libraries
from vdit.measure import peak_memory, reset_peak_memory, resident_memory
from vdit.memory import map_large_blocks, return_free_memory

WARM_UP_SIDE = 64  # pixels


@dataclass(frozen=True)
class Place:
    """How a backbone is run.

    Attributes:
        device: "cpu" or a CUDA device.
        dtype: "float32", "bfloat16" or "float16", of the weights.
        threads: of the CPU; one is timed by processor time, more by wall time.
        random: weights are random instead of the released ones.
    """

    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    random: bool = True


@dataclass(frozen=True)
class FeatureCost:
    """What a clip cost.

    Attributes:
        seconds: of each pass from pixels to features.
        weight_bytes: of all parameters and buffers of the backbone.
        encode_bytes: peak beyond the weights while the clip is encoded.
        extract_bytes: the same for the rest, what `encode` returned included.
    """

    seconds: list[float]
    weight_bytes: int
    encode_bytes: int
    extract_bytes: int

    @property
    def peak_bytes(self) -> int:
        """Peak beyond the weights."""
        return max(self.encode_bytes, self.extract_bytes)


def measure(case: FeatureCase, place: Place, rounds: int) -> FeatureCost:
    """Measure one backbone in a new process, which ends with the measurement.

    A pass over a tiny clip comes first, so that libraries have set themselves up. Every further
    pass is timed and its memory is measured.

    Raises:
        ValueError: weights cannot be loaded, memory runs out, or the system does not tell peaks of
            memory.
    """
    return run_in_new_process(_measure, case, place, rounds)


@torch.no_grad()
def _measure(case: FeatureCase, place: Place, rounds: int) -> FeatureCost:
    quiet_libraries()
    map_large_blocks()
    torch.set_num_threads(place.threads)
    backbone = _build(case.name, place)
    tensors = [*backbone.parameters(), *backbone.buffers()]
    tiny = replace(
        case,
        num_frames=fitting_length(backbone, 1),
        height=WARM_UP_SIDE,
        width=WARM_UP_SIDE,
    )
    _pass(backbone, tiny, place)
    passes = [_pass(backbone, case, place) for _ in range(rounds)]
    return FeatureCost(
        seconds=[each.seconds for each in passes],
        weight_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        encode_bytes=max(each.encode_bytes for each in passes),
        extract_bytes=max(each.extract_bytes for each in passes),
    )


def _build(name: str, place: Place) -> Any:
    dtype = getattr(torch, place.dtype)
    if place.random:
        return random_backbone(name, dtype=dtype).to(place.device)
    return build_backbone(name, dtype=dtype).to(place.device)


class _Pass(NamedTuple):
    seconds: float
    encode_bytes: int
    extract_bytes: int


def _pass(backbone: Any, case: FeatureCase, place: Place) -> _Pass:
    """Run a clip once; peaks are beyond what is there before the video."""
    on_cpu = torch.device(place.device).type == "cpu"
    clock = time.process_time if on_cpu and place.threads == 1 else time.perf_counter
    meter = CpuMeter() if on_cpu else CudaMeter(place.device)
    meter.start()
    video, options = make_inputs(case, backbone, place.device)
    start = clock()
    encoded = backbone.encode(video)
    del video
    encode_bytes = meter.peak()
    backbone.extract(encoded, blocks=[case.block], **options)
    extract_bytes = meter.peak()
    return _Pass(clock() - start, encode_bytes, extract_bytes)


class CpuMeter:
    """Peaks of the resident size over what it was at the start."""

    def start(self) -> None:
        return_free_memory()
        reset_peak_memory()
        self._before = resident_memory()

    def peak(self) -> int:
        """Give the peak since the start or the last call, and count anew."""
        found = peak_memory() - self._before
        return_free_memory()
        reset_peak_memory()
        return found


class CudaMeter:
    """The same for what torch has allocated on a device.

    Args:
        device: "cuda", or one by its number, such as "cuda:1".
    """

    def __init__(self, device: str) -> None:
        self._device = device

    def start(self) -> None:
        torch.cuda.synchronize(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        self._before = torch.cuda.memory_allocated(self._device)

    def peak(self) -> int:
        """Give the peak since the start or the last call, and count anew."""
        torch.cuda.synchronize(self._device)
        found = torch.cuda.max_memory_allocated(self._device) - self._before
        torch.cuda.reset_peak_memory_stats(self._device)
        return found
