"""Decisions of people on pairs of entities: the review file, read, checked and written.

A row is a pair of entity ids with the answer yes (one entity), no (two) or nothing yet. The build
adds the pairs it is not sure of; what somebody decided stays as it was written.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from graph_etl.errors import ConfigError
from graph_etl.resolution.entity_groups import Groups, Link
from graph_etl.snapshot import sync_folder, write_synced

COLUMNS = (
    "type", "id_a", "name_a", "id_b", "name_b", "score", "evidence", "decision", "decided_by",
)  # fmt: skip
_ANSWERS = ("", "yes", "no")
_SHOWN = 200  # characters of a name in the file; ids are whole


@dataclass(frozen=True)
class ReviewRow:
    """One row of a review file.

    Attributes:
        type: Entity type of both.
        id_a, id_b: The two entity ids.
        name_a, name_b: Their names, for people.
        score: As the rules found it, "" in a row written by hand.
        evidence: Why.
        decision: "yes", "no" or "".
        decided_by: Who answered: a person, "undo", a model's name.
        where: "line 5 of FILE", for messages.
    """

    type: str
    id_a: str
    name_a: str
    id_b: str
    name_b: str
    score: str
    evidence: str
    decision: str
    decided_by: str
    where: str = field(default="", compare=False)

    @property
    def pair(self) -> tuple[str, str]:
        """The two ids in order."""
        return (self.id_a, self.id_b) if self.id_a < self.id_b else (self.id_b, self.id_a)


@dataclass(frozen=True)
class Decisions:
    """What people decided.

    Attributes:
        same: Pairs of ids, each in order, that are one entity.
        different: Pairs of ids, each in order, that never are.
    """

    same: frozenset[tuple[str, str]] = frozenset()
    different: frozenset[tuple[str, str]] = frozenset()


def read_review(path: Path) -> list[ReviewRow]:
    """Return the rows of a review file.

    Raises:
        ConfigError: The file is no UTF-8 CSV with the columns of COLUMNS, or a row lacks an id,
            has another decision than yes, no or nothing, or an id of another type.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        header = tuple(lines.fieldnames or ())
        if not set(COLUMNS) <= set(header):
            missing = [column for column in COLUMNS if column not in header]
            raise ConfigError(
                f"Expected columns {','.join(COLUMNS)} in {path}, got {','.join(header)[:200]}; "
                f"add {', '.join(missing)}"
            )
        return [_row(line, f"line {lines.line_num} of {path}") for line in lines]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            f"Expected a review file, CSV in UTF-8 with the columns {','.join(COLUMNS)}, at {path} "
            f"(got: {error}); mend it, or take it away and decide anew"
        ) from error


def _row(line: dict[str, str | None], where: str) -> ReviewRow:
    cells = {column: line[column] or "" for column in COLUMNS}
    cells["decision"] = cells["decision"].strip().lower()
    row = ReviewRow(**cells, where=where)
    if None in line or None in line.values():
        raise ConfigError(f"Expected {len(COLUMNS)} cells in {where}, got another number; mend it")
    if row.decision not in _ANSWERS:
        raise ConfigError(
            f"Expected the decision yes, no or nothing in {where}, got '{row.decision[:40]}'; "
            "mend that row"
        )
    prefix = f"{row.type}:"
    if row.id_a == row.id_b or not all(one.startswith(prefix) for one in row.pair):
        raise ConfigError(
            f"Expected two ids of the row's type '{row.type}' in {where}, got '{row.id_a[:80]}' "
            f"and '{row.id_b[:80]}'; entities of two types are never one"
        )
    return row


def decisions_of(rows: Iterable[ReviewRow]) -> Decisions:
    """Return what the rows decide.

    Raises:
        ConfigError: Rows contradict each other, directly or through others; they are named.
    """
    answered = [row for row in rows if row.decision]
    same = [row for row in answered if row.decision == "yes"]
    ids = {one for row in answered for one in row.pair}
    groups = Groups(ids, ())
    for row in same:
        groups.join(Link(*row.pair, row.where, 1.0, ""))
    for row in answered:
        if row.decision == "no" and groups.root(row.id_a) == groups.root(row.id_b):
            group = set(groups.members(row.id_a))
            against = [other.where for other in same if other.id_a in group]
            raise ConfigError(
                f"Expected decisions that agree, got 'no' in {row.where} for '{row.id_a[:80]}' and "
                f"'{row.id_b[:80]}', which 'yes' in {', '.join(against[:5])} makes one; change one"
            )
    return Decisions(
        frozenset(row.pair for row in same),
        frozenset(row.pair for row in answered if row.decision == "no"),
    )


def write_review(path: Path, rows: Sequence[ReviewRow]) -> bool:
    """Write a review file; return False, and write nothing, where it stands already so."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([getattr(row, column) for column in COLUMNS] for row in rows)
    content = text.getvalue().encode()
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.new")
    write_synced(staging, content)
    staging.replace(path)
    sync_folder(path.parent)
    return True


def with_open_pairs(rows: Sequence[ReviewRow], found: Sequence[ReviewRow]) -> list[ReviewRow]:
    """Return the decided rows of a review file as they stand, then the open pairs of a build."""
    decided = [row for row in rows if row.decision]
    known = {row.pair for row in decided}
    return [*decided, *(row for row in found if row.pair not in known)]


def decided(rows: Sequence[ReviewRow], new: Sequence[ReviewRow]) -> list[ReviewRow]:
    """Return rows with new decisions in them, in place of older ones on the same pairs."""
    fresh = {row.pair: row for row in new}
    changed = []
    for row in rows:
        answer = fresh.pop(row.pair, None)
        if answer is not None:
            row = replace(row, decision=answer.decision, decided_by=answer.decided_by)
        changed.append(row)
    return [*changed, *fresh.values()]


def shown(name: str) -> str:
    """Return a name as it may stand in a file that people open: one line, no formula."""
    line = "".join(c if c.isprintable() else " " for c in name[:_SHOWN])
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
