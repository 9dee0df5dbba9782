"""dataset.yaml: which column of which table is what; reading the tables is for tables.py.

Two commented files to copy lie in mappings/examples, ready-made ones for public formats in
mappings. ``extends: NAME`` (a shipped mapping, or another YAML) takes all fields from there; those
written beside it replace them, one by one within a section.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from graph_etl.extraction.config import ExtractionConfig
from graph_etl.gates import GateConfig
from graph_etl.graph_schema import GraphSchema, check_name
from graph_etl.resolution.entity_config import ResolutionConfig
from graph_etl.table_config import FrozenModel, Names, Pieces, Table, Tables

if TYPE_CHECKING:
    from graph_etl.resolution.link_config import LinkConfig


Copies = Literal["refuse", "drop"]


class AttributeConfig(FrozenModel):
    """Columns whose values become entities, joined to the row's item by a relation."""

    column: Names
    """One column or several; list columns give one triple for each value."""
    relation: str
    """Relation of the triples item -> value."""
    entity_type: str | None = None
    """Type of the values' entities; left out together with ``references: items``."""
    phrase: str | None = None
    """The relation in words, "HEAD <phrase> TAIL"; default the relation's name as words."""
    separator: str | None = None
    """Between the values of one text cell; default none (one value), a space for token_seq."""
    strip: list[str] = Field(default=[])
    """Regular expressions of what is cut out of each value: ['\\s*\\([^)]*\\)$']."""
    drop: list[str] = Field(default=[])
    """Regular expressions; a value that one of them matches is left out and counted."""
    field: str | None = None
    """Which field holds the name, where the values are records ({"id": 31, "name": "..."})."""
    references: Literal["items"] | None = None
    """"items": the values are item ids (accessories, sequels), not names."""
    max_tails_per_head: int | None = None
    """Constraint of the derived schema: at most this many values for each item."""

    @field_validator("relation")
    @classmethod
    def _check_relation(cls, value: str) -> str:
        return check_name(value)

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.entity_type is None) == (self.references is None):
            raise ValueError(
                f"expected either entity_type or 'references: items' for relation "
                f"'{self.relation}' (got {'neither' if self.entity_type is None else 'both'})"
            )
        if self.entity_type is not None:
            check_name(self.entity_type)
        return self


class VectorsConfig(FrozenModel):
    """Vectors of the items that were made elsewhere: of their pictures, sounds, anything else."""

    table: Table
    """The table, a row for each item that has one; items without a row have none."""
    id: str = "item_id"
    """Column of the item id."""
    vector: str = "vector"
    """Column of the vector: a list of numbers, or a text cell of them with spaces or commas
    between; all of one length, known before anybody interacts."""


class ItemsConfig(FrozenModel):
    """The catalogue: one row for each item."""

    table: Table | None = None
    """The table; left out, the items are those of the interactions."""
    id: str = "item_id"
    """Column of the external item id, unique."""
    copies: Copies = "refuse"
    """Rows that stand in the table more than once, word for word: refuse them, or drop all but
    the first. Rows that share an id and differ are always refused."""
    title: Names = Field(default=["title"])
    """Column of the title; of several names the first that the table has. Left out in a table
    without that column, or empty: the id."""
    entity_type: str = "item"
    """Type of the items' own entities: film, book, artist."""
    year: str | None = None
    """Column of the year of publication; links facts by title and year."""
    text: Names | None = None
    """Pieces of text, each a column or a template "Genres: {genres}"; one with an empty column
    is left out; default the title, where it is not the id."""
    attributes: list[AttributeConfig] = Field(default=[])
    """Columns that become triples."""
    numeric: list[str] = Field(default=[])
    """Columns of numbers known before any interaction: price, year; never counts of clicks."""
    listed: str | None = None
    """Column that says whether the item may be recommended: yes or no, true or false, 1 or 0; an
    empty cell is a yes. An item that may not, since it is sold no longer, still tells of tastes."""
    vectors: VectorsConfig | None = None
    """Vectors of the items from elsewhere, which the models read beside text and numbers."""
    undeclared: Literal["ignore", "by_type"] = "ignore"
    """by_type: columns with a RecBole type that nothing above names become numeric (float) or
    attributes "has_COLUMN" (token, token_seq)."""

    _check_type = field_validator("entity_type")(classmethod(lambda cls, value: check_name(value)))


class UsersConfig(FrozenModel):
    """What is known of users; users without a row are added from the interactions."""

    table: Table
    """The table."""
    id: str = "user_id"
    """Column of the external user id, unique."""
    copies: Copies = "refuse"
    """Rows that stand in the table more than once, as in items."""
    profile: Pieces = Field(default=[])
    """Pieces of profile text, as items.text: "{age} year old {gender}, {occupation}"."""
    attributes: list[str] = Field(default=[])
    """Columns of categories (gender, occupation)."""
    numeric: list[str] = Field(default=[])
    """Columns of numbers (age)."""
    undeclared: Literal["ignore", "by_type"] = "ignore"
    """by_type: columns with a RecBole type that nothing above names, as in items."""


class TimestampConfig(FrozenModel):
    """The column that says when; a bare column name in the YAML means Unix seconds."""

    column: str
    """Column of the time."""
    unit: Literal["seconds", "milliseconds", "iso"] = "seconds"
    """Since 1970, or "iso": dates as 2024-05-31 or 2024-05-31T12:00:00Z (UTC without offset)."""
    format: str | None = None
    """strftime form of another kind of date: "%d.%m.%Y"; with unit iso."""


class EventConfig(FrozenModel):
    """The kind of each interaction: a column, or one constant for all."""

    column: str | None = None
    """Column of the kind: click, cart, purchase."""
    constant: str = "interaction"
    """The kind of every row where there is no column."""


class PositiveConfig(FrozenModel):
    """When an interaction counts as liked: its event is among ``events`` (where given) and its
    value, where it has one, is at least ``min_value``; nothing given: always.
    """

    min_value: float | None = None
    """Least value that counts as liked."""
    events: list[str] | None = None
    """Kinds of events that count as liked."""


class EventsConfig(FrozenModel):
    """Who did what with which item: columns and rules of such tables."""

    table: Tables | None = None
    """The table, or several of the same form, read one after another."""
    splits: dict[str, Table] | None = None
    """Instead of ``table``: split name -> table; kept as the column context.split."""
    user: str = "user_id"
    """Column of the user id."""
    item: Names = Field(default=["item_id"])
    """Column of the item id; list columns give a row for each value."""
    earlier: str | None = None
    """List column of the items that the user met before the row's item, in order (files of
    sequences give each history again with every target); each place is one event then, and the
    places stand for times: a day apart."""
    value: str | None = None
    """Column of the rating, duration or count."""
    timestamp: Annotated[
        TimestampConfig | None,
        BeforeValidator(lambda v: {"column": v} if isinstance(v, str) else v),
    ] = None
    """Column of the time and its unit."""
    optional_columns: bool = False
    """Whether the value and timestamp columns may be absent."""
    event: EventConfig = EventConfig()
    """Column or constant that names the kind of event."""
    context: list[str] = Field(default=[])
    """Columns of circumstances (device, hour), kept as context.NAME."""
    positive: PositiveConfig = PositiveConfig()
    """When an interaction counts as liked."""
    bad_timestamps: Literal["refuse", "drop"] = "refuse"
    """What to do with rows whose time is empty, NaN or no time."""
    bad_values: Literal["refuse", "drop", "keep"] = "drop"
    """What to do with rows whose value is NaN or no number, or empty where ``positive`` needs
    one and there is no event column; "keep" keeps the row without a value."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.table is None) == (self.splits is None):
            raise ValueError("expected either 'table' or 'splits' in interactions")
        if self.earlier is not None and (self.timestamp is not None or len(self.item) > 1):
            raise ValueError(
                "expected one item column and no timestamp beside 'earlier' in interactions: the "
                "places of the items stand for times"
            )
        return self


class InteractionsConfig(EventsConfig):
    """Who did what with which item."""

    unknown_items: Literal["refuse", "drop", "add"] = "drop"
    """What to do with rows whose item is not in the catalogue."""


class OutsideConfig(EventsConfig):
    """What users did with things outside the catalogue: they tell of tastes, no list shows them.

    Each thing becomes an unlisted item. Rows of items of the catalogue are left out, whatever they
    say: what users did with those stands in ``interactions`` alone, so that nothing of a test part
    comes in by this door.
    """

    title: str | None = None
    """Column of the thing's title; left out or empty, the id stands for it."""
    min_users: int = Field(default=2, ge=1)
    """Things that fewer users met are left out: one user alone ties nothing together."""


class LinkTableConfig(FrozenModel):
    """Which entity of an external graph an item is."""

    table: Table
    """The table."""
    item: str = "item_id"
    """Column of the item id."""
    entity: str = "entity_id"
    """Column of the entity's id in the graph."""


class EntityNamesConfig(FrozenModel):
    """Names, and perhaps types, of an external graph's entities."""

    table: Table
    """The table."""
    entity: str = "entity_id"
    """Column of the entity's id in the graph."""
    name: str = "name"
    """Column of its name."""
    type: str | None = None
    """Column of its type; default the section's entity_type."""


class TriplesConfig(FrozenModel):
    """An external graph: rows of head, relation, tail."""

    table: Table
    """The table."""
    head: str = "head_id"
    """Column of the head's id."""
    relation: str = "relation_id"
    """Column of the relation."""
    tail: str = "tail_id"
    """Column of the tail's id."""
    entity_type: str = "entity"
    """Type of entities that are not items."""
    link: LinkTableConfig | None = None
    """Which entity each item is; left out, an entity with an item's id is that item."""
    names: EntityNamesConfig | None = None
    """Names of the entities; left out, their ids stand for names."""
    relation_prefix: str = "relation_"
    """Put before relations that are bare numbers."""
    phrases: dict[str, str] = Field(default={})
    """Relation -> words, "HEAD <phrase> TAIL"; default the relation's name as words."""

    _check_type = field_validator("entity_type")(classmethod(lambda cls, value: check_name(value)))


class FactsConfig(FrozenModel):
    """A foreign table of facts about the same things, joined by item id, or by title and year."""

    table: Table
    """The table."""
    id: str
    """Column of the row's own key; becomes the triples' doc_id."""
    item: str | None = None
    """Column of the item id, where the table has it; then no linking is needed."""
    title: str | None = None
    """Column of the title, for linking."""
    year: str | None = None
    """Column of the year, for linking."""
    link: dict[str, Any] = Field(default={})
    """Settings of the title linker, as graph_etl.resolution.LinkConfig; ``evidence`` names
    relations that items and facts both have; files are relative to this YAML."""
    attributes: list[AttributeConfig]
    """Columns that become triples of the linked item."""

    @model_validator(mode="after")
    def _linkable(self) -> Self:
        if (self.item is None) == (self.title is None):
            raise ValueError("expected either 'item' or 'title' (and perhaps 'year') in facts")
        if self.title is not None:
            self.link_config()
        return self

    def link_config(self) -> LinkConfig:
        """Return the validated settings of the title linker."""
        from graph_etl.resolution.link_config import LinkConfig

        return LinkConfig.model_validate(self.link)


class DatasetConfig(FrozenModel):
    """The whole of dataset.yaml."""

    name: str
    """Short name; stands in tables and reports."""
    description: str = ""
    """One paragraph for people."""
    license: str = ""
    """Licence of the data: "CC0-1.0", "research use only"."""
    terms: str = ""
    """What a user of the data has to know or do: citation, no redistribution."""
    recognised_by: list[str] = Field(default=[])
    """File patterns, each matching one file of a folder, that tell this data set (mappings)."""
    missing_values: list[str] = Field(default=["n/a", "nan", "null", "\\N"])
    """Cells that mean "nothing", compared without case; the empty cell always does. The last is
    what databases export, backslash and N."""
    graph_schema: GraphSchema | str | None = None
    """The whitelist, or the path of a graph_schema.yaml; left out, derived from what is here."""
    items: ItemsConfig = ItemsConfig()
    """The catalogue."""
    users: UsersConfig | None = None
    """What is known of users."""
    interactions: InteractionsConfig
    """Who did what."""
    outside: list[OutsideConfig] = Field(default=[])
    """Who did what with things that are not in the catalogue."""
    triples: list[TriplesConfig] = Field(default=[])
    """External graphs."""
    facts: list[FactsConfig] = Field(default=[])
    """Foreign tables of facts."""
    extraction: ExtractionConfig | None = None
    """What is extracted from texts; null: nothing."""
    resolution: ResolutionConfig = ResolutionConfig()
    """Which spellings of attribute entities become one entity."""
    gates: GateConfig = GateConfig()
    """How much a build may differ from the published version."""

    @model_validator(mode="after")
    def _parts_alike(self) -> Self:
        for one in self.outside:
            if (one.splits is None) != (self.interactions.splits is None):
                raise ValueError(
                    "expected 'splits' both in interactions and in outside, or in neither; rows "
                    "that every model may learn from are 'splits: {train: TABLE}'"
                )
        return self

    @model_validator(mode="after")
    def _types_apart(self) -> Self:
        attributes = [*self.items.attributes, *(a for fact in self.facts for a in fact.attributes)]
        for attribute in attributes:
            if attribute.entity_type == self.items.entity_type:
                raise ValueError(
                    f"expected relation '{attribute.relation}' to lead to another type than the "
                    f"items' own '{self.items.entity_type}'; where its values are item ids say "
                    "'references: items'"
                )
        return self
