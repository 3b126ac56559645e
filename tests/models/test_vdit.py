"""The assembled model: conditions, kinds of noise, one frame, gradients, freezing."""

from dataclasses import replace

import pytest
import torch

from vdit.architectures import FULL, MINI, build_networks
from vdit.build import assemble, byte_tokenizers, trained_names
from vdit.models.vdit import all_queries, best_query
from vdit.structures import Match, VideoBatch


@pytest.fixture
def build(mini_networks):
    def make(**changes):
        torch.manual_seed(0)
        return assemble(replace(MINI.model, **changes), mini_networks).eval()

    return make


def clip(num_frames=3, B=1, height=64, width=96):
    video = torch.rand(B, num_frames, 3, height, width, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(B, height, width, dtype=torch.bool)
    return VideoBatch(video, mask, [(height, width)] * B)


def predict(model, batch, captions=("a red ball",), seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return model(batch, list(captions), generator=generator, **options)


def test_output_shapes(build):
    model, batch = build(), clip(B=2)
    output = predict(model, batch, ["a dog", "the cat on the left"], select=all_queries)
    assert output.mask_logits[-1].shape == (2 * 5, 3, 64, 96)
    assert output.layers[-1].class_logits.shape == (2, 3, 5)
    assert output.layers[-1].boxes_cxcywh.shape == (2, 3, 5, 4)
    assert output.layers[-1].mask_logits_low.shape == (2, 3, 5, 32, 48)


def test_best_query_is_one_of_all(build):
    model, batch = build(), clip()
    every = predict(model, batch, select=all_queries)
    best = predict(model, batch, select=best_query)
    index = best.matches[-1].queries
    scores = every.layers[-1].class_logits[0].sigmoid().mean(0)
    assert index.item() == scores.argmax().item()
    torch.testing.assert_close(best.mask_logits[-1][0], every.mask_logits[-1][index.item()])


@pytest.mark.parametrize("num_frames", [1, 3])
@pytest.mark.parametrize("condition", ["image+text", "text", "image"])
def test_conditions(build, condition, num_frames):
    model, batch = build(condition=condition), clip(num_frames)
    encoded = model.encode(batch.video)
    before = model.prompt(model.encode_captions(["a red ball"]), encoded)
    other_words = model.prompt(model.encode_captions(["something else"]), encoded)
    other_image = model.prompt(model.encode_captions(["a red ball"]), model.encode(1 - batch.video))
    assert torch.equal(before, other_words) == (condition == "image")
    assert torch.equal(before, other_image) == (condition == "text")
    assert predict(model, batch).mask_logits[-1].isfinite().all()


@pytest.mark.parametrize("noise", ["predicted", "gaussian", "none"])
def test_noise_kinds(build, noise):
    model, batch = build(noise=noise), clip()
    encoded = model.encode(batch.video)
    encoded.posterior_noise = torch.zeros_like(encoded.latent_mean)
    sentences = model.encode_captions(["a red ball"])
    first, second = (
        model.features(encoded, sentences, torch.Generator().manual_seed(seed))[1]
        for seed in (0, 1)
    )
    assert torch.equal(first, second) == (noise != "gaussian")


def test_noise_statistics_couple_clips_only_as_released(build):
    latents = torch.rand(2, 3, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    for statistics, coupled in (("batch", True), ("clip", False)):
        predictor = build(noise_statistics=statistics).noise_predictor
        alone, together = predictor(latents[:1]), predictor(latents)[:1]
        assert torch.allclose(alone, together, atol=1e-5) != coupled


def test_single_frame_skips_temporal_layers(build, monkeypatch):
    model = build()
    unet = model.backbone.unet
    kept = unet.mid_block.temp_convs[0]
    for name, module in unet.named_modules():
        temporal = "temp_" in name and name.split(".")[-2].startswith("temp_")
        if (temporal or name == "transformer_in") and module is not kept:
            monkeypatch.setattr(
                module, "forward", lambda *_, **__: pytest.fail("temporal layer ran")
            )
    calls = []
    kept.register_forward_hook(lambda *_: calls.append(1))
    predict(model, clip(num_frames=1))
    assert calls == [1]
    with pytest.raises(pytest.fail.Exception, match="temporal layer ran"):
        predict(model, clip(num_frames=2))


def test_improved_preset(build):
    model, batch = build(compat="improved"), clip()
    first, second = (predict(model, batch, seed=seed).mask_logits[-1] for seed in (0, 1))
    assert torch.equal(first, second), "the latents' mean does not depend on the seed"
    spaced = predict(model, batch, ["  A red   BALL "]).mask_logits[-1]
    assert torch.equal(first, spaced)
    released = build(compat="released")
    assert not torch.equal(*(predict(released, batch, seed=s).mask_logits[-1] for s in (0, 1)))


def test_frames_can_be_chosen_after_the_backbone(build):
    model, batch = build(), clip()
    chosen = predict(model, batch, frames=torch.tensor([1]))
    whole = predict(model, batch, select=lambda layers: chosen.matches)
    torch.testing.assert_close(chosen.mask_logits[-1][:, 0], whole.mask_logits[-1][:, 1])


def test_frames_can_be_chosen_clip_by_clip(build):
    model, batch = build(noise_statistics="clip", compat="improved"), clip(B=2)
    captions, frames = ["a red ball", "the dog"], torch.tensor([[2], [0]])
    together = predict(model, batch, captions, frames=frames)
    for b in range(2):
        one = VideoBatch(batch.video[b : b + 1], batch.padding_mask[:1], batch.sizes[:1])
        alone = predict(model, one, captions[b : b + 1], frames=frames[b])
        boxes = [output.layers[-1].boxes_cxcywh for output in (together, alone)]
        assert torch.allclose(boxes[0][b], boxes[1][0], atol=1e-4)
        masks = [output.mask_logits[-1] for output in (together, alone)]
        assert torch.allclose(masks[0][b], masks[1][0], atol=1e-3)


VARIANTS = [
    {},
    {"condition": "text"},
    {"condition": "image"},
    {"noise": "gaussian"},
    {"noise": "none"},
    {"condition": "text", "noise": "none"},
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_reaches_every_trained_parameter_and_no_frozen_one(build, variant):
    model, batch = build(**variant).train(), clip()
    pairs = torch.zeros(1, dtype=torch.long)
    output = model(
        batch, ["a dog"], select=lambda layers: [Match(pairs, pairs, pairs)] * len(layers)
    )
    loss = sum(masks.square().mean() for masks in output.mask_logits)
    loss += sum(
        layer.class_logits.square().sum() + layer.boxes_cxcywh.sum() for layer in output.layers
    )
    loss.backward()
    idle = model.idle_parameters()
    assert bool(idle) == bool(variant)
    trained = set(trained_names(model)) - idle
    for name, parameter in model.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.isfinite().all())
        assert reached == (name in trained), name
    assert not any(module.training for module in model.backbone.modules())
    assert not any(module.training for module in model.text_encoder.modules())


def test_full_size_parameter_counts():
    with torch.device("meta"):
        networks = build_networks(FULL)
        model = assemble(FULL.model, networks | byte_tokenizers())
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    trained = set(trained_names(model))
    assert sum(sizes[name] for name in trained) == 30_038_986
    unused_sentence_projection = 768 * 256 + 3 * 256
    assert sum(sizes.values()) + unused_sentence_projection == 2_622_234_357
    counts = {
        part: sum(p.numel() for p in networks[part].parameters())
        for part in ("unet", "vae", "text_encoder", "image_encoder", "roberta")
    }
    assert counts == {
        "unet": 1_411_233_860,
        "vae": 83_653_863,
        "text_encoder": 340_387_840,
        "image_encoder": 632_076_800,
        "roberta": 124_645_632,
    }
