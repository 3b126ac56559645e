"""From a tree in its true layout to clips: every data set, every recipe."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from tests.datasets.clip_worlds import SMALL_SIZES, sample_of, small_recipe
from vdit.config import load_config
from vdit.datasets.clip_dataset import ClipDataset, collate_clips
from vdit.datasets.clip_mix import DataConfig, DatasetEntry, DatasetMix, load_clips, share_out
from vdit.datasets.frame_sources import VideoFrames
from vdit.datasets.photometric import ColorOptions
from vdit.datasets.referring_datasets import REFERRING_DATASETS
from vdit.datasets.synthetic.writers.layouts import LAYOUTS
from vdit.datasets.synthetic.writers.records import write_video

# name of the data set, layout, split that is written, split that is read
TREES = {
    "ref-youtube-vos": ("ref-youtube-vos", "ref-youtube-vos", "train", "train"),
    "ref-davis": ("ref-davis", "ref-davis", "train", "train"),
    "ref-davis converted": ("ref-davis", "ref-davis-converted", "train", "train"),
    "mevis": ("mevis", "mevis", "train", "train"),
    "a2d": ("a2d", "a2d", "train", "train"),
    "jhmdb": ("jhmdb", "jhmdb", "test", "test"),
    "refcoco": ("refcoco", "refcoco", "train", "train"),
}
NAMED = {"ball": {1}, "green": {2}, "two": {0, 2}, "cone": set()}  # by a word of the sentence
COLORS = ((150, 60, 60), (60, 150, 60), (60, 60, 150))
KEEP_CHANNELS = dataclasses.replace(SMALL_SIZES, color=ColorOptions(shuffle=0.0))


def paint(clip):
    """The first object in red, the second in green, the third in blue, all else in gray."""
    colors = np.array([(90, 90, 90), *COLORS], dtype=np.uint8)
    large = clip.instances.repeat(3, axis=1).repeat(3, axis=2)
    return dataclasses.replace(
        clip,
        frames=colors[large],
        instances=large,
        amodal=clip.amodal.repeat(3, axis=2).repeat(3, axis=3),
        scene=dataclasses.replace(clip.scene, height=large.shape[1], width=large.shape[2]),
    )


@pytest.fixture
def tree(make_clip, tmp_path):
    """Function of a name in TREES that writes two videos; entry that reads them."""

    def write(name):
        dataset, layout, written, read = TREES[name]
        if dataset == "a2d":
            pytest.importorskip("h5py")
        root = tmp_path / dataset
        clips = [(video, paint(make_clip(seed))) for seed, video in enumerate("ab")]
        LAYOUTS[layout](clips, root, written)
        return DatasetEntry(dataset, str(root), read)

    return write


def named_by(caption):
    for word, objects in NAMED.items():
        if word in caption:
            return objects
    return {0}


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("compat", ["released", "improved"])
@pytest.mark.parametrize("num_frames", [1, 5])
def test_every_data_set_gives_clips_of_what_is_named(tree, name, compat, num_frames):
    recipe = small_recipe(
        augmentation=KEEP_CHANNELS,
        picture_augmentation=KEEP_CHANNELS,
        overflow="clip",
        compat=compat,
        num_frames=num_frames,
    )
    clips = load_clips(DataConfig([tree(name)], recipe))
    num_checked = 0
    num_epochs = 1 + 30 // len(clips)
    for key in [(epoch, index) for epoch in range(num_epochs) for index in range(len(clips))]:
        clip = clips[key]
        target = clip.target
        assert clip.video.shape == (num_frames, 3, *target.size)
        named = named_by(clip.caption)
        assert len(target.masks) <= max(len(named), 1)
        assert bool(len(target.masks)) == bool(named)
        for n in range(len(target.masks)):
            for t in range(num_frames):
                inside = binary_erosion(target.masks[n, t].numpy(), iterations=6)
                colors = clip.video[t, :, inside].T.numpy()
                assert np.isin(colors.argmax(axis=1), list(named)).all()
                num_checked += len(colors)
    assert num_checked > 200
    batch, captions, _ = collate_clips([clips[0, 0], clips[0, 1]])
    assert batch.video.shape[1] == num_frames
    assert len(captions) == 2


@pytest.mark.parametrize("name", TREES)
def test_validation_is_the_same_every_time(tree, name):
    clips = load_clips(DataConfig([tree(name)], small_recipe(augment=False, num_frames=3)))
    for index in range(min(len(clips), 4)):
        first, again = clips[0, index], clips[7, index]
        assert first.video.equal(again.video)
        assert min(first.target.size) == 48
        assert "  " not in first.caption
        assert first.caption == first.caption.lower()


def test_frames_of_a_video_file(make_clip, tmp_path):
    """As in A2D, without its HDF5 files: frames are decoded from a video."""
    clip = paint(make_clip())
    write_video(tmp_path / "v.mp4", clip)
    sample = sample_of(
        clip.masks[1:2],
        "a2d",
        text="the ball",
        frame_source=VideoFrames(tmp_path / "v.mp4"),
        labelled=(2,),
    )
    recipe = small_recipe(augmentation=KEEP_CHANNELS, overflow="clip")
    dataset = ClipDataset([sample], recipe)
    for epoch in range(10):
        made = dataset[epoch, 0]
        (t,) = made.target.labelled.nonzero().ravel().tolist()
        assert made.frame_indices[t] == 2
        inside = binary_erosion(made.target.masks[0, t].numpy(), iterations=6)
        assert (made.video[t].argmax(dim=0).numpy()[inside] == 1).all()
        assert not made.target.masks[0].flatten(1).any(1)[~made.target.labelled].any()


# ---- mixes ---------------------------------------------------------------------------------------


def test_a_mix_repeats_its_parts(tree):
    """Without an epoch size, every item comes as often as its data set is repeated."""
    video = tree("ref-youtube-vos")
    davis = dataclasses.replace(tree("ref-davis"), repeat=5)
    mix = load_clips(DataConfig([davis, video], small_recipe()))
    sizes = [len(part) for part in mix.parts]
    assert mix.counts == (5 * sizes[0], sizes[1])
    assert len(mix) == sum(mix.counts)
    places = [mix.locate(3, index) for index in range(len(mix))]
    for part, times in ((0, 5), (1, 1)):
        items = [item for p, item in places if p == part]
        assert items == list(range(sizes[part])) * times
    assert mix[0, 0].dataset == "ref-davis"
    assert mix[0, len(mix) - 1].dataset == "ref-youtube-vos"


def test_a_stated_epoch_shares_its_clips_out(tree):
    entries = [
        dataclasses.replace(tree("refcoco"), weight=1.0),
        dataclasses.replace(tree("ref-youtube-vos"), weight=3.0),
    ]
    mix = load_clips(DataConfig(entries, small_recipe(), epoch_size=10), seed=5)
    assert mix.counts == (2, 8) or mix.counts == (3, 7)
    length = len(mix.parts[1])
    order = [
        item
        for epoch in range(2 * length)
        for index in range(10)
        for part, item in [mix.locate(epoch, index)]
        if part == 1
    ]
    for start in range(0, len(order) - length + 1, length):  # every pass has every item once
        assert sorted(order[start : start + length]) == list(range(length))
    assert order[:length] != order[length : 2 * length]
    again = load_clips(DataConfig(entries, small_recipe(), epoch_size=10), seed=5)
    assert again.locate(7, 9) == mix.locate(7, 9)


def test_a_clip_of_a_mix_depends_on_its_key_only(tree):
    entries = [tree("mevis"), tree("ref-youtube-vos")]
    mixes = [load_clips(DataConfig(entries, small_recipe(), epoch_size=9)) for _ in range(2)]
    mixes[0][0, 0]
    first, second = (mix[2, 8] for mix in mixes)
    assert first.video.equal(second.video)
    assert first.caption == second.caption


@pytest.mark.parametrize(
    ("total", "weights", "expected"),
    [(10, [1, 1], (5, 5)), (10, [3, 1], (8, 2)), (7, [1, 1, 1], (3, 2, 2)), (5, [0.5], (5,))],
)
def test_shares(total, weights, expected):
    assert share_out(total, weights) == expected


def test_mixes_are_read_from_configurations(tree):
    entry = tree("mevis")
    source = {
        "datasets": [{"name": entry.name, "root": entry.root, "repeat": 2}],
        "recipe": {"num_frames": 3, "boxes": "masks", "augmentation": {"color": None}},
    }
    config = load_config(DataConfig, source, ["recipe.augmentation.max_side=100"])
    assert config.recipe.augmentation.max_side == 100
    assert config.recipe.augmentation.color is None
    mix = load_clips(config)
    assert mix.counts == (2 * len(mix.parts[0]),)
    with pytest.raises(ValueError, match="recipe"):
        load_config(DataConfig, {"recipe": {"boxes": "tight"}})


@pytest.mark.parametrize(
    ("change", "epoch_size", "sentence"),
    [
        ({"repeat": 0}, None, "mevis has repeat=0"),
        ({"weight": 0.0}, 10, "weight=0.0, expected both above 0"),
        ({}, 0, "epoch_size=0 is less than the 1 data sets"),
        ({"name": "coco"}, None, "data set 'coco' is unknown, expected one of ref-youtube-vos"),
    ],
)
def test_mistakes_in_a_mix(tree, change, epoch_size, sentence):
    entry = dataclasses.replace(tree("mevis"), **change)
    with pytest.raises(ValueError, match=sentence):
        load_clips(DataConfig([entry], small_recipe(), epoch_size))


def test_a_split_without_truth(make_clip, tmp_path):
    LAYOUTS["mevis"]([("a", make_clip())], tmp_path, "valid")
    with pytest.raises(ValueError, match="mevis valid has no public masks"):
        load_clips(DataConfig([DatasetEntry("mevis", str(tmp_path), "valid")]))


def test_an_empty_mix():
    with pytest.raises(ValueError, match="datasets is empty"):
        load_clips(DataConfig())


def test_places_outside_an_epoch(tree):
    entry = tree("mevis")
    part = ClipDataset(REFERRING_DATASETS["mevis"].read(Path(entry.root), "train"), small_recipe())
    mix = DatasetMix([part], [entry])
    with pytest.raises(IndexError, match="is not in an epoch of"):
        mix.locate(0, len(mix))
