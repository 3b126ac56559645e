"""`vdit propagate --keypoints`: points on a moving square, what is written, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from vdit.cli import main
from vdit.keypoint_files import read_keypoints
from vdit.keypoint_pictures import overlay_keypoints
from vdit.propagation import PropagationSettings
from vdit.propagation.keypoint_stream import follow_keypoints
from vdit.video import open_video
from vdit.video_writer import VideoWriter
from vdit.visualize import object_colors

FRAMES, HEIGHT, WIDTH, STEP = 6, 96, 128, (8, 4)
POINTS = [[20.0, 24.5], [44.0, 24.0], [32.0, 47.0], [110.0, 80.0]]
MOVES = np.array([1, 1, 1, 0])  # the last one lies on the background
CELL = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A square whose colors change smoothly, moved by STEP pixels a frame over a wall."""
    folder = tmp_path_factory.mktemp("clip")
    rise = np.linspace(0, 255, 40)
    red, green = np.broadcast_arrays(rise, rise[:, None])
    square = np.stack([red, green, 255 - (red + green) / 2], axis=-1)
    gray, tint = np.broadcast_arrays(
        np.linspace(40, 200, WIDTH), np.linspace(0, 55, HEIGHT)[:, None]
    )
    wall = np.stack([gray, gray, gray + tint], axis=-1)
    with VideoWriter(folder / "clip.mp4", 10) as writer:
        for t in range(FRAMES):
            frame = wall.copy()
            left, top = 12 + t * STEP[0], 16 + t * STEP[1]
            frame[top : top + 40, left : left + 40] = square
            writer.add(frame.astype(np.uint8))
    return folder


def propagate(folder, output, content, *more):
    path = output.parent / "points.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    words = ["propagate", str(folder / "clip.mp4"), "--keypoints", str(path)]
    words += ["--backbone", "mini", "--block", "vae4", "-o", str(output), *more]
    return main(words)


def test_points_follow_the_square(folder, tmp_path, capsys):
    names, skeleton = ["left", "right", "low", "wall"], [[0, 1], [1, 2]]
    content = {"points": POINTS, "names": names, "skeleton": skeleton}
    assert propagate(folder, tmp_path / "out", content, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["points"], len(result["frames"])) == (4, FRAMES)
    given = {name: result[name] for name in ("num_context", "radius", "topk", "temperature")}
    assert given == {"num_context": 20, "radius": 5, "topk": 10, "temperature": 0.05}
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["keypoints.json", "overlay.mp4", "result.json"]
    found = json.loads((tmp_path / "out" / "keypoints.json").read_text())
    assert (found["names"], found["skeleton"]) == (names, skeleton)
    assert (found["video"], found["height"], found["width"]) == ("clip.mp4", HEIGHT, WIDTH)
    assert [frame["index"] for frame in found["frames"]] == list(range(FRAMES))
    assert [frame["name"] for frame in found["frames"]] == result["frames"]
    points = np.array([frame["points"] for frame in found["frames"]])
    assert points[0].tolist() == POINTS
    steps = np.arange(FRAMES)[:, None, None] * MOVES[:, None] * np.array(STEP)
    distances = np.linalg.norm(points - (np.array(POINTS) + steps), axis=-1)
    assert distances.mean() < CELL / 2
    assert distances.max() < 2 * CELL  # after a way of 11 cells
    scores = np.array([frame["scores"] for frame in found["frames"]])
    assert (scores[0] == 1).all()
    assert scores.min() > 0
    overlay = open_video(tmp_path / "out" / "overlay.mp4")
    assert (overlay.num_frames, overlay.height, overlay.width) == (FRAMES, HEIGHT, WIDTH)


def test_options_given_win(folder, tmp_path, capsys):
    content = {"points": POINTS}
    assert propagate(folder, tmp_path / "out", content, "--topk", "3", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["topk"], result["num_context"]) == (3, 20)
    found = json.loads((tmp_path / "out" / "keypoints.json").read_text())
    assert found["names"] is None
    assert found["skeleton"] is None


def test_labels_or_keypoints_not_both(folder, tmp_path, capsys):
    words = ["propagate", str(folder / "clip.mp4"), "--backbone", "mini", "--block", "vae4"]
    for more in ([], ["--labels", "a.png", "--keypoints", "a.json"]):
        with pytest.raises(SystemExit) as exit_:
            main([*words, *more])
        assert exit_.value.code == 2
        assert "--labels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{points", "is no JSON"),
        ("[[1, 2]]", "expected an object"),
        ("[" * 100_000, "is no JSON"),
        ("{}", 'expected "points"'),
        ({"points": []}, "at least one point"),
        ({"points": [[1, 2], [3]]}, "expected a pair of numbers [x, y] as points[1]"),
        ({"points": [1, 2]}, "expected a pair of numbers"),
        ({"points": [[1, "2"]]}, "expected a pair of numbers"),
        ({"points": [[1, True]]}, "expected a pair of numbers"),
        ('{"points": [[1, NaN]]}', "expected finite numbers"),
        ('{"points": [[Infinity, 1]]}', "expected finite numbers"),
        ({"points": [[128, 3]]}, "inside of the video's 128x96 pixels"),
        ({"points": [[3, 96]]}, "inside of the video's 128x96 pixels"),
        ({"points": [[-1, 3]]}, "inside of the video's 128x96 pixels"),
        ({"points": [[10**400, 3]]}, "inside of the video's 128x96 pixels"),
        ({"points": [[1, 2]], "names": ["a", "b"]}, "a name for each of the 1 points"),
        ({"points": [[1, 2]], "names": "a"}, "list of strings"),
        ({"points": [[1, 2], [3, 4]], "skeleton": [[0, 2]]}, "expected places 0..1"),
        ({"points": [[1, 2], [3, 4]], "skeleton": [[0, -1]]}, "expected places 0..1"),
        ({"points": [[1, 2], [3, 4]], "skeleton": [[0, 0]]}, "two different places"),
        ({"points": [[1, 2], [3, 4]], "skeleton": [[0, 1.0]]}, "two different places"),
        ({"points": [[1, 2], [3, 4]], "skeleton": 3}, 'expected "skeleton"'),
        ({"points": [[1, 2]], "skelton": []}, "got also 'skelton'"),
    ],
)
def test_wrong_files_are_one_sentence(folder, tmp_path, capsys, content, message):
    assert propagate(folder, tmp_path / "out", content) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_missing_file_and_bytes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="check the path"):
        read_keypoints(tmp_path / "none.json", (4, 4))
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ValueError, match="is no JSON"):
        read_keypoints(tmp_path / "bytes.json", (4, 4))


SETTINGS = PropagationSettings.crw(num_context=2, radius=3, topk=1, temperature=0.05)


def codes(height, width):
    """Features [h * w, h, w] by which every cell is like itself alone."""
    return torch.eye(height * width).reshape(-1, height, width)


@pytest.mark.parametrize("point", [[0.0, 0.0], [63.0, 47.0], [11.3, 20.9], [8.0, 7.9]])
def test_points_on_what_stands_still_do_not_move(point):
    given = torch.tensor([point], dtype=torch.float64)
    for points, scores in follow_keypoints([codes(6, 8)] * 4, given, (48, 64), SETTINGS):
        torch.testing.assert_close(points, given, atol=1e-6, rtol=0)
        assert scores.item() == pytest.approx(1)


def test_points_move_with_their_cells():
    first = codes(6, 8)
    frames = [first.roll((t, t), dims=(1, 2)) for t in range(3)]
    given = torch.tensor([[19.0, 21.0]], dtype=torch.float64)
    for t, (points, _) in enumerate(follow_keypoints(iter(frames), given, (48, 64), SETTINGS)):
        # an eighth of a cell, as cells beside the peak are equal and only two of four count
        torch.testing.assert_close(points, given + 8 * t, atol=1, rtol=0)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (1, 0), (2, 3), (7, 1), (3, 5)])
def test_the_label_is_drawn_at_the_cell_that_holds_the_point(x, y):
    first = codes(6, 8)
    second = first[:, 5:, 7:].expand_as(first).clone()  # everything looks like the last cell
    second[:, 3, 4] = first[:, y, x]
    given = torch.tensor([[8.0 * x + 5, 8.0 * y + 1]], dtype=torch.float64)
    settings = PropagationSettings.dino(num_context=0, radius=0, topk=1, temperature=0.05)
    _, (_, scores) = follow_keypoints([first, second], given, (48, 64), settings)
    assert scores.item() == pytest.approx(1)


def test_a_point_whose_label_is_gone_is_lost():
    first = codes(6, 8)
    frames = [first, first[:, :1, :1].expand_as(first)]  # everything looks like the top left cell
    given = torch.tensor([[50.0, 40.0]], dtype=torch.float64)
    settings = PropagationSettings.dino(num_context=0, radius=0, topk=1, temperature=0.05)
    _, (points, scores) = follow_keypoints(frames, given, (48, 64), settings)
    assert bool(points.isnan().all())
    assert scores.item() == 0


def test_points_are_drawn_in_their_colors():
    frame = np.full((40, 60, 3), 200, np.uint8)
    points = np.array([[10.0, 12.0], [45.0, 30.0], [np.nan, np.nan], [59.0, 0.0]])
    picture = overlay_keypoints(frame, points, [(0, 1), (1, 2)])
    colors = object_colors(4)
    assert (frame == 200).all()
    assert (picture[12, 10] == colors[0]).all()
    assert (picture[30, 45] == colors[1]).all()
    assert (picture[0, 59] == colors[3]).all()
    middle = (colors[0].astype(int) + colors[1]) / 2
    assert np.abs(picture[21, 27].astype(int) - middle).max() < 40  # on the line
    assert (picture[35, 10] == 200).all()
    assert (overlay_keypoints(frame, points[:0]) == frame).all()
    with pytest.raises(ValueError, match="points must be"):
        overlay_keypoints(frame, points.T)
