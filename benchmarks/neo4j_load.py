"""Rows a second into and out of a Neo4j server: kgrec's store beside plain loaders and a peer.

bench_graph_load.py --store neo4j runs it; everything is measured in one run on one server. Server
and client share the machine, so each row names the processor seconds of both: a plain loader's are
the floor of what the same bytes cost the server when they are sent in the usual way.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import neo4j
import polars as pl
from neo4j_peers import BATCH_ROWS, graphrag_load, load_plainly, stream

from graph_etl.neo4j_server import running_servers
from graph_etl.store import GraphTables
from graph_etl.store.neo4j_connection import connection_from_environment
from graph_etl.store.neo4j_store import Neo4jStore

PEER_TRIPLES = 100_000
SAMPLE_TRIPLES = 300_000  # of a graph too large to load plainly, or to stream record by record
Work = Callable[[], Any]
EXPORT = """
import sys
from pathlib import Path
from graph_etl.store.neo4j_store import Neo4jStore
with Neo4jStore(read_only=True) as store:
    tables = store.export()
for name in ("entities", "relation_types", "triples"):
    getattr(tables, name).write_parquet(Path(sys.argv[1]) / f"{name}.parquet")
peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
print(int(peak) * 1024)
"""


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

    def session(self) -> neo4j.Session:
        return self.driver.session(database=self.where.database, fetch_size=BATCH_ROWS)

    def empty(self) -> None:
        with self.session() as session:
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

    def measured(self, name: str, rows: int, work: Work) -> dict[str, Any]:
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
            "rows_per_cpu_s": round(rows / (client_s + server_s)),
        }

    def in_turn(self, rows: int, works: dict[str, Work], *, emptied: bool) -> list[dict[str, Any]]:
        """Measure works one after the other, and all of them again in each round."""
        results = []
        for _ in range(self.rounds):
            for name, work in works.items():
                if emptied:
                    self.empty()
                results.append(self.measured(name, rows, work))
        return results

    def plain(self, tables: GraphTables, verb: str) -> None:
        with self.session() as session:
            load_plainly(session, tables, verb)

    def streamed(self, tables: GraphTables, limit: int) -> None:
        with self.session() as session:
            stream(session, tables, limit)

    def graph(self, name: str, tables: GraphTables) -> list[dict[str, Any]]:
        """All measures of one graph; the median round of each is reported."""
        rows = tables.entities.height + tables.triples.height
        changed = one_percent(tables)
        with Neo4jStore(self.where) as store:
            first = partial(_write, store, tables)
            loads: dict[str, Work] = {
                "plain loader, CREATE": partial(self.plain, tables, "CREATE"),
                "plain loader, MERGE": partial(self.plain, tables, "MERGE"),
                "kgrec, first write": first,
            }
            results = self.in_turn(rows, loads, emptied=True)
            again: dict[str, Work] = {
                "kgrec, unchanged write": first,
                "kgrec, 1 % changed": partial(_write, store, changed, known=tables),
                "kgrec, 1 % changed back": partial(_write, store, tables, known=changed),
                "kgrec, every row compared": partial(_write, store, tables, compare=True),
                "driver, streaming": partial(self.streamed, tables, rows),
                "kgrec, export": store.export,
            }
            results += self.in_turn(rows, again, emptied=False)
        return [{"graph": name, "store": "neo4j", **one} for one in with_ratios(results)]

    def large_graph(self, name: str, tables: GraphTables) -> list[dict[str, Any]]:
        """A graph that is loaded once, beside samples of the plain ways."""
        rows = tables.entities.height + tables.triples.height
        sample = first_triples(tables, SAMPLE_TRIPLES)
        part = sample.entities.height + sample.triples.height
        self.empty()
        results = [
            self.measured("plain loader, CREATE", part, partial(self.plain, sample, "CREATE"))
        ]
        self.empty()
        with Neo4jStore(self.where) as store:
            changed = one_percent(tables)
            works: dict[str, Work] = {
                "kgrec, first write": partial(_write, store, tables),
                "kgrec, unchanged write": partial(_write, store, tables),
                "kgrec, 1 % changed": partial(_write, store, changed, known=tables),
            }
            results += [self.measured(what, rows, work) for what, work in works.items()]
        limit = SAMPLE_TRIPLES // tables.relation_types.height
        kinds = tables.entities["entity_type"].value_counts()["count"]
        told = int(kinds.clip(upper_bound=limit).sum()) + limit * tables.relation_types.height
        results.append(
            self.measured("driver, streaming", told, partial(self.streamed, tables, limit))
        )
        peaks: list[int] = []
        exported = self.measured("kgrec, export", rows, lambda: peaks.append(self.to_parquet()))
        del exported["client_cpu_s"], exported["rows_per_cpu_s"]  # it is another process
        results.append({**exported, "peak_memory_bytes": peaks[0]})
        return [{"graph": name, "store": "neo4j", **one} for one in with_ratios(results)]

    def to_parquet(self) -> int:
        """Export into Parquet files by a process of its own; return its peak memory in bytes."""
        named = {
            "NEO4J_URI": self.where.uri,
            "NEO4J_USER": self.where.user,
            "NEO4J_PASSWORD": self.where.password,
            "NEO4J_DATABASE": self.where.database,
        }
        with tempfile.TemporaryDirectory() as folder:
            ended = subprocess.run(
                [sys.executable, "-c", EXPORT, folder],
                env={**os.environ, **named},
                check=True,
                capture_output=True,
                text=True,
            )
        return int(ended.stdout)

    def peer(self, name: str, tables: GraphTables) -> list[dict[str, Any]]:
        """neo4j-graphrag's writer and the store on the same first triples."""
        part = first_triples(tables, PEER_TRIPLES)
        load = graphrag_load(self.driver, self.where.database, part)
        if load is None:
            return []
        with Neo4jStore(self.where) as store:
            works: dict[str, Work] = {
                "neo4j-graphrag, writer": load,
                "kgrec, first write": partial(_write, store, part),
            }
            size = part.entities.height + part.triples.height
            results = self.in_turn(size, works, emptied=True)
        label = f"{name}, first {part.triples.height} triples"
        return [{"graph": label, "store": "neo4j", **one} for one in with_ratios(results)]


def _write(store: Neo4jStore, tables: GraphTables, **options: Any) -> None:
    frames = (tables.entities, tables.relation_types, tables.triples)
    store.write(*frames, delete_missing=True, **options)


def one_percent(tables: GraphTables) -> GraphTables:
    """The graph, every hundredth entity with another name, every hundredth triple less sure."""
    hundredth = pl.int_range(pl.len()) % 100 == 0
    name = pl.when(hundredth).then(pl.col("name") + "*").otherwise("name").alias("name")
    unsure = pl.when(hundredth).then(0.5).otherwise("confidence").cast(pl.Float32)
    return GraphTables(
        tables.entities.with_columns(name),
        tables.relation_types,
        tables.triples.with_columns(unsure.alias("confidence")),
    )


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


# What is compared: name -> (the measure above, those below the line, of which the best counts).
RATIOS = {
    "first write to the fastest plain loader": ("kgrec, first write", "plain loader"),
    "first write to neo4j-graphrag": ("kgrec, first write", "neo4j-graphrag"),
    "export to streaming": ("kgrec, export", "driver, streaming"),
    "1 % changed to first write": ("kgrec, 1 % changed", "kgrec, first write"),
    "unchanged to first write": ("kgrec, unchanged write", "kgrec, first write"),
}


def with_ratios(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The median round of each measure with all rounds' seconds, and the ratios of their rates."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for one in results:
        by_name.setdefault(one["what"], []).append(one)
    chosen = {}
    for name, rounds in by_name.items():
        seconds = [one["seconds"] for one in rounds]
        middle = statistics.median_low(seconds)
        chosen[name] = next(one for one in rounds if one["seconds"] == middle)
        chosen[name] |= {"rounds": seconds}
        if all("rows_per_cpu_s" in one for one in rounds):
            rates = [one["rows_per_cpu_s"] for one in rounds]
            chosen[name] |= {"rows_per_cpu_s": statistics.median_low(rates)}
    ratios = {}
    for name, (above, below) in RATIOS.items():
        others = [one for what, one in chosen.items() if what.startswith(below)]
        for unit in ("rows_per_s", "rows_per_cpu_s"):
            rates = [one[unit] for one in others if unit in one]
            if rates and unit in chosen.get(above, {}):
                ratios[f"{name}, {unit}"] = round(chosen[above][unit] / max(rates), 2)
    return [*chosen.values(), {"what": "ratios of rates", **ratios}]
