"""Recipes: a name and a seed make a scene.

Each serves one use; all draw from `numpy.random.default_rng` of the seed and the recipe's name, so
that clips can be made on any number of workers, in any order.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vdit.datasets.synthetic.probing_recipes import (
    OPPOSITES,
    SHUFFLED,
    camera,
    category,
    frame_order,
    geometry,
    motion_order,
    motion_type,
    tracking,
)
from vdit.datasets.synthetic.recipe_parts import (
    MOVERS,
    STANDING,
    Recipe,
    draw_camera,
    draw_object,
)
from vdit.datasets.synthetic.referring_recipes import (
    crossed,
    identical,
    referring,
    simple,
    single,
)
from vdit.datasets.synthetic.refsynth_recipes import (
    refsynth,
    refsynth_combinations,
    refsynth_identical,
)
from vdit.datasets.synthetic.scene import CameraPath, Motion, Scene
from vdit.datasets.synthetic.staging import (
    Stage,
    random_backdrop,
    random_light,
    random_solid,
)


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
        seed: same seed, same scene; recipes with opposites draw one for two seeds.
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
    drawn, is_second = (seed // 2, bool(seed % 2)) if recipe.opposites else (seed, False)
    rng = np.random.default_rng((drawn, sum(name.encode()), len(name)))
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
        seed=drawn,
        recipe=name,
        action=recipe.opposites[action] if is_second else action,
        order=recipe.second_order if is_second else "forwards",
    )


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
    stage = Stage(rng, aspect, draw_camera(rng, still=1.0))
    for _ in range(int(rng.integers(3, 11))):
        spec = replace(draw_object(stage, MOVERS), size=float(rng.uniform(0.5, 1.0)))
        stage.add(spec, ("straight", "bounce", "circle", "stop"))
    return stage, ""


def _movi_e(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    amount = float(rng.choice([-1, 1]) * rng.uniform(0.6, 1.4))
    stage = Stage(rng, aspect, replace(draw_camera(rng, still=1.0), motion="truck", amount=amount))
    for _ in range(int(rng.integers(1, 4))):
        spec = replace(draw_object(stage, MOVERS), size=float(rng.uniform(0.5, 0.9)))
        stage.add(spec, ("straight", "bounce", "circle"))
    for _ in range(int(rng.integers(10, 21))):
        stage.add(replace(draw_object(stage), size=float(rng.uniform(0.4, 0.8))), STANDING)
    return stage, ""


def _mot(rng: np.random.Generator, aspect: float) -> tuple[Stage, str]:
    """Objects of one kind on parallel lanes, so that they cross and hide each other."""
    stage = Stage(rng, aspect, draw_camera(rng, still=0.6))
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


RECIPES: dict[str, Recipe] = {
    "referring": Recipe(referring, 24, 128, 128, "several objects, sentences of every kind"),
    "simple": Recipe(simple, 24, 128, 128, "three plain objects: for very small models"),
    "single": Recipe(single, 1, 128, 128, "one plain object"),
    "crossed": Recipe(crossed, 24, 128, 128, "plain objects that share category or color"),
    "identical": Recipe(identical, 24, 128, 128, "equal objects told apart only by motion"),
    "refsynth": Recipe(refsynth, 24, 128, 128, "referring, without the looks that are held out"),
    "refsynth-combinations": Recipe(
        refsynth_combinations, 24, 128, 128, "a color that its category never has in refsynth"
    ),
    "refsynth-identical": Recipe(
        refsynth_identical, 24, 128, 128, "identical, without the looks that are held out"
    ),
    "kubric-similar": Recipe(_kubric_similar, 16, 256, 256, "two identical balls that cross"),
    "movi-c": Recipe(_movi_c, 24, 256, 256, "look-alike of MOVi-C: static camera, all moving"),
    "movi-e": Recipe(_movi_e, 24, 256, 256, "look-alike of MOVi-E: many objects, moving camera"),
    "mot": Recipe(_mot, 48, 192, 320, "one kind of object on crossing lanes", 0.5),
    "motion-type": Recipe(motion_type, 16, 128, 128, "one object, one labelled motion"),
    "motion-order": Recipe(
        motion_order,
        16,
        128,
        128,
        "motions in pairs that differ in time's direction alone",
        opposites=OPPOSITES,
    ),
    "frame-order": Recipe(
        frame_order,
        16,
        128,
        128,
        "a moving camera, its frames in order or shuffled",
        opposites=SHUFFLED,
        second_order="shuffled",
    ),
    "camera": Recipe(camera, 16, 128, 128, "a camera that moves by any amount: pose"),
    "category": Recipe(category, 16, 128, 128, "one object of any kind: what is it?"),
    "geometry": Recipe(geometry, 16, 128, 128, "moving camera, standing objects: depth, pose"),
    "tracking": Recipe(tracking, 24, 256, 256, "textured movers: points and boxes", 0.5),
    "image": Recipe(referring, 1, 256, 256, "one frame with sentences"),
}
"""Recipes by name."""
