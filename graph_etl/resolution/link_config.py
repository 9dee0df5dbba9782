"""The settings of linking: which ways of meeting are tried, and how sure each must be."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Method = Literal[
    "exact", "without_article", "alternative_title", "year_shifted", "part_of_title", "similar"
]
METHODS: tuple[Method, ...] = (
    "exact",
    "without_article",
    "alternative_title",
    "year_shifted",
    "part_of_title",
    "similar",
)


class LinkConfig(BaseModel):
    """How items are linked to facts; the defaults suit titled works with a year."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    methods: tuple[Method, ...] = METHODS
    """Ways of meeting that are tried; their order is fixed, from the surest to the least sure."""
    year_tolerance: int | None = Field(default=1, ge=0)
    """Years by which the two sides may differ; null: years are not compared at all."""
    missing_year: Literal["refuse", "accept"] = "refuse"
    """What a row without a year means: no link, or a year that fits any other, less surely."""
    evidence: tuple[str, ...] = ()
    """Columns of both tables whose shared values speak for a pair (genres, makers, brands)."""
    evidence_separator: str = ","
    """What parts the values of an evidence column that holds strings."""
    specific_words: int = Field(default=3, ge=1)
    """Words, articles aside, from which on a title may stand without shared evidence."""
    similar_threshold: float = Field(default=0.9, gt=0, le=1)
    """Least likeness (0-1) of two titles that are not equal in any of their forms."""
    similar_margin: float = Field(default=0.05, ge=0, lt=1)
    """Likeness by which the best similar title must lead the next one."""
    duplicates: Literal["share", "first"] = "share"
    """Items that repeat an earlier one: share its link, or stay unlinked."""
    reviewed: Path | None = None
    """CSV file of people's verdicts, as verdicts.COLUMNS; it overrules the rules."""
    words: Path | None = None
    """YAML file of articles, number words and spellings; null: the shipped title_words.yaml."""
