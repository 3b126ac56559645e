"""Recipes of RefSynth: looks that training never shows, and clips without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vdit.datasets.synthetic.catalog import CATEGORIES
from vdit.datasets.synthetic.materials import COLORS
from vdit.datasets.synthetic.recipe_parts import draw_camera, draw_object, suitable_programs
from vdit.datasets.synthetic.referring_recipes import populate, populate_with_equals
from vdit.datasets.synthetic.scene import CameraPath, ObjectSpec
from vdit.datasets.synthetic.staging import Stage, random_solid


def _held_out() -> frozenset[tuple[str, str]]:
    """Two colors of each category, so that each color is held out of two to four of them."""
    colors = list(COLORS)
    return frozenset(
        (category, colors[(7 * index + offset) % len(colors)])
        for index, category in enumerate(CATEGORIES)
        for offset in (0, 5)
    )


HELD_OUT = _held_out()
"""(category, color) that no clip but those of the part "combinations" shows."""


def refsynth(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """The scenes of "referring" in looks that are not held out."""
    return _recolored(populate(Stage(rng, aspect, _close_camera(rng)))), ""


def refsynth_identical(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """Equal objects that only their motion tells apart, in a look that is not held out."""
    stage = populate_with_equals(Stage(rng, aspect, _close_camera(rng, still=1.0)))
    color = _seen_color(rng, stage.objects[0])
    stage.objects[:] = [replace(spec, color=color) for spec in stage.objects]
    return stage, ""


def refsynth_combinations(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """A held-out look first; its category in another color, and its color on something else."""
    stage = Stage(rng, aspect, _close_camera(rng))
    held_out = sorted(HELD_OUT)
    while len(stage.objects) < 3:  # now and then there is no room beside two others
        stage.objects.clear()
        category, color = held_out[int(rng.integers(len(held_out)))]
        others = [name for name in CATEGORIES if (name, color) not in HELD_OUT and name != category]
        strange = [name for name in COLORS if (category, name) not in HELD_OUT]
        names = (
            (category, color),
            (category, str(rng.choice(strange))),
            (str(rng.choice(others)), color),
        )
        for name, shown in names:
            spec = replace(random_solid(rng, name, plain=1.0), color=shown)
            stage.add(spec, suitable_programs(stage, spec))
    for _ in range(int(rng.integers(0, 3))):
        spec = draw_object(stage)
        spec = replace(spec, color=_seen_color(rng, spec))
        stage.add(spec, suitable_programs(stage, spec))
    return stage, ""


def is_held_out(spec: ObjectSpec) -> bool:
    """Whether training never shows an object of this look."""
    return (spec.category, spec.color) in HELD_OUT


def _close_camera(rng: np.random.Generator, still: float = 0.5) -> CameraPath:
    """Come closer than "referring" does: objects cover several per cent of the picture."""
    camera = draw_camera(rng, still)
    return replace(camera, distance=float(rng.uniform(4.8, 5.4)), fov=float(rng.uniform(42, 46)))


def _recolored(stage: Stage) -> Stage:
    stage.objects[:] = [replace(spec, color=_seen_color(stage.rng, spec)) for spec in stage.objects]
    return stage


def _seen_color(rng: np.random.Generator, spec: ObjectSpec) -> str:
    """Keep the color of an object, or draw another where it is held out."""
    if not is_held_out(spec):
        return spec.color
    return str(rng.choice([name for name in COLORS if (spec.category, name) not in HELD_OUT]))
