"""Rows a second into and out of the graph stores: first write, unchanged second write, export.

    python benchmarks/bench_graph_load.py [--json FILE] [--snapshot DIR] [--triples N]
    python benchmarks/bench_graph_load.py --store neo4j [--rounds N] ...

The second needs a server: NEO4J_URI, or 'graph-etl neo4j up --apoc'. Its database is emptied.
Measured are a generated graph, metaqa-kg where KGREC_DATA_DIR has it, and a given snapshot; with
--large N also a generated graph of N triples, once (5,000,000: 1.1 million entities); with
--triples 0 no small one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from graph_etl.build_folder import snapshot_path
from graph_etl.snapshot import TABLES, load_snapshot
from graph_etl.store import GraphTables, open_store


def generated(num_triples: int) -> GraphTables:
    """A graph of items and three kinds of attributes, tails drawn from a skewed law."""
    rng = np.random.default_rng(0)
    num_items = num_triples // 10
    kinds = {"maker": num_items // 5, "subject": num_items, "place": 200}
    names = [("item", f"item:{i}", f"Item {i}") for i in range(num_items)]
    starts = {}
    for kind, count in kinds.items():
        starts[kind] = len(names)
        names += [(kind, f"{kind}:{i}", f"{kind} {i}") for i in range(count)]
    relation = rng.integers(0, len(kinds), num_triples)
    head = rng.integers(0, num_items, num_triples)
    tail = np.empty(num_triples, dtype=np.int64)
    for i, (kind, count) in enumerate(kinds.items()):
        rows = relation == i
        tail[rows] = starts[kind] + (count * rng.random(rows.sum()) ** 3).astype(np.int64)
    entities = pl.DataFrame(names, schema=["entity_type", "entity_id", "name"], orient="row")
    patterns = [("item", f"has_{kind}", kind) for kind in kinds]
    return tables_of(entities, patterns, head, relation, tail)


def metaqa(folder: Path) -> GraphTables:
    """The named triples of metaqa-kg; all entities are of one type."""
    # The line says which entity it is; the number in it is wrong once (line 22447 says 29).
    names = pl.read_csv(
        folder / "entity2text.txt",
        separator="\t",
        has_header=False,
        quote_char=None,
        new_columns=["wrong_once", "name"],
    ).with_row_index("number")
    entities = names.select(
        pl.lit("entity").alias("entity_type"),
        pl.format("entity:{}", "number").alias("entity_id"),
        pl.col("name").cast(pl.String).fill_null(""),
    )
    lines = (folder / "relation2text.txt").read_text(encoding="utf-8").splitlines()
    relations = [line.split("\t")[1].replace(" ", "_") for line in lines]
    triples = pl.concat(
        pl.read_csv(
            folder / f"{part}.tsv", separator="\t", has_header=False, new_columns=["h", "r", "t"]
        )
        for part in ("train", "dev", "test")
    ).unique(maintain_order=True)
    patterns = [("entity", relation, "entity") for relation in relations]
    return tables_of(entities, patterns, *(triples[name].to_numpy() for name in "hrt"))


def tables_of(
    entities: pl.DataFrame,
    patterns: list[tuple[str, str, str]],
    head: Any,
    relation: Any,
    tail: Any,
) -> GraphTables:
    """Frames as a snapshot holds them."""
    nodes = entities.with_row_index("entity_idx").select(
        pl.col(name).cast(dtype) for name, dtype in TABLES["entities"].items()
    )
    types = pl.DataFrame(
        [(i, r, h, t, r.replace("_", " ")) for i, (h, r, t) in enumerate(patterns)],
        schema=dict(TABLES["relation_types"]),
        orient="row",
    )
    index = pl.DataFrame({"head_idx": head, "relation_idx": relation, "tail_idx": tail}).unique(
        maintain_order=True
    )
    provenance = {"source": "bench", "doc_id": "", "engine": "table", "run_id": "bench"}
    triples = index.with_columns(
        **{name: pl.lit(value) for name, value in provenance.items()}, confidence=pl.lit(1.0)
    ).select(pl.col(name).cast(dtype) for name, dtype in TABLES["triples"].items())
    return GraphTables(nodes, types, triples)


def measured(name: str, tables: GraphTables) -> dict[str, Any]:
    """Write a graph into a new kglite store twice, read it back, open it again."""
    rows = tables.entities.height + tables.triples.height
    frames = (tables.entities, tables.relation_types, tables.triples)
    with tempfile.TemporaryDirectory() as folder:
        with open_store("kglite", folder) as store:
            cpu_start = time.process_time()
            first_s, summary = timed(lambda: store.write(*frames, delete_missing=True))
            first_cpu_s = time.process_time() - cpu_start
            second_s, again = timed(lambda: store.write(*frames, delete_missing=True))
            export_s, _ = timed(store.export)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        open_s, _ = timed(lambda: open_store("kglite", folder, read_only=True).close())
    if again.writes:
        raise SystemExit(f"{name}: the second write changed {again.writes} rows")
    return {
        "graph": name,
        "store": "kglite",
        "entities": tables.entities.height,
        "triples": tables.triples.height,
        "nodes_created": summary.nodes_created,
        "relationships_created": summary.relationships_created,
        "first_write_s": round(first_s, 3),
        "first_write_cpu_s": round(first_cpu_s, 3),
        "rows_per_cpu_s": round(rows / first_cpu_s),
        "rows_per_s": round(rows / first_s),
        "triples_per_s": round(tables.triples.height / first_s),
        "unchanged_write_s": round(second_s, 3),
        "export_s": round(export_s, 3),
        "open_s": round(open_s, 3),
        "file_bytes": size,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def neo4j_results(options: argparse.Namespace) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The rows of a Neo4j server, after a load that warms it."""
    from neo4j_load import Bench

    bench = Bench(options.rounds)
    bench.graph("warming", generated(20_000))
    results = []
    for name, tables in graphs(options):
        results += bench.graph(name, tables)
        results += bench.peer(name, tables)
    if options.large:
        results += bench.large_graph(f"generated-{options.large}", generated(options.large))
    else:
        bench.empty()  # the large graph stays: to delete it takes as long as to load it
    return results, ("neo4j", "neo4j-rust-ext", "polars")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def graphs(options: argparse.Namespace) -> Iterator[tuple[str, GraphTables]]:
    """The graphs to measure, by name."""
    if options.triples:
        yield f"generated-{options.triples}", generated(options.triples)
    data = os.environ.get("KGREC_DATA_DIR")
    if data and (Path(data) / "metaqa-kg").is_dir():
        yield "metaqa-kg", metaqa(Path(data) / "metaqa-kg")
    if options.snapshot:
        snapshot = load_snapshot(snapshot_path(options.snapshot))
        name = str(snapshot.manifest.get("dataset", {}).get("name", "snapshot"))
        yield name, GraphTables(snapshot.entities, snapshot.relation_types, snapshot.triples)


def main() -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--snapshot", type=Path)
    parser.add_argument("--triples", type=int, default=100_000)
    parser.add_argument("--store", choices=("kglite", "neo4j"), default="kglite")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", type=int, default=0)
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    if options.store == "neo4j":
        results, libraries = neo4j_results(options)
    else:
        results = [measured(name, tables) for name, tables in graphs(options)]
        libraries = ("kglite", "polars")
    record = {
        "machine": {
            "cpus": os.cpu_count(),
            "platform": platform.platform(),
            "load_before": round(load_before, 2),
        },
        "versions": {name: version(name) for name in libraries},
        "results": results,
    }
    print(json.dumps(record, indent=1))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
