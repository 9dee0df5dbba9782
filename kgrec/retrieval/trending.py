"""What is liked now: recent likes of everybody, for requests that no history helps."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from kgrec.models.baselines.popularity import Popularity, PopularityConfig


class TrendingConfig(PopularityConfig):
    """Settings of Trending."""

    half_life_days: float | None = Field(default=14.0, gt=0)
    """Days, counted back from the newest train event, after which a like counts half."""


class Trending(Popularity):
    """Popularity whose likes fade within weeks, as a candidate source of its own."""

    name: ClassVar[str] = "trending"
    config_class = TrendingConfig
    config: TrendingConfig
