"""Clips of samples: shapes, masks that match the frames, draws that nothing else changes."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation, binary_erosion
from torch.utils.data import DataLoader

from tests.datasets.clip_worlds import (
    MemoryMasks,
    chroma,
    moving_rectangles,
    sample_of,
    small_recipe,
)
from vdit.boxes import cxcywh_to_xyxy
from vdit.datasets.clip_dataset import PADDING_COLOR, ClipDataset, collate_clips
from vdit.datasets.clip_recipe import AugmentationOptions, ClipRecipe
from vdit.datasets.frame_sources import PictureFrames
from vdit.datasets.mask_sources import LabelPictures
from vdit.masks import masks_to_boxes_xyxy
from vdit.models.image_encoder import IMAGENET_MEAN

DATASETS = ("ref-youtube-vos", "ref-davis", "mevis", "a2d", "jhmdb", "refcoco")
CHROMA = 0.12  # between that of the background, 0, and that of the object, 0.22 at least
# Blur reaches half of 11 pixels; frames are enlarged from 60 rows to 90, windows from 50 to 80.
BLURRED_MARGIN = math.ceil(11 / 2 * 90 / 60 * 80 / 50)
SQUARE = np.ones((3, 3), dtype=bool)


def dataset_of(name, recipe, num_objects=1):
    num_frames = 1 if name == "refcoco" else 12
    masks = moving_rectangles(num_objects, num_frames)
    labelled = (5,) if name in ("a2d", "jhmdb") else None
    return ClipDataset([sample_of(masks, name, labelled=labelled)], recipe)


def pixel_boxes(target):
    height, width = target.size
    return cxcywh_to_xyxy(target.boxes_cxcywh) * torch.tensor([width, height, width, height])


# ---- pixels and truth agree ----------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(DATASETS),
    st.sampled_from(["released", "improved"]),
    st.sampled_from([1, 3, 5]),
    st.booleans(),
)
@example(2098, "refcoco", "released", 5, True)  # blurred, then enlarged
def test_objects_stay_inside_their_masks(epoch, name, compat, num_frames, augment):
    recipe = small_recipe(compat=compat, num_frames=num_frames, augment=augment)
    clip = dataset_of(name, recipe)[epoch, 0]
    target = clip.target
    size = tuple(clip.video.shape[-2:])
    assert clip.video.shape == (num_frames, 3, *size)
    assert clip.video.dtype == torch.float32
    assert 0 <= clip.video.min() <= clip.video.max() <= 1
    assert target.masks.shape == (1, num_frames, *size)
    assert target.boxes_cxcywh.shape == (1, num_frames, 4)
    assert target.valid.shape == (1, num_frames)
    assert target.size == size
    assert len(clip.frame_indices) == num_frames
    colored = chroma(clip.video).numpy() > CHROMA
    labelled = target.labelled if target.labelled is not None else torch.ones(num_frames).bool()
    for t in range(num_frames):
        mask = target.masks[0, t].numpy()
        if labelled[t]:
            blurred = recipe.num_frames > 1 and name == "refcoco"
            margin = BLURRED_MARGIN if blurred else 5
            assert colored[t][binary_erosion(mask, SQUARE, iterations=margin)].all()
            # color also comes in over the edge, from an object that the window leaves out
            near = binary_dilation(mask, SQUARE, iterations=margin, border_value=augment)
            assert not colored[t][~near].any()
        else:
            assert not mask.any()
            assert not target.valid[0, t]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(DATASETS))
def test_boxes_of_the_final_masks(epoch, name):
    target = dataset_of(name, small_recipe(boxes="masks"))[epoch, 0].target
    expected = masks_to_boxes_xyxy(target.masks[0].numpy())
    np.testing.assert_allclose(pixel_boxes(target)[0], expected, atol=1e-4)
    np.testing.assert_array_equal(target.valid[0], target.masks[0].flatten(1).any(1))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(DATASETS))
def test_released_boxes_are_near_the_final_masks(epoch, name):
    """Rectangles keep their boxes, but for rounding and the missing last pixel."""
    target = dataset_of(name, small_recipe())[epoch, 0].target
    expected = masks_to_boxes_xyxy(target.masks[0].numpy())
    valid = target.valid[0].numpy()
    if name != "refcoco":  # a box around what a view has turned may be cut where the object is not
        np.testing.assert_allclose(pixel_boxes(target)[0][valid], expected[valid], atol=4.5)
        assert target.masks[0].flatten(1).any(1)[target.valid[0]].all()


def test_released_boxes_leave_out_the_last_pixel():
    masks = np.zeros((1, 1, 48, 64), dtype=bool)
    masks[0, 0, 10:20, 30:50] = True
    recipe = small_recipe(num_frames=1, augment=False)
    target = ClipDataset([sample_of(masks)], recipe)[0, 0].target
    assert pixel_boxes(target)[0, 0].tolist() == pytest.approx([30, 10, 49, 19])
    target = ClipDataset([sample_of(masks, "refcoco")], recipe)[0, 0].target
    assert pixel_boxes(target)[0, 0].tolist() == pytest.approx([30, 10, 50, 20])
    target = ClipDataset([sample_of(masks)], small_recipe(num_frames=1, augment=False,
                         compat="improved"))[0, 0].target  # fmt: skip
    assert pixel_boxes(target)[0, 0].tolist() == pytest.approx([30, 10, 50, 20])


def test_absent_objects_of_mirrored_clips():
    """Where the object is absent, released boxes are zero or, mirrored, (1, 0, 0, 0)."""
    masks = moving_rectangles()
    masks[:, 6:] = False
    dataset = ClipDataset([sample_of(masks)], small_recipe())
    found = set()
    for epoch in range(60):
        target = dataset[epoch, 0].target
        found |= {tuple(box) for box in target.boxes_cxcywh[~target.valid].tolist()}
    assert found == {(0, 0, 0, 0), (1, 0, 0, 0)}
    repaired = ClipDataset([sample_of(masks)], small_recipe(boxes="masks"))
    for epoch in range(60):
        target = repaired[epoch, 0].target
        assert not target.boxes_cxcywh[~target.valid].any()


# ---- sentences -----------------------------------------------------------------------------------


def test_captions_are_mirrored_with_their_frames():
    """The object is on the left, and so it must be where the caption says."""
    masks = moving_rectangles(num_frames=1)
    dataset = ClipDataset([sample_of(masks)], small_recipe(num_frames=1))
    sides = Counter()
    for epoch in range(80):
        clip = dataset[epoch, 0]
        side = "left" if "left" in clip.caption else "right"
        assert clip.caption == f"the red one on the {side}"
        if clip.target.size[1] / clip.target.size[0] > 1.45:  # nothing was cut off
            x = float(clip.target.boxes_cxcywh[0, 0, 0])
            assert (x < 0.5) == (side == "left")
        sides[side] += 1
    assert min(sides.values()) > 25


# ---- several objects, none, unseen ones ----------------------------------------------------------


def test_several_objects_have_a_row_each():
    clip = dataset_of("mevis", small_recipe(augment=False), num_objects=3)[0, 0]
    assert clip.target.masks.shape[:2] == (3, 5)
    assert clip.target.valid.all()
    centers = clip.target.boxes_cxcywh[:, 0, 1]
    assert (centers.diff() > 0.2).all()


def test_a_sentence_that_names_nothing_is_kept():
    sample = sample_of(moving_rectangles(), "mevis", object_ids=())
    for epoch in range(5):
        clip = ClipDataset([sample], small_recipe())[epoch, 0]
        assert clip.target.masks.shape == (0, 5, *clip.video.shape[-2:])
        assert clip.target.boxes_cxcywh.shape == (0, 5, 4)
        assert clip.target.valid.shape == (0, 5)


def test_objects_that_a_clip_does_not_show_are_left_out():
    masks = moving_rectangles(2)
    masks[1] = False
    clip = ClipDataset([sample_of(masks, "mevis")], small_recipe())[0, 0]
    assert len(clip.target.masks) == 1
    kept = ClipDataset([sample_of(masks, "mevis")], small_recipe(augment=False))[0, 0]
    assert kept.target.valid.any(dim=1).tolist() == [True, False]


def test_clips_without_their_object_are_replaced():
    shown, hidden = moving_rectangles(), np.zeros_like(moving_rectangles())
    samples = [sample_of(hidden, expression="0"), sample_of(shown, expression="1")]
    dataset = ClipDataset(samples, small_recipe(), seed=3)
    assert len(dataset) == 6
    assert {dataset[epoch, 0].expression for epoch in range(8)} == {"1"}
    assert ClipDataset(samples, small_recipe(augment=False))[0, 0].expression == "0"


def test_a_data_set_that_shows_nothing():
    dataset = ClipDataset([sample_of(np.zeros_like(moving_rectangles()))], small_recipe())
    with pytest.raises(ValueError, match="none of 100 clips of ref-youtube-vos shows an object"):
        dataset[0, 0]


# ---- single labelled frames ----------------------------------------------------------------------


def test_only_the_labelled_frame_is_valid():
    dataset = dataset_of("a2d", small_recipe())
    assert len(dataset) == 1
    for epoch in range(20):
        clip = dataset[epoch, 0]
        position = clip.frame_indices.index(5)
        assert torch.nonzero(clip.target.labelled).ravel().tolist() == [position]
        assert torch.nonzero(clip.target.valid[0]).ravel().tolist() == [position]
        part = clip.target.select_frames(torch.nonzero(clip.target.labelled).ravel())
        assert part.masks.shape[1] == 1
        assert part.valid.all()


def test_validation_takes_the_frames_around_it():
    clip = dataset_of("jhmdb", small_recipe(augment=False))[0, 0]
    assert clip.frame_indices == (3, 4, 5, 6, 7)
    assert clip.target.labelled.tolist() == [False, False, True, False, False]


# ---- pictures ------------------------------------------------------------------------------------


def test_pictures_have_one_frame_or_make_videos():
    still = dataset_of("refcoco", small_recipe(num_frames=1))[0, 0]
    assert len(still.video) == 1
    video = dataset_of("refcoco", small_recipe(num_frames=5))[0, 0]
    assert len(video.video) == 5
    assert not torch.equal(video.video[0], video.video[1])
    row = dataset_of("refcoco", small_recipe(num_frames=5, pictures="still"))[0, 0]
    assert len(row.video) == 1
    fixed = dataset_of("refcoco", small_recipe(augment=False))[0, 0]
    assert all(torch.equal(fixed.video[0], frame) for frame in fixed.video)


def test_views_without_their_object_have_tiny_boxes():
    """The released code lifts all numbers of boxes to 1e-6."""
    masks = np.zeros((1, 1, 60, 90), dtype=bool)
    masks[0, 0, :6, :8] = True  # in a corner, which most views leave
    dataset = ClipDataset([sample_of(masks, "refcoco")], small_recipe())
    absent = []
    for epoch in range(10):
        target = dataset[epoch, 0].target
        is_absent = ~target.masks[0].flatten(1).any(1)
        absent += target.boxes_cxcywh[0][is_absent].tolist()
        assert not target.valid[0][is_absent].any()
    assert absent
    assert np.ravel(absent).tolist() == pytest.approx([1e-6] * 4 * len(absent))


def test_thin_pictures_are_left_out():
    thin = moving_rectangles(num_frames=1, height=20, width=90)
    wide = moving_rectangles(num_frames=1)
    samples = [sample_of(thin, "refcoco"), sample_of(wide, "refcoco", expression="1")]
    recipe = small_recipe(pseudo_video=ClipRecipe().pseudo_video)
    assert {ClipDataset(samples, recipe)[epoch, 0].expression for epoch in range(4)} == {"1"}


# ---- draws ---------------------------------------------------------------------------------------


def test_a_clip_is_the_same_whenever_it_is_asked_for():
    dataset = dataset_of("ref-youtube-vos", small_recipe())
    first = dataset[3, 1]
    dataset[4, 0]
    again = dataset_of("ref-youtube-vos", small_recipe())[3, 1]
    assert torch.equal(first.video, again.video)
    assert torch.equal(first.target.masks, again.target.masks)
    assert first.caption == again.caption
    assert first.frame_indices == again.frame_indices


@pytest.mark.parametrize("key", [(4, 1), (3, 2)])
def test_epochs_items_and_seeds_draw_anew(key):
    dataset = dataset_of("ref-youtube-vos", small_recipe())
    first, other = dataset[3, 1], dataset[key]
    assert first.video.shape != other.video.shape or not torch.equal(first.video, other.video)
    seeded = ClipDataset(dataset.samples, dataset.recipe, seed=1)[3, 1]
    assert seeded.video.shape != first.video.shape or not torch.equal(seeded.video, first.video)


def test_workers_change_nothing():
    dataset = dataset_of("mevis", small_recipe(), num_objects=2)
    keys = [(epoch, index) for epoch in range(2) for index in range(3)]
    batches = [
        list(DataLoader(dataset, 2, sampler=keys, num_workers=workers, collate_fn=collate_clips))
        for workers in (0, 2)
    ]
    for alone, spread in zip(*batches, strict=True):
        assert torch.equal(alone[0].video, spread[0].video)
        assert alone[1] == spread[1]
        for one, other in zip(alone[2], spread[2], strict=True):
            assert torch.equal(one.masks, other.masks)


def test_items_are_sentences_at_anchors():
    samples = [sample_of(moving_rectangles(num_frames=n), expression=str(n)) for n in (1, 5, 6, 12)]
    dataset = ClipDataset(samples, small_recipe(num_frames=5, augment=False))
    found = [(dataset[0, i].expression, dataset[0, i].frame_indices[0]) for i in range(7)]
    assert len(dataset) == 1 + 1 + 2 + 3
    assert found == [("1", 0), ("5", 0), ("6", 0), ("6", 5), ("12", 0), ("12", 5), ("12", 10)]
    assert len(ClipDataset(samples, small_recipe(num_frames=1))) == 1 + 5 + 6 + 12
    assert len(ClipDataset(samples, small_recipe(num_frames=1, anchor_step=5))) == 7


def test_one_draw_of_colors_for_the_whole_clip():
    masks = moving_rectangles()
    for colors, is_same in (("frame", False), ("clip", True)):
        dataset = ClipDataset([sample_of(masks)], small_recipe(colors=colors))
        same = []
        for epoch in range(10):
            corners = dataset[epoch, 0].video[:, :, -1, -1]
            same.append(bool((corners == corners[0]).all()))
        assert all(same) == is_same


# ---- batches -------------------------------------------------------------------------------------


def test_batches_are_padded_with_the_mean_color():
    assert PADDING_COLOR == IMAGENET_MEAN
    dataset = dataset_of("ref-youtube-vos", small_recipe())
    clips = [dataset[epoch, 0] for epoch in range(3)]
    batch, captions, targets = collate_clips(clips)
    B, T, C, H, W = batch.video.shape
    assert (B, T, C) == (3, 5, 3)
    assert H % 32 == W % 32 == 0
    assert H - max(clip.video.shape[-2] for clip in clips) < 32
    assert captions == [clip.caption for clip in clips]
    for b, clip in enumerate(clips):
        h, w = clip.target.size
        assert batch.sizes[b] == (h, w)
        assert torch.equal(batch.video[b, ..., :h, :w], clip.video)
        assert torch.equal(targets[b].masks[..., :h, :w], clip.target.masks)
        assert targets[b].masks.sum() == clip.target.masks.sum()
        assert targets[b].masks.shape[-2:] == (H, W)
        padded = batch.padding_mask[b]
        assert padded.sum() == H * W - h * w
        assert not padded[:h, :w].any()
        rest = batch.video[b].permute(2, 3, 0, 1)[padded]
        assert (rest == torch.tensor(PADDING_COLOR)).all()


def test_clips_of_different_length_make_no_batch():
    clips = [dataset_of("refcoco", small_recipe(num_frames=n, pictures=None))[0, 0] for n in (1, 3)]
    with pytest.raises(ValueError, match=r"one length, got \[1, 3\] frames"):
        collate_clips(clips)
    with pytest.raises(ValueError, match="one length, got"):
        collate_clips([])


# ---- mistakes ------------------------------------------------------------------------------------


def test_samples_without_truth():
    hidden = sample_of(moving_rectangles(), split="valid", object_ids=None)
    with pytest.raises(ValueError, match="ref-youtube-vos valid has no public masks"):
        ClipDataset([hidden])
    with pytest.raises(ValueError, match="no sample with a frame"):
        ClipDataset([])


def test_items_outside_the_data_set():
    dataset = dataset_of("ref-davis", small_recipe())
    for index in (-1, len(dataset)):
        with pytest.raises(IndexError, match=f"item {index} is not in a data set of 3"):
            dataset[0, index]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_frames": 0}, "num_frames=0 is not positive"),
        ({"anchor_step": 0}, "anchor_step=0 is not positive"),
        ({"short_side": 700}, "short_side=700 and max_side=640"),
    ],
)
def test_recipes_out_of_range(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        ClipRecipe(**options)


def test_frames_that_appear_twice_are_read_once():
    sample = sample_of(moving_rectangles())
    read = []

    class Counting(MemoryMasks):
        def read(self, indices, object_ids, size):
            read.append(list(indices))
            return super().read(indices, object_ids, size)

    masks = moving_rectangles()
    sample = sample_of(masks, mask_source=Counting(masks))
    ClipDataset([sample], small_recipe())[0, 0]
    assert all(len(indices) == len(set(indices)) for indices in read)


# ---- real frames ---------------------------------------------------------------------------------


@pytest.mark.assets
@pytest.mark.parametrize("boxes", ["released", "masks"])
def test_real_frames_keep_the_colors_of_their_objects(assets, boxes):
    """Resized and mirrored, each object has the mean color that it has on disk."""
    tennis = assets / "davis_multi" / "tennis"
    names = ("00000", "00001")
    sample = sample_of(
        moving_rectangles(2),
        "mevis",
        object_ids=(1, 2),
        frame_source=PictureFrames(tennis / "JPEGImages", names),
        mask_source=LabelPictures(tennis / "Annotations", names),
    )
    plain = AugmentationOptions(crop_probability=0.0, color=None)
    dataset = ClipDataset([sample], ClipRecipe(augmentation=plain, boxes=boxes))
    frames, masks = sample.frames(), sample.masks()
    for epoch in range(4):
        clip = dataset[epoch, 0]
        assert clip.target.masks.shape[:2] == (2, 5)
        for t, frame in enumerate(clip.frame_indices):
            for n in range(2):
                found = 255 * clip.video[t, :, clip.target.masks[n, t]].mean(dim=1).numpy()
                expected = frames[frame][masks[n, frame]].mean(axis=0)
                np.testing.assert_allclose(found, expected, atol=6)
                x, y, width, height = clip.target.boxes_cxcywh[n, t].tolist()
                rows, columns = torch.nonzero(clip.target.masks[n, t], as_tuple=True)
                assert columns.float().mean() / clip.target.size[1] == pytest.approx(x, abs=width)
                assert rows.float().mean() / clip.target.size[0] == pytest.approx(y, abs=height)
