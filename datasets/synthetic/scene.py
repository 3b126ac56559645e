"""What a scene is: plain data, from which a renderer makes frames and a grammar sentences.

The world is that of a camera in OpenCV's convention: x to the right, y down, z away, in metres; the
ground is the plane y = 0, so what stands on it has negative y. Time u runs from 0 to 1 over a clip.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

VERSION = "2"
"""Changes whenever the same seed gives other bytes; written into everything rendered."""

FRAMES_PER_SECOND = 12.0

Order = Literal["forwards", "backwards", "shuffled"]


@dataclass(frozen=True)
class Motion:
    """How one object moves; see `vdit.datasets.synthetic.motions` for the programs.

    Attributes:
        program: name of the program.
        start: (x, z) on the ground at u = 0.
        end: (x, z) on the ground at u = 1, where the program travels.
        amount: of bounce: height in metres; circle: radius in metres; spin: turns; grow, shrink:
            size at the end over that at the start.
        phase: share of a turn or bounce at u = 0; circle: where it starts.
        moment: time at which the program starts or stops to travel.
        leader: index of the object that "follow" follows.
    """

    program: str = "still"
    start: tuple[float, float] = (0.0, 0.0)
    end: tuple[float, float] = (0.0, 0.0)
    amount: float = 0.0
    phase: float = 0.0
    moment: float = 0.5
    leader: int | None = None


@dataclass(frozen=True)
class ObjectSpec:
    """One object.

    Attributes:
        category: a solid of `vdit.datasets.synthetic.catalog`, or the name of a sprite.
        color: name from `vdit.datasets.synthetic.materials.COLORS`; a sprite has its own: "".
        pattern: "plain", "striped", "checkered" or "dotted".
        finish: "matte", "shiny" or "metal".
        size: height in metres at u = 0.
        yaw: heading in radians around the vertical; 0 faces to the right, pi / 2 away.
        motion: how it moves.
        sprite: True = a picture on a standing card instead of a solid.
    """

    category: str
    color: str = "red"
    pattern: str = "plain"
    finish: str = "matte"
    size: float = 1.0
    yaw: float = 0.0
    motion: Motion = Motion()
    sprite: bool = False


@dataclass(frozen=True)
class CameraPath:
    """How the camera moves.

    Attributes:
        motion: "static", "pan" (turns), "truck" (slides), "zoom" (longer lens), "dolly" (drives
            forward), "orbit" (circles the scene, so that perspective changes) or "shake".
        height: metres above the ground.
        distance: metres from the point on the ground that it looks at, which is the origin.
        fov: horizontal field of view in degrees at u = 0.
        amount: of pan and orbit: degrees; truck and dolly: metres; zoom: factor; shake: degrees.
        seed: of the shake.
    """

    motion: str = "static"
    height: float = 2.2
    distance: float = 7.0
    fov: float = 45.0
    amount: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Light:
    """One sun and the sky.

    Attributes:
        azimuth: radians around the vertical, from where the sun shines; 0 = from the right.
        elevation: radians above the horizon.
        ambient: 0..1 share of light that comes from everywhere.
        flicker: 0..1 depth of slow random changes of brightness, as under passing clouds.
    """

    azimuth: float = 2.2
    elevation: float = 0.9
    ambient: float = 0.35
    flicker: float = 0.0


@dataclass(frozen=True)
class Backdrop:
    """What is behind the objects.

    Attributes:
        floor: texture of the ground, see `vdit.datasets.synthetic.textures.FLOORS`.
        wall: texture of the wall, or "sky".
        wall_distance: metres from the origin to the wall.
        tint: color of the floor, sRGB 0..1.
        wall_tint: color of the wall, sRGB 0..1.
    """

    floor: str = "wood"
    wall: str = "plaster"
    wall_distance: float = 6.0
    tint: tuple[float, float, float] = (0.6, 0.5, 0.4)
    wall_tint: tuple[float, float, float] = (0.7, 0.7, 0.7)


@dataclass(frozen=True)
class Scene:
    """Everything that determines a clip's bytes, beside the renderer's version.

    Attributes:
        objects: in no order of depth.
        num_frames: T.
        height: H in pixels.
        width: W in pixels.
        blur: standard deviation of the lens' blur in pixels.
        motion_blur: share of the time between frames that the shutter is open; truth is that of
            the middle of this time.
        seed: of what the recipe drew.
        recipe: name of the recipe that made it.
        action: the clip's label for action recognition; "" = none.
        order: of the frames, which stay as they are: "forwards", "backwards" or "shuffled".
    """

    objects: tuple[ObjectSpec, ...]
    camera: CameraPath = CameraPath()
    light: Light = Light()
    backdrop: Backdrop = Backdrop()
    num_frames: int = 24
    height: int = 128
    width: int = 128
    blur: float = 0.0
    motion_blur: float = 0.0
    seed: int = 0
    recipe: str = ""
    action: str = ""
    order: Order = "forwards"

    def times(self) -> list[float]:
        """Time u of every frame."""
        forwards = [t / max(self.num_frames - 1, 1) for t in range(self.num_frames)]
        if self.order == "shuffled":
            drawn = np.random.default_rng((self.seed, 4)).permutation(self.num_frames)
            return [forwards[t] for t in drawn]
        return forwards[::-1] if self.order == "backwards" else forwards

    def as_json(self) -> dict[str, Any]:
        """Give the scene as plain data, with the renderer's version."""
        return {"version": VERSION, **asdict(self)}
