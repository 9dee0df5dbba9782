"""Rows a second into and out of a Neo4j server: kgrec's store beside plain loaders and a peer.

bench_graph_load.py --store neo4j runs it; everything is measured in one run on one server. Server
and client share the machine, so each row names the processor seconds of both.
"""

from __future__ import annotations

import asyncio
import logging
import os
import statistics
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import neo4j
import polars as pl

from graph_etl.neo4j_server import running_servers
from graph_etl.store import GraphTables
from graph_etl.store.changes import rows_of
from graph_etl.store.neo4j_connection import connection_from_environment
from graph_etl.store.neo4j_store import Neo4jStore

BATCH_ROWS = 10_000
PEER_TRIPLES = 20_000
PROVENANCE = ("source", "doc_id", "engine", "confidence", "run_id")


class Bench:
    """One server, emptied before each load."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.where = connection_from_environment()
        self.driver = neo4j.GraphDatabase.driver(
            self.where.uri,
            auth=(self.where.user, self.where.password),
            notifications_min_severity="OFF",
        )
        local = [server for server in running_servers() if server.uri == self.where.uri]
        self.pid = local[0].pid if local else None

    def empty(self) -> None:
        with self.driver.session(database=self.where.database) as session:
            for what in (
                "MATCH ()-[r]->() CALL (r) { DELETE r }",
                "MATCH (n) CALL (n) { DELETE n }",
            ):
                session.run(f"{what} IN TRANSACTIONS OF 20000 ROWS").consume()
            for row in session.run("SHOW CONSTRAINTS YIELD name").data():
                session.run(f"DROP CONSTRAINT `{row['name']}`").consume()
            session.run("CALL db.clearQueryCaches()").consume()

    def server_cpu_s(self) -> float:
        if self.pid is None:
            return 0.0
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def measured(self, name: str, rows: int, work: Callable[[], Any]) -> dict[str, Any]:
        before = time.perf_counter(), time.process_time(), self.server_cpu_s()
        work()
        after = time.perf_counter(), time.process_time(), self.server_cpu_s()
        wall_s, client_s, server_s = (b - a for a, b in zip(before, after, strict=True))
        return {
            "what": name,
            "rows": rows,
            "seconds": round(wall_s, 3),
            "client_cpu_s": round(client_s, 3),
            "server_cpu_s": round(server_s, 3),
            "rows_per_s": round(rows / wall_s),
        }

    def graph(self, name: str, tables: GraphTables) -> list[dict[str, Any]]:
        """All measures of one graph; loads are repeated in turn, the median round is reported."""
        rows = tables.entities.height + tables.triples.height
        frames = (tables.entities, tables.relation_types, tables.triples)
        results: list[dict[str, Any]] = []
        with Neo4jStore(self.where) as store:

            def ours() -> None:
                store.write(*frames, delete_missing=True)

            loads: list[tuple[str, Callable[[], Any]]] = [
                ("plain loader, CREATE", lambda: self.plain(tables, "CREATE")),
                ("plain loader, MERGE", lambda: self.plain(tables, "MERGE")),
                ("kgrec, first write", ours),
            ]
            for _ in range(self.rounds):
                for what, load in loads:
                    self.empty()
                    results.append(self.measured(what, rows, load))
            results.append(self.measured("kgrec, unchanged write", rows, ours))
            changed = one_percent(tables)
            results.append(
                self.measured(
                    "kgrec, 1 % of names changed",
                    rows,
                    lambda: store.write(changed, *frames[1:], delete_missing=True),
                )
            )
            for _ in range(self.rounds):
                results.append(
                    self.measured("driver, streaming", rows, lambda: self.stream(tables))
                )
                results.append(self.measured("kgrec, export", rows, store.export))
        return [{"graph": name, "store": "neo4j", **one} for one in medians(results)]

    def plain(self, tables: GraphTables, verb: str) -> None:
        """The loader that a careful person writes: one session, UNWIND batches of maps."""
        rows = rows_of(tables.entities, tables.relation_types, tables.triples)
        with self.driver.session(database=self.where.database) as session:

            def run(query: str, frame: pl.DataFrame) -> None:
                for part in frame.iter_slices(BATCH_ROWS):
                    session.execute_write(_consumed, query, part.to_dicts())

            for (label,), frame in rows.entities.partition_by("entity_type", as_dict=True).items():
                session.run(
                    f"CREATE CONSTRAINT IF NOT EXISTS FOR (n:`{label}`) "
                    "REQUIRE n.entity_id IS UNIQUE"
                ).consume()
                query = f"UNWIND $rows AS row {verb} (n:`{label}` {{entity_id: row.entity_id}}) "
                run(f"{query}SET n.name = row.name", frame)
            values = ", ".join(f"r.{name} = row.{name}" for name in PROVENANCE)
            patterns = ["head_type", "relation", "tail_type"]
            for (head, relation, tail), frame in rows.triples.partition_by(
                patterns, as_dict=True
            ).items():
                run(
                    f"UNWIND $rows AS row MATCH (h:`{head}` {{entity_id: row.head_id}}) "
                    f"MATCH (t:`{tail}` {{entity_id: row.tail_id}}) "
                    f"{verb} (h)-[r:`{relation}`]->(t) SET {values}",
                    frame.drop(patterns),
                )

    def stream(self, tables: GraphTables) -> None:
        """Raw driver streaming of the same columns, record by record, into frames."""
        values = ", ".join(f"r.{name} AS {name}" for name in PROVENANCE)
        with self.driver.session(database=self.where.database, fetch_size=BATCH_ROWS) as session:
            for kind in tables.entities["entity_type"].unique().sort():
                query = f"MATCH (n:`{kind}`) RETURN n.entity_id AS entity_id, n.name AS name"
                pl.DataFrame(session.run(query).values(), orient="row", infer_schema_length=None)
            for h, r, t in tables.relation_types.select(
                "head_type", "relation", "tail_type"
            ).iter_rows():
                query = (
                    f"MATCH (h:`{h}`)-[r:`{r}`]->(t:`{t}`) "
                    f"RETURN h.entity_id AS head_id, t.entity_id AS tail_id, {values}"
                )
                pl.DataFrame(session.run(query).values(), orient="row", infer_schema_length=None)

    def peer(self, name: str, tables: GraphTables) -> list[dict[str, Any]]:
        """neo4j-graphrag's writer beside kgrec on the first triples of a graph."""
        try:
            from neo4j_graphrag.components.kg_writer import Neo4jWriter
            from neo4j_graphrag.components.types import Neo4jGraph, Neo4jNode, Neo4jRelationship
        except ModuleNotFoundError:
            return []
        part = first_triples(tables, PEER_TRIPLES)
        rows = rows_of(part.entities, part.relation_types, part.triples)
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
                    properties={k: row[k] for k in PROVENANCE},
                )
                for row in rows.triples.iter_rows(named=True)
            ],
        )
        size = part.entities.height + part.triples.height
        frames = (part.entities, part.relation_types, part.triples)
        results = []
        for _ in range(self.rounds):
            self.empty()
            writer = Neo4jWriter(self.driver, neo4j_database=self.where.database)
            logging.getLogger("neo4j_graphrag").setLevel(logging.CRITICAL)
            ended: list[Any] = []
            results.append(
                self.measured(
                    "neo4j-graphrag, writer",
                    size,
                    partial(_run_into, ended, writer.run(graph)),
                )
            )
            if ended[0].status != "SUCCESS":  # it says so instead of raising
                reason = str(ended[0].metadata)[:200]
                return [
                    {"graph": name, "store": "neo4j", "what": "neo4j-graphrag, writer"}
                    | {"failed": reason}
                ]
            self.empty()
            with Neo4jStore(self.where) as store:
                work = partial(store.write, *frames)
                results.append(self.measured("kgrec, first write", size, work))
        label = f"{name}, first {part.triples.height} triples"
        return [{"graph": label, "store": "neo4j", **one} for one in medians(results)]


def _consumed(transaction: neo4j.ManagedTransaction, query: str, rows: list[Any]) -> None:
    transaction.run(query, rows=rows).consume()


def _run_into(results: list[Any], work: Coroutine[Any, Any, Any]) -> None:
    results.append(asyncio.run(work))


def one_percent(tables: GraphTables) -> pl.DataFrame:
    """The entities, every hundredth with another name."""
    row = pl.int_range(pl.len())
    name = pl.when(row % 100 == 0).then(pl.col("name") + "*").otherwise("name")
    return tables.entities.with_columns(name.alias("name"))


def first_triples(tables: GraphTables, count: int) -> GraphTables:
    """The graph of the first triples."""
    triples = tables.triples.head(count)
    used = pl.concat([triples["head_idx"], triples["tail_idx"]]).unique().sort()
    place = pl.DataFrame({"old": used}).with_row_index("new").with_columns(pl.col("new").cast(int))
    for column in ("head_idx", "tail_idx"):
        triples = (
            triples.join(place, left_on=column, right_on="old", how="left")
            .with_columns(pl.col("new").alias(column))
            .drop("new")
        )
    entities = tables.entities[used].with_columns(entity_idx=pl.int_range(pl.len()))
    return GraphTables(entities, tables.relation_types, triples)


def medians(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One result for each name: that of its median round, with the seconds of all rounds."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for one in results:
        by_name.setdefault(one["what"], []).append(one)
    chosen = []
    for rounds in by_name.values():
        seconds = [one["seconds"] for one in rounds]
        middle = statistics.median_low(seconds)
        chosen.append(next(one for one in rounds if one["seconds"] == middle) | {"rounds": seconds})
    return chosen
