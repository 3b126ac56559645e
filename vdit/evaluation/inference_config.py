"""How the predictions of a benchmark are made, with the released protocol of each as default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from vdit.config import load_config
from vdit.evaluation.prediction_layouts import LABEL_DATASETS, MASK_DATASETS, RECORD_DATASETS
from vdit.segment_options import SegmentOptions

DATASETS = (*MASK_DATASETS, *LABEL_DATASETS, *RECORD_DATASETS)


@dataclass(frozen=True)
class InferenceConfig:
    """What is predicted, by which model, and how.

    Attributes:
        dataset: one of `DATASETS`.
        split: part of the data set.
        root: its folder.
        model: name, hub id or folder.
        window: frames that are seen together; None = the whole video.
        overlap: frames that consecutive windows share; see `SegmentOptions`.
        last_window: "full" or "short"; see `SegmentOptions`.
        context: frames before and after a labelled frame that are seen with it; at the ends of the
            video its first or last frame is repeated. Only where predictions are records.
        threshold: a pixel belongs to the object above this probability.
        no_target_threshold: see `SegmentOptions`; not where predictions are records.
        select: "best" or "union"; see `SegmentOptions`.
        short_side: pixels that the model sees; None = those it was made for, 360 as released.
        long_side: pixels that the long side may have; None = any number.
        caption: sentences "as_written", or in lower case with single spaces.
        sentences: of a video that share one pass; None = all. Fewer take less memory. The objects
            of one annotator of Ref-DAVIS17 stay together.
        seed: of the latents' noise.
    """

    dataset: str
    split: str
    root: str = ""
    model: str = "vdit-mini"
    window: int | None = None
    overlap: int = 0
    last_window: Literal["full", "short"] = "full"
    context: int = 0
    threshold: float = 0.5
    no_target_threshold: float | None = None
    select: Literal["best", "union"] = "best"
    short_side: int | None = None
    long_side: int | None = None
    caption: Literal["as_written", "lower_case"] = "as_written"
    sentences: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS:
            raise ValueError(f"expected a dataset among {', '.join(DATASETS)}; got {self.dataset}")
        if self.context < 0 or (self.sentences is not None and self.sentences < 1):
            raise ValueError(
                f"expected context >= 0 and sentences >= 1, got {self.context} and {self.sentences}"
            )
        if self.dataset in RECORD_DATASETS and (
            self.no_target_threshold is not None or self.select != "best" or self.window is not None
        ):
            raise ValueError(
                f"predictions of {self.dataset} are every query's mask of single frames: expected "
                "no window, no_target_threshold or select=union; leave them out"
            )
        if self.dataset not in RECORD_DATASETS and self.context:
            raise ValueError(
                f"every frame of {self.dataset} is predicted: expected no context, got "
                f"{self.context}; set window instead"
            )
        self.options(num_frames=1)

    def options(self, num_frames: int) -> SegmentOptions:
        """Give the segmenter's options for a video of so many frames.

        Raises:
            ValueError: an option is out of range.
        """
        return SegmentOptions(
            window=self.window or max(num_frames, self.overlap + 1),
            overlap=self.overlap,
            last_window=self.last_window,
            threshold=self.threshold,
            no_target_threshold=self.no_target_threshold,
            select=self.select,
            short_side=self.short_side,
            long_side=self.long_side,
            seed=self.seed,
            keep_probabilities=self.dataset in LABEL_DATASETS,
        )


_IMAGES = {"split": "val", "long_side": 640, "caption": "lower_case"}
_LABELLED = {"split": "test", "context": 2, "long_side": 640, "caption": "lower_case"}

RELEASED: Mapping[str, Mapping[str, Any]] = {
    "ref-youtube-vos": {"split": "valid"},
    "ref-davis": {"split": "valid", "window": 36, "last_window": "short"},
    "mevis": {
        "split": "valid_u",
        "window": 36,
        "overlap": 8,
        "no_target_threshold": 0.5,
        "select": "union",
        "caption": "lower_case",
    },
    "a2d": _LABELLED,
    "jhmdb": _LABELLED,
    "refcoco": _IMAGES,
    "refcoco+": _IMAGES,
    "refcocog": _IMAGES,
}
"""What the released code does for each data set; for MeViS, which it leaves out, our choice."""


def read_inference_config(source: str, overrides: Sequence[str] = ()) -> InferenceConfig:
    """Read a configuration file, or take the released protocol of a data set.

    Args:
        source: a YAML file with `dataset:` in it, or the name of a data set.
        overrides: "key=value" strings, applied last.

    Raises:
        ValueError: there is no such file or data set, a key is unknown or a value does not fit.
    """
    content = {"dataset": source} if source in RELEASED else read_yaml(Path(source))
    named = [word.partition("=")[2] for word in overrides if word.startswith("dataset=")]
    dataset = str([content.get("dataset"), *named][-1])
    if dataset not in RELEASED:
        raise ValueError(
            f"expected `dataset:` with one of {', '.join(RELEASED)} in {source}, got {dataset!r}"
        )
    return load_config(InferenceConfig, {**RELEASED[dataset], **content}, overrides)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a configuration file.

    Raises:
        ValueError: there is no such file, or it holds no keys and values.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"expected a YAML file or a data set among {', '.join(RELEASED)}; got {path}: {reason}"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"expected keys and values in {path}, got {str(content)[:60]!r}")
    return content
