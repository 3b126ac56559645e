"""Feature frames that show labelled frames: every stride, by hand, and through a backbone."""

import pytest
import torch
from torch import nn

from tests.vdit.dense_task_worlds import labelled
from vdit.feature_options import ClipRule
from vdit.probing.clip_views import ClipView, ViewOptions
from vdit.probing.probe_task import FeatureShape
from vdit.probing.tasks.labelled_frames import (
    LabelledFrameHead,
    channels_seen,
    check_scoring,
    labelled_views,
    nearest_size,
    steps_seen,
    steps_showing,
)

AROUND = ViewOptions(num_frames=16, sampling="around", position=8)


def spans(num_frames, offset, multiple):
    rule = ClipRule(num_frames, 0, offset, multiple)
    return tuple(rule.span(k, num_frames) for k in range(rule.num_features))


@pytest.mark.parametrize(
    ("num_frames", "offset", "multiple", "expected"),
    [
        (16, 0, 1, list(range(16))),
        (16, 0, 2, [t // 2 for t in range(16)]),  # V-JEPA: tubelets of two frames
        (17, 1, 4, [0] + [1 + (t - 1) // 4 for t in range(1, 17)]),  # causal VAEs
        (16, 1, 4, [0] + [1 + (t - 1) // 4 for t in range(1, 16)]),  # the same, padded
    ],
)
def test_every_frame_has_the_step_that_shows_it(num_frames, offset, multiple, expected):
    found = spans(num_frames, offset, multiple)
    shape = FeatureShape(len(found), 4, 2, 2, found)
    assert steps_showing(shape, range(num_frames), num_frames) == expected


def test_steps_that_were_left_out():
    shape = FeatureShape(1, 4, 2, 2, ((8, 10),))
    assert steps_showing(shape, [9], 16) == [0]
    with pytest.raises(ValueError, match="no feature frame shows frame 3 of clips"):
        steps_showing(shape, [3], 16)


def test_nobody_guesses_strides():
    assert steps_showing(FeatureShape(16, 4, 2, 2), [8], 16) == [8]
    with pytest.raises(ValueError, match="one feature frame for each of 16 frames, got 8"):
        steps_showing(FeatureShape(8, 4, 2, 2), [8], 16)


def test_head_sees_the_labelled_step_or_all_as_channels():
    class Given(nn.Module):
        def forward(self, features, size):
            return features

    shape = FeatureShape(8, 4, 2, 3, spans(16, 0, 2))
    features = torch.arange(2 * 8 * 4 * 2 * 3.0).view(2, 8, 4, 2, 3)
    one = LabelledFrameHead(Given(), steps_seen(shape, "labelled", AROUND))
    torch.testing.assert_close(one(features, (4, 6)), features[:, 4:5])
    assert channels_seen(shape, "labelled") == 4
    every = LabelledFrameHead(Given(), steps_seen(shape, "all", AROUND))(features, (4, 6))
    assert every.shape == (2, 1, channels_seen(shape, "all"), 2, 3)
    torch.testing.assert_close(every[:, 0, 4 * 5 + 1], features[:, 5, 1])
    strided = ViewOptions(num_frames=4, sampling="strided")
    shape = FeatureShape(2, 4, 2, 3, spans(4, 0, 2))
    many = LabelledFrameHead(Given(), steps_seen(shape, "labelled", strided))
    torch.testing.assert_close(many(features, (4, 6)), features[:, [0, 0, 1, 1]])
    with pytest.raises(ValueError, match='"labelled" for clips with 4 frames with truth'):
        steps_seen(shape, "all", strided)


def test_clips_show_a_labelled_frame():
    video = labelled(labelled=(0, 4), count=5)
    views = labelled_views(ViewOptions(num_frames=3, sampling="around"), video, True)
    assert [view.indices for view in views] == [(0, 0, 1), (3, 4, 4)]
    uniform = ViewOptions(num_frames=2, sampling="uniform")  # frames 1 and 3
    with pytest.raises(ValueError, match="no clip of v0 shows one of its 2 frames with truth"):
        labelled_views(uniform, video, True)
    runs = ViewOptions(num_frames=1, sampling="strided", clips=3)
    assert [view.indices for view in labelled_views(runs, video, True)] == [(0,)]


def test_position_is_inside_of_the_clip():
    with pytest.raises(ValueError, match=r"view.position in 0\.\.3 of clips of 4 frames, got 4"):
        check_scoring(ViewOptions(num_frames=4, sampling="around", position=4), "clip")


def test_nearest_size_is_that_of_clip_views():
    maps = torch.arange(7 * 5).view(7, 5)
    view = ClipView((0,), (3, 9), 0, 0, (3, 9))
    expected = torch.from_numpy(view.cut_map(maps.numpy()))
    torch.testing.assert_close(nearest_size(maps, (3, 9)), expected)
