"""Kubric-Similar: clips of the renderer are read back; both balls are there."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest

from vdit.datasets.checking import check
from vdit.datasets.kubric_similar import KUBRIC_SIMILAR, read_kubric_similar
from vdit.datasets.synthetic.clips import RenderedClips
from vdit.datasets.synthetic.writers.davis import write_davis


@pytest.fixture(scope="module")
def clips():
    return list(RenderedClips("kubric-similar", 2, 0, 4, 48, 48))


def test_labels_are_those_that_were_rendered(clips, tmp_path):
    write_davis([(f"v{k}", clip) for k, clip in enumerate(clips)], tmp_path)
    dataset = read_kubric_similar(tmp_path)
    assert {video.dataset for video in dataset} == {"kubric-similar"}
    for video, clip in zip(dataset, clips, strict=True):
        for t in video.labelled:
            np.testing.assert_array_equal(video.labels(t), clip.instances[t])
    report = check(KUBRIC_SIMILAR, tmp_path)
    assert report.is_complete
    assert (
        "are not the counts known (the paper: 14 videos, 224 frames)"
        in (report.splits["val"].notes[0])
    )
    with pytest.raises(ValueError, match="split='test-dev' is unknown"):
        read_kubric_similar(tmp_path, "test-dev")


def test_other_objects_are_noticed(clip, tmp_path):
    write_davis([("v", clip)], tmp_path)
    (problem,) = check(KUBRIC_SIMILAR, tmp_path).splits["val"].problems
    assert problem.what == "first labels do not show the balls 1 and 2"


@pytest.mark.parametrize("frames", ["0", "1", "2"])
def test_the_renderer_refuses_videos_too_short_to_hide_a_ball(
    tmp_path, monkeypatch, capsys, frames
):
    for name in ("bpy", "pybullet", "mathutils"):  # of an environment of its own
        monkeypatch.setitem(sys.modules, name, MagicMock())
    tool = Path(__file__).parents[2] / "tools" / "render_kubric_similar.py"
    monkeypatch.setattr(sys, "argv", [str(tool), "-o", str(tmp_path / "out"), "--frames", frames])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(tool), run_name="__main__")
    assert exit_.value.code == 2
    assert f"expected --frames 3 or more, got {frames}" in capsys.readouterr().err
