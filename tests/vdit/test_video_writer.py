from __future__ import annotations

import av
import numpy as np
import pytest
from PIL import Image

from vdit import video_writer
from vdit.video import VideoWriter, open_video


def write(path, frames, fps=25, times=None):
    with VideoWriter(path, fps) as writer:
        for index, frame in enumerate(frames):
            writer.add(frame, None if times is None else times[index])
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov", ".mkv", ".webm", ".gif"])
@pytest.mark.parametrize("fps", [24, 30000 / 1001, 7.5])
def test_round_trip(tmp_path, suffix, fps, scene, psnr):
    truth = list(scene(20))
    reader = open_video(write(tmp_path / f"a{suffix}", truth, fps))
    assert reader.num_frames == 20
    assert reader.fps == pytest.approx(fps, rel=0.02)
    tolerance = {".gif": 0.006, ".mkv": 0.0006, ".webm": 0.0006}.get(suffix, 1e-5)
    np.testing.assert_allclose(reader.timestamps, np.arange(20) / fps, atol=tolerance)
    for frame, expected in zip(reader, truth, strict=True):
        assert psnr(frame, expected) > 28
        np.testing.assert_allclose(frame.mean((0, 1)), expected.mean((0, 1)), atol=3.5)
    assert [entry.name for entry in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize(("suffix", "encoder"), [(".mp4", "mpeg4"), (".webm", "libvpx")])
def test_second_choice_of_encoder(tmp_path, monkeypatch, suffix, encoder, scene, psnr):
    choices = {suffix: ("not_an_encoder", encoder)}
    monkeypatch.setattr(video_writer, "_ENCODERS", choices)
    path = write(tmp_path / f"a{suffix}", scene(5))
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name in (encoder, "vp8", "libvpx")
    for frame, expected in zip(open_video(path), scene(5), strict=True):
        assert psnr(frame, expected) > 28
        np.testing.assert_allclose(frame.mean((0, 1)), expected.mean((0, 1)), atol=3.5)
    monkeypatch.setattr(video_writer, "_ENCODERS", {suffix: ("not_an_encoder",)})
    with pytest.raises(ValueError, match="has no encoder for"):
        VideoWriter(path, 24)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("color", [(200, 30, 60), (20, 160, 90), (30, 60, 200)])
def test_vivid_colors_come_back(tmp_path, suffix, color):
    path = write(tmp_path / f"a{suffix}", [np.full((32, 32, 3), color, dtype=np.uint8)] * 3)
    for frame in open_video(path):
        np.testing.assert_allclose(frame.mean((0, 1)), color, atol=4)


def test_mp4_plays_everywhere(tmp_path, scene):
    path = write(tmp_path / "a.mp4", scene(5))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.codec_context.colorspace == av.video.reformatter.Colorspace.ITU709
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # starts before it is loaded


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
def test_timestamps(tmp_path, suffix, scene):
    times = [0.0, 0.1, 0.15, 0.9, 1.0]
    reader = open_video(write(tmp_path / f"a{suffix}", scene(5), 10, times))
    np.testing.assert_allclose(reader.timestamps, times, atol=1e-3)
    assert reader.fps == pytest.approx(5 / 1.1, rel=0.01)
    with av.open(str(reader.path)) as container:  # the last frame stays for 1 / fps
        assert container.duration / av.time_base == pytest.approx(1.1, abs=0.011)


def test_gif_is_not_faster_than_browsers_play(tmp_path, scene):
    reader = open_video(write(tmp_path / "a.gif", scene(6), 100))
    np.testing.assert_allclose(reader.timestamps, np.arange(6) * 0.02)


def test_colors_of_a_gif_suit_each_frame(tmp_path):
    frames = [np.full((8, 8, 3), color, dtype=np.uint8) for color in ((250, 3, 7), (3, 7, 250))]
    write(tmp_path / "a.gif", frames)
    for frame, expected in zip(open_video(tmp_path / "a.gif"), frames, strict=True):
        np.testing.assert_allclose(frame, expected, atol=4)
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.n_frames == 2


def test_failure_leaves_nothing_or_the_old_file(tmp_path, scene):
    path = tmp_path / "a.mp4"

    def interrupted():
        yield from scene(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, interrupted())
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="no frame was added"), VideoWriter(path, 24):
        pass
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch, scene):
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(video_writer.av, "open", fail)
    with (
        pytest.raises(ValueError, match=r"cannot be written \(No space left on device\); check"),
        VideoWriter(tmp_path / "a.mp4", 24) as writer,
    ):
        writer.add(next(scene(1)))
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments(tmp_path, scene):
    with pytest.raises(ValueError, match=r"extension '\.xyz', expected one of \.mp4"):
        VideoWriter(tmp_path / "a.xyz", 24)
    for fps in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="is not a positive number"):
            VideoWriter(tmp_path / "a.mp4", fps)
    (tmp_path / "file").touch()
    with (
        pytest.raises(ValueError, match="cannot be written"),
        VideoWriter(tmp_path / "file" / "a.mp4", 24),
    ):
        pass
    frame = next(scene(1))
    with pytest.raises(ValueError, match="the writer is not open"):
        VideoWriter(tmp_path / "a.mp4", 24).add(frame)


@pytest.mark.parametrize(
    ("frame", "time", "message"),
    [
        (np.zeros((48, 64, 3)), None, r"must be \[H, W, 3\] uint8, got \[48, 64, 3\] float64"),
        (np.zeros((48, 64), dtype=np.uint8), None, r"got \[48, 64\] uint8"),
        (np.zeros((48, 62, 3), dtype=np.uint8), None, "frame 1 is 62x48, expected 64x48"),
        (np.zeros((48, 64, 3), dtype=np.uint8), 0.0, "timestamp=0.0 of frame 1 does not come"),
        (np.zeros((48, 64, 3), dtype=np.uint8), float("nan"), "timestamp=nan"),
    ],
)
def test_wrong_frames(tmp_path, frame, time, message, scene):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "a.mp4", [next(scene(1)), frame], times=[None, time])
    assert list(tmp_path.iterdir()) == []
