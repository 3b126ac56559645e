"""Clips of two colored squares that slide past each other, with the features of their cells."""

import torch

COLORS = torch.tensor([[0.1, 0.1, 0.1], [0.9, 0.2, 0.1], [0.1, 0.3, 0.9], [0.1, 0.8, 0.2]])
CELL = 4
CHANNELS = 12


def moving_squares(generator, num_clips, num_frames):
    """Features [N, T, 12, 8, 8], frames [N, T, 3, 32, 32] in 0..1, labels [N, T, 8, 8] of 0..3."""
    labels = torch.zeros(num_clips, num_frames, 8, 8, dtype=torch.long)
    for clip in labels:
        kinds = (torch.randperm(3, generator=generator)[:2] + 1).tolist()
        flip = int(torch.randint(2, (1,), generator=generator))
        for row, kind in enumerate(kinds):
            step = 1 if (row + flip) % 2 else -1
            start = int(torch.randint(6, (1,), generator=generator))
            for t, frame in enumerate(clip):
                x = min(max(start + step * t, 0), 5)
                frame[4 * row : 4 * row + 3, x : x + 3] = kind
    directions = 3.5 * torch.eye(CHANNELS)[: len(COLORS)]
    features = directions[labels].movedim(-1, 2)
    noise = 0.1 * torch.randn(features.shape, generator=generator)
    frames = COLORS[labels].movedim(-1, 2)
    frames = frames.repeat_interleave(CELL, 3).repeat_interleave(CELL, 4)
    return features + noise, frames, labels


def foreground_rand_index(labels, masks):
    """Mean adjusted Rand index over the cells of objects; masks [N, T, K, 8, 8] of slots."""
    scores = []
    for truth, found in zip(labels, masks.argmax(2), strict=True):
        inside = truth > 0
        table = torch.zeros(len(COLORS), masks.shape[2], dtype=torch.double)
        counts = torch.ones(int(inside.sum()), dtype=torch.double)
        table.index_put_((truth[inside], found[inside]), counts, accumulate=True)
        same, rows, columns, total = (
            (x * (x - 1)).sum() for x in (table, table.sum(1), table.sum(0), table.sum())
        )
        chance = rows * columns / total
        scores.append(((same - chance) / ((rows + columns) / 2 - chance)).item())
    return sum(scores) / len(scores)
