"""How clips are made of referring samples: which frames, which sizes, which random changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vdit.datasets.photometric import ColorOptions
from vdit.datasets.pseudo_video import PseudoVideoOptions

__all__ = ["AugmentationOptions", "ClipRecipe", "ClipRules", "picture_augmentation"]


@dataclass(frozen=True)
class AugmentationOptions:
    """Random sizes, windows, mirror images and colors; one draw serves all frames of a clip.

    With `crop_probability` the frames are first resized to one of `crop_short_sides`, and a window
    is cut out whose sides are drawn from `crop_smallest` to `crop_largest`, or to the side of the
    frame if that is shorter; what it holds is resized to one of `cropped_short_sides`. Otherwise
    they are resized to one of `short_sides`. All sizes are in pixels.

    Attributes:
        short_sides: of the whole frame, one is drawn.
        max_side: the long side is cut down to it, aspect kept.
        crop_probability: of taking a window.
        crop_short_sides: of the frame that the window is cut from, without `max_side`.
        crop_smallest: side of the window.
        crop_largest: side of the window.
        cropped_short_sides: of what the window holds; none = `short_sides`.
        cropped_max_side: its long side; None = `max_side`.
        flip_probability: of the mirror image; left and right change places in the sentence.
        color: changes of color; None = none.

    Raises:
        ValueError: no size, a size or probability out of range, or frames that windows are cut from
            that may be smaller than the smallest window.
    """

    short_sides: list[int] = field(default_factory=lambda: [288, 320, 352, 392, 416, 448, 480, 512])
    max_side: int = 640
    crop_probability: float = 0.5
    crop_short_sides: list[int] = field(default_factory=lambda: [400, 500, 600])
    crop_smallest: int = 384
    crop_largest: int = 600
    cropped_short_sides: list[int] = field(default_factory=list)
    cropped_max_side: int | None = None
    flip_probability: float = 0.5
    color: ColorOptions | None = field(default_factory=ColorOptions)

    def __post_init__(self) -> None:
        sides = [*self.short_sides, *self.crop_short_sides, *self.cropped_short_sides]
        if not self.short_sides or not self.crop_short_sides or min(sides) < 1:
            raise ValueError(
                f"short_sides={self.short_sides} and crop_short_sides={self.crop_short_sides}, "
                "expected at least one size in pixels each"
            )
        if not 1 <= self.crop_smallest <= min(self.crop_largest, *self.crop_short_sides):
            raise ValueError(
                f"crop_smallest={self.crop_smallest} exceeds crop_largest={self.crop_largest} or "
                f"one of crop_short_sides={self.crop_short_sides}; lower it"
            )
        for name in ("crop_probability", "flip_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is no probability in 0..1")


def picture_augmentation() -> AugmentationOptions:
    """Those of single pictures in the released pre-training on RefCOCO: larger, colors kept."""
    return AugmentationOptions(
        short_sides=list(range(480, 769, 32)),
        max_side=800,
        cropped_short_sides=[296, 328, 360, 392, 416, 448, 480, 512],
        cropped_max_side=640,
        color=None,
    )


@dataclass(frozen=True)
class ClipRecipe:
    """How clips are made; the defaults are the released training of VD-IT for each data set.

    What is None follows the data set (`reverse`, `pictures`, `color_first`) or `compat` (`frames`,
    `boxes`, `colors`, `overflow`, `sides`); docs/deviations.md says what the latter repair.

    Attributes:
        num_frames: T.
        augment: draw frames, sizes, mirror images and colors. False = for validation: frames in a
            row, short side 360, long side at most 640, nothing drawn, and a clip that shows none of
            its objects stays.
        compat: "released" makes clips as the released code does; "improved" takes every repair.
        anchor_step: frames from one anchor to the next; every anchor of every sentence is an item.
            None = num_frames. Data sets that label single frames have the labelled one.
        reverse: probability that frames run backwards; None = 0.3 in Ref-YouTube-VOS, else 0.
        pictures: what a data set of pictures gives: the picture, which has one frame, or a video
            of random views of it; None = the picture if num_frames is 1, else the video.
        color_first: mirror and change colors before resizing; None = in A2D, JHMDB and data sets
            of pictures.
        augmentation: of videos.
        picture_augmentation: of single pictures.
        pseudo_video: the random views.
        short_side: for validation, in pixels.
        max_side: for validation, in pixels.
        frames: "released" draws some frames twice, "distinct" does so only where the video is
            shorter than the clip.
        boxes: "released" crops, resizes and mirrors the boxes around the masks of the original
            frames, whose last row and column they leave out; "masks" takes those around the final
            masks.
        colors: change them by one draw a "frame" (released) or one a "clip".
        overflow: of 8-bit colors: "wrap" around (released) or "clip".
        sides: "letters" swaps every "left" and "right", also inside "bright" (released), "words"
            only whole words and compounds such as "leftmost".

    Raises:
        ValueError: a number is out of range.
    """

    num_frames: int = 5
    augment: bool = True
    compat: Literal["released", "improved"] = "released"
    anchor_step: int | None = None
    reverse: float | None = None
    pictures: Literal["still", "video"] | None = None
    color_first: bool | None = None
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)
    picture_augmentation: AugmentationOptions = field(default_factory=picture_augmentation)
    pseudo_video: PseudoVideoOptions = field(default_factory=PseudoVideoOptions)
    short_side: int = 360
    max_side: int = 640
    frames: Literal["released", "distinct"] | None = None
    boxes: Literal["released", "masks"] | None = None
    colors: Literal["frame", "clip"] | None = None
    overflow: Literal["wrap", "clip"] | None = None
    sides: Literal["letters", "words"] | None = None

    def __post_init__(self) -> None:
        step = 1 if self.anchor_step is None else self.anchor_step
        for name, value in (("num_frames", self.num_frames), ("anchor_step", step)):
            if value < 1:
                raise ValueError(f"{name}={value} is not positive, expected frames")
        if not 1 <= self.short_side <= self.max_side:
            raise ValueError(
                f"short_side={self.short_side} and max_side={self.max_side}, expected pixels in "
                "this order"
            )

    def rules(self, dataset: str) -> ClipRules:
        """Say what holds for a data set; names as in `vdit.datasets.referring_datasets`."""
        is_improved = self.compat == "improved"
        pictures = self.pictures or ("still" if self.num_frames == 1 else "video")
        source: Source = pictures if dataset in _PICTURES else "frames"
        reverse = _REVERSED.get(dataset, 0.0) if self.reverse is None else self.reverse
        is_early = dataset in _COLOR_FIRST or source != "frames"
        return ClipRules(
            source=source,
            num_frames=1 if source == "still" else self.num_frames,
            reverse=reverse,
            color_first=is_early if self.color_first is None else self.color_first,
            augmentation=self.picture_augmentation if source == "still" else self.augmentation,
            frames=self.frames or ("distinct" if is_improved else "released"),
            boxes=self.boxes or ("masks" if is_improved else "released"),
            colors=self.colors or ("clip" if is_improved else "frame"),
            overflow=self.overflow or ("clip" if is_improved else "wrap"),
            sides=self.sides or ("words" if is_improved else "letters"),
        )


Source = Literal["frames", "still", "video"]
_PICTURES = ("refcoco", "refcoco+", "refcocog")
_COLOR_FIRST = ("a2d", "jhmdb")
_REVERSED = {"ref-youtube-vos": 0.3}


@dataclass(frozen=True)
class ClipRules:
    """A recipe for one data set; what its fields are is said there.

    Attributes:
        source: frames of a video, a picture as it is, or views of a picture.
    """

    source: Source
    num_frames: int
    reverse: float
    color_first: bool
    augmentation: AugmentationOptions
    frames: Literal["released", "distinct"]
    boxes: Literal["released", "masks"]
    colors: Literal["frame", "clip"]
    overflow: Literal["wrap", "clip"]
    sides: Literal["letters", "words"]
