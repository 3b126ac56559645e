"""J-HMDB: fifteen key points of the body of one actor in every frame.

    Rename_Images/<action>/<clip>/%05d.png                 from 00001
    joint_positions/<action>/<clip>/joint_positions.mat    pos_img [2, 15, T], counted from 1
    splits/<action>_test_split{1,2,3}.txt                  "<clip>.avi 1" = train, 2 = test

Reference: Jhuang et al., Towards Understanding Action Recognition, ICCV 2013. The protocol of
propagation takes the clips for testing of split 1 (Li et al., NeurIPS 2019; Jabri et al., NeurIPS
2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from vdit.datasets.annotation_files import read_text
from vdit.datasets.checking import Benchmark
from vdit.datasets.frame_sources import PictureFrames, list_frame_names
from vdit.datasets.labelled_videos import KeypointVideo
from vdit.datasets.videos import VideoDataset

__all__ = ["JHMDB_KEYPOINTS", "JOINTS", "JointPositions", "read_jhmdb_keypoints"]

JOINTS = (
    "neck",
    "belly",
    "face",
    "right shoulder",
    "left shoulder",
    "right hip",
    "left hip",
    "right elbow",
    "left elbow",
    "right knee",
    "left knee",
    "right wrist",
    "left wrist",
    "right ankle",
    "left ankle",
)
"""Names of the key points, in order."""

_NAME = "jhmdb-keypoints"
_FLAGS = {"train": "1", "test": "2"}
_FOLDS = (1, 2, 3)


@dataclass(frozen=True)
class JointPositions:
    """Key points of one clip in a MATLAB file.

    Attributes:
        path: of joint_positions.mat.
    """

    path: Path

    def read_points(self) -> np.ndarray:
        """Points [T, 15, 2] float64 as (x, y) in pixels from 0.

        Raises:
            ValueError: the file is missing, damaged or of another form.
        """
        if not self.path.is_file():
            raise ValueError(f"{self.path} does not exist; run `vdit data check`")
        try:
            positions = np.asarray(scipy.io.loadmat(self.path)["pos_img"], dtype=np.float64)
        except KeyError as error:
            raise ValueError(f"{self.path} has no pos_img; it is another file") from error
        except (OSError, ValueError, TypeError, NotImplementedError, MatReadError) as error:
            raise ValueError(f"{self.path} cannot be read ({error}); copy it again") from error
        if positions.ndim == 2:  # MATLAB drops a last axis of length 1
            positions = positions[..., None]
        if positions.ndim != 3 or positions.shape[:2] != (2, len(JOINTS)):
            raise ValueError(
                f"{self.path}: pos_img has the shape {list(positions.shape)}, expected "
                f"[2, {len(JOINTS)}, T]"
            )
        if not np.isfinite(positions).all():
            raise ValueError(f"{self.path}: pos_img holds numbers that are not finite")
        return positions.transpose(2, 1, 0) - 1


def read_jhmdb_keypoints(
    root: Path, split: str = "test", *, fold: int = 1
) -> VideoDataset[KeypointVideo]:
    """Read the clips of one split, action by action in the order of their names.

    Args:
        root: folder that holds Rename_Images, joint_positions and splits, or the one above it.
        split: "train" or "test".
        fold: which of the three divisions into train and test.

    Raises:
        ValueError: an unknown split or fold; no list, or a damaged one.
    """
    if split not in _FLAGS:
        raise ValueError(f"split={split!r} is unknown, expected one of {', '.join(_FLAGS)}")
    if fold not in _FOLDS:
        raise ValueError(f"fold={fold} is unknown, expected 1, 2 or 3")
    root = _tree(Path(root))
    suffix = f"_test_split{fold}.txt"
    lists = sorted((root / "splits").glob(f"[!.]*{suffix}"))  # without copies that systems hide
    if not lists:
        raise ValueError(
            f"{root / 'splits'} holds no list <action>{suffix}; check the root of the data set"
        )
    videos = []
    for path in lists:
        action = path.name.removesuffix(suffix)
        for clip in _read_list(path, _FLAGS[split]):
            folder = root / "Rename_Images" / action / clip
            joints = root / "joint_positions" / action / clip / "joint_positions.mat"
            videos.append(
                KeypointVideo(
                    dataset=_NAME,
                    split=split,
                    name=clip,
                    frame_source=PictureFrames(folder, _number_frames(folder), ".png"),
                    keypoint_source=JointPositions(joints),
                    action=action,
                )
            )
    return VideoDataset(_NAME, split, tuple(videos))


def _tree(root: Path) -> Path:
    if not (root / "splits").is_dir():
        for name in ("JHMDB", "jhmdb_sentences", "jhmdb"):
            if (root / name / "splits").is_dir():
                return root / name
    return root


def _read_list(path: Path, flag: str) -> list[str]:
    """Names of the clips with a flag; a third flag, 0, is of clips that are not used."""
    clips = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not words[0].endswith(".avi") or words[1] not in ("0", "1", "2"):
            raise ValueError(
                f"{path}: line {number} is {line.strip()[:60]!r}, expected <clip>.avi and 1 or 2; "
                "download it again"
            )
        if words[1] == flag:
            clips.append(words[0].removesuffix(".avi"))
    return clips


def _number_frames(folder: Path) -> tuple[str, ...]:
    """Names from 00001 to the last picture that is there, so that a hole among them is noticed.

    Other pictures, such as copies that systems leave behind, do not count.
    """
    numbers = [int(name) for name in list_frame_names(folder, suffixes=(".png",)) if name.isdigit()]
    return tuple(f"{number:05d}" for number in range(1, max(numbers, default=0) + 1))


def _list_path(root: Path, split: str) -> Path:
    return _tree(root) / "splits"


JHMDB_KEYPOINTS = Benchmark(
    name=_NAME,
    splits=tuple(_FLAGS),
    list_path=_list_path,
    read=read_jhmdb_keypoints,
    published=("http://jhmdb.is.tue.mpg.de",),
    counts={"train": {"split 1": (660, None)}, "test": {"split 1": (268, None)}},
)
