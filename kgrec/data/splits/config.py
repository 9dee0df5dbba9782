"""Which split, with which seed and fractions; how events are assigned is for cuts.py."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

SplitName = Literal[
    "global_time", "per_user_time", "new_users", "cold_items", "as_published", "redrawn"
]
Part = Literal["train", "train+val"]

PUBLISHED: tuple[SplitName, ...] = ("as_published", "redrawn")
"""Splits that are made from the labels that came with the data."""

# (validation, test): shares of events; of users for new_users; of items for cold_items
DEFAULT_FRACTIONS: dict[str, tuple[float, float]] = {
    "global_time": (0.1, 0.1),
    "per_user_time": (0.1, 0.2),
    "new_users": (0.15, 0.15),
    "cold_items": (0.1, 0.1),
    "as_published": (0.1, 0.0),
    "redrawn": (0.1, 0.0),
}


class SplitConfig(BaseModel):
    """A split, stated so that it can be made again.

    Fractions count all events of a user, low ratings included; positives are taken after the cut.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: SplitName = "per_user_time"
    """How the data is divided."""
    seed: int = Field(default=0, ge=0)
    """Seed of every draw: ties in time, held-out users, cold items."""
    val_fraction: float | None = Field(default=None, ge=0, lt=1)
    """Share of events (users, items) held out for validation; None for the default of ``name``.
    For new_users and cold_items, and where a published split has no validation part, it is a
    share of what the test leaves."""
    test_fraction: float | None = Field(default=None, ge=0, lt=1)
    """Share of events (users, items) held out for test; None for the default of ``name``."""
    history_fraction: float = Field(default=0.8, gt=0, lt=1)
    """new_users: share of a held-out user's events, oldest first, given at request time."""
    cold_min_positives: int = Field(default=1, ge=1)
    """cold_items: only items with so many positives are held out; others stay in train."""
    refit_on: Part = "train+val"
    """What the final model learns from; "train" where a published protocol says so."""
    test_history: Part = "train+val"
    """What a model is told of when test is asked. Validation is masked in any case."""

    def resolved(self) -> Self:
        """Return the same split with every fraction filled in."""
        val, test = DEFAULT_FRACTIONS[self.name]
        return self.model_copy(
            update={
                "val_fraction": val if self.val_fraction is None else self.val_fraction,
                "test_fraction": test if self.test_fraction is None else self.test_fraction,
            }
        )
