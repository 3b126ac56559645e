"""Label propagation as a probe: scores, what is resumed, shares of processes, shared features."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from vdit.datasets.labelled_videos import KeypointVideo
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.datasets.synthetic.writers.davis import write_davis, write_davis_unsupervised
from vdit.feature_options import FeatureOptions
from vdit.features import collect_features, extract_features
from vdit.masks import read_mask_png
from vdit.metrics import davis
from vdit.models.backbones.base import Backbone, BlockInfo, Encoded
from vdit.probing.feature_sources import Backbones, FeatureSource
from vdit.probing.keypoint_propagation import KeypointPropagation
from vdit.probing.label_propagation import run_label_propagation
from vdit.probing.propagation_config import (
    DataOptions,
    LabelPropagationConfig,
    PropagationOptions,
    full_key,
)
from vdit.probing.results import read_rows
from vdit.probing.video_clips import Clip, read_clips
from vdit.propagation import PropagationSettings, propagate_labels, stream_labels
from vdit.propagation.mask_labels import labels_from_mask, mask_from_labels

T, H, W = 6, 48, 64
NAMES = ("one", "two", "three")


class Colors(Backbone):
    """Cells are mean colors around their middle, plus noise; passes are counted by clip."""

    temporal = False
    size_multiple = 4

    def __init__(self, fail_after=None):
        super().__init__()
        self.blocks = {"fine": BlockInfo(27, 4), "coarse": BlockInfo(27, 8)}
        self.num_passes, self.fail_after = 0, fail_after

    def encode(self, video):
        return Encoded((video.shape[-2], video.shape[-1]), video)

    def extract(self, video, *, blocks, timestep=None, noise=None, **_):
        if self.num_passes == self.fail_after:
            raise KeyboardInterrupt
        self.num_passes += 1
        frames = video.latent_mean
        if timestep is not None:
            frames = frames + timestep * noise(frames)
        found = {}
        for name in blocks:
            pooled = functional.avg_pool2d(frames.flatten(0, 1), self.blocks[name].stride)
            cells = functional.unfold(pooled - 0.5, 3, padding=1).unflatten(2, pooled.shape[2:])
            found[name] = cells.unflatten(0, frames.shape[:2])
        return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("davis")
    clips = [(name, render(make_scene("simple", k, T, H, W))) for k, name in enumerate(NAMES)]
    write_davis(clips, root)
    return root


@pytest.fixture
def config(tree):
    return LabelPropagationConfig(
        data=DataOptions("davis-2017", str(tree), "val"),
        sources={"image": FeatureSource("colors", "fine", batch_size=T)},
        propagation=PropagationOptions(num_context=3, radius=4, topk=5, temperature=0.1),
    )


@pytest.fixture
def colors():
    return Colors()


@pytest.fixture
def backbones(colors):
    return Backbones(build=lambda *_, **__: colors)


def fused(config, **changes):
    video = replace(config.sources["image"], timestep=0.1)
    sources = {"video": video, "image": config.sources["image"]}
    return replace(config, sources=sources, **changes)


# ---- scores ------------------------------------------------------------------------------------


def test_row_is_that_of_the_parts_put_together(config, backbones, colors, tmp_path):
    (row,) = run_label_propagation([config], tmp_path, backbones=backbones)
    scores = []
    for clip in read_clips(config.data).clips:
        options = FeatureOptions(("fine",), fit="resize")
        maps = collect_features(extract_features(colors, clip, options))["fine"]
        truth = np.stack([clip.video.labels(t) for t in range(T)])
        labels = labels_from_mask(torch.from_numpy(truth[0].astype(int)), (H // 4, W // 4))
        soft = propagate_labels(maps, labels, num_context=3, radius=4, topk=5, temperature=0.1)
        masks = np.stack([truth[0], *(mask_from_labels(each, (H, W)).numpy() for each in soft)])
        scores.append(davis.score_semi_supervised(truth, masks))
        folder = tmp_path / f"davis-2017-{row['run']}" / "masks" / clip.name
        written = np.stack([read_mask_png(path) for path in sorted(folder.iterdir())])
        np.testing.assert_array_equal(written, masks)
    summary = davis.summarize(scores)
    assert row["metrics"]["J_m"] == pytest.approx(100 * summary["J-Mean"])
    assert row["metrics"]["F_m"] == pytest.approx(100 * summary["F-Mean"])
    assert row["metrics"]["J&F_m"] == pytest.approx(100 * summary["J&F-Mean"])
    assert (row["num_videos"], row["num_frames"], row["num_objects"]) == (3, 18, 9)


def test_following_beats_copying_and_motion_hurts(config, backbones, tmp_path):
    (row,) = run_label_propagation([config], tmp_path, backbones=backbones)
    copied = []
    for clip in read_clips(config.data).clips:
        truth = np.stack([clip.video.labels(t) for t in range(T)])
        copied.append(davis.score_semi_supervised(truth, np.repeat(truth[:1], T, axis=0)))
    assert row["metrics"]["J_m"] > 100 * davis.summarize(copied)["J-Mean"] + 5
    groups = row["by_motion"]
    assert [group["count"] for group in groups] == [9] * 4  # 9 objects, 4 counted frames
    assert all(one["high"] <= other["low"] for one, other in itertools.pairwise(groups))


def test_row_says_all_that_is_needed_to_run_again(config, backbones, tmp_path):
    (row,) = run_label_propagation([config], tmp_path, backbones=backbones)
    written = json.loads((tmp_path / f"davis-2017-{row['run']}" / "config.json").read_text())
    assert row["config"] == written
    again = json.loads(json.dumps(row))
    assert read_rows(tmp_path / "results.jsonl") == [again]
    assert {"command", "commit", "date", "vdit", "torch", "packages"} <= row.keys()
    assert row["seconds"] > 0
    assert row["peak_memory_bytes"] > 0


def test_void_is_background_in_the_first_frame_and_does_not_spread(config, backbones, tmp_path):
    write_davis_unsupervised([("one", render(make_scene("simple", 0, T, H, W)))], tmp_path)
    data = DataOptions("davis-2017-unsupervised", str(tmp_path), "val")
    (row,) = run_label_propagation(
        [replace(config, data=data)], tmp_path / "out", backbones=backbones
    )
    (clip,) = read_clips(data).clips
    assert (clip.video.first_labels == 255).any()
    paths = sorted((tmp_path / "out").rglob("masks/one/*.png"))
    masks = np.stack([read_mask_png(path) for path in paths])
    np.testing.assert_array_equal(masks[0], clip.video.first_labels % 255)
    assert masks.max() == row["num_objects"]


def test_masks_of_crw_are_chosen_without_stretching(config, backbones, colors, tmp_path):
    options = replace(config.propagation, variant="crw")
    crw = replace(config, propagation=options, data=replace(config.data, videos=("one",)))
    run_label_propagation([crw], tmp_path, backbones=backbones)
    written = np.stack([read_mask_png(path) for path in sorted(tmp_path.rglob("one/*.png"))])
    (clip,) = read_clips(crw.data).clips
    maps = collect_features(extract_features(colors, clip, FeatureOptions(("fine",), fit="resize")))
    truth = torch.from_numpy(clip.video.labels(0).astype(int))
    soft = list(
        stream_labels(maps["fine"], labels_from_mask(truth, (H // 4, W // 4)), options.settings())
    )
    plain, stretched = (
        np.stack([mask_from_labels(each, (H, W), normalize=choice).numpy() for each in soft])
        for choice in (False, True)
    )
    assert (plain != stretched).any()
    np.testing.assert_array_equal(written[1:], plain)


def test_objects_that_come_later_do_not_count(config, backbones, tmp_path):
    clip = render(make_scene("simple", 0, T, H, W))
    late = clip.instances.copy()
    late[:2][late[:2] == 1] = 0
    write_davis([("late", replace(clip, instances=late))], tmp_path)
    data = DataOptions("davis-2017", str(tmp_path), "val")
    run = replace(config, data=data)
    (row,) = run_label_propagation([run], tmp_path / "out", backbones=backbones)
    (record,) = [json.loads(p.read_text()) for p in (tmp_path / "out").rglob("videos/late.json")]
    assert row["num_objects"] == late.max() - 1
    (seen,) = read_clips(data).clips
    masks = np.stack([read_mask_png(path) for path in sorted((tmp_path / "out").rglob("late/*"))])
    truth = np.stack([seen.video.labels(t) for t in range(T)])
    scores = davis.score_semi_supervised(truth, masks)
    np.testing.assert_array_equal(record["region"], scores.region[1:])
    assert len(record["motion"]) == len(record["contour"]) == row["num_objects"]


def test_only_the_chosen_videos_and_frames_count(config, backbones, tmp_path):
    data = replace(config.data, videos=("two",), max_frames=4)
    (row,) = run_label_propagation([replace(config, data=data)], tmp_path, backbones=backbones)
    assert (row["num_videos"], row["num_frames"]) == (1, 4)


def test_alpha_weighs_video_and_image(config, backbones, tmp_path):
    configs = [fused(config, alpha=alpha) for alpha in (0.0, 0.3, 1.0)]
    rows = run_label_propagation(configs, tmp_path, backbones=backbones)
    noisy = replace(config, sources={"video": configs[0].sources["video"]})
    plain = run_label_propagation([config, noisy], tmp_path / "plain", backbones=backbones)
    assert rows[0]["metrics"] == plain[0]["metrics"]
    assert rows[2]["metrics"] == plain[1]["metrics"]
    assert plain[0]["metrics"] != plain[1]["metrics"]
    assert rows[1]["label"] == "colors:fine t=0.1 w=0.3 + colors:fine w=0.7"


# ---- work that is taken up again ---------------------------------------------------------------


def test_finished_work_is_kept(config, backbones, colors, tmp_path):
    first = run_label_propagation([config], tmp_path, backbones=backbones)
    before = colors.num_passes
    records = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("videos/*.json")}
    again = run_label_propagation([config], tmp_path, backbones=backbones)
    assert colors.num_passes == before
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("videos/*.json")} == records
    assert again == first
    assert len(read_rows(tmp_path / "results.jsonl")) == 1


def test_an_interrupted_run_goes_on_with_the_next_video(config, tmp_path):
    failing = Colors(fail_after=1)
    with pytest.raises(KeyboardInterrupt):
        run_label_propagation(
            [config], tmp_path, backbones=Backbones(build=lambda *_, **__: failing)
        )
    assert not (tmp_path / "results.jsonl").exists()
    rest = Colors()
    (row,) = run_label_propagation(
        [config], tmp_path, backbones=Backbones(build=lambda *_, **__: rest)
    )
    assert rest.num_passes == 2
    whole = Backbones(build=lambda *_, **__: Colors())
    (truth,) = run_label_propagation([config], tmp_path / "whole", backbones=whole)
    assert row["metrics"] == truth["metrics"]


def test_predictions_without_scores_are_scored(config, backbones, colors, tmp_path):
    (row,) = run_label_propagation([config], tmp_path, backbones=backbones)
    folder = tmp_path / f"davis-2017-{row['run']}"
    (folder / "videos" / "two.json").unlink()
    (folder / "row.json").write_text("")  # a process stopped while it wrote
    before = colors.num_passes
    (again,) = run_label_propagation([config], tmp_path, backbones=backbones)
    assert colors.num_passes == before
    assert again["metrics"] == row["metrics"]


def test_processes_share_the_videos(config, backbones, tmp_path, monkeypatch):
    (truth,) = run_label_propagation([config], tmp_path / "alone", backbones=backbones)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert run_label_propagation([config], tmp_path, backbones=backbones) is None
    (run,) = (path for path in tmp_path.glob("davis-2017-*"))
    assert [path.name for path in (run / "videos").iterdir()] == ["two.json"]
    assert not (tmp_path / "results.jsonl").exists()
    monkeypatch.setenv("RANK", "0")
    (row,) = run_label_propagation([config], tmp_path, backbones=backbones)
    assert row["metrics"] == truth["metrics"]
    assert len(read_rows(tmp_path / "results.jsonl")) == 1


# ---- several configurations --------------------------------------------------------------------


def test_features_that_do_not_depend_on_what_is_swept_are_computed_once(
    config, backbones, colors, tmp_path
):
    configs = [fused(config, alpha=alpha) for alpha in (0.2, 0.5, 0.8)]
    rows = run_label_propagation(configs, tmp_path, backbones=backbones)
    assert colors.num_passes == len(NAMES) * 2  # two sources
    assert list((tmp_path / "features").iterdir()) == []
    colors.num_passes = 0
    alone = [
        run_label_propagation([each], tmp_path / str(k), backbones=backbones)[0]
        for k, each in enumerate(configs)
    ]
    assert colors.num_passes == len(NAMES) * 6
    assert [row["metrics"] for row in rows] == [row["metrics"] for row in alone]


def test_features_of_other_probes_stay(config, backbones, tmp_path):
    other = tmp_path / "features" / NAMES[0] / "of another probe"
    other.mkdir(parents=True)
    configs = [fused(config, alpha=alpha) for alpha in (0.2, 0.8)]
    run_label_propagation(configs, tmp_path, backbones=backbones)
    assert list((tmp_path / "features").iterdir()) == [other.parent]
    assert other.is_dir()


def test_blocks_come_from_one_pass_and_noise_levels_do_not(config, backbones, colors, tmp_path):
    def changed(**changes):
        return replace(config, sources={"image": replace(config.sources["image"], **changes)})

    blocks = [changed(block=block) for block in ("fine", "coarse")]
    rows = run_label_propagation(blocks, tmp_path, backbones=backbones)
    assert colors.num_passes == len(NAMES)
    assert rows[0]["metrics"] != rows[1]["metrics"]
    colors.num_passes = 0
    noise = [changed(timestep=timestep) for timestep in (0.1, 0.2)]
    run_label_propagation(noise, tmp_path, backbones=backbones)
    assert colors.num_passes == len(NAMES) * 2
    colors.num_passes = 0
    settings = replace(config.propagation, topk=3)
    run_label_propagation([replace(config, propagation=settings)], tmp_path, backbones=backbones)
    assert colors.num_passes == len(NAMES)


def test_an_interrupted_sweep_goes_on(config, tmp_path):
    configs = [fused(config, alpha=alpha) for alpha in (0.2, 0.8)]
    failing = Colors(fail_after=3)
    with pytest.raises(KeyboardInterrupt):
        run_label_propagation(
            configs, tmp_path, backbones=Backbones(build=lambda *_, **__: failing)
        )
    rest = Colors()
    rows = run_label_propagation(
        configs, tmp_path, backbones=Backbones(build=lambda *_, **__: rest)
    )
    assert rest.num_passes == 3  # one of the second video, two of the third
    whole = Backbones(build=lambda *_, **__: Colors())
    truth = run_label_propagation(configs, tmp_path / "whole", backbones=whole)
    assert [row["metrics"] for row in rows] == [row["metrics"] for row in truth]


# ---- key points --------------------------------------------------------------------------------


class Points:
    """Three points; the last one lies outside of the frame at first."""

    def __init__(self, moving=0):
        start = np.array([[8.0, 8.0], [40.0, 32.0], [-30.0, 8.0]])
        self.points = np.stack([start + t * moving for t in range(T)])

    def read_points(self):
        return self.points


class Stills:
    names = tuple(f"{t:05d}" for t in range(T))

    def size(self):
        return H, W


def keypoint_record(points, maps):
    video = KeypointVideo("jhmdb-keypoints", "test", "v", Stills(), points)
    options = PropagationOptions(
        variant="crw", num_context=3, radius=4, topk=5, temperature=0.01, keypoint_cells=1
    )
    return KeypointPropagation().run(Clip(video, 0, T), maps, options, None, "cpu")


def test_points_that_rest_stay_right_and_points_that_leave_do_not_count(generator):
    places = torch.randn(64, H // 4, W // 4, generator=generator)
    record = keypoint_record(Points(), [places] * T)
    found = np.array(record["points"])
    # read back from cells: at most a cell of 4 pixels beside the truth
    assert np.abs(found[:, :2] - Points().points[:, :2].transpose(2, 1, 0)).max() <= 4
    assert (found[:, 2] < 0).all()
    assert record["distances"][2] == [None] * (T - 1)
    probe = KeypointPropagation()
    assert probe.summarize([record])["PCK@0.2"] == 100
    assert probe.summarize([record, record]) == probe.summarize([record])
    assert [group.score for group in probe.by_motion([record], 1)] == [
        probe.summarize([record])["PCK@0.1"]
    ]


def test_points_are_followed_where_features_say_so(generator):
    wide = torch.randn(64, H // 4, W // 4 + 2 * T, generator=generator)
    maps = [wide[:, :, T - t : T - t + W // 4] for t in range(T)]  # a cell to the right a frame
    right = keypoint_record(Points(moving=np.array([4.0, 0.0])), maps)
    wrong = keypoint_record(Points(moving=np.array([-4.0, 0.0])), maps)
    probe = KeypointPropagation()
    assert probe.summarize([right])["PCK@0.2"] == 100
    assert probe.summarize([wrong])["PCK@0.2"] < 70


# ---- mistakes ----------------------------------------------------------------------------------


def test_mistakes_are_refused_before_any_work(config, backbones, colors, tmp_path):
    def run(*configs):
        run_label_propagation(configs, tmp_path, backbones=backbones)

    with pytest.raises(ValueError, match="expected configurations of equal data"):
        run(config, replace(config, data=replace(config.data, max_frames=4)))
    with pytest.raises(ValueError, match=r"expected data\.dataset among davis-2017"):
        run(replace(config, data=replace(config.data, dataset="davis")))
    with pytest.raises(ValueError, match=r"data\.options do not fit davis-2017.*'fold'"):
        run(replace(config, data=replace(config.data, options={"fold": 1})))
    with pytest.raises(ValueError, match="has no video 'four'"):
        run(replace(config, data=replace(config.data, videos=("four",))))
    with pytest.raises(ValueError, match="expected a source of a weight > 0"):
        run(replace(config, sources={}))
    with pytest.raises(ValueError, match="expected topk >= 1"):
        run(replace(config, propagation=replace(config.propagation, topk=0)))
    with pytest.raises(ValueError, match="expected a table among"):
        run(replace(config, paper=replace(config.paper, table="TED, Table 99")))
    assert colors.num_passes == 0


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_alpha_out_of_range_is_refused(config, alpha):
    with pytest.raises(ValueError, match=r"expected alpha in 0\.\.1"):
        fused(config, alpha=alpha)


def test_alpha_needs_its_two_sources(config):
    with pytest.raises(ValueError, match="alpha weighs the sources video and image"):
        replace(config, alpha=0.5)


def test_a_first_frame_without_objects_is_refused(config, backbones, tmp_path):
    clip = render(make_scene("simple", 0, T, H, W))
    write_davis([("empty", replace(clip, instances=np.zeros_like(clip.instances)))], tmp_path)
    data = DataOptions("davis-2017", str(tmp_path), "val")
    with pytest.raises(ValueError, match="empty shows no object in its first labelled frame"):
        run_label_propagation([replace(config, data=data)], tmp_path / "out", backbones=backbones)


def test_run_key_tells_results_apart_but_not_their_papers(config):
    other = replace(config, paper=replace(config.paper, table="TED, Table 2"))
    assert other.run_key == config.run_key
    settings = replace(config.propagation, topk=3)
    assert replace(config, propagation=settings).run_key != config.run_key


def test_short_keys():
    assert full_key("block", ["image"]) == "sources.image.block"
    assert full_key("sources.image.block", ["video", "image"]) == "sources.image.block"
    assert full_key("block", []) == "block"
    assert PropagationOptions(num_context=1, radius=2, topk=3, temperature=1.0).settings() == (
        PropagationSettings.dino(1, 2, 3, 1.0)
    )


def test_splits_without_truth_are_refused_before_the_work(config, backbones, colors, tmp_path):
    write_davis([("one", render(make_scene("simple", 0, T, H, W)))], tmp_path, "test-dev")
    data = DataOptions("davis-2017", str(tmp_path), "test-dev")
    with pytest.raises(ValueError, match="one has 1 labelled frames, expected three or more"):
        run_label_propagation([replace(config, data=data)], tmp_path / "out", backbones=backbones)
    assert colors.num_passes == 0


def test_points_that_are_all_lost_leave_no_score(generator):
    places = torch.randn(8, H // 4, W // 4, generator=generator)
    points = Points()
    points.points[:] = -50
    record = keypoint_record(points, [places] * T)
    probe = KeypointPropagation()
    assert np.isnan(list(probe.summarize([record]).values())).all()
    assert probe.by_motion([record], 2) == []
    assert "NaN" not in json.dumps(record)


@pytest.mark.cuda
def test_a_device_gives_the_scores_of_the_cpu(config, backbones, tmp_path):
    configs = [fused(config, alpha=0.5)]
    (cpu,) = run_label_propagation(configs, tmp_path / "cpu", backbones=backbones)
    (cuda,) = run_label_propagation(
        configs, tmp_path / "cuda", "cuda", Backbones("cuda", backbones._build)
    )
    for name, value in cpu["metrics"].items():
        assert cuda["metrics"][name] == pytest.approx(value, abs=0.5), name
    assert cuda["peak_device_memory_bytes"] > 0
