"""Tables by their name in dataset.yaml, as polars frames, with errors that tell what is there.

Finds the file, has table_formats.py parse it, adds derived columns and checks that the columns
which are asked for exist. Cells of text tables stay text; cells.py makes ids and numbers of them.
"""

from __future__ import annotations

import difflib
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html.entities import html5
from pathlib import Path

import polars as pl

from graph_etl.errors import ConfigError, DataError
from graph_etl.snapshot import sha256_of
from graph_etl.table_config import SHIPPED, DeriveConfig, JoinConfig, TableConfig
from graph_etl.table_formats import parse_table
from graph_etl.table_joins import joined

# the second kind was cut off: <span class="title"
_TAG = "<[^>]*>|<[A-Za-z/!][^<>]*$"
_ENTITIES = (
    {f"&{name}": character for name, character in html5.items() if name.endswith(";")}
    | {f"&#{code};": chr(code) for code in range(32, 0x2500)}
    | {f"&#x{code:x};": chr(code) for code in range(32, 0x2500)}
    | {"&nbsp;": " ", "&#160;": " "}
)
Frames = Mapping[str, pl.DataFrame]
_CORPORA = Path(__file__).parent / "extraction" / "corpora"


@dataclass(frozen=True)
class SourceTable:
    """A table as read.

    Attributes:
        label: Its name in messages and provenance ("ratings.csv").
        frame: Its rows; text tables have String columns only.
        kinds: Column -> "token", "token_seq", "float" or "float_seq", where the header says so.
        digest: Checksum of what was read: the file's or frame's, with those joined to it.
        notes: What an audit should tell of the reading -> rows: those without a partner.
    """

    label: str
    frame: pl.DataFrame
    kinds: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
    notes: Mapping[str, int] = field(default_factory=dict)

    def require(self, columns: Iterable[str]) -> None:
        """Raise DataError where a column is absent, naming the nearest that is there."""
        for column in columns:
            if column not in self.frame.columns:
                raise DataError(
                    f"Expected a column '{column}' in {self.label}, got "
                    f"{listed(self.frame.columns)}{_nearest(column, self.frame.columns)}; "
                    "correct the name in dataset.yaml"
                )

    def first_of(self, names: Sequence[str]) -> str:
        """Return the first of these columns that exists, or raise DataError."""
        for name in names:
            if name in self.frame.columns:
                return name
        self.require([names[0]])
        raise AssertionError("unreachable: require raised")


@dataclass
class TableReader:
    """Reads the tables of one data set and remembers their checksums.

    Attributes:
        folder: What the paths of dataset.yaml are relative to.
        sources: Frames given from Python; a table's path may be one of these names.
        inputs: Label -> sha256 of every file or frame read so far.
    """

    folder: Path
    sources: Frames = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)

    def read(
        self,
        table: TableConfig,
        columns: Iterable[str] | None = None,
        welcome: Iterable[str] = (),
    ) -> SourceTable:
        """Return the table with its derived columns.

        Args:
            table: Where it is and how it is written.
            columns: The columns that are needed; others may be left unread. None: all.
            welcome: Columns that are read too where the table has them.

        Raises:
            DataError: The file is absent, empty, undecodable or lacks a column.
            ConfigError: The format cannot be told or the sources have no such name.
        """
        found = self.find(table)
        if found is None:
            raise DataError(self._missing(table))
        wanted = None if columns is None or table.join else [*columns, *welcome]
        raw, recipes = _needed(wanted, table.derive)
        if isinstance(found, pl.DataFrame):
            source = SourceTable(table.label, found, digest=frame_digest(found))
        else:
            label = table.label.replace(table.path, found.name, 1)
            frame, kinds = parse_table(found, table, raw, label)
            if raw is not None and not set(raw) <= set(frame.columns):
                frame, kinds = parse_table(found, table, None, label)  # tell all that is there
            source = SourceTable(label, frame, kinds, sha256_of(found))
        self.inputs[source.label] = source.digest
        if source.frame.height == 0:
            raise DataError(
                f"Expected rows in {source.label}, got an empty table; "
                "is the file complete, and its path right?"
            )
        for join in table.join:
            source = self._joined(source, join)
        for name, recipe in recipes.items():
            source = _derived(source, name, recipe)
        if columns is not None:
            source.require(columns)
        return source

    def _joined(self, source: SourceTable, join: JoinConfig) -> SourceTable:
        key = join.other_key or join.key
        wanted = None if join.columns is None else [key, *join.columns]
        other = self.read(join.table, wanted)
        rows = other.frame if wanted is None else other.frame.select(list(dict.fromkeys(wanted)))
        frame, alone = joined((source.label, source.frame), (other.label, rows), join)
        kinds = {**{name: other.kinds[name] for name in other.kinds if name != key}, **source.kinds}
        notes = {**source.notes, **other.notes}
        if alone:
            notes[f"rows without a partner in {other.label}"] = alone
        digest = hashlib.sha256(f"{source.digest} {other.digest}".encode()).hexdigest()
        return SourceTable(source.label, frame, kinds, digest, notes)

    def has(self, table: TableConfig) -> bool:
        """Return whether the table is there; only an optional one may be absent."""
        if self.find(table) is not None:
            return True
        if not table.optional:
            raise DataError(self._missing(table))
        return False

    def find(self, table: TableConfig) -> Path | pl.DataFrame | None:
        """Return the table's frame or file, or None where there is neither."""
        if table.path in self.sources:
            return self.sources[table.path]
        if table.path.startswith(SHIPPED):
            shipped = shipped_or(table.path)
            return shipped if shipped.is_file() else None
        if not any(mark in table.path for mark in "*?["):
            path = self.folder / table.path
            return path if path.is_file() else None
        matches = sorted(path for path in self.folder.glob(table.path) if path.is_file())
        if len(matches) > 1:
            raise DataError(
                f"Expected one file that matches '{table.path}' in {self.folder}, got "
                f"{[path.name for path in matches]}; name one of them in dataset.yaml"
            )
        return matches[0] if matches else None

    def _missing(self, table: TableConfig) -> str:
        parent = (self.folder / table.path).parent
        there = sorted(path.name for path in parent.iterdir()) if parent.is_dir() else []
        names = [*there, *self.sources]
        there_is = (
            f"there is: {listed(there)}" if there else f"the folder {parent} is empty or absent"
        )
        frames = f"; frames given from Python: {', '.join(self.sources)}" if self.sources else ""
        return (
            f"Expected the table {table.path} in {self.folder}, found none"
            f"{_nearest(Path(table.path).name, names)}; "
            f"{there_is}{frames}; correct the path in dataset.yaml or the data folder"
        )


def listed(names: Sequence[str], most: int = 30) -> str:
    """Return names for a message, the first of many."""
    return ", ".join(names[:most]) + (f", … ({len(names)} in all)" if len(names) > most else "")


def shipped_or(path: str | Path) -> Path:
    """Return a path as it is, or where the package keeps the file that "corpus:..." names."""
    text = str(path)
    return _CORPORA / text.removeprefix(SHIPPED) if text.startswith(SHIPPED) else Path(path)


def frame_digest(frame: pl.DataFrame) -> str:
    """Return the SHA-256 of a frame's schema and content, independent of its chunks."""
    digest = hashlib.sha256(str(frame.schema).encode())
    frame.rechunk().write_ipc_stream(buffer := io.BytesIO())
    digest.update(buffer.getbuffer())
    return digest.hexdigest()


def _nearest(name: str, candidates: Sequence[str]) -> str:
    lower = {candidate.lower(): candidate for candidate in candidates}
    close = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    return f" (did you mean '{lower[close[0]]}'?)" if close else ""


def _needed(
    columns: Iterable[str] | None, derive: Mapping[str, DeriveConfig]
) -> tuple[list[str] | None, dict[str, DeriveConfig]]:
    """Return the columns to read from the file, and the recipes that the rest need, in order."""
    if columns is None:
        return None, dict(derive)
    needed, recipes = list(columns), dict[str, DeriveConfig]()
    for name, recipe in reversed(list(derive.items())):
        if name in needed:
            needed = [column for column in needed if column != name] + [recipe.column]
            recipes = {name: recipe, **recipes}
    return list(dict.fromkeys(needed)), recipes


def _derived(source: SourceTable, name: str, recipe: DeriveConfig) -> SourceTable:
    source.require([recipe.column])
    expression = _derive_expression(source.frame, recipe, source.label)
    return replace(source, frame=source.frame.with_columns(expression.alias(name)))


def _derive_expression(frame: pl.DataFrame, recipe: DeriveConfig, label: str) -> pl.Expr:
    dtype = frame.schema[recipe.column]
    try:
        if isinstance(dtype, pl.List):
            return pl.col(recipe.column).list.eval(_recipe(pl.element(), recipe))
        expression = _recipe(pl.col(recipe.column), recipe)
        frame.head(1).select(expression)
    except pl.exceptions.ComputeError as error:
        raise ConfigError(
            f"Expected a regular expression in 'derive' of {label}, column '{recipe.column}', "
            f"got: {error}"
        ) from error
    return expression


def _recipe(cell: pl.Expr, recipe: DeriveConfig) -> pl.Expr:
    cell = cell.cast(pl.String)
    if recipe.html:
        cell = cell.str.replace_all(_TAG, " ").str.replace_many(_ENTITIES)
    if recipe.replace is not None:
        cell = cell.str.replace_all(recipe.replace, recipe.replacement)
    if recipe.extract is not None:
        cell = cell.str.extract(recipe.extract, 1)
    if recipe.map is not None:
        cell = cell.str.strip_chars().replace(recipe.map)
    return cell
