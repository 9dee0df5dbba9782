"""Engines named in words, "gazetteer", "bert=FOLDER", "llm=MODEL", as their settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from graph_etl.errors import ConfigError
from graph_etl.extraction.config import Engine

ENGINES = ("gazetteer", "bert", "llm")
_WITH_MODEL = ("bert", "llm")


def engine_configs(
    names: Sequence[str], models: Sequence[str] = (), settings: Path | None = None
) -> list[list[Engine]]:
    """Return for each named engine its settings, once for each of its models.

    Args:
        names: "gazetteer", "bert=FOLDER", "llm=MODEL", or "bert" and "llm" alone, which take
            ``models``.
        models: Folders or names of models of the engines that are named without one.
        settings: YAML with fields of the engines as dataset.yaml has them, below the names of the
            engines; or the fields of llm alone.

    Raises:
        ConfigError: There is no such engine, a model is missing, or the YAML is wrong.
    """
    written = _settings(settings)
    found = []
    for said in names:
        name, _, own = said.partition("=")
        if name not in ENGINES:
            raise ConfigError(f"Expected an engine among {', '.join(ENGINES)}, got '{name}'")
        asked = [own] if own else list(models) if name in _WITH_MODEL else [""]
        if not asked:
            raise ConfigError(f"Expected --model for the engine '{name}', got none")
        fields = [{"engine": name, **({"model": model} if model else {})} for model in asked]
        found.append([_engine({**written.get(name, {}), **one}, settings) for one in fields])
    return found


def _settings(path: Path | None) -> Mapping[str, Mapping[str, Any]]:
    try:
        written = (yaml.safe_load(path.read_bytes()) if path else None) or {}
        by_engine = written if set(written) <= set(ENGINES) else {"llm": written}
        return {name: dict(fields) for name, fields in by_engine.items()}
    except (OSError, yaml.YAMLError, TypeError, ValueError) as error:
        raise ConfigError(f"Expected settings of engines in {path}, got: {error}") from error


def _engine(fields: Mapping[str, Any], path: Path | None) -> Engine:
    try:
        made: Engine = TypeAdapter(Engine).validate_python(dict(fields))
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, part['loc'][1:]))}: {part['msg']}" for part in error.errors()
        )
        raise ConfigError(
            f"Expected settings of the engine {fields['engine']} in {path or 'the options'}, got: "
            f"{wrong}; every field: docs/reference/dataset-yaml.md"
        ) from error
    return made
