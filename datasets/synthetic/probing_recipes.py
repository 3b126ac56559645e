"""Recipes of clips that a learned probe is trained on: what is asked decides what moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vdit.datasets.synthetic.catalog import CATEGORIES
from vdit.datasets.synthetic.motions import PROGRAMS
from vdit.datasets.synthetic.recipe_parts import (
    MOVERS,
    STANDING,
    draw_camera,
    draw_object,
    suitable_programs,
)
from vdit.datasets.synthetic.scene import Motion
from vdit.datasets.synthetic.staging import FAR, Stage, random_solid

_PAIRS = (
    ("move left", "move right"),
    ("approach", "recede"),
    ("grow", "shrink"),
    ("turn clockwise", "turn counterclockwise"),
)
OPPOSITES = dict(_PAIRS) | {second: first for first, second in _PAIRS}
"""What each action of `motion_order` becomes when time runs backwards."""

SHUFFLED = {"in order": "shuffled", "shuffled": "in order"}
"""What the actions of `frame_order` become when frames are shuffled."""

_CAMERA_MOTIONS = {
    "pan": (2.0, 12.0),
    "truck": (0.3, 1.5),
    "dolly": (0.3, 1.5),
    "orbit": (6.0, 26.0),
}
"""Smallest and largest amount, see `CameraPath`."""


def motion_type(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """One object and what it does, beside what hides it: action recognition."""
    stage = Stage(rng, aspect, draw_camera(rng, still=0.7))
    action = str(rng.choice([name for name in PROGRAMS if name != "follow"]))
    movers = [name for name, each in CATEGORIES.items() if each.moves and each.yaws]
    spec = random_solid(rng, str(rng.choice(movers)), plain=0.3)
    if action == "occlude":  # seen before and after, as no camera takes it out of sight
        stage.camera = replace(stage.camera, motion="static")
        stage.add_passing(spec)
    else:
        stage.add(spec, [action])
    return stage, action


def motion_order(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """One object that moves one way or the other, before a camera that stands still.

    The way is not that which the object faces: a car drives backwards in half of the clips. Turns
    are named as seen from above.
    """
    stage = Stage(rng, aspect, draw_camera(rng, still=1.0))
    movers = [name for name, each in CATEGORIES.items() if each.moves and each.yaws]
    spec = random_solid(rng, str(rng.choice(movers)), plain=0.3)
    spec = replace(spec, size=float(rng.uniform(1.1, 1.5)))
    action = str(rng.choice(list(OPPOSITES)))
    start = end = stage.spot(0.5)
    program, amount = "straight", 0.0
    if action in ("move left", "move right"):
        way = 1 if action == "move right" else -1
        reach = way * stage.half_width(start[1]) * rng.uniform(0.45, 0.75, 2)
        start, end = (float(-reach[0]), start[1]), (float(reach[1]), start[1])
    elif action in ("approach", "recede"):
        near = stage.nearest() + float(rng.uniform(0, 0.5))
        x = float(rng.uniform(-0.4, 0.4)) * stage.half_width(near)
        start, end = (x, float(rng.uniform(2, FAR))), (x, near)
        if action == "recede":
            start, end = end, start
    elif action in ("grow", "shrink"):
        program, amount = action, float(rng.uniform(1.7, 2.1))
        largest, smallest = 1.3 * spec.size, 1.3 * spec.size / amount
        spec = replace(spec, size=smallest if action == "grow" else largest)
        amount = amount if action == "grow" else 1 / amount
    else:
        program, amount = "spin", float(rng.uniform(0.5, 1.0))
        amount = amount if action == "turn counterclockwise" else -amount
    stage.objects.append(stage.with_motion(spec, Motion(program, start, end, amount)))
    return stage, action


def camera(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """A camera that moves by any amount, either way, among standing objects: pose."""
    motion = str(rng.choice(list(_CAMERA_MOTIONS)))
    amount = float(rng.choice([-1, 1]) * rng.uniform(*_CAMERA_MOTIONS[motion]))
    path = replace(draw_camera(rng, still=1.0), motion=motion, amount=amount)
    stage = Stage(rng, aspect, path)
    for _ in range(int(rng.integers(4, 9))):
        stage.add(draw_object(stage), STANDING)
    return stage, ""


def frame_order(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """The scenes of `camera`: are the frames in order? Every odd seed has them shuffled.

    Reference: Misra et al., Shuffle and Learn, ECCV 2016 (verification of temporal order).
    """
    return camera(rng, aspect)[0], "in order"


def category(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """One object of any kind, seen from any side: object recognition."""
    stage = Stage(rng, aspect, draw_camera(rng))
    spec = draw_object(stage)
    if not spec.sprite:
        spec = replace(spec, yaw=float(rng.uniform(-np.pi, np.pi)))
    travels = suitable_programs(stage, spec) != STANDING
    stage.add(spec, ("still", "straight", "circle") if travels else STANDING)
    return stage, ""


def geometry(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """A moving camera among standing objects: depth and pose."""
    camera = draw_camera(rng, still=0.0)
    while camera.motion == "shake":
        camera = draw_camera(rng, still=0.0)
    stage = Stage(rng, aspect, camera)
    for _ in range(int(rng.integers(4, 9))):
        stage.add(draw_object(stage), STANDING)
    return stage, ""


def tracking(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """Textured objects that turn, travel and hide each other: points and boxes."""
    stage = Stage(rng, aspect, draw_camera(rng, still=0.3))
    if rng.random() < 0.5:
        stage.add_passing(random_solid(rng, str(rng.choice(MOVERS)), plain=0.1))
    for _ in range(int(rng.integers(3, 7))):
        spec = random_solid(rng, str(rng.choice(MOVERS)), plain=0.1)
        stage.add(spec, ("straight", "bounce", "circle", "spin", "stop"))
    return stage, ""
