"""Frames of a clip that have truth for every pixel, and the feature frames that show them.

A clip "around" a labelled frame has truth for that frame alone, every other clip for all its
frames; what nobody labelled in them is void.

B clips, T frames, K of them with truth, T' feature frames, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vdit.probing.clip_views import ClipView, ViewOptions, choose_views
from vdit.probing.probe_task import FeatureShape

Steps = Literal["labelled", "all"]
Scoring = Literal["clip", "frame"]


def labelled_positions(view: ViewOptions) -> tuple[int, ...]:
    """List the positions in a clip that have truth.

    >>> labelled_positions(ViewOptions(num_frames=16, sampling="around", position=8))
    (8,)
    >>> labelled_positions(ViewOptions(num_frames=3, sampling="strided"))
    (0, 1, 2)
    """
    if view.sampling != "around":
        return tuple(range(view.num_frames))
    return (view.num_frames // 2 if view.position is None else view.position,)


def labelled_views(view: ViewOptions, video: Any, is_training: bool) -> list[ClipView]:
    """List the clips of a video that show a frame with truth.

    Args:
        view: how clips are cut out.
        video: with `labelled`, the positions of its frames with truth.
        is_training: see `choose_views`.

    Raises:
        ValueError: no clip shows one.
    """
    count = len(video.frame_names)
    views = choose_views(view, count, video.size, video.labelled, is_training)
    labelled, positions = set(video.labelled), labelled_positions(view)
    found = [each for each in views if any(each.indices[k] in labelled for k in positions)]
    if not found:
        raise ValueError(
            f"no clip of {video.name} shows one of its {len(labelled)} frames with truth; set "
            "view.sampling=around"
        )
    return found


def check_scoring(view: ViewOptions, scored: Scoring) -> None:
    """Check that clips have a labelled frame, and show all of the frames that are scored.

    Raises:
        ValueError: the labelled position is outside of a clip, or clips are cropped although whole
            frames are scored.
    """
    for position in labelled_positions(view):
        if not 0 <= position < view.num_frames:
            raise ValueError(
                f"expected view.position in 0..{view.num_frames - 1} of clips of "
                f"{view.num_frames} frames, got {position}"
            )
    if scored == "frame" and view.crop is not None:
        raise ValueError(
            f"expected no view.crop with scored=frame, got {view.crop}; crop nothing, or pass "
            "scored=clip"
        )


def frames_seen(view: ViewOptions, steps: Steps) -> tuple[int, ...] | None:
    """List the positions whose features such a head sees; None = all."""
    return labelled_positions(view) if (view.sampling, steps) == ("around", "labelled") else None


def steps_showing(shape: FeatureShape, positions: Sequence[int], num_frames: int) -> list[int]:
    """Find the feature frame that shows each of some frames of a clip.

    Args:
        shape: of the features of clips.
        positions: of the frames in their clip.
        num_frames: T of a clip.

    Raises:
        ValueError: a frame is in no feature frame, or there are fewer feature frames than frames
            and nobody says which frames they stand for.
    """
    spans = shape.spans or tuple((t, t + 1) for t in range(shape.steps))
    if not shape.spans and shape.steps != num_frames:
        raise ValueError(
            f"expected one feature frame for each of {num_frames} frames, got {shape.steps} and no "
            "spans; tell the frames that each one stands for"
        )
    steps = []
    for position in positions:
        found = [step for step, (start, stop) in enumerate(spans) if start <= position < stop]
        if not found:
            raise ValueError(f"no feature frame shows frame {position} of clips, only {spans}")
        steps.append(found[0])
    return steps


class LabelledFrameHead(nn.Module):
    """A head that sees of a clip the feature frames that show its labelled frames.

    Args:
        head: takes features [B, K, C, h, w].
        steps: the K feature frames; None = the head sees all feature frames of a clip as the
            channels of one, for its only labelled frame.
    """

    def __init__(self, head: nn.Module, steps: Sequence[int] | None) -> None:
        super().__init__()
        self.head = head
        self.steps = None if steps is None else list(steps)

    def forward(self, features: Tensor, *asked: Any) -> Tensor:
        """Features [B, T', C, h, w] and what the head is asked -> its answer."""
        if self.steps is None:
            return self.head(features.flatten(1, 2)[:, None], *asked)
        return self.head(features[:, self.steps], *asked)


def channels_seen(shape: FeatureShape, steps: Steps) -> int:
    """Count the channels that a head inside of `LabelledFrameHead` sees."""
    return shape.channels * (shape.steps if steps == "all" else 1)


def steps_seen(shape: FeatureShape, steps: Steps, view: ViewOptions) -> list[int] | None:
    """Choose the `steps` of a `LabelledFrameHead`.

    Raises:
        ValueError: "all" where clips have several frames with truth, or as `steps_showing`.
    """
    positions = labelled_positions(view)
    if steps == "labelled":
        return steps_showing(shape, positions, view.num_frames)
    if len(positions) > 1:
        raise ValueError(
            f'expected head.steps "labelled" for clips with {len(positions)} frames with truth, '
            'got "all"; it is for view.sampling=around'
        )
    return None


def nearest_size(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring maps [..., H', W'] to another size by nearest neighbors, [..., H, W]."""
    rows, columns = (
        (2 * torch.arange(new) + 1) * old // (2 * new)
        for old, new in zip(maps.shape[-2:], size, strict=True)
    )
    return maps[..., rows[:, None], columns[None, :]]
