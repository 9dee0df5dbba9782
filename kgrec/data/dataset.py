"""A snapshot as the arrays that models use: external ids at the edges, contiguous ints inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from graph_etl.snapshot import LISTED, VECTOR, Snapshot, load_snapshot
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.interactions import BoolArray, FloatArray, IntArray, Interactions, kind_codes
from kgrec.data.strings import StrArray, Strings


@dataclass(frozen=True)
class Items:
    """The catalogue, one row for each item_idx.

    Attributes:
        ids, titles, texts: num_items strings; texts are "" where there is none.
        numeric: Name -> shape (num_items,), float32, NaN where unknown. Known before any
            interaction: never counts or averages of what users did.
        listed: Shape (num_items,), bool: items that may be recommended; the others only tell of
            tastes. None: all may.
        vectors: Shape (num_items, D), float32, made elsewhere (of pictures, say), as they came;
            rows of zeros where an item has none. None: the data set brings none.
    """

    ids: Strings
    titles: Strings
    texts: Strings
    numeric: Mapping[str, npt.NDArray[np.float32]]
    listed: BoolArray | None = None
    vectors: FloatArray | None = None


@dataclass(frozen=True)
class Users:
    """The users, one row for each user_idx.

    Attributes:
        ids, profile_texts: num_users strings; "" where no profile is known.
        attributes: Name -> num_users strings, "" where unknown.
        numeric: Name -> shape (num_users,), float32, NaN where unknown.
    """

    ids: Strings
    profile_texts: Strings
    attributes: Mapping[str, Strings]
    numeric: Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Dataset:
    """Everything that training may draw on: catalogue, users, graph and all interactions.

    Interactions here are undivided; models are given the part that a Split hands them.
    """

    name: str
    snapshot_id: str
    items: Items
    users: Users
    graph: KnowledgeGraph
    interactions: Interactions
    has_time: bool
    details: Mapping[str, Any]

    @property
    def num_items(self) -> int:
        """Number of items."""
        return len(self.items.ids)

    @property
    def num_users(self) -> int:
        """Number of users."""
        return len(self.users.ids)

    def without_texts(self) -> Dataset:
        """Return the dataset with the texts of items and users empty; titles stay, for people."""
        items, users = np.full(self.num_items, "", object), np.full(self.num_users, "", object)
        return replace(
            self,
            items=replace(self.items, texts=items),
            users=replace(self.users, profile_texts=users),
        )


def load_dataset(path: str | Path, seed: int = 0) -> Dataset:
    """Return the dataset of a snapshot folder or pointer; ``seed`` orders ties in time."""
    return dataset_from_snapshot(load_snapshot(path), seed)


def dataset_from_snapshot(snapshot: Snapshot, seed: int = 0) -> Dataset:
    """Return the dataset of a snapshot already in memory; ``seed`` orders ties in time."""
    interactions = snapshot.interactions
    timestamps = interactions["timestamp"]
    has_time = interactions.height > 0 and timestamps.null_count() == 0
    return Dataset(
        name=str(snapshot.manifest.get("dataset", {}).get("name", "dataset")),
        snapshot_id=snapshot.snapshot_id,
        items=Items(
            ids=_strings(snapshot.items["item_id"]),
            titles=_strings(snapshot.items["title"]),
            texts=_strings(snapshot.items["text"]),
            numeric=_numeric(snapshot.items),
            listed=listed_items(snapshot.items),
            vectors=vectors_of_items(snapshot.items),
        ),
        users=Users(
            ids=_strings(snapshot.users["user_id"]),
            profile_texts=_strings(snapshot.users["profile_text"]),
            attributes=_attributes(snapshot.users),
            numeric=_numeric(snapshot.users),
        ),
        graph=KnowledgeGraph(
            entity_ids=_strings(snapshot.entities["entity_id"]),
            entity_types=_strings(snapshot.entities["entity_type"]),
            entity_names=_strings(snapshot.entities["name"]),
            relations=tuple(snapshot.relation_types["relation"].to_list()),
            phrases=tuple(snapshot.relation_types["phrase"].to_list()),
            head=snapshot.triples["head_idx"].to_numpy().astype(np.int64),
            relation=snapshot.triples["relation_idx"].to_numpy().astype(np.int64),
            tail=snapshot.triples["tail_idx"].to_numpy().astype(np.int64),
            item_entity=snapshot.items["entity_idx"].to_numpy().astype(np.int64),
            extracted=(snapshot.triples["engine"] != "table").to_numpy().astype(np.bool_),
        ),
        interactions=Interactions(
            user_idx=interactions["user_idx"].to_numpy().astype(np.int64),
            item_idx=interactions["item_idx"].to_numpy().astype(np.int64),
            value=interactions["value"].fill_null(float("nan")).to_numpy().astype(np.float32),
            timestamp=timestamps.fill_null(0).to_numpy().astype(np.int64) * has_time,
            positive=interactions["positive"].to_numpy().astype(np.bool_),
            kind=_kinds(interactions["event"]),
        ).sorted(seed),
        has_time=has_time,
        details=dict(snapshot.manifest.get("dataset", {})),
    )


def listed_items(items: pl.DataFrame) -> BoolArray | None:
    """Return which items of a table may be recommended; None where all may."""
    if LISTED not in items.columns or items[LISTED].all():
        return None
    return items[LISTED].to_numpy().astype(np.bool_)


def vectors_of_items(items: pl.DataFrame) -> FloatArray | None:
    """Return the vectors of a table's items, zeros where one has none; None where none has."""
    if VECTOR not in items.columns:
        return None
    there = items[VECTOR].is_not_null().to_numpy()
    rows = items[VECTOR].drop_nulls().explode().to_numpy().reshape(int(there.sum()), -1)
    vectors = np.zeros((items.height, rows.shape[1]), dtype=np.float32)
    vectors[there] = rows
    return vectors


def _kinds(column: pl.Series) -> IntArray | None:
    names = column.fill_null("").unique()
    if len(names) < 2:
        return None
    table = pl.DataFrame({"name": names, "code": kind_codes(names.to_list())})
    joined = column.fill_null("").to_frame("name").join(table, on="name", maintain_order="left")
    return joined["code"].to_numpy()


def _strings(column: pl.Series) -> StrArray:
    return np.array(column.fill_null("").to_list(), dtype=object)


def _numeric(table: pl.DataFrame) -> dict[str, npt.NDArray[np.float32]]:
    columns = [name for name in table.columns if name.startswith("numeric.")]
    return {
        name.removeprefix("numeric."): table[name]
        .cast(pl.Float32)
        .fill_null(float("nan"))
        .to_numpy()
        .astype(np.float32)
        for name in columns
    }


def _attributes(table: pl.DataFrame) -> dict[str, StrArray]:
    columns = [name for name in table.columns if name.startswith("attribute.")]
    return {name.removeprefix("attribute."): _strings(table[name]) for name in columns}
