"""What VD-IT learns from a batch: several objects a sentence, none, single labelled frames."""

from dataclasses import replace

import pytest
import torch

from vdit.architectures import MINI
from vdit.build import assemble
from vdit.stages.benchmark import labelled_frames
from vdit.stages.matched import MatchedStage
from vdit.stages.referring_model import Variant, choose_trained
from vdit.structures import Target, VideoBatch
from vdit.training.criterion import Criterion
from vdit.training.matcher import TemporalMatcher

T, H, W = 2, 32, 64
MASK_PARTS = ("head.mask_head.", "head.mask_decoder.", "head.box_heads.")


class Sentences(MatchedStage):
    """The benchmarks' losses on batches made by hand."""

    def __init__(self, networks, **variant):
        torch.manual_seed(0)
        config = Variant(**{"dropout": 0.0, "num_queries": 20, **variant}).apply(MINI.model)
        self.model = self.modules = assemble(config, networks)
        choose_trained(self.model)
        self.matcher, self.criterion = TemporalMatcher(), Criterion()
        self.output = None

    def targets(self, batch):
        return batch[2]

    def segment(self, batch, select):
        self.output = self.model(batch[0], batch[1], select=select)
        return self.output

    def draw_samples(self, folder): ...

    def export(self): ...

    def gradients(self, loss):
        self.model.zero_grad()
        loss.backward()
        return {n: p.grad for n, p in self.model.named_parameters() if p.requires_grad}


@pytest.fixture
def stage(mini_networks):
    return Sentences(mini_networks)


def target(num_objects, seed=0, labelled=None):
    generator = torch.Generator().manual_seed(seed)
    boxes = 0.2 + 0.5 * torch.rand(num_objects, T, 4, generator=generator)
    masks = torch.rand(num_objects, T, H, W, generator=generator) < 0.2
    return Target(boxes, masks, torch.ones(num_objects, T, dtype=torch.bool), (H, W), labelled)


def batch(*counts):
    B = len(counts)
    video = torch.rand(B, T, 3, H, W, generator=torch.Generator().manual_seed(1))
    padded = VideoBatch(video, torch.zeros(B, H, W, dtype=torch.bool), [(H, W)] * B)
    captions = [f"sentence {b}" for b in range(B)]
    return padded, captions, [target(count, seed=b) for b, count in enumerate(counts)]


def test_every_object_has_a_query_and_the_others_are_negatives(stage):
    sentences = batch(3)
    stage.losses(sentences)
    for layer, match in zip(stage.output.layers, stage.output.matches, strict=True):
        assert layer.class_logits.shape == (1, T, 20)
        assert match.objects.tolist() == [0, 1, 2]
        assert len(set(match.queries.tolist())) == 3
    assert [masks.shape for masks in stage.output.mask_logits] == [(3, T, H, W)] * 3
    logits = stage.output.layers[-1].class_logits
    logits.retain_grad()
    layers, matches, masks = stage.output.layers, stage.output.matches, stage.output.mask_logits
    stage.criterion(layers, matches, masks, sentences[2])["loss_ce"].backward()
    named = torch.zeros(20, dtype=torch.bool)
    named[matches[-1].queries] = True
    assert (logits.grad[0][:, named] < 0).all(), "scores of named objects should rise"
    assert (logits.grad[0][:, ~named] > 0).all(), "all others should fall"


def test_a_sentence_without_objects_has_the_class_loss_only(stage):
    terms = stage.losses(batch(0))
    assert all(value.isfinite() for value in terms.values())
    zero = {name for name, value in terms.items() if value == 0}
    assert zero == {f"loss_{n}" for n in ("bbox", "giou", "mask", "dice", "mask_low", "dice_low")}
    gradients = stage.gradients(terms["loss"])
    for name, gradient in gradients.items():
        assert gradient is not None, f"{name} takes no part; processes would wait for it"
        assert gradient.isfinite().all(), name
        if name.startswith(MASK_PARTS[:2]):
            assert not gradient.any(), name
    assert gradients["head.class_heads.0.bias"].any()


def test_it_adds_nothing_but_its_class_loss_to_a_batch(stage):
    """The mask and box terms of a named sentence are the same beside one that names nothing."""
    alone, beside = stage.losses(batch(2)), stage.losses(batch(2, 0))
    for name in ("bbox", "giou", "mask", "dice", "mask_low", "dice_low"):
        torch.testing.assert_close(
            alone[f"loss_{name}"], beside[f"loss_{name}"], rtol=1e-3, atol=1e-4
        )
    assert beside["loss_ce"] > alone["loss_ce"]


@pytest.mark.parametrize("counts", [(1, 1), (3, 0), (0, 0), (1, 4)])
def test_shares_of_clips_add_up_to_the_batch(stage, counts):
    together = batch(*counts)
    whole = stage.gradients(stage.losses(together)["loss"])
    whole = {name: gradient.clone() for name, gradient in whole.items()}
    count = stage.count(together)
    assert count == T * sum(counts)
    video, captions, targets = together
    shares = []
    for b in range(len(counts)):
        one = VideoBatch(video.video[b : b + 1], video.padding_mask[:1], video.sizes[:1])
        shares.append((one, captions[b : b + 1], targets[b : b + 1]))
    loss = sum(stage.shared_losses(share, count)["loss"] for share in shares)
    summed = stage.gradients(loss)
    for name, gradient in whole.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(summed[name], gradient, rtol=0, atol=2e-3 * scale + 1e-6)


def test_layers_that_run_again_give_the_same_gradients(stage):
    sentences = batch(1, 2)
    kept = stage.gradients(stage.losses(sentences)["loss"])
    kept = {name: gradient.clone() for name, gradient in kept.items()}
    calls = []
    block = stage.model.backbone.unet.up_blocks[0].resnets[0]
    hook = block.register_forward_hook(lambda *_: calls.append(1))
    stage.model.backbone.use_checkpointing()
    again = stage.gradients(stage.losses(sentences)["loss"])
    hook.remove()
    assert len(calls) == 2, "once forward, once backward"
    for name, gradient in kept.items():
        assert torch.equal(gradient, again[name]), name


@pytest.mark.parametrize("variant", [{"condition": "text"}, {"noise": "none"}])
def test_every_parameter_of_a_variant_takes_part(mini_networks, variant):
    stage = Sentences(mini_networks, **variant)
    gradients = stage.gradients(stage.losses(batch(1))["loss"])
    assert all(gradient is not None for gradient in gradients.values())


def test_a_text_encoder_that_learns_takes_part_but_for_its_pooler(mini_networks):
    stage = Sentences(mini_networks)
    try:
        stage.model.text_encoder.frozen = False
        choose_trained(stage.model)
        gradients = stage.gradients(stage.losses(batch(1))["loss"])
        words = {n: g for n, g in gradients.items() if n.startswith("text_encoder.")}
        assert words
        assert not any("pooler" in name for name in words)
        assert all(gradient is not None for gradient in words.values())
    finally:
        stage.model.text_encoder.requires_grad_(False)


def test_the_first_labelled_frame_of_each_clip_is_decoded():
    yes = [torch.tensor(row) for row in ([False, True, True], [True, False, False])]
    targets = [replace(target(1), labelled=row) for row in yes]
    assert labelled_frames(targets).tolist() == [[1], [0]]
    assert labelled_frames([target(1)]) is None
    with pytest.raises(ValueError, match="labelled alike"):
        labelled_frames([targets[0], target(1)])
