"""Render Kubric-Similar: two identical balls that cross, with simulated physics and traced light.

Needs bpy (Blender, GPL) and pybullet in an environment of its own, as bpy wants numpy < 2:

    python -m venv kubric && kubric/bin/pip install bpy==5.0.1 pybullet==3.2.7 "numpy<2" pillow
    kubric/bin/python tools/render_kubric_similar.py -o kubric-similar

Writes a tree of DAVIS that `vdit.datasets.kubric_similar` reads. Labels are exact: the ray through
the middle of every pixel is met with the spheres in closed form. A video is drawn again until one
ball hides a good part of the other, so that the same seed gives the same videos.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
import pybullet
from mathutils import Matrix
from PIL import Image

FRAMES_PER_SECOND = 12
STEPS_PER_FRAME = 20
GRAVITY = -9.8
CAMERA = np.array([0.0, -7.0, 2.6])
TARGET = np.array([0.0, 0.0, 0.75])
FIELD_OF_VIEW = math.radians(46)
LEAST_HIDDEN = 0.35
"""Share of a ball that must be hidden by the other at some time."""
LEAST_FRAMES = 3
"""The first, the last, and one in which a ball is hidden."""
SKY = (0.4, 0.55, 0.8, 1.0)
"""Linear color of the light that comes from everywhere."""
JPEG_QUALITY = 92
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0]
"""Colors that DAVIS gives to the labels 0, 1 and 2."""


@dataclass(frozen=True)
class Shot:
    """Two equal balls and how they are thrown; z is up, the camera looks along y.

    Attributes:
        radius: metres.
        color: linear RGB, 0..1.
        metallic: 0 or 1.
        roughness: 0..1.
        bounce: share of the speed that is left after a bounce, of ball and floor together.
        starts: [2, 3] metres.
        velocities: [2, 3] metres a second.
        sun: (azimuth, elevation) in radians.
        floor: linear RGB of the floor, 0..1.
    """

    radius: float
    color: tuple[float, float, float]
    metallic: float
    roughness: float
    bounce: float
    starts: np.ndarray
    velocities: np.ndarray
    sun: tuple[float, float]
    floor: tuple[float, float, float]


def draw_shot(rng: np.random.Generator, seconds: float) -> Shot:
    """Draw two balls that pass each other in lanes of their own, so that they never collide."""
    radius = float(rng.uniform(0.5, 0.75))
    side = int(rng.choice([-1, 1]))
    near = float(rng.uniform(-2.2, -1.4))
    lanes = np.array([near, near + 2 * radius + rng.uniform(0.2, 1.6)])
    reach = 0.36 * (lanes - CAMERA[1]) * rng.uniform(0.75, 1.0, 2)
    ends = 0.36 * (lanes - CAMERA[1]) * rng.uniform(0.5, 1.0, 2)
    way = np.array([side, -side])
    starts = np.stack([-way * reach, lanes, radius + rng.uniform(0.0, 1.3, 2)], axis=1)
    velocities = np.zeros((2, 3))
    velocities[:, 0] = way * (reach + ends) / seconds
    velocities[:, 2] = rng.uniform(-1.0, 3.0, 2)
    hue = float(rng.uniform(0, 1))
    color = tuple(0.08 + 0.75 * max(0.0, math.cos(2 * math.pi * (hue - k / 3))) for k in range(3))
    gray = rng.uniform(0.15, 0.5)
    return Shot(
        radius=radius,
        color=color,
        metallic=float(rng.random() < 0.3),
        roughness=float(rng.uniform(0.15, 0.6)),
        bounce=float(rng.uniform(0.6, 0.9)),
        starts=starts,
        velocities=velocities,
        sun=(float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(0.6, 1.2))),
        floor=tuple(float(gray * rng.uniform(0.7, 1.3)) for _ in range(3)),
    )


def simulate(shot: Shot, num_frames: int) -> np.ndarray:
    """Let the balls fly and bounce; centers [T, 2, 3] in metres."""
    client = pybullet.connect(pybullet.DIRECT)
    try:
        pybullet.setGravity(0, 0, GRAVITY)
        pybullet.setTimeStep(1 / (FRAMES_PER_SECOND * STEPS_PER_FRAME))
        floor = pybullet.createMultiBody(
            0, pybullet.createCollisionShape(pybullet.GEOM_PLANE, planeNormal=[0, 0, 1])
        )
        pybullet.changeDynamics(floor, -1, restitution=1.0, lateralFriction=0.3)
        shape = pybullet.createCollisionShape(pybullet.GEOM_SPHERE, radius=shot.radius)
        balls = []
        for start, velocity in zip(shot.starts, shot.velocities, strict=True):
            ball = pybullet.createMultiBody(1.0, shape, basePosition=start.tolist())
            pybullet.changeDynamics(ball, -1, restitution=shot.bounce, lateralFriction=0.3)
            pybullet.resetBaseVelocity(ball, linearVelocity=velocity.tolist())
            balls.append(ball)
        centers = np.zeros((num_frames, 2, 3))
        for t in range(num_frames):
            centers[t] = [pybullet.getBasePositionAndOrientation(ball)[0] for ball in balls]
            for _ in range(STEPS_PER_FRAME):
                pybullet.stepSimulation()
        return centers
    finally:
        pybullet.disconnect(client)


def camera_axes() -> np.ndarray:
    """Rows: right, up and forward of the camera in the world, [3, 3]."""
    forward = (TARGET - CAMERA) / np.linalg.norm(TARGET - CAMERA)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(right, forward), forward])


def label(centers: np.ndarray, radius: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Meet the rays through the middles of all pixels with the balls.

    Args:
        centers: [T, 2, 3].
        radius: metres.
        size: pixels of a side.

    Returns:
        Labels [T, H, W] uint8 of what is seen, and whole balls [T, 2, H, W] bool.
    """
    middle = (np.arange(size) + 0.5 - size / 2) * math.tan(FIELD_OF_VIEW / 2) / (size / 2)
    x, y = np.meshgrid(middle, -middle)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ camera_axes()
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    offset = CAMERA - centers  # [T, 2, 3]
    along = np.einsum("hwc,tkc->tkhw", rays, offset)
    inside = along**2 - ((offset**2).sum(axis=-1) - radius**2)[:, :, None, None]
    depth = np.where(inside > 0, -along - np.sqrt(np.maximum(inside, 0)), np.inf)
    whole = np.isfinite(depth)
    labels = np.where(whole.any(axis=1), depth.argmin(axis=1) + 1, 0).astype(np.uint8)
    return labels, whole


def is_good(labels: np.ndarray, whole: np.ndarray) -> bool:
    """Whether both balls begin and end in full view and one hides the other in between."""
    seen = np.stack([labels == 1, labels == 2], axis=1)
    areas, visible = whole.sum(axis=(2, 3)), seen.sum(axis=(2, 3))
    if (areas == 0).any():
        return False
    border = whole[:, :, [0, -1]].any() or whole[:, :, :, [0, -1]].any()
    hidden = 1 - visible / areas
    return not border and hidden[[0, -1]].max() == 0 and hidden.max() >= LEAST_HIDDEN


def build_scene(shot: Shot, size: int, samples: int) -> list[bpy.types.Object]:
    """Replace the scene by floor, light, camera and two balls, which are returned."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples = samples
    scene.cycles.use_denoising = True
    scene.cycles.seed = 0
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.image_settings.file_format = "PNG"
    scene.view_settings.view_transform = "Standard"
    scene.world = bpy.data.worlds.new("sky")
    scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = SKY
    azimuth, elevation = shot.sun
    bpy.ops.object.light_add(type="SUN", rotation=(math.pi / 2 - elevation, 0, azimuth))
    bpy.context.object.data.energy = 3.0
    bpy.context.object.data.angle = 0.1
    bpy.ops.mesh.primitive_plane_add(size=200)
    bpy.context.object.data.materials.append(_floor(shot))
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.angle = FIELD_OF_VIEW
    right, up, forward = camera_axes()
    matrix = np.eye(4)
    matrix[:3] = np.stack([right, up, -forward, CAMERA], axis=1)
    camera.matrix_world = Matrix(matrix.tolist())  # a plain list is taken by columns
    scene.collection.objects.link(camera)
    scene.camera = camera
    material = _surface("ball", shot.color, shot.metallic, shot.roughness)
    balls = []
    for _ in range(2):
        bpy.ops.mesh.primitive_uv_sphere_add(segments=128, ring_count=64, radius=shot.radius)
        bpy.ops.object.shade_smooth()
        bpy.context.object.data.materials.append(material)
        balls.append(bpy.context.object)
    return balls


def _surface(
    name: str, color: tuple[float, float, float], metallic: float, roughness: float
) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    inputs = material.node_tree.nodes["Principled BSDF"].inputs
    inputs["Base Color"].default_value = (*color, 1)
    inputs["Metallic"].default_value = metallic
    inputs["Roughness"].default_value = roughness
    return material


def _floor(shot: Shot) -> bpy.types.Material:
    """A mottled floor, so that there is something to hold on to."""
    material = _surface("floor", shot.floor, 0.0, 0.9)
    nodes, links = material.node_tree.nodes, material.node_tree.links
    noise, ramp = nodes.new("ShaderNodeTexNoise"), nodes.new("ShaderNodeValToRGB")
    place = nodes.new("ShaderNodeTexCoord")
    noise.inputs["Scale"].default_value = 1.5
    noise.inputs["Detail"].default_value = 6.0
    ramp.color_ramp.elements[0].color = (*(0.45 * np.array(shot.floor)), 1)
    ramp.color_ramp.elements[1].color = (*(1.4 * np.array(shot.floor)), 1)
    ramp.color_ramp.elements[0].position, ramp.color_ramp.elements[1].position = 0.35, 0.65
    links.new(place.outputs["Object"], noise.inputs["Vector"])
    links.new(noise.outputs["Fac"], ramp.inputs["Fac"])
    links.new(ramp.outputs["Color"], nodes["Principled BSDF"].inputs["Base Color"])
    return material


def render(shot: Shot, centers: np.ndarray, folder: Path, size: int, samples: int) -> None:
    """Write the frames of a shot as <folder>/%05d.jpg."""
    balls = build_scene(shot, size, samples)
    folder.mkdir(parents=True, exist_ok=True)
    picture_path = folder / "frame.png"
    for t, places in enumerate(centers):
        for ball, place in zip(balls, places, strict=True):
            ball.location = place
        bpy.context.scene.render.filepath = str(picture_path)
        bpy.ops.render.render(write_still=True)
        with Image.open(picture_path) as picture:
            picture.convert("RGB").save(folder / f"{t:05d}.jpg", quality=JPEG_QUALITY)
    picture_path.unlink()


def write_labels(labels: np.ndarray, folder: Path) -> None:
    """Write labels [T, H, W] as <folder>/%05d.png with the palette of DAVIS."""
    folder.mkdir(parents=True, exist_ok=True)
    for t, each in enumerate(labels):
        picture = Image.fromarray(each)
        picture.putpalette(PALETTE)
        picture.save(folder / f"{t:05d}.png", optimize=True)


def main() -> None:
    """Render the videos that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="root of the tree")
    parser.add_argument("--count", type=int, default=14, help="videos")
    parser.add_argument("--frames", type=int, default=16, help="of a video")
    parser.add_argument("--size", type=int, default=256, help="pixels of a side")
    parser.add_argument("--samples", type=int, default=16, help="rays of a pixel")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.frames < LEAST_FRAMES:
        parser.error(
            f"expected --frames {LEAST_FRAMES} or more, got {options.frames}: a ball is hidden "
            "between the first and the last frame, which show both in full"
        )
    names = []
    for number in range(options.count):
        rng = np.random.default_rng((options.seed, number))
        while True:
            shot = draw_shot(rng, options.frames / FRAMES_PER_SECOND)
            centers = simulate(shot, options.frames)
            labels, whole = label(centers, shot.radius, options.size)
            if is_good(labels, whole):
                break
        names.append(f"balls-{number:02d}")
        write_labels(labels, options.output / "Annotations" / "480p" / names[-1])
        frames = options.output / "JPEGImages" / "480p" / names[-1]
        render(shot, centers, frames, options.size, options.samples)
    lists = options.output / "ImageSets" / "2017"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / "val.txt").write_text("".join(f"{name}\n" for name in names))


if __name__ == "__main__":
    main()
