"""A small world of its own for the sentences: objects without a renderer, and boxes around them."""

from __future__ import annotations

import dataclasses

import numpy as np

from vdit.datasets.synthetic.clip import CameraTrack
from vdit.datasets.synthetic.language.captions import KINDS, write_captions
from vdit.datasets.synthetic.language.facts import observe
from vdit.datasets.synthetic.scene import Motion, ObjectSpec, Scene

WIDTH = HEIGHT = 128
T = 16
SOLIDS = ("ball", "cube", "egg", "car", "bus", "tree", "dog", "duck", "snowman")
SPRITES = ("banana", "hot air balloon", "mouse", "turtle", "umbrella")
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")


def camera_at(shift=0.0):
    """A camera 2 m above the ground that looks along z and slides by `shift` metres."""
    focal = 0.5 * WIDTH / np.tan(np.deg2rad(27))
    intrinsics = np.array([[focal, 0, WIDTH / 2], [0, focal, HEIGHT / 2], [0, 0, 1]])
    poses = np.tile(np.eye(3, 4), (T, 1, 1))
    poses[:, 0, 3] = -shift * np.linspace(0, 1, T)
    poses[:, 1, 3], poses[:, 2, 3] = 1.5, 8.0
    return CameraTrack(np.tile(intrinsics, (T, 1, 1)), poses)


def walk(objects):
    """Middles [N, T, 3] and heights [N, T] of objects."""
    u = np.linspace(0, 1, T)
    positions, sizes = np.zeros((len(objects), T, 3)), np.zeros((len(objects), T))
    for i, spec in enumerate(objects):
        motion = spec.motion
        start, end = np.array(motion.start), np.array(motion.end)
        share, lift = np.zeros(T), np.zeros(T)
        size = np.full(T, spec.size)
        if motion.program in ("straight", "enter", "leave", "occlude", "follow", "bounce"):
            share = u
        elif motion.program == "start":
            share = np.maximum(u - motion.moment, 0) / (1 - motion.moment)
        elif motion.program == "stop":
            share = np.minimum(u / motion.moment, 1)
        elif motion.program in ("grow", "shrink"):
            size = spec.size * motion.amount**u
        ground = start + share[:, None] * (end - start)
        if motion.program == "circle":
            angle = 2 * np.pi * (u + motion.phase)
            ground = start + motion.amount * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        elif motion.program == "bounce":
            lift = motion.amount * np.abs(np.sin(3 * np.pi * u))
        positions[i] = np.stack([ground[:, 0], -lift - size / 2, ground[:, 1]], axis=1)
        sizes[i] = size
    return positions, sizes


def look(camera, positions, sizes):
    """Boxes [N, T, 4] around squares that stand upright, cut to the picture; zeros outside."""
    pose = camera.world_to_camera
    seen = np.einsum("tij,ntj->nti", pose[..., :3], positions) + pose[..., 3]
    focal = camera.intrinsics[0, 0, 0]
    middle = focal * seen[..., :2] / seen[..., 2:] + WIDTH / 2
    half = (focal * sizes / seen[..., 2] / 2)[..., None]
    boxes = np.concatenate([middle - half, middle + half], axis=-1).clip(0, WIDTH)
    is_seen = (boxes[..., 2] - boxes[..., 0] > 1) & (boxes[..., 3] - boxes[..., 1] > 1)
    return (boxes * is_seen[..., None]).astype(np.float32)


def world(objects, shift=0.0):
    """All that the facts, and the solver, take."""
    scene = Scene(tuple(objects), num_frames=T, height=HEIGHT, width=WIDTH)
    camera = camera_at(shift)
    positions, sizes = walk(objects)
    boxes = look(camera, positions, sizes)
    for i, spec in enumerate(objects):
        if spec.motion.program == "occlude":
            boxes[i, T // 3 : T // 2] = 0
    return scene, camera, positions, boxes, sizes


def random_motion(rng, index):
    start = (rng.uniform(-3, 3), rng.uniform(-2, 4))
    turn = rng.integers(4) * np.pi / 2 + rng.uniform(-0.4, 0.4)
    way = rng.uniform(0.8, 3.5) * np.array([np.cos(turn), np.sin(turn)])
    end = (start[0] + way[0], start[1] + way[1])
    programs = "still still straight straight bounce circle spin grow shrink".split()
    programs += "start stop enter leave occlude".split() + ["follow"] * (index > 0)
    program = rng.choice(programs)
    moment, side = rng.uniform(0.3, 0.7), rng.choice([-1.0, 1.0])
    outside = (8.5 * side, start[1])
    amounts = {"bounce": 0.6, "circle": 1.0, "spin": 1.5, "grow": 1.8, "shrink": 0.5}
    leader = None
    if program == "enter":
        start, end = outside, start
    elif program == "leave":
        end = outside
    elif program == "bounce" and rng.random() < 0.5:
        end = start
    elif program == "follow":
        leader = int(rng.integers(index))
    return Motion(str(program), start, end, amounts.get(program, 0.0), 0.0, moment, leader)


def random_object(rng, index, nouns):
    noun = str(rng.choice(nouns))
    return ObjectSpec(
        category=noun,
        color=str(rng.choice(COLORS)),
        pattern=str(rng.choice(["plain", "plain", "striped", "checkered", "dotted"])),
        finish=str(rng.choice(["matte", "matte", "shiny", "metal"])),
        size=float(rng.choice([0.6, 0.7, 1.0, 1.3])),
        motion=random_motion(rng, index),
        sprite=noun in SPRITES,
    )


def random_world(seed):
    rng = np.random.default_rng(seed)
    nouns = rng.choice(SOLIDS + SPRITES, size=3, replace=False)
    objects = []
    for index in range(int(rng.integers(2, 7))):
        spec = random_object(rng, index, nouns)
        if spec.motion.leader is not None:  # one and a half metres behind
            led = objects[spec.motion.leader].motion
            way = np.array(led.end) - np.array(led.start)
            if led.program not in ("straight", "enter", "leave") or not way.any():
                spec = dataclasses.replace(spec, motion=Motion("still", spec.motion.start))
            else:
                back = 1.5 * way / np.linalg.norm(way)
                ends = tuple(led.start - back), tuple(led.end - back)
                motion = Motion("follow", *ends, leader=spec.motion.leader)
                spec = dataclasses.replace(spec, motion=motion)
        objects.append(spec)
    return world(objects, shift=float(rng.choice([0.0, 0.0, 1.0])))


def texts_of(objects, per_kind=400, shift=0.0):
    captions = write_captions(
        observe(*world(objects, shift)), np.random.default_rng(0), per_kind=per_kind
    )
    return {kind: [each.text for each in captions if each.kind == kind] for kind in KINDS}


def at(x, z, category="ball", **fields):
    return ObjectSpec(category, motion=Motion(start=(x, z)), **fields)
