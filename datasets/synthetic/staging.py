"""Put objects on a stage: where they fit, what the camera sees, and paths that do not collide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vdit.datasets.synthetic.catalog import CATEGORIES
from vdit.datasets.synthetic.materials import COLORS
from vdit.datasets.synthetic.motions import ground_path, sizes
from vdit.datasets.synthetic.scene import Backdrop, CameraPath, Light, Motion, ObjectSpec
from vdit.datasets.synthetic.sprites import Sprite, load_sprites
from vdit.datasets.synthetic.tracing import parts_of

NEAR, FAR = -1.9, 2.6
"""Depths of the stage along z, in metres."""
MARGIN = 0.12
"""Metres between objects that pass each other."""
TRIES = 60
CHECKS = tuple(np.linspace(0, 1, 13))
SCREENS = {"house": 2.0, "cube": 1.7, "bus": 1.4}
"""Heights in metres of what something small can hide behind."""

BACKDROPS: tuple[Backdrop, ...] = (
    Backdrop("wood", "plaster", 5.0, (0.72, 0.52, 0.36), (0.78, 0.80, 0.82)),
    Backdrop("wood", "panels", 5.0, (0.46, 0.34, 0.27), (0.62, 0.70, 0.66)),
    Backdrop("tiles", "plaster", 5.0, (0.80, 0.79, 0.75), (0.62, 0.72, 0.80)),
    Backdrop("carpet", "plaster", 5.0, (0.42, 0.44, 0.56), (0.86, 0.80, 0.68)),
    Backdrop("concrete", "brick", 6.0, (0.62, 0.62, 0.60), (0.66, 0.42, 0.34)),
    Backdrop("gravel", "brick", 6.0, (0.58, 0.55, 0.52), (0.74, 0.66, 0.56)),
    Backdrop("grass", "sky", 6.0, (0.46, 0.58, 0.28)),
    Backdrop("sand", "sky", 6.0, (0.84, 0.74, 0.56)),
    Backdrop("concrete", "sky", 6.0, (0.52, 0.53, 0.55)),
    Backdrop("gravel", "sky", 6.0, (0.64, 0.58, 0.50)),
)
"""Places that look like places."""


class Stage:
    """A scene in the making.

    Args:
        rng: source of all choices.
        aspect: width over height of the picture.
        camera: what looks at the stage.
    """

    def __init__(self, rng: np.random.Generator, aspect: float, camera: CameraPath) -> None:
        self.rng = rng
        self.camera = camera
        self.aspect = aspect
        self.objects: list[ObjectSpec] = []

    def half_width(self, z: float) -> float:
        """Half of the ground's width in the picture at depth z, in metres."""
        return float(np.tan(np.deg2rad(self.camera.fov) / 2) * (self.camera.distance + z))

    def nearest(self) -> float:
        """Smallest z at which the ground is in the picture, with a little room."""
        half = np.arctan(np.tan(np.deg2rad(self.camera.fov) / 2) / self.aspect)
        below = half + np.arctan2(self.camera.height - 0.6, self.camera.distance)
        return max(NEAR, float(self.camera.height / np.tan(below)) - self.camera.distance + 0.5)

    def spot(self, share: float = 0.75) -> tuple[float, float]:
        """Draw a place (x, z) in the picture, within a share of its width."""
        z = self.rng.uniform(self.nearest(), FAR)
        return float(self.rng.uniform(-1, 1) * share * self.half_width(z)), float(z)

    def radius(self, spec: ObjectSpec) -> float:
        """Radius of the ground that an object of unit size may cover, in metres."""
        sprite = load_sprites()[spec.category] if spec.sprite else None
        reach = [
            np.hypot(abs(part.center[0]) + part.half[0], abs(part.center[2]) + part.half[2])
            if part.solid != "ball"
            else np.hypot(part.center[0], part.center[2]) + max(part.half[0], part.half[2])
            for part in parts_of(spec, sprite)
        ]
        return float(max(reach))

    def fits(self, spec: ObjectSpec) -> bool:
        """Tell whether an object keeps clear of all others at all times."""
        path = ground_path(spec.motion, CHECKS)
        reach = self.radius(spec) * sizes(spec, CHECKS)
        for other in self.objects:
            gap = np.linalg.norm(path - ground_path(other.motion, CHECKS), axis=1)
            if (gap < reach + self.radius(other) * sizes(other, CHECKS) + MARGIN).any():
                return False
        return True

    def add(self, spec: ObjectSpec, programs: Sequence[str]) -> bool:
        """Find a free path for an object by trial; False = there is no room.

        Args:
            spec: without its motion.
            programs: motions to choose from.
        """
        for _ in range(TRIES):
            program = str(self.rng.choice(list(programs)))
            motion = self.motion(program, self.radius(spec) * spec.size)
            moving = self.with_motion(spec, motion)
            if self.fits(moving):
                self.objects.append(moving)
                return True
        return False

    def add_passing(self, spec: ObjectSpec) -> bool:
        """Let an object pass behind a large one, and be seen before and after; False = no room.

        Args:
            spec: without its motion; it is made small enough to be hidden.
        """
        rng = self.rng
        spec = replace(spec, size=min(spec.size, 0.7, 0.55 / self.radius(spec)))
        for _ in range(TRIES):
            category = str(rng.choice(list(SCREENS)))
            near, far = rng.uniform(self.nearest(), -0.3), rng.uniform(1.2, FAR)
            x = float(rng.uniform(-0.25, 0.25) * self.half_width(near))
            screen = replace(
                random_solid(rng, category),
                size=SCREENS[category],
                yaw=0.0,
                motion=Motion(start=(x, float(near)), end=(x, float(near))),
            )
            reach = float(rng.choice([-1, 1]) * 0.8 * self.half_width(far))
            passing = Motion("occlude", (-reach, float(far)), (reach, float(far)))
            hidden = self.with_motion(spec, passing)
            if not self.fits(hidden):
                continue
            self.objects.append(hidden)
            if self.fits(screen):
                self.objects.append(screen)
                return True
            self.objects.pop()
        return False

    def add_follower(self, spec: ObjectSpec) -> bool:
        """Let an object travel behind one that goes straight; False = there is none, or no room.

        Args:
            spec: without its motion.
        """
        for leader, first in enumerate(self.objects):
            start, end = np.array(first.motion.start), np.array(first.motion.end)
            way = float(np.linalg.norm(end - start))
            if first.motion.program != "straight" or way < 1.5:
                continue
            gap = self.radius(spec) * spec.size + self.radius(first) * first.size + 0.35
            back = (end - start) / way * gap
            motion = Motion(
                "follow",
                tuple((start - back).tolist()),
                tuple((end - back).tolist()),
                leader=leader,
            )
            follower = self.with_motion(spec, motion)
            if self.fits(follower):
                self.objects.append(follower)
                return True
        return False

    def with_motion(self, spec: ObjectSpec, motion: Motion) -> ObjectSpec:
        """Turn an object into its direction and give it its motion."""
        yaw = spec.yaw
        if spec.sprite:
            faces = load_sprites()[spec.category].faces
            forward = motion.end[0] - motion.start[0]
            if faces and motion.start != motion.end:
                yaw = 0.0 if (forward > 0) == (faces == "right") else float(np.pi)
        return replace(spec, motion=motion, yaw=yaw)

    def motion(self, program: str, radius: float) -> Motion:
        """Draw a path for a program; `radius` in metres keeps what enters out of the picture."""
        rng = self.rng
        start, end = self.spot(), self.spot()
        if program in ("still", "spin", "grow", "shrink"):
            end = start
        elif program in ("enter", "leave"):
            side = float(rng.choice([-1, 1]))
            z = start[1]
            outside = (side * (self.half_width(z) + radius), z)
            inside = (-side * float(rng.uniform(0, 0.5)) * self.half_width(z), z)
            start, end = (outside, inside) if program == "enter" else (inside, outside)
        elif rng.random() < 0.7:
            z = float(np.clip(start[1] + rng.uniform(-0.4, 0.4), self.nearest(), FAR))
            side = -np.sign(start[0]) if start[0] else 1.0
            end = (float(side * rng.uniform(0.25, 0.8) * self.half_width(z)), z)
        amount = {
            "bounce": rng.uniform(0.5, 1.0),
            "circle": rng.uniform(0.6, 1.1),
            "spin": rng.choice([-1, 1]) * rng.uniform(0.8, 1.5),
            "grow": rng.uniform(1.7, 2.1),
            "shrink": rng.uniform(0.45, 0.6),
        }.get(program, 0.0)
        phase = float(rng.random()) if program == "circle" else 0.0
        moment = float(rng.uniform(0.4, 0.6))
        return Motion(program, start, end, float(amount), phase, moment)


def random_solid(rng: np.random.Generator, category: str, plain: float = 0.6) -> ObjectSpec:
    """Draw an object of a category, at its origin and without motion."""
    low, high = CATEGORIES[category].height
    pattern = str(rng.choice(["striped", "checkered", "dotted"]))
    finish = str(rng.choice(["matte", "shiny", "metal"], p=[0.6, 0.28, 0.12]))
    return ObjectSpec(
        category=category,
        color=str(rng.choice(list(COLORS))),
        pattern="plain" if rng.random() < plain else pattern,
        finish=finish,
        size=float(rng.uniform(low, high)),
        yaw=float(rng.uniform(-0.9, 0.9) + (np.pi if rng.random() < 0.5 else 0.0)),
    )


def random_sprite(rng: np.random.Generator, sprite: Sprite) -> ObjectSpec:
    """Draw an object that is a picture."""
    size = sprite.natural_height * float(rng.uniform(0.85, 1.15))
    return ObjectSpec(sprite.name, color="", size=size, sprite=True)


def random_light(rng: np.random.Generator, flicker: float = 0.0) -> Light:
    """Draw a sun that shines from the camera's side."""
    return Light(
        azimuth=float(rng.choice([rng.uniform(0.35, 1.2), rng.uniform(1.9, 2.8)])),
        elevation=float(rng.uniform(0.65, 1.1)),
        ambient=float(rng.uniform(0.35, 0.5)),
        flicker=flicker,
    )


def random_backdrop(rng: np.random.Generator) -> Backdrop:
    """Draw a place and vary its colors a little."""
    chosen = BACKDROPS[rng.integers(len(BACKDROPS))]

    def vary(tint: tuple[float, float, float]) -> tuple[float, float, float]:
        red, green, blue = np.clip(np.array(tint) * rng.uniform(0.95, 1.05, 3), 0, 1).tolist()
        return red, green, blue

    return replace(chosen, tint=vary(chosen.tint), wall_tint=vary(chosen.wall_tint))
