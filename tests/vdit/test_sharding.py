"""Networks of which a process keeps a share: same features, same gradients, whole when asked."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from tests.vdit.test_finetuning import EVERY
from vdit.finetuning import FineTuning, prepare_finetuning
from vdit.lora import LoraSettings
from vdit.models.backbones.vision_encoder import VisionEncoder
from vdit.training.run_config import RunConfig
from vdit.training.sharding import divided_like, gathered, shard, whole


@pytest.fixture
def group():
    """A process group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class Pass(nn.Module):
    """The loss of one video."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, video):
        backbone = self.backbone
        timestep = None if isinstance(backbone, VisionEncoder) else 10
        generator = torch.Generator().manual_seed(1)
        found = backbone.extract(
            video, blocks=list(backbone.blocks), timestep=timestep, generator=generator
        )
        return {"loss": sum(maps.float().square().mean() for maps in found.values())}


def gradients(name, options, is_sharded):
    backbone = EVERY[name]()
    prepare_finetuning(backbone, options)
    network = Pass(backbone)
    if is_sharded:
        shard(network, backbone.layer_modules(), torch.device("cpu"))
        assert all(isinstance(each, DTensor) for each in backbone.parameters())
    frames = backbone.frame_offset + 2 * backbone.frame_multiple
    video = torch.rand(1, frames, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    network(video)["loss"].backward()
    learned = {n: p.grad for n, p in backbone.named_parameters() if p.grad is not None}
    return {name: whole(gradient) for name, gradient in learned.items()}


@pytest.mark.parametrize("name", EVERY)
def test_layers_gathered_one_by_one_change_no_gradient(name, group):
    expected = gradients(name, FineTuning("full"), False)
    scale = max(float(each.abs().max()) for each in expected.values())
    found = gradients(name, FineTuning("full", checkpointing=True), True)
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        torch.testing.assert_close(found[key], gradient, rtol=1e-3, atol=1e-5 * scale)


@pytest.mark.parametrize("name", EVERY)
def test_layers_hold_the_blocks(name):
    backbone = EVERY[name]()
    layers = backbone.layer_modules()
    inside = [id(each) for layer in layers for each in layer.parameters()]
    assert len(layers) > 3
    assert len(set(inside)) == len(inside), "a weight is in two layers"
    known = {
        id(each): each.numel()
        for modules in backbone.block_modules().values()
        for module in modules
        for each in module.parameters()
    }
    assert set(inside) <= known.keys()
    assert sum(known[each] for each in inside) > 0.95 * sum(known.values())


def test_low_rank_updates_beside_frozen_half_precision(group):
    backbone = EVERY["stable-diffusion"]().to(torch.bfloat16)
    learned = prepare_finetuning(backbone, FineTuning("lora", lora=LoraSettings(rank=2)))
    network = Pass(backbone)
    shard(network, backbone.layer_modules(), torch.device("cpu"))
    network(torch.rand(1, 2, 3, 32, 32))["loss"].backward()
    parameters = dict(backbone.named_parameters())
    assert {name for name, each in parameters.items() if each.grad is not None} <= learned.keys()
    factors = [parameters[name] for name in learned if ".lora_B" in name]
    assert any(whole(each.grad).abs().max() > 0 for each in factors if each.grad is not None)


def test_everything_is_there_while_gathered(group):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    shard(network, [network[0], network[2]], torch.device("cpu"))
    with gathered(network):
        assert not any(isinstance(each, DTensor) for each in network.parameters())
        network[2](network[0](torch.rand(2, 3)))  # a call of parts lets go of nothing
        for name, value in network.state_dict().items():
            assert torch.equal(value, before[name])
    assert all(isinstance(each, DTensor) for each in network.parameters())
    network(torch.rand(2, 3)).sum().backward()


def test_dividing_and_gathering_are_inverse(group):
    layer = nn.Linear(3, 5)
    shard(layer, [], torch.device("cpu"))
    values = torch.rand(5, 3)
    divided = divided_like(values, layer.weight)
    assert isinstance(divided, DTensor)
    assert torch.equal(whole(divided), values)
    assert divided_like(torch.tensor(3.0), layer.weight) == 3.0, "the number of a step"


def test_compiled_networks_are_not_sharded():
    with pytest.raises(ValueError, match=r"expected run\.compile=null with run\.sharding=full"):
        RunConfig(sharding="full", compile="inductor")
