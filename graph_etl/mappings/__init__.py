"""Ready-made dataset.yaml files for public formats, and telling which of them fits a folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from graph_etl.dataset_config import DatasetConfig
from graph_etl.dataset_yaml import load_dataset_config, read_fields
from graph_etl.errors import ConfigError

__all__ = ["load_mapping", "mapping_names", "mapping_path", "recognise"]

_FOLDER = Path(__file__).parent


def mapping_names() -> list[str]:
    """Return the names of the shipped mappings, in alphabetical order."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


@cache
def load_mapping(name: str) -> DatasetConfig:
    """Return a shipped mapping.

    Raises:
        ConfigError: There is none of this name.
    """
    return load_dataset_config(mapping_path(name))


def mapping_path(name: str) -> Path:
    """Return the YAML of a shipped mapping.

    Raises:
        ConfigError: There is none of this name.
    """
    if name not in mapping_names():
        raise ConfigError(
            f"Expected the name of a mapping among {', '.join(mapping_names())}, got '{name}'"
        )
    return _FOLDER / f"{name}.yaml"


def recognise(folder: Path) -> str | None:
    """Return the mapping whose file patterns each match exactly one file of a folder.

    Where several fit, the one with the most patterns wins, then the first by name; None where
    none fits.
    """
    fitting = [
        (-len(patterns), name)
        for name in mapping_names()
        if (patterns := _patterns(name))
        and all(_matches(folder, pattern) == 1 for pattern in patterns)
    ]
    return min(fitting)[1] if fitting else None


@cache
def _patterns(name: str) -> tuple[str, ...]:
    """Return the patterns of a mapping, unvalidated: telling a folder has to be quick."""
    return tuple(read_fields(_FOLDER / f"{name}.yaml").get("recognised_by", ()))


def _matches(folder: Path, pattern: str) -> int:
    return sum(path.is_file() for path in folder.glob(pattern))
