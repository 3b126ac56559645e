"""Features on disk: complete or absent, taken up again, shared out among processes."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from vdit.feature_files import save_features
from vdit.feature_options import FeatureOptions
from vdit.feature_store import (
    FeatureStore,
    ShardOptions,
    rank_and_world_size,
    store_features,
    store_videos,
)
from vdit.features import collect_features, extract_features
from vdit.models.backbones.base import Backbone, BlockInfo, Encoded

OPTIONS = FeatureOptions(clip_length=4, overlap=2, timestep=1.0)
SHARDS = ShardOptions("float32", 3)


class Noisy(Backbone):
    """Frame i, of the value i / 255, gives i plus noise; clips are counted and may fail."""

    temporal = True

    def __init__(self, fail_at=None, scale=1.0):
        super().__init__()
        self.blocks = {"a": BlockInfo(1, 4), "b": BlockInfo(1, 2)}
        self.fail_at, self.scale = fail_at, scale
        self.starts = []

    def encode(self, video):
        return Encoded((video.shape[-2], video.shape[-1]), video)

    def extract(self, video, *, blocks, timestep=None, noise=None, **_):
        first = round(255 * video.latent_mean[0, 0].mean().item())
        if first == self.fail_at:
            raise KeyboardInterrupt
        self.starts.append(first)
        found = {}
        for name in blocks:
            stride = self.blocks[name].stride
            frames = 255 * self.scale * video.latent_mean[:, :, :1, ::stride, ::stride]
            found[name] = frames + noise(frames)
        return found


@pytest.fixture
def video():
    values = np.arange(11, dtype=np.uint8)
    return np.broadcast_to(values[:, None, None, None], (11, 8, 12, 3)).copy()


def read_all(store):
    return {block: store.read(block) for block in store.blocks}


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_stored_features_are_the_extracted_ones(video, tmp_path):
    store = store_features(Noisy(), video, tmp_path / "v", OPTIONS, SHARDS, video_id="v")
    truth = collect_features(extract_features(Noisy(), video, OPTIONS, video_id="v"))
    found = read_all(FeatureStore(store.folder))
    assert found.keys() == truth.keys()
    assert all(torch.equal(found[name], truth[name]) for name in truth)
    assert [len(part) for part in store.stream("a")] == [3, 3, 3, 2]
    assert store.spans == [(i, i + 1) for i in range(11)]
    assert store.facts["shapes"] == {"a": [11, 1, 2, 3], "b": [11, 1, 4, 6]}
    assert files(tmp_path / "v") == [*(f"0000{i}.safetensors" for i in range(4)), "index.json"]


@pytest.mark.parametrize("fail_at", [0, 2, 4, 6, 7])
@pytest.mark.parametrize("frames_per_shard", [1, 2, 3, 100])
def test_an_interrupted_run_goes_on_and_changes_no_bit(video, tmp_path, fail_at, frames_per_shard):
    shards = ShardOptions("float16", frames_per_shard)
    whole = store_features(Noisy(), video, tmp_path / "whole", OPTIONS, shards)
    with pytest.raises(KeyboardInterrupt):
        store_features(Noisy(fail_at), video, tmp_path / "v", OPTIONS, shards)
    left = files(tmp_path / "v") if (tmp_path / "v").exists() else []
    assert "index.json" not in left
    assert len(left) == fail_at // frames_per_shard
    with pytest.raises(ValueError, match=r"found no index\.json that can be read"):
        FeatureStore(tmp_path / "v")
    backbone = Noisy()
    again = store_features(backbone, video, tmp_path / "v", OPTIONS, shards)
    done = len(left) * frames_per_shard
    assert all(start + 4 > done for start in backbone.starts), "a finished clip was computed again"
    for name in left:
        assert (tmp_path / "v" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert again.facts == whole.facts
    assert all(torch.equal(again.read(name), whole.read(name)) for name in whole.blocks)


def test_finished_features_are_not_computed_again(video, tmp_path):
    store_features(Noisy(), video, tmp_path, OPTIONS, SHARDS)
    backbone = Noisy()
    store_features(backbone, video, tmp_path, OPTIONS, SHARDS)
    assert not backbone.starts


def test_a_lost_last_shard_is_found_missing(video, tmp_path):
    store = store_features(Noisy(), video, tmp_path, OPTIONS, SHARDS)
    truth = store.read("a")
    (tmp_path / "index.json").unlink()
    backbone = Noisy()
    again = store_features(backbone, video, tmp_path, OPTIONS, SHARDS)
    assert torch.equal(again.read("a"), truth)
    assert min(backbone.starts) + 4 > 9


def test_another_recipe_is_refused(video, tmp_path):
    store_features(Noisy(), video, tmp_path, OPTIONS, SHARDS)
    with pytest.raises(ValueError, match="holds features of another recipe"):
        store_features(Noisy(), video, tmp_path, OPTIONS, ShardOptions("float16", 3))
    (tmp_path / "index.json").unlink()
    with pytest.raises(ValueError, match="holds features of another recipe"):
        store_features(Noisy(), video, tmp_path, OPTIONS, SHARDS, video_id="w")
    with pytest.raises(ValueError, match="holds features of another recipe"):
        store_features(Noisy(), video, tmp_path, OPTIONS, SHARDS, source={"backbone": "other"})


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes(video, tmp_path, dtype):
    shards = ShardOptions(dtype, 4)
    store = store_features(Noisy(), video, tmp_path, OPTIONS, shards)
    truth = collect_features(extract_features(Noisy(), video, OPTIONS))
    assert torch.equal(store.read("a"), truth["a"].to(getattr(torch, dtype)))


def test_numbers_too_large_for_float16(video, tmp_path):
    with pytest.raises(ValueError, match=r"reach .*, too large for float16; .* bfloat16"):
        store_features(Noisy(scale=1e6), video, tmp_path / "v", OPTIONS)
    assert not (tmp_path / "v").exists()


def test_videos_are_shared_out_by_rank(video, tmp_path, monkeypatch):
    videos = {name: video[: 4 + i] for i, name in enumerate("abcde")}
    done = []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        done.append([s.folder.name for s in store_videos(Noisy(), videos, tmp_path, OPTIONS)])
    assert done == [["a", "c", "e"], ["b", "d"]]
    alone = store_features(Noisy(), videos["b"], tmp_path / "alone", OPTIONS, video_id="b")
    assert torch.equal(FeatureStore(tmp_path / "b").read("a"), alone.read("a"))


def test_ranks():
    assert rank_and_world_size({}) == (0, 1)
    with pytest.raises(ValueError, match="expected 0 <= RANK < WORLD_SIZE, got 2 and 2"):
        rank_and_world_size({"RANK": "2", "WORLD_SIZE": "2"})
    with pytest.raises(ValueError, match="expected numbers in RANK"):
        rank_and_world_size({"RANK": "two"})


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_names_that_are_no_folder_names(video, tmp_path, name):
    with pytest.raises(ValueError, match="names of videos that can be folder names"):
        store_videos(Noisy(), {name: video}, tmp_path, OPTIONS)


def test_one_file(tmp_path):
    features = {"up1": torch.rand(3, 2, 4, 5), "mid": torch.rand(3, 6, 2, 2)}
    spans = [(0, 1), (1, 5), (5, 7)]
    for kind in ("npz", "safetensors"):
        save_features(tmp_path / f"f.{kind}", features, spans, {"backbone": "mini"}, "float32")
    with np.load(tmp_path / "f.npz") as held:
        assert sorted(held) == ["facts", "mid", "spans", "up1"]
        assert np.array_equal(held["up1"], features["up1"].numpy())
        assert held["spans"].tolist() == [list(span) for span in spans]
        assert json.loads(str(held["facts"])) == {"backbone": "mini"}
    with safe_open(tmp_path / "f.safetensors", "pt") as held:
        assert torch.equal(held.get_tensor("mid"), features["mid"])
        facts = {"backbone": "mini", "spans": [list(span) for span in spans]}
        assert json.loads(held.metadata()["facts"]) == facts
    assert files(tmp_path) == ["f.npz", "f.safetensors"]


def test_mistakes(tmp_path, video):
    features = {"up1": torch.rand(3, 2, 4, 5)}
    with pytest.raises(ValueError, match=r"ends in \.npz or \.safetensors, got .*f\.h5"):
        save_features(tmp_path / "f.h5", features, [], {})
    with pytest.raises(ValueError, match=r"float16 or float32 for \.npz, got bfloat16"):
        save_features(tmp_path / "f.npz", features, [], {}, "bfloat16")
    with pytest.raises(ValueError, match="a dtype among float16, bfloat16, float32; got 'int8'"):
        save_features(tmp_path / "f.npz", features, [], {}, "int8")
    with pytest.raises(ValueError, match="expected frames_per_shard >= 1, got 0"):
        ShardOptions(frames_per_shard=0)
    with pytest.raises(ValueError, match="a dtype among"):
        ShardOptions("int8")
    assert not files(tmp_path)
    (tmp_path / "00000.safetensors").write_text("broken")
    with pytest.raises(ValueError, match=r"00000\.safetensors cannot be read"):
        store_features(Noisy(), video, tmp_path, OPTIONS)
    (tmp_path / "00000.safetensors").unlink()
    store = store_features(Noisy(), video, tmp_path, OPTIONS)
    with pytest.raises(ValueError, match="expected a block among a, b; got 'c'"):
        store.read("c")
