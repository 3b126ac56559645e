"""J and F of many masks: `davis.region_and_contour` beside loops written from the definition.

Masks are drawn first and kept in memory: per sequence a moving, deforming outline as the truth and
the same one disturbed as the prediction. Each method scores the same masks in one process with one
thread, sequences in turn, so that other work on the machine hits all methods; the time is
processor time. The values of all methods are compared bit by bit.

The loops do what the evaluators of the field do a frame and object: contour maps of whole frames,
each dilated with a disk, then counts. They differ in who dilates: `scipy` binary_dilation with the
disk, `rows` one maximum filter for each row of the disk (what a compiled library does at best),
and `opencv` cv2.dilate where it is installed.

python benchmarks/score.py --sequences 100 --frames 30
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

from vdit.atomic import replace_when_complete
from vdit.benchmarking.facts import run_facts
from vdit.metrics.davis import region_and_contour

Dilation = Callable[[np.ndarray, int], np.ndarray]


def draw_sequence(seed: int, num_frames: int, height: int, width: int) -> np.ndarray:
    """Truth and prediction [2, T, H, W] bool of one object that takes 2 to 25 % of the frame."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    radius = math.sqrt(rng.uniform(0.02, 0.25) * height * width / math.pi)
    center = rng.uniform((0.2 * height, 0.2 * width), (0.8 * height, 0.8 * width))
    speed = rng.uniform(-4, 4, 2)
    amplitudes, phases = rng.uniform(0, 0.12, (2, 6)), rng.uniform(0, 6.3, (2, 6))
    masks = np.empty((2, num_frames, height, width), dtype=bool)
    directions = np.linspace(-math.pi, math.pi, 4096, dtype=np.float32)
    for t in range(num_frames):
        v, u = center + t * speed
        angle, distance = np.arctan2(y - v, x - u), np.hypot(y - v, x - u)
        step = ((angle + math.pi) * ((len(directions) - 1) / (2 * math.pi))).astype(np.int32)
        outline = np.ones_like(directions)
        for k, (amplitude, phase) in enumerate(zip(amplitudes[0], phases[0], strict=True)):
            outline += amplitude * np.sin((k + 2) * directions + phase + 0.1 * t)
        masks[0, t] = distance < radius * outline[step]
        for k, (amplitude, phase) in enumerate(zip(amplitudes[1], phases[1], strict=True)):
            outline += 0.4 * amplitude * np.sin((k + 5) * directions + phase)
        masks[1, t] = distance < radius * outline[step] + rng.normal(0, 1.5)
    return masks


def contour_map(mask: np.ndarray) -> np.ndarray:
    """Whole-frame maps of the neighbors to the right, below and diagonally, then compared."""
    right, below, diagonal = np.zeros_like(mask), np.zeros_like(mask), np.zeros_like(mask)
    right[:, :-1], below[:-1], diagonal[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    edge = (mask ^ right) | (mask ^ below) | (mask ^ diagonal)
    edge[-1] = mask[-1] ^ right[-1]
    edge[:, -1] = mask[:, -1] ^ below[:, -1]
    edge[-1, -1] = False
    return edge


def disk(radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return y**2 + x**2 <= radius**2


def dilate_scipy(edge: np.ndarray, radius: int) -> np.ndarray:
    return ndimage.binary_dilation(edge, disk(radius))


def dilate_rows(edge: np.ndarray, radius: int) -> np.ndarray:
    """A disk is a stack of rows: the running maximum along each, moved up and down."""
    near = np.zeros_like(edge)
    source = edge.view(np.uint8)
    for dy in range(radius + 1):
        length = 2 * math.floor(math.sqrt(radius**2 - dy**2)) + 1
        spans = ndimage.maximum_filter1d(source, length, axis=1, mode="constant").view(bool)
        near[dy:] |= spans[: len(spans) - dy]
        near[: len(near) - dy] |= spans[dy:]
    return near


def dilate_opencv(edge: np.ndarray, radius: int) -> np.ndarray:
    cv2 = importlib.import_module("cv2")
    return cv2.dilate(edge.astype(np.uint8), disk(radius).astype(np.uint8)).astype(bool)


def loop(masks: np.ndarray, dilate: Dilation) -> np.ndarray:
    """J and F [2, T] from whole maps, a frame at a time."""
    scores = np.empty((2, masks.shape[1]))
    radius = math.ceil(0.008 * math.hypot(*masks.shape[2:]))
    for t, (target, prediction) in enumerate(masks.swapaxes(0, 1)):
        union = np.sum(target | prediction)
        scores[0, t] = np.sum(target & prediction) / union if union else 1.0
        true, predicted = contour_map(target), contour_map(prediction)
        num_true, num_predicted = np.sum(true), np.sum(predicted)
        if not num_true or not num_predicted:
            scores[1, t] = float(num_true == num_predicted)
            continue
        precision = np.sum(predicted & dilate(true, radius)) / num_predicted
        recall = np.sum(true & dilate(predicted, radius)) / num_true
        total = precision + recall
        scores[1, t] = 2 * precision * recall / total if total else 0.0
    return scores


def ours(masks: np.ndarray) -> np.ndarray:
    return np.stack(region_and_contour(masks[0], masks[1]))


def methods(slowest: bool) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    found = {"vdit": ours, "rows": lambda masks: loop(masks, dilate_rows)}
    if slowest:
        found["scipy"] = lambda masks: loop(masks, dilate_scipy)
    if importlib.util.find_spec("cv2"):
        importlib.import_module("cv2").setNumThreads(1)
        found["opencv"] = lambda masks: loop(masks, dilate_opencv)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequences", type=int, default=100)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=854)
    parser.add_argument("--no-scipy", action="store_true", help="leave the slowest loop out")
    parser.add_argument("-o", "--output", type=Path, help="JSON to write")
    options = parser.parse_args()
    peers = methods(not options.no_scipy)
    seconds = dict.fromkeys(peers, 0.0)
    identical = dict.fromkeys(peers, True)
    scores = []
    for seed in range(options.sequences):
        masks = draw_sequence(seed, options.frames, options.height, options.width)
        found = {}
        for name, score in peers.items():
            start = time.process_time()
            found[name] = score(masks)
            seconds[name] += time.process_time() - start
            identical[name] &= np.array_equal(found[name], found["vdit"])
        scores.append(found["vdit"].mean(axis=1))
    count = options.sequences * options.frames
    result = run_facts() | {
        "sequences": options.sequences,
        "frames": options.frames,
        "size": [options.height, options.width],
        "mean_J": float(np.mean(scores, axis=0)[0]),
        "mean_F": float(np.mean(scores, axis=0)[1]),
        "methods": {
            name: {
                "seconds": round(seconds[name], 3),
                "ms_per_frame": round(1000 * seconds[name] / count, 4),
                "over_vdit": round(seconds[name] / seconds["vdit"], 2),
                "identical_values": identical[name],
            }
            for name in peers
        },
    }
    if options.output:
        with replace_when_complete(options.output) as partial:
            partial.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
