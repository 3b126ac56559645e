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
from vdit.datasets.synthetic.staging import Stage, random_solid


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
