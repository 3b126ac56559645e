"""Tiny videos and pictures on disk, written by PyAV and Pillow alone."""

from __future__ import annotations

import av
import numpy as np
from PIL import Image


def frame_of(value, height=24, width=32):
    return np.full((height, width, 3), value, dtype=np.uint8)


def write_avi(path, values=(40, 120, 200), codec="mpeg4"):
    """A video whose frames are gray of these values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for value in values:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_of(value))))
        container.mux(stream.encode())


def write_picture(path, value=100, size=(32, 24), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", size, (value, value, value)).convert(mode)
    picture.save(path, format="PNG" if path.suffix == ".png" else "JPEG")


def write_text(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def listed(dataset):
    """(name, class) of every video."""
    return [(video.name, dataset.classes[video.label]) for video in dataset]


def values_of(video):
    """Mean gray of every frame."""
    return [round(float(frame.mean())) for frame in video.frames()]
