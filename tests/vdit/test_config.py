"""Configurations: what a wrong file or a wrong change is answered with."""

from dataclasses import dataclass, field

import pytest
from omegaconf import MISSING

from vdit.config import load_config


@dataclass(frozen=True)
class Data:
    root: str = MISSING
    count: int | None = 2


@dataclass(frozen=True)
class Config:
    data: Data = field(default_factory=Data)


def test_changes_are_applied_last():
    config = load_config(Config, {"data": {"root": "a", "count": 3}}, ["data.count=null"])
    assert config == Config(Data("a", None))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([], r"^configuration: data\.root is missing; pass data\.root=VALUE$"),
        (["data.count"], r"^configuration: expected changes KEY=VALUE, got 'data\.count'$"),
        (["data.count=x"], r"^configuration: Value 'x' .* converted to Integer \(data\.count\)$"),
        (["data.rot=a"], r"^configuration: Key 'rot' not in 'Data'.* \(data\.rot\)$"),
    ],
)
def test_wrong_changes_are_one_sentence_that_names_the_key(changes, message):
    with pytest.raises(ValueError, match=message):
        load_config(Config, {}, changes)


def test_a_change_without_a_value_is_not_taken_for_null():
    with pytest.raises(ValueError, match="KEY=VALUE"):
        load_config(Config, {"data": {"root": "a"}}, ["data.count"])
