"""What objects are made of: solids put together, with named points.

An object's own frame has its foot at the origin and unit height: y runs from 0 at the ground to -1
at the top. It faces along x.
"""

from __future__ import annotations

from dataclasses import dataclass

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """One solid of an object.

    Attributes:
        solid: name, see `vdit.datasets.synthetic.solids`.
        center: its middle in the object's frame.
        half: half of its extent along x, y and z.
        role: "main" = the object's color and pattern, else the name of a fixed color.
        roll: radians around z, positive turns x towards y (down).
        pitch: radians around x, positive turns y towards z.
    """

    solid: str
    center: Vector
    half: Vector
    role: str = "main"
    roll: float = 0.0
    pitch: float = 0.0


@dataclass(frozen=True)
class Category:
    """A kind of object.

    Attributes:
        parts: its solids.
        height: (smallest, largest) natural height in metres of this toy world.
        keypoints: named points on the surface.
        moves: it may travel.
        rolls: it turns while it travels, as a ball does.
        yaws: headings make a difference to how it looks.
    """

    parts: tuple[Part, ...]
    height: tuple[float, float]
    keypoints: dict[str, Vector]
    moves: bool = True
    rolls: bool = False
    yaws: bool = True


def _wheels(x: float, z: float, radius: float) -> tuple[Part, ...]:
    half = (radius, 0.06, radius)
    return tuple(
        Part("cylinder", (sx * x, -radius, sz * z), half, "rubber", pitch=1.5707963)
        for sx in (-1, 1)
        for sz in (-1, 1)
    )


def _pair(solid: str, center: Vector, half: Vector, role: str = "main") -> tuple[Part, ...]:
    x, y, z = center
    return tuple(Part(solid, (x, y, side * z), half, role) for side in (-1, 1))


def _legs(x: float, z: float, height: float, width: float) -> tuple[Part, ...]:
    half = (width, height / 2, width)
    return tuple(
        Part("cylinder", (sx * x, -height / 2, sz * z), half) for sx in (-1, 1) for sz in (-1, 1)
    )


_FOUR_SIDES: dict[str, Vector] = {
    "top": (0.0, -1.0, 0.0),
    "right": (0.5, -0.5, 0.0),
    "left": (-0.5, -0.5, 0.0),
    "front": (0.0, -0.5, -0.5),
}

CATEGORIES: dict[str, Category] = {
    "ball": Category(
        (Part("ball", (0, -0.5, 0), (0.5, 0.5, 0.5)),), (0.7, 1.3), _FOUR_SIDES, rolls=True
    ),
    "cube": Category((Part("box", (0, -0.5, 0), (0.5, 0.5, 0.5)),), (0.7, 1.2), _FOUR_SIDES),
    "can": Category(
        (
            Part("cylinder", (0, -0.5, 0), (0.36, 0.46, 0.36)),
            Part("cylinder", (0, -0.5, 0), (0.34, 0.5, 0.34), "steel"),
        ),
        (0.8, 1.3),
        {"top": (0, -1, 0), "right": (0.36, -0.5, 0), "left": (-0.36, -0.5, 0)},
        yaws=False,
    ),
    "cone": Category(
        (
            Part("cone", (0, -0.53, 0), (0.36, 0.47, 0.36)),
            Part("box", (0, -0.04, 0), (0.46, 0.04, 0.46)),
        ),
        (0.9, 1.4),
        {"tip": (0, -0.99, 0), "right": (0.46, -0.04, 0), "left": (-0.46, -0.04, 0)},
    ),
    "egg": Category(
        (Part("ball", (0, -0.5, 0), (0.37, 0.5, 0.37)),),
        (0.7, 1.2),
        {"top": (0, -1, 0), "right": (0.37, -0.5, 0), "left": (-0.37, -0.5, 0)},
        yaws=False,
    ),
    "pill": Category(
        (
            Part("cylinder", (0, -0.5, 0), (0.5, 0.5, 0.5), roll=1.5707963),
            Part("ball", (0.5, -0.5, 0), (0.5, 0.5, 0.5), "white"),
            Part("ball", (-0.5, -0.5, 0), (0.5, 0.5, 0.5)),
        ),
        (0.5, 0.8),
        {"right": (1.0, -0.5, 0), "left": (-1.0, -0.5, 0), "top": (0, -1, 0)},
    ),
    "car": Category(
        (
            Part("box", (0, -0.42, 0), (1.0, 0.24, 0.45)),
            Part("box", (-0.08, -0.8, 0), (0.52, 0.2, 0.4)),
            Part("box", (-0.08, -0.79, 0), (0.44, 0.15, 0.405), "glass"),
            Part("box", (-0.08, -0.79, 0), (0.525, 0.15, 0.33), "glass"),
            *_wheels(0.6, 0.42, 0.22),
            *_pair("ball", (0.98, -0.46, 0.3), (0.06, 0.08, 0.08), "lamp"),
        ),
        (0.7, 1.1),
        {
            "hood": (0.8, -0.66, 0),
            "roof": (-0.08, -1, 0),
            "tail": (-1.0, -0.45, 0),
            "front wheel": (0.6, -0.22, -0.48),
            "back wheel": (-0.6, -0.22, -0.48),
        },
    ),
    "bus": Category(
        (
            Part("box", (0, -0.56, 0), (1.1, 0.44, 0.42)),
            Part("box", (0, -0.7, 0), (1.02, 0.14, 0.425), "glass"),
            Part("box", (0.03, -0.68, 0), (1.075, 0.18, 0.36), "glass"),
            *_wheels(0.68, 0.4, 0.17),
        ),
        (1.0, 1.5),
        {
            "nose": (1.1, -0.3, 0),
            "roof": (0, -1, 0),
            "tail": (-1.1, -0.3, 0),
            "front wheel": (0.68, -0.17, -0.46),
            "back wheel": (-0.68, -0.17, -0.46),
        },
    ),
    "house": Category(
        (
            Part("box", (0, -0.27, 0), (0.5, 0.27, 0.45)),
            Part("box", (0, -0.54, 0), (0.325, 0.325, 0.44), "roof", roll=0.7853982),
            Part("box", (0, -0.19, 0), (0.1, 0.19, 0.46), "wood"),
            Part("box", (0.3, -0.34, 0), (0.1, 0.09, 0.456), "glass"),
            Part("box", (-0.3, -0.34, 0), (0.1, 0.09, 0.456), "glass"),
        ),
        (1.5, 2.1),
        {"ridge": (0, -0.98, -0.44), "door": (0, -0.2, -0.46), "window": (0.3, -0.34, -0.456)},
        moves=False,
        yaws=False,
    ),
    "tree": Category(
        (
            Part("cylinder", (0, -0.15, 0), (0.07, 0.15, 0.07), "wood"),
            Part("cone", (0, -0.44, 0), (0.34, 0.22, 0.34)),
            Part("cone", (0, -0.62, 0), (0.28, 0.2, 0.28)),
            Part("cone", (0, -0.82, 0), (0.2, 0.18, 0.2)),
        ),
        (1.6, 2.3),
        {"tip": (0, -0.99, 0), "trunk": (0, -0.1, -0.07)},
        moves=False,
        yaws=False,
    ),
    "mushroom": Category(
        (
            Part("cylinder", (0, -0.3, 0), (0.15, 0.3, 0.15), "cream"),
            Part("ball", (0, -0.62, 0), (0.48, 0.38, 0.48)),
        ),
        (0.7, 1.1),
        {"top": (0, -1, 0), "stem": (0, -0.12, -0.15)},
        yaws=False,
    ),
    "snowman": Category(
        (
            Part("ball", (0, -0.26, 0), (0.28, 0.26, 0.28)),
            Part("ball", (0, -0.57, 0), (0.2, 0.19, 0.2)),
            Part("ball", (0, -0.78, 0), (0.14, 0.13, 0.14)),
            Part("cone", (0.2, -0.78, 0), (0.03, 0.09, 0.03), "carrot", roll=1.5707963),
            Part("cylinder", (0, -0.68, 0), (0.15, 0.035, 0.15), "scarf"),
            Part("cylinder", (0, -0.95, 0), (0.1, 0.07, 0.1), "rubber"),
            Part("cylinder", (0, -0.885, 0), (0.16, 0.015, 0.16), "rubber"),
        ),
        (1.2, 1.7),
        {"hat": (0, -1.02, 0), "nose": (0.28, -0.78, 0), "belly": (0.2, -0.57, 0)},
    ),
    "duck": Category(
        (
            Part("ball", (-0.05, -0.35, 0), (0.55, 0.34, 0.36)),
            Part("ball", (0.3, -0.76, 0), (0.24, 0.24, 0.24)),
            Part("ball", (0.56, -0.72, 0), (0.16, 0.06, 0.1), "orange"),
            Part("ball", (-0.56, -0.52, 0), (0.16, 0.1, 0.12), roll=0.6),
            *_pair("ball", (0.43, -0.83, 0.15), (0.05, 0.05, 0.05), "rubber"),
        ),
        (0.7, 1.1),
        {"beak": (0.71, -0.72, 0), "head": (0.3, -1.0, 0), "tail": (-0.7, -0.56, 0)},
    ),
    "dog": Category(
        (
            Part("ball", (0, -0.52, 0), (0.52, 0.2, 0.2)),
            *_legs(0.34, 0.11, 0.46, 0.065),
            Part("ball", (0.52, -0.8, 0), (0.2, 0.19, 0.17)),
            Part("ball", (0.7, -0.75, 0), (0.13, 0.09, 0.1)),
            Part("ball", (0.82, -0.78, 0), (0.035, 0.035, 0.035), "rubber"),
            *_pair("ball", (0.46, -0.82, 0.17), (0.07, 0.15, 0.04), "brown"),
            Part("cylinder", (-0.56, -0.7, 0), (0.04, 0.16, 0.04), roll=-0.6),
        ),
        (0.8, 1.2),
        {
            "nose": (0.85, -0.78, 0),
            "head": (0.52, -0.99, 0),
            "tail": (-0.65, -0.82, 0),
            "front paw": (0.34, -0.02, -0.17),
            "back paw": (-0.34, -0.02, -0.17),
        },
    ),
    "rocket": Category(
        (
            Part("cylinder", (0, -0.45, 0), (0.18, 0.27, 0.18)),
            Part("cone", (0, -0.86, 0), (0.18, 0.14, 0.18), "steel"),
            Part("ball", (0, -0.55, -0.14), (0.08, 0.08, 0.06), "glass"),
            Part("cone", (0, -0.14, 0), (0.14, 0.06, 0.14), "steel"),
            *(
                Part("box", (side * 0.22, -0.22, 0), (0.06, 0.2, 0.02), "rubber", roll=side * 0.3)
                for side in (-1, 1)
            ),
            Part("box", (0, -0.2, 0.2), (0.02, 0.18, 0.08), "rubber"),
        ),
        (1.2, 1.8),
        {"tip": (0, -0.99, 0), "window": (0, -0.55, -0.2), "nozzle": (0, -0.1, -0.1)},
    ),
    "robot": Category(
        (
            Part("box", (0, -0.46, 0), (0.2, 0.2, 0.26)),
            Part("box", (0, -0.82, 0), (0.15, 0.13, 0.18)),
            Part("cylinder", (0, -0.68, 0), (0.06, 0.05, 0.06), "steel"),
            *_pair("box", (0, -0.13, 0.13), (0.1, 0.13, 0.08), "steel"),
            *_pair("box", (0, -0.46, 0.33), (0.06, 0.18, 0.05), "steel"),
            *_pair("ball", (0.14, -0.84, 0.08), (0.04, 0.045, 0.045), "lamp"),
            Part("ball", (0, -0.98, 0), (0.03, 0.04, 0.03), "carrot"),
        ),
        (1.0, 1.5),
        {"head": (0, -0.95, 0), "chest": (0.2, -0.46, 0), "antenna": (0, -1.02, 0)},
    ),
    "boat": Category(
        (
            Part("ball", (0, -0.2, 0), (0.62, 0.2, 0.26)),
            Part("box", (0, -0.33, 0), (0.36, 0.05, 0.13), "wood"),
            Part("cylinder", (0, -0.68, 0), (0.025, 0.32, 0.025), "wood"),
            Part("cone", (0.04, -0.69, 0), (0.34, 0.27, 0.015), "cream"),
        ),
        (1.1, 1.7),
        {"bow": (0.62, -0.2, 0), "stern": (-0.62, -0.2, 0), "mast": (0, -1, 0)},
    ),
    "lamp": Category(
        (
            Part("cylinder", (0, -0.03, 0), (0.24, 0.03, 0.24), "steel"),
            Part("cylinder", (0, -0.4, 0), (0.03, 0.36, 0.03), "steel"),
            Part("cone", (0, -0.82, 0), (0.34, 0.18, 0.34)),
        ),
        (1.1, 1.6),
        {"shade": (0, -0.99, 0), "base": (0, -0.06, -0.2)},
        yaws=False,
    ),
}
"""Objects that need no picture file, by the noun that names them."""
