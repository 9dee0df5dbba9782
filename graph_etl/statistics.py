"""Figures about a snapshot that tell whether a graph is good for anything; printing is cli's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from graph_etl.snapshot import Snapshot

_DEGREE_BOUNDS = (0, 1, 2, 5, 10, 20, 50, 100, 1000)


@dataclass(frozen=True)
class TypeFigures:
    """One entity type.

    Attributes:
        entity_type: Its name.
        count: Entities of it.
        orphans: Those that no triple touches.
        median_degree, mean_degree, max_degree: Triples that touch an entity, in either direction.
    """

    entity_type: str
    count: int
    orphans: int
    median_degree: float
    mean_degree: float
    max_degree: int


@dataclass(frozen=True)
class TopEntity:
    """A frequent tail of a relation."""

    entity_id: str
    name: str
    triples: int


@dataclass(frozen=True)
class RelationFigures:
    """One pattern (head type, relation, tail type).

    Attributes:
        relation, head_type, tail_type: The pattern.
        triples: Number of triples.
        heads, tails: Different entities on either side.
        item_share: Share of all items that are head or tail of such a triple, 0..1.
        top: Most frequent tails, most frequent first.
    """

    relation: str
    head_type: str
    tail_type: str
    triples: int
    heads: int
    tails: int
    item_share: float
    top: tuple[TopEntity, ...]


@dataclass(frozen=True)
class DegreeBin:
    """How many entities have a degree in ``low``..``high``; ``high`` None: no upper end."""

    low: int
    high: int | None
    entities: int


@dataclass(frozen=True)
class TextFigures:
    """How much text the items have.

    Attributes:
        items: All items.
        with_text: Items whose text is not empty.
        median_characters: Of the texts that are not empty; 0 where there is none.
        interaction_share: Share of interactions that are with an item that has text, 0..1.
    """

    items: int
    with_text: int
    median_characters: float
    interaction_share: float


@dataclass(frozen=True)
class SaidTriple:
    """A triple that a text states.

    Attributes:
        head, tail: Names of its ends.
        evidence: The stretch of the text that says so.
    """

    head: str
    tail: str
    evidence: str


@dataclass(frozen=True)
class ExtractedFigures:
    """What texts add to the graph by one relation: triples that no table has.

    Attributes:
        relation: The relation.
        triples: How many.
        mean_confidence: Of them.
        samples: Some of the surest.
    """

    relation: str
    triples: int
    mean_confidence: float
    samples: tuple[SaidTriple, ...]


@dataclass(frozen=True)
class NewEntities:
    """Entities of a type that stand in the graph because of texts alone.

    Attributes:
        entity_type: The type.
        count: How many.
        samples: Names of those with the most triples.
    """

    entity_type: str
    count: int
    samples: tuple[str, ...]


@dataclass(frozen=True)
class GraphStatistics:
    """All figures of a snapshot."""

    snapshot_id: str
    dataset: str
    entities: int
    triples: int
    users: int
    interactions: int
    positive_interactions: int
    orphans: int
    entity_types: tuple[TypeFigures, ...]
    relations: tuple[RelationFigures, ...]
    degrees: tuple[DegreeBin, ...]
    text: TextFigures
    extracted: tuple[ExtractedFigures, ...] = ()
    extracted_entities: tuple[NewEntities, ...] = ()


def statistics_of(snapshot: Snapshot, *, top: int = 5) -> GraphStatistics:
    """Return the figures of a snapshot.

    Args:
        snapshot: A verified snapshot.
        top: How many frequent tails to name for each relation.
    """
    degree = _degrees(snapshot)
    return GraphStatistics(
        snapshot_id=snapshot.snapshot_id,
        dataset=str(snapshot.manifest.get("dataset", {}).get("name", "")),
        entities=snapshot.entities.height,
        triples=snapshot.triples.height,
        users=snapshot.users.height,
        interactions=snapshot.interactions.height,
        positive_interactions=int(snapshot.interactions["positive"].sum()),
        orphans=int((degree == 0).sum()),
        entity_types=_type_figures(snapshot, degree),
        relations=tuple(
            _relation_figures(snapshot, row, top)
            for row in snapshot.relation_types.iter_rows(named=True)
        ),
        degrees=_degree_bins(degree),
        text=_text_figures(snapshot),
        extracted=_extracted_figures(snapshot),
        extracted_entities=_extracted_entities(snapshot),
    )


def _degrees(snapshot: Snapshot) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Shape (num_entities,): triples that touch each entity; a self loop counts twice."""
    ends = np.concatenate(
        [snapshot.triples["head_idx"].to_numpy(), snapshot.triples["tail_idx"].to_numpy()]
    )
    return np.bincount(ends, minlength=snapshot.entities.height)


def _type_figures(
    snapshot: Snapshot, degree: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> tuple[TypeFigures, ...]:
    table = (
        snapshot.entities.select("entity_type")
        .with_columns(degree=pl.Series(degree))
        .group_by("entity_type")
        .agg(
            count=pl.len(),
            orphans=(pl.col("degree") == 0).sum(),
            median_degree=pl.col("degree").median(),
            mean_degree=pl.col("degree").mean(),
            max_degree=pl.col("degree").max(),
        )
        .sort("count", "entity_type", descending=[True, False])
    )
    return tuple(TypeFigures(**row) for row in table.iter_rows(named=True))


def _relation_figures(snapshot: Snapshot, row: dict[str, object], top: int) -> RelationFigures:
    triples = snapshot.triples.filter(pl.col("relation_idx") == row["relation_idx"])
    ends = pl.concat([triples["head_idx"], triples["tail_idx"]]).unique()
    items = snapshot.items["entity_idx"]
    frequent = (
        triples.group_by("tail_idx")
        .len()
        .join(snapshot.entities, left_on="tail_idx", right_on="entity_idx")
        .sort("len", "entity_id", descending=[True, False])
        .head(top)
    )
    return RelationFigures(
        relation=str(row["relation"]),
        head_type=str(row["head_type"]),
        tail_type=str(row["tail_type"]),
        triples=triples.height,
        heads=triples["head_idx"].n_unique(),
        tails=triples["tail_idx"].n_unique(),
        item_share=_share(items.is_in(ends.implode())),
        top=tuple(
            TopEntity(*values) for values in frequent.select("entity_id", "name", "len").iter_rows()
        ),
    )


def _degree_bins(degree: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[DegreeBin, ...]:
    lows = [*_DEGREE_BOUNDS]
    highs = [low - 1 for low in lows[1:]]
    bins = [
        DegreeBin(low, high, int(((degree >= low) & (degree <= high)).sum()))
        for low, high in zip(lows, highs, strict=False)
    ]
    return (*bins, DegreeBin(lows[-1], None, int((degree >= lows[-1]).sum())))


def _text_figures(snapshot: Snapshot) -> TextFigures:
    length = snapshot.items["text"].fill_null("").str.len_chars()
    with_text = length > 0
    median = length.filter(with_text).median() if with_text.any() else 0.0
    return TextFigures(
        items=snapshot.items.height,
        with_text=int(with_text.sum()),
        median_characters=float(str(median)),
        interaction_share=_share(with_text.gather(snapshot.interactions["item_idx"])),
    )


def _extracted_figures(snapshot: Snapshot, samples: int = 3) -> tuple[ExtractedFigures, ...]:
    """Return the figures by relation, most triples first; samples one for each head."""
    if "evidence.text" not in snapshot.triples.columns:
        return ()
    names = snapshot.entities["name"]
    said = snapshot.triples.filter(pl.col("engine") != "table")
    table = said.select(
        relation=snapshot.relation_types["relation"].gather(said["relation_idx"]),
        confidence="confidence",
        head=names.gather(said["head_idx"]),
        tail=names.gather(said["tail_idx"]),
        evidence="evidence.text",
    ).sort("confidence", "head", "tail", descending=[True, False, False])
    figures = []
    for (relation,), part in table.partition_by("relation", as_dict=True).items():
        shown = part.unique("head", keep="first", maintain_order=True).head(samples)
        figures.append(
            ExtractedFigures(
                relation=str(relation),
                triples=part.height,
                mean_confidence=float(part["confidence"].cast(pl.Float64).sum()) / part.height,
                samples=tuple(
                    SaidTriple(*row) for row in shown.select("head", "tail", "evidence").iter_rows()
                ),
            )
        )
    return tuple(sorted(figures, key=lambda one: (-one.triples, one.relation)))


def _extracted_entities(snapshot: Snapshot, samples: int = 5) -> tuple[NewEntities, ...]:
    """Return the entities that only extracted triples touch, by type, most first; no items."""
    ends = pl.concat(
        [snapshot.triples.select(pl.col(end).alias("entity_idx"), "engine") for end in _ENDS]
    )
    by_entity = ends.group_by("entity_idx").agg(
        triples=pl.len(), new=(pl.col("engine") != "table").all()
    )
    new = (
        by_entity.filter("new")
        .join(snapshot.items.select("entity_idx"), on="entity_idx", how="anti")
        .join(snapshot.entities, on="entity_idx")
        .sort("triples", "name", descending=[True, False])
        .group_by("entity_type", maintain_order=True)
        .agg(count=pl.len(), samples=pl.col("name").head(samples))
        .sort("count", "entity_type", descending=[True, False])
    )
    return tuple(NewEntities(kind, count, tuple(names)) for kind, count, names in new.iter_rows())


_ENDS = ("head_idx", "tail_idx")


def _share(values: pl.Series) -> float:
    return float(values.sum()) / len(values) if len(values) else 0.0
