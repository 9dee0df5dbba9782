"""How dataset.yaml names a table and says how to read it; roles of columns: dataset_config.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

SHIPPED = "corpus:"  # a path that begins so is that of a file which comes with the package
TableFormat = Literal["auto", "csv", "parquet", "jsonl", "sqlite", "recbole", "id_lists"]


class FrozenModel(BaseModel):
    """A configuration that cannot change after reading and accepts no unknown field."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        use_attribute_docstrings=True,
        coerce_numbers_to_str=True,  # codes: {1: male, 2: female}
    )


class DeriveConfig(FrozenModel):
    """A column computed from another one: html, then replace, then extract, then map.

    Applied to every value of a list column. Regular expressions are those of Rust's regex crate.
    """

    column: str
    """Column to start from; it may be one derived before."""
    html: bool = False
    """Cut out tags, also one that breaks off at the end, and turn entities such as "&amp;" into
    the characters they stand for."""
    replace: str | None = None
    """Regular expression; every match is replaced by ``with``."""
    replacement: str = Field(default="", alias="with")
    """What ``replace`` puts in; "$1" is the first group."""
    extract: str | None = None
    """Regular expression with one group; the cell becomes that group, or empty without a match."""
    map: dict[str, str] | None = None
    """Code -> word ("M": "male"); a code that is not listed stays as it is."""


class JoinConfig(FrozenModel):
    """A second table whose columns are put beside those of the first, row by row, by a key."""

    table: TableConfig
    """The second table."""
    key: str
    """Column of the first table that names the row of the second."""
    other_key: str | None = None
    """Column of the second that holds it; default: of the same name. A key stands there once."""
    columns: list[str] | None = None
    """Columns that are wanted of the second; default all."""

    @field_validator("table", mode="before")
    @classmethod
    def _by_path(cls, value: Any) -> Any:
        return _table_from(value)


class TableConfig(FrozenModel):
    """Where a table is and how to read it; a bare string in the YAML is its ``path``."""

    path: str
    """File below the data folder (a pattern as "*.inter" must match one), a name of sources, or a
    text that is shipped: "corpus:films/synopses.jsonl"."""
    format: TableFormat = "auto"
    """"auto" goes by the file's ending: .csv .tsv .txt .dat .parquet .jsonl .json .db .inter ..."""
    separator: str | None = None
    """Between the cells of a text table; one or more characters. Default: tab for .tsv, else what
    the header shows of "," ";" tab "|", in this order."""
    columns: list[str] | None = None
    """Names of the columns of a text table without a header line."""
    quote: str | None = None
    """Quote character of a text table; default '"' with separator "," or ";" and where the first
    line begins with it, else none."""
    encoding: str = "utf-8"
    """Encoding of a text table, as Python calls it; old files are often "latin-1"."""
    sql_table: str | None = None
    """Table of an SQLite file."""
    optional: bool = False
    """Whether the file may be absent; the section that needs it is then left out."""
    join: list[JoinConfig] = Field(default=[])
    """Second tables whose columns stand beside this one's; rows without a partner are counted."""
    derive: dict[str, DeriveConfig] = Field(default={})
    """New column -> how to compute it, in this order; joined columns too."""

    @property
    def label(self) -> str:
        """The name that messages and provenance use: "movies.db:omdb"."""
        return f"{self.path}:{self.sql_table}" if self.sql_table else self.path


def _table_from(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, (str, dict, BaseModel)) else value


Table = Annotated[TableConfig, BeforeValidator(_table_from)]
Tables = Annotated[list[Table], BeforeValidator(_listed), Field(min_length=1)]
Pieces = Annotated[list[str], BeforeValidator(_listed)]
Names = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
