from __future__ import annotations

import random
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vdit.video import open_video

KINDS = {
    "mp4": ("a.mp4", "libx264", {"audio": "aac"}),
    "mp4 fast start": ("a.mp4", "libx264", {"flags": {"movflags": "faststart"}}),
    "mp4 in fragments": ("a.mp4", "libx264", {"flags": {"movflags": "frag_keyframe"}}),
    "mov": ("a.mov", "mpeg4", {}),
    "avi": ("a.avi", "mpeg4", {}),
    "mkv": ("a.mkv", "libx264", {"audio": "aac"}),
    "webm": ("a.webm", "libvpx", {}),
    "gif": ("a.gif", "gif", {}),
}


def cut(path, share):
    """A copy of the first part of a file."""
    short = path.with_name(f"cut{path.suffix}")
    short.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return short


def read_all(path):
    """Number of frames, or the message of the ValueError."""
    try:
        return sum(1 for _ in open_video(path))
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.8, 0.97])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_short_is_an_error(tmp_path, kind, share, render, scene):
    name, codec, options = KINDS[kind]
    outcome = read_all(cut(render(tmp_path / name, codec, scene(60), **options), share))
    if kind == "avi" and outcome == 60:
        return  # only the index behind the last frame is missing
    assert isinstance(outcome, str)
    assert "cut short or damaged" in outcome or "is not a video that can be read" in outcome
    assert "\n" not in outcome


def test_an_avi_cut_short_between_two_frames(tmp_path, render, scene):
    path = render(tmp_path / "a.avi", "mpeg4", scene(20))
    data = path.read_bytes()
    entry = data.index(b"idx1") + 8 + 16 * 12
    offset = int.from_bytes(data[entry + 8 : entry + 12], "little")
    path.write_bytes(data[: data.index(b"movi") + offset])
    with pytest.raises(ValueError, match=r"damaged: 12 of 20 announced frames could be read"):
        open_video(path)


def test_a_gif_cut_short_between_two_frames(tmp_path, render, scene):
    path = render(tmp_path / "a.gif", "gif", scene(20))
    short = tmp_path / "cut.gif"
    short.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"cut short or damaged: 20 frames could be read"):
        open_video(short)


def test_message_counts_the_readable_frames(tmp_path, render, scene):
    flags = {"movflags": "faststart"}
    whole = render(tmp_path / "a.mp4", "mpeg4", scene(60), flags=flags)
    path = cut(whole, 0.6)
    with pytest.raises(ValueError, match=r"(\d+) of 60 announced frames could be read; copy"):
        open_video(path)
    without_index = cut(render(tmp_path / "b.mp4", "mpeg4", scene(60)), 0.6)
    with pytest.raises(ValueError, match="its index is missing, so 0 frames could be read"):
        open_video(without_index)


def test_damage_found_while_decoding(tmp_path, render, scene):
    path = render(tmp_path / "a.mp4", "libx264", scene(30))
    reader = open_video(path)
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    middle = (start + end) // 2
    data[middle:end] = random.Random(0).randbytes(end - middle)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"cut short or damaged: \d+ of 30 announced") as caught:
        sum(1 for _ in reader)
    assert isinstance(caught.value.__cause__, av.FFmpegError)


def test_any_damage_gives_frames_or_one_sentence(tmp_path, render, scene):
    rng = random.Random(1)
    for kind in ("mp4 fast start", "avi", "webm", "gif"):
        name, codec, options = KINDS[kind]
        whole = render(tmp_path / name, codec, scene(12), **options).read_bytes()
        for _ in range(12):
            data = bytearray(whole)
            for _ in range(rng.choice([1, 30])):
                data[rng.randrange(len(data))] = rng.randrange(256)
            damaged = tmp_path / f"damaged{Path(name).suffix}"
            damaged.write_bytes(data)
            outcome = read_all(damaged)
            assert outcome > 0 if isinstance(outcome, int) else "\n" not in outcome


def test_what_is_no_video(tmp_path):
    with pytest.raises(ValueError, match=r"none\.mp4 does not exist; check the path"):
        open_video(tmp_path / "none.mp4")
    contents = {
        "empty.mp4": b"",
        "noise.mp4": random.Random(0).randbytes(20000),
        "text.mp4": b"hello world\n" * 99,
        "text.txt": b"hello world\n" * 99,
        "photo.heic": b"\x00\x00\x00\x18ftypheic" + bytes(99),
        "title.srt": b"1\n00:00:01,000 --> 00:00:02,000\nhello\n",
        "list.m3u8": b"#EXTM3U\n#EXTINF:1,\na.mp4\n#EXT-X-ENDLIST\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        message = r"is not a video that can be read .+; expected mp4|HEIC or AVIF picture; convert"
        with pytest.raises(ValueError, match=message):
            open_video(tmp_path / name)
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        open_video(tmp_path / "cut.png")


def test_sound_without_pictures(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(1600))
    with pytest.raises(ValueError, match="is not a video"):
        open_video(tmp_path / "a.wav")
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        silence = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono"
        )
        silence.sample_rate = 48000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    with pytest.raises(ValueError, match=r"has no video stream \(it holds audio\)"):
        open_video(tmp_path / "a.mp4")


def test_a_video_of_no_frames(tmp_path, render, scene):
    path = render(tmp_path / "a.avi", "mpeg4", scene(2))
    data = path.read_bytes()
    movie, index = data.index(b"movi"), data.index(b"idx1")
    size = (4).to_bytes(4, "little")
    empty = data[: movie - 4] + size + b"movi" + b"idx1" + bytes(4)
    total = (len(empty) - 8).to_bytes(4, "little")
    path.write_bytes(empty[:4] + total + empty[8:])
    assert index > movie
    with pytest.raises(ValueError, match=r"holds no frame|cut short"):
        open_video(path)


def test_folders_that_are_no_clip(tmp_path):
    with pytest.raises(ValueError, match=r"holds no frame .+ but nothing; pass the folder"):
        open_video(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="but 1 other entries"):
        open_video(tmp_path)
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    Image.new("RGB", (5, 4)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"several sizes: a\.png is 6x4, b\.png is 5x4; resize"):
        open_video(tmp_path)
    Image.new("RGB", (6, 4)).save(tmp_path / "b.png")
    Image.new("RGB", (6, 4)).save(tmp_path / "b.jpg")
    with pytest.raises(ValueError, match=r"holds b\.jpg and b\.png, two frames of one name"):
        open_video(tmp_path)


def test_a_damaged_picture_of_a_folder(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    for name in ("a.jpg", "b.jpg"):
        Image.fromarray(noise).save(tmp_path / name)
    (tmp_path / "b.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:900])
    frames = iter(open_video(tmp_path))
    assert next(frames).shape == (40, 40, 3)
    with pytest.raises(ValueError, match=r"b\.jpg cannot be read as a picture"):
        next(frames)
    (tmp_path / "b.jpg").write_text("no picture at all")
    with pytest.raises(ValueError, match=r"b\.jpg cannot be read as a picture"):
        open_video(tmp_path)


def test_frames_before_the_damage_are_picked(tmp_path, render, scene):
    path = render(tmp_path / "a.mp4", "libx264", scene(150))
    reader = open_video(path)
    first = reader.pick([0, 2])
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[(start + end) // 2 : end] = random.Random(0).randbytes(end - (start + end) // 2)
    path.write_bytes(data)
    np.testing.assert_array_equal(reader.pick([0, 2]), first)
    with pytest.raises(ValueError, match="cut short or damaged"):
        reader.pick([0, 149])
    with pytest.raises(ValueError, match="cut short or damaged"):
        _ = reader.num_frames
