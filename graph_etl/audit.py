"""Accounting of rows: what came in, what was kept, repaired or dropped, and why.

Every table of a build has one TableAudit; the build puts them all in the snapshot's manifest.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graph_etl.errors import DataError

_log = logging.getLogger(__name__)


@dataclass
class TableAudit:
    """Counts for one table, or for one kind of statement drawn from it.

    Attributes:
        rows_in: Rows read (or values found, for statements).
        rows_kept: Rows that stand in the snapshot because of it.
        dropped: Reason -> rows left out.
        repaired: Reason -> rows kept after a stated repair.
        noted: Anything else worth a number: added users, unnamed entities.
    """

    rows_in: int = 0
    rows_kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    repaired: dict[str, int] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str, rows: int) -> None:
        """Count rows that were left out."""
        _count(self.dropped, reason, rows)

    def repair(self, reason: str, rows: int) -> None:
        """Count rows that were kept after a repair."""
        _count(self.repaired, reason, rows)

    def note(self, what: str, rows: int) -> None:
        """Count something that is neither dropped nor repaired."""
        _count(self.noted, what, rows)

    def note_all(self, notes: Mapping[str, int]) -> None:
        """Count several such things."""
        for what, rows in notes.items():
            self.note(what, rows)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain JSON values."""
        return {
            "rows_in": self.rows_in,
            "rows_kept": self.rows_kept,
            "dropped": dict(self.dropped),
            "repaired": dict(self.repaired),
            "noted": dict(self.noted),
        }


def _count(counts: dict[str, int], reason: str, rows: int) -> None:
    if rows:
        counts[reason] = counts.get(reason, 0) + rows


@dataclass
class BuildAudit:
    """The audits of one build by table.

    Attributes:
        tables: Name ("items", "interactions", "attributes.directed_by") -> its counts.
        links: Reports of the title linker, one for each table of facts.
        extraction: "gold": how well labelled texts were read; empty where none are named.
    """

    tables: dict[str, TableAudit] = field(default_factory=dict)
    links: dict[str, dict[str, Any]] = field(default_factory=dict)
    extraction: dict[str, Any] = field(default_factory=dict)

    def table(self, name: str) -> TableAudit:
        """Return the audit of a table, made on first use."""
        return self.tables.setdefault(name, TableAudit())

    def check(self) -> None:
        """Log every count; raise DataError unless rows in = rows kept + rows dropped everywhere.

        Raises:
            DataError: A table does not add up: a fault in the build itself, never in the data.
        """
        for name, audit in self.tables.items():
            _log.info("%s: %s", name, audit.as_dict())
            lost = audit.rows_in - audit.rows_kept - sum(audit.dropped.values())
            if lost:
                raise DataError(
                    f"Expected rows in = rows kept + rows dropped for '{name}', got "
                    f"{audit.rows_in} != {audit.rows_kept} + {sum(audit.dropped.values())}; "
                    "this is a fault of the build, please report it"
                )

    def as_dict(self) -> dict[str, Any]:
        """Return all counts as plain JSON values, for the manifest."""
        tables = {name: audit.as_dict() for name, audit in self.tables.items()}
        found: dict[str, Any] = {"tables": tables, "links": self.links}
        return {**found, "extraction": self.extraction} if self.extraction else found
