"""Gates between a built snapshot and its publishing: what a bad night looks like, in numbers.

They compare the new snapshot with the published one before the store or the pointer is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from graph_etl.errors import GateError
from graph_etl.snapshot import Snapshot
from graph_etl.store.changes import changes_between
from graph_etl.store.graph_rows import rows_of
from graph_etl.table_config import FrozenModel

COUNTED_TABLES = ("items", "users", "interactions")


class GoldQuery(FrozenModel):
    """A question whose answer is known: a graph that answers otherwise is not published."""

    name: str
    """What it asks, for people."""
    cypher: str
    """One read-only statement."""
    parameters: dict[str, Any] = Field(default={})
    """Values of $name in it."""
    min_rows: int | None = Field(default=None, ge=0)
    """Rows that the answer must have at least."""
    rows: list[list[Any]] | None = None
    """The rows that the answer must have, in order."""

    @model_validator(mode="after")
    def _expects_something(self) -> GoldQuery:
        if (self.min_rows is None) == (self.rows is None):
            raise ValueError(f"Expected either min_rows or rows for the gold query '{self.name}'")
        return self


class GateConfig(FrozenModel):
    """How much may change from one published version to the next."""

    count_drop: float = Field(default=0.10, ge=0, le=1)
    """Largest share by which an entity type, a relation or a table may shrink."""
    delete_share: float = Field(default=0.05, ge=0, le=1)
    """Largest share of all entities, or of all triples, that may go."""
    orphan_rise: float = Field(default=0.02, ge=0, le=1)
    """Largest rise of the share of entities without any triple."""
    degree_drift: float = Field(default=0.25, ge=0)
    """Largest relative change of the mean degree of an entity type."""
    min_count: int = Field(default=20, ge=0)
    """Types, relations, tables and graphs with fewer members are too small for shares."""
    gold: list[GoldQuery] = Field(default=[])
    """Questions with known answers, asked of the new graph."""


@dataclass(frozen=True)
class GateFinding:
    """One check that did not hold.

    Attributes:
        gate: "count_drop", "delete_share", "orphan_rise", "degree_drift" or "gold".
        what: The type, relation, table or question.
        found: The number found; None for an answer.
        limit: The number allowed; None for an answer.
        told: Both in words.
    """

    gate: str
    what: str
    found: float | None
    limit: float | None
    told: str


GATES = ("count_drop", "delete_share", "orphan_rise", "degree_drift", "gold")


def gate_findings(
    old: Snapshot | None, new: Snapshot, config: GateConfig
) -> tuple[GateFinding, ...]:
    """Return every check that the new snapshot fails, in the order of GATES.

    Args:
        old: The published snapshot; None for a first build, which only the gold queries judge.
        new: The snapshot that waits.
        config: The limits.
    """
    found: list[GateFinding] = []
    if old is not None and old.snapshot_id != new.snapshot_id:
        found += _count_drops(old, new, config)
        found += _deletions(old, new, config)
        found += _orphans(old, new, config)
        found += _drifts(old, new, config)
    if config.gold:
        found += _gold(new, config)
    return tuple(found)


def check_gates(findings: tuple[GateFinding, ...], accepted: Mapping[str, str]) -> None:
    """Raise GateError where a finding's gate is not among the accepted ones.

    Args:
        findings: What was found.
        accepted: Name of a gate -> why it may fail this once.
    """
    unknown = sorted(set(accepted) - set(GATES))
    if unknown:
        raise GateError(f"Expected names of gates among {GATES} to accept, got {unknown}")
    refused = [finding for finding in findings if finding.gate not in accepted]
    if refused:
        told = "; ".join(f"{finding.gate}: {finding.told}" for finding in refused[:5])
        more = f" and {len(refused) - 5} more" if len(refused) > 5 else ""
        raise GateError(
            f"Expected a graph within the gates, got {told}{more}; the published version stays. "
            "Mend the input, or accept with --accept-gate NAME --reason TEXT"
        )


def _count_drops(old: Snapshot, new: Snapshot, config: GateConfig) -> Iterator[GateFinding]:
    before, after = _counts(old), _counts(new)
    for what, count in before.items():
        now = after.get(what, 0)
        drop = 1 - now / count if count else 0.0
        if count >= config.min_count and drop > config.count_drop:
            told = f"{what} fell from {count:,} to {now:,} (-{drop:.1%}, at most "
            yield GateFinding(
                "count_drop", what, drop, config.count_drop, f"{told}-{config.count_drop:.1%})"
            )


def _counts(snapshot: Snapshot) -> dict[str, int]:
    types = snapshot.entities["entity_type"].value_counts().rows()
    relation_names = snapshot.relation_types["relation"].gather(snapshot.triples["relation_idx"])
    relations = relation_names.value_counts().rows()
    return {
        **{f"entities of type {name}": count for name, count in sorted(types)},
        **{f"triples {name}": count for name, count in sorted(relations)},
        **{f"rows of {name}": getattr(snapshot, name).height for name in COUNTED_TABLES},
    }


def _deletions(old: Snapshot, new: Snapshot, config: GateConfig) -> Iterator[GateFinding]:
    rows = [rows_of(part.entities, part.relation_types, part.triples) for part in (old, new)]
    changes = changes_between(*rows, delete_missing=True)
    parts = (
        ("entities", changes.entities.gone.height, rows[0].entities.height),
        ("triples", changes.triples.gone.height, rows[0].triples.height),
    )
    for what, gone, total in parts:
        share = gone / total if total else 0.0
        if total >= config.min_count and share > config.delete_share:
            told = f"{gone:,} of {total:,} {what} would go ({share:.1%}, at most "
            yield GateFinding(
                "delete_share",
                what,
                share,
                config.delete_share,
                f"{told}{config.delete_share:.1%})",
            )


def _orphans(old: Snapshot, new: Snapshot, config: GateConfig) -> Iterator[GateFinding]:
    shares = [float((_degrees(part) == 0).mean()) if part.entities.height else 0.0
              for part in (old, new)]  # fmt: skip
    rise = shares[1] - shares[0]
    if old.entities.height >= config.min_count and rise > config.orphan_rise:
        told = f"entities without a triple rose from {shares[0]:.1%} to {shares[1]:.1%} (at most "
        limit = f"+{config.orphan_rise * 100:.1f} points)"
        yield GateFinding("orphan_rise", "entities", rise, config.orphan_rise, told + limit)


def _drifts(old: Snapshot, new: Snapshot, config: GateConfig) -> Iterator[GateFinding]:
    before, after = _mean_degrees(old), _mean_degrees(new)
    for kind, (count, degree) in before.items():
        if count < config.min_count or kind not in after or not degree:
            continue
        drift = after[kind][1] / degree - 1
        if abs(drift) > config.degree_drift:
            told = f"the mean degree of {kind} went from {degree:.2f} to {after[kind][1]:.2f} "
            limit = f"({drift:+.1%}, at most +-{config.degree_drift:.1%})"
            yield GateFinding("degree_drift", kind, drift, config.degree_drift, told + limit)


def _degrees(snapshot: Snapshot) -> np.ndarray[Any, Any]:
    size = snapshot.entities.height
    ends = (snapshot.triples["head_idx"], snapshot.triples["tail_idx"])
    return sum((np.bincount(end.to_numpy(), minlength=size) for end in ends), np.zeros(size, int))


def _mean_degrees(snapshot: Snapshot) -> dict[str, tuple[int, float]]:
    table = pl.DataFrame(
        {"kind": snapshot.entities["entity_type"], "degree": _degrees(snapshot)}
    ).group_by("kind")
    rows = table.agg(pl.len().alias("count"), pl.col("degree").mean()).sort("kind").rows()
    return {kind: (count, degree) for kind, count, degree in rows}


def _gold(new: Snapshot, config: GateConfig) -> Iterator[GateFinding]:
    from graph_etl.store import load_store, open_store

    with TemporaryDirectory() as folder, open_store("kglite", Path(folder)) as store:
        load_store(new, store)
        for question in config.gold:
            answer = store.query(question.cypher, question.parameters)
            rows = [list(row.values()) for row in answer.rows]
            if question.min_rows is not None and len(rows) < question.min_rows:
                told = f"'{question.name}' gave {len(rows)} rows, expected at least "
                yield GateFinding(
                    "gold",
                    question.name,
                    len(rows),
                    question.min_rows,
                    f"{told}{question.min_rows}",
                )
            elif question.rows is not None and rows != question.rows:
                told = f"'{question.name}' gave {str(rows)[:120]}, expected {question.rows}"
                yield GateFinding("gold", question.name, None, None, told)
