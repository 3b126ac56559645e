"""RefSynth: a rendered benchmark of referring video segmentation, fixed by seeds.

Parts differ in what is asked of a model; `docs/refsynth.md` is the data card. A part is a list of
seeds, and a rule which sentences about its clips count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from vdit.datasets.synthetic.clip import Caption, RenderedClip
from vdit.datasets.synthetic.language.wordings import SYNONYMS
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.refsynth_recipes import HELD_OUT
from vdit.datasets.synthetic.render import render
from vdit.datasets.synthetic.scene import Light, Scene

REFSYNTH_VERSION = "1.0"
"""Changes whenever a scene or the choice of sentences does."""

TARGET_KINDS = ("category", "appearance", "spatial", "relation", "ordinal", "motion")
ABSENT_KIND = "no target"


@dataclass(frozen=True)
class Part:
    """Some clips of the benchmark.

    Attributes:
        summary: one line on what it asks.
        recipe: of the scenes.
        count: clips.
        first_seed: of the first one; the others follow.
        kinds: of sentences that count.
        per_kind: sentences of a kind to choose from.
        most: sentences of a clip that count; None = all.
        only_held_out: only sentences that name an object of a held-out look by both of its words
            count.
        light_changes: light comes and goes; else it is that of the recipe.
    """

    summary: str
    recipe: str
    count: int
    first_seed: int
    kinds: tuple[str, ...] = (*TARGET_KINDS, ABSENT_KIND)
    per_kind: int = 2
    most: int | None = None
    only_held_out: bool = False
    light_changes: bool = False


PARTS: dict[str, Part] = {
    "train": Part("for training", "refsynth", 4000, 1_000_000),
    "val": Part("for choices while training", "refsynth", 100, 0),
    "seen": Part("looks that training has shown", "refsynth", 150, 10_000, TARGET_KINDS),
    "combinations": Part(
        "colors that training has never shown on their categories",
        "refsynth-combinations",
        200,
        20_000,
        ("appearance",),
        per_kind=50,
        most=3,
        only_held_out=True,
    ),
    "identical": Part(
        "equal objects, told apart by their motion alone",
        "refsynth-identical",
        150,
        30_000,
        ("motion",),
    ),
    "no-target": Part(
        "sentences about what is there and about what is not", "refsynth", 150, 40_000
    ),
    "lighting": Part(
        "the clips of seen in light that comes and goes",
        "refsynth",
        150,
        10_000,
        TARGET_KINDS,
        light_changes=True,
    ),
}
"""Training draws seeds from 1,000,000 on, so that any amount of it leaves the other parts alone."""


class RefSynth(Dataset[RenderedClip]):
    """One part, rendered when it is asked for: index -> clip with the sentences that count.

    Args:
        part: a name of `PARTS`.
        count: clips, from the first one on; None = all.

    Raises:
        ValueError: there is no such part, or it has not as many clips.
    """

    def __init__(self, part: str, count: int | None = None) -> None:
        if part not in PARTS:
            raise ValueError(f"expected a part among {', '.join(PARTS)}; got {part!r}")
        self.name, self.part = part, PARTS[part]
        self.count = self.part.count if count is None else count
        if not 1 <= self.count <= self.part.count:
            raise ValueError(
                f"expected a count in 1..{self.part.count}, the clips of {part}; got {count}"
            )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> RenderedClip:
        if not 0 <= index < self.count:
            raise IndexError(f"expected an index in 0..{self.count - 1}, got {index}")
        clip = render(self.scene(index), captions_per_kind=self.part.per_kind)
        return replace(clip, captions=choose_sentences(clip.captions, clip.scene, self.part))

    def scene(self, index: int) -> Scene:
        """Draw the scene of a clip."""
        scene = make_scene(self.part.recipe, self.part.first_seed + index)
        return replace(scene, light=_clouded(scene)) if self.part.light_changes else scene

    def video(self, index: int) -> str:
        """Name a clip: the part and its seed."""
        return f"{self.name}-{self.part.first_seed + index:07d}"

    def digest(self) -> str:
        """Hash the version, the rule and all scenes, 16 hexadecimal digits; nothing is rendered.

        Numbers count to six digits: processors may differ in the last ones.
        """
        scenes = [_rounded(self.scene(index).as_json()) for index in range(self.count)]
        text = json.dumps([REFSYNTH_VERSION, asdict(self.part), scenes], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def choose_sentences(captions: Sequence[Caption], scene: Scene, part: Part) -> tuple[Caption, ...]:
    """Keep the sentences that count: about one object or none, of the kinds of the part.

    What is not there is never called by a held-out look: a model would learn that it never is.

    Args:
        captions: of a clip.
        scene: of the same clip.
        part: whose rule is applied.
    """
    chosen = []
    for caption in captions:
        looks = _held_out_looks(caption.text)
        if caption.objects:
            named = {(scene.objects[k].category, scene.objects[k].color) for k in caption.objects}
            fits = bool(named & looks) or not part.only_held_out
        else:
            fits = not looks
        if caption.kind in part.kinds and fits:
            chosen.append(caption)
    return tuple(chosen[: part.most])


def _held_out_looks(text: str) -> set[tuple[str, str]]:
    """Find held-out looks whose category and color a sentence both says."""
    words = set(text.split())
    return {
        (category, color)
        for category, color in HELD_OUT
        if category in words and words.intersection(SYNONYMS.get(color, (color,)))
    }


def _clouded(scene: Scene) -> Light:
    """A low sun on the same side behind deep clouds that pass."""
    rng = np.random.default_rng((scene.seed, 5))
    return replace(
        scene.light,
        elevation=float(rng.uniform(0.35, 0.5)),
        ambient=float(rng.uniform(0.15, 0.25)),
        flicker=float(rng.uniform(0.6, 0.85)),
    )


def _rounded(value: Any) -> Any:
    """Round all numbers in plain data."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value
