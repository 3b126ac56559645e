"""What recipes have in common: cameras and objects as they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vdit.datasets.synthetic.catalog import CATEGORIES
from vdit.datasets.synthetic.scene import CameraPath, ObjectSpec, Order
from vdit.datasets.synthetic.sprites import load_sprites
from vdit.datasets.synthetic.staging import Stage, random_solid, random_sprite

TRAVEL = ("straight", "straight", "bounce", "start", "stop", "enter", "leave", "circle")
STANDING = ("still",)
MOVERS = tuple(name for name, each in CATEGORIES.items() if each.moves)

Draw = Callable[[np.random.Generator, float], tuple[Stage, str]]


@dataclass(frozen=True)
class Recipe:
    """A kind of scene.

    Attributes:
        draw: makes the stage from a generator and the picture's aspect, and names the action.
        num_frames: T unless asked otherwise.
        height: H in pixels unless asked otherwise.
        width: W in pixels unless asked otherwise.
        summary: one line on what it is for.
        share_of_blurred: clips with motion blur.
        opposites: action -> what it is when the order of the frames changes. Where there are any,
            the seeds 2 k and 2 k + 1 give the same frames, the second time in another order.
        second_order: of the frames of odd seeds, where there are opposites.
    """

    draw: Draw
    num_frames: int
    height: int
    width: int
    summary: str
    share_of_blurred: float = 0.0
    opposites: Mapping[str, str] = field(default_factory=dict)
    second_order: Order = "backwards"


def draw_camera(rng: np.random.Generator, still: float = 0.5) -> CameraPath:
    """Draw a camera that stands still with a given probability."""
    view = CameraPath(
        height=float(rng.uniform(1.9, 2.8)),
        distance=float(rng.uniform(6.5, 7.5)),
        fov=float(rng.uniform(44, 52)),
        seed=int(rng.integers(2**31)),
    )
    if rng.random() < still:
        return view
    motion = str(rng.choice(["pan", "truck", "zoom", "dolly", "orbit", "shake"]))
    size = {"pan": 8, "truck": 1.0, "zoom": 1.25, "dolly": 1.2, "orbit": 22, "shake": 1.2}[motion]
    sign = 1 if motion in ("zoom", "dolly", "shake") else int(rng.choice([-1, 1]))
    return replace(view, motion=motion, amount=float(sign * size))


def draw_object(stage: Stage, categories: Sequence[str] = tuple(CATEGORIES)) -> ObjectSpec:
    """Draw a solid of one of some categories, or in one of five cases a picture."""
    rng = stage.rng
    if len(categories) > 1 and rng.random() < 0.2:
        sprites = load_sprites()
        return random_sprite(rng, sprites[str(rng.choice(sorted(sprites)))])
    return random_solid(rng, str(rng.choice(list(categories))))


def suitable_programs(stage: Stage, spec: ObjectSpec) -> tuple[str, ...]:
    """Motions that suit an object; a turn is invisible on what looks alike from all sides."""
    if spec.sprite:
        return (*TRAVEL, "still", "grow", "shrink")
    category = CATEGORIES[spec.category]
    if not category.moves:
        return STANDING
    return (*TRAVEL, "still", "grow", "shrink", *(("spin",) if category.yaws else ()))
