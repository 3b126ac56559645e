"""From files through targets, loop and rows to scores: who knows the truth is perfect."""

import pytest
import torch

from vdit.datasets.mot import read_mot
from vdit.datasets.synthetic.clips import RenderedClips
from vdit.datasets.synthetic.writers.mot import write_mot
from vdit.models.track_queries import TrackerOutput
from vdit.tracking.frame_chains import FrameChains
from vdit.tracking.frame_tracks import join_frames
from vdit.tracking.query_tracker import QueryTracker, TrackerOptions
from vdit.tracking.scoring import score_video
from vdit.training.track_criterion import ABSENT, FrameTarget, TrackCriterion

T, H, W = 10, 40, 72
NUM_QUERIES = 12


class NoMaps:
    def read(self, video, index):
        return []


class Knowing:
    """Says the truth of one frame after the other; the state of a query is its object."""

    def __init__(self, frames):
        self.frames = iter(frames)
        self.losses = []

    def __call__(self, maps, tracks):
        frame = next(self.frames)
        held = [] if tracks is None else tracks.states[0, :, 0].long().tolist()
        present = frame.identities.tolist()
        new = [each for each in present if each not in held]
        said = held + new + [ABSENT] * (NUM_QUERIES - len(new))
        sure = torch.tensor([20.0 if each in present else -20.0 for each in said])
        boxes = torch.stack(
            [
                frame.boxes[present.index(each)] if each in present else torch.full((4,), 0.5)
                for each in said
            ]
        )
        places = [present.index(each) if each in present else ABSENT for each in held]
        target = FrameTarget(frame.boxes, torch.tensor(places, dtype=torch.long))
        padding = torch.zeros(1, len(held), dtype=torch.bool)
        logits, boxes = sure[None, None], boxes[None, None]
        count = float(len(present))
        self.losses.append(TrackCriterion()(logits, boxes, [target], count, padding)["loss"])
        states = torch.tensor(said, dtype=torch.float32)[None, :, None]
        return TrackerOutput(logits, boxes, states, len(held))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("mot")
    clips = RenderedClips("mot", 2, first_seed=3, num_frames=T, height=H, width=W)
    write_mot([(f"MOT17-0{index}-SDP", clips[index]) for index in range(2)], root)
    return list(read_mot(root)) + list(read_mot(root, "val-half"))


@pytest.mark.parametrize("patience", [0, T])
def test_the_truth_costs_nothing_and_scores_one(videos, patience):
    for video in videos:
        data = FrameChains([video], NoMaps(), 2, 1, seed=0)
        model = Knowing(data.frame(0, t) for t in range(len(video.frame_names)))
        tracker = QueryTracker(model, TrackerOptions(inactive_patience=patience))
        frames = [tracker.step([]) for _ in video.frame_names]
        scores = score_video(video, join_frames(frames, video.size, video.sequence.first))
        summary = scores.summary()
        assert max(model.losses) < 2e-3
        assert summary["MOTA"] == 1
        assert summary["MOTP"] > 0.99
        assert summary["IDSw"] == 0
