"""Queries keep their identity: permutations are undone, lost objects are noticed."""

from itertools import pairwise

import pytest
import torch

from vdit.datasets.synthetic.recipes import make_scene
from vdit.datasets.synthetic.render import render
from vdit.linking import link_queries
from vdit.measure import Stopwatch
from vdit.structures import LayerOutput, VideoBatch
from vdit.tracks import ObjectTrack, TrackRules
from vdit.windows import sliding_windows

QUERIES = 5


def test_a_permutation_is_found():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(QUERIES, 3, 8, 8, generator=generator) > 0.5
    order = torch.tensor([2, 4, 0, 1, 3])
    found, iou = link_queries(masks, masks[order])
    assert torch.equal(order[found], torch.arange(QUERIES))
    assert (iou == 1).all()


def test_empty_masks_have_no_overlap():
    masks = torch.zeros(QUERIES, 2, 4, 4, dtype=torch.bool)
    order, iou = link_queries(masks, masks)
    assert sorted(order.tolist()) == list(range(QUERIES))
    assert (iou == 0).all()


class ShuffledTruth:
    """Stands in for the model: its queries are true objects, in another order in each window.

    The query that the scores favor changes with the window too, so that only the overlap of masks
    can keep the object.
    """

    def __init__(self, masks, seed):
        self.masks = masks  # [N, T, H, W]
        self.generator = torch.Generator().manual_seed(seed)
        self.head = self

    def features(self, shared, sentence):
        return shared

    def __call__(self, features, padding_mask, sizes, words, words_padding, *, all_layers):
        start, count = features
        self.order = torch.randperm(len(self.masks), generator=self.generator)
        self.window = self.masks[self.order, start : start + count]
        scores = torch.rand(len(self.masks), generator=self.generator)
        logits = scores.expand(1, count, -1)
        return [LayerOutput(logits, torch.zeros(1, count, len(scores), 4), torch.zeros(0))]

    def refine(self, layer, features, clips, queries, frames=slice(None)):
        return torch.where(self.window[queries][:, frames], 5.0, -5.0)


def follow(masks, seed, window=8, overlap=3):
    """Segment with the stand-in; give the true object of the answer in every window."""
    model = ShuffledTruth(masks, seed)
    sentence = type("Sentence", (), {"words": None, "words_padding": None})
    track = ObjectTrack(model, sentence, TrackRules("best", None, overlap))
    identities = []
    batch = VideoBatch(torch.zeros(0), torch.zeros(0), [(1, 1)])
    for each in sliding_windows(range(masks.shape[1]), window, overlap):
        features = (each.start, len(each.items))
        result = track.advance(batch, features, each, False, Stopwatch())
        answer = result.logits[overlap if each.start else 0 :] > 0
        truth = masks[:, each.start : each.start + len(each.items)]
        truth = truth[:, overlap if each.start else 0 :]
        same = (answer & truth).flatten(1).sum(1) / (answer | truth).flatten(1).sum(1).clamp(min=1)
        identities.append(int(same.argmax()))
    return identities


def test_the_object_is_kept_across_borders_of_rendered_motion():
    borders = kept = 0
    for seed in range(8):
        clip = render(make_scene("tracking", seed, 60, 48, 64))
        identities = follow(torch.from_numpy(clip.masks), seed, window=6, overlap=2)
        borders += len(identities) - 1
        kept += sum(a == b for a, b in pairwise(identities))
    assert borders >= 100
    assert kept / borders >= 0.95


def test_without_overlap_the_object_is_chosen_anew():
    clip = render(make_scene("tracking", 0, 48, 96, 128))
    identities = follow(torch.from_numpy(clip.masks), 0, overlap=0)
    assert len(set(identities)) > 1


def test_a_lost_object_is_chosen_anew():
    masks = torch.zeros(2, 16, 8, 8, dtype=torch.bool)
    masks[0, :5, :4], masks[1, :, 4:] = True, True
    for seed in range(4):
        assert follow(masks, seed)[-1] == 1


@pytest.mark.parametrize("select", ["best", "union"])
def test_no_target(select):
    masks = torch.ones(2, 4, 8, 8, dtype=torch.bool)
    model = ShuffledTruth(masks, 0)
    sentence = type("Sentence", (), {"words": None, "words_padding": None})
    batch = VideoBatch(torch.zeros(0), torch.zeros(0), [(1, 1)])
    (window,) = sliding_windows(range(4), 8, 2)
    for threshold, is_empty in ((0.0, False), (1.0, True)):
        track = ObjectTrack(model, sentence, TrackRules(select, threshold, 2))
        result = track.advance(batch, (0, 4), window, False, Stopwatch())
        assert bool((result.logits > 0).any()) != is_empty
