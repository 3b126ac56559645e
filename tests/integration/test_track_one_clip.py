"""A short form of the recorded training: a tracker learns the crossings of one clip by heart."""

import pytest
import torch

from vdit.config import load_config
from vdit.datasets.synthetic.clips import RenderedClips
from vdit.datasets.synthetic.writers.mot import write_mot
from vdit.metrics.tracking import TrackingScores
from vdit.stages.tracking import TrackingConfig, TrackingStage
from vdit.tracking.following import follow_by_overlap
from vdit.tracking.frame_tracks import join_frames
from vdit.tracking.scoring import score_video
from vdit.training.engine import Trainer

T, H, W = 8, 96, 160
STEPS = 300
CONTENT = {
    "features": {
        "source": {"backbone": "mini", "block": "up1", "clip_length": 1},
        "more_blocks": ["up3", "up2"],
    },
    "model": {
        "num_queries": 12,
        "transformer": {
            "dim": 64,
            "num_heads": 4,
            "num_encoder_layers": 1,
            "num_decoder_layers": 2,
            "num_encoder_points": 2,
            "feed_forward_dim": 128,
            "dropout": 0.0,
        },
    },
    "previous_range": 2,
    "supervise_previous": True,
    "run": {
        "steps": STEPS,
        "batch": 4,
        "rate": 1e-3,
        "decay": 1e-4,
        "clip": 0.1,
        "average": None,
        "workers": 0,
        "log_every": 100,
        "sample_every": 10 * STEPS,
        "validate_every": 10 * STEPS,
    },
}


def summary(video, frames):
    scores = score_video(video, join_frames(frames, video.size))
    return TrackingScores.combine([scores]).summary()


@pytest.mark.slow
def test_learned_by_heart(tmp_path):
    torch.manual_seed(0)
    clip = RenderedClips("mot", 1, first_seed=7, num_frames=T, height=H, width=W)[0]
    write_mot([("MOT17-00-SDP", clip)], tmp_path / "data")
    content = CONTENT | {"data": {"root": str(tmp_path / "data")}}
    config = load_config(TrackingConfig, content)
    stage = TrackingStage(config, tmp_path / "tracker")
    assert Trainer(stage, config.run, tmp_path / "work").run()
    stage.model.eval()
    (video,) = stage.videos
    frames = stage.follow(video, stage.features)
    ours, theirs = summary(video, frames), summary(video, list(follow_by_overlap(frames)))
    assert ours["MOTA"] >= 0.8
    assert ours["IDF1"] >= 0.8
    assert ours["IDF1"] > theirs["IDF1"]
