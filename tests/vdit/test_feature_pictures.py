"""Principal components, clusters, and the sheets and videos that show them."""

import numpy as np
import pytest
import torch
from PIL import Image

from vdit.feature_pictures import (
    block_strip,
    cluster_rows,
    joint_pca_rows,
    noise_strip,
    pca_rows,
    sheet_of_rows,
    write_rows,
)
from vdit.feature_projection import (
    cluster_features,
    fit_projection,
    fit_shared_projection,
)
from vdit.video import open_video


def features(T=3, C=7, h=4, w=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scales = torch.arange(C, 0, -1).view(C, 1, 1)
    return torch.randn(T, C, h, w, generator=generator) * scales + 3


def cells(x):
    return x.movedim(1, -1).flatten(0, -2).double().numpy()


# ---- components --------------------------------------------------------------------------------


def test_components_are_those_of_the_svd():
    x = features()
    points = cells(x)
    _, _, rows = np.linalg.svd(points - points.mean(0), full_matrices=False)
    found = fit_projection([x]).components.numpy()
    assert found.shape == (7, 3)
    assert np.abs((found * rows[:3].T).sum(0)) == pytest.approx(1, abs=1e-9)
    assert np.allclose(found.T @ found, np.eye(3))


def test_the_sign_is_fixed():
    x = features()
    found = fit_projection([x]).components
    assert (found.gather(0, found.abs().argmax(0, keepdim=True)) > 0).all()
    mirrored = fit_projection([-x]).components
    torch.testing.assert_close(mirrored, found)


def test_videos_share_one_basis():
    a, b = features(3, seed=0), features(2, seed=1) + 5
    joint = fit_projection([a, b])
    points = np.concatenate([cells(a), cells(b)])
    assert joint.mean.numpy() == pytest.approx(points.mean(0))
    assert torch.equal(joint.components, fit_projection([torch.cat([a, b])]).components)
    scores = torch.cat([joint.scores(a), joint.scores(b)])
    assert scores.mean((0, 2, 3)).abs().max() < 1e-4


def test_colors_spread_over_the_range():
    x = features(8, 7, 16, 16)
    colors = fit_projection([x]).colors(x)
    assert colors.shape == (8, 16, 16, 3)
    assert colors.min() == 0
    assert colors.max() == 255
    assert 100 < colors.mean() < 155


def test_fewer_channels_than_colors():
    colors = fit_projection([features(C=2)]).colors(features(C=2))
    assert colors.shape == (3, 4, 5, 3)
    assert colors[..., 2].max() == 0


def test_what_two_backbones_both_know_has_one_color():
    a = features(4, 7, 6, 8)
    turn = torch.linalg.qr(torch.randn(9, 7, generator=torch.Generator().manual_seed(1)))[0]
    b = 10 * torch.einsum("dc,tchw->tdhw", turn, a) - 4
    shared = fit_shared_projection({"a": a, "b": b})
    scores = [shared[name].scores(x) for name, x in (("a", a), ("b", b))]
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-3, atol=1e-3)
    pictures = [shared[name].colors(x).astype(int) for name, x in (("a", a), ("b", b))]
    assert np.abs(pictures[0] - pictures[1]).max() <= 1
    alone = fit_projection([a]).colors(a).astype(int)
    assert (
        min(
            np.abs(alone[..., 0] - x).max()
            for x in (pictures[0][..., 0], 255 - pictures[0][..., 0])
        )
        <= 1
    ), "the first component is that of one backbone alone"


def test_shared_components_at_different_sizes():
    shared = fit_shared_projection({"a": features(2, 7, 4, 6), "b": features(2, 5, 2, 3)})
    assert shared["a"].components.shape == (7, 3)
    assert shared["b"].colors(features(2, 5, 2, 3)).shape == (2, 2, 3, 3)


# ---- clusters ----------------------------------------------------------------------------------


def test_clusters_of_separable_features():
    truth = np.zeros((3, 6, 8), dtype=int)
    truth[:, :3, :3], truth[1:, 5, 5:] = 1, 2
    directions = torch.eye(4)[:3]
    x = directions[torch.from_numpy(truth)].movedim(-1, 1)
    x = x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    found = cluster_features(x * 3, 3)
    assert np.array_equal(found, truth), "numbered by size"
    assert np.array_equal(cluster_features(x * 3, 3, seed=5), truth)
    assert np.array_equal(found, cluster_features(x * 3, 3))


def test_lengths_of_features_count_only_if_asked():
    lengths = torch.tensor([1.0, 1.0, 1.0, 9.0, 9.0]).view(1, 1, 1, 5)
    x = lengths * torch.tensor([1.0, 2.0, 0.0]).view(1, 3, 1, 1)
    assert cluster_features(x, 2, normalize=False).tolist() == [[[0, 0, 0, 1, 1]]]
    with pytest.raises(ValueError, match="at least 2 different cells"):
        cluster_features(torch.ones(1, 3, 2, 2), 2)


def test_many_cells_are_all_assigned(monkeypatch):
    monkeypatch.setattr("vdit.feature_projection.FITTED_CELLS", 50)
    truth = np.zeros((4, 10, 10), dtype=int)
    truth[:, :3] = 1
    x = torch.eye(2)[torch.from_numpy(truth)].movedim(-1, 1)
    x = x + 0.01 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(cluster_features(x, 2), truth)


# ---- pictures ----------------------------------------------------------------------------------


@pytest.fixture
def frames():
    return list(np.random.default_rng(0).integers(0, 256, (9, 32, 40, 3), dtype=np.uint8))


def test_sheets_and_strips(frames):
    x = {"up1": features(9), "mid": features(9, 11, 2, 3)}
    sheet = sheet_of_rows(frames, pca_rows(x), columns=4)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == 4 * (120 + 8) + 8
    assert sheet.shape[0] > 3 * 96
    clusters = cluster_rows(x, 3)
    assert len(np.unique(np.stack(clusters["up1"]).reshape(-1, 3), axis=0)) == 3
    noise = noise_strip(frames[0], {None: features(1), 5: features(1, seed=1)})
    blocks = block_strip(frames[0], {name: value[:1] for name, value in x.items()})
    assert noise.shape == blocks.shape == (noise.shape[0], 3 * 128 + 8, 3)


def test_joint_rows_use_one_basis():
    a, b = features(2, seed=0), features(3, seed=1)
    rows = joint_pca_rows({"a": a, "b": b})
    both = joint_pca_rows({"both": torch.cat([a, b])})["both"]
    assert all(np.array_equal(x, y) for x, y in zip([*rows["a"], *rows["b"]], both, strict=True))


def test_files(frames, tmp_path):
    rows = pca_rows({"up1": features(9)})
    write_rows(tmp_path / "a.png", frames, rows, 10)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (6 * 128 + 8, picture.size[1])
    write_rows(tmp_path / "a.mp4", frames, rows, 10)
    assert open_video(tmp_path / "a.mp4").num_frames == 9
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "a.png"]


def test_mistakes(frames, tmp_path):
    rows = pca_rows({"up1": features(3)})
    with pytest.raises(ValueError, match="expected 9 pictures of 'up1', one a frame, got 3"):
        write_rows(tmp_path / "a.mp4", frames, rows, 10)
    with pytest.raises(ValueError, match=r"ends in one of \.png, .*, got .*a\.txt"):
        write_rows(tmp_path / "a.txt", frames, rows, 10)
    with pytest.raises(ValueError, match="expected columns >= 1"):
        sheet_of_rows(frames[:3], rows, 0)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"one number of channels, got \[5, 7\]"):
        fit_projection([features(C=5), features(C=7)])
    with pytest.raises(ValueError, match=r"the same frames, got \[2, 3\] frames"):
        fit_shared_projection({"a": features(2), "b": features(3)})
    with pytest.raises(ValueError, match="at least one block"):
        fit_shared_projection({})
    with pytest.raises(ValueError, match="at least one cluster, got 0"):
        cluster_features(features(), 0)
