"""An external graph of head, relation, tail rows as statements about items and their entities.

Reads the rows, the links of items to entities and the entities' names; indexes are for entities.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from graph_etl.attributes import STATEMENT, run_id_of
from graph_etl.audit import BuildAudit, TableAudit
from graph_etl.cells import ids
from graph_etl.dataset_config import EntityNamesConfig, LinkTableConfig, TriplesConfig
from graph_etl.entities import ID_SEPARATOR, item_entity_id
from graph_etl.graph_schema import RelationType, words_of
from graph_etl.tables import SourceTable, TableReader


@dataclass(frozen=True)
class ExternalGraph:
    """What an external graph contributes.

    Attributes:
        statements: Columns as attributes.STATEMENT.
        names: Columns entity_id, entity_type, name.
        relations: The patterns that occur, ordered by relation, head type, tail type.
    """

    statements: pl.DataFrame
    names: pl.DataFrame
    relations: list[RelationType]


def read_external_graph(
    config: TriplesConfig,
    reader: TableReader,
    items: pl.Series,
    item_type: str,
    audit: BuildAudit,
) -> ExternalGraph | None:
    """Return the graph, or None where its optional table is absent.

    An entity that several items are linked to stands for each of them: its triples are repeated.

    Args:
        config: Tables and columns.
        reader: Where tables come from.
        items: Item ids that exist.
        item_type: Entity type of items.
        audit: Counts rows and links, dropped ones by reason.
    """
    if not reader.has(config.table):
        return None
    source = reader.read(config.table, [config.head, config.relation, config.tail])
    counts = audit.table(f"triples.{source.label}")
    counts.note_all(source.notes)
    nodes = _nodes(config, reader, items, item_type, audit)
    rows = _rows(config, source, counts)
    ends = nodes.select(raw="raw", id="entity_id", type="entity_type")
    run_id = run_id_of([source.digest], config)
    joined = (
        rows.join(ends.rename({"raw": "head", "id": "head_id", "type": "head_type"}),
                  on="head", how="left", maintain_order="left")
        .join(ends.rename({"raw": "tail", "id": "tail_id", "type": "tail_type"}),
              on="tail", how="left", maintain_order="left")
        .with_columns(
            pl.coalesce("head_id", _plain(config, "head")).alias("head_id"),
            pl.coalesce("tail_id", _plain(config, "tail")).alias("tail_id"),
            pl.col("head_type").fill_null(config.entity_type),
            pl.col("tail_type").fill_null(config.entity_type),
        )
    )  # fmt: skip
    counts.note("rows added: entities of several items", joined.height - rows.height)
    statements = joined.with_columns(
        pl.lit(None, pl.String).alias("tail_name"),
        pl.lit(f"{source.label}:{config.relation}").alias("source"),
        pl.col("head").alias("doc_id"),
        pl.lit("table").alias("engine"),
        pl.lit(1.0).alias("confidence"),
        pl.lit(run_id).alias("run_id"),
    ).select(pl.col(name).cast(dtype) for name, dtype in STATEMENT.items())
    names = nodes.filter(pl.col("name").is_not_null()).select("entity_id", "entity_type", "name")
    return ExternalGraph(statements, names, _relations(config, statements))


def _rows(config: TriplesConfig, source: SourceTable, counts: TableAudit) -> pl.DataFrame:
    frame = source.frame
    relation = ids(frame[config.relation])
    bare = relation.str.contains(r"^[0-9]+$")
    relation = relation.zip_with(~bare.fill_null(True), config.relation_prefix + relation)
    rows = pl.DataFrame(
        {
            "head": ids(frame[config.head]),
            "relation": relation.str.replace_all(r"[^A-Za-z0-9_.\-/]+", "_"),
            "tail": ids(frame[config.tail]),
        }
    )
    counts.rows_in = rows.height
    complete = rows.drop_nulls()
    counts.drop("empty head, relation or tail", rows.height - complete.height)
    unique = complete.unique(maintain_order=True)
    counts.drop("duplicate row", complete.height - unique.height)
    counts.rows_kept = unique.height
    return unique


def _plain(config: TriplesConfig, column: str) -> pl.Expr:
    return pl.lit(config.entity_type + ID_SEPARATOR) + pl.col(column)


def _nodes(
    config: TriplesConfig,
    reader: TableReader,
    items: pl.Series,
    item_type: str,
    audit: BuildAudit,
) -> pl.DataFrame:
    """Return what is known of raw entity ids: columns raw, entity_id, entity_type, name."""
    linked = pl.DataFrame({"raw": items, "item_id": items})
    if config.link is not None and reader.has(config.link.table):
        linked = _links(config.link, reader, items, audit)
    nodes = linked.select(
        "raw",
        item_entity_id(item_type, pl.col("item_id")).alias("entity_id"),
        pl.lit(item_type).alias("entity_type"),
        pl.lit(None, pl.String).alias("name"),
    )
    if config.names is None or not reader.has(config.names.table):
        return nodes
    named = _names(config.names, reader, config.entity_type, audit)
    fresh = named.join(nodes, on="raw", how="anti", maintain_order="left")
    return pl.concat([nodes, fresh])


def _links(
    config: LinkTableConfig, reader: TableReader, items: pl.Series, audit: BuildAudit
) -> pl.DataFrame:
    source = reader.read(config.table, [config.item, config.entity])
    counts = audit.table(f"link.{source.label}")
    counts.note_all(source.notes)
    rows = pl.DataFrame(
        {"raw": ids(source.frame[config.entity]), "item_id": ids(source.frame[config.item])}
    )
    counts.rows_in = rows.height
    complete = rows.drop_nulls().unique(maintain_order=True)
    counts.drop("empty or duplicate", rows.height - complete.height)
    known = complete.filter(pl.col("item_id").is_in(items.implode()))
    counts.drop("unknown item", complete.height - known.height)
    counts.rows_kept = known.height
    counts.note("items without a link", items.len() - known["item_id"].n_unique())
    counts.note("entities of several items", known.height - known["raw"].n_unique())
    return known


def _names(
    config: EntityNamesConfig, reader: TableReader, entity_type: str, audit: BuildAudit
) -> pl.DataFrame:
    columns = [config.entity, config.name, *([config.type] if config.type else [])]
    source = reader.read(config.table, columns)
    kind = ids(source.frame[config.type]) if config.type else pl.Series([None], dtype=pl.String)
    rows = pl.DataFrame(
        {"raw": ids(source.frame[config.entity]), "name": ids(source.frame[config.name])}
    ).with_columns((kind if config.type else pl.lit(None, pl.String)).alias("entity_type"))
    counts = audit.table(f"names.{source.label}")
    counts.note_all(source.notes)
    counts.rows_in = rows.height
    complete = rows.drop_nulls(["raw", "name"])
    counts.drop("empty id or name", rows.height - complete.height)
    unique = complete.unique("raw", keep="first", maintain_order=True)
    counts.drop("entity named before", complete.height - unique.height)
    counts.rows_kept = unique.height
    typed = unique.with_columns(pl.col("entity_type").fill_null(entity_type))
    return typed.select(
        "raw",
        (pl.col("entity_type") + ID_SEPARATOR + pl.col("raw")).alias("entity_id"),
        "entity_type",
        "name",
    )


def _relations(config: TriplesConfig, statements: pl.DataFrame) -> list[RelationType]:
    patterns = statements.select("relation", "head_type", "tail_type").unique().sort(pl.all())
    return [
        RelationType(
            relation=relation,
            head=head,
            tail=tail,
            phrase=config.phrases.get(relation, words_of(relation)),
        )
        for relation, head, tail in patterns.iter_rows()
    ]
