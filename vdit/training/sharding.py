"""Weights, gradients and states of the optimizer divided among the processes of a run (FSDP2).

A process keeps its share of every tensor, frozen ones included. A layer's weights are gathered when
it is called and let go when it is done; the gradients of a layer are summed right into the shares.

Reference: Zhao et al., PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel, VLDB 2023.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(network: nn.Module, layers: Iterable[nn.Module], device: torch.device) -> None:
    """Keep this process's share of the weights of a network, in place.

    The shares start as those of the first process. Parameters are other objects afterwards, of the
    same names; an optimizer is made later.

    Args:
        network: whose call runs all of a forward pass.
        layers: parts of it that run by being called, each gathered for itself; what is in none is
            gathered for the whole step.
        device: of this process; the process group exists.
    """
    for tensor in [*network.parameters(), *network.buffers()]:
        dist.broadcast(tensor.data, src=0)
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for layer in _innermost_first(network, layers):
        layer.register_forward_hook(_copy_views)
        fully_shard(layer, mesh=mesh)
    fully_shard(network, mesh=mesh)
    # parts may be called before the whole is, by samples or scores: it has to know that it is whole
    fully_shard.state(network)._lazy_init()  # type: ignore[attr-defined]


def is_sharded(network: nn.Module) -> bool:
    """Tell whether `shard` was called with this network."""
    return isinstance(network, FSDPModule)


@contextmanager
def gathered(network: nn.Module) -> Iterator[None]:
    """Let every process hold all weights, as plain tensors; then each may go its own way.

    Buffers are those of the first process. A network that is not sharded is left alone. All
    processes have to come here, between steps.

    Args:
        network: that was given to `shard`.
    """
    shards = [each for each in network.modules() if isinstance(each, FSDPModule)]
    if not shards:
        yield
        return
    for buffer in network.buffers():
        dist.broadcast(buffer.data, src=0)
    for each in shards:
        each.set_reshard_after_forward(False, recurse=False)
        each.unshard()
    # those of FSDP let go of the weights, as `state_dict` otherwise means the shares
    hooks = {module: module._state_dict_pre_hooks for module in network.modules()}
    for module in hooks:
        module._state_dict_pre_hooks = OrderedDict()
    try:
        yield
    finally:
        for module, those in hooks.items():
            module._state_dict_pre_hooks = those
        for each in shards:
            each.set_reshard_after_forward(each is not network, recurse=False)
        # calls in between are forgotten: the next backward pass would gather in their order too
        cast(FSDPModule, network).reset_iter_state()


def whole(tensor: Tensor) -> Tensor:
    """Give all of a tensor that may be sharded; all processes have to ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_in_first(tensor: Tensor) -> Tensor:
    """Give all of a sharded tensor, on the CPU, to the first process, and nothing to others.

    All processes have to ask. Other tensors are given as they are.
    """
    if not isinstance(tensor, DTensor):
        return tensor
    full = tensor.full_tensor()
    return full.cpu() if dist.get_rank() == 0 else torch.empty(0)


def share(tensor: Tensor) -> Tensor:
    """Give what this process keeps of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def divided_like(tensor: Tensor, model: Tensor) -> Tensor:
    """Divide a whole tensor, the same in all processes, as another one of its shape is divided."""
    if not isinstance(model, DTensor) or tensor.shape != model.shape:
        return tensor
    tensor = tensor.to(model.device)
    return distribute_tensor(tensor, model.device_mesh, model.placements, src_data_rank=None)


def _copy_views(layer: nn.Module, inputs: object, output: Any) -> Any:
    """Copy what is a view of another tensor.

    FSDP hangs the gathering for the backward pass on a layer's output; a later operation in place
    would replace the history of a view, and the gathering with it.
    """
    if isinstance(output, tuple):
        return tuple(_copy_views(layer, inputs, each) for each in output)
    return output.clone() if isinstance(output, Tensor) and output._is_view() else output


def _innermost_first(network: nn.Module, layers: Iterable[nn.Module]) -> list[nn.Module]:
    """Order layers so that one inside of another comes before it, each once."""
    wanted = {id(layer) for layer in layers}
    found = [each for each in network.modules() if id(each) in wanted]
    return found[::-1]  # modules() names the outer ones first
