"""Labelled documents to a trained extractor in its folder: the one entry point of training.

Labels may come from people, from a graph (silver.py) or from another engine (gold.gold_of).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graph_etl.errors import DataError
from graph_etl.extraction.bert.artifact import save_model
from graph_etl.extraction.bert.config import ModelSettings, TrainConfig
from graph_etl.extraction.bert.encoder import Pieces, pretrained
from graph_etl.extraction.bert.fitting import Fit, Progress, fit
from graph_etl.extraction.bert.labels import Labels
from graph_etl.extraction.bert.model import JointModel
from graph_etl.extraction.bert.reading import Reader
from graph_etl.extraction.bert.teachers import teachers_of
from graph_etl.extraction.bert.training_data import TrainingWindows, settings_for
from graph_etl.extraction.gold import GoldDocument, schema_of_gold
from graph_etl.graph_schema import GraphSchema

_DEV_SHARE = 0.1


def train_extractor(
    train: Sequence[GoldDocument],
    dev: Sequence[GoldDocument],
    config: TrainConfig,
    out: Path,
    *,
    schema: GraphSchema | None = None,
    progress: Progress = lambda _: None,
) -> Path:
    """Train an extractor and return its folder.

    The fit on ``train`` chooses epoch and threshold on ``dev``. With ``final_fit`` a second one
    on both keeps them. A training that was killed goes on from its last whole epoch when it is
    started again with the same labels, settings and folder; its checkpoints lie beside ``out``
    until it ends.

    Args:
        train: Labelled documents, at least one mention among them.
        dev: Others; empty: a tenth of ``train`` is set apart, drawn by the seed.
        config: How to train.
        out: Folder to write; what it held is replaced at the end.
        schema: Types and patterns to find; None: those that the labels show.
        progress: Told in words how far it is.

    Raises:
        DataError: There is nothing to learn from, or a label is none of the schema's.
        ConfigError: There is no such encoder.
        ExtractionError: Training diverged.
    """
    begun = time.monotonic()
    if not dev:
        train, dev = _carved(train, config.seed)
    labels = Labels(schema or schema_of_gold([*train, *dev]))
    for one in (*train, *dev):
        labels.check(one)
    if not any(one.mentions for one in train):
        raise DataError("Expected training documents with mentions, got none; label some")
    encoder = config.encoder or _default_encoder()
    settings = settings_for(train, config.model)
    work = out.with_name(f".{out.name}.{_identity(train, dev, labels, config)[:16]}.training")
    work.mkdir(parents=True, exist_ok=True)
    threshold, epochs, fits = config.threshold, config.epochs, {}
    if threshold is None or not config.final_fit:
        reader, fits["train"] = _fitted(
            train, dev, encoder, labels, settings, config, work / "train", progress
        )
        threshold = threshold or fits["train"].best.threshold
        epochs = fits["train"].best.number
        progress(f"threshold {threshold:.2f}, epoch {epochs}")
    if config.final_fit:
        reader, fits["train+dev"] = _fitted(
            [*train, *dev], [], encoder, labels, settings, config, work / "all", progress, epochs
        )
    training = {
        "config": config.model_dump()
        | {"encoder": _name_of(encoder), "teachers": [_name_of(one) for one in config.teachers]},
        "labels_sha256": _identity(train, dev, labels, None),
        "documents": {"train": len(train), "dev": len(dev)},
        "fits": {name: asdict(one) for name, one in fits.items()},
        "seconds": round(time.monotonic() - begun, 1),
    }
    save_model(out, reader, threshold, _name_of(encoder), training)
    shutil.rmtree(work)
    return out


def _fitted(
    train: Sequence[GoldDocument],
    dev: Sequence[GoldDocument],
    encoder: str,
    labels: Labels,
    settings: ModelSettings,
    config: TrainConfig,
    work: Path,
    progress: Progress,
    stop_after: int | None = None,
) -> tuple[Reader, Fit]:
    with torch.random.fork_rng(enabled=True):
        torch.manual_seed(config.seed)
        tokenizer, bert = pretrained(encoder)
        pieces = Pieces(tokenizer)
        if settings.forms_at_input is None:
            uncased = pieces.of("Paris") == pieces.of("paris")
            settings = settings.model_copy(update={"forms_at_input": uncased})
        model = JointModel(bert, len(labels.entity_types), len(labels.relations), settings)
    reader = Reader(model, pieces, labels)
    windows = TrainingWindows(train, pieces, labels, settings, config)
    progress(f"{len(train)} documents, {len(windows.windows)} windows, {len(dev)} for dev")
    teachers = teachers_of(config.teachers, reader)
    checkpoint = work.with_suffix(".ckpt")
    found = fit(reader, windows, dev, config, checkpoint, progress, stop_after, teachers)
    return reader, found


def _carved(
    train: Sequence[GoldDocument], seed: int
) -> tuple[list[GoldDocument], list[GoldDocument]]:
    if len(train) < 2:
        raise DataError(f"Expected at least 2 training documents without dev, got {len(train)}")
    order = np.random.default_rng(seed).permutation(len(train)).tolist()
    count = max(1, round(len(train) * _DEV_SHARE))
    chosen = set(order[:count])
    return (
        [one for place, one in enumerate(train) if place not in chosen],
        [one for place, one in enumerate(train) if place in chosen],
    )


def _default_encoder() -> str:
    from graph_etl.fetch import fetch

    return str(fetch("minilm"))


def _name_of(encoder: str) -> str:
    """Return a folder's last part, or the hub name; a machine's paths are nobody's business."""
    return Path(encoder).name if Path(encoder).is_dir() else encoder


def _identity(
    train: Sequence[GoldDocument],
    dev: Sequence[GoldDocument],
    labels: Labels,
    config: TrainConfig | None,
) -> str:
    """Return a digest of labels, schema and settings."""
    digest = hashlib.sha256()
    described: list[Any] = [labels.schema.model_dump(), config.model_dump() if config else None]
    described += [[_plain(one) for one in part] for part in (train, dev)]
    digest.update(json.dumps(described, sort_keys=True, ensure_ascii=True).encode())
    return digest.hexdigest()


def _plain(gold: GoldDocument) -> list[Any]:
    unsure = sorted(map(repr, gold.unsure))
    plain = [asdict(gold.document), gold.unknown, unsure]
    return [*plain, *map(repr, gold.mentions), *map(repr, gold.relations)]
