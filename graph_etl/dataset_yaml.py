"""Reading dataset.yaml: inheritance by ``extends``, paths beside the file, and clear errors.

What the fields mean is said in dataset_config.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from graph_etl.dataset_config import DatasetConfig
from graph_etl.errors import ConfigError
from graph_etl.graph_schema import load_graph_schema
from graph_etl.table_config import SHIPPED

_LINK_FILES = ("reviewed", "words")


class _Loader(yaml.SafeLoader):
    """Reads yes, no, on and off as words, as they stand in tables; true and false are booleans."""


_Loader.yaml_implicit_resolvers = {
    first: [rule for rule in rules if rule[0] != "tag:yaml.org,2002:bool"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))
_MAPPINGS = Path(__file__).parent / "mappings"


def dataset_config_from(content: Mapping[str, Any], where: str) -> DatasetConfig:
    """Return the validated config; errors name ``where`` and every wrong field.

    Raises:
        ConfigError: A field is unknown, missing or of the wrong kind.
    """
    try:
        return DatasetConfig.model_validate(content)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, part['loc'])) or 'the file'}: {part['msg']}"
            for part in error.errors()
        )
        raise ConfigError(
            f"Expected a dataset configuration in {where}, got {error.error_count()} wrong "
            f"fields: {wrong}; every field: docs/reference/dataset-yaml.md"
        ) from error


def load_dataset_config(path: Path) -> DatasetConfig:
    """Read dataset.yaml, what it extends, and the graph_schema.yaml it may name.

    Raises:
        ConfigError: A file is absent, no YAML, or has wrong fields.
    """
    config = dataset_config_from(read_fields(path), where=str(path))
    if isinstance(config.graph_schema, str):
        schema = load_graph_schema(path.parent / config.graph_schema)
        config = config.model_copy(update={"graph_schema": schema})
    return config


def read_fields(path: Path) -> dict[str, Any]:
    """Return the fields of a YAML file, laid over those of the mapping or file it extends."""
    if not path.is_file():
        raise ConfigError(f"Expected a dataset configuration at {path}, found no file")
    try:
        content = yaml.load(path.read_bytes(), _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"Expected YAML in {path}, got: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"Expected fields such as 'name' and 'interactions' in {path}, got none")
    for fact in content.get("facts") or []:
        link = fact.get("link", {}) if isinstance(fact, dict) else {}
        link.update({key: str(path.parent / link[key]) for key in _LINK_FILES if link.get(key)})
    resolution = content.get("resolution")
    if isinstance(resolution, dict) and resolution.get("reviewed"):
        resolution["reviewed"] = str(path.parent / resolution["reviewed"])
    _anchor_extraction(content.get("extraction"), path.parent)
    base = content.pop("extends", None)
    if base is None:
        return content
    file = path.parent / str(base)
    return _over(read_fields(file if file.is_file() else _MAPPINGS / f"{base}.yaml"), content)


def _anchor_extraction(section: Any, folder: Path) -> None:
    """Make the paths of the section ``extraction`` absolute; shipped corpora stay as they are."""
    if not isinstance(section, dict):
        return
    engines = [one for one in section.get("engines") or [] if isinstance(one, dict)]
    paths = [(section, "schema"), (section, "gold"), *((one, "model") for one in engines)]
    for part, key in paths:
        named = part.get(key)
        is_path = key != "model" or part.get("engine") == "bert"
        if is_path and isinstance(named, str) and not named.startswith(SHIPPED):
            part[key] = str(folder / named)


def _over(base: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the fields of ``content`` over it; inner mappings are merged too."""
    merged = dict(base)
    for key, value in content.items():
        below = merged.get(key)
        if key == "table" and isinstance(below, str) and isinstance(value, dict):
            below = {"path": below}
        inner = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = _over(below or {}, value) if inner else value
    return merged
