"""Which examples make which step: a function of the seed and of positions only.

Nothing has to be remembered to go on after any step, and any number of processes sees the same
examples in a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from vdit.training.run_config import Portions

Key = int | tuple[int, int]


class Batches:
    """Keys of the micro-batches of one process, step after step.

    Data without end is indexed by position, every position once. Data of N examples is indexed by
    (epoch, index); an epoch is a permutation of them, filled up to whole steps from its start.

    Args:
        portions: how steps are divided.
        num_examples: N; None = the data has no end.
        seed: of the permutations.
        rank: of this process.
        first_step: where to start.
    """

    def __init__(
        self,
        portions: Portions,
        num_examples: int | None,
        seed: int = 0,
        rank: int = 0,
        first_step: int = 0,
    ) -> None:
        self.portions = portions
        self.num_examples = num_examples
        self.seed = seed
        self.rank = rank
        self.first_step = first_step
        self._order = lru_cache(maxsize=2)(self._draw_order)

    def __len__(self) -> int:
        return (self.portions.steps - self.first_step) * self.portions.accumulate

    def __iter__(self) -> Iterator[list[Key]]:
        for step in range(self.first_step, self.portions.steps):
            for turn in range(self.portions.accumulate):
                yield self.keys(step, number_of(self.portions, self.rank, turn))

    def keys(self, step: int, number: int) -> list[Key]:
        """Give the keys of one of the micro-batches of a step, counted over all processes."""
        start = step * self.portions.batch + number * self.portions.micro_batch
        return [self._key(start + k) for k in range(self.portions.micro_batch)]

    def _key(self, position: int) -> Key:
        if self.num_examples is None or self.portions.steps_per_epoch is None:
            return position
        epoch, place = divmod(position, self.portions.steps_per_epoch * self.portions.batch)
        return epoch, int(self._order(epoch)[place % self.num_examples])

    def _draw_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, epoch)).permutation(self.num_examples or 0)


def load_batches(
    data: Dataset[Any], collate: Callable[[list[Any]], Any], keys: Batches, workers: int
) -> Iterator[list[Any]]:
    """Read the micro-batches of one process, all of a step at once.

    Args:
        data: key -> example.
        collate: examples -> batch.
        keys: what to read.
        workers: processes that read ahead; 0 = this one reads.

    Raises:
        ValueError: an example cannot be read; the sentence is that of the data, from a worker too.
    """
    loader: DataLoader[Any] = DataLoader(
        data, batch_sampler=keys, num_workers=workers, collate_fn=collate
    )
    batches = iter(loader)
    for _ in range(len(keys) // keys.portions.accumulate):
        try:
            step = [next(batches) for _ in range(keys.portions.accumulate)]
        except ValueError as error:  # that of a worker comes with its traceback in front
            sentence = str(error).strip().splitlines()[-1].removeprefix("ValueError: ")
            raise ValueError(sentence) from error
        yield step


def number_of(portions: Portions, rank: int, turn: int) -> int:
    """Number a micro-batch among all of its step: turn by turn, rank by rank."""
    return turn * portions.world_size + rank


def noise_seed(seed: int, step: int, number: int) -> int:
    """Seed noise and dropout of one micro-batch, wherever it is computed."""
    return seed * 1_000_003 + step + (number << 40)
