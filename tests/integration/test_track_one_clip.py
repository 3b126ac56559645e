"""The recorded training in short: a tracker learns one clip by heart and follows it alone."""

import pytest
import torch

from vdit.config import load_config
from vdit.datasets.synthetic.clips import RenderedClips
from vdit.datasets.synthetic.writers.mot import write_mot
from vdit.stages.tracking import TrackingConfig, TrackingStage
from vdit.tracking.frame_tracks import join_frames
from vdit.tracking.scoring import score_video
from vdit.training.optimization import build_optimizer
from vdit.training.schedule import cosine_rate

T, H, W = 8, 96, 160
STEPS, WARMUP, RATE = 700, 50, 1e-3
CONTENT = {
    "features": {
        "source": {"backbone": "mini", "block": "up1", "clip_length": 1},
        "more_blocks": ["up3", "up2"],
        "dtype": "float32",
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
    "num_frames": T,  # as many as are followed in the end
    "previous_range": 1,
    "supervise_previous": True,
    "run": {"rate": RATE, "betas": [0.9, 0.999], "decay": 1e-4},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A stage whose tracker saw one clip, with the usual lost and wrong track queries."""
    folder = tmp_path_factory.mktemp("one-clip")
    clip = RenderedClips("mot", 1, first_seed=7, num_frames=T, height=H, width=W)[0]
    write_mot([("MOT17-00-SDP", clip)], folder / "data")
    content = CONTENT | {"data": {"root": str(folder / "data")}}
    config = load_config(TrackingConfig, content)
    torch.manual_seed(0)
    stage = TrackingStage(config, folder / "tracker")
    learning = {n: p for n, p in stage.model.named_parameters() if p.requires_grad}
    optimizer = build_optimizer(learning, config.run)
    batch = stage.collate([stage.data[0, 0]])
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * cosine_rate(step, STEPS, WARMUP)
        optimizer.zero_grad()
        stage.losses(batch)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(list(learning.values()), 0.1)
        optimizer.step()
    stage.model.eval()
    return stage


@pytest.mark.slow
def test_a_clip_is_followed_by_heart(trained):
    (video,) = trained.videos
    tracks = join_frames(trained.follow(video, trained.features), video.size)
    scores = score_video(video, tracks).summary()
    assert scores["MOTA"] >= 0.9
    assert scores["IDF1"] >= 0.9
    assert scores["IDSw"] == 0
