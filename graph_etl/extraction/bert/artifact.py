"""The folder of a trained extractor: safetensors and JSON, each file with its checksum.

    manifest.json        format version, sha256 and bytes of each file
    model.json           schema, settings, threshold, the encoder's configuration
    model.safetensors    all weights
    tokenizer/           the encoder's tokenizer
    training.json        how it was trained

Written beside and renamed, so that a reader sees a whole folder or none. No pickle.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from graph_etl.errors import ExtractionError
from graph_etl.extraction.bert.config import ModelSettings
from graph_etl.extraction.bert.encoder import Pieces, from_config, tokenizer_of
from graph_etl.extraction.bert.labels import Labels
from graph_etl.extraction.bert.model import JointModel
from graph_etl.extraction.bert.reading import Reader
from graph_etl.graph_schema import GraphSchema
from graph_etl.snapshot import sha256_of

FORMAT_VERSION = 1
_MANIFEST, _MODEL, _WEIGHTS, _TRAINING, _TOKENIZER = (
    "manifest.json", "model.json", "model.safetensors", "training.json", "tokenizer",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A trained extractor out of its folder.

    Attributes:
        reader: Model, tokenizer and schema, on the CPU, ready to read.
        threshold: Least score of a relation.
        encoder: Name of the encoder that it was made from.
        weights_sha256: Checksum of the weights.
        training: How it was trained.
    """

    reader: Reader
    threshold: float
    encoder: str
    weights_sha256: str
    training: Mapping[str, Any]


def save_model(
    folder: Path, reader: Reader, threshold: float, encoder: str, training: Mapping[str, Any]
) -> Path:
    """Write a trained extractor into ``folder``, in place of what was there, and return it."""
    staging = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    model = reader.model
    described = {
        "encoder": encoder,
        "threshold": threshold,
        "settings": model.settings.model_dump(),
        "schema": reader.labels.schema.model_dump(),
        "encoder_config": _encoder_config(model.encoder.config),
    }
    weights = {name: value.detach().cpu().contiguous() for name, value in _weights(model)}
    save_file(weights, staging / _WEIGHTS)
    _write(staging / _MODEL, described)
    _write(staging / _TRAINING, training)
    reader.pieces.tokenizer.save_pretrained(staging / _TOKENIZER)
    files = sorted(path for path in staging.rglob("*") if path.is_file())
    listed = {
        path.relative_to(staging).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": sha256_of(path),
        }
        for path in files
    }
    _write(staging / _MANIFEST, {"format_version": FORMAT_VERSION, "files": listed})
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.rename(old)
    staging.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def load_model(folder: Path) -> SavedModel:
    """Read a trained extractor and check every file against its checksum.

    Raises:
        ExtractionError: The folder holds none, a file of it is missing or damaged, or it is of
            another format version; the message names the file.
    """
    manifest = _read(folder / _MANIFEST)
    if manifest.get("format_version") != FORMAT_VERSION:
        raise ExtractionError(
            f"Expected format version {FORMAT_VERSION} of an extractor in {folder / _MANIFEST}, "
            f"got {manifest.get('format_version')!r}; train it again with this version"
        )
    for name, entry in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise ExtractionError(f"Expected the file {path} of an extractor, found none; {_AGAIN}")
        if path.stat().st_size != entry["bytes"] or sha256_of(path) != entry["sha256"]:
            raise ExtractionError(
                f"Expected {path} with {entry['bytes']:,} bytes and sha256 {entry['sha256']}, got "
                f"{path.stat().st_size:,} bytes and another: it is truncated or altered; {_AGAIN}"
            )
    described = _read(folder / _MODEL)
    try:
        settings = ModelSettings.model_validate(described["settings"])
        labels = Labels(GraphSchema.model_validate(described["schema"]))
        encoder = from_config(described["encoder_config"])
        model = JointModel(encoder, len(labels.entity_types), len(labels.relations), settings)
        model.load_state_dict(load_file(folder / _WEIGHTS))
        pieces = Pieces(tokenizer_of(folder / _TOKENIZER))
        threshold, name = float(described["threshold"]), str(described["encoder"])
    except (KeyError, ValueError, RuntimeError, ValidationError, SafetensorError, OSError) as error:
        raise ExtractionError(
            f"Expected a trained extractor in {folder}, got: {error}; {_AGAIN}"
        ) from error
    return SavedModel(
        Reader(model.eval(), pieces, labels),
        threshold,
        name,
        manifest["files"][_WEIGHTS]["sha256"],
        _read(folder / _TRAINING),
    )


_AGAIN = "copy the folder again or train anew with 'graph-etl extract train'"


def _weights(model: JointModel) -> Any:
    return model.state_dict().items()


def _encoder_config(config: Any) -> dict[str, Any]:
    """Return the encoder's configuration without names and paths of where it came from."""
    found: dict[str, Any] = json.loads(config.to_json_string(use_diff=True))
    for name in ("_name_or_path", "transformers_version", "architectures"):
        found.pop(name, None)
    return found


def _write(path: Path, record: Mapping[str, Any]) -> None:
    text = json.dumps(record, indent=1, ensure_ascii=True, default=str) + "\n"
    path.write_text(text, encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExtractionError(
            f"Expected JSON of a trained extractor in {path}, got: {error}; {_AGAIN}"
        ) from error
    if not isinstance(record, dict):
        raise ExtractionError(f"Expected a JSON object in {path}, got a {type(record).__name__}")
    return record
