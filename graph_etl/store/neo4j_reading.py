"""A whole graph out of Neo4j as frames, page by page in columns.

One answer carries a page's columns as lists: a driver spends most of its time on single records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from graph_etl.errors import StoreError
from graph_etl.store import cypher_queries, neo4j_queries
from graph_etl.store.change_statements import PATTERN_COLUMNS
from graph_etl.store.changes import ENTITY_ROWS, RELATION_TYPE_ROWS, TRIPLE_ROWS, GraphRows
from graph_etl.store.cypher_queries import Statement
from graph_etl.store.records import QueryResult

Read = Callable[[Statement], QueryResult]
NODE_IDS = {"entity_id": pl.String(), "node_id": pl.Int64()}


@dataclass(frozen=True)
class StoreRecord:
    """What the store's record says; the defaults are those of a store without one.

    Attributes:
        digest: Digest of the frames that the graph equals; None where it equals none.
        duplicates: Triples of those frames that were left out as doubles.
        writes: How many writes changed the graph.
        loading: Whether a load in several transactions has not ended.
        same_size: Whether the server counts as many nodes and relationships as after that write.
    """

    digest: str | None = None
    duplicates: int = 0
    writes: int = 0
    loading: bool = False
    same_size: bool = False


def read_record(read: Read) -> StoreRecord:
    """Return the store's record.

    Raises:
        StoreError: A newer version of the schema wrote it.
    """
    rows = read(neo4j_queries.record()).rows
    if not rows:
        return StoreRecord()
    values = dict(rows[0])
    version = values.pop("schema_version") or 0
    if version > neo4j_queries.SCHEMA_VERSION:
        raise StoreError(
            f"Expected a graph of schema version {neo4j_queries.SCHEMA_VERSION} or older in the "
            f"store, got {version}; update kgrec, which is older than what wrote it"
        )
    return StoreRecord(**values)


def read_graph(read: Read) -> tuple[GraphRows, pl.DataFrame]:
    """Return the graph and the server's node ids, columns NODE_IDS.

    Relationships of patterns that the graph does not declare are none of ours and left out.

    Args:
        read: Runs one statement that reads.

    Raises:
        StoreError: Another client changed the entities meanwhile.
    """
    patterns = pl.DataFrame(
        list(read(cypher_queries.all_relation_types()).rows), schema=RELATION_TYPE_ROWS
    )
    entities = [pl.DataFrame(schema={**ENTITY_ROWS, **NODE_IDS})]
    triples = [pl.DataFrame(schema=_READ_TRIPLES)]
    after = ""
    count = read(neo4j_queries.num_entities()).rows[0]["count"]
    while count and (page := _entities(read, after)):
        entities.append(pl.DataFrame(page, schema=entities[0].schema))
        triples += _relationships(read, page["node_id"])
        after = page["entity_id"][-1]
    nodes = pl.concat(entities)
    if nodes["entity_id"].n_unique() != count:
        raise StoreError(
            f"Expected to read {count} entities, got {nodes['entity_id'].n_unique()}; another "
            "client changed them meanwhile: read again"
        )
    rows = GraphRows(
        nodes.select(*ENTITY_ROWS), patterns, _typed(pl.concat(triples), nodes, patterns)
    )
    return rows, nodes.select(*NODE_IDS)


_READ_TRIPLES = {k: v for k, v in TRIPLE_ROWS.items() if k not in ("head_type", "tail_type")}


def _entities(read: Read, after: str) -> dict[str, list[Any]]:
    page = read(neo4j_queries.entities_page(after)).rows[0]
    return page if page["entity_id"] else {}


def _relationships(read: Read, head_nodes: list[int]) -> list[pl.DataFrame]:
    frames = []
    for row in read(neo4j_queries.relationships_of(head_nodes)).rows:
        columns = {name: row[name] for name in _READ_TRIPLES}
        for name in ("doc_id", "confidence"):
            if row[f"no_{name}"]:
                columns[name] = None
        frames.append(pl.DataFrame(columns, schema=_READ_TRIPLES))
    return frames


def _typed(triples: pl.DataFrame, nodes: pl.DataFrame, patterns: pl.DataFrame) -> pl.DataFrame:
    types = nodes.select("entity_id", "entity_type")
    return (
        triples.join(
            types.rename({"entity_id": "head_id", "entity_type": "head_type"}), on="head_id"
        )
        .join(types.rename({"entity_id": "tail_id", "entity_type": "tail_type"}), on="tail_id")
        .join(patterns.select(PATTERN_COLUMNS), on=PATTERN_COLUMNS, how="semi")
        .select(*TRIPLE_ROWS)
    )
