"""From a request to the history a scorer is asked with: stored, or brought along by the caller."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from kgrec.data.dataset import Users
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import IntArray, Interactions, joined_kinds, kind_codes, kinds_at
from kgrec.data.strings import StringColumn
from kgrec.errors import RequestError
from kgrec.serving.answers import Event
from kgrec.serving.catalogue import Catalogue
from kgrec.serving.string_rows import StringRows

HistoryInput = Iterable[str | int | Event]


class RequestHistories:
    """Builds the history of one request.

    A value counts as a like from ``like_threshold`` on: the least value of a liked train event,
    where every disliked one lies below; otherwise None, and every event counts as a like, but for
    those of a kind that is not among ``liked_kinds`` (None: any kind can be a like).
    """

    def __init__(
        self,
        catalogue: Catalogue,
        users: Users,
        interactions: Interactions,
        liked_kinds: Sequence[str] | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._liked_kinds = liked_kinds
        self._interactions = interactions
        self._user_rows = StringRows(StringColumn.of(users.ids))
        times = interactions.timestamp
        self.has_time = bool(times.any()) or len(times) == 0
        self._last_time = int(times.max()) if len(times) else 0
        self.like_threshold = _like_threshold(interactions)

    def user_row(self, user_id: str | int | None) -> int:
        """Return the user's row, -1 where the artifact does not know the user."""
        row = None if user_id is None else self._user_rows.get(str(user_id))
        return -1 if row is None else row

    def stored(self, user_rows: IntArray, now: int | None = None) -> HistoryBatch:
        """Return the train events of users, in the order of their rows; row -1 has none."""
        when = None if now is None else np.full(len(user_rows), now, dtype=np.int64)
        return HistoryBatch.from_interactions(self._interactions, user_rows, when)

    def brought(
        self, history: HistoryInput, user_row: int, now: int | None, skip_unknown: bool
    ) -> tuple[HistoryBatch, list[str]]:
        """Return the history that came with a request, as a batch of one, and the ids skipped.

        An item that stands there more than once counts once, by its last event. Events without
        times count as the newest, one second apart, in the order given.

        Args:
            history: Item ids or events, oldest first where they have no time.
            user_row: Row of the profile to ask with, -1 for none.
            now: Unix seconds of the request; None for the second after the last event.
            skip_unknown: Leave out items that the artifact does not know.

        Raises:
            UnknownItemError: An item is not known and ``skip_unknown`` is False.
            RequestError: Some events have a time and others have none.
        """
        events = [e if isinstance(e, Event) else Event(e) for e in history]
        known = [e for e in events if self._catalogue.row(e.item_id) is not None]
        if not skip_unknown and len(known) < len(events):
            for event in events:
                self._catalogue.require(event.item_id)
        skipped = [str(e.item_id) for e in events if self._catalogue.row(e.item_id) is None]
        times = self._times(known, now)
        order = np.argsort(times, kind="stable")
        rows = self._catalogue.rows(e.item_id for e in known)[order]
        last = len(rows) - 1 - np.unique(rows[::-1], return_index=True)[1]
        kept = order[np.sort(last)]
        chosen = [known[place] for place in kept]
        end = int(times[kept].max()) + 1 if len(kept) and times[kept].max() > 0 else 0
        batch = HistoryBatch(
            user_idx=np.array([user_row], dtype=np.int64),
            indptr=np.array([0, len(chosen)], dtype=np.int64),
            item_idx=self._catalogue.rows(e.item_id for e in chosen),
            value=np.array([_value(e) for e in chosen], dtype=np.float32),
            timestamp=times[kept],
            positive=np.array([self._is_like(e) for e in chosen], dtype=bool),
            now=np.array([end if now is None else now], dtype=np.int64),
            kind=kind_codes([e.event or "" for e in chosen]),
        )
        return batch, skipped

    def _times(self, events: Sequence[Event], now: int | None) -> IntArray:
        given = sum(e.timestamp is not None for e in events)
        if 0 < given < len(events):
            raise RequestError(
                f"Expected a timestamp on every event of the history or on none, got {given} of "
                f"{len(events)}; leave them all out to count events as the newest, in order"
            )
        if given:
            return np.array([e.timestamp for e in events], dtype=np.int64)
        if self._last_time == 0:  # the training data has no time
            return np.zeros(len(events), dtype=np.int64)
        end = (self._last_time + 1) if now is None else now
        return np.arange(end - len(events), end, dtype=np.int64)

    def _is_like(self, event: Event) -> bool:
        if event.positive is not None:
            return event.positive
        if event.event and self._liked_kinds is not None and event.event not in self._liked_kinds:
            return False
        if event.value is None or np.isnan(event.value) or self.like_threshold is None:
            return True
        return event.value >= self.like_threshold


def stack(batches: Sequence[HistoryBatch]) -> HistoryBatch:
    """Return several batches of histories as one, in order."""
    lengths = np.concatenate([batch.lengths for batch in batches])
    return HistoryBatch(
        user_idx=np.concatenate([batch.user_idx for batch in batches]),
        indptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        item_idx=np.concatenate([batch.item_idx for batch in batches]),
        value=np.concatenate([batch.value for batch in batches]),
        timestamp=np.concatenate([batch.timestamp for batch in batches]),
        positive=np.concatenate([batch.positive for batch in batches]),
        now=np.concatenate([batch.now for batch in batches]),
        kind=joined_kinds([b.kind for b in batches], [len(b.item_idx) for b in batches]),
    )


def without_item(history: HistoryBatch, item_row: int) -> HistoryBatch:
    """Return a batch of one without the events of one item; the request time stays."""
    keep = history.item_idx != item_row
    return HistoryBatch(
        user_idx=history.user_idx,
        indptr=np.array([0, keep.sum()], dtype=np.int64),
        item_idx=history.item_idx[keep],
        value=history.value[keep],
        timestamp=history.timestamp[keep],
        positive=history.positive[keep],
        now=history.now,
        kind=kinds_at(history.kind, keep),
    )


def without_each(history: HistoryBatch, item_rows: IntArray) -> HistoryBatch:
    """Return a batch of one, then its variants without the events of each of some items."""
    kept = history.item_idx != np.append(-1, item_rows)[:, None]
    variant, event = np.nonzero(kept)
    return HistoryBatch(
        user_idx=np.repeat(history.user_idx, len(kept)),
        indptr=np.searchsorted(variant, np.arange(len(kept) + 1)).astype(np.int64),
        item_idx=history.item_idx[event],
        value=history.value[event],
        timestamp=history.timestamp[event],
        positive=history.positive[event],
        now=np.repeat(history.now, len(kept)),
        kind=kinds_at(history.kind, event),
    )


def num_liked(histories: HistoryBatch) -> IntArray:
    """Return how many events of each history are likes, shape (B,), int64."""
    return np.bincount(histories.row_of_event[histories.positive], minlength=len(histories))


def liked_items(history: HistoryBatch) -> IntArray:
    """Return the rows of the liked items of a batch of one, each once, ascending."""
    return np.unique(history.item_idx[history.positive])


def _value(event: Event) -> float:
    if event.value is None:
        return float("nan")
    if np.isinf(event.value):
        raise RequestError(
            f"Expected a finite value or none for item {event.item_id!r} of the history, got "
            f"{event.value}"
        )
    return event.value


def _like_threshold(interactions: Interactions) -> float | None:
    liked = interactions.value[interactions.positive]
    disliked = interactions.value[~interactions.positive]
    if len(liked) == 0 or len(disliked) == 0 or np.isnan(interactions.value).any():
        return None
    least, most = float(liked.min()), float(disliked.max())
    return least if least > most else None
