"""The tables of an artifact: the train-time catalogue, users, histories and graph, to and fro.

Holds their columns and conversions; files and checksums are for store.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from graph_etl.snapshot import LISTED, VECTOR
from kgrec.data.dataset import Items, Users, listed_items, vectors_of_items
from kgrec.data.given_vectors import vector_column
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.interactions import Interactions
from kgrec.data.strings import StringColumn, Strings
from kgrec.models.scorer import TrainingData

NAMES = (
    "items",
    "users",
    "histories",
    "graph/entities",
    "graph/relation_types",
    "graph/triples",
)


def tables_of(train: TrainingData) -> dict[str, pl.DataFrame]:
    """Return the tables that serving needs, by name, from what the model was trained on."""
    items, users, graph = train.dataset.items, train.dataset.users, train.graph
    events = train.interactions
    return {
        "items": pl.DataFrame(
            {
                "item_id": _text(items.ids),
                "entity_idx": graph.item_entity,
                "title": _text(items.titles),
                "text": _text(items.texts),
                **{f"numeric.{name}": column for name, column in items.numeric.items()},
                **({} if items.listed is None else {LISTED: items.listed}),
                **({} if items.vectors is None else {VECTOR: vector_column(items.vectors)}),
            }
        ),
        "users": pl.DataFrame(
            {
                "user_id": _text(users.ids),
                "profile_text": _text(users.profile_texts),
                **{f"attribute.{name}": _text(col) for name, col in users.attributes.items()},
                **{f"numeric.{name}": column for name, column in users.numeric.items()},
            }
        ),
        "histories": pl.DataFrame(
            {
                "user_idx": events.user_idx,
                "item_idx": events.item_idx,
                "value": events.value,
                "timestamp": events.timestamp,
                "positive": events.positive,
                **({} if events.kind is None else {"kind": events.kind}),
            }
        ),
        "graph/entities": pl.DataFrame(
            {
                "entity_id": _text(graph.entity_ids),
                "entity_type": _text(graph.entity_types),
                "name": _text(graph.entity_names),
            }
        ),
        "graph/relation_types": pl.DataFrame(
            {"relation": list(graph.relations), "phrase": list(graph.phrases)},
            schema={"relation": pl.String(), "phrase": pl.String()},
        ),
        "graph/triples": pl.DataFrame(
            {"head_idx": graph.head, "relation_idx": graph.relation, "tail_idx": graph.tail}
        ).cast(pl.Int64),
    }


def items_from(tables: Mapping[str, pl.DataFrame]) -> Items:
    """Return the catalogue."""
    table = tables["items"]
    return Items(
        ids=StringColumn.of(table["item_id"]),
        titles=StringColumn.of(table["title"]),
        texts=StringColumn.of(table["text"]),
        numeric=_numeric(table),
        listed=listed_items(table),
        vectors=vectors_of_items(table),
    )


def users_from(tables: Mapping[str, pl.DataFrame]) -> Users:
    """Return the users."""
    table = tables["users"]
    attributes = [name for name in table.columns if name.startswith("attribute.")]
    return Users(
        ids=StringColumn.of(table["user_id"]),
        profile_texts=StringColumn.of(table["profile_text"]),
        attributes={
            name.removeprefix("attribute."): StringColumn.of(table[name]) for name in attributes
        },
        numeric=_numeric(table),
    )


def interactions_from(tables: Mapping[str, pl.DataFrame]) -> Interactions:
    """Return the train events in the order in which they were saved: by user and time."""
    table = tables["histories"]
    return Interactions(
        user_idx=table["user_idx"].to_numpy(),
        item_idx=table["item_idx"].to_numpy(),
        value=table["value"].to_numpy(),
        timestamp=table["timestamp"].to_numpy(),
        positive=table["positive"].to_numpy(),
        kind=table["kind"].to_numpy() if "kind" in table.columns else None,
    )


def graph_from(tables: Mapping[str, pl.DataFrame]) -> KnowledgeGraph:
    """Return the train-time graph; triples are most of it, and held as narrow as they can be."""
    entities, triples = tables["graph/entities"], tables["graph/triples"]
    relation_types = tables["graph/relation_types"]
    node = pl.Int32 if entities.height <= np.iinfo(np.int32).max else pl.Int64
    kind = pl.Int16 if relation_types.height <= np.iinfo(np.int16).max else pl.Int64
    return KnowledgeGraph(
        entity_ids=StringColumn.of(entities["entity_id"]),
        entity_types=StringColumn.of(entities["entity_type"]),
        entity_names=StringColumn.of(entities["name"]),
        relations=tuple(relation_types["relation"].to_list()),
        phrases=tuple(relation_types["phrase"].to_list()),
        head=triples["head_idx"].cast(node).to_numpy(),
        relation=triples["relation_idx"].cast(kind).to_numpy(),
        tail=triples["tail_idx"].cast(node).to_numpy(),
        item_entity=tables["items"]["entity_idx"].to_numpy(),
    )


def _text(column: Strings) -> pl.Series:
    return pl.Series(column.tolist(), dtype=pl.String())


def _numeric(table: pl.DataFrame) -> dict[str, npt.NDArray[np.float32]]:
    columns = [name for name in table.columns if name.startswith("numeric.")]
    return {name.removeprefix("numeric."): table[name].to_numpy() for name in columns}
