"""Videos in memory whose objects are told from their background by color."""

import numpy as np
from PIL import Image

from vdit.datasets.clip_recipe import AugmentationOptions, ClipRecipe
from vdit.datasets.pseudo_video import PseudoVideoOptions
from vdit.datasets.referring import ReferringSample

BACKGROUND = (90, 90, 90)  # gray in every light
OBJECT = (150, 60, 60)  # in color in every light, and within 0..255

SMALL_SIZES = AugmentationOptions(
    short_sides=[48, 64, 80],
    max_side=120,
    crop_short_sides=[72, 90],
    crop_smallest=50,
    crop_largest=80,
)


def small_recipe(**options):
    """The released recipe at sizes that take no time."""
    sizes = {"augmentation": SMALL_SIZES, "picture_augmentation": SMALL_SIZES}
    views = {"pseudo_video": PseudoVideoOptions(thinnest=1.0)}
    return ClipRecipe(**(sizes | views | {"short_side": 48, "max_side": 80} | options))


def draw_frames(masks):
    """[T, H, W, 3] uint8 from [N, T, H, W] bool."""
    is_object = masks.any(axis=0)[..., None]
    return np.where(is_object, OBJECT, BACKGROUND).astype(np.uint8)


def moving_rectangles(num_objects=1, num_frames=12, height=60, width=90):
    """Masks [N, T, H, W] of rectangles that move to the right and do not meet."""
    masks = np.zeros((num_objects, num_frames, height, width), dtype=bool)
    side = height // (2 * num_objects)
    for n in range(num_objects):
        top = 2 + n * height // num_objects
        for t in range(num_frames):
            left = 5 + 3 * t + 4 * n
            masks[n, t, top : top + side, left : left + 30] = True
    return masks


class MemoryFrames:
    def __init__(self, frames):
        self.frames = frames
        self.num_reads = 0

    @property
    def names(self):
        return tuple(f"{t:05d}" for t in range(len(self.frames)))

    def size(self):
        return self.frames.shape[1:3]

    def read(self, indices):
        return self.frames[list(indices)]

    def pictures(self, indices):
        self.num_reads += 1
        return [Image.fromarray(self.frames[index]) for index in indices]


class MemoryMasks:
    def __init__(self, masks):
        self.masks = masks

    def read(self, indices, object_ids, size):
        return self.masks[list(object_ids)][:, list(indices)]


def sample_of(masks, dataset="ref-youtube-vos", text="the Red  one on the left", **changes):
    """A sentence that names all objects of [N, T, H, W] bool."""
    fields = {
        "dataset": dataset,
        "split": "train",
        "video": "v",
        "expression": "0",
        "text": text,
        "object_ids": tuple(range(len(masks))),
        "frame_source": MemoryFrames(draw_frames(masks)),
        "mask_source": MemoryMasks(masks),
    }
    return ReferringSample(**(fields | changes))


def chroma(video):
    """Distance of the largest from the smallest channel, [T, H, W] of [T, 3, H, W]."""
    return video.amax(dim=1) - video.amin(dim=1)
