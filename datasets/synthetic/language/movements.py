"""What can be said about how one object moves; T frames, verdicts as in `facts`.

A verdict is 1 = clearly true, -1 = clearly false, 0 = a viewer could argue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vdit.datasets.synthetic.scene import ObjectSpec

TRAVEL = (0.15, 0.6)
"""Metres of path: below the first an object does not travel, above the second it clearly does."""
DOMINANCE = 1.5
"""Of the displacement along an axis over that along the other; twice it rules the other out."""
STRAIGHTNESS = 0.9
"""Of the displacement over the length of the path, for a direction to be stated."""
PICTURE_SHIFT = 0.1
"""Of the picture's width: what shifts more seems to move sideways, whatever it does."""
REST = (0.1, 0.2)
"""Of the clip: shorter rests are none, longer ones clearly are."""
HOP = (0.05, 0.25)
"""Metres of height: lower ones are no hops, higher ones clearly are."""
GROWTH = (1.05, 1.35)
"""Ratio of sizes: below the first nothing grows, above the second it clearly does."""
RADIUS = 0.4
"""Metres of the smallest circle."""

# A turn around the vertical does not show on these unless they have spots or checks.
_ROUND = frozenset(("ball", "can", "cone", "egg", "tree", "mushroom", "lamp"))


@dataclass(frozen=True)
class Path:
    """A path over the ground.

    Attributes:
        travel: its length in metres.
        top_speed: metres of its longest step between frames.
        straightness: displacement over length.
        right: displacement in metres to the right, for the first camera.
        away: displacement in metres away from the first camera.
        picture_shift: displacement to the right in the first camera's picture, in picture widths.
        picture_travel: length of the path in that picture, in picture widths.
        rests: share of the clip before and after the object travels.
    """

    travel: float
    top_speed: float
    straightness: float
    right: float
    away: float
    picture_shift: float
    picture_travel: float
    rests: tuple[float, float]

    @classmethod
    def of(cls, positions: np.ndarray, seen: np.ndarray, focal: float) -> Path:
        """Measure a path.

        Args:
            positions: [T, 3] in the world, in metres.
            seen: [T, 3] the same in the frame of the first camera.
            focal: of the first camera, in picture widths.
        """
        ground = positions[:, [0, 2]]
        steps = np.linalg.norm(np.diff(ground, axis=0), axis=1)
        travel = float(steps.sum())
        picture = focal * seen[:, :2] / np.maximum(seen[:, 2:], 0.1)
        covered = np.cumsum(steps) / max(travel, 1e-9)
        shift = seen[-1] - seen[0]
        count = max(len(steps), 1)
        return cls(
            travel=travel,
            top_speed=float(steps.max(initial=0)),
            straightness=float(np.linalg.norm(ground[-1] - ground[0])) / max(travel, 1e-9),
            right=float(shift[0]),
            away=float(shift[2]),
            picture_shift=float(picture[-1, 0] - picture[0, 0]),
            picture_travel=float(np.linalg.norm(np.diff(picture, axis=0), axis=1).sum()),
            rests=(float((covered < 0.02).sum()) / count, float((covered > 0.98).sum()) / count),
        )


def judge_motions(
    spec: ObjectSpec,
    path: Path,
    lift: np.ndarray,
    sizes: np.ndarray,
    zoom: np.ndarray,
    visible: np.ndarray,
    clear: np.ndarray,
    inside: np.ndarray,
) -> dict[str, int]:
    """Judge everything that can be said about an object's motion.

    Args:
        spec: the object.
        path: of its middle.
        lift: [T] metres between the ground and its lowest point.
        sizes: [T] heights in metres.
        zoom: [T] pixels per metre at the object's depth.
        visible: [T] bool, where any of the object is seen.
        clear: [T] bool, where enough of it is seen to recognize it.
        inside: [T] bool, where the visible part does not touch the picture's border.

    Returns:
        Verdicts, by the names that `Facts.motions` lists; all 0 in less than 3 frames.
    """
    moves = _between(path.travel, TRAVEL)
    hop = _between(float(np.ptp(lift)), HOP)
    growth = _growth(sizes[-1] / sizes[0], zoom[-1] / zoom[0])
    shrinkage = _growth(sizes[0] / sizes[-1], zoom[0] / zoom[-1])
    quiet = max(moves, hop, _between(sizes.max() / sizes.min(), GROWTH)) < 0
    still = spec.motion.program == "still" and quiet
    verdicts = _directions(path) | {
        "moves": moves if moves > 0 or still else 0,
        "still": 1 if still else min(-moves, 0),
        "bounce": min(hop, int(spec.motion.program == "bounce")) if hop >= 0 else -1,
        "circle": _circle(spec, path),
        "spin": _spin(spec, path),
        "grow": growth,
        "shrink": shrinkage,
        "start": _rest(path.rests[0], path, bool(visible[0])),
        "stop": _rest(path.rests[1], path, bool(visible[-1])),
    }
    if visible.sum() < max(3, len(visible) // 3):
        verdicts = {name: min(verdict, 0) for name, verdict in verdicts.items()}
    verdicts |= {
        "enter": _crossing(spec, "enter", moves, visible, inside),
        "leave": _crossing(spec, "leave", moves, visible[::-1], inside[::-1]),
        "occlude": _occlusion(spec, visible, clear),
    }
    return verdicts if len(visible) >= 3 else dict.fromkeys(verdicts, 0)


def _between(value: float, bounds: tuple[float, float]) -> int:
    return int(value >= bounds[1]) - int(value <= bounds[0])


def _directions(path: Path) -> dict[str, int]:
    """Verdicts on "left", "right", "away" and "closer"."""
    if path.travel <= TRAVEL[0]:
        return dict.fromkeys(("left", "right", "away", "closer"), -1)
    if path.travel < TRAVEL[1] or path.straightness < STRAIGHTNESS:
        return dict.fromkeys(("left", "right", "away", "closer"), 0)
    right = _dominant_sign(path.right, path.away) if path.right * path.picture_shift > 0 else 0
    away = _dominant_sign(path.away, path.right)
    verdicts = {"right": right, "left": -right, "away": away, "closer": -away}
    # a small part along an axis is none, unless the picture shows otherwise
    sideways = 2 * DOMINANCE * abs(path.right) <= abs(path.away)
    if sideways and abs(path.picture_shift) <= PICTURE_SHIFT:
        verdicts |= {"left": -1, "right": -1}
    if 2 * DOMINANCE * abs(path.away) <= abs(path.right):
        verdicts |= {"away": -1, "closer": -1}
    return verdicts


def _dominant_sign(part: float, other: float) -> int:
    """Sign of the displacement along an axis where it dominates, else 0."""
    return int(np.sign(part)) if abs(part) >= DOMINANCE * abs(other) else 0


def _rest(share: float, path: Path, is_seen: bool) -> int:
    """Whether it stands for some time, and travels in the rest of the clip."""
    if path.travel <= TRAVEL[0]:
        return -1
    verdict = _between(share, REST)
    return min(verdict, _between(path.travel, TRAVEL), int(is_seen)) if verdict >= 0 else -1


def _circle(spec: ObjectSpec, path: Path) -> int:
    if spec.motion.program == "circle":
        return int(spec.motion.amount >= RADIUS)
    return -1 if path.travel <= TRAVEL[0] or path.straightness >= STRAIGHTNESS else 0


def _spin(spec: ObjectSpec, path: Path) -> int:
    if spec.motion.program == "spin":
        is_round = spec.category in _ROUND and spec.pattern not in ("checkered", "dotted")
        return int(abs(spec.motion.amount) >= 0.5 and (spec.sprite or not is_round))
    # what travels along a curve turns
    return -1 if path.straightness >= STRAIGHTNESS or path.travel <= TRAVEL[0] else 0


def _growth(ratio: float, zoom: float) -> int:
    """Whether it grows, and whether its picture agrees."""
    if ratio >= GROWTH[1]:
        return int(zoom >= 0.75)
    return -1 if ratio <= GROWTH[0] and ratio * zoom <= 1.2 else 0


def _crossing(
    spec: ObjectSpec, program: str, moves: int, visible: np.ndarray, inside: np.ndarray
) -> int:
    """Whether it comes into the picture; for "leave" with [T] `visible` and `inside` in reverse."""
    if spec.motion.program == program:
        return int(moves > 0 and not visible[0] and visible[-1])
    is_in = visible if moves < 0 else inside & visible
    comes_back = (np.diff(is_in.astype(int)) > 0).any() or (np.diff(visible.astype(int)) > 0).any()
    return -1 if is_in[0] and not comes_back else 0


def _occlusion(spec: ObjectSpec, visible: np.ndarray, clear: np.ndarray) -> int:
    """Whether something hides it for a while."""
    if clear.all():
        return -1
    hides = spec.motion.program == "occlude" and not visible.all()
    return int(hides and clear[0] and clear[-1])
