"""What is true of the objects of a clip, in the terms that sentences use.

Computed from the scene's geometry, never from words. N objects, T frames. A verdict is a number of
Kleene's logic: 1 = clearly true, -1 = clearly false, 0 = a viewer could argue; "and" is the
minimum, "not" the negative. Margins are constants here and in `movements`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from vdit.datasets.synthetic.clip import CameraTrack
from vdit.datasets.synthetic.language.movements import Path, judge_motions
from vdit.datasets.synthetic.scene import Scene

SIDE_MARGIN = 0.12
"""Of the picture's width, between an object and the one to the right of it."""
DEPTH_MARGIN = 0.6
"""Metres, in every frame."""
SIZE_RATIO = 1.35
SPEED_RATIO = 1.5
ONSET_MARGIN = 0.15
"""Of the clip, between two objects that start to move."""
MIN_FRAMES = 3
"""In which an object has to be seen clearly to be named, or all of a shorter clip."""
MIN_SIDE = 0.03
"""Of the picture's longer side: width and height of a visible part that is seen clearly."""


@dataclass(frozen=True, eq=False)
class Facts:
    """One object.

    Attributes:
        category: noun.
        color: word, "" = sprites, which have many colors.
        pattern: "plain", "striped", "checkered" or "dotted".
        finish: "matte", "shiny" or "metal".
        sprite: a picture, whose surface has no words.
        size: "big" or "small" against all others of its category, "" = neither clearly.
        centers: [T, 2] middle of the visible part over the picture's (width, height), NaN = hidden.
        clear: [T] bool, where enough of it is seen to recognize it.
        depths: [T] metres along the optical axis.
        heights: [T] metres.
        places: [T, 3] middle in the world, in metres.
        motions: verdicts on "left", "right", "away", "closer", "moves", "still", "bounce",
            "circle", "spin", "grow", "shrink", "start", "stop", "enter", "leave" and "occlude".
        program: name of the motion program.
        travel: metres of its path over the ground.
        top_speed: metres of its fastest step between frames.
        picture_travel: length of its path in the first camera's picture, in picture widths.
        onset: share of the clip before it starts to travel.
        leader: index of the object that it follows.
    """

    category: str
    color: str
    pattern: str
    finish: str
    sprite: bool
    size: str
    centers: np.ndarray
    clear: np.ndarray
    depths: np.ndarray
    heights: np.ndarray
    places: np.ndarray
    motions: Mapping[str, int]
    program: str
    travel: float
    top_speed: float
    picture_travel: float
    onset: float
    leader: int | None

    @cached_property
    def visible(self) -> np.ndarray:
        """Frames in which any of it can be seen, [T] bool."""
        return np.asarray(~np.isnan(self.centers[:, 0]))

    @cached_property
    def can_be_named(self) -> bool:
        return int(self.clear.sum()) >= min(MIN_FRAMES, len(self.clear))

    @property
    def direction(self) -> str:
        """Where it clearly moves: "left", "right", "away", "closer" or ""."""
        names = ("left", "right", "away", "closer")
        return next((name for name in names if self.motions[name] > 0), "")


@dataclass(frozen=True, eq=False)
class Orders:
    """Verdicts on every pair of objects, [N, N] int8; 0 on the diagonal.

    Attributes:
        left: the first is to the left of the second.
        near: it is nearer to the camera.
        big: it is bigger and of the same category.
        fast: it moves faster.
        early: it starts to move earlier.
    """

    left: np.ndarray
    near: np.ndarray
    big: np.ndarray
    fast: np.ndarray
    early: np.ndarray


def observe(
    scene: Scene,
    camera: CameraTrack,
    positions: np.ndarray,
    boxes: np.ndarray,
    sizes: np.ndarray,
) -> list[Facts]:
    """State what is true of each object.

    Args:
        scene: what was rendered.
        camera: its poses at T frames.
        positions: [N, T, 3] middles of the objects in the world, in metres.
        boxes: [N, T, 4] (x0, y0, x1, y1) of the visible parts in pixels, zeros where invisible.
        sizes: [N, T] heights in metres.
    """
    extent = np.array([scene.width, scene.height])
    visible = np.asarray((boxes[..., 2:] > boxes[..., :2]).all(axis=-1))
    middles = (boxes[..., :2] + boxes[..., 2:]) / 2 / extent
    clear = np.asarray((boxes[..., 2:] - boxes[..., :2]).min(axis=-1) >= MIN_SIDE * extent.max())
    centers = np.where(visible[..., None], middles, np.nan)
    inside = np.asarray(((boxes[..., :2] > 1) & (boxes[..., 2:] < extent - 1)).all(axis=-1))
    pose = camera.world_to_camera
    depths = np.einsum("tj,ntj->nt", pose[:, 2, :3], positions) + pose[None, :, 2, 3]
    zoom = camera.intrinsics[:, 0, 0] / np.maximum(depths, 0.1)  # pixels per metre
    facts = []
    for i, spec in enumerate(scene.objects):
        seen = positions[i] @ pose[0, :, :3].T + pose[0, :, 3]
        path = Path.of(positions[i], seen, camera.intrinsics[0, 0, 0] / scene.width)
        lift = -positions[i, :, 1] - sizes[i] / 2
        motions = judge_motions(
            spec, path, lift, sizes[i], zoom[i], visible[i], clear[i], inside[i]
        )
        facts.append(
            Facts(
                category=spec.category,
                color="" if spec.sprite else spec.color,
                pattern=spec.pattern,
                finish=spec.finish,
                sprite=spec.sprite,
                size="",
                centers=centers[i],
                clear=clear[i],
                depths=depths[i],
                heights=sizes[i],
                places=positions[i],
                motions=motions,
                program=spec.motion.program,
                travel=path.travel,
                top_speed=path.top_speed,
                picture_travel=path.picture_travel,
                onset=path.rests[0],
                leader=spec.motion.leader if spec.motion.program == "follow" else None,
            )
        )
    if not facts:
        return []
    big = compare(facts).big
    return [replace(each, size=_size_word(facts, big, i)) for i, each in enumerate(facts)]


def compare(facts: Sequence[Facts]) -> Orders:
    """Judge every pair of objects."""
    xs = np.stack([each.centers[:, 0] for each in facts])
    depths = np.stack([each.depths for each in facts])
    heights = np.stack([each.heights for each in facts])
    visible = np.stack([each.visible for each in facts])
    common = visible[:, None] & visible[None]  # [N, N, T]
    enough = common.sum(axis=-1) >= min(MIN_FRAMES, visible.shape[1])

    x = np.where(visible, xs, 0.0)
    step = np.where(common, x[None] - x[:, None], 0.0)  # > 0: the first is further left
    first = np.take_along_axis(step, common.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    mean = step.sum(axis=-1) / np.maximum(common.sum(axis=-1), 1)
    alone = x.sum(axis=-1) / np.maximum(visible.sum(axis=-1), 1)
    agrees = enough & ((alone[None] - alone[:, None]) * mean > 0)
    left = _sign((mean, first), SIDE_MARGIN) * agrees

    gap = depths[None] - depths[:, None]
    closest = np.where(common, gap, np.inf).min(axis=-1)
    farthest = np.where(common, gap, -np.inf).max(axis=-1)
    near = _sign((closest, farthest, gap.mean(axis=-1)), DEPTH_MARGIN) * enough

    growth = np.log(heights[:, None] / heights[None])
    distance = np.log(np.maximum(depths, 0.1)).mean(axis=-1)
    looks = growth.mean(axis=-1) - (distance[:, None] - distance[None])  # of heights in the picture
    same = np.array([[a.category == b.category for b in facts] for a in facts])
    margin = np.log(SIZE_RATIO)
    big = _sign((growth.min(axis=-1), growth.max(axis=-1)), margin) * same
    big = np.where(big * looks > np.log(1.1), big, 0)

    paths = [[each.travel, each.top_speed] for each in facts]
    pace = np.log(np.maximum(np.array(paths), 1e-3))
    ratio = pace[:, None] - pace[None]
    shown = np.log(np.maximum([each.picture_travel for each in facts], 1e-3))
    fast = _sign((ratio[..., 0], ratio[..., 1]), np.log(SPEED_RATIO))
    fast = np.where(fast * (shown[:, None] - shown[None]) > np.log(1.2), fast, 0)

    onset = np.array([each.onset for each in facts])
    early = _sign((onset[None] - onset[:, None],), ONSET_MARGIN)
    return Orders(*(order.astype(np.int8) for order in (left, near, big, fast, early)))


def _sign(measures: Sequence[np.ndarray], margin: float) -> np.ndarray:
    """1 where all measures reach the margin, -1 where all reach its negative, else 0."""
    above = np.all([each >= margin for each in measures], axis=0)
    below = np.all([each <= -margin for each in measures], axis=0)
    return above.astype(np.int8) - below.astype(np.int8)


def _size_word(facts: Sequence[Facts], big: np.ndarray, index: int) -> str:
    peers = [
        j for j, each in enumerate(facts) if j != index and each.category == facts[index].category
    ]
    if peers and (big[index, peers] > 0).all():
        return "big"
    return "small" if peers and (big[index, peers] < 0).all() else ""
