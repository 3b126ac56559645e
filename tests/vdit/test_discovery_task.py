"""Object discovery as a task: what is asked, carried slots, baselines, scores, pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from vdit.datasets.truth_videos import ClassifiedVideo, InstanceVideo
from vdit.datasets.videos import VideoDataset
from vdit.feature_projection import cluster_features
from vdit.metrics.grouping import foreground_ari
from vdit.models.probes.slot_attention import SlotAttentionConfig
from vdit.models.probes.slot_decoder import SlotDecoderConfig
from vdit.models.probes.slot_mixer import SlotMixerConfig
from vdit.models.probes.vector_quantizer import VectorQuantizerConfig
from vdit.probing.clip_views import ViewOptions
from vdit.probing.discovery_head import DiscoveryHead, segment_video
from vdit.probing.probe_task import DrawingTask, FeatureShape
from vdit.probing.segment_baselines import best_blocks, blocks
from vdit.probing.tasks.discovery import CLUSTERS, EQUALS, SEEN, SLOTS, Discovery
from vdit.video import open_video

T, H, W = 8, 32, 48
GRID = (4, 6)
HEAD = DiscoveryHead(
    grid=GRID,
    num_recurrent_layers=1,
    attention=SlotAttentionConfig(4, 8, 16, 2),
    decoder=SlotDecoderConfig(num_heads=2, head_dim=4),
    quantizer=VectorQuantizerConfig(8, 8, 8),
    mixer=SlotMixerConfig(depth=1, num_heads=2, render_dims=(8,)),
    chunk=3,
)
VIEW = ViewOptions(num_frames=3, sampling="strided", clips=2)


@dataclass(frozen=True)
class Squares:
    """Object 1 stands on the left, object 5 on the right; both leave after `stop` frames."""

    stop: int = T

    @property
    def names(self):
        return tuple(f"{t:05d}" for t in range(T))

    def size(self):
        return H, W

    def read_instances(self, indices):
        maps = np.zeros((T, H, W), np.uint8)
        maps[: self.stop, 8:24, 0:16] = 1
        maps[: self.stop, 8:24, 32:48] = 5
        return maps[list(indices)]

    def read(self, indices):
        return np.repeat(40 * self.read_instances(indices)[..., None], 3, axis=-1) + np.uint8(7)


def video(stop=T, name="v"):
    return InstanceVideo("squares", "val", name, Squares(stop), Squares(stop))


@pytest.fixture(params=["codes", "similarity", "clusters"])
def task(request):
    return Discovery(replace(HEAD, kind=request.param), VIEW)


def batch(task, is_training, stop=T):
    """Features and targets of the views of a video; the features know the objects."""
    generator = torch.Generator().manual_seed(0)
    each = video(stop)
    found = [task.targets(each, view, is_training) for view in task.views(each, is_training)]
    targets = {name: torch.stack([one[name] for one in found]) for name in found[0]}
    features = torch.nn.functional.one_hot(targets["instances"].long(), 6).float().movedim(-1, 2)
    return features + 0.01 * torch.randn(features.shape, generator=generator), targets


# ---- what is asked -----------------------------------------------------------------------------


def test_clips_are_learned_and_whole_videos_tested(task):
    each = video()
    assert [view.indices for view in task.views(each, True)] == [(1, 2, 3), (3, 4, 5)]
    assert [view.indices for view in task.views(each, False)] == [tuple(range(T))]


def test_targets_lie_on_the_grid(task):
    view = task.views(video(), True)[0]
    targets = task.targets(video(), view, True)
    expected = torch.zeros(3, *GRID, dtype=torch.uint8)
    expected[:, 1:3, :2] = 1
    expected[:, 1:3, 4:] = 5
    torch.testing.assert_close(targets["instances"], expected)
    assert int(targets["num_objects"]) == 2
    assert ("frames" in targets) == (task.head.kind == "codes")
    if "frames" in targets:
        frames = torch.from_numpy(video().frames([1, 2, 3])).movedim(-1, 1)
        torch.testing.assert_close(targets["frames"], frames)  # 4 x 6 cells of 8 pixels


def test_frames_are_learned_at_the_grid_times_the_stride():
    task = Discovery(replace(HEAD, grid=(2, 3)), VIEW)
    frames = task.targets(video(), task.views(video(), True)[0], True)["frames"]
    assert (list(frames.shape), frames.dtype) == ([3, 3, 16, 24], torch.uint8)


def test_other_data_sets_are_refused(task):
    other = ClassifiedVideo("c", "val", "v", Squares(), 0)
    with pytest.raises(ValueError, match="expected a data set of instances, got c"):
        task.check(VideoDataset("c", "val", (other,)))
    task.check(VideoDataset("squares", "val", (video(),)))


# ---- learning and answers ----------------------------------------------------------------------


def test_all_losses_are_logged_and_reach_the_head(task):
    features, targets = batch(task, True)
    head = task.build_head(FeatureShape(3, 6, *GRID))
    losses = task.losses(head, features, targets)
    codes = {"image", "codebook", "commitment", "decoded", "codes_to_slots", "distinct_codes"}
    expected = {"codes": codes, "similarity": {"similarity", "features"}, "clusters": set()}
    assert set(losses) == expected[task.head.kind] | {"loss"}
    losses["loss"].backward()
    unused = {name for name, each in head.named_parameters() if each.grad is None}
    assert not unused


def test_weights_of_losses_count():
    weights = replace(HEAD.code_weights, image=0.0, decoded=3.0)
    task = Discovery(replace(HEAD, code_weights=weights), VIEW)
    features, targets = batch(task, True)
    losses = task.losses(task.build_head(FeatureShape(3, 6, *GRID)), features, targets)
    total = 3 * losses["decoded"] + losses["codebook"] + losses["commitment"]
    total = total + losses["codes_to_slots"] + 0.05 * losses["distinct_codes"]
    torch.testing.assert_close(losses["loss"], total)


def test_chunks_carry_the_slots(task):
    features, _ = batch(task, False)
    head = task.build_head(FeatureShape(3, 6, *GRID)).eval()
    whole = segment_video(head, features, T)
    assert whole.shape == (1, T, *GRID)
    for chunk in (1, 3, 5):
        torch.testing.assert_close(segment_video(head, features, chunk), whole)
    parts = [segment_video(head, part, 3) for part in features.split(3, dim=1)]
    assert not torch.equal(torch.cat(parts, dim=1), whole)  # what it would be without


def test_answers_hold_slots_and_clusters(task):
    features, targets = batch(task, False)
    head = task.build_head(FeatureShape(3, 6, *GRID)).eval()
    answer = task.answer(head, features, targets)
    one = {name: value[0] for name, value in answer.items()}
    truth = targets["instances"][0].numpy()
    assert foreground_ari(truth, one[CLUSTERS].numpy()) == 1  # the features know the objects
    assert len(one[CLUSTERS].unique()) == 3
    record = task.score([one], [{name: value[0] for name, value in targets.items()}])
    metrics = task.summarize([record])
    assert metrics["k-means FG-ARI"] == 100
    assert metrics["k-means mBO"] == 100
    assert metrics["FG-ARI"] == pytest.approx(100 * foreground_ari(truth, one[SLOTS].numpy()))
    assert set(task.metrics) <= set(metrics)


def test_clusters_of_all_that_the_head_sees(task):
    """Where places count far more than features, clusters are parts of the grid, the same ever."""
    features, targets = batch(task, False)
    placed = Discovery(replace(HEAD, kind="clusters", place_weight=100.0), VIEW)
    head = placed.build_head(FeatureShape(3, 6, *GRID)).eval()
    answer = placed.answer(head, features, targets)
    parts = answer[SEEN][0]
    with torch.no_grad():
        seen = head.describe(features)[0]
    assert parts.tolist() == cluster_features(seen, 3, normalize=False).tolist()
    across = (seen[0, -1, 0, 1] - seen[0, -1, 0, 0]).item()  # a cell's width, far above features
    assert across > 30 * features.std()
    assert torch.equal(parts, parts[:1].expand_as(parts))
    assert len(parts.unique()) == 3
    assert len(answer[EQUALS].unique()) == HEAD.attention.num_slots
    truth = targets["instances"][0].numpy()
    assert foreground_ari(truth, answer[CLUSTERS][0].numpy()) == 1
    record = placed.score([{name: value[0] for name, value in answer.items()}],
                          [{name: value[0] for name, value in targets.items()}])  # fmt: skip
    metrics = placed.summarize([record])
    score = foreground_ari(truth, parts.numpy())
    assert metrics["k-means with places FG-ARI"] == pytest.approx(100 * score)
    if task.head.kind != "clusters":
        other = task.build_head(FeatureShape(3, 6, *GRID))
        assert set(task.answer(other, features, targets)) == {SLOTS, CLUSTERS}
    placeless = Discovery(replace(HEAD, kind="clusters", place_weight=0.0), VIEW)
    head = placeless.build_head(FeatureShape(3, 6, *GRID)).eval()
    assert set(placeless.answer(head, features, targets)) == {SLOTS, CLUSTERS, EQUALS}


def test_features_of_other_frames_are_refused(task):
    features, targets = batch(task, False)
    head = task.build_head(FeatureShape(3, 6, *GRID))
    with pytest.raises(ValueError, match=f"equally many of {T} frames, got {T - 2}"):
        task.answer(head, features[:, 2:], targets)


def test_features_of_several_frames_stand_for_each(task):
    features, targets = batch(task, False)
    head = task.build_head(FeatureShape(3, 6, *GRID)).eval()
    coarse = features[:, ::2]
    expected = task.answer(head, coarse.repeat_interleave(2, dim=1), targets)
    torch.testing.assert_close(task.answer(head, coarse, targets), expected)


def test_clusters_of_finer_features_are_brought_to_the_grid(task):
    features, targets = batch(task, False)
    finer = features.repeat_interleave(2, -1).repeat_interleave(2, -2)
    head = task.build_head(FeatureShape(3, 6, 8, 12)).eval()
    answer = task.answer(head, finer, targets)
    assert answer[CLUSTERS].shape == (1, T, *GRID)
    truth = targets["instances"][0].numpy()
    assert foreground_ari(truth, answer[CLUSTERS][0].numpy()) == 1


def test_videos_without_objects_count_as_degenerate(task):
    features, targets = batch(task, False, stop=0)
    head = task.build_head(FeatureShape(3, 6, *GRID)).eval()
    answer = {name: value[0] for name, value in task.answer(head, features, targets).items()}
    record = task.score([answer], [{name: value[0] for name, value in targets.items()}])
    metrics = task.summarize([record])
    assert metrics["FG-ARI"] == 100  # SAVi's convention
    assert math.isnan(metrics["mBO"])
    assert metrics["degenerate videos"] == metrics["videos without objects"] == 1


# ---- chance ------------------------------------------------------------------------------------


def test_blocks_are_of_equal_size():
    found = blocks((4, 6), 2, 3)
    assert np.bincount(found.ravel()).tolist() == [4] * 6
    assert found[:2, :2].max() == 0
    assert len(np.unique(blocks((5, 7), 2, 3))) == 6


def test_the_best_blocks_are_those_that_part_the_objects():
    truth = Squares().read_instances(range(T))[:, 4::8, 4::8]
    found = best_blocks([truth], 4)
    assert foreground_ari(truth, np.broadcast_to(found, truth.shape)) == 1
    np.testing.assert_array_equal(found, blocks(GRID, 1, 2))  # the first of the perfect ones
    np.testing.assert_array_equal(best_blocks([truth], 1), blocks(GRID, 1, 1))


def test_chance_needs_no_features(task):
    training = [task.targets(video(), view, True) for view in task.views(video(), True)]
    rule = task.blind_rule(iter(training))
    (view,) = task.views(video(), False)
    targets = task.targets(video(), view, False)
    metrics = task.summarize([task.score([rule(targets)], [targets])])
    assert metrics["FG-ARI"] == 100
    assert all(math.isnan(metrics[name]) for name in ("k-means FG-ARI", "k-means mBO"))


# ---- pictures ----------------------------------------------------------------------------------


def test_pictures_show_every_frame(task, tmp_path):
    assert isinstance(task, DrawingTask)
    views = task.views(video(), False)
    labels = torch.from_numpy(Squares().read_instances(range(T)))[:, 4::8, 4::8]
    answers = [{SLOTS: labels, CLUSTERS: labels}]
    film, sheet = task.draw(video(name="cat"), views, answers, tmp_path / "new")
    assert {film.name, sheet.name} == {"cat.mp4", "cat.png"}
    frames = list(open_video(film))
    assert len(frames) == T
    truth, slots = frames[0][10:22, 52:100].astype(int), frames[0][10:22, 104:152].astype(int)
    left, right = slice(3, 13), slice(35, 45)
    for side in (left, right):  # a segment has the color of the object that it fits
        assert np.abs(truth[:, side] - slots[:, side]).mean() < 15
    assert np.abs(truth[:, left] - truth[:, right]).mean() > 40
