"""A whole graph out of Neo4j as frames, page by page in columns.

One answer carries a page's columns as lists: a driver spends most of its time on single records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from graph_etl.errors import StoreError
from graph_etl.store import cypher_queries, neo4j_queries
from graph_etl.store.cypher_queries import Statement
from graph_etl.store.graph_rows import (
    ENTITY_ROWS,
    RELATION_TYPE_ROWS,
    TRIPLE_ROWS,
    GraphRows,
)
from graph_etl.store.neo4j_queries import SAID
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

    def holds(self, digest: str) -> bool:
        """Return whether the graph equals the frames of a digest, as far as the record knows."""
        return self.digest == digest and self.same_size and not self.loading


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
    triples = _Triples()
    after = ""
    count = read(neo4j_queries.num_entities()).rows[0]["count"]
    while count and (page := _entities(read, after)):
        entities.append(pl.DataFrame(page, schema=entities[0].schema))
        for row in read(neo4j_queries.relationships_of(page["node_id"])).rows:
            triples.add(row)
        after = page["entity_id"][-1]
    nodes = pl.concat(entities)
    if nodes["entity_id"].n_unique() != count:
        raise StoreError(
            f"Expected to read {count} entities, got {nodes['entity_id'].n_unique()}; another "
            "client changed them meanwhile: read again"
        )
    rows = GraphRows(nodes.select(*ENTITY_ROWS), patterns, triples.placed(nodes, patterns))
    return rows, nodes.select(*NODE_IDS)


def read_node_ids(read: Read, entity_ids: pl.Series) -> pl.DataFrame:
    """Return the server's node ids of those of the entities that it has, columns NODE_IDS."""
    pages = (
        read(neo4j_queries.node_ids_of(part["entity_id"].to_list())).rows[0]
        for part in entity_ids.to_frame("entity_id").iter_slices(neo4j_queries.PAGE_ENTITIES)
    )
    return pl.concat(pl.DataFrame(page, schema=NODE_IDS) for page in [_NOTHING, *pages])


_NOTHING: dict[str, list[Any]] = {name: [] for name in NODE_IDS}


def _entities(read: Read, after: str) -> dict[str, list[Any]]:
    page = read(neo4j_queries.entities_page(after)).rows[0]
    return page if page["entity_id"] else {}


class _Triples:
    """Relationships as they are read; what repeats is held as a number until the end."""

    def __init__(self) -> None:
        self._pages = [pl.DataFrame(schema=_PAGE)]
        self._relations: dict[str, int] = {}
        self._said: dict[tuple[str | None, ...], int] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Add the relationships that one row of ``relationships_of`` tells of."""
        columns = {name: row[name] for name in ("head_node", "tail_node", "doc_id", "confidence")}
        for name in ("doc_id", "confidence"):
            if row[f"no_{name}"]:
                columns[name] = None
        said = tuple(row[name] for name in SAID)
        columns["said"] = self._said.setdefault(said, len(self._said))
        columns["relation"] = self._relations.setdefault(row["relation"], len(self._relations))
        self._pages.append(pl.DataFrame(columns, schema=_PAGE))

    def placed(self, nodes: pl.DataFrame, patterns: pl.DataFrame) -> pl.DataFrame:
        """Return the declared ones, columns TRIPLE_ROWS, by row numbers of nodes and patterns."""
        frame = pl.concat(self._pages)
        self._pages.clear()
        kinds = {name: i for i, name in enumerate(nodes["entity_type"].unique())}
        place = nodes.select(
            "node_id", idx=pl.int_range(pl.len()), kind=_numbered("entity_type", kinds)
        )
        for end in ("head", "tail"):
            ends = place.rename({"node_id": f"{end}_node", "idx": f"{end}_idx", "kind": end})
            frame = frame.join(ends, on=f"{end}_node").drop(f"{end}_node")
        declared = patterns.select(
            relation=_numbered("relation", self._relations),
            head=_numbered("head_type", kinds),
            tail=_numbered("tail_type", kinds),
            relation_idx=pl.int_range(pl.len(), dtype=pl.Int32),
        )
        frame = frame.join(declared, on=["relation", "head", "tail"])
        table = pl.DataFrame(list(self._said), schema=dict.fromkeys(SAID, pl.String), orient="row")
        said = (table[name].gather(frame["said"]) for name in SAID)
        return frame.with_columns(said).select(*TRIPLE_ROWS)


def _numbered(column: str, numbers: Mapping[str, int]) -> pl.Expr:
    return pl.col(column).replace_strict(numbers, default=None, return_dtype=pl.Int32)


_PAGE = {
    "head_node": pl.Int64(),
    "tail_node": pl.Int64(),
    "doc_id": TRIPLE_ROWS["doc_id"],
    "confidence": TRIPLE_ROWS["confidence"],
    "said": pl.Int32(),
    "relation": pl.Int32(),
}
