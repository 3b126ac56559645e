"""Rendered clips as training examples: a few frames, and what the sentences name in them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vdit.boxes import xyxy_to_cxcywh
from vdit.datasets.synthetic.clip import Annotation, Caption
from vdit.datasets.synthetic.language.captions import KINDS
from vdit.datasets.synthetic.language.descriptions import Phrase
from vdit.datasets.synthetic.language.grammar import Meaning, word_one
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.referring_recipes import SIMPLE_COLORS, SIMPLE_HEIGHTS
from vdit.datasets.synthetic.render import annotate, render_frames
from vdit.structures import Target

FIRST_TRAINING_SEED = 1_000_000
"""Seeds below it are held out."""


@dataclass(frozen=True)
class ClipConfig:
    """What training clips look like.

    Attributes:
        stored: name of a set of the stage `clips` to read them from; "" = drawn when needed.
        first: only so many clips from the beginning of that set; 0 = all.
        recipe: of `vdit.datasets.synthetic.recipes`.
        rendered: frames of a clip; `frames` of them are used, in a row or every second.
        frames: T.
        height: H in pixels.
        width: W in pixels.
        captions: sentences taken of a clip.
        absent: most sentences beside these that name something by noun and adjective which the
            clip does not hold.
        per_kind: sentences of one kind to choose from.
        kinds: of sentences, as `vdit.datasets.synthetic.language.captions.KINDS`.
    """

    stored: str = ""
    first: int = 0
    recipe: str = "simple"
    rendered: int = 12
    frames: int = 6
    height: int = 128
    width: int = 128
    captions: int = 3
    absent: int = 0
    per_kind: int = 2
    kinds: list[str] = field(default_factory=lambda: list(KINDS))


class Shown(Protocol):
    """A clip whose truth is known: what sentences and targets are made of."""

    @property
    def masks(self) -> np.ndarray:
        """The visible part of each object, [N, T, H, W] bool."""

    @property
    def boxes_xyxy(self) -> np.ndarray:
        """Boxes around them, [N, T, 4] float32 in pixels."""


@dataclass
class ClipExample:
    """One clip.

    Attributes:
        video: [T, 3, H, W] uint8.
        description: everything in the clip in one line, such as "a red ball and a blue car".
        captions: sentences, the first about one object that the frames show, the last perhaps
            about nothing.
        targets: what each sentence names.
    """

    video: Tensor
    description: str
    captions: list[str]
    targets: list[Target]


class TrainingClips(Dataset[ClipExample]):
    """Clips from nothing: index -> example, the same for the same index.

    Args:
        config: what they look like.
        seed: another seed gives other clips.
    """

    def __init__(self, config: ClipConfig, seed: int = 0) -> None:
        self.config = config
        self.seed = seed

    def __getitem__(self, index: int) -> ClipExample:
        config = self.config
        rng = np.random.default_rng((self.seed, index, 7))
        while True:  # a few clips have no sentence about one object that these frames show
            seed = FIRST_TRAINING_SEED + int(rng.integers(2**31))
            scene = make_scene(config.recipe, seed, config.rendered, config.height, config.width)
            clip = annotate(scene, config.per_kind)
            frames = choose_frames(rng, config.rendered, config.frames)
            single = single_captions(clip.captions, config.kinds)
            chosen = choose_captions(rng, clip, single, frames, config.captions)
            if chosen:
                break
        names = [(spec.category, spec.color) for spec in scene.objects]
        chosen += draw_absent(rng, names, config.absent)
        pixels = render_frames(scene, frames.tolist())
        return example_of(clip, frames, pixels, describe(clip), chosen)


def example_of(
    clip: Shown,
    frames: np.ndarray,
    pixels: np.ndarray,
    description: str,
    chosen: Sequence[Caption],
) -> ClipExample:
    """Put an example together.

    Args:
        clip: whose truth is taken.
        frames: [T] positions in it.
        pixels: [T, H, W, 3] uint8 of these frames.
        description: of the clip.
        chosen: sentences.
    """
    return ClipExample(
        video=torch.from_numpy(pixels).permute(0, 3, 1, 2),
        description=description,
        captions=[caption.text for caption in chosen],
        targets=[target_of(clip, caption, frames) for caption in chosen],
    )


def choose_frames(rng: np.random.Generator, rendered: int, count: int) -> np.ndarray:
    """Draw `count` frames in a row, or with a step where there are enough, [T]."""
    largest = max((rendered - 1) // max(count - 1, 1), 1)
    step = int(rng.integers(1, largest + 1))
    start = int(rng.integers(0, rendered - step * (count - 1)))
    return start + step * np.arange(count)


def single_captions(captions: Sequence[Caption], kinds: Collection[str]) -> list[Caption]:
    """List the sentences of some kinds that name one object."""
    return [each for each in captions if each.kind in kinds and len(each.objects) == 1]


def draw_absent(
    rng: np.random.Generator, names: Sequence[tuple[str, str]], count: int
) -> list[Caption]:
    """Write sentences that name by color and category what is not there, and looks like it.

    Most share the color or the category with an object, so that both have to be read.

    Args:
        rng: source of all choices.
        names: (category, color) of the objects.
        count: of sentences.
    """
    chosen: list[Caption] = []
    while len(chosen) < count:
        category, color = str(rng.choice(list(SIMPLE_HEIGHTS))), str(rng.choice(SIMPLE_COLORS))
        near = names[int(rng.integers(len(names)))]
        kind = rng.random()
        if kind < 0.4:
            category = near[0]
        elif kind < 0.8:
            color = near[1]
        if (category, color) in names:
            continue
        is_new = all(category != known for known, _ in names)
        adjectives = () if is_new and rng.random() < 0.4 else (color,)
        text = word_one(Meaning("name", Phrase(adjectives, category)), rng)
        chosen.append(Caption(text, "no target", ()))
    return chosen


def choose_captions(
    rng: np.random.Generator,
    clip: Shown,
    captions: Sequence[Caption],
    frames: np.ndarray,
    count: int,
) -> list[Caption]:
    """Draw sentences about different objects that these frames show."""
    seen = np.logical_or.reduce(clip.masks[:, frames], axis=(1, 2, 3))
    shown = [caption for caption in captions if seen[caption.objects[0]]]
    chosen: list[Caption] = []
    for i in rng.permutation(len(shown)):
        others = {caption.objects for caption in chosen}
        if shown[i].objects not in others or len(others) == seen.sum():
            chosen.append(shown[i])
        if len(chosen) == count:
            break
    return chosen


def target_of(clip: Shown, caption: Caption, frames: np.ndarray) -> Target:
    """Describe the objects that a sentence names, in the given frames."""
    H, W = clip.masks.shape[-2:]
    index = np.array(caption.objects, dtype=np.int64)
    masks = clip.masks[index][:, frames]
    boxes = torch.from_numpy(clip.boxes_xyxy[index][:, frames]) / torch.tensor([W, H, W, H])
    valid = torch.from_numpy(masks.any(axis=(2, 3)))
    return Target(xyxy_to_cxcywh(boxes), torch.from_numpy(masks), valid, (H, W))


def describe(clip: Annotation) -> str:
    """Name every object that is seen, in the order of the scene."""
    seen = np.logical_or.reduce(clip.masks, axis=(1, 2, 3))
    names = []
    for spec, is_seen in zip(clip.scene.objects, seen, strict=True):
        if is_seen:
            words = [spec.finish, spec.color, spec.pattern, spec.category]
            names.append(" ".join(w for w in words if w not in ("", "matte", "plain")))
    return " and ".join(f"a {name}" for name in names) or "nothing"


def collate_examples(examples: list[ClipExample]) -> list[ClipExample]:
    return examples


def videos_of(examples: list[ClipExample]) -> Tensor:
    """Stack the videos, [B, T, 3, H, W] float in 0..1."""
    return torch.stack([example.video for example in examples]).float() / 255
