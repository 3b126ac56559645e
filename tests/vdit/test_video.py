from __future__ import annotations

import os
import pickle
import struct
import weakref
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vdit import video_reader
from vdit.masks import read_mask_png
from vdit.video import FOLDER_FPS, VideoWriter, open_video
from vdit.video_reader import _apply_display_matrix, _to_rgb

ROOT = Path(__file__).resolve().parents[2]
ASSETS = Path(os.environ.get("VDIT_ASSETS_DIR", ROOT.parent / "shared" / "assets"))


def b_frames(stream):
    stream.codec_context.max_b_frames = 2


CONTAINERS = {
    "mp4": ("a.mp4", "libx264", {"audio": "aac"}),
    "mp4 fast start": ("a.mp4", "libx264", {"flags": {"movflags": "faststart"}}),
    "mp4 in fragments": ("a.mp4", "libx264", {"flags": {"movflags": "frag_keyframe"}}),
    "mp4 of MPEG-4": ("a.mp4", "mpeg4", {}),
    "mov": ("a.mov", "mpeg4", {"setup": b_frames}),
    "avi": ("a.avi", "mpeg4", {}),
    "avi with B-frames": ("a.avi", "mpeg4", {"setup": b_frames}),
    "mkv": ("a.mkv", "libx264", {"audio": "aac"}),
    "webm VP9": ("a.webm", "libvpx-vp9", {}),
    "webm VP8": ("a.webm", "libvpx", {"audio": "libopus"}),
    "gif": ("a.gif", "gif", {}),
    "flv": ("a.flv", "libx264", {}),
    "ts": ("a.ts", "libx264", {}),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_every_frame_of_every_container(tmp_path, kind, render, scene, psnr):
    name, codec, options = CONTAINERS[kind]
    truth = list(scene(37))
    path = render(tmp_path / name, codec, truth, **options)
    reader = open_video(path)
    assert (reader.path, reader.height, reader.width) == (path, 48, 64)
    assert reader.num_frames == 37
    assert reader.fps == pytest.approx(25, abs=0.02)
    np.testing.assert_allclose(reader.timestamps, np.arange(37) / 25, atol=0.0011)
    frames = list(reader)
    assert len(frames) == 37
    for frame, expected in zip(frames, truth, strict=True):
        assert frame.dtype == np.uint8
        assert psnr(frame, expected) > (14 if kind == "gif" else 24)
    assert all(np.array_equal(a, b) for a, b in zip(frames, reader, strict=True))
    assert reader.frame_name(0) == "00000"
    assert reader.frame_name(123456) == "123456"


@pytest.mark.parametrize("kind", ["avi with B-frames", "mp4 in fragments", "webm VP9", "gif"])
def test_picked_frames_are_those_of_the_loop(tmp_path, kind, render, scene):
    name, codec, options = CONTAINERS[kind]
    reader = open_video(render(tmp_path / name, codec, scene(20), **options))
    frames = np.stack(list(reader))
    for indices in ([0], [19], [7, 3, 3, 12], list(range(20))):
        np.testing.assert_array_equal(reader.pick(indices), frames[indices])
    with pytest.raises(ValueError, match="has no frame 20, it is shorter"):
        reader.pick([3, 20])
    with pytest.raises(ValueError, match="index -1 is negative"):
        reader.pick([3, -1])
    with pytest.raises(ValueError, match=r"no frame of .* was asked for"):
        reader.pick([])


def test_only_picked_frames_are_converted(tmp_path, render, scene, monkeypatch):
    reader = open_video(render(tmp_path / "a.avi", "mpeg4", scene(20)))
    converted = []
    monkeypatch.setattr(
        video_reader, "_to_rgb", lambda *words: converted.append(1) or _to_rgb(*words)
    )
    reader.pick([2, 9, 5])
    assert len(converted) == 3
    assert reader.num_frames == 20
    assert len(converted) == 3


def test_reader_survives_early_stop_and_pickling(tmp_path, render, scene):
    path = render(tmp_path / "a.mp4", "mpeg4", scene(10))
    reader = open_video(path)
    first = next(iter(reader))
    both = list(zip(reader, reader, strict=True))  # two loops at once
    assert [np.array_equal(a, b) for a, b in both] == [True] * 10
    copy = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(next(iter(copy)), first)
    assert repr(reader) == f"ContainerReader('{path}', 64x48, 25 fps)"
    with pytest.raises(ValueError, match="index -1 is negative"):
        reader.frame_name(-1)


def test_iterating_keeps_no_frame_alive(tmp_path, render, scene):
    reader = open_video(render(tmp_path / "a.mp4", "mpeg4", scene(300)))
    given, most_alive = [], 0
    for frame in reader:
        given.append(weakref.ref(frame))
        most_alive = max(most_alive, sum(reference() is not None for reference in given))
    assert len(given) == 300
    assert most_alive <= 2


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_frame_rate(tmp_path, suffix, render, scene):
    gaps = [40, 10, 200, 30] * 10
    pts = [0, *np.cumsum(gaps).tolist()]
    reader = open_video(render(tmp_path / f"a{suffix}", "libx264", scene(41), pts_ms=pts))
    np.testing.assert_allclose(reader.timestamps, np.array(pts) / 1000, atol=1e-6)
    assert reader.fps == pytest.approx(40 / 2.8, rel=0.03)
    times = [seconds for seconds, _ in reader.timed_frames()]
    assert times == reader.timestamps.tolist()
    with VideoWriter(tmp_path / "back.mp4", reader.fps) as writer:
        for seconds, frame in reader.timed_frames():
            writer.add(frame, seconds)
    back = open_video(tmp_path / "back.mp4")
    np.testing.assert_allclose(back.timestamps, reader.timestamps, atol=1e-4)


def test_edit_list_hides_frames(tmp_path, render, scene):
    path = render(tmp_path / "a.mp4", "libx264", scene(30))
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 4  # version and flags, count, then duration and media time
    duration, start = struct.unpack(">ii", data[at + 8 : at + 16])
    data[at + 8 : at + 16] = struct.pack(">ii", duration * 20 // 30, start + 10 * 512)
    path.write_bytes(data)
    with av.open(str(path)) as container:
        announced, shown = container.streams.video[0].frames, sum(1 for _ in container.decode())
    assert shown < announced == 30
    reader = open_video(path)
    assert reader.num_frames == shown == len(list(reader))
    assert reader.timestamps[0] == 0.0


def test_avi_with_dropped_frames(tmp_path, render, scene):
    path = render(tmp_path / "a.avi", "mpeg4", scene(20))
    data = bytearray(path.read_bytes())
    movie, index = data.index(b"movi"), data.index(b"idx1") + 8
    for number in (7, 13):  # a frame of no bytes means: show the one before for longer
        offset, size = struct.unpack_from("<II", data, index + 16 * number + 8)
        struct.pack_into("<I", data, index + 16 * number + 12, 0)
        struct.pack_into("<I4sI", data, movie + offset + 4, 0, b"JUNK", size - 8)
    path.write_bytes(data)
    reader = open_video(path)
    assert reader.num_frames == len(list(reader)) == 18
    assert reader.timestamps[[6, 7]] == pytest.approx([6 / 25, 8 / 25])


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_rotation_tag_of_a_file(tmp_path, degrees, mirrored, render, scene, psnr):
    truth = next(scene(1, 48, 80))
    path = render(
        tmp_path / "a.mp4",
        "mpeg4",
        [truth] * 3,
        setup=lambda stream: stream.set_display_rotation(degrees, hflip=mirrored),
    )
    upright = np.rot90(truth, degrees // 90)  # FFmpeg counts counterclockwise
    upright = upright[:, ::-1] if mirrored else upright
    reader = open_video(path)
    assert (reader.height, reader.width) == upright.shape[:2]
    for frame in reader:
        assert frame.flags.c_contiguous
        assert psnr(frame, upright) > 27


def test_display_matrix_of_a_phone():
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    clockwise = np.array([0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30])
    np.testing.assert_array_equal(_apply_display_matrix(pixels, clockwise), np.rot90(pixels, -1))


@pytest.mark.parametrize("size", [(47, 63), (1, 1), (2, 2), (5, 200)])
def test_odd_sizes(tmp_path, size, psnr):
    truth = np.random.default_rng(0).integers(90, 110, (*size, 3), dtype=np.uint8)
    for suffix in (".mp4", ".webm", ".gif"):
        with VideoWriter(tmp_path / f"a{suffix}", 24) as writer:
            writer.add(truth)
        frame = next(iter(open_video(tmp_path / f"a{suffix}")))
        padding = [(0, 0) if suffix == ".gif" else (0, side % 2) for side in size]
        padded = np.pad(truth, [*padding, (0, 0)], mode="edge")
        assert psnr(frame, padded) > 25


def test_odd_size_of_a_foreign_file(tmp_path, render, scene, psnr):
    path = render(tmp_path / "a.avi", "mpeg4", scene(3, 45, 61))
    reader = open_video(path)
    assert (reader.height, reader.width) == (45, 61)
    assert all(psnr(a, b) > 27 for a, b in zip(reader, scene(3, 45, 61), strict=True))


def test_folder_in_natural_order(tmp_path):
    for number in (10, 9, 2, 1):
        Image.new("RGB", (6, 4), (number, 0, 0)).save(tmp_path / f"frame{number}.PNG")
    Image.new("RGB", (6, 4), (3, 0, 0)).save(tmp_path / "frame3.bmp")
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / "._frame4.png").write_bytes(b"left by another system")
    (tmp_path / "more").mkdir()
    reader = open_video(tmp_path)
    assert [int(frame[0, 0, 0]) for frame in reader] == [1, 2, 3, 9, 10]
    names = [reader.frame_name(index) for index in range(reader.num_frames)]
    assert names == ["frame1", "frame2", "frame3", "frame9", "frame10"]
    assert reader.fps == FOLDER_FPS
    np.testing.assert_allclose(reader.timestamps, np.arange(5) / FOLDER_FPS)
    assert (reader.height, reader.width) == (4, 6)


def test_one_picture_is_a_clip_of_one_frame(tmp_path):
    Image.new("RGB", (6, 4), (9, 8, 7)).save(tmp_path / "cat.webp", lossless=True)
    reader = open_video(tmp_path / "cat.webp")
    assert reader.num_frames == 1
    assert reader.frame_name(0) == "cat"
    np.testing.assert_array_equal(next(iter(reader)), np.full((4, 6, 3), (9, 8, 7)))


PICTURES = {
    "gray": (Image.new("L", (2, 1), 77), [77, 77, 77]),
    "one bit": (Image.new("1", (2, 1), 1), [255, 255, 255]),
    "16 bit": (Image.fromarray(np.full((1, 2), 40000, dtype=np.uint16)), [156, 156, 156]),
    "palette": (Image.new("RGB", (2, 1), (10, 200, 30)).quantize(4), [10, 200, 30]),
    "half transparent": (Image.new("RGBA", (2, 1), (200, 0, 0, 128)), [227, 127, 127]),
    "transparent": (Image.new("RGBA", (2, 1), (200, 0, 0, 0)), [255, 255, 255]),
    "gray transparent": (Image.new("LA", (2, 1), (0, 51)), [204, 204, 204]),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_of_every_mode(tmp_path, kind):
    picture, expected = PICTURES[kind]
    picture.save(tmp_path / "a.png")
    frame = next(iter(open_video(tmp_path / "a.png")))
    assert frame.dtype == np.uint8
    assert frame.tolist() == [[expected, expected]]


def test_exif_orientation(tmp_path, scene, psnr):
    truth = next(scene(1))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    Image.fromarray(truth).save(tmp_path / "a.jpg", exif=exif, quality=95)
    for path in (tmp_path / "a.jpg", tmp_path):
        reader = open_video(path)
        assert (reader.height, reader.width) == (64, 48)
        assert psnr(next(iter(reader)), np.rot90(truth, -1)) > 27


def test_animated_pictures(tmp_path, scene, psnr):
    truth = list(scene(5))
    first, *others = [Image.fromarray(frame) for frame in truth]
    delays = [100, 50, 200, 50, 100]
    for name, options in [("a.png", {}), ("a.webp", {"lossless": True}), ("a.gif", {})]:
        path = tmp_path / name
        first.save(path, save_all=True, append_images=others, duration=delays, **options)
        reader = open_video(path)
        assert reader.num_frames == 5
        assert reader.timestamps.tolist() == pytest.approx([0.0, 0.1, 0.15, 0.35, 0.4])
        assert reader.fps == pytest.approx(10, rel=0.12)
        for frame, expected in zip(reader, truth, strict=True):
            assert psnr(frame, expected) > (24 if name == "a.gif" else 90)
        short = tmp_path / f"cut{path.suffix}"
        short.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
        with pytest.raises(ValueError, match=r"cut short or damaged|cannot be read as a picture"):
            list(open_video(short))


def test_transparent_gif_is_shown_over_white(tmp_path):
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    dotted = clear.copy()
    dotted.paste((255, 0, 0, 255), (2, 2, 6, 6))
    dotted.save(tmp_path / "a.gif", save_all=True, append_images=[clear], disposal=2, duration=50)
    frames = list(open_video(tmp_path / "a.gif"))
    assert frames[0][0, 0].tolist() == [255, 255, 255]
    assert frames[0][3, 3].tolist() == [255, 0, 0]
    assert np.all(frames[1] == 255)


@pytest.mark.assets
def test_real_avi():
    path = ASSETS / "jhmdb" / "annotated"
    clips = sorted(path.glob("*.avi"))
    if not clips:
        pytest.skip("no jhmdb")
    reader = open_video(clips[0])
    pictures = open_video(clips[0].with_suffix(""))
    assert reader.num_frames == pictures.num_frames == 40  # the avi announces 48
    assert (reader.height, reader.width) == (pictures.height, pictures.width) == (240, 320)
    assert reader.fps == pytest.approx(25)
    assert pictures.frame_name(0) == "00001"
    assert np.all(np.diff(reader.timestamps) > 0)
    for ours, theirs in zip(reader, pictures, strict=True):
        assert np.abs(ours.astype(int) - theirs).mean() < 12


@pytest.mark.assets
def test_real_folders():
    davis, puma = ASSETS / "davis", ASSETS / "pumavos" / "chair"
    if not davis.is_dir() or not puma.is_dir():
        pytest.skip("no davis or no pumavos")
    dog = open_video(davis / "JPEGImages" / "480p" / "dog")
    masks = open_video(davis / "Annotations" / "480p" / "dog")
    assert (dog.height, dog.width) == (masks.height, masks.width) == (480, 854)
    assert dog.num_frames == masks.num_frames == 60
    names = [masks.frame_name(index) for index in range(60)]
    assert names == [dog.frame_name(index) for index in range(60)]
    assert names == [f"{index:05d}" for index in range(60)]
    mask = read_mask_png(davis / "Annotations" / "480p" / "dog" / "00000.png")
    assert set(np.unique(mask)) == {0, 255}
    np.testing.assert_array_equal(next(iter(masks))[..., 0], mask)
    chair = open_video(puma / "JPEGImages")
    assert chair.num_frames == 60
    assert chair.frame_name(7) == "frame_000007"
    assert next(iter(chair)).shape == (chair.height, chair.width, 3)
