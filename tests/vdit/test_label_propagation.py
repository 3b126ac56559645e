"""Label propagation: the stream against the dense definition, what must hold for any features."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vdit.propagation import LabelPropagator, PropagationSettings, propagate_labels, stream_labels
from vdit.propagation.reference import propagate_labels_dense
from vdit.propagation.windowed_scores import WindowedScores

OPTIONS = st.builds(
    PropagationSettings,
    num_context=st.integers(0, 6),
    radius=st.sampled_from([0, 0.5, 1, 2, 2.5, 4, 30]),
    topk=st.sampled_from([1, 2, 3, 7, 15, 1000]),
    temperature=st.sampled_from([0.05, 0.1, 0.7]),
    window=st.sampled_from(["square", "disc"]),
    first_frame=st.sampled_from(["windowed", "unrestricted"]),
    pad_context=st.booleans(),
    ties=st.sampled_from(["keep", "split"]),
)
SIZES = {
    "num_frames": st.integers(1, 6),
    "height": st.integers(1, 19),
    "width": st.integers(1, 19),
    "num_labels": st.integers(1, 4),
    "seed": st.integers(0, 1000),
}
WORKSPACES = [1, 10_000, 2**26]


def random_labels(num_labels, height, width, generator, dtype=torch.float64):
    numbers = torch.randint(num_labels, (height, width), generator=generator)
    return torch.nn.functional.one_hot(numbers, num_labels).permute(2, 0, 1).to(dtype)


def stream(features, labels, options, **changes):
    found = list(stream_labels(iter(features), labels, options, **changes))
    return torch.stack(found) if found else labels.new_empty((0, *labels.shape))


def assert_equals_dense(features, labels, options, atol, **changes):
    if len(features) == 1:
        assert stream(features, labels, options).shape == (0, *labels.shape)
        return
    expected = propagate_labels_dense(features, labels, options)
    found = stream(features, labels, options, **changes)
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


@settings(max_examples=40, deadline=None)
@given(options=OPTIONS, workspace=st.sampled_from(WORKSPACES), **SIZES)
def test_equals_dense(options, workspace, num_frames, height, width, num_labels, seed):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(num_frames, 5, height, width, generator=generator, dtype=torch.float64)
    labels = random_labels(num_labels, height, width, generator)
    assert_equals_dense(features, labels, options, 1e-9, workspace_bytes=workspace)


@settings(max_examples=40, deadline=None)
@given(options=OPTIONS, workspace=st.sampled_from(WORKSPACES), **SIZES)
def test_exact_ties_equal_dense(options, workspace, num_frames, height, width, num_labels, seed):
    generator = torch.Generator().manual_seed(seed)
    # One channel is on: the similarity is 0 or 1 without rounding, and nearly everything ties.
    features = random_labels(3, num_frames * height, width, generator, torch.float32)
    features = features.reshape(3, num_frames, height, width).transpose(0, 1)
    labels = random_labels(num_labels, height, width, generator, torch.float32)
    assert_equals_dense(features, labels, options, 2e-5, workspace_bytes=workspace)


@pytest.mark.parametrize(
    "options",
    [
        PropagationSettings.dino(3, 4, 10, 0.1),
        PropagationSettings.crw(4, 5, 10, 0.07),
    ],
)
def test_still_video_ties_along_time(options, generator):
    features = torch.randn(1, 16, 13, 21, generator=generator).expand(9, -1, -1, -1)
    labels = random_labels(3, 13, 21, generator, torch.float32)
    assert_equals_dense(features, labels, options, 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "options",
    [
        PropagationSettings.dino(4, 5, 5, 0.1),
        PropagationSettings.crw(3, 6, 10, 0.05),
    ],
)
def test_larger_grids_equal_dense(options, dtype, generator):
    features = torch.randn(6, 32, 19, 26, generator=generator, dtype=dtype)
    labels = random_labels(5, 19, 26, generator, dtype)
    assert_equals_dense(features, labels, options, 1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_that_of_rounded_maps(dtype, generator):
    features = torch.randn(6, 32, 12, 15, generator=generator)
    labels = random_labels(3, 12, 15, generator, torch.float32)
    options = PropagationSettings.dino(3, 3, 6, 0.1)
    found = stream(features, labels, options, dtype=dtype)
    assert found.dtype == torch.float32
    torch.testing.assert_close(stream(features.to(dtype), labels, options), found, atol=0.2, rtol=0)
    exact = stream(features, labels, options)
    assert (found.argmax(dim=1) == exact.argmax(dim=1)).float().mean() > 0.97


def test_labels_sum_to_one_and_permute(generator):
    features = torch.randn(5, 8, 9, 14, generator=generator)
    labels = random_labels(4, 9, 14, generator, torch.float32)
    options = PropagationSettings.dino(2, 3, 5, 0.1)
    found = stream(features, labels, options)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(4, 9, 14))
    torch.testing.assert_close(
        stream(features, labels[[2, 0, 3, 1]], options), found[:, [2, 0, 3, 1]]
    )


def test_follows_a_shift(generator):
    """Every cell has a look of its own and moves by (1, 2) a frame."""
    look = torch.randn(64, 40, 50, generator=generator)
    features = torch.stack([look[:, 10 - t : 25 - t, 12 - 2 * t : 30 - 2 * t] for t in range(5)])
    labels = random_labels(3, 40, 50, generator, torch.float32)
    cut = [labels[:, 10 - t : 25 - t, 12 - 2 * t : 30 - 2 * t] for t in range(5)]
    options = PropagationSettings.dino(1, 4, 1, 0.1)
    for t, found in enumerate(stream(features, cut[0], options), start=1):
        torch.testing.assert_close(found[:, t:, 2 * t :], cut[t][:, t:, 2 * t :])


def test_options_as_keywords(generator):
    features = torch.randn(4, 8, 6, 7, generator=generator)
    labels = random_labels(2, 6, 7, generator, torch.float32)
    numbers = {"num_context": 2, "radius": 3, "topk": 4, "temperature": 0.1}
    found = propagate_labels(features, labels, **numbers)
    torch.testing.assert_close(found, stream(features, labels, PropagationSettings.dino(**numbers)))
    found = propagate_labels(
        iter(features),
        labels,
        **numbers,
        window="disc",
        first_frame="unrestricted",
        pad_context=True,
        ties="split",
    )
    torch.testing.assert_close(found, stream(features, labels, PropagationSettings.crw(**numbers)))
    assert propagate_labels(features[:1], labels, **numbers).shape == (0, 2, 6, 7)


def test_takes_frames_one_by_one(generator):
    taken = []

    def maps():
        for t in range(1000):
            taken.append(t)
            yield torch.randn(4, 3, 3, generator=generator)

    labels = random_labels(2, 3, 3, generator, torch.float32)
    stream_of_labels = stream_labels(maps(), labels, PropagationSettings.dino(2, 1, 1, 0.1))
    next(stream_of_labels)
    next(stream_of_labels)
    assert taken == [0, 1, 2]


def test_context_is_bounded(generator):
    labels = random_labels(2, 3, 3, generator, torch.float32)
    options = PropagationSettings.dino(2, 1, 1, 0.1)
    propagator = LabelPropagator(torch.ones(4, 3, 3), labels, options)
    for _ in range(9):
        propagator.step(torch.ones(4, 3, 3))
    assert len(propagator._recent) == 2


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    num_scores=st.integers(0, 9),
    num_extra=st.integers(1, 2000),
    workspace=st.sampled_from([1, 1000, 100_000, 10**7]),
)
def test_bands_cover_the_grid_within_the_workspace(height, width, num_scores, num_extra, workspace):
    options = PropagationSettings.dino(2, 5, 1, 0.1)
    scorer = WindowedScores(options, height, width, torch.device("cpu"), workspace)
    seen = torch.zeros(height, width)
    for tiles in scorer.bands(num_scores, num_extra, 4):
        scores = 0
        for tile in tiles:
            seen[tile.top : tile.bottom, tile.left : tile.right] += 1
            region = tile.grown(5, height, width)
            scores += tile.num_cells * (num_scores * region.num_cells + num_extra)
        single = len(tiles) == 1 and tiles[0].num_cells == 1
        assert 4 * scores <= workspace or single
    assert bool((seen == 1).all())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radius": -1}, "radius >= 0"),
        ({"topk": 0}, "topk >= 1"),
        ({"num_context": -1}, "num_context >= 0"),
        ({"temperature": 0}, "temperature > 0"),
        ({"temperature": float("nan")}, "temperature > 0"),
        ({"window": "round"}, "window 'square' or 'disc', got 'round'"),
        ({"first_frame": "all"}, "first_frame 'windowed' or 'unrestricted'"),
        ({"ties": "drop"}, "ties 'keep' or 'split'"),
    ],
)
def test_options_are_checked(change, message):
    good = {"num_context": 1, "radius": 1, "topk": 1, "temperature": 1}
    with pytest.raises(ValueError, match=message):
        PropagationSettings(**good | change)


def test_shapes_are_checked():
    options = PropagationSettings.dino(1, 1, 1, 1)
    with pytest.raises(ValueError, match="of one grid"):
        LabelPropagator(torch.ones(2, 3, 4), torch.ones(2, 4, 3), options)
    with pytest.raises(ValueError, match="first frame's shape"):
        LabelPropagator(torch.ones(2, 3, 4), torch.ones(2, 3, 4), options).step(torch.ones(2, 4, 3))
    with pytest.raises(ValueError, match="at least one frame"):
        next(stream_labels([], torch.ones(2, 3, 4), options))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    ("dtype", "least"), [(torch.float64, 1.0), (torch.float32, 0.999), (torch.float16, 0.97)]
)
def test_cuda_equals_cpu(dtype, least, generator):
    features = torch.randn(6, 32, 25, 30, generator=generator)
    labels = random_labels(3, 25, 30, generator, torch.float32)
    for options in (PropagationSettings.dino(3, 4, 6, 0.1), PropagationSettings.crw(3, 4, 6, 0.1)):
        expected = stream(features, labels, options, dtype=dtype).argmax(dim=1)
        found = stream(features.cuda(), labels.cuda(), options, dtype=dtype).argmax(dim=1)
        assert (found.cpu() == expected).float().mean() >= least
