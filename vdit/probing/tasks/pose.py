"""Motion of the camera from the first frame of a clip to its last.

B clips. A pose [R | t] takes points of the first camera to the last one; t is in the unit of the
data set, metres in rendered clips, a unit of each scene's own in RealEstate10K.

References: Carreira et al., Scaling 4D representations, 2024 (readout, 12 numbers); Zhou et al.,
Stereo Magnification, SIGGRAPH 2018 (RealEstate10K).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vdit.datasets.truth_videos import PosedVideo
from vdit.datasets.videos import VideoDataset
from vdit.metrics.pose import (
    end_point_error,
    nearest_rotation,
    relative_pose,
    rotation_error,
    translation_error,
)
from vdit.models.probes.linear_pose import LinearPose
from vdit.models.probes.readout import PoseReadout, ReadoutConfig
from vdit.probing.clip_views import ClipView, ViewOptions, choose_views
from vdit.probing.learned_config import LearnedProbeConfig
from vdit.probing.probe_task import FeatureShape, Record, Tensors


@dataclass(frozen=True)
class PoseHead:
    """What reads the pose from features.

    Attributes:
        kind: "readout" is the attention readout of Scaling 4D representations; "linear" maps the
            change from the first feature frame to the last, for few clips.
        width: of the readout.
        num_heads: of its attention; they divide the width.
        to_rotation: replace the predicted 3 x 3 matrix by the nearest rotation before the end
            points are measured. Rotation errors are always those of the nearest rotation.
    """

    kind: Literal["readout", "linear"] = "readout"
    width: int = 1024
    num_heads: int = 16
    to_rotation: bool = False


@dataclass(frozen=True)
class PoseConfig(LearnedProbeConfig):
    """Camera pose as a learned probe.

    Attributes:
        head: what reads the pose.
    """

    head: PoseHead = field(default_factory=PoseHead)


class Pose:
    """Tell how the camera has moved between the ends of a clip.

    The scores of a video are the means over its clips: "epe" over the corners of a frustum (see
    `vdit.metrics.pose.end_point_error`), "translation" in the unit of t, "rotation" in degrees.

    Args:
        head: what reads the pose.
        view: how clips are cut out.

    Raises:
        ValueError: clips of a single frame, in which nothing moves.
    """

    metrics: Mapping[str, bool] = {
        "epe": False,
        "translation_error": False,
        "rotation_error": False,
    }
    unit = ""
    is_pooled = False

    def __init__(self, head: PoseHead, view: ViewOptions) -> None:
        if view.num_frames < 2:
            raise ValueError(
                f"expected clips of 2 frames or more, between which a camera moves; got "
                f"view.num_frames={view.num_frames}"
            )
        self.head, self.view = head, view

    @classmethod
    def build(cls, config: PoseConfig, dataset: VideoDataset[Any]) -> Pose:
        """Make the task of a configuration; the data set makes no difference."""
        return cls(config.head, config.view)

    @property
    def frames_seen(self) -> tuple[int, ...] | None:
        """See `SeesFrames`: the linear head compares the ends of a clip."""
        return (0, self.view.num_frames - 1) if self.head.kind == "linear" else None

    def check(self, dataset: VideoDataset[Any]) -> None:
        """See `ProbeTask`, as for all methods."""
        for video in dataset:
            if not isinstance(video, PosedVideo):
                raise ValueError(
                    f"expected a data set of cameras, got {dataset.name}; choose another task"
                )

    def views(self, video: PosedVideo, is_training: bool) -> list[ClipView]:
        count = len(video.frame_names)
        return choose_views(self.view, count, video.size, is_training=is_training)

    def targets(self, video: PosedVideo, view: ClipView, is_training: bool) -> Tensors:
        """The pose [3, 4] of the last camera of the clip relative to the first."""
        cameras = video.cameras().world_to_camera
        pose = relative_pose(cameras[view.indices[0]], cameras[view.indices[-1]])
        return {"pose": torch.from_numpy(pose).float()}

    def build_head(self, shape: FeatureShape) -> nn.Module:
        """Make the head of this kind, [B, T', C, h, w] -> [B, 3, 4]."""
        if self.head.kind == "linear":
            return LinearPose(shape.channels, shape.height, shape.width)
        return PoseReadout(
            ReadoutConfig(shape.channels, shape.steps, self.head.width, self.head.num_heads)
        )

    def losses(self, head: nn.Module, features: Tensor, targets: Tensors) -> Tensors:
        """The squared L2 distance of the 12 numbers, and its two parts."""
        squares = (head(features).float() - targets["pose"]).square()
        rotation, translation = (
            part.sum(dim=(1, 2)).mean() for part in (squares[..., :3], squares[..., 3:])
        )
        return {"loss": rotation + translation, "rotation": rotation, "translation": translation}

    def answer(self, head: nn.Module, features: Tensor, targets: Tensors) -> Tensors:
        return {"pose": head(features).float()}

    def blind_rule(self, training: Iterable[Tensors]) -> Callable[[Tensors], Tensors]:
        """The mean pose of the training clips."""
        mean = torch.stack([each["pose"] for each in training]).mean(0)
        return lambda targets: {"pose": mean}

    def score(self, answers: Sequence[Tensors], targets: Sequence[Tensors]) -> Record:
        """Measure the end points, the translation and the angle; means over the views."""
        predicted, true = (
            torch.stack([each["pose"] for each in poses]).double().numpy()
            for poses in (answers, targets)
        )
        projected = predicted.copy()
        projected[..., :3] = nearest_rotation(predicted[..., :3])
        moved = projected if self.head.to_rotation else predicted
        return {
            "epe": float(end_point_error(true, moved).mean()),
            "translation_error": float(translation_error(true, predicted).mean()),
            "rotation_error": float(rotation_error(true, projected).mean()),
        }

    def summarize(self, records: Sequence[Record]) -> dict[str, float]:
        return {
            name: sum(record[name] for record in records) / len(records) for name in self.metrics
        }
