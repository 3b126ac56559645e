"""Configuration: a frozen dataclass is the schema, a file and `key=value` overrides fill it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

Schema = TypeVar("Schema")


def load_config(
    schema: type[Schema], source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()
) -> Schema:
    """Fill a dataclass from a YAML or JSON file (or a mapping) and dotted overrides.

    Args:
        schema: a dataclass; nested ones are filled too.
        source: file, or its content.
        overrides: "key.subkey=value" strings, applied last; a number is a place in a list.

    Raises:
        ValueError: the file cannot be read, a key is unknown, a value has the wrong type or a
            required one is missing; the sentence names the key.
    """
    name = "configuration" if isinstance(source, Mapping) else str(source)
    try:
        loaded = (
            OmegaConf.create(dict(source))
            if isinstance(source, Mapping)
            else OmegaConf.load(source)
        )
        for override in overrides:
            key, sign, text = override.partition("=")
            if not sign:
                raise ValueError(f"expected changes KEY=VALUE, got {override!r}")
            # a value is read as OmegaConf reads one; `update` also knows places in lists
            value = OmegaConf.from_dotlist([f"value={text}"])["value"]
            OmegaConf.update(loaded, key, value, merge=True)
        merged = OmegaConf.merge(OmegaConf.structured(schema), loaded)
        filled = OmegaConf.to_object(merged)
    except OSError as error:
        raise ValueError(f"expected a readable configuration file, got {name}: {error}") from error
    except MissingMandatoryValue as error:
        raise ValueError(
            f"{name}: {error.full_key} is missing; pass {error.full_key}=VALUE"
        ) from error
    except OmegaConfBaseException as error:
        key = error.full_key or error.key  # the message goes on with facts about the schema
        reason = " ".join(str(error).split("\n    full_key:")[0].split())
        raise ValueError(f"{name}: {reason} ({key})" if key else f"{name}: {reason}") from error
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{name}: {reason}") from error
    assert isinstance(filled, schema)
    return filled
