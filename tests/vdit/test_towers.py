"""Which sentences a frame shows, and towers that learn it."""

import numpy as np
import pytest
import torch

from vdit.cli import main
from vdit.stages.stored_clips import ClipStore, store_folder
from vdit.stages.towers import NamedFrames, TowersConfig, TowersStage, fits, words_of


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
    for _ in range(120):
        optimizer.zero_grad()
        losses = stage.losses(batch)
        losses["loss"].backward()
        optimizer.step()
    assert losses["recall"] > 0.95
    assert losses["refusal"] > 0.95
    with torch.no_grad():
        turned = [
            type(each)(each.frame, other.names, each.sentences)
            for each, other in zip(batch, np.roll(np.array(batch, dtype=object), 5), strict=True)
        ]
        assert stage.losses(turned)["loss"] > 3 * losses["loss"], "frames do not matter"
