"""Scores of tracking in the plainest way: every assignment is tried, identities are dictionaries.

A frame is (true ids, predicted ids, overlap as {(true id, predicted id): IoU}).
"""

from itertools import permutations


def assignments(rows, columns):
    """All one-to-one pairings; None stands for nobody, so that pairs may be left out."""
    for chosen in set(permutations([*columns, *[None] * len(rows)], len(rows))):
        yield [(r, c) for r, c in zip(rows, chosen, strict=True) if c is not None]


def clear(frames, threshold, memory):
    """Hits, misses, false alarms, switches, fragmentations, mostly tracked, partly, lost, sum."""
    partner, before = {}, {}
    present, hit, episodes = {}, {}, {}
    hits = misses = false_alarms = switches = 0
    total = 0.0
    for true, predicted, overlap in frames:
        for i in true:
            present[i] = present.get(i, 0) + 1
        misses += len(true)
        false_alarms += len(predicted)
        if memory == "frame" and not (true and predicted):
            continue
        known = before if memory == "frame" else partner
        best = max(
            (
                pairs
                for pairs in assignments(true, predicted)
                if all(overlap[pair] >= threshold for pair in pairs)
            ),
            key=lambda pairs: worth(pairs, true, known, overlap, threshold, memory),
        )
        for i, j in best:
            switches += i in partner and partner[i] != j
            episodes[i] = episodes.get(i, 0) + (i not in before)
            partner[i] = j
            hit[i] = hit.get(i, 0) + 1
            total += overlap[i, j]
        hits += len(best)
        gone = [i for i in before if memory == "frame" or i in true]
        for i in gone:
            del before[i]
        before.update(best)
    shares = [hit.get(i, 0) / count for i, count in present.items()]
    return (
        hits,
        misses - hits,
        false_alarms - hits,
        switches,
        sum(count - 1 for count in episodes.values()),
        sum(share > 0.8 for share in shares),
        sum(0.2 <= share <= 0.8 for share in shares),
        sum(share < 0.2 for share in shares),
        total,
    )


def worth(pairs, true, known, overlap, threshold, memory):
    """What makes one pairing of a frame better than another, most important first."""
    total = sum(overlap[pair] for pair in pairs)
    if memory == "frame":
        return sum(known.get(i) == j for i, j in pairs), total
    kept, taken = set(), set()
    for i in true:
        j = known.get(i)
        if j is not None and j not in taken and overlap.get((i, j), 0) >= threshold:
            kept.add((i, j))
            taken.add(j)
    return len(kept & set(pairs)), len(pairs), total


def identity_hits(frames, threshold):
    """Boxes in common of the best pairing of whole objects."""
    true = sorted({i for ids, _, _ in frames for i in ids})
    predicted = sorted({j for _, ids, _ in frames for j in ids})

    def common(i, j):
        return sum(overlap.get((i, j), 0) >= threshold for _, _, overlap in frames)

    return max(sum(common(*pair) for pair in pairs) for pairs in assignments(true, predicted))


def hota(frames, alpha):
    """Detection accuracy, association accuracy and mean overlap of the hits at one alpha."""
    num_true, num_predicted, soft = {}, {}, {}
    for true, predicted, overlap in frames:
        for i in true:
            num_true[i] = num_true.get(i, 0) + 1
        for j in predicted:
            num_predicted[j] = num_predicted.get(j, 0) + 1
        for i in true:
            for j in predicted:
                either = sum(overlap[i, k] for k in predicted) + sum(overlap[k, j] for k in true)
                if overlap[i, j]:
                    share = overlap[i, j] / (either - overlap[i, j])
                    soft[i, j] = soft.get((i, j), 0) + share
    aligned = {
        (i, j): common / (num_true[i] + num_predicted[j] - common)
        for (i, j), common in soft.items()
    }
    hits = []
    for true, predicted, overlap in frames:
        best = max(
            assignments(true, predicted),
            key=lambda pairs: sum(aligned.get(p, 0) * overlap[p] for p in pairs),
        )
        hits += [(pair, overlap[pair]) for pair in best if overlap[pair] >= alpha]
    if not hits:
        return 0.0, 0.0, 1.0
    boxes = sum(num_true.values()) + sum(num_predicted.values())
    association = 0.0
    for (i, j), _ in hits:
        common = sum(pair == (i, j) for pair, _ in hits)
        association += common / (num_true[i] + num_predicted[j] - common)
    located = sum(overlap for _, overlap in hits) / len(hits)
    return len(hits) / (boxes - len(hits)), association / len(hits), located
