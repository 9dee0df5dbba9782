"""Facts of a foreign table as statements about the items they are linked to.

Linking by title and year is done by graph_etl.resolution; a table that carries item ids is joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from graph_etl.attributes import Subjects, fact_columns, run_id_of, statements_of
from graph_etl.audit import BuildAudit, TableAudit
from graph_etl.cells import ids, numbers, texts
from graph_etl.dataset_config import FactsConfig
from graph_etl.errors import DataError
from graph_etl.snapshot import sha256_of
from graph_etl.tables import SourceTable, TableReader


def read_facts(
    config: FactsConfig,
    reader: TableReader,
    items: pl.DataFrame,
    item_type: str,
    known: pl.DataFrame,
    missing: Sequence[str],
    audit: BuildAudit,
) -> list[pl.DataFrame]:
    """Return the statements of a table of facts, one frame for each attribute.

    Args:
        config: The table, how it is linked, and its attribute columns.
        reader: Where tables come from.
        items: Columns item_id, title, year.
        item_type: Entity type of items.
        known: The items' own statements; relations named in ``link.evidence`` are compared.
        missing: Cells that mean "nothing".
        audit: Counts fact rows (those of no item are dropped), values and links.

    Raises:
        DataError: A fact's key stands twice.
    """
    if not reader.has(config.table):
        return []
    source = reader.read(config.table, fact_columns(config))
    checksums = [source.digest, *_file_checksums(config)]
    portable = config.model_copy(update={"link": {}})
    run_id = run_id_of([*checksums, str(sorted(config.link))], portable)
    keys = ids(source.frame[config.id])
    counts = audit.table(f"facts.{source.label}")
    counts.rows_in = len(keys)
    counts.note_all(source.notes)
    if config.item is not None:
        links = _joined(source, config.item, keys, items)
    else:
        links = _linked(config, source, keys, items, known, missing, audit)
    counts.rows_kept = links["row"].n_unique()
    counts.drop("of no item", len(keys) - counts.rows_kept)
    subjects = Subjects(links, item_type, items["item_id"])
    statements = []
    for attribute in config.attributes:
        part = audit.table(f"attributes.{source.label}.{attribute.relation}")
        found = statements_of(source, attribute, subjects, missing, run_id, part)
        part.rows_kept += found.height
        statements.append(found)
    return statements


def _file_checksums(config: FactsConfig) -> list[str]:
    files = [config.link.get("reviewed"), config.link.get("words")]
    return [sha256_of(Path(file)) for file in files if file and Path(file).is_file()]


def _joined(source: SourceTable, column: str, keys: pl.Series, items: pl.DataFrame) -> pl.DataFrame:
    rows = pl.DataFrame(
        {
            "row": pl.int_range(len(keys), dtype=pl.Int64, eager=True),
            "item_id": ids(source.frame[column]),
            "doc_id": keys.fill_null(""),
            "confidence": pl.repeat(1.0, len(keys), dtype=pl.Float32, eager=True),
        }
    )
    return rows.filter(pl.col("item_id").is_in(items["item_id"].implode()))


def _linked(
    config: FactsConfig,
    source: SourceTable,
    keys: pl.Series,
    items: pl.DataFrame,
    known: pl.DataFrame,
    missing: Sequence[str],
    audit: BuildAudit,
) -> pl.DataFrame:
    from graph_etl.resolution import link_items

    if keys.null_count() or keys.is_duplicated().any():
        again = keys.filter(keys.is_duplicated() | keys.is_null())
        raise DataError(
            f"Expected '{config.id}' of {source.label} to be filled and to stand once, got "
            f"{again[0]!r} among {len(again)} such rows; name the column that is the key"
        )
    rules = config.link_config()
    year = numbers(source.frame[config.year])[0] if config.year else pl.Series([None] * len(keys))
    facts = pl.DataFrame(
        {
            "row": pl.int_range(len(keys), dtype=pl.Int64, eager=True),
            "fact_id": keys,
            "title": texts(source.frame[config.title or ""], missing),
            "year": year.cast(pl.Int64),
        }
    )
    for relation in rules.evidence:
        items = items.join(_values_of(known, relation), on="item_id", how="left")
        own = _fact_values(config, source, facts, relation, missing)
        facts = facts.join(own, on="fact_id", how="left")
    result = link_items(items, facts, rules)
    audit.links[source.label] = result.report
    return result.links.join(facts.select("row", "fact_id"), on="fact_id").select(
        "row", "item_id", doc_id="fact_id", confidence=pl.col("similarity").cast(pl.Float32)
    )


def _values_of(known: pl.DataFrame, relation: str) -> pl.DataFrame:
    """Return item_id and its values of a relation, under the relation's name."""
    return (
        known.filter(pl.col("relation") == relation)
        .group_by(item_id="doc_id")
        .agg(pl.col("tail_name").alias(relation))
    )


def _fact_values(
    config: FactsConfig,
    source: SourceTable,
    facts: pl.DataFrame,
    relation: str,
    missing: Sequence[str],
) -> pl.DataFrame:
    """Return fact_id and its values of a relation, under the relation's name."""
    everyone = facts.select(
        "row",
        pl.col("fact_id").alias("item_id"),
        pl.col("fact_id").alias("doc_id"),
        pl.lit(1.0, pl.Float32).alias("confidence"),
    )
    subjects = Subjects(everyone, "fact")
    wanted = [attribute for attribute in config.attributes if attribute.relation == relation]
    if not wanted:
        raise DataError(
            f"Expected link.evidence of {source.label} to name relations of its attributes, got "
            f"'{relation}'; the relations are "
            f"{', '.join(attribute.relation for attribute in config.attributes)}"
        )
    found = [statements_of(source, one, subjects, missing, "", TableAudit()) for one in wanted]
    return _values_of(pl.concat(found), relation).rename({"item_id": "fact_id"})
