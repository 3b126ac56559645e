"""The attentions of WALT: cells of a window to each other, and to the condition.

A batch may mix clips with pictures. Layers that span time see a picture through an identity mask:
every cell attends to itself alone. The mask is never written out: pictures and clips of a batch
take different ways through such a layer.

Axes: B clips, T latent frames, h x w cells, C channels, D channels of a head, L condition tokens,
n windows of a clip, N cells of a window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdit.models.backbones.walt_windows import RelativeBias, Tiling, Window

WINDOWS_PER_PASS = 64
"""Windows that attend at once; bounds memory on large frames."""

Attend = Callable[..., Tensor]


class HeadAttention(nn.Module):
    """What both attentions share: heads, normalized queries and keys, the output projection.

    Args:
        width: C.
        heads: number of heads.
        window: of this layer.

    Reference: Dehghani et al., Scaling Vision Transformers to 22 Billion Parameters, ICML 2023,
    for layer norms on queries and keys.
    """

    def __init__(self, width: int, heads: int, window: Window) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.query_norm = nn.LayerNorm(width // heads)
        self.key_norm = nn.LayerNorm(width // heads)
        self.out = nn.Linear(width, width)

    def split_heads(self, states: Tensor) -> Tensor:
        """Bring [..., N, C] to [..., heads, N, D]."""
        return states.unflatten(-1, (self.heads, -1)).transpose(-3, -2)

    def by_kind(
        self, images: Sequence[bool], of_clips: Attend, of_images: Attend, *inputs: Tensor
    ) -> Tensor:
        """Run pictures apart from clips where this layer spans time, and keep their order.

        Args:
            images: for each of the B rows, whether it holds pictures.
            of_clips: attention in windows; takes `inputs`.
            of_images: attention under the identity mask; takes `inputs`.
            inputs: tensors with B rows.
        """
        if self.window.frames == 1 or not any(images):
            return of_clips(*inputs)
        if all(images):
            return of_images(*inputs)
        pictures = [row for row, is_image in enumerate(images) if is_image]
        clips = [row for row, is_image in enumerate(images) if not is_image]
        found = [
            of_clips(*(each[clips] for each in inputs)),
            of_images(*(each[pictures] for each in inputs)),
        ]
        order = torch.tensor(clips + pictures, device=inputs[0].device).argsort()
        return torch.cat(found)[order]


class WindowAttention(HeadAttention):
    """Attention of the cells of a window to each other, with a bias by their offset.

    Args:
        width: C.
        heads: number of heads.
        window: of this layer.
        largest: window that the bias covers; the same in all layers, so that layers with other
            windows have the same parameters.
    """

    def __init__(self, width: int, heads: int, window: Window, largest: Window) -> None:
        super().__init__(width, heads, window)
        self.qkv = nn.Linear(width, 3 * width)
        self.bias = RelativeBias(heads, largest)

    def forward(self, cells: Tensor, images: Sequence[bool]) -> Tensor:
        """Mix cells [B, T, h, w, C]; `images` tells which of the B rows are pictures."""
        return self.out(self.by_kind(images, self._of_clips, _values, self.qkv(cells)))

    def _of_clips(self, qkv: Tensor) -> Tensor:
        tiling = Tiling(self.window, qkv.shape[1:4])  # type: ignore[arg-type]
        query, key, value = (self.split_heads(each) for each in tiling.split(qkv).chunk(3, dim=-1))
        bias = self.bias(tiling.window).to(query.dtype)
        mixed = attend(
            self.query_norm(query), self.key_norm(key), value, bias, tiling.inside(qkv.device)
        )
        return tiling.join(mixed.transpose(1, 2).flatten(2))


def _values(qkv: Tensor) -> Tensor:
    """Attention under the identity mask: the only key has the whole weight."""
    return qkv.chunk(3, dim=-1)[2]


class ConditionAttention(HeadAttention):
    """Attention of a cell to the cells of its window and to the condition.

    The cells stand among the keys, so that a cell may as well ignore the condition.
    """

    def __init__(self, width: int, heads: int, window: Window) -> None:
        super().__init__(width, heads, window)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)

    def forward(self, cells: Tensor, condition: Tensor, images: Sequence[bool]) -> Tensor:
        """Mix cells [B, T, h, w, C] with a condition [B, L, C]."""
        inputs = self.query(cells), self.key_value(cells), self.key_value(condition)
        return self.out(self.by_kind(images, self._of_clips, self._of_images, *inputs))

    def _of_clips(self, query: Tensor, key_value: Tensor, condition: Tensor) -> Tensor:
        tiling = Tiling(self.window, query.shape[1:4])  # type: ignore[arg-type]
        inside = tiling.inside(query.device)
        condition = condition.repeat_interleave(_product(tiling.counts), dim=0)
        if inside is not None:
            inside = F.pad(inside, (0, condition.shape[1]), value=True)
        key, value = (
            self.split_heads(each)
            for each in torch.cat([tiling.split(key_value), condition], dim=1).chunk(2, dim=-1)
        )
        query = self.query_norm(self.split_heads(tiling.split(query)))
        mixed = attend(query, self.key_norm(key), value, None, inside)
        return tiling.join(mixed.transpose(1, 2).flatten(2))

    def _of_images(self, query: Tensor, key_value: Tensor, condition: Tensor) -> Tensor:
        """Every cell attends to itself and to the condition."""
        shape = query.shape
        query = self.query_norm(self.split_heads(query.flatten(1, 3)))  # [B, heads, T h w, D]
        own_key, own_value = (
            self.split_heads(each.flatten(1, 3)) for each in key_value.chunk(2, dim=-1)
        )
        key, value = (self.split_heads(each) for each in condition.chunk(2, dim=-1))
        own = (query * self.key_norm(own_key)).sum(-1, keepdim=True)
        logits = torch.cat([own, query @ self.key_norm(key).transpose(-1, -2)], dim=-1)
        weights = (logits * query.shape[-1] ** -0.5).softmax(-1).to(value.dtype)
        mixed = weights[..., :1] * own_value + weights[..., 1:] @ value
        return mixed.transpose(1, 2).reshape(shape)


def attend(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, inside: Tensor | None
) -> Tensor:
    """Compute attention in windows, some of them at a time.

    Args:
        query: [B * n, heads, N, D].
        key: [B * n, heads, M, D].
        value: likewise.
        bias: [heads, N, M] on the logits, or None.
        inside: [n, M] bool, which keys exist; None = all.

    Returns:
        [B * n, heads, N, D].
    """
    query, key = query.to(value.dtype), key.to(value.dtype)
    if inside is not None:
        inside = inside.repeat(len(query) // len(inside), 1)
    parts = []
    for start in range(0, len(query), WINDOWS_PER_PASS):
        few = slice(start, start + WINDOWS_PER_PASS)
        mask = None if bias is None else bias[None]
        if inside is not None:
            absent = torch.zeros(inside[few].shape, dtype=value.dtype, device=value.device)
            absent = absent.masked_fill(~inside[few], float("-inf"))[:, None, None]
            mask = absent if mask is None else mask + absent
        parts.append(F.scaled_dot_product_attention(query[few], key[few], value[few], mask))
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _product(counts: Sequence[int]) -> int:
    return counts[0] * counts[1] * counts[2]
