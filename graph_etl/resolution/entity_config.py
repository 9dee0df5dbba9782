"""The settings of entity resolution: which spellings of one type become one entity."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from graph_etl.graph_schema import check_name
from graph_etl.resolution.entity_names import NameKind
from graph_etl.table_config import FrozenModel

Level = Literal["spelling", "exact", "similar"]


class ResolutionConfig(FrozenModel):
    """Which names of attribute entities are one entity; never across entity types."""

    level: Level = "spelling"
    """spelling: names equal but for case, width and spaces, the id itself; exact: also but for
    accents, punctuation and initials; similar: also what the rules find sure enough."""
    kinds: dict[str, NameKind] = Field(default={})
    """Entity type -> what its names are: person, organisation or words (any type not named)."""
    last_first: list[str] = Field(default=[])
    """Entity types whose names may be written "Last, First"."""
    types: list[str] | None = None
    """Entity types that are resolved; default all but the items' own."""
    accept_at: float = Field(default=0.92, gt=0, le=1)
    """Score (0-1) from which on two names are one without being asked about."""
    review_at: float = Field(default=0.8, gt=0, le=1)
    """Score from which on a pair is written to the review file; no two members of one merged
    entity may be less alike."""
    shared_items: dict[str, Literal["for", "against"]] = Field(default={})
    """Relation -> what it says of two similar names that both stand on one item: "for" where
    people spell it differently (tags), "against" where one cell lists both (casts)."""
    reviewed: Path | None = None
    """CSV of decisions beside those in DIR/resolution/review.csv, with the same columns; relative
    to this YAML."""
    max_block: int = Field(default=100, ge=2)
    """Names of one block of near ones that are compared with each other; more are cut, counted."""
    max_length: int = Field(default=200, ge=1)
    """Characters of a name up to which it is compared for similarity."""

    @field_validator("kinds", "last_first", "types")
    @classmethod
    def _check_types(cls, value: dict[str, str] | list[str] | None) -> object:
        for name in value or ():
            check_name(name)
        return value

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.review_at > self.accept_at:
            raise ValueError(
                f"expected review_at at most accept_at (got {self.review_at} > {self.accept_at})"
            )
        return self
