"""A triple that was known before keeps the run that first said it.

A run's id follows from its whole table: without this, one new row would change every triple of the
table, in the snapshot and in the store.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from graph_etl.snapshot import Snapshot

_SAID = ["source", "doc_id", "engine", "confidence"]
_KEY = ["head_id", "relation", "head_type", "tail_type", "tail_id", *_SAID]


def with_first_runs(tables: Mapping[str, pl.DataFrame], known: Snapshot) -> pl.DataFrame:
    """Return the triples of new tables with the run_id that the same triple has in ``known``.

    Args:
        tables: entities, relation_types and triples, as ``graph_etl.snapshot.TABLES`` says.
        known: The published snapshot.
    """
    old = keyed_triples(known.entities, known.relation_types, known.triples)
    first = old.unique(_KEY, keep="first", maintain_order=True).select(
        *_KEY, pl.col("run_id").alias("first")
    )
    new = keyed_triples(tables["entities"], tables["relation_types"], tables["triples"])
    found = new.join(first, on=_KEY, how="left", nulls_equal=True, maintain_order="left")
    run_id = found.select(pl.coalesce("first", "run_id")).to_series().alias("run_id")
    return tables["triples"].with_columns(run_id)


def keyed_triples(
    entities: pl.DataFrame, relation_types: pl.DataFrame, triples: pl.DataFrame
) -> pl.DataFrame:
    """Return triples by the ids of their ends and the names of their pattern."""
    ids, relation = entities["entity_id"], triples["relation_idx"]
    return triples.select(
        ids.gather(triples["head_idx"]).alias("head_id"),
        ids.gather(triples["tail_idx"]).alias("tail_id"),
        *(relation_types[name].gather(relation) for name in ("relation", "head_type", "tail_type")),
        *_SAID,
        "run_id",
    )
