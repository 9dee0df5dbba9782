"""A stored history with what the user did since, by the data set's own rule of what is liked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import joined_kinds, kind_codes, kinds_at
from kgrec.serving.catalogue import Catalogue
from kgrec.serving.live_state import LiveEvent


@dataclass(frozen=True)
class PositiveRule:
    """What counts as a like: the rule that the snapshot was built with.

    Attributes:
        events: Kinds that can be likes; None for any.
        min_value: Least value of a like; None for any. An event without a value is then a like
            only where its kind is named.
    """

    events: tuple[str, ...] | None = None
    min_value: float | None = None

    @classmethod
    def of(cls, dataset: Mapping[str, Any], least_liked: float | None) -> PositiveRule:
        """Return the rule of an artifact.

        Args:
            dataset: What its manifest says of the data set.
            least_liked: Least value that its histories count as a like, for a manifest without
                the rule; None where they tell of none.
        """
        told = dataset.get("positive")
        if told is None:
            return cls(None, least_liked)
        events = told.get("events")
        return cls(None if events is None else tuple(events), told.get("min_value"))

    def is_like(self, event: str, value: float | None) -> bool:
        """Return whether an event counts as a like."""
        if self.events is not None and event not in self.events:
            return False
        if self.min_value is None:
            return True
        return self.events is not None if value is None else value >= self.min_value


def with_recent(
    stored: HistoryBatch,
    recent: Sequence[LiveEvent],
    catalogue: Catalogue,
    rule: PositiveRule,
    now: int | None,
    *,
    has_time: bool = True,
) -> HistoryBatch:
    """Return a history with later events, in order of time.

    Events that the stored history holds already (same item, same second) count once. Of an item
    with later events only the last event counts: whoever takes a like back has taken it back.

    Args:
        stored: A batch of one.
        recent: The later events, oldest first; those of unknown items are left out.
        catalogue: Knows the items.
        rule: What counts as a like.
        now: Unix seconds of the request; None for the second after the last event.
        has_time: Whether the artifact knows times; without, later events come last.
    """
    known = set(zip(stored.item_idx.tolist(), stored.timestamp.tolist(), strict=True))
    fresh: dict[int, LiveEvent] = {}
    for event in recent:
        row = catalogue.row(event.item_id)
        if row is not None and (row, event.time_s) not in known:
            fresh[row] = event
    if not fresh:
        return stored
    latest = dict(zip(stored.item_idx.tolist(), stored.timestamp.tolist(), strict=True))
    if has_time:  # an event may reach the log after a later one reached the artifact
        fresh = {row: e for row, e in fresh.items() if latest.get(row, -1) <= e.time_s}
    events = list(fresh.values())
    rows = np.array(list(fresh), dtype=np.int64)
    times = np.array([event.time_s if has_time else 0 for event in events], dtype=np.int64)
    values = [np.nan if event.value is None else event.value for event in events]
    likes = [rule.is_like(event.event, event.value) for event in events]
    keep = ~np.isin(stored.item_idx, rows)
    told = kinds_at(stored.kind, keep)
    kinds = joined_kinds([told, kind_codes([e.event for e in events])], [keep.sum(), len(rows)])
    timestamp = np.concatenate([stored.timestamp[keep], times])
    order = np.argsort(timestamp, kind="stable")
    end = int(timestamp.max(initial=0)) + has_time if now is None else now
    return HistoryBatch(
        user_idx=stored.user_idx,
        indptr=np.array([0, len(order)], dtype=np.int64),
        item_idx=np.concatenate([stored.item_idx[keep], rows])[order],
        value=np.concatenate([stored.value[keep], np.array(values, np.float32)])[order],
        timestamp=timestamp[order],
        positive=np.concatenate([stored.positive[keep], np.array(likes, np.bool_)])[order],
        now=np.array([end], dtype=np.int64),
        kind=kinds_at(kinds, order),
    )
