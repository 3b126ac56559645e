"""The pose task: what it asks, what chance is, and that its head learns it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tests.models.probes.learning import overfit, silent_parameters
from vdit.config import load_config
from vdit.datasets.probe_datasets import PROBE_DATASETS
from vdit.datasets.synthetic.cameras import project
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.datasets.truth_videos import CameraTruth, ClassifiedVideo, PosedVideo
from vdit.datasets.videos import VideoDataset
from vdit.probing.clip_views import ViewOptions
from vdit.probing.probe_task import FeatureShape
from vdit.probing.tasks.pose import Pose, PoseConfig, PoseHead

CONFIGS = Path(__file__).parents[2] / "configs" / "probe"
SHAPE = FeatureShape(steps=4, channels=6, height=3, width=3)
SMALL = PoseHead(width=16, num_heads=4)
LINEAR = PoseHead("linear")


@dataclass(frozen=True)
class Given:
    """Frames and cameras of a clip that is in memory."""

    clip: object

    @property
    def names(self):
        return tuple(map(str, range(len(self.clip.frames))))

    def size(self):
        return self.clip.frames.shape[1:3]

    def read_cameras(self):
        intrinsics = np.zeros((len(self.clip.frames), 4))
        return CameraTruth(self.clip.camera.world_to_camera, intrinsics)


def video_of(clip):
    return PosedVideo("d", "train", "v", Given(clip), Given(clip))


@pytest.fixture(scope="module")
def clip():
    return render(make_scene("camera", 6, 9, 24, 24), num_tracks=40)


def first_target(task, clip):
    video = video_of(clip)
    (view,) = task.views(video, is_training=True)
    return view, task.targets(video, view, is_training=True)["pose"].double().numpy()


def test_targets_take_points_of_the_first_camera_to_the_last(clip):
    """Points of the background, by where both cameras see them."""
    task = Pose(SMALL, ViewOptions(num_frames=4, sampling="strided", stride=2))
    view, pose = first_target(task, clip)
    first, last = view.indices[0], view.indices[-1]
    assert (last - first, pose.shape) == (6, (3, 4))
    stands = clip.tracks.objects == -1
    focal = clip.camera.intrinsics[first, 0, 0]
    start = clip.tracks.positions[stands, first] - 12
    depth = clip.tracks.depths[stands, first][:, None]
    points = np.concatenate([start / focal, np.ones_like(depth)], 1) * depth
    seen, depth = project(points, clip.camera.intrinsics[last], pose)
    np.testing.assert_allclose(seen, clip.tracks.positions[stands, last], atol=2e-2)
    np.testing.assert_allclose(depth, clip.tracks.depths[stands, last], rtol=1e-4)
    assert np.abs(seen - clip.tracks.positions[stands, first]).max() > 0.5, "the camera moves"


def test_every_clip_of_a_video_is_asked_about(clip):
    task = Pose(SMALL, ViewOptions(num_frames=3, sampling="strided", clips=2))
    video = video_of(clip)
    views = task.views(video, is_training=False)
    assert len(views) == 2
    targets = [task.targets(video, view, is_training=False) for view in views]
    assert (targets[0]["pose"] - targets[1]["pose"]).abs().max() > 1e-5
    record = task.score(targets, targets)
    assert max(record.values()) < 1e-4
    swapped = task.score(targets[::-1], targets)
    assert swapped["epe"] > 1e-4


def test_the_linear_head_needs_the_ends_of_a_clip_alone():
    view = ViewOptions(num_frames=7)
    assert Pose(SMALL, view).frames_seen is None
    assert Pose(LINEAR, view).frames_seen == (0, 6)
    task, features = Pose(LINEAR, view), torch.randn(3, 4, 6, 3, 3)
    head = task.build_head(SHAPE).eval()
    torch.nn.init.normal_(head.output.weight)
    torch.testing.assert_close(head(features[:, [0, -1]]), head(features))


@pytest.mark.parametrize("kind", [SMALL, LINEAR], ids=lambda each: each.kind)
def test_head_answers_with_a_pose_and_all_of_it_learns(kind):
    torch.manual_seed(0)
    task = Pose(kind, ViewOptions(num_frames=4))
    head = task.build_head(SHAPE)
    features = torch.randn(5, 4, 6, 3, 3)
    assert silent_parameters(head, head(features)) == []
    head.eval()
    pose = task.answer(head, features, {})["pose"]
    assert pose.shape == (5, 3, 4)
    target = {"pose": torch.zeros(5, 3, 4)}
    losses = task.losses(head, features, target)
    expected = sum(pose[i].square().sum() for i in range(5)) / 5
    torch.testing.assert_close(losses["loss"], expected)
    torch.testing.assert_close(losses["rotation"] + losses["translation"], expected)


def test_linear_head_sees_change_alone_and_starts_at_rest():
    head = Pose(LINEAR, ViewOptions(num_frames=4)).build_head(SHAPE).eval()
    features = torch.randn(2, 4, 6, 3, 3)
    torch.testing.assert_close(head(features), torch.eye(3, 4).expand(2, 3, 4))
    torch.nn.init.normal_(head.output.weight)
    still = features[:, :1].expand(-1, 4, -1, -1, -1)
    torch.testing.assert_close(head(still), torch.eye(3, 4).expand(2, 3, 4))
    assert (head(features) - torch.eye(3, 4)).abs().max() > 0.1
    torch.testing.assert_close(head(features + 5 * features[:, 1:2]), head(features))
    with pytest.raises(ValueError, match="expected features of 2 frames or more"):
        head(features[:, :1])


@pytest.mark.parametrize("kind", [SMALL, LINEAR], ids=lambda each: each.kind)
def test_poses_of_a_few_clips_are_learned_by_heart(kind):
    torch.manual_seed(0)
    task = Pose(kind, ViewOptions(num_frames=4))
    scenes = [make_scene("camera", seed, 4, 16, 16) for seed in range(8)]
    poses = [first_target(task, render(scene, num_tracks=0))[1] for scene in scenes]
    targets = {"pose": torch.tensor(np.array(poses)).float()}
    features = torch.randn(8, 4, 6, 3, 3)
    head = task.build_head(SHAPE)
    for rate in (3e-3, 3e-4):  # a large rate alone keeps on swinging
        overfit(head, lambda: task.losses(head, features, targets)["loss"], 150, rate)
    answers = task.answer(head, features, targets)["pose"].detach()
    records = [
        task.score([{"pose": answer}], [{"pose": target}])
        for answer, target in zip(answers, targets["pose"], strict=True)
    ]
    # the batch norm of the linear head divides by another deviation in training
    assert task.summarize(records)["epe"] < (0.03 if kind is SMALL else 0.12)
    rule = task.blind_rule([{"pose": pose} for pose in targets["pose"]])
    chance = task.summarize(
        [task.score([rule({})], [{"pose": target}]) for target in targets["pose"]]
    )
    assert chance["epe"] > 0.3


def test_chance_is_the_mean_pose():
    task = Pose(SMALL, ViewOptions())
    poses = torch.eye(3, 4) + torch.tensor([0.0, 1.0, 5.0])[:, None, None]
    rule = task.blind_rule({"pose": pose} for pose in poses)
    torch.testing.assert_close(rule({})["pose"], torch.eye(3, 4) + 2)


def test_scores_are_those_of_the_metrics():
    true = torch.eye(3, 4)
    answer = true.clone()
    answer[:, 3] = torch.tensor([0.0, 3.0, 4.0])
    record = Pose(SMALL, ViewOptions()).score([{"pose": answer}], [{"pose": true}])
    assert record == pytest.approx({"epe": 5, "translation_error": 5, "rotation_error": 0})


def test_rotations_are_projected_where_that_is_asked_for():
    true, answer = torch.eye(3, 4), 2 * torch.eye(3, 4)
    plain, projected = (
        Pose(PoseHead(width=16, num_heads=4, to_rotation=to_rotation), ViewOptions()).score(
            [{"pose": answer}], [{"pose": true}]
        )
        for to_rotation in (False, True)
    )
    assert plain["epe"] > 1
    assert projected["epe"] == pytest.approx(0, abs=1e-6)
    assert plain["rotation_error"] == projected["rotation_error"] == pytest.approx(0, abs=1e-5)


def test_summary_is_the_mean_over_videos():
    task = Pose(SMALL, ViewOptions())
    records = [dict.fromkeys(task.metrics, value) for value in (1.0, 4.0)]
    assert task.summarize(records) == dict.fromkeys(task.metrics, 2.5)


def test_what_has_no_cameras_or_no_motion_is_refused(clip):
    task = Pose(SMALL, ViewOptions())
    task.check(VideoDataset("d", "train", (video_of(clip),)))
    video = ClassifiedVideo("d", "train", "v", Given(clip), label=0)
    with pytest.raises(ValueError, match="expected a data set of cameras, got d; choose another"):
        task.check(VideoDataset("d", "train", (video,)))
    with pytest.raises(ValueError, match="expected clips of 2 frames or more"):
        Pose(SMALL, ViewOptions(num_frames=1))


def test_published_configuration_is_read():
    content = yaml.safe_load((CONFIGS / "pose_realestate10k.yaml").read_text())
    assert content.pop("task") == "pose"
    config = load_config(PoseConfig, content, ["data.root=r"])
    assert (config.head.width, config.head.num_heads) == (1024, 16)
    assert config.data.dataset in PROBE_DATASETS
