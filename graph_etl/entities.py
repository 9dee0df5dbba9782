"""Entities with deterministic ids out of statements, and the snapshot's three graph tables.

An attribute entity's id is its type and normalised name, so that spellings that differ in case,
width or spaces are one entity; its name is the most frequent spelling. Merging names that differ
otherwise is for graph_etl.resolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from graph_etl.audit import TableAudit
from graph_etl.graph_schema import GraphSchema
from graph_etl.snapshot import TABLES

ID_SEPARATOR = ":"


@dataclass(frozen=True)
class GraphTables:
    """The graph's part of a snapshot; columns as ``snapshot.TABLES`` says."""

    entities: pl.DataFrame
    relation_types: pl.DataFrame
    triples: pl.DataFrame


def entity_key(entity_type: str, name: pl.Expr) -> pl.Expr:
    """Return the entity id of a name: NFKC, lower case, single spaces, after "type:"."""
    normal = name.str.normalize("NFKC").str.to_lowercase()
    return (
        pl.lit(entity_type + ID_SEPARATOR) + normal.str.replace_all(r"\s+", " ").str.strip_chars()
    )


def graph_tables(
    items: pl.DataFrame,
    statements: pl.DataFrame,
    names: pl.DataFrame,
    schema: GraphSchema,
    audit: TableAudit,
) -> GraphTables:
    """Return entities, relation types and triples, in an order that rows' order cannot change.

    Items come first, in their own order, then other entities by type and id; triples are ordered
    by head, relation, tail.

    Args:
        items: Columns entity_id, entity_type, title.
        statements: Columns as attributes.STATEMENT, and perhaps those of extraction's EVIDENCE;
            heads and tails may be items or not. Of equal triples a table's statement stays, then
            the surest, then the first.
        names: Columns entity_id, entity_type, name: names that no statement spells (may be empty).
        schema: The whitelist; its relation order is that of relation_idx.
        audit: Counts statements, triples and duplicates.

    Raises:
        SchemaViolationError: A statement is not whitelisted or breaks a constraint.
    """
    schema.check_triples(statements, where="the statements of this build")
    entities = _entities(items, statements, names)
    relation_types = _relation_types(schema)
    audit.rows_in += statements.height
    surest = statements.sort(
        pl.col("engine") == "table", "confidence", descending=True, maintain_order=True
    )
    unique = surest.unique(["head_id", "relation", "tail_id"], keep="first", maintain_order=True)
    audit.drop("duplicate triple", statements.height - unique.height)
    audit.rows_kept += unique.height
    index = entities.select("entity_id", "entity_idx")
    triples = (
        unique.join(index.rename({"entity_id": "head_id", "entity_idx": "head_idx"}), on="head_id")
        .join(index.rename({"entity_id": "tail_id", "entity_idx": "tail_idx"}), on="tail_id")
        .join(relation_types, on=["relation", "head_type", "tail_type"])
        .select(
            *(pl.col(name).cast(dtype) for name, dtype in TABLES["triples"].items()),
            pl.col("^evidence\\..*$"),
        )
        .sort("head_idx", "relation_idx", "tail_idx")
    )
    return GraphTables(entities, relation_types, triples)


def _entities(items: pl.DataFrame, statements: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    own = items.select("entity_id", "entity_type", pl.col("title").alias("name"))
    tails = statements.select(entity_id="tail_id", entity_type="tail_type", name="tail_name")
    heads = statements.select(entity_id="head_id", entity_type="head_type").with_columns(
        name=pl.lit(None, pl.String)
    )
    given = pl.concat([names.select("entity_id", "entity_type", "name"), heads, tails])
    spelled = (
        given.filter(~pl.col("entity_id").is_in(own["entity_id"].implode()))
        .group_by("entity_id", "entity_type", "name")
        .agg(pl.len().alias("times"))
        .sort(["entity_type", "entity_id", "times", "name"], descending=[False, False, True, False],
              nulls_last=True)
    )  # fmt: skip
    named = spelled.with_columns(pl.col("name").is_null().alias("unnamed")).sort(
        ["entity_type", "entity_id", "unnamed"], maintain_order=True
    )
    others = named.unique("entity_id", keep="first", maintain_order=True).select(
        "entity_id",
        "entity_type",
        pl.col("name").fill_null(pl.col("entity_id").str.replace(r"^[^:]*:", "")),
    )
    return (
        pl.concat([own, others])
        .with_row_index("entity_idx")
        .select(pl.col(name).cast(dtype) for name, dtype in TABLES["entities"].items())
    )


def _relation_types(schema: GraphSchema) -> pl.DataFrame:
    columns: Mapping[str, list[object]] = {
        "relation_idx": list(range(len(schema.relation_types))),
        "relation": [relation.relation for relation in schema.relation_types],
        "head_type": [relation.head for relation in schema.relation_types],
        "tail_type": [relation.tail for relation in schema.relation_types],
        "phrase": [relation.phrase for relation in schema.relation_types],
    }
    return pl.DataFrame(columns, schema=dict(TABLES["relation_types"]))


def item_entity_id(item_type: str, item_id: pl.Expr) -> pl.Expr:
    """Return the entity id of an item: its type and external id, as it stands."""
    return pl.lit(item_type + ID_SEPARATOR) + item_id
