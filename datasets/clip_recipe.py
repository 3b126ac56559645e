"""How clips are made of referring samples: which frames, which sizes, which random changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vdit.datasets.photometric import ColorOptions

__all__ = ["AugmentationOptions", "ClipRecipe", "picture_augmentation"]

Compat = Literal["released", "improved"]


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

    The switches `frames`, `boxes`, `colors`, `overflow` and `sides` are as `compat` says where they
    are None. What they repair is in docs/deviations.md.

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
        color_first: change colors and mirror before resizing; None = in A2D, JHMDB and videos of
            pictures.
        augmentation: of videos.
        picture_augmentation: of single pictures.
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
    """

    num_frames: int = 5
    augment: bool = True
    compat: Compat = "released"
    anchor_step: int | None = None
    reverse: float | None = None
    pictures: Literal["still", "video"] | None = None
    color_first: bool | None = None
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)
    picture_augmentation: AugmentationOptions = field(default_factory=picture_augmentation)
    short_side: int = 360
    max_side: int = 640
    frames: Literal["released", "distinct"] | None = None
    boxes: Literal["released", "masks"] | None = None
    colors: Literal["frame", "clip"] | None = None
    overflow: Literal["wrap", "clip"] | None = None
    sides: Literal["letters", "words"] | None = None
