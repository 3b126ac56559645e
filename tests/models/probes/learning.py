"""What the tests of all heads share: gradients of every parameter, and training on a few clips."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def silent_parameters(head: nn.Module, output: Tensor) -> list[str]:
    """Names of the parameters that a random direction of the output does not move."""
    generator = torch.Generator().manual_seed(7)
    head.zero_grad()
    (output * torch.randn(output.shape, generator=generator)).sum().backward()
    return [
        name
        for name, parameter in head.named_parameters()
        if parameter.grad is None or parameter.grad.abs().max() < 1e-8
    ]


def overfit(
    head: nn.Module, loss: Callable[[], Tensor], steps: int = 100, rate: float = 3e-3
) -> float:
    """Train in place with Adam; the loss after the last step."""
    optimizer = torch.optim.Adam(head.parameters(), lr=rate)
    head.train()
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    head.eval()
    with torch.no_grad():
        return loss().item()


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of rows of [N, K] whose largest logit is at the label [N]."""
    return (logits.argmax(1) == labels).float().mean().item()


def clips(
    batch: int = 12, steps: int = 2, channels: int = 16, h: int = 3, w: int = 4, seed: int = 0
) -> Tensor:
    """Random features [B, T', C, h, w]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, steps, channels, h, w, generator=generator)
