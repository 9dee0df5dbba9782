"""Windows of train time for cross-fitting: what the sources may see, and what follows it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, IntArray
from kgrec.data.splits import user_window
from kgrec.errors import DataError
from kgrec.models.scorer import TrainingData


class WindowConfig(BaseModel):
    """How train time is cut for cross-fitting."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    count: int = Field(default=3, ge=2)
    """Windows; the last one serves for early stopping, choice and calibration."""
    label_share: float = Field(default=0.125, gt=0.0, lt=0.5)
    """Share of each user's train events that one window asks for."""
    reach_share: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Share of each user's train events after its cut that a window's labels come from, as far as
    there are so many; longer than ``label_share``, by which the cuts stand apart, the labels of
    windows overlap and are more. Without effect where the data has no time. None: label_share."""
    hidden_folds: int = Field(default=0, ge=0)
    """One in so many items is hidden in each window, to learn cold items; 0 hides none."""
    cold_folds: int = Field(default=9, ge=0)
    """Further windows that each hide one in so many items, all together every item once, from
    whole histories: cold items are learned from them, by the sources of content alone, and not
    from the windows in time. 0: from the windows in time."""
    max_users: int = Field(default=3000, ge=1)
    """Users asked in a window, drawn by seed; as many in all windows of hidden items together as in
    all windows in time."""
    seed: int = Field(default=0, ge=0)
    """Seed of the draws."""


@dataclass(frozen=True)
class Window:
    """One cut of train time.

    Attributes:
        number: 0 is the earliest.
        train: What sources and features are fitted on; hidden items have no event in it.
        histories: The users asked, as they stand at the cut.
        label_indptr: Shape (B + 1,), int64.
        label_items: Items that the user liked, ascending within a user: in the slice after the
            cut, and for hidden items at any time.
        cold: Shape (num_items,), bool: items without events in ``train``.
    """

    number: int
    train: TrainingData
    histories: HistoryBatch
    label_indptr: IntArray
    label_items: IntArray
    cold: BoolArray

    def labels_of(self, indptr: IntArray, item_idx: IntArray) -> BoolArray:
        """Return which candidates (ragged lists of these users) are labels, shape (n,), bool."""
        size = len(self.cold)
        ours = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)) * size + item_idx
        rows = np.repeat(np.arange(len(self.histories)), np.diff(self.label_indptr))
        return np.isin(ours, rows * size + self.label_items)

    def positives_among(self, allowed: BoolArray) -> IntArray:
        """Return how many labels each user has among the allowed items, shape (B,), int64."""
        rows = np.repeat(np.arange(len(self.histories)), np.diff(self.label_indptr))
        kept = rows[allowed[self.label_items]]
        return np.bincount(kept, minlength=len(self.histories)).astype(np.int64)


def make_windows(train: TrainingData, config: WindowConfig) -> list[Window]:
    """Return the windows, the earliest first.

    With time: window w asks for the slice that ends (count - 1 - w) slices before the end of each
    user's train events and sees what lies before that slice. Without time: a random slice is
    asked, the rest is seen. With ``reach_share`` a slice goes on beyond the next window's cut.

    Raises:
        DataError: Some window has no user with both a history and a label.
    """
    events, rng = train.interactions, np.random.default_rng((config.seed, train.seed))
    folds = np.full(train.num_items, -1)
    listed = _of_listed(train)
    touched = rng.permutation(np.unique(events.item_idx[listed]))
    if config.hidden_folds:
        folds[touched] = np.arange(len(touched)) % config.hidden_folds
    windows = []
    for number in range(config.count):
        before, asked = _cut(train, config, number, rng)
        hidden = folds == number
        seen = before & ~hidden[events.item_idx]
        later = asked & ~hidden[events.item_idx]
        wanted = events.positive & listed & (later | hidden[events.item_idx])
        windows.append(_window(train, config, number, seen, later, wanted, rng))
    return windows


def make_cold_windows(train: TrainingData, config: WindowConfig) -> list[Window]:
    """Return the windows that hide items from whole histories, every touched item in one of them.

    Histories, and what is known of them, are those of the end of training: cold items are asked
    for by users as they stand, whereas a window in time shows them shorter. Where nobody with a
    history likes one of the hidden items, there is no window.
    """
    asked = max(1, config.count * config.max_users // max(config.cold_folds, 1))
    config = config.model_copy(update={"max_users": asked})
    events = train.interactions
    rng = np.random.default_rng((config.seed, train.seed, 1))
    touched = rng.permutation(np.unique(events.item_idx[_of_listed(train)]))
    folds = np.full(train.num_items, -1)
    folds[touched] = np.arange(len(touched)) % max(config.cold_folds, 1)
    windows = []
    for number in range(config.cold_folds):
        hidden = (folds == number)[events.item_idx]
        wanted = events.positive & hidden
        if not np.intersect1d(events.user_idx[~hidden], events.user_idx[wanted]).size:
            continue
        window = _window(train, config, number, ~hidden, wanted, wanted, rng)
        # what nobody ever touched is no example of what nobody likes
        windows.append(replace(window, cold=folds == number))
    return windows


def _cut(
    train: TrainingData, config: WindowConfig, number: int, rng: np.random.Generator
) -> tuple[BoolArray, BoolArray]:
    events = train.interactions
    high = 1.0 - (config.count - 1 - number) * config.label_share
    if train.dataset.has_time:
        cut = high - config.label_share
        until = min(1.0, cut + (config.reach_share or config.label_share))
        return user_window(events, 0.0, cut), user_window(events, cut, until)
    listed = np.flatnonzero(_of_listed(train))  # the others are never asked for
    order = listed[np.lexsort((rng.random(len(listed)), events.user_idx[listed]))]
    before = np.ones(len(events), dtype=bool)
    before[order] = user_window(events.take(order), 0.0, 1.0 - config.label_share)
    return before, ~before


def _of_listed(train: TrainingData) -> BoolArray:
    """Return which train events are of items that may be recommended, shape (n,), bool."""
    listed, items = train.dataset.items.listed, train.interactions.item_idx
    return np.ones(len(items), dtype=np.bool_) if listed is None else listed[items]


def _window(
    train: TrainingData,
    config: WindowConfig,
    number: int,
    seen: BoolArray,
    later: BoolArray,
    wanted: BoolArray,
    rng: np.random.Generator,
) -> Window:
    events = train.interactions
    known = events.take(seen)
    users = np.intersect1d(known.user_idx, events.user_idx[wanted & later])
    if len(users) == 0:
        raise DataError(
            f"Expected users with a history and a later like in window {number} of "
            f"{config.count}, got none among {len(events)} train events; use fewer windows or a "
            "larger label_share"
        )
    if len(users) > config.max_users:
        users = np.sort(rng.choice(users, size=config.max_users, replace=False))
    answers = events.take(wanted & np.isin(events.user_idx, users))
    keys = np.unique(np.searchsorted(users, answers.user_idx) * train.num_items + answers.item_idx)
    histories = HistoryBatch.from_interactions(known, users)
    keys = keys[~np.isin(keys, histories.row_of_event * train.num_items + histories.item_idx)]
    bounds = np.arange(len(users) + 1) * train.num_items
    return Window(
        number,
        replace(train, interactions=known),
        histories,
        np.searchsorted(keys, bounds).astype(np.int64),
        keys % train.num_items,
        np.bincount(known.item_idx, minlength=train.num_items) == 0,
    )
