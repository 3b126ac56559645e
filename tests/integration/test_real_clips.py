"""`vdit segment` on real clips: avi, folders of frames, and an mp4 made from them."""

import json

import pytest

from vdit.cli import main
from vdit.masks import read_mask_png
from vdit.video import open_video
from vdit.video_writer import VideoWriter

PROMPTS = ["the chair", "the animal on the left"]


def segment(video, output):
    words = ["segment", str(video), "-o", str(output), "--short-side", "32", "--json"]
    for prompt in PROMPTS:
        words += ["-p", prompt]
    return main(words)


def check(video, output, capsys):
    """One mask a frame and prompt, of the size of the frames; an overlay as long as the clip."""
    assert segment(video, output) == 0
    reader = open_video(video)
    summary = json.loads(capsys.readouterr().out)
    assert summary["num_frames"] == reader.num_frames
    for folder in (output / "masks").iterdir():
        pictures = sorted(folder.iterdir())
        assert len(pictures) == reader.num_frames
        assert read_mask_png(pictures[-1]).shape == (reader.height, reader.width)
    assert open_video(output / "overlay.mp4").num_frames == reader.num_frames


@pytest.mark.assets
@pytest.mark.parametrize("kind", ["pumavos", "davis"])
def test_folder_of_frames_and_mp4(kind, assets, tmp_path, capsys):
    folder = {
        "pumavos": assets / "pumavos" / "chair" / "JPEGImages",
        "davis": assets / "davis" / "JPEGImages" / "480p" / "blackswan",
    }[kind]
    folder = next((path for path in (folder, *folder.rglob("*")) if any(path.glob("*.jpg"))), None)
    if folder is None:
        pytest.skip(f"no frames of {kind}")
    frames = list(open_video(folder))[:12]
    with VideoWriter(tmp_path / "clip.mp4", 24) as writer:
        for frame in frames:
            writer.add(frame)
    check(tmp_path / "clip.mp4", tmp_path / "out", capsys)
    few = tmp_path / "few"
    few.mkdir()
    for picture in sorted(folder.glob("*.jpg"))[:5]:
        (few / picture.name).symlink_to(picture)
    check(few, tmp_path / "out_few", capsys)


@pytest.mark.assets
def test_avi(assets, tmp_path, capsys):
    clips = sorted((assets / "jhmdb" / "clips").rglob("*.avi"))
    check(clips[0], tmp_path / "out", capsys)
