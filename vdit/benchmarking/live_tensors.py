"""Peak bytes of the tensors that are alive at once, without running anything.

On the meta device an operator gives shapes only, but tensors come and go as they would elsewhere.
What operators take for themselves while they run is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):
    """Add up the memory of all tensors that operators make while this is active, until they die.

    Args:
        known: tensors whose memory does not count, such as weights.

    Attributes:
        peak: most bytes alive at once.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self._known = [tensor.untyped_storage() for tensor in known]  # kept, so that keys stay
        self._ignored = {storage._cdata for storage in self._known}
        self._alive: dict[int, tuple[int, weakref.ref[Any]]] = {}
        self._now = self.peak = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, Tensor):
                self._meet(each)
        return result

    def restart_peak(self) -> None:
        """Count the peak anew from what is alive now."""
        self.peak = self._now

    def _meet(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._ignored or key in self._alive:
            return
        size = storage.nbytes()
        self._alive[key] = size, weakref.ref(storage, lambda _: self._leave(key))
        self._now += size
        self.peak = max(self.peak, self._now)

    def _leave(self, key: int) -> None:
        self._now -= self._alive.pop(key)[0]


class FusedAttention(TorchFunctionMode):
    """Let attention on the meta device be one operator, as the fused kernels of devices are.

    There torch would give the matrix of all scores, which no device with such a kernel holds.

    Attributes:
        flops: of the two products of every attention that came by.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        named = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
        query, key, value = named["query"], named["key"], named["value"]
        if not query.is_meta:
            return func(*args, **kwargs)
        scores = query.shape[:-1].numel() * key.shape[-2]
        self.flops += 2 * scores * (query.shape[-1] + value.shape[-1])
        return query.new_empty((*query.shape[:-1], value.shape[-1]))
