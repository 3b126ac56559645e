"""Recipes of clips whose sentences matter: what is alike in them, and what tells it apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vdit.datasets.synthetic.catalog import CATEGORIES
from vdit.datasets.synthetic.recipe_parts import (
    MOVERS,
    STANDING,
    draw_camera,
    draw_object,
    suitable_programs,
)
from vdit.datasets.synthetic.scene import CameraPath, ObjectSpec
from vdit.datasets.synthetic.staging import Stage, random_solid

SIMPLE_HEIGHTS = {
    "ball": 1.25,
    "cube": 1.05,
    "cone": 1.5,
    "car": 0.8,
    "duck": 1.3,
    "dog": 1.45,
    "tree": 2.0,
    "mushroom": 1.4,
}
"""Metres; at these heights all cover about as much of the picture."""
SIMPLE_COLORS = ("red", "yellow", "green", "blue", "white", "black", "pink", "orange")
SIMPLE_MOTIONS = ("still", "straight", "straight", "bounce", "circle")
SHARE_OF_TWINS = 0.7
"""Referring clips in which several objects share a category."""
FOLLOWERS = ("ball", "car", "duck", "dog", "robot")


def referring(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """Several objects, in most clips two or three of one category."""
    return populate(Stage(rng, aspect, draw_camera(rng))), ""


def populate(stage: Stage) -> Stage:
    """Put the objects of a referring clip on a stage."""
    rng = stage.rng
    count = int(rng.integers(3, 6))
    if rng.random() < 0.1:
        stage.add_passing(random_solid(rng, str(rng.choice(MOVERS))))
    twins = int(rng.integers(2, 4)) if rng.random() < SHARE_OF_TWINS else 0
    category = str(rng.choice(list(CATEGORIES)))
    for index in range(count):
        spec = draw_object(stage, (category,) if index < twins else tuple(CATEGORIES))
        stage.add(spec, suitable_programs(stage, spec))
    if rng.random() < 0.15:
        stage.add_follower(random_solid(rng, str(rng.choice(FOLLOWERS))))
    return stage


def simple(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """Three plain objects of about one size, often two of one category, no two of one color."""
    camera = CameraPath(height=float(rng.uniform(2.1, 2.5)), distance=5.6, fov=42.0)
    stage = Stage(rng, aspect, camera)
    categories = list(SIMPLE_HEIGHTS)
    while len(stage.objects) < 3:  # now and then there is no room beside two others
        stage.objects.clear()
        names = rng.choice(categories, 3).tolist()
        if rng.random() < SHARE_OF_TWINS:
            names[1] = names[0]
        for name, color in zip(names, rng.permutation(SIMPLE_COLORS)[:3], strict=True):
            size = SIMPLE_HEIGHTS[name] * float(rng.uniform(0.9, 1.1))
            spec = replace(random_solid(rng, name, plain=1.0), color=str(color), size=size)
            moves = CATEGORIES[name].moves
            stage.add(replace(spec, finish="matte"), SIMPLE_MOTIONS if moves else STANDING)
    return stage, ""


def single(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """One plain object, near or far, as pictures with a short caption show."""
    camera = CameraPath(
        height=float(rng.uniform(1.7, 2.5)), distance=float(rng.uniform(3.6, 5.6)), fov=42.0
    )
    stage = Stage(rng, aspect, camera)
    stage.add(_plain_solid(rng, str(rng.choice(list(SIMPLE_HEIGHTS)))), STANDING)
    return stage, ""


def crossed(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """Three plain objects: the first shares its category with one and its color with the other."""
    camera = CameraPath(height=float(rng.uniform(2.0, 2.4)), distance=5.1, fov=42.0)
    stage = Stage(rng, aspect, camera)
    while len(stage.objects) < 3:  # now and then there is no room beside two others
        stage.objects.clear()
        category, other = rng.choice(list(SIMPLE_HEIGHTS), 2, replace=False).tolist()
        color, strange = rng.choice(SIMPLE_COLORS, 2, replace=False).tolist()
        names = [(category, color), (category, strange), (other, color)]
        for index in rng.permutation(3).tolist():
            spec = replace(_plain_solid(rng, names[index][0]), color=names[index][1])
            stage.add(spec, SIMPLE_MOTIONS if CATEGORIES[spec.category].moves else STANDING)
    return stage, ""


def _plain_solid(rng: np.random.Generator, category: str) -> ObjectSpec:
    """Draw a matte object of one color at the category's height among simple ones."""
    size = SIMPLE_HEIGHTS[category] * float(rng.uniform(0.9, 1.1))
    spec = random_solid(rng, category, plain=1.0)
    return replace(spec, color=str(rng.choice(SIMPLE_COLORS)), size=size, finish="matte")


def identical(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """Two to four equal objects, told apart only by what they do."""
    return populate_with_equals(Stage(rng, aspect, draw_camera(rng, still=1.0))), ""


def populate_with_equals(stage: Stage) -> Stage:
    """Put two to four equal objects on a stage, each with a motion of its own."""
    rng = stage.rng
    count = int(rng.integers(2, 5))
    while len(stage.objects) < 2:  # large objects may find no room beside each other
        stage.objects.clear()
        spec = random_solid(rng, str(rng.choice(MOVERS)))
        for program in rng.permutation(["still", "straight", "bounce", "circle", "stop", "start"]):
            if len(stage.objects) < count:
                stage.add(spec, [str(program)])
    return stage
