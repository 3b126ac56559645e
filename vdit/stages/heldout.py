"""The split that a small model is measured on: fixed before training, checked by its bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vdit.datasets.synthetic.clip import Caption, RenderedClip
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.datasets.synthetic.scene import VERSION
from vdit.evaluation.referring_clips import ClipCase
from vdit.stages.clips import draw_absent, single_captions

KINDS = ("category", "appearance", "spatial")
"""Sentences that the small model is trained on and measured by."""
NUM_ABSENT = 2
"""Sentences about nothing, for each clip."""


@dataclass(frozen=True)
class Split:
    """Which clips are held out.

    Attributes:
        recipe: of all clips.
        first_seed: of the first clip, below those of training clips.
        count: of clips.
        num_frames: T.
        height: H in pixels.
        width: W in pixels.
        kinds: of sentences.
        version: of the renderer.
        sha256: of all frames, masks and sentences, in order.
    """

    recipe: str
    first_seed: int
    count: int
    num_frames: int
    height: int
    width: int
    kinds: list[str]
    version: str
    sha256: str

    def clips(self) -> Iterator[RenderedClip]:
        for seed in range(self.first_seed, self.first_seed + self.count):
            scene = make_scene(self.recipe, seed, self.num_frames, self.height, self.width)
            yield render(scene, num_tracks=0)


def load_cases(path: Path) -> list[ClipCase]:
    """Render the clips of a split file.

    Raises:
        ValueError: the file cannot be read, or this renderer gives other bytes.
    """
    try:
        split = Split(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"expected a split file, got {path}: {error}") from error
    clips = list(split.clips())
    if split.version != VERSION or digest(clips) != split.sha256:
        raise ValueError(
            f"expected the bytes of renderer version {split.version} for {path}, got others from "
            f"version {VERSION}; scores would not be comparable, fix a new split"
        )
    return [case_of(clip, split.kinds) for clip in clips]


def fix_split(
    path: Path, recipe: str, kinds: list[str], count: int, num_frames: int, side: int
) -> dict[str, Any]:
    """Write a split file; give what is true of the clips.

    Returns:
        "twins" (share of clips with two objects of one category) and "median_area" (of an object,
        as a share of the frame).
    """
    split = Split(recipe, 0, count, num_frames, side, side, kinds, VERSION, "")
    clips = list(split.clips())
    fixed = Split(**(asdict(split) | {"sha256": digest(clips)}))
    path.write_text(json.dumps(asdict(fixed), indent=2) + "\n")
    categories = [[spec.category for spec in clip.scene.objects] for clip in clips]
    areas = np.concatenate([clip.masks.mean(axis=(2, 3)).ravel() for clip in clips])
    return {
        "twins": float(np.mean([len(set(names)) < len(names) for names in categories])),
        "median_area": float(np.median(areas[areas > 0])),
    }


def digest(clips: list[RenderedClip]) -> str:
    """SHA-256 of frames, instances and sentences."""
    total = hashlib.sha256()
    for clip in clips:
        total.update(clip.frames.tobytes())
        total.update(clip.instances.tobytes())
        total.update("\n".join(caption.text for caption in clip.captions).encode())
    return total.hexdigest()


def case_of(clip: RenderedClip, kinds: Collection[str]) -> ClipCase:
    """Take a sentence about each object, as good as drawn but always the same, and some of none."""
    chosen: dict[int, Caption] = {}
    single = single_captions(clip.captions, kinds)
    for caption in sorted(single, key=lambda each: hashlib.sha256(each.text.encode()).digest()):
        chosen.setdefault(caption.objects[0], caption)
    ordered = sorted(chosen.items())
    names = [(spec.category, spec.color) for spec in clip.scene.objects]
    absent = draw_absent(np.random.default_rng(clip.scene.seed), names, NUM_ABSENT)
    return ClipCase(
        name=f"{clip.scene.recipe}-{clip.scene.seed}",
        frames=clip.frames,
        masks=clip.masks,
        sentences=tuple((caption.text, index) for index, caption in ordered),
        kinds=tuple(caption.kind for _, caption in ordered),
        absent=tuple(caption.text for caption in absent),
    )
