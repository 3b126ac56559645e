"""A backbone that learns beside a head: which weights, where they are written, how far they moved.

The pass stops at the block that the head reads, so that only blocks up to it can learn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vdit.feature_files import write_safetensors
from vdit.finetuning import FineTuning, prepare_finetuning, relative_change, weights_by_block
from vdit.lora import save_lora
from vdit.models.backbones.base import Backbone

WEIGHTS_FILE = "backbone.safetensors"
LORA_FILE = "lora.safetensors"


class BackboneTraining:
    """The weights of a backbone that learn.

    Args:
        backbone: as it was pre-trained; it is prepared for training.
        options: what learns of it.
        block: that the head reads.
        features: computes those of some clip from the prepared backbone, with gradients; weights
            that they do not depend on are frozen again, as where the last block of a transformer
            has a branch that only later blocks read.
        remembers: keep the weights as they are now, float32 on the CPU, to compare with later ones;
            one process does.

    Raises:
        ValueError: as `prepare_finetuning`; features of the block do not depend on a block that is
            to learn.
    """

    def __init__(
        self,
        backbone: Backbone,
        options: FineTuning,
        block: str,
        features: Callable[[], Tensor],
        remembers: bool = True,
    ) -> None:
        self.backbone = backbone
        self.options = up_to_block(backbone, options, block)
        learning = prepare_finetuning(backbone, self.options)
        with torch.enable_grad():
            reached = _leaves(features())
        for parameter in learning.values():
            parameter.requires_grad_(parameter in reached)
        self.names = tuple(name for name, each in learning.items() if each in reached)
        self._before = weights_by_block(backbone) if remembers else {}

    def describe(self) -> dict[str, Any]:
        """Tell what learned, and how far each block moved: |after - before| / |before|."""
        parameters = dict(self.backbone.named_parameters())
        changes = relative_change(self._before, weights_by_block(self.backbone))
        return {
            "mode": self.options.mode,
            "blocks": list(self.options.blocks),
            "trained_parameters": sum(parameters[name].numel() for name in self.names),
            "relative_change": {name: changes[name] for name in self.options.blocks},
        }

    def export(self, folder: Path) -> None:
        """Write what learned: low-rank updates alone, or the weights that changed."""
        if self.options.mode == "lora":
            save_lora(self.backbone, folder / LORA_FILE)
            return
        parameters = dict(self.backbone.named_parameters())
        tensors = {name: parameters[name].detach().cpu().contiguous() for name in self.names}
        facts = {"blocks": list(self.options.blocks)}
        write_safetensors(folder / WEIGHTS_FILE, tensors, facts)


def _leaves(output: Tensor) -> set[Tensor]:
    """Find the tensors that gradients of an output would flow to, without computing them."""
    found: set[Tensor] = set()
    waiting, seen = [output.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(node.variable)
        waiting += [each for each, _ in node.next_functions]
    return found


def up_to_block(backbone: Backbone, options: FineTuning, block: str) -> FineTuning:
    """Restrict fine-tuning to the blocks that the features of `block` depend on.

    Raises:
        ValueError: a block that is to learn comes later, or none comes earlier.
    """
    known = list(backbone.block_modules())
    if block not in known:
        raise ValueError(
            f"expected a source.block with weights that can learn, among {', '.join(known)}; got "
            f"{block!r}"
        )
    reached = tuple(known[: known.index(block) + 1])
    for name in options.blocks:
        if name in known and name not in reached:
            raise ValueError(
                f"expected finetuning.blocks among {', '.join(reached)}, which the features of "
                f"{block} depend on; got {name!r}"
            )
    if options.mode == "full":
        return replace(options, mode="blocks", blocks=reached)
    return options if options.blocks else replace(options, blocks=reached)


def mean_over_heads(found: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """Average what `BackboneTraining.describe` and the costs of steps tell, over several heads."""
    known = [each for each in found if each is not None]
    if not known:
        return None

    def average(values: Sequence[Any]) -> Any:
        if isinstance(values[0], dict):
            return {name: average([each[name] for each in values]) for name in values[0]}
        return fmean(values) if all(isinstance(each, float) for each in values) else values[0]

    return average(known)


def load_changed_weights(backbone: Backbone, path: str | Path) -> None:
    """Read what `BackboneTraining.export` wrote of weights; updates are read by `load_lora`.

    Args:
        backbone: pre-trained as the one that learned; it changes.
        path: the file.

    Raises:
        ValueError: the file cannot be read, or holds weights of another backbone.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors: Mapping[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"expected weights in {path}, but {error}") from error
    own = dict(backbone.named_parameters())
    for name, tensor in tensors.items():
        if name not in own or own[name].shape != tensor.shape:
            raise ValueError(
                f"expected weights of {type(backbone).__name__} in {path}, found {name} of shape "
                f"{list(tensor.shape)}; load them into the backbone that they were trained in"
            )
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
