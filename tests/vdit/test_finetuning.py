"""Weights that learn: which, by how much, and through how many kept activations."""

import sys

import pytest
import torch
from safetensors.torch import load_file

from tests.models.tiny_backbones import TINY
from tests.models.tiny_transformers import open_sora
from vdit.finetuning import FineTuning, prepare_finetuning, relative_change, weights_by_block
from vdit.lora import LoraSettings, load_lora, lora_tensors, merge_lora, save_lora
from vdit.models.backbones.latent_unet import LatentUnetBackbone
from vdit.models.backbones.vision_encoder import VisionEncoder

EVERY = {
    **TINY,
    "svd-frames": lambda: TINY["svd"](temporal_layers=False),
    "i2vgen-frames": lambda: TINY["i2vgen"](temporal_layers=False),
    "open-sora-frames": lambda: open_sora(temporal_layers=False),
}
CONVNETS = {"resnet-basic", "resnet-bottleneck", "mobilenet-v2"}
PROMPTED = ["mini", "stable-diffusion", "i2vgen", "sd3", "wan", "open-sora"]


@pytest.fixture(params=EVERY)
def backbone(request):
    return EVERY[request.param]()


def extract(backbone, blocks=None, **options):
    """Features of one video with one noise."""
    generator = torch.Generator().manual_seed(0)
    frames = backbone.frame_offset + 2 * backbone.frame_multiple
    video = torch.rand(1, frames, 3, 32, 64, generator=generator)
    if not isinstance(backbone, VisionEncoder):
        options = {"timestep": 15} | options
    blocks = [list(backbone.blocks)[-1]] if blocks is None else blocks
    return backbone.extract(video, blocks=blocks, generator=generator, **options)


def loss_of(features):
    """A number whose gradient is different in every cell."""
    generator = torch.Generator().manual_seed(1)
    return sum(
        (feature * torch.randn(feature.shape, generator=generator)).sum()
        for feature in features.values()
    )


def gradients(backbone):
    return {n: p.grad for n, p in backbone.named_parameters() if p.grad is not None}


# ---- blocks --------------------------------------------------------------------------------------


def test_every_weight_in_front_of_the_last_map_is_in_one_block(backbone):
    """An independent count: what gets a gradient when every weight may have one."""
    for parameter in backbone.parameters():
        parameter.requires_grad_(True)
    loss_of(extract(backbone)).backward()
    blocks = backbone.block_parameters()
    listed = [name for parameters in blocks.values() for name in parameters]
    assert len(listed) == len(set(listed))
    fixed = {"network.pos_embed"}  # V-JEPA's table is computed, not learned
    assert set(listed) == gradients(backbone).keys() - fixed


def test_a_map_depends_on_its_block_and_those_before(backbone):
    prepare_finetuning(backbone, FineTuning("full"))
    blocks = list(backbone.block_modules())
    for tap in [name for name in backbone.blocks if name in blocks]:
        backbone.zero_grad()
        loss_of(extract(backbone, [tap])).backward()
        reached = gradients(backbone).keys()
        found = [name for name, own in backbone.block_parameters().items() if reached & own.keys()]
        assert found == blocks[: blocks.index(tap) + 1]


def test_full(backbone):
    found = prepare_finetuning(backbone, FineTuning("full"))
    loss_of(extract(backbone)).backward()
    assert gradients(backbone).keys() == found.keys()
    assert {n for n, p in backbone.named_parameters() if p.requires_grad} == found.keys()
    towers = ("vae.", "text_encoder.", "image_encoder.")
    assert not any(name.startswith(towers) for name in found)


def test_named_blocks(backbone):
    names = list(backbone.block_modules())
    chosen = (names[1], names[-1])
    found = prepare_finetuning(backbone, FineTuning("blocks", chosen))
    loss_of(extract(backbone)).backward()
    expected = {n for block in chosen for n in backbone.block_parameters()[block]}
    assert found.keys() == gradients(backbone).keys() == expected
    backbone.train()
    inside = {
        m for block in chosen for each in backbone.block_modules()[block] for m in each.modules()
    }
    for module in backbone.modules():
        is_norm = isinstance(module, torch.nn.BatchNorm2d)
        assert module.training == (module in inside and not is_norm)
    backbone.eval()
    assert not any(module.training for module in backbone.modules())


def test_frozen_again(backbone):
    prepare_finetuning(backbone, FineTuning("full"))
    assert prepare_finetuning(backbone, FineTuning()) == {}
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not any(module.training for module in backbone.train().modules())


def test_training_mode_switches_dropout_on():
    backbone = TINY["mini"]()
    prepare_finetuning(backbone, FineTuning("blocks", ("down0",)))
    still = extract(backbone)["up3"]
    assert torch.equal(still, extract(backbone)["up3"])
    backbone.train()  # temporal convolutions have dropout
    assert not torch.equal(extract(backbone)["up3"], extract(backbone)["up3"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"mode": "all"}, r"expected a mode among frozen, full, blocks, lora; got 'all'"),
        ({"mode": "blocks"}, r'expected blocks for mode "blocks", got none; name some'),
        ({"mode": "full", "blocks": ("mid",)}, r'expected no blocks for mode "full", got mid'),
        (
            {"mode": "blocks", "blocks": ("down0", "vae4")},
            r"expected blocks among in, down0, .*, up3; got 'vae4'",
        ),
        ({"mode": "lora", "blocks": ("block1",)}, r"expected blocks among in, .*; got 'block1'"),
    ],
)
def test_wrong_options(options, told):
    with pytest.raises(ValueError, match=told):
        prepare_finetuning(TINY["mini"](), FineTuning(**options))


# ---- checkpointing -------------------------------------------------------------------------------


def run_backward(backbone, **options):
    """Features, gradients of weights, and bytes that autograd kept beside the weights."""
    weights = {p.untyped_storage().data_ptr() for p in backbone.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    backbone.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        features = extract(backbone, list(backbone.blocks), **options)
        loss = loss_of(features)
    size = sum(kept.values())
    loss.backward()
    return features, gradients(backbone), size


def test_checkpointing_changes_only_what_is_kept(backbone):
    prepare_finetuning(backbone, FineTuning("full"))
    features, grads, kept = run_backward(backbone)
    backbone.use_checkpointing()
    again, grads_again, kept_again = run_backward(backbone)
    assert all(torch.equal(features[name], again[name]) for name in features)
    assert grads.keys() == grads_again.keys()
    for name, grad in grads.items():
        torch.testing.assert_close(grads_again[name], grad, rtol=1e-6, atol=1e-6)
    assert kept_again < 0.7 * kept


@pytest.mark.parametrize("name", PROMPTED)
def test_checkpointing_through_frozen_weights(name):
    """As VD-IT trains: gradients pass the frozen network to the noise and the prompt."""
    backbone = TINY[name]()
    results = []
    for checkpointing in (False, True):
        assert not prepare_finetuning(backbone, FineTuning(checkpointing=checkpointing))
        generator = torch.Generator().manual_seed(2)
        text = torch.randn(1, 5, backbone.text_dim, generator=generator, requires_grad=True)
        scale = torch.ones((), requires_grad=True)
        features, grads, kept = run_backward(
            backbone, text=text, noise=lambda z, scale=scale: scale * z.flip(-1)
        )
        assert not grads
        results.append((features, text.grad, scale.grad, kept))
    (plain, *expected, much), (again, *found, less) = results
    assert all(torch.equal(plain[block], again[block]) for block in plain)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert expected[0].abs().sum() > 0
    assert expected[1].abs() > 0
    assert less < 0.6 * much


def test_checkpointing_draws_dropout_alike():
    backbone = TINY["mini"]()
    prepare_finetuning(backbone, FineTuning("full"))
    backbone.train()
    results = []
    for checkpointing in (False, True):
        backbone.use_checkpointing(checkpointing)
        torch.manual_seed(3)
        results.append(run_backward(backbone)[:2])
    (features, grads), (again, grads_again) = results
    assert all(torch.equal(features[name], again[name]) for name in features)
    torch.testing.assert_close(grads_again, grads, rtol=1e-6, atol=1e-6)


# ---- low-rank updates ----------------------------------------------------------------------------


@pytest.fixture(params=[name for name in EVERY if name not in CONVNETS])
def updated(request):
    """A backbone, its features without updates, and the parameters of its updates."""
    backbone = EVERY[request.param]()
    plain = extract(backbone, list(backbone.blocks))
    options = FineTuning("lora", lora=LoraSettings(rank=2, alpha=4.0))
    return backbone, plain, prepare_finetuning(backbone, options)


def assert_same(features, expected):
    """Equal up to the rounding of kernels, which depends on where weights lie in memory."""
    for name in expected:
        scale = expected[name].abs().max()
        torch.testing.assert_close(
            features[name] / scale, expected[name] / scale, rtol=0, atol=1e-5
        )


def shake(parameters):
    """What a training would do to the updates."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)


def test_updates_start_as_nothing_and_learn_alone(updated):
    backbone, plain, found = updated
    again = extract(backbone, list(backbone.blocks))
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    loss_of(extract(backbone)).backward()
    assert {n for n, p in backbone.named_parameters() if p.requires_grad} == found.keys()
    reached = gradients(backbone).keys()
    assert reached <= found.keys()
    assert found.keys() - reached <= {n for n in found if "add_" in n or "to_add_out" in n}


def test_updates_are_saved_loaded_and_merged(updated, request, tmp_path):
    backbone, plain, found = updated
    shake(found)
    with torch.no_grad():
        trained = extract(backbone, list(backbone.blocks))
    last = list(plain)[-1]
    assert not torch.allclose(trained[last], plain[last])
    save_lora(backbone, tmp_path / "lora.safetensors")
    tensors = load_file(tmp_path / "lora.safetensors")
    assert tensors.keys() == lora_tensors(backbone).keys()
    assert sum(t.numel() for t in tensors.values()) == sum(p.numel() for p in found.values())

    fresh = EVERY[request.node.callspec.params["updated"]]()
    load_lora(fresh, tmp_path / "lora.safetensors")
    assert not any(parameter.requires_grad for parameter in fresh.parameters())
    assert not any(module.training for module in fresh.modules())
    if isinstance(backbone, LatentUnetBackbone):  # norms over few values amplify rounding
        backbone.double(), fresh.double()
    with torch.no_grad():
        trained, loaded = (extract(each, list(plain)) for each in (backbone, fresh))
    assert_same(loaded, trained)

    effective = weights_by_block(backbone)
    merge_lora(backbone)
    assert weights_by_block(backbone).keys() == effective.keys()
    with torch.no_grad():
        merged = extract(backbone, list(backbone.blocks))
    assert_same(merged, trained)
    for block, weights in weights_by_block(backbone).items():
        torch.testing.assert_close(weights, effective[block])
    assert not lora_tensors(backbone)


def test_update_is_alpha_over_rank_times_the_product():
    backbone = TINY["vjepa"]()
    before = weights_by_block(backbone)
    shake(
        prepare_finetuning(
            backbone, FineTuning("lora", ("block2",), LoraSettings(2, 6.0, targets=("qkv",)))
        )
    )
    after = weights_by_block(backbone)
    factors = lora_tensors(backbone)
    layer = "network.blocks.1.attn.qkv"
    assert factors.keys() == {f"{layer}.lora_{each}.weight" for each in "AB"}
    product = factors[f"{layer}.lora_B.weight"] @ factors[f"{layer}.lora_A.weight"]
    expected = before["block2"][f"{layer}.weight"] + 6 / 2 * product
    torch.testing.assert_close(after["block2"][f"{layer}.weight"], expected)
    changes = relative_change(before, after)
    assert [name for name, change in changes.items() if change] == ["block2"]


def test_training_of_updates_goes_on(tmp_path):
    path = tmp_path / "lora.safetensors"
    options = FineTuning("lora", ("down0", "mid"), LoraSettings(rank=3))
    first, second = TINY["stable-diffusion"](), TINY["stable-diffusion"]()
    shake(prepare_finetuning(first, options))
    save_lora(first, path)
    learning = prepare_finetuning(second, options)
    load_lora(second, path)
    assert {n for n, p in second.named_parameters() if p.requires_grad} == learning.keys()
    assert_same(extract(second), extract(first))


def test_updates_of_half_precision_networks_are_float32():
    backbone = TINY["dinov2"]().to(torch.bfloat16)
    found = prepare_finetuning(backbone, FineTuning("lora", lora=LoraSettings(rank=2)))
    assert {parameter.dtype for parameter in found.values()} == {torch.float32}
    shake(found)
    before = extract(backbone)["last"]
    assert before.dtype == torch.bfloat16
    merge_lora(backbone)
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.bfloat16}
    torch.testing.assert_close(extract(backbone)["last"], before, rtol=0.1, atol=0.1)


def test_layers_that_cannot_be_updated(tmp_path):
    options = FineTuning("lora")
    with pytest.raises(ValueError, match="expected projections of an attention in the blocks"):
        prepare_finetuning(TINY["resnet-basic"](), options)
    convolutions = FineTuning("lora", ("layer4",), LoraSettings(targets=("conv2",)))
    assert len(prepare_finetuning(TINY["resnet-basic"](), convolutions)) == 4
    with pytest.raises(ValueError, match=r"expected to_q in the blocks to update, found none"):
        prepare_finetuning(TINY["vit"](), FineTuning("lora", lora=LoraSettings(targets=("to_q",))))
    backbone = TINY["vit"]()
    prepare_finetuning(backbone, options)
    with pytest.raises(ValueError, match="expected a backbone without low-rank updates"):
        prepare_finetuning(backbone, options)
    save_lora(backbone, tmp_path / "vit.safetensors")
    with pytest.raises(ValueError, match=r"expected a layer network\..* for the updates in"):
        load_lora(TINY["vjepa"](), tmp_path / "vit.safetensors")
    other = TINY["vit"]()
    prepare_finetuning(other, FineTuning("lora", lora=LoraSettings(rank=3)))
    with pytest.raises(ValueError, match="expected updates of the network's layers and shapes"):
        load_lora(other, tmp_path / "vit.safetensors")
    with pytest.raises(ValueError, match=r"expected low-rank updates in .*none\.safetensors, but"):
        load_lora(other, tmp_path / "none.safetensors")
    for call in (merge_lora, lambda network: save_lora(network, tmp_path / "x.safetensors")):
        with pytest.raises(ValueError, match="expected a network with low-rank updates"):
            call(TINY["vit"]())


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"alpha": 0.0}, {"dropout": 1.0}])
def test_wrong_sizes(wrong):
    with pytest.raises(ValueError, match=r"expected rank >= 1, alpha > 0 and dropout in 0\.\.1"):
        LoraSettings(**wrong)


def test_without_peft(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match=r"expected peft .*; run `pip install vdit\[probing\]`"):
        prepare_finetuning(TINY["vit"](), FineTuning("lora"))


# ---- change of weights ---------------------------------------------------------------------------


def test_relative_change_by_block():
    backbone = TINY["stable-diffusion"]()
    before = weights_by_block(backbone)
    assert set(relative_change(before, weights_by_block(backbone)).values()) == {0.0}
    with torch.no_grad():
        for parameter in backbone.block_parameters()["down1"].values():
            parameter *= 1.25
        backbone.unet.conv_in.bias += 3
    changes = relative_change(before, weights_by_block(backbone))
    assert list(changes) == list(backbone.block_modules())
    assert changes["down1"] == pytest.approx(0.25)
    size = sum(weight.square().sum() for weight in before["in"].values()) ** 0.5
    moved = 3 * len(backbone.unet.conv_in.bias) ** 0.5
    assert changes["in"] == pytest.approx(moved / size.item(), rel=1e-6)
    assert all(changes[block] == 0 for block in changes if block not in ("in", "down1"))
    with pytest.raises(ValueError, match="expected the same weights before and after"):
        relative_change(before, weights_by_block(TINY["vit"]()))


def test_backbone_without_blocks():
    class Bare(LatentUnetBackbone):
        def block_modules(self):
            return {}

    backbone = TINY["stable-diffusion"]()
    backbone.__class__ = Bare
    with pytest.raises(ValueError, match="got Bare, which has no blocks to fine-tune"):
        prepare_finetuning(backbone, FineTuning("full"))
