"""Predictions of benchmarks: layouts, protocols, interrupted runs, shares of processes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vdit import ReferringSegmenter
from vdit.cli import main
from vdit.datasets.frame_sources import picture_header
from vdit.datasets.referring_datasets import REFERRING_DATASETS
from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.datasets.synthetic.writers.layouts import LAYOUTS
from vdit.evaluation.brightness import write_changed_tree
from vdit.evaluation.inference import run_inference
from vdit.evaluation.inference_config import RELEASED, InferenceConfig, read_inference_config
from vdit.evaluation.inference_outputs import context_indices, merge_objects
from vdit.masks import decode_rle, read_mask_png
from vdit.video_writer import VideoWriter

CONFIGS = Path(__file__).parents[2] / "configs" / "infer"
SPLITS = {"ref-davis": "val", "mevis": "valid_u"}  # as the writers call them


@pytest.fixture(scope="module")
def segmenter():
    return ReferringSegmenter.from_pretrained("vdit-mini-random")


@pytest.fixture(scope="module")
def clips():
    return [(f"v{seed}", render(make_scene("referring", seed, 5, 40, 56))) for seed in (0, 1)]


@pytest.fixture
def make_tree(clips, tmp_path):
    """Function of a data set: writes it, gives its samples by video and a small configuration."""

    def make(dataset, **changes):
        config = read_inference_config(dataset, ["short_side=32"])
        root = tmp_path / dataset
        LAYOUTS[dataset](clips, root, SPLITS.get(dataset, config.split))
        videos = REFERRING_DATASETS[dataset].read(root, config.split).by_video()
        few = 8 if dataset == "ref-davis" else 3  # sentences, for speed: two objects, four people
        trimmed = {name: samples[:few] for name, samples in videos.items()}
        return trimmed, replace(config, root=str(root), **changes)

    return make


def files(folder):
    """Predictions in a folder, without notes."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in found if not path.parts[0].startswith(".")}


# ---- layouts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("dataset", "root"), [("ref-youtube-vos", "Annotations/"), ("mevis", "")])
def test_masks_of_every_sentence(segmenter, make_tree, tmp_path, dataset, root):
    videos, config = make_tree(dataset)
    config = replace(config, no_target_threshold=0.0 if dataset == "mevis" else None)
    report = run_inference(segmenter, videos, config, tmp_path / "out")
    samples = [sample for of_video in videos.values() for sample in of_video]
    assert files(tmp_path / "out") == {
        f"{root}{s.video}/{s.expression}/{name}.png" for s in samples for name in s.frame_names
    }
    assert (report.complete, report.sentences, report.kept) == (True, len(samples), 0)
    options = config.options(len(samples[0].frame_names))
    for sample in (samples[0], samples[-1]):
        prompt = sample.text if dataset == "ref-youtube-vos" else sample.caption
        (alone,) = segmenter.segment(sample.frames(), [prompt], options)
        for name, mask in zip(sample.frame_names, alone.masks, strict=True):
            path = tmp_path / "out" / f"{root}{sample.video}/{sample.expression}/{name}.png"
            assert picture_header(path)[1] == "L"
            np.testing.assert_array_equal(read_mask_png(path), mask * np.uint8(255))


def test_objects_of_ref_davis_compete(segmenter, make_tree, tmp_path):
    videos, config = make_tree("ref-davis", window=3)
    run_inference(segmenter, videos, config, tmp_path / "out")
    names = videos["v0"][0].frame_names
    assert files(tmp_path / "out") == {
        f"anno_{a}/{video}/{name}.png" for a in range(4) for video in videos for name in names
    }
    samples = [sample for sample in videos["v1"] if sample.annotator == 2]
    ids = [sample.object_ids[0] for sample in samples]
    found = []
    for start in (0, 3):  # clips stand alone, and the last one is short
        frames = samples[0].frames(range(start, min(start + 3, 5)))
        texts = [sample.text for sample in samples]
        for frame in segmenter.stream(frames, texts, short_side=32, keep_probabilities=True):
            found.append(merge_objects(frame.probabilities, ids))
    for name, labels in zip(names, found, strict=True):
        path = tmp_path / "out" / "anno_2" / "v1" / f"{name}.png"
        assert picture_header(path)[1] == "P"
        np.testing.assert_array_equal(read_mask_png(path), labels)


def test_annotators_of_ref_davis_in_passes_of_their_own(segmenter, make_tree, tmp_path):
    videos, config = make_tree("ref-davis")
    run_inference(segmenter, videos, config, tmp_path / "together")
    run_inference(segmenter, videos, replace(config, sentences=3), tmp_path / "apart")
    same(tmp_path / "together", tmp_path / "apart")


def test_merge_objects():
    """Objects below the threshold are background; the first of two equal ones wins."""
    probabilities = np.array([[[0.6, 0.49, 0.9, 0.05]], [[0.7, 0.3, 0.9, 0.01]]], dtype=np.float32)
    assert merge_objects(probabilities, [7, 3]).tolist() == [[3, 0, 7, 0]]
    assert merge_objects(probabilities, [7, 3], threshold=0.2).tolist() == [[3, 7, 7, 0]]
    # Below the constant of the background no threshold helps.
    assert merge_objects(probabilities, [7, 3], threshold=0.01).tolist() == [[3, 7, 7, 0]]
    assert merge_objects(probabilities, [7, 3]).dtype == np.uint8


@pytest.mark.parametrize("dataset", ["jhmdb", "refcoco"])
def test_records_of_every_query(segmenter, make_tree, tmp_path, dataset):
    videos, config = make_tree(dataset)
    run_inference(segmenter, videos, config, tmp_path / "out")
    assert files(tmp_path / "out") == {"predictions.json"}
    records = json.loads((tmp_path / "out" / "predictions.json").read_text())
    samples = [sample for of_video in videos.values() for sample in of_video]
    assert len(records) == 5 * len(samples)
    by_id = {}
    for record in records:
        assert record["category_id"] == 1
        by_id.setdefault(record["image_id"], []).append(record)
    sample = samples[-1]
    index = sample.labelled[0] if sample.labelled else 0
    clip, place = context_indices(index, config.context, len(sample.frame_names))
    frame = segmenter.segment_frame(
        list(sample.frames(clip)), clip, place, [sample.caption], config.options(1)
    )
    name = int(sample.expression) if dataset == "refcoco" else f"v_{sample.video}_f_{index + 1}"
    scores = [record["score"] for record in by_id[name]]
    assert scores == sorted(frame.query_scores[0].tolist(), reverse=True)
    np.testing.assert_array_equal(
        decode_rle(by_id[name][0]["segmentation"]),
        frame.query_masks[0, frame.query_scores[0].argmax()],
    )


def test_labelled_frames_of_a2d(segmenter, clips, tmp_path):
    """Inference needs the videos and the list, not the masks, which are in another format."""
    root = tmp_path / "a2d"
    (root / "Release" / "CLIPS320").mkdir(parents=True)
    with VideoWriter(root / "Release" / "CLIPS320" / "v0.mp4", 25) as writer:
        for frame in clips[0][1].frames:
            writer.add(frame)
    rows = [["The ball rolls", "v0", 5, 1], ["a  red cube", "v0", 2, 0], ["a cube", "v0", 2, 3]]
    name = "a2d_sentences_single_frame_test_annotations.json"
    (root / name).write_text(json.dumps(rows))
    config = read_inference_config("a2d", ["short_side=32"])
    videos = REFERRING_DATASETS["a2d"].read(root, "test").by_video()
    report = run_inference(segmenter, videos, config, tmp_path / "out")
    assert report.frames_seen == 3 * 5
    records = json.loads((tmp_path / "out" / "predictions.json").read_text())
    names = ["v_v0_f_5_i_1", "v_v0_f_2_i_0", "v_v0_f_2_i_3"]
    assert [record["image_id"] for record in records[::5]] == names
    frames = videos["v0"][0].frames()
    last = [2, 3, 4, 4, 4]  # around the last of five frames
    alone = segmenter.segment_frame(
        list(frames[last]), last, 2, ["the ball rolls"], config.options(5)
    )
    assert records[0]["score"] == pytest.approx(float(alone.query_scores.max()), abs=1e-6)


def test_context_repeats_the_ends():
    assert context_indices(0, 2, 5) == ([0, 0, 0, 1, 2], 0)
    assert context_indices(4, 2, 5) == ([2, 3, 4, 4, 4], 2)
    assert context_indices(0, 0, 1) == ([0], 0)
    with pytest.raises(ValueError, match="frame 5 is labelled, but its video has 5 frames"):
        context_indices(5, 2, 5)


# ---- interrupted runs, several processes -------------------------------------------------------


def same(first, second):
    assert files(first) == files(second)
    for name in files(first):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


class InterruptionError(Exception):
    pass


class Failing:
    """A segmenter that stops in the middle of its n-th video."""

    def __init__(self, segmenter, allowed):
        self.segmenter, self.allowed, self.calls = segmenter, allowed, 0

    def stream(self, *arguments, **options):
        self.calls += 1
        for index, frame in enumerate(self.segmenter.stream(*arguments, **options)):
            if self.calls > self.allowed and index == 2:
                raise InterruptionError
            yield frame


@pytest.mark.parametrize("dataset", ["ref-youtube-vos", "ref-davis"])
def test_an_interrupted_run_goes_on(segmenter, make_tree, tmp_path, dataset):
    videos, config = make_tree(dataset)
    with pytest.raises(InterruptionError):
        run_inference(Failing(segmenter, 1), videos, config, tmp_path / "out")
    assert all("/v0/" in name for name in files(tmp_path / "out")), "nothing half-written"
    again = Failing(segmenter, 9)
    report = run_inference(again, videos, config, tmp_path / "out")
    assert (again.calls, report.kept, report.complete) == (1, 1, True)
    run_inference(segmenter, videos, config, tmp_path / "at_once")
    same(tmp_path / "out", tmp_path / "at_once")


def test_a_removed_folder_is_written_again(segmenter, make_tree, tmp_path):
    videos, config = make_tree("ref-youtube-vos")
    run_inference(segmenter, videos, config, tmp_path / "out")
    gone = tmp_path / "out" / "Annotations" / "v0"
    gone.rename(tmp_path / "aside")
    assert run_inference(segmenter, videos, config, tmp_path / "out").kept == 1
    same(gone, tmp_path / "aside")


@pytest.mark.parametrize("dataset", ["ref-youtube-vos", "refcoco"])
def test_processes_share_the_videos(segmenter, make_tree, tmp_path, dataset):
    videos, config = make_tree(dataset)
    run_inference(segmenter, videos, config, tmp_path / "alone")
    first = run_inference(segmenter, videos, config, tmp_path / "both", share=(0, 2))
    assert (first.videos, first.complete) == ((len(videos) + 1) // 2, False)
    assert "predictions.json" not in files(tmp_path / "both")
    second = run_inference(segmenter, videos, config, tmp_path / "both", share=(1, 2))
    assert second.complete
    same(tmp_path / "alone", tmp_path / "both")


def test_predictions_of_another_recipe_are_refused(segmenter, make_tree, tmp_path):
    videos, config = make_tree("ref-youtube-vos")
    out = tmp_path / "out"
    run_inference(segmenter, videos, config, out, source={"trained_weights": "a"})
    run_inference(
        segmenter, videos, replace(config, sentences=1), out, source={"trained_weights": "a"}
    )
    with pytest.raises(ValueError, match=r"holds predictions with threshold 0\.5, expected 0\.6"):
        run_inference(segmenter, videos, replace(config, threshold=0.6), out)
    with pytest.raises(ValueError, match="trained_weights 'a', expected 'b'"):
        run_inference(segmenter, videos, config, out, source={"trained_weights": "b"})


# ---- configurations ----------------------------------------------------------------------------


def test_frames_of_another_brightness_are_refused(segmenter, make_tree, tmp_path):
    videos, config = make_tree("refcoco")
    run_inference(segmenter, videos, config, tmp_path / "out")
    write_changed_tree(config.root, tmp_path / "dark", 0.5)
    read = REFERRING_DATASETS[config.dataset].read
    dark = read(tmp_path / "dark", config.split).by_video()
    with pytest.raises(ValueError, match="with fingerprint of the first frame '"):
        run_inference(segmenter, dark, replace(config, root="dark"), tmp_path / "out")
    for filled in (tmp_path / "dark", Path(config.root).parent):  # the latter holds the source
        with pytest.raises(ValueError, match="expected a new or empty folder, got"):
            write_changed_tree(config.root, filled, 0.5)
    assert read(Path(config.root), config.split).by_video()


def test_files_say_what_the_names_of_data_sets_say():
    paths = sorted(set(CONFIGS.glob("*.yaml")) - {CONFIGS / "refsynth.yaml"})
    assert len(paths) == 6
    for path in paths:
        config = read_inference_config(str(path))
        assert config == read_inference_config(config.dataset), path
    assert {read_inference_config(name).dataset for name in RELEASED} == set(RELEASED)


def test_refsynth_is_read_as_mevis_with_one_answer():
    config = read_inference_config(str(CONFIGS / "refsynth.yaml"))
    assert (config.dataset, config.split, config.select) == ("mevis", "valid_u", "best")
    assert config.options(24).window == 36


def test_the_whole_video_is_one_window():
    config = read_inference_config("ref-youtube-vos")
    assert (config.options(50).window, config.options(50).overlap) == (50, 0)
    assert read_inference_config("ref-davis").options(50).window == 36


def test_overrides():
    config = read_inference_config(str(CONFIGS / "refcoco.yaml"), ["dataset=refcocog", "seed=3"])
    assert (config.dataset, config.split, config.seed) == ("refcocog", "val", 3)


@pytest.mark.parametrize(
    ("source", "changes", "message"),
    [
        ("nothing.yaml", [], "expected a YAML file or a data set among ref-youtube-vos"),
        ("ref-davis", ["dataset=davis"], "expected `dataset:` with one of"),
        ("ref-davis", ["treshold=0.4"], "treshold"),
        ("ref-davis", ["threshold=2"], "expected 0 < threshold < 1"),
        ("ref-davis", ["context=2"], "expected no context"),
        ("a2d", ["no_target_threshold=0.3"], "expected no window"),
        ("mevis", ["overlap=36"], "expected 0 <= overlap < window"),
        ("mevis", ["sentences=0"], "sentences >= 1"),
    ],
)
def test_configurations_that_do_not_fit(source, changes, message):
    with pytest.raises(ValueError, match=message):
        read_inference_config(source, changes)


def test_command(make_tree, tmp_path, capsys):
    _, config = make_tree("ref-youtube-vos")
    words = ["infer", "ref-youtube-vos", "short_side=32", "--root", config.root, "--model"]
    words += ["vdit-mini-random", "-o", str(tmp_path / "out")]
    assert main([*words, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["complete"]
    assert not facts["trained"]
    assert facts["frames_seen"] == 5 * facts["sentences"]
    assert main([*words, "--timing"]) == 0
    printed = capsys.readouterr().out
    assert "(2 videos were there), complete" in printed
    assert "frames/s on cpu" in printed
    assert "untrained" in printed
    assert main([*words, "--no-target-threshold", "0.99"]) == 2
    assert "no_target_threshold None, expected 0.99" in capsys.readouterr().err
    assert main([*words, "--no-target-threshold", "1.5"]) == 2
    assert "expected 0 <= no_target_threshold <= 1" in capsys.readouterr().err
    assert main([*words, "--split", "test"]) == 2
    assert "meta_expressions/test" in capsys.readouterr().err
    assert main(["infer", "ref-youtube-vos", "-o", str(tmp_path / "x")]) == 2
    assert "expected the folder of ref-youtube-vos" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_defaults_of_the_schema_are_no_protocol():
    """A protocol is spelled out by its data set, so the schema asks for both names."""
    with pytest.raises(TypeError):
        InferenceConfig()
