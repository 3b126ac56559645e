"""Clips that tests render by PyAV alone, so that readers are not tested with our own writer."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

_MS = Fraction(1, 1000)


def _draw_scene(count, height=48, width=64):
    y, x = np.mgrid[:height, :width]
    background = np.stack([40 + x, 60 + y, 90 + (x + y) // 2], axis=-1).astype(np.uint8)
    for index in range(count):
        frame = background.copy()
        left = 2 * index % (width - 12)
        frame[10:22, left : left + 12] = (250, 240, 60)
        yield frame


def _add_silence(container, stream, seconds):
    for index in range(int(seconds * 48000 / 960)):
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 960), dtype=np.float32), format="fltp")
        sound.sample_rate, sound.pts = 48000, 960 * index
        container.mux(stream.encode(sound))
    container.mux(stream.encode())


def _render(path, codec, frames, *, pts_ms=None, setup=None, audio=None, flags=None):
    try:
        av.codec.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"no encoder {codec}")
    frames = list(frames)
    with av.open(str(path), "w", options=flags or {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = {"gif": "rgb8"}.get(codec, "yuv420p")
        if pts_ms is not None:
            stream.codec_context.time_base = _MS
        if setup is not None:
            setup(stream)
        sound = None if audio is None else container.add_stream(audio, rate=48000)
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame)
            if pts_ms is not None:
                picture.pts, picture.time_base = pts_ms[index], _MS
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
        if sound is not None:
            _add_silence(container, sound, len(frames) / 25)
    return path


def _psnr(ours, truth):
    assert ours.shape == truth.shape
    error = np.mean((ours.astype(np.float64) - truth) ** 2)
    return 10 * np.log10(255**2 / max(error, 1e-9))


@pytest.fixture
def scene():
    """(count, height, width) -> frames: a block moves by 2 pixels a frame over smooth colors."""
    return _draw_scene


@pytest.fixture
def render():
    """(path, codec, frames, ...) -> path of a clip at 25 fps; skips without the encoder."""
    return _render


@pytest.fixture
def psnr():
    """(ours, truth) -> decibels of likeness."""
    return _psnr
