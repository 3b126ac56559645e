"""Which weights of a backbone learn: none, all, those of some blocks, or low-rank updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from torch import Tensor, nn

from vdit.lora import BASE, LORA, LoraSettings, add_lora, has_lora, layer_update
from vdit.models.backbones.base import Backbone

Mode = Literal["frozen", "full", "blocks", "lora"]


@dataclass(frozen=True)
class FineTuning:
    """What learns of a backbone, and how its activations are kept.

    Attributes:
        mode: "frozen": nothing. "full": every weight that a feature map depends on. "blocks": those
            of `blocks`. "lora": low-rank updates of layers in `blocks`, or in all.
        blocks: names of `Backbone.block_modules`, "in" is the stem with the embeddings.
        lora: sizes and layers of "lora".
        checkpointing: see `Backbone.use_checkpointing`; frozen backbones gain as well.
    """

    mode: Mode = "frozen"
    blocks: tuple[str, ...] = ()
    lora: LoraSettings = field(default_factory=LoraSettings)
    checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ValueError(
                f"expected a mode among {', '.join(get_args(Mode))}; got {self.mode!r}"
            )
        if self.mode == "blocks" and not self.blocks:
            raise ValueError('expected blocks for mode "blocks", got none; name some or use "full"')
        if self.mode in ("frozen", "full") and self.blocks:
            raise ValueError(
                f'expected no blocks for mode "{self.mode}", got {", ".join(self.blocks)}; '
                'use "blocks" or "lora"'
            )


def prepare_finetuning(backbone: Backbone, options: FineTuning) -> dict[str, nn.Parameter]:
    """Let the chosen weights of a backbone learn and freeze all others.

    VAEs, text and image towers and layers behind the last feature map never learn. The blocks in
    question follow `backbone.train()` into training mode, which switches their dropout on; batch
    norms keep their statistics. Weights stay in their dtype; low-rank updates are float32.

    Args:
        backbone: of any family with `block_modules`; it changes.
        options: what learns.

    Returns:
        Parameter name -> parameter, for an optimizer; empty for "frozen".

    Raises:
        ValueError: a block is unknown, a block has no layer to update, the backbone has low-rank
            updates already, or peft is missing.
    """
    known = backbone.block_modules()
    blocks = options.blocks or tuple(known)
    _check_blocks(backbone, known, blocks)
    if options.mode != "frozen" and has_lora(backbone):
        raise ValueError(
            "expected a backbone without low-rank updates, got one that has some; merge them with "
            "`merge_lora` or build it again"
        )
    backbone.freeze()
    backbone.use_checkpointing(options.checkpointing)
    if options.mode == "frozen":
        return {}
    _guard_norms(backbone)
    if options.mode == "lora":
        modules = [each for block in blocks for each in known[block]]
        add_lora(backbone, modules, options.lora, backbone.idle)
    found = {}
    for block, parameters in backbone.block_parameters().items():
        for name, parameter in parameters.items() if block in blocks else ():
            if options.mode != "lora" or LORA in name:
                parameter.requires_grad_(True)
                found[name] = parameter
    backbone.learning = blocks
    return found


def weights_by_block(backbone: Backbone) -> dict[str, dict[str, Tensor]]:
    """Copy all weights that can be fine-tuned: block -> name -> float32 tensor on the CPU.

    Low-rank updates are added to the weights they update, under the names that these had before.
    """
    found = {}
    for block, parameters in backbone.block_parameters().items():
        weights = {}
        for name, parameter in parameters.items():
            if LORA in name:
                continue
            weight = parameter.detach().float().cpu().clone()
            if name.endswith(f".{BASE}.weight"):
                layer = backbone.get_submodule(name.removesuffix(f".{BASE}.weight"))
                weight += layer_update(layer).cpu()
            weights[name.replace(f".{BASE}.", ".")] = weight
        found[block] = weights
    return found


def relative_change(
    before: Mapping[str, Mapping[str, Tensor]], after: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, float]:
    """Tell how far each block moved: |after - before| / |before|, norms over all its weights.

    Args:
        before: `weights_by_block` of a backbone.
        after: the same, later.

    Raises:
        ValueError: the two hold other weights.
    """
    changes = {}
    for block in before.keys() | after.keys():
        if before.get(block, {}).keys() != after.get(block, {}).keys():
            raise ValueError(
                f"expected the same weights before and after, got others in {block!r}; take both "
                "from one backbone"
            )
    for block, weights in before.items():
        size = sum(weight.double().square().sum().item() for weight in weights.values())
        moved = sum(
            (after[block][name].double() - weight.double()).square().sum().item()
            for name, weight in weights.items()
        )
        changes[block] = (moved / size) ** 0.5 if size else 0.0
    return changes


def _check_blocks(backbone: Backbone, known: Mapping[str, object], blocks: Sequence[str]) -> None:
    if not known:
        raise ValueError(
            f"expected a backbone with `block_modules`, got {type(backbone).__name__}, which has "
            "no blocks to fine-tune; choose another"
        )
    for block in blocks:
        if block not in known:
            raise ValueError(f"expected blocks among {', '.join(known)}; got {block!r}")


def _guard_norms(backbone: Backbone) -> None:
    """Let every group norm copy inputs that crash the backward pass of torch (2.13) on a CPU."""
    for module in backbone.modules():
        if isinstance(module, nn.GroupNorm):
            if _copy_constant not in module._forward_pre_hooks.values():
                module.register_forward_pre_hook(_copy_constant)


def _copy_constant(norm: nn.GroupNorm, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    """Make the input contiguous where the norm learns and nothing before it does.

    For such an input with its channels last in memory torch writes the gradient of the input, which
    nobody asked for, to nowhere.
    """
    (hidden,) = inputs
    if norm.weight is None or not norm.weight.requires_grad or hidden.requires_grad:
        return None
    return (hidden.contiguous(),)
