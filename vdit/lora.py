"""Low-rank updates of the layers of a network (LoRA), by peft.

Reference: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vdit.feature_files import write_safetensors

LORA = ".lora_"
"""In the name of every parameter of an update."""
BASE = "base_layer"
"""Name of a layer inside of the one that has taken its place."""
UPDATED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

_ADAPTER = "default"
_PEFT_NAME = re.compile(rf"(\.lora_[AB]\.){_ADAPTER}\.")
_FIRST = ".lora_A.weight"


@dataclass(frozen=True)
class LoraSettings:
    """Sizes of the updates W + alpha / rank * B A, and which layers have one.

    Attributes:
        rank: rows of A.
        alpha: strength; `alpha` = `rank` adds B A itself.
        dropout: of the input of A, in training mode.
        targets: ends of the names of linear and convolutional layers ("to_q", "ff.net.2"); () = all
            projections of all attentions.
    """

    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.alpha > 0 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"expected rank >= 1, alpha > 0 and dropout in 0..1, got {self.rank}, "
                f"{self.alpha} and {self.dropout}"
            )


def has_lora(network: nn.Module) -> bool:
    """Tell whether any layer has a low-rank update."""
    return any(LORA in name for name, _ in network.named_parameters())


def add_lora(
    network: nn.Module,
    modules: Iterable[nn.Module],
    settings: LoraSettings,
    idle: Sequence[str] = (),
) -> None:
    """Give layers inside of some modules a low-rank update that starts as zero.

    The parameters of the updates are float32 and learn; all others are frozen.

    Args:
        network: holds the modules; layers are named from here.
        modules: where to look for layers.
        settings: sizes and targets.
        idle: layers with one of these in the name of their weight are left out.

    Raises:
        ValueError: no layer fits, or peft is missing.
    """
    inside = {id(layer) for module in modules for layer in module.modules()}
    layers = [
        name
        for name, layer in _candidates(network, settings.targets)
        if id(layer) in inside and not any(part in f"{name}.weight" for part in idle)
    ]
    if not layers:
        wanted = ", ".join(settings.targets) or "projections of an attention"
        raise ValueError(
            f"expected {wanted} in the blocks to update, found none; name other blocks or targets"
        )
    _inject(network, layers, settings)


def lora_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Give the factors: "<layer>.lora_A.weight" and "<layer>.lora_B.weight" -> float32 tensor."""
    return {
        _PEFT_NAME.sub(r"\1", name): parameter.detach()
        for name, parameter in network.named_parameters()
        if LORA in name
    }


def layer_update(layer: nn.Module) -> Tensor:
    """Compute what a layer's low-rank update adds to its weight, in the weight's shape."""
    return cast(Any, layer).get_delta_weight(_ADAPTER).detach()


def save_lora(network: nn.Module, path: str | Path) -> None:
    """Write the updates alone to a .safetensors file, which appears once it is complete.

    Raises:
        ValueError: the network has no updates, or the file cannot be written.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in lora_tensors(network).items()}
    if not tensors:
        raise ValueError("expected a network with low-rank updates, got one without; add some")
    config = cast(Any, network).peft_config[_ADAPTER]
    write_safetensors(Path(path), tensors, {"rank": config.r, "alpha": config.lora_alpha})


def load_lora(network: nn.Module, path: str | Path) -> None:
    """Read what `save_lora` wrote.

    A network without updates gets those of the file, frozen; one that has updates of the same
    layers and rank, as for a training that goes on, keeps them and takes the numbers.

    Args:
        network: of the sizes that the updates were made for; it changes.
        path: the file.

    Raises:
        ValueError: the file cannot be read, its layers or shapes are others, or peft is missing.
    """
    tensors, facts = _read(path)
    layers = [name.removesuffix(_FIRST) for name in tensors if name.endswith(_FIRST)]
    known = dict(_candidates(network, layers))
    is_new = not has_lora(network)
    for name in layers if is_new else ():
        if name not in known:
            raise ValueError(f"expected a layer {name} for the updates in {path}, found none")
    if is_new:
        _inject(network, layers, LoraSettings(facts["rank"], facts["alpha"]))
        network.requires_grad_(False)
    own = lora_tensors(network)
    if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in tensors.items()}:
        raise ValueError(
            f"expected updates of the network's layers and shapes in {path}, got others; load "
            "them into the network they were made for"
        )
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def merge_lora(network: nn.Module) -> None:
    """Add the updates to the weights, in the dtype of these, and remove them; freeze everything.

    Raises:
        ValueError: the network has no updates.
    """
    if not has_lora(network):
        raise ValueError("expected a network with low-rank updates, got one without; add some")
    wrapped = [
        (name.removesuffix(f".{BASE}"), layer)
        for name, layer in network.named_modules()
        if name.endswith(f".{BASE}")
    ]
    for name, layer in wrapped:
        wrapper = network.get_submodule(name)
        with torch.no_grad():
            weight = cast(Tensor, layer.weight)
            weight.copy_(weight + layer_update(wrapper))
        parent, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(parent), leaf, layer)
    del network.peft_config
    network.requires_grad_(False)


def _candidates(network: nn.Module, targets: Sequence[str] = ()) -> Iterator[tuple[str, nn.Module]]:
    """Yield the name and module of every layer that an update fits and that is a target."""
    prefixes = [
        f"{name}."
        for name, module in network.named_modules()
        if not targets and type(module).__name__.endswith("Attention")
    ]
    for name, layer in network.named_modules():
        if not isinstance(layer, UPDATED):
            continue
        if any(f".{name}".endswith(f".{target}") for target in targets) or any(
            name.startswith(prefix) for prefix in prefixes
        ):
            yield name, layer


def _inject(network: nn.Module, layers: Sequence[str], settings: LoraSettings) -> None:
    """Wrap layers by peft."""
    peft = _import_peft()
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        # one expression: peft would take a list of names for ends of names
        target_modules="|".join(re.escape(name) for name in layers),
    )
    peft.inject_adapter_in_model(config, network, adapter_name=_ADAPTER)
    for name, parameter in network.named_parameters():
        if LORA in name:
            parameter.data = parameter.data.float()
    network.train(network.training)  # new modules are born in training mode


def _import_peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ValueError(
            "expected peft for low-rank updates, which is not installed; "
            "run `pip install vdit[probing]`"
        ) from error
    return peft


def _read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"expected low-rank updates in {path}, but {error}") from error
    if not {"rank", "alpha"} <= facts.keys():
        raise ValueError(f"expected a file of `save_lora`, got {path} without rank and alpha")
    return tensors, facts
