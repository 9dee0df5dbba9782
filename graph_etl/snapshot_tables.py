"""The six tables of a snapshot, from a data set's configuration and tables.

Brings catalogue, users, interactions, statements and external graphs together and gives indexes;
writing them to disk and into a store is for pipeline.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from graph_etl.attributes import STATEMENT, Subjects, run_id_of, statements_of
from graph_etl.audit import BuildAudit
from graph_etl.catalogue import (
    Catalogue,
    bare_items,
    natural_order,
    read_catalogue,
    read_users,
)
from graph_etl.dataset_config import DatasetConfig
from graph_etl.entities import GraphTables, graph_tables, item_entity_id
from graph_etl.errors import DataError
from graph_etl.external_graph import ExternalGraph, read_external_graph
from graph_etl.extra_interactions import EXTRA, count_kept, without_unknown
from graph_etl.extraction.build_step import extract_items
from graph_etl.extraction.config import ExtractionConfig
from graph_etl.extraction.documents import ItemTexts, extraction_schema, item_texts
from graph_etl.extraction.stages import KnownGraph
from graph_etl.extraction.statements import EVIDENCE, ExtractedStatements
from graph_etl.facts import read_facts
from graph_etl.graph_schema import (
    GraphSchema,
    RelationType,
    load_graph_schema,
    schema_of,
    words_of,
)
from graph_etl.interactions import read_interactions
from graph_etl.item_vectors import with_vectors
from graph_etl.left_out_users import LeaveOut, without_users
from graph_etl.outside import with_outside
from graph_etl.snapshot import LISTED, TABLES, VECTOR
from graph_etl.tables import TableReader

if TYPE_CHECKING:
    from graph_etl.resolution.resolved_statements import EntityResolution

Progress = Callable[[str, float], None]


def snapshot_tables(
    config: DatasetConfig,
    reader: TableReader,
    audit: BuildAudit,
    tell: Progress,
    resolution: EntityResolution,
    extra_interactions: pl.DataFrame | None = None,
    *,
    ledger: Path,
    leave_out: LeaveOut | None = None,
) -> dict[str, pl.DataFrame]:
    """Return the six tables of a snapshot, its columns and the optional ones.

    Args:
        config: The data set.
        reader: Where its tables come from.
        audit: Gets the counts of every table.
        tell: Called with what happens now and the share of the build that is done.
        resolution: Says which spellings are one entity.
        extra_interactions: As ``pipeline.build`` takes them.
        ledger: The file of what engines of extraction answered.
        leave_out: As ``pipeline.build`` takes it.

    Raises:
        ConfigError, DataError, ExtractionError, SchemaViolationError: As ``pipeline.build`` says.
    """
    missing = config.missing_values
    tell("reading items", 0.05)
    catalogue = read_catalogue(config.items, reader, missing, audit.table("items"))
    tell("reading users", 0.15)
    users = read_users(config.users, reader, missing, audit.table("users"))
    tell("reading interactions", 0.2)
    counts = audit.table("interactions")
    logged = None if extra_interactions is None else audit.table(EXTRA)
    rows = read_interactions(config.interactions, reader, counts, extra_interactions, logged)
    if leave_out is not None:
        users, rows = without_users(users, rows, leave_out, audit)
    catalogue, rows = _with_known_items(config, catalogue, rows, audit)
    if config.outside:
        tell("reading what lies outside the catalogue", 0.3)
        catalogue, rows = with_outside(config.outside, reader, catalogue, rows, leave_out, audit)
    users = _with_all_users(users, rows, audit)
    catalogue = with_vectors(config.items.vectors, reader, catalogue, audit)
    tell("reading attributes", 0.4)
    statements, relations = _statements(config, catalogue, reader, audit)
    tell("reading external graphs", 0.55)
    graphs = _external_graphs(config, catalogue, reader, audit)
    item_type = config.items.entity_type
    extracted = _extracted(config, catalogue, reader, statements, graphs, ledger, audit, tell)
    statements.append(extracted.statements)
    graphs.append(ExternalGraph(_nothing(), extracted.names, _extraction_relations(config)))
    tell("resolving entities", 0.65)
    statements = resolution.resolve(statements, item_type, audit, names=[extracted.names])
    graphs = [
        replace(
            graph,
            statements=resolution.merged(graph.statements, "head_id", "tail_id"),
            names=resolution.merged(graph.names, "entity_id"),
        )
        for graph in graphs
    ]
    tell("joining the graph", 0.7)
    schema = _schema(config, reader.folder, relations, graphs)
    items = catalogue.items.with_columns(
        item_entity_id(item_type, pl.col("item_id")).alias("entity_id"),
        pl.lit(item_type).alias("entity_type"),
    )
    said = [_nothing(), *statements, *(graph.statements for graph in graphs)]
    graph = graph_tables(
        items,
        resolution.without_loops(pl.concat(said, how="diagonal"), audit),
        pl.concat([_NO_NAMES, *(graph.names for graph in graphs)]),
        schema,
        audit.table("triples"),
    )
    return _indexed(items, users, rows, graph, statements)


def _with_known_items(
    config: DatasetConfig, catalogue: Catalogue | None, rows: pl.DataFrame, audit: BuildAudit
) -> tuple[Catalogue, pl.DataFrame]:
    """Return a catalogue and interactions that fit each other, by the rule ``unknown_items``."""
    counts = audit.table("interactions")
    rule = config.interactions.unknown_items
    if catalogue is None:
        nobody = pl.DataFrame(schema={"row": pl.Int64, "item_id": pl.String})
        catalogue = Catalogue(bare_items([]), None, nobody, [])
        rule = "add"
    if rule != "add":
        rows = without_unknown(rows, catalogue.items["item_id"], audit)
    unknown = rows.filter(~pl.col("item_id").is_in(catalogue.items["item_id"].implode()))
    if unknown.height and rule == "refuse":
        raise DataError(
            f"Expected every item of the interactions in the catalogue, got "
            f"'{unknown['item_id'][0]}' among {unknown.height} rows of "
            f"{unknown['item_id'].n_unique()} unknown items; say 'interactions.unknown_items: "
            "drop' or 'add' in dataset.yaml"
        )
    if unknown.height and rule == "add":
        new = bare_items(unknown["item_id"])
        audit.table("items").note("added from the interactions", new.height)
        joined = pl.concat([catalogue.items, new], how="diagonal")
        catalogue = Catalogue(joined, catalogue.source, catalogue.rows, catalogue.attributes)
    elif unknown.height:
        counts.drop("unknown item", unknown.height)
        counts.note("unknown items", unknown["item_id"].n_unique())
        rows = rows.filter(pl.col("item_id").is_in(catalogue.items["item_id"].implode()))
    count_kept(rows, audit)
    counts.note("positive", int(rows["positive"].sum()))
    if rows.height == 0:
        raise DataError(
            f"Expected interactions, got none of {counts.rows_in} rows after dropping "
            f"{counts.dropped}; are the item ids those of the catalogue?"
        )
    return catalogue, rows


def _with_all_users(users: pl.DataFrame, rows: pl.DataFrame, audit: BuildAudit) -> pl.DataFrame:
    known = users["user_id"].implode()
    fresh = rows["user_id"].unique()
    new = sorted(fresh.filter(~fresh.is_in(known)).to_list(), key=natural_order)
    audit.table("users").note("added from the interactions", len(new))
    added = pl.DataFrame({"user_id": pl.Series(new, dtype=pl.String)})
    return pl.concat([users, added], how="diagonal").with_columns(
        pl.col("profile_text", "^attribute\\..*$").fill_null("")
    )


def _statements(
    config: DatasetConfig, catalogue: Catalogue, reader: TableReader, audit: BuildAudit
) -> tuple[list[pl.DataFrame], list[RelationType]]:
    """Return statements of the items' and the facts' attributes, and the relations they use."""
    item_type = config.items.entity_type
    statements: list[pl.DataFrame] = []
    source = catalogue.source
    if source is not None:
        run_id = run_id_of([reader.inputs[source.label]], config.items)
        rows = catalogue.rows.with_columns(
            pl.col("item_id").alias("doc_id"), pl.lit(1.0, pl.Float32).alias("confidence")
        )
        subjects = Subjects(rows, item_type, catalogue.items["item_id"])
        for attribute in catalogue.attributes:
            counts = audit.table(f"attributes.{source.label}.{attribute.relation}")
            found = statements_of(
                source, attribute, subjects, config.missing_values, run_id, counts
            )
            counts.rows_kept += found.height
            statements.append(found)
    known = pl.concat([pl.DataFrame(schema=dict(STATEMENT)), *statements])
    items = catalogue.items.select("item_id", "title", "year")
    attributes = list(catalogue.attributes)
    for facts in config.facts:
        statements += read_facts(
            facts, reader, items, item_type, known, config.missing_values, audit
        )
        attributes += facts.attributes
    relations: dict[tuple[str, str], RelationType] = {}
    for attribute in attributes:
        tail = attribute.entity_type or item_type
        relations.setdefault(
            (attribute.relation, tail),
            RelationType(
                relation=attribute.relation,
                head=item_type,
                tail=tail,
                phrase=attribute.phrase or words_of(attribute.relation),
                max_tails_per_head=attribute.max_tails_per_head,
            ),
        )
    return statements, list(relations.values())


def _external_graphs(
    config: DatasetConfig, catalogue: Catalogue, reader: TableReader, audit: BuildAudit
) -> list[ExternalGraph]:
    found = [
        read_external_graph(
            one, reader, catalogue.items["item_id"], config.items.entity_type, audit
        )
        for one in config.triples
    ]
    return [graph for graph in found if graph is not None]


def _nothing() -> pl.DataFrame:
    return pl.DataFrame(schema=dict(STATEMENT))


_NO_NAMES = pl.DataFrame(schema=dict.fromkeys(("entity_id", "entity_type", "name"), pl.String))


def _extracted(
    config: DatasetConfig,
    catalogue: Catalogue,
    reader: TableReader,
    statements: list[pl.DataFrame],
    graphs: list[ExternalGraph],
    ledger: Path,
    audit: BuildAudit,
    tell: Progress,
) -> ExtractedStatements:
    """Return what the texts add to what tables say; nothing without a section ``extraction``."""
    section = config.extraction
    if section is None or not section.enabled:
        return ExtractedStatements(_nothing(), _NO_NAMES)
    return extract_items(
        section,
        _texts(config, section, catalogue, reader, audit),
        _known(statements, graphs),
        ledger=ledger,
        audit=audit,
        progress=lambda what, share: tell(f"reading texts: {what}", 0.55 + 0.1 * share),
    )


def _texts(
    config: DatasetConfig,
    section: ExtractionConfig,
    catalogue: Catalogue,
    reader: TableReader,
    audit: BuildAudit,
) -> ItemTexts:
    counts = audit.table("texts")
    return item_texts(section, config.items, catalogue.items, reader, config.missing_values, counts)


def _known(statements: list[pl.DataFrame], graphs: list[ExternalGraph]) -> KnownGraph:
    """Return what tables and external graphs say, as the gazetteer takes it."""
    known = pl.concat([_nothing(), *statements, *(graph.statements for graph in graphs)])
    spelled = known.select(entity_id="tail_id", entity_type="tail_type", name="tail_name")
    names = pl.concat([spelled.drop_nulls(), *(graph.names for graph in graphs)]).unique()
    triples = known.select("head_id", "relation", "tail_id").unique()
    return KnownGraph(names.sort(pl.all()), triples)


def extraction_input(
    config: DatasetConfig, section: ExtractionConfig, reader: TableReader, audit: BuildAudit
) -> tuple[ItemTexts, KnownGraph]:
    """Return what a build would read of the texts, and what it would know before, without building.

    Args:
        config: The data set.
        section: Its section ``extraction``.
        reader: Where its tables come from.
        audit: Gets the counts of the tables that are read.

    Raises:
        ConfigError, DataError: As ``pipeline.build`` says.
    """
    missing = config.missing_values
    catalogue = read_catalogue(config.items, reader, missing, audit.table("items"))
    if catalogue is None or config.interactions.unknown_items == "add":
        rows = read_interactions(config.interactions, reader, audit.table("interactions"))
        catalogue, _ = _with_known_items(config, catalogue, rows, audit)
    statements, _ = _statements(config, catalogue, reader, audit)
    graphs = _external_graphs(config, catalogue, reader, audit)
    return _texts(config, section, catalogue, reader, audit), _known(statements, graphs)


def _extraction_relations(config: DatasetConfig) -> list[RelationType]:
    if config.extraction is None or not config.extraction.enabled:
        return []
    return list(extraction_schema(config.extraction).relation_types)


def _schema(
    config: DatasetConfig,
    folder: Path,
    relations: list[RelationType],
    graphs: list[ExternalGraph],
) -> GraphSchema:
    """Return the declared schema, else the one that the attributes and graphs need."""
    if isinstance(config.graph_schema, str):
        return load_graph_schema(folder / config.graph_schema)
    if config.graph_schema is not None:
        return config.graph_schema
    patterns = {relation.pattern: relation for relation in relations}
    for graph in graphs:
        for relation in graph.relations:
            patterns.setdefault(relation.pattern, relation)
    return schema_of(patterns.values(), config.items.entity_type)


def _indexed(
    items: pl.DataFrame,
    users: pl.DataFrame,
    rows: pl.DataFrame,
    graph: GraphTables,
    statements: list[pl.DataFrame],
) -> dict[str, pl.DataFrame]:
    """Return the six tables of a snapshot, with indexes in place of ids."""
    items = items.join(graph.entities.select("entity_id", "entity_idx"), on="entity_id",
                       how="left", maintain_order="left").with_row_index("item_idx")  # fmt: skip
    users = users.with_row_index("user_idx")
    interactions = rows.join(
        users.select("user_idx", "user_id"), on="user_id", how="left", maintain_order="left"
    ).join(items.select("item_idx", "item_id"), on="item_id", how="left", maintain_order="left")
    frames = {
        "entities": graph.entities,
        "relation_types": graph.relation_types,
        "triples": graph.triples,
        "items": _with_attributes(items, statements, graph.entities),
        "users": users,
        "interactions": interactions,
    }
    return {name: _typed(frames[name], name) for name in TABLES}


def _with_attributes(
    items: pl.DataFrame,
    statements: list[pl.DataFrame],
    entities: pl.DataFrame,
) -> pl.DataFrame:
    """Return items with a list column attribute.RELATION of entity names for each attribute."""
    named = entities.select(tail_id="entity_id", name="name")
    further = pl.col(f"^(numeric\\..*|{LISTED}|{VECTOR})$")
    items = items.select(*TABLES["items"], further, "entity_id")
    names: dict[str, list[pl.DataFrame]] = {}
    for frame in statements:
        of_items = frame.select(*STATEMENT).filter(
            pl.col("head_id").is_in(items["entity_id"].implode())
        )
        for (relation,), part in of_items.partition_by("relation", as_dict=True).items():
            names.setdefault(str(relation), []).append(part)
    for relation, frames in names.items():
        values = (
            pl.concat(frames)
            .unique(["head_id", "tail_id"], keep="first", maintain_order=True)
            .join(named, on="tail_id", how="left", maintain_order="left")
            .group_by(entity_id="head_id", maintain_order=True)
            .agg(pl.col("name").alias(f"attribute.{relation}"))
        )
        items = items.join(values, on="entity_id", how="left", maintain_order="left")
    return items.drop("entity_id").with_columns(pl.col("^attribute\\..*$").fill_null([]))


def _typed(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    required = [pl.col(column).cast(dtype) for column, dtype in TABLES[name].items()]
    further = [
        column
        for column in frame.columns
        if column.startswith(("numeric.", "attribute.", "context."))
        or column in (*EVIDENCE, LISTED, VECTOR)
    ]
    return frame.select(*required, *further)
