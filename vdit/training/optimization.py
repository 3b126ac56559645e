"""AdamW with groups, learning rates, and the update of a step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from vdit.training.run_config import Portions, RunConfig
from vdit.training.schedule import cosine_rate, multistep_rate
from vdit.training.sharding import whole

SMALLEST_SCALE = 2.0**-14
"""A loss scale below it means that gradients overflow whatever is done."""


def build_optimizer(parameters: Mapping[str, nn.Parameter], config: RunConfig) -> torch.optim.AdamW:
    """Make AdamW; every group of parameters remembers its `peak` rate.

    Args:
        parameters: what is trained, by name.
        config: of the run.

    Raises:
        ValueError: nothing is trained, or a group of the configuration fits no parameter.
    """
    if not parameters:
        raise ValueError("expected parameters that are trained, found none")
    groups: list[list[nn.Parameter]] = [[] for _ in range(len(config.groups) + 1)]
    for name, parameter in parameters.items():
        groups[_group_of(name, config)].append(parameter)
    for group, members in zip(config.groups, groups, strict=False):
        if not members:
            raise ValueError(
                f"expected run.groups to fit trained parameters, but none has a name with "
                f"{' or '.join(group.contains)}; leave the group out"
            )
    rates = [*(group.rate for group in config.groups), config.rate]
    settings = [
        {"params": members, "lr": rate, "peak": rate}
        for members, rate in zip(groups, rates, strict=True)
        if members
    ]
    return torch.optim.AdamW(
        settings, lr=config.rate, weight_decay=config.decay, betas=config.betas
    )


def _group_of(name: str, config: RunConfig) -> int:
    for index, group in enumerate(config.groups):
        if any(part in name for part in group.contains):
            return index
    return len(config.groups)


def set_rates(
    optimizer: torch.optim.Optimizer, step: int, config: RunConfig, portions: Portions
) -> None:
    """Give every group the share of its peak rate that the schedule has for a step, from 0."""
    share = rate_share(step, config, portions)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


def rate_share(step: int, config: RunConfig, portions: Portions) -> float:
    """Give the share of the peak learning rate at a step, counted from 0."""
    if config.schedule == "cosine":
        return cosine_rate(step, portions.steps, config.warmup)
    if config.schedule == "constant":
        return multistep_rate(step, [], 1.0, config.warmup)
    unit = 1 if config.epochs is None else portions.steps_per_epoch or 1
    drops = [unit * drop for drop in config.drops]
    return multistep_rate(step, drops, config.drop_factor, config.warmup)


class Updater:
    """Turn gradients into an update: undo the loss scale, clip, step.

    Args:
        optimizer: of the parameters.
        clip: largest norm of the gradient; None = any.
        scaler: of the loss, for float16; disabled otherwise.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, clip: float | None, scaler: torch.amp.GradScaler
    ) -> None:
        self.optimizer = optimizer
        self.clip = clip
        self.scaler = scaler

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        self.scaler.scale(loss).backward()

    def step(self, parameters: Iterable[Tensor]) -> Tensor:
        """Update the parameters.

        Returns:
            The norm of the gradient before it was clipped.

        Raises:
            FloatingPointError: the gradient is not finite, which smaller loss scales cannot mend.
                The parameters are then as before.
        """
        self.scaler.unscale_(self.optimizer)
        limit = float("inf") if self.clip is None else self.clip
        norm = whole(nn.utils.clip_grad_norm_(parameters, limit))
        scaled = self.scaler.is_enabled()
        if not torch.isfinite(norm) and (not scaled or self.scaler.get_scale() < SMALLEST_SCALE):
            raise FloatingPointError("the gradient is not finite")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return norm
