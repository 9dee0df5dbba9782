"""What the store on Neo4j is measured against: plain loaders, plain streaming, neo4j-graphrag."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import neo4j
import polars as pl

from graph_etl.store import GraphTables
from graph_etl.store.graph_rows import PATTERN, rows_of

BATCH_ROWS = 10_000
PROVENANCE = ("source", "doc_id", "engine", "confidence", "run_id")


def load_plainly(session: neo4j.Session, tables: GraphTables, verb: str) -> None:
    """The loader that a careful person writes: one session, UNWIND batches of maps."""
    rows = rows_of(tables.entities, tables.relation_types, tables.triples)

    def run(query: str, frame: pl.DataFrame) -> None:
        for part in frame.iter_slices(BATCH_ROWS):
            session.execute_write(_consumed, query, part.to_dicts())

    for (label,), frame in rows.entities.partition_by("entity_type", as_dict=True).items():
        session.run(
            f"CREATE CONSTRAINT IF NOT EXISTS FOR (n:`{label}`) REQUIRE n.entity_id IS UNIQUE"
        ).consume()
        query = f"UNWIND $rows AS row {verb} (n:`{label}` {{entity_id: row.entity_id}}) "
        run(f"{query}SET n.name = row.name", frame)
    values = ", ".join(f"r.{name} = row.{name}" for name in PROVENANCE)
    triples = rows.named(rows.triples)
    for (head, relation, tail), frame in triples.partition_by(PATTERN, as_dict=True).items():
        run(
            f"UNWIND $rows AS row MATCH (h:`{head}` {{entity_id: row.head_id}}) "
            f"MATCH (t:`{tail}` {{entity_id: row.tail_id}}) "
            f"{verb} (h)-[r:`{relation}`]->(t) SET {values}",
            frame.drop(PATTERN),
        )


def stream(session: neo4j.Session, tables: GraphTables, limit: int) -> None:
    """Raw streaming by the driver of the columns of an export, record by record, into frames."""
    values = ", ".join(f"r.{name} AS {name}" for name in PROVENANCE)
    for kind in tables.entities["entity_type"].unique().sort():
        query = f"MATCH (n:`{kind}`) RETURN n.entity_id AS entity_id, n.name AS name LIMIT {limit}"
        pl.DataFrame(session.run(query).values(), orient="row", infer_schema_length=None)
    for head, relation, tail in tables.relation_types.select(PATTERN).iter_rows():
        query = (
            f"MATCH (h:`{head}`)-[r:`{relation}`]->(t:`{tail}`) "
            f"RETURN h.entity_id AS head_id, t.entity_id AS tail_id, {values} LIMIT {limit}"
        )
        pl.DataFrame(session.run(query).values(), orient="row", infer_schema_length=None)


def graphrag_load(
    driver: neo4j.Driver, database: str, tables: GraphTables
) -> Callable[[], None] | None:
    """The same triples as neo4j-graphrag's writer loads them; None where it is not installed."""
    try:
        from neo4j_graphrag.components.kg_writer import Neo4jWriter
        from neo4j_graphrag.components.types import Neo4jGraph, Neo4jNode, Neo4jRelationship
    except ModuleNotFoundError:
        return None
    rows = rows_of(tables.entities, tables.relation_types, tables.triples)
    graph = Neo4jGraph(
        nodes=[
            Neo4jNode(id=i, label=t, properties={"name": n})
            for i, t, n in rows.entities.iter_rows()
        ],
        relationships=[
            Neo4jRelationship(
                start_node_id=row["head_id"],
                end_node_id=row["tail_id"],
                type=row["relation"],
                properties={name: row[name] for name in PROVENANCE},
            )
            for row in rows.named(rows.triples).iter_rows(named=True)
        ],
    )
    logging.getLogger("neo4j_graphrag").setLevel(logging.CRITICAL)

    def load() -> None:
        writer = Neo4jWriter(driver, neo4j_database=database)
        ended: Any = asyncio.run(writer.run(graph))
        if ended.status != "SUCCESS":  # it says so instead of raising
            raise SystemExit(
                f"neo4j-graphrag's writer failed: {str(ended.metadata)[:300]}; it needs APOC on "
                "the server: graph-etl neo4j up --apoc"
            )

    return load


def _consumed(transaction: neo4j.ManagedTransaction, query: str, rows: list[Any]) -> None:
    transaction.run(query, rows=rows).consume()
