"""Chains of frames: which frames they are of, and which queries go on from one to the next."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vdit.datasets.truth_videos import BoxTruth
from vdit.models.deformable_transformer import TransformerConfig
from vdit.models.track_queries import TrackQueryConfig, TrackQueryModel
from vdit.stages.tracking import TrackingConfig, TrackingStage
from vdit.tracking.frame_chains import FrameChains, collate_chains
from vdit.tracking.track_augmentation import AugmentationConfig
from vdit.training.track_criterion import TrackCriterion

T = 7


class NumberedFrames:
    """Maps that say which frame they are of."""

    def read(self, video, index):
        return [torch.full((4, 3, 4), float(index))]


def video_of(num_objects, length=T):
    boxes = np.tile([0.2, 0.3, 0.5, 0.6], (num_objects, length, 1)).astype(float)
    boxes += 0.05 * np.arange(num_objects)[:, None, None]
    truth = BoxTruth(boxes, np.ones((num_objects, length), bool), tuple("abcd"[:num_objects]))
    return SimpleNamespace(frame_names=[str(t) for t in range(length)], boxes=lambda: truth)


def times_of(chain):
    return [int(frame.maps[0][0, 0, 0]) for frame in chain]


@pytest.mark.parametrize(("num_frames", "previous_range"), [(2, 3), (3, 2), (4, 1), (4, 5)])
def test_chains_are_in_order_and_end_everywhere(num_frames, previous_range):
    data = FrameChains([video_of(2)], NumberedFrames(), num_frames, previous_range, seed=0)
    chains = [times_of(data[epoch, i]) for epoch in range(30) for i in range(len(data))]
    assert {chain[-1] for chain in chains} == set(range(num_frames - 1, T))
    gaps = np.diff(chains, axis=1)
    assert set(gaps.flatten()) == set(range(1, min(previous_range, T - num_frames + 1) + 1))
    assert min(chain[0] for chain in chains) == 0


def test_errors():
    for num_frames, previous_range, message in (
        (1, 1, "num_frames >= 2, got 1"),
        (2, 0, "previous_range >= 1, got 0"),
        (T + 1, 1, "expected videos of 8 frames and more"),
    ):
        with pytest.raises(ValueError, match=message):
            FrameChains([video_of(1)], NumberedFrames(), num_frames, previous_range, seed=0)


class Recording(TrackQueryModel):
    """Remembers the queries that came and what went out."""

    def forward(self, maps, padding_masks=None, tracks=None):
        output = super().forward(maps, padding_masks, tracks)
        self.calls.append((tracks, output))
        return output


@pytest.fixture
def stage():
    torch.manual_seed(0)
    config = TrackingConfig(
        num_frames=4,
        previous_range=1,
        supervise_previous=True,
        augmentation=AugmentationConfig(0.0, 0.0),
    )
    stage = TrackingStage.__new__(TrackingStage)  # without files
    sizes = TransformerConfig(16, 2, 2, 1, 2, 2, 2, 16, 0.0)
    stage.config, stage.device = config, torch.device("cpu")
    stage.model = Recording(TrackQueryConfig((4,), 8, sizes))
    stage.model.calls = []
    stage.criterion = TrackCriterion()
    data = FrameChains([video_of(3), video_of(1)], NumberedFrames(), 4, 1, seed=0)
    stage.batch = collate_chains([data[0, 0], data[0, T - 3]])  # of both videos
    return stage


def test_queries_go_on_through_all_frames(stage):
    stage.losses(stage.batch)["loss"].backward()
    calls = stage.model.calls
    assert [0 if tracks is None else tracks.states.shape[1] for tracks, _ in calls] == [0, 3, 3, 3]
    assert calls[1][0].padding.tolist() == [[False] * 3, [False, True, True]]
    for (_, before), (tracks, _) in itertools.pairwise(calls[1:]):
        # what followed goes on as what it became, and nothing else, with padding in between
        assert torch.equal(tracks.states[0], before.states[0, :3])
        assert torch.equal(tracks.boxes[0], before.boxes[-1, 0, :3])
        assert torch.equal(tracks.states[1, 0], before.states[1, 0])
        assert not tracks.boxes.requires_grad
        assert tracks.states.requires_grad


def test_all_frames_or_the_last_one_are_trained(stage):
    assert stage.count(stage.batch) == 4 * (3 + 1)
    every = stage.losses(stage.batch)
    stage.config = replace(stage.config, supervise_previous=False)
    assert stage.count(stage.batch) == 3 + 1
    stage.model.calls.clear()
    last = stage.losses(stage.batch)
    assert [output.boxes.requires_grad for _, output in stage.model.calls] == [False] * 3 + [True]
    assert every["loss"].isfinite()
    assert last["loss"].isfinite()


def test_padding_is_never_a_wrong_query(stage):
    stage.config = replace(stage.config, augmentation=AugmentationConfig(0.0, 1.0))
    for _ in range(5):
        stage.model.calls.clear()
        stage.losses(stage.batch)
        for (came, before), (tracks, _) in zip(
            stage.model.calls[1:], stage.model.calls[2:], strict=False
        ):
            padded = before.states[1, : came.states.shape[1]][came.padding[1]]
            for state in tracks.states[1][~tracks.padding[1]]:
                assert not any(torch.equal(state, each) for each in padded)
