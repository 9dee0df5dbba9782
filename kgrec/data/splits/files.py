"""A split as files: events with their roles in Parquet, and a JSON beside it with checksums."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl

from graph_etl.snapshot import sha256_of, write_synced
from kgrec.data.dataset import Dataset
from kgrec.data.interactions import Interactions
from kgrec.data.splits.config import SplitConfig
from kgrec.data.splits.cuts import Role, ordered
from kgrec.data.splits.split import Split, split_from_roles
from kgrec.errors import DataError

SCHEMA_VERSION = 1
EVENTS = "events.parquet"
META = "split.json"


def write_split(split: Split, folder: Path) -> None:
    """Write seed, cuts and ids of a split into ``folder`` (made if absent).

    The order of events within a user, ties included, is that of the rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    events = split._events
    pl.DataFrame(
        {
            "user_id": split.dataset.users.ids[events.user_idx].tolist(),
            "item_id": split.dataset.items.ids[events.item_idx].tolist(),
            "timestamp": events.timestamp,
            "role": [Role(role).name.lower() for role in split._roles],
        },
        schema_overrides={"user_id": pl.String, "item_id": pl.String, "role": pl.Categorical},
    ).write_parquet(folder / EVENTS, compression="zstd")
    meta = {
        "schema_version": SCHEMA_VERSION,
        "dataset": split.dataset.name,
        "snapshot_id": split.dataset.snapshot_id,
        "config": split.config.model_dump(),
        "details": dict(split.details),
        "checksum": split.checksum,
        "files": {EVENTS: sha256_of(folder / EVENTS)},
    }
    write_synced(folder / META, json.dumps(meta, indent=1, sort_keys=True).encode())


def read_split(folder: Path, dataset: Dataset) -> Split:
    """Return the split written by ``write_split``, with the events of ``dataset``.

    Raises:
        DataError: A file is absent or altered, or the split was made of other data.
    """
    remedy = "make the split again with make_split"
    for file in (folder / META, folder / EVENTS):
        if not file.is_file():
            raise DataError(f"Expected the file {file}, found none; {remedy}")
    try:
        meta = json.loads((folder / META).read_bytes())
        version, digest = meta["schema_version"], meta["files"][EVENTS]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"Expected a split's JSON in {folder / META}, got none; {remedy}"
        ) from error
    if version != SCHEMA_VERSION:
        raise DataError(
            f"Expected split schema version {SCHEMA_VERSION}, got {version} in {folder / META}; "
            f"{remedy}"
        )
    if sha256_of(folder / EVENTS) != digest:
        raise DataError(
            f"Expected {folder / EVENTS} to have sha256 {digest[:12]}…, got another: the file is "
            f"truncated or altered; {remedy}"
        )
    config = SplitConfig.model_validate(meta["config"])
    events = ordered(dataset.interactions, config.seed)
    table = pl.read_parquet(folder / EVENTS)
    if not _same_events(table, events, dataset):
        raise DataError(
            f"Expected the events of dataset '{dataset.name}' in {folder / EVENTS}, got those of "
            f"'{meta['dataset']}' ({meta['snapshot_id']}); {remedy}"
        )
    roles = np.array([Role[name.upper()] for name in table["role"].to_list()], dtype=np.int8)
    split = split_from_roles(config, dataset, events, roles, meta["details"])
    if split.checksum != meta["checksum"]:
        raise DataError(
            f"Expected checksum {meta['checksum'][:12]}… in {folder / META}, got "
            f"{split.checksum[:12]}… for dataset '{dataset.name}'; {remedy}"
        )
    return split


def _same_events(table: pl.DataFrame, events: Interactions, dataset: Dataset) -> bool:
    return (
        table.height == len(events)
        and table["user_id"].to_list() == dataset.users.ids[events.user_idx].tolist()
        and table["item_id"].to_list() == dataset.items.ids[events.item_idx].tolist()
        and bool((table["timestamp"].to_numpy() == events.timestamp).all())
    )
