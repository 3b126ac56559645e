"""Which sentences a frame shows, and networks that learn it."""

import numpy as np
import pytest
import torch

from vdit.cli import main
from vdit.stages.cell_network import (
    CellNames,
    CellNetwork,
    load_cell_names,
    load_cell_network,
    save_cell_network,
)
from vdit.stages.simple_names import every_name, fits, plain_sentence, words_of
from vdit.stages.stored_clips import ClipStore, store_folder
from vdit.stages.towers import (
    NamedFrames,
    TowersConfig,
    TowersStage,
    balanced_weights,
)


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("the only red ball", ("ball", "red")),
        ("a thing, white in the video", (None, "white")),
        ("the tree", ("tree", None)),
        ("the object", (None, None)),
    ],
)
def test_words(sentence, words):
    assert words_of(sentence) == words


def test_a_sentence_fits_one_object_as_a_whole():
    names = [("ball", "red"), ("cube", "blue")]
    assert fits("the red ball", names)
    assert fits("a cube", names)
    assert fits("the blue thing", names)
    assert not fits("the blue ball", names)
    assert not fits("the tree", names)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "model"
    size = ["data.height=48", "data.width=48"]
    for stage, extra in (
        ("0_tokenizers", ["clips=30", *size]),
        ("1_pictures", ["count=24", "workers=0", *size]),
        ("2_clips", ["count=4", "workers=0", "data.rendered=3", "data.frames=2", *size]),
    ):
        words = ["train", f"configs/mini/{stage}.yaml", *extra, "-o", str(folder)]
        assert main(words) == 0
    return folder


def test_sentences_are_true(folder):
    stores = [ClipStore(store_folder(folder, name)) for name in ("pictures", "clips")]
    frames = NamedFrames(stores, seed=1)
    counts = []
    for index in range(20):
        example = frames[index]
        counts.append(len(example.names))
        assert len(example.names) == len(example.sentences)
        for name, sentence in zip(example.names, example.sentences, strict=True):
            assert fits(sentence, [name]), (name, sentence)
        assert torch.equal(example.frame, frames[index].frame)
    assert max(counts[::2]) == 1 < max(counts[1::2])


def test_towers_learn_pictures_by_heart(folder):
    stage = TowersStage(TowersConfig(sets=["pictures"]), folder)
    batch = [stage.data[i] for i in range(12)]
    optimizer = torch.optim.AdamW(stage.modules.parameters(), 2e-3)
    first = stage.losses(batch)
    for _ in range(150):
        optimizer.zero_grad()
        losses = stage.losses(batch)
        losses["loss"].backward()
        optimizer.step()
    assert losses["recall"] > 0.95
    assert losses["refusal"] > 0.95
    assert losses["learned"] < 0.2 * first["learned"], "the teacher learns too"
    assert losses["distance"] < 0.2 * first["distance"], "and the tower from it"
    with torch.no_grad():
        turned = [
            type(each)(each.frame, other.names, each.sentences)
            for each, other in zip(batch, np.roll(np.array(batch, dtype=object), 5), strict=True)
        ]
        assert stage.losses(turned)["loss"] > 3 * losses["loss"], "frames do not matter"


def test_true_and_false_sentences_weigh_alike_and_as_often_as_drawn():
    named = torch.tensor([[True, False, False], [False, False, True]])
    weights = balanced_weights(named, torch.tensor([1.0, 4.0, 3.0]))
    torch.testing.assert_close(weights[named].sum(), weights[~named].sum())
    torch.testing.assert_close(weights.mean(), torch.tensor(1.0))
    torch.testing.assert_close(weights[1, 2] / weights[0, 0], torch.tensor(3.0))
    torch.testing.assert_close(weights[0, 1] / weights[1, 0], torch.tensor(4.0))


def test_questions_with_one_answer_keep_their_weight():
    weights = balanced_weights(torch.zeros(2, 3, dtype=torch.bool), torch.ones(3))
    assert weights.isfinite().all()
    assert (weights > 0).all()


def test_cells_see_their_neighborhood_and_no_more():
    torch.manual_seed(0)
    network = CellNetwork(dim=5, width=16, blocks=1).eval()
    frames = torch.randint(0, 256, (1, 3, 96, 80), dtype=torch.uint8)
    changed = frames.clone()
    changed[..., 40:48, 24:32] = 255 - changed[..., 40:48, 24:32]
    # norms of groups look at the whole frame; without them only convolutions are left
    for name, module in network.named_modules():
        for child, norm in module.named_children():
            if isinstance(norm, torch.nn.GroupNorm):
                setattr(network.get_submodule(name), child, torch.nn.Identity())
    before, after = network(frames), network(changed)
    assert before.shape == (1, 5, 12, 10)
    rows, columns = torch.nonzero((before != after).any(dim=1)[0], as_tuple=True)
    assert (int(rows.min()), int(rows.max())) == (2, 8)
    assert (int(columns.min()), int(columns.max())) == (0, 6)


def test_a_cell_network_and_its_names_are_kept(tmp_path):
    for load in (load_cell_network, load_cell_names):
        with pytest.raises(ValueError, match="train the stage `towers` first"):
            load(tmp_path)
    network, names = CellNetwork(dim=5), CellNames(text_dim=7, dim=5)
    torch.nn.init.constant_(names.scale, 1.5)
    save_cell_network(network, names, tmp_path)
    frames = torch.randint(0, 256, (1, 3, 24, 16), dtype=torch.uint8)
    assert torch.equal(load_cell_network(tmp_path)(frames), network(frames))
    kept, pooled, cosines = load_cell_names(tmp_path), torch.randn(3, 7), torch.rand(4)
    assert torch.equal(kept.states(pooled), names.states(pooled))
    assert torch.equal(kept(cosines), names(cosines))


def test_names_are_categories_colors_and_both():
    names = every_name()
    assert len(set(names)) == 8 + 8 + 64
    assert all(words_of(plain_sentence(*name)) == name for name in names)
