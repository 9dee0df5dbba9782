"""What a shop wants of a list besides its scores: boosts, caps, fresh, diverse and tried items.

Works on the items as they were ranked; each rule tells what it did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from kgrec.data.interactions import BoolArray, FloatArray
from kgrec.serving.capabilities import Ranked


class Boost(BaseModel):
    """More, or less, of some items."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    filters: Mapping[str, Any]
    """Which items, as ``recommend`` takes filters."""
    weight: float = Field(allow_inf_nan=False)
    """Added to their scores, in standard deviations of the list's scores."""


class Freshness(BaseModel):
    """More of what is new."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    column: str
    """Numeric column that is the larger the newer an item is, such as its year."""
    half_life: float = Field(gt=0, allow_inf_nan=False)
    """By how much less of the column the bonus has halved."""
    weight: float = Field(default=1.0, allow_inf_nan=False)
    """Bonus of the newest item, in standard deviations of the list's scores."""


class RulesConfig(BaseModel):
    """What happens to a list after ranking, in the order of the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    depth: int = Field(default=100, ge=1)
    """Best items that the rules choose from, at least k."""
    exclude: tuple[Mapping[str, Any], ...] = ()
    """Filters; an item that one of them allows is left out."""
    boosts: tuple[Boost, ...] = ()
    """Items that come further up, or down."""
    freshness: Freshness | None = None
    """A bonus for what is new."""
    diversity: float = Field(default=0.0, ge=0.0, le=1.0)
    """0 takes items by score alone, 1 by being unlike those before (MMR on item vectors)."""
    caps: Mapping[str, Annotated[int, Field(ge=0)]] = {}
    """Relation -> how many items of one entity a list may hold: {"made_by": 2}."""
    explore_share: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the places given to items drawn from those beyond the list."""
    seed: int = Field(default=0, ge=0)
    """Seed of the draw; give another for each request to show other items."""


class Catalogued(Protocol):
    """What the rules ask of the model that ranked the items."""

    def allowed_by(self, filters: Mapping[str, Any]) -> BoolArray:
        """Return which items a filter allows, shape (num_items,)."""

    def numbers(self, column: str) -> FloatArray:
        """Return a numeric column, shape (num_items,), NaN where unknown."""

    def entities(self, row: int, relation: str) -> Sequence[int]:
        """Return the entities that an item touches by a relation."""

    def unit_vectors(self) -> FloatArray | None:
        """Return unit vectors of the items, shape (num_items, dim), or None."""

    def item_id(self, row: int) -> str:
        """Return the id of an item."""


@dataclass(frozen=True)
class Ruled:
    """A list after the rules.

    Attributes:
        items: Best first, at most k.
        told: What each rule did, JSON values; "propensity" of the items that were drawn.
    """

    items: list[Ranked]
    told: dict[str, Any]


def apply_rules(config: RulesConfig, ranked: Sequence[Ranked], k: int, model: Catalogued) -> Ruled:
    """Return the k items that the rules choose out of a ranked list.

    Args:
        config: The rules.
        ranked: Best first, more than k where the rules are to have a choice.
        k: Items wanted.
        model: Knows the items.

    Raises:
        RequestError: A filter, column or relation is not known.
    """
    told: dict[str, Any] = {}
    items = list(ranked)
    for number, filters in enumerate(config.exclude):
        out = model.allowed_by(filters)
        gone = [item for item in items if out[item.row]]
        items = [item for item in items if not out[item.row]]
        told[f"exclude.{number}"] = {"filters": dict(filters), "left_out": _ids(gone, model)}
    items = _moved(config, items, model, told)
    vectors = model.unit_vectors() if config.diversity > 0 else None
    if config.diversity > 0:
        told["diversity"] = {"weight": config.diversity, "applied": vectors is not None}
    explored = round(config.explore_share * k)
    chosen = _chosen(config, items, k, model, vectors, told)
    if explored and len(chosen) == k:
        chosen = _explored(config, items, chosen, explored, model, told)
    return Ruled(chosen, told)


def _moved(
    config: RulesConfig, items: list[Ranked], model: Catalogued, told: dict[str, Any]
) -> list[Ranked]:
    """Add boosts and the bonus of the new to the scores, and sort again."""
    if not items or (not config.boosts and config.freshness is None):
        return items
    rows = np.array([item.row for item in items])
    scores = np.array([item.score for item in items], dtype=np.float64)
    spread = float(scores.std()) or 1.0
    for number, boost in enumerate(config.boosts):
        hit = model.allowed_by(boost.filters)[rows]
        scores[hit] += boost.weight * spread
        boosted = [item for item, moved in zip(items, hit, strict=True) if moved]
        told[f"boost.{number}"] = {
            "filters": dict(boost.filters),
            "weight": boost.weight,
            "items": _ids(boosted, model),
        }
    if config.freshness is not None:
        column = model.numbers(config.freshness.column)
        newest = float(np.nanmax(column)) if np.isfinite(column).any() else 0.0
        age = newest - column[rows]
        bonus = np.where(np.isfinite(age), 0.5 ** (age / config.freshness.half_life), 0.0)
        scores += config.freshness.weight * spread * bonus
        told["freshness"] = config.freshness.model_dump()
    order = np.argsort(-scores, kind="stable")
    return [replace(items[place], score=float(scores[place])) for place in order]


def _chosen(
    config: RulesConfig,
    items: list[Ranked],
    k: int,
    model: Catalogued,
    vectors: FloatArray | None,
    told: dict[str, Any],
) -> list[Ranked]:
    """Take items one by one: the best by MMR that no cap holds back."""
    if not config.caps and vectors is None:
        return items[:k]
    used: dict[str, Counter[int]] = {relation: Counter() for relation in config.caps}
    held: list[Ranked] = []
    chosen: list[Ranked] = []
    left = list(items)
    worth = _scaled(items)
    likeness = np.zeros(len(items), dtype=np.float32)
    places = list(range(len(items)))
    while left and len(chosen) < k:
        value: FloatArray = worth[places]
        if vectors is not None:
            value = (1 - config.diversity) * value - config.diversity * likeness[places]
        best = int(np.argmax(value))
        item = left.pop(best)
        places.pop(best)
        full = [
            relation
            for relation, most in config.caps.items()
            if any(used[relation][entity] >= most for entity in model.entities(item.row, relation))
        ]
        if full:
            held.append(item)
            continue
        chosen.append(item)
        for relation in config.caps:
            used[relation].update(model.entities(item.row, relation))
        if vectors is not None and left:
            rows = np.array([other.row for other in left])
            likeness[places] = np.maximum(likeness[places], vectors[rows] @ vectors[item.row])
    if config.caps:
        told["caps"] = {"most": dict(config.caps), "left_out": _ids(held, model)}
    return chosen


def _explored(
    config: RulesConfig,
    items: list[Ranked],
    chosen: list[Ranked],
    count: int,
    model: Catalogued,
    told: dict[str, Any],
) -> list[Ranked]:
    """Put items from beyond the list into places drawn at random, the first place last of all."""
    taken = {item.row for item in chosen}
    beyond = [item for item in items if item.row not in taken]
    count = min(count, len(beyond), len(chosen))
    if not count:
        return chosen
    rng = np.random.default_rng(config.seed)
    drawn = rng.choice(len(beyond), size=count, replace=False)
    later = np.arange(1, len(chosen)) if count < len(chosen) else np.arange(len(chosen))
    places = np.sort(rng.choice(later, size=count, replace=False))
    listed = list(chosen)
    for place, number in zip(places, drawn, strict=True):
        item = beyond[int(number)]
        listed[int(place)] = replace(item, sources=(*item.sources, "exploration"))
    shown = [listed[int(place)] for place in places]
    told["explore"] = {
        "items": _ids(shown, model),
        "propensity": count / len(beyond),
        "seed": config.seed,
    }
    return listed


def _scaled(items: Sequence[Ranked]) -> FloatArray:
    """Return the scores in 0..1, shape (n,)."""
    scores = np.array([item.score for item in items], dtype=np.float32)
    if not len(scores):
        return scores
    return np.asarray((scores - scores.min()) / (float(np.ptp(scores)) or 1.0), dtype=np.float32)


def _ids(items: Sequence[Ranked], model: Catalogued) -> list[str]:
    return [model.item_id(item.row) for item in items]
