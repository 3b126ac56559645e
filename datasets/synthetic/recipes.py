"""Recipes: a name and a seed make a scene.

Each serves one use; all draw from `numpy.random.default_rng` of the seed and the recipe's name, so
that clips can be made on any number of workers, in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vdit.datasets.synthetic.catalog import CATEGORIES
from vdit.datasets.synthetic.motions import PROGRAMS
from vdit.datasets.synthetic.scene import CameraPath, Motion, ObjectSpec, Scene
from vdit.datasets.synthetic.sprites import load_sprites
from vdit.datasets.synthetic.staging import (
    Stage,
    random_backdrop,
    random_light,
    random_solid,
    random_sprite,
)

TRAVEL = ("straight", "straight", "bounce", "start", "stop", "enter", "leave", "circle")
STANDING = ("still",)
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
    """

    draw: Draw
    num_frames: int
    height: int
    width: int
    summary: str
    share_of_blurred: float = 0.0


def make_scene(
    name: str,
    seed: int,
    num_frames: int | None = None,
    height: int | None = None,
    width: int | None = None,
) -> Scene:
    """Draw a scene.

    Args:
        name: of a recipe.
        seed: same seed, same scene.
        num_frames: T; None = the recipe's own.
        height: H in pixels; None = the recipe's own.
        width: W in pixels; None = the recipe's own.

    Raises:
        ValueError: the recipe is unknown, the seed negative, or a size not positive.
    """
    if name not in RECIPES:
        raise ValueError(f"expected a recipe among {', '.join(RECIPES)}; got {name!r}")
    recipe = RECIPES[name]
    T = recipe.num_frames if num_frames is None else num_frames
    H = recipe.height if height is None else height
    W = recipe.width if width is None else width
    if seed < 0 or T < 1 or H < 16 or W < 16:
        raise ValueError(
            f"expected seed >= 0, at least 1 frame and 16 pixels a side; got seed {seed}, "
            f"{T} frames of {H}x{W}"
        )
    rng = np.random.default_rng((seed, sum(name.encode()), len(name)))
    stage, action = recipe.draw(rng, W / H)
    return Scene(
        objects=tuple(stage.objects),
        camera=stage.camera,
        light=random_light(rng, flicker=0.25 if rng.random() < 0.15 else 0.0),
        backdrop=random_backdrop(rng),
        num_frames=T,
        height=H,
        width=W,
        blur=float(rng.choice([0.0, 0.0, 0.0, 0.5])),
        motion_blur=0.5 if rng.random() < recipe.share_of_blurred else 0.0,
        seed=seed,
        recipe=name,
        action=action,
    )


def _camera(rng: np.random.Generator, still: float = 0.5) -> CameraPath:
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


MOVERS = tuple(name for name, each in CATEGORIES.items() if each.moves)
FOLLOWERS = ("ball", "car", "duck", "dog", "robot")


def _any_object(stage: Stage, categories: Sequence[str] = tuple(CATEGORIES)) -> ObjectSpec:
    """Draw a solid of one of some categories, or in one of five cases a picture."""
    rng = stage.rng
    if len(categories) > 1 and rng.random() < 0.2:
        sprites = load_sprites()
        return random_sprite(rng, sprites[str(rng.choice(sorted(sprites)))])
    return random_solid(rng, str(rng.choice(list(categories))))


def _programs(stage: Stage, spec: ObjectSpec) -> tuple[str, ...]:
    """Motions that suit an object; a turn is invisible on what looks alike from all sides."""
    if spec.sprite:
        return (*TRAVEL, "still", "grow", "shrink")
    category = CATEGORIES[spec.category]
    if not category.moves:
        return STANDING
    return (*TRAVEL, "still", "grow", "shrink", *(("spin",) if category.yaws else ()))


def _referring(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    stage = Stage(rng, aspect, _camera(rng))
    count = int(rng.integers(3, 6))
    if rng.random() < 0.1:
        stage.add_passing(random_solid(rng, str(rng.choice(MOVERS))))
    twins = int(rng.integers(2, 4)) if rng.random() < SHARE_OF_TWINS else 0
    category = str(rng.choice(list(CATEGORIES)))
    for index in range(count):
        spec = _any_object(stage, (category,) if index < twins else tuple(CATEGORIES))
        stage.add(spec, _programs(stage, spec))
    if rng.random() < 0.15:
        stage.add_follower(random_solid(rng, str(rng.choice(FOLLOWERS))))
    return stage, ""


def _simple(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
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


def _identical(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """Two to four equal objects, told apart only by what they do."""
    stage = Stage(rng, aspect, _camera(rng, still=1.0))
    count = int(rng.integers(2, 5))
    while len(stage.objects) < 2:  # large objects may find no room beside each other
        stage.objects.clear()
        spec = random_solid(rng, str(rng.choice(MOVERS)))
        for program in rng.permutation(["still", "straight", "bounce", "circle", "stop", "start"]):
            if len(stage.objects) < count:
                stage.add(spec, [str(program)])
    return stage, ""


def _kubric_similar(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """Two equal balls that roll past each other, one in front."""
    camera = CameraPath(height=2.0, distance=6.5, fov=46.0)
    stage = Stage(rng, aspect, camera)
    ball = replace(
        random_solid(rng, "ball", plain=1.0), size=float(rng.uniform(1.1, 1.4)), finish="matte"
    )
    side = int(rng.choice([-1, 1]))
    for z, way in ((float(rng.uniform(-1.4, -0.9)), side), (float(rng.uniform(0.5, 1.0)), -side)):
        reach = float(rng.uniform(0.5, 0.7)) * stage.half_width(z)
        end = (way * reach, z + float(rng.uniform(-0.2, 0.2)))
        program = "bounce" if rng.random() < 0.5 else "straight"
        motion = Motion(program, (-way * reach, z), end, amount=0.5)
        stage.objects.append(stage.with_motion(ball, motion))
    return stage, ""


def _movi_c(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    stage = Stage(rng, aspect, _camera(rng, still=1.0))
    for _ in range(int(rng.integers(3, 11))):
        spec = replace(_any_object(stage, MOVERS), size=float(rng.uniform(0.5, 1.0)))
        stage.add(spec, ("straight", "bounce", "circle", "stop"))
    return stage, ""


def _movi_e(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    amount = float(rng.choice([-1, 1]) * rng.uniform(0.6, 1.4))
    stage = Stage(rng, aspect, replace(_camera(rng, still=1.0), motion="truck", amount=amount))
    for _ in range(int(rng.integers(1, 4))):
        spec = replace(_any_object(stage, MOVERS), size=float(rng.uniform(0.5, 0.9)))
        stage.add(spec, ("straight", "bounce", "circle"))
    for _ in range(int(rng.integers(10, 21))):
        stage.add(replace(_any_object(stage), size=float(rng.uniform(0.4, 0.8))), STANDING)
    return stage, ""


def _mot(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """Objects of one kind on parallel lanes, so that they cross and hide each other."""
    stage = Stage(rng, aspect, _camera(rng, still=0.6))
    category = str(rng.choice(["robot", "dog", "car", "duck", "snowman"]))
    count = int(rng.integers(4, 8))
    for z in np.linspace(stage.nearest(), 3.5, count):
        spec = replace(random_solid(rng, category), size=float(rng.uniform(0.7, 0.9)))
        side = float(rng.choice([-1, 1]))
        reach = stage.half_width(float(z)) + stage.radius(spec) * spec.size
        start, end = rng.uniform(0.3, 1.0) * reach, rng.uniform(0.3, 1.0) * reach
        motion = Motion("straight", (-side * start, float(z)), (side * end, float(z)))
        moving = stage.with_motion(spec, motion)
        if stage.fits(moving):
            stage.objects.append(moving)
    return stage, ""


def _motion_type(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """One object and what it does, beside what hides it: action recognition."""
    stage = Stage(rng, aspect, _camera(rng, still=0.7))
    action = str(rng.choice([name for name in PROGRAMS if name != "follow"]))
    movers = [name for name, each in CATEGORIES.items() if each.moves and each.yaws]
    spec = random_solid(rng, str(rng.choice(movers)), plain=0.3)
    if action == "occlude":  # seen before and after, as no camera takes it out of sight
        stage.camera = replace(stage.camera, motion="static")
        stage.add_passing(spec)
    else:
        stage.add(spec, [action])
    return stage, action


def _geometry(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """A moving camera among standing objects: depth and pose."""
    camera = _camera(rng, still=0.0)
    while camera.motion == "shake":
        camera = _camera(rng, still=0.0)
    stage = Stage(rng, aspect, camera)
    for _ in range(int(rng.integers(4, 9))):
        stage.add(_any_object(stage), STANDING)
    return stage, ""


def _tracking(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """Textured objects that turn, travel and hide each other: points and boxes."""
    stage = Stage(rng, aspect, _camera(rng, still=0.3))
    if rng.random() < 0.5:
        stage.add_passing(random_solid(rng, str(rng.choice(MOVERS)), plain=0.1))
    for _ in range(int(rng.integers(3, 7))):
        spec = random_solid(rng, str(rng.choice(MOVERS)), plain=0.1)
        stage.add(spec, ("straight", "bounce", "circle", "spin", "stop"))
    return stage, ""


RECIPES: dict[str, Recipe] = {
    "referring": Recipe(_referring, 24, 128, 128, "several objects, sentences of every kind"),
    "simple": Recipe(_simple, 24, 128, 128, "three plain objects: for very small models"),
    "identical": Recipe(_identical, 24, 128, 128, "equal objects told apart only by motion"),
    "kubric-similar": Recipe(_kubric_similar, 16, 256, 256, "two identical balls that cross"),
    "movi-c": Recipe(_movi_c, 24, 256, 256, "look-alike of MOVi-C: static camera, all moving"),
    "movi-e": Recipe(_movi_e, 24, 256, 256, "look-alike of MOVi-E: many objects, moving camera"),
    "mot": Recipe(_mot, 48, 192, 320, "one kind of object on crossing lanes", 0.5),
    "motion-type": Recipe(_motion_type, 16, 128, 128, "one object, one labelled motion"),
    "geometry": Recipe(_geometry, 16, 128, 128, "moving camera, standing objects: depth, pose"),
    "tracking": Recipe(_tracking, 24, 256, 256, "textured movers: points and boxes", 0.5),
    "image": Recipe(_referring, 1, 256, 256, "one frame with sentences"),
}
"""Recipes by name."""
