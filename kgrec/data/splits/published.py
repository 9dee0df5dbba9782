"""Splits that come with a data set: reads their labels, maps them to events, draws them anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from graph_etl.snapshot import Snapshot
from kgrec.data.dataset import Dataset
from kgrec.data.interactions import Interactions
from kgrec.data.splits.config import SplitConfig
from kgrec.data.splits.cuts import Role, RoleArray, user_window
from kgrec.errors import DataError

_ROLE_OF_PART = {"train": Role.TRAIN, "val": Role.VAL_TARGET, "test": Role.TEST_TARGET}


def read_published(
    files: Mapping[str, Path],
    *,
    user_column: str = "user_id",
    item_column: str = "item_id",
    separator: str = "\t",
) -> pl.DataFrame:
    """Return the labels of a published split from one table for each part.

    Args:
        files: "train", "test" and, if there is one, "val" -> a delimited text file with a header,
            or a Parquet file.
        user_column: Column of the external user id.
        item_column: Column of the external item id.
        separator: Between the columns of a text file.

    Returns:
        Columns user_id, item_id, part (String), as ``make_split`` takes them.

    Raises:
        DataError: A part is unknown, or a file or column is absent.
    """
    frames = []
    for part, path in files.items():
        if part not in _ROLE_OF_PART:
            raise DataError(f"Expected parts among {sorted(_ROLE_OF_PART)}, got '{part}'")
        if not path.is_file():
            raise DataError(f"Expected the {part} file {path}, found none; check its path")
        if path.suffix == ".parquet":
            table = pl.read_parquet(path)
        else:
            table = pl.read_csv(path, separator=separator, infer_schema=False)
        absent = {user_column, item_column} - set(table.columns)
        if absent:
            raise DataError(
                f"Expected columns {sorted(absent)} in {path}, got {table.columns}; name them by "
                "user_column and item_column"
            )
        frames.append(
            table.select(
                pl.col(user_column).cast(pl.String).alias("user_id"),
                pl.col(item_column).cast(pl.String).alias("item_id"),
                pl.lit(part).alias("part"),
            )
        )
    return pl.concat(frames)


def published_labels(snapshot: Snapshot) -> pl.DataFrame | None:
    """Return the parts that the tables of a snapshot came in, as ``make_split`` takes them.

    A mapping that lists ``interactions.splits`` keeps each row's part; "valid" and "validation"
    are called "val" here.

    Returns:
        Columns user_id, item_id, timestamp where every interaction has one, part; None where the
        interactions came undivided.
    """
    if "context.split" not in snapshot.interactions.columns:
        return None
    timed = [] if snapshot.interactions["timestamp"].null_count() else ["timestamp"]
    return snapshot.interactions.select(
        snapshot.users["user_id"].gather(snapshot.interactions["user_idx"]).alias("user_id"),
        snapshot.items["item_id"].gather(snapshot.interactions["item_idx"]).alias("item_id"),
        *timed,
        pl.col("context.split").replace({"valid": "val", "validation": "val"}).alias("part"),
    )


def published_roles(
    dataset: Dataset, events: Interactions, published: pl.DataFrame, config: SplitConfig
) -> tuple[RoleArray, dict[str, Any]]:
    """Return the role of each event by the published labels, and what was found on the way.

    Events without a label are left out of everything. Where no pair is labelled "val", each
    user's last ``val_fraction`` of train becomes validation. For the split "redrawn" the parts of
    each user are then dealt out anew by seed, so that every part keeps its size.

    Raises:
        DataError: A label is unknown, a labelled pair is not in the dataset, or a pair has two.
    """
    _check_labels(published)
    keys = ["user_id", "item_id"] + (["timestamp"] if "timestamp" in published.columns else [])
    labels = published.select(*keys, "part").unique()
    twice = labels.select(keys).is_duplicated()
    if twice.any():
        raise DataError(
            f"Expected one part for each of {keys} in the published split, got several for "
            f"{labels.filter(twice).row(0)} among {int(twice.sum())} rows; "
            "add a timestamp column, or repair the files"
        )
    own = pl.DataFrame(
        {
            "user_id": dataset.users.ids[events.user_idx].tolist(),
            "item_id": dataset.items.ids[events.item_idx].tolist(),
            "timestamp": events.timestamp,
        },
        schema_overrides={"user_id": pl.String, "item_id": pl.String},
    ).select(keys)
    unknown = labels.join(own, on=keys, how="anti")
    if unknown.height:
        raise DataError(
            f"Expected every labelled pair of the published split in dataset '{dataset.name}', got "
            f"{unknown.height} that are not, {unknown.row(0)} among them; build the dataset from "
            "all published files"
        )
    part = own.join(labels, on=keys, how="left", maintain_order="left")["part"]
    role_of = {name: int(role) for name, role in _ROLE_OF_PART.items()}
    roles = (
        part.replace_strict(role_of, default=int(Role.UNUSED), return_dtype=pl.Int8)
        .to_numpy()
        .astype(np.int8)
    )
    details: dict[str, Any] = {"validation": "published"}
    if not (roles == Role.VAL_TARGET).any():
        _carve_validation(events, roles, config)
        details["validation"] = f"last {config.val_fraction} of each user's train events"
    if config.name == "redrawn":
        listed = dataset.items.listed
        dealt = np.ones(len(events), dtype=np.bool_) if listed is None else listed[events.item_idx]
        roles[dealt] = _dealt_anew(events.take(dealt), roles[dealt], config.seed)
    return roles, details


def _check_labels(published: pl.DataFrame) -> None:
    absent = {"user_id", "item_id", "part"} - set(published.columns)
    if absent:
        raise DataError(
            f"Expected columns user_id, item_id, part in the published split, got "
            f"{published.columns}"
        )
    parts = set(published["part"].unique().to_list())
    if not {"train", "test"} <= parts <= set(_ROLE_OF_PART):
        raise DataError(
            "Expected parts 'train', 'test' and perhaps 'val' in the published split, got "
            f"{sorted(map(str, parts))}"
        )


def _carve_validation(events: Interactions, roles: RoleArray, config: SplitConfig) -> None:
    rows = np.flatnonzero(roles == Role.TRAIN)
    last = user_window(events.take(rows), 1 - float(config.val_fraction or 0), 1.0)
    roles[rows[last]] = Role.VAL_TARGET


def _dealt_anew(events: Interactions, roles: RoleArray, seed: int) -> RoleArray:
    """Return each user's roles in an order drawn by seed; events are sorted by user."""
    draw = np.random.default_rng([seed, 4]).random(len(roles))
    dealt: RoleArray = roles[np.lexsort((draw, events.user_idx))]
    return dealt
