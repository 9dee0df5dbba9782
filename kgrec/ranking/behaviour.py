"""What rankers that read histories get beside the features: items, last events and item content."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.errors import DataError
from kgrec.models.scorer import TrainingData
from kgrec.models.text.side import TextVectors, vectors_of
from kgrec.ranking.feature_state import FeatureConfig, FeatureState
from kgrec.retrieval.candidates import Candidates
from kgrec.retrieval.content_vectors import centred, hashed_text_vectors


@dataclass(frozen=True)
class Behaviour:
    """The items of n rows and the histories of their G lists.

    Attributes:
        item_idx: Shape (n,), int64.
        known: Shape (n,), bool: the item has train events, so that its id tells something.
        list_of_row: Shape (n,), int64, 0..G-1.
        history: Shape (G, L), int64: the last events' items, newest first; -1 where there are
            fewer.
        liked: Shape (G, L), bool; False at -1.
        content: Shape (num_items, D), float32: what is known of every item before any event. One
            array, shared by all that are made of one catalogue; D may be 0.
    """

    item_idx: IntArray
    known: BoolArray
    list_of_row: IntArray
    history: IntArray
    liked: BoolArray
    content: FloatArray

    def take_rows(self, keep: IntArray | BoolArray | slice) -> Behaviour:
        """Return the chosen rows, with all histories."""
        return replace(
            self,
            item_idx=self.item_idx[keep],
            known=self.known[keep],
            list_of_row=self.list_of_row[keep],
        )

    def take_lists(self, rows: IntArray | BoolArray, lists: IntArray) -> Behaviour:
        """Return the chosen rows of the chosen lists.

        Args:
            rows: Indices or mask of the rows wanted.
            lists: Shape (g,), int64: the lists that the rows belong to, in the order wanted.
        """
        number = np.empty(len(self.history), dtype=np.int64)
        number[lists] = np.arange(len(lists))
        chosen = self.take_rows(rows)
        return replace(
            chosen,
            list_of_row=number[chosen.list_of_row],
            history=self.history[lists],
            liked=self.liked[lists],
        )


def item_content(
    train: TrainingData, config: FeatureConfig, text_vectors: TextVectors | None
) -> FloatArray:
    """Return the content that ``behaviour_of`` finds in a state fitted with these arguments."""
    if not config.use_text:
        return np.zeros((train.num_items, 0), dtype=np.float32)
    texts = vectors_of(text_vectors, train)
    if texts is None:
        texts = hashed_text_vectors(train.dataset.items, seed=train.seed)
    return centred(texts)


def behaviour_of(
    state: FeatureState, histories: HistoryBatch, candidates: Candidates, events: int
) -> Behaviour:
    """Return the last events of B users beside the items of their lists.

    Args:
        state: Holds the items' content: their texts, centred, at unit length; an item that was
            added after training has it too.
        histories: B users.
        candidates: Their lists.
        events: L, how many events a history is cut to.
    """
    content = state.arrays.get("text")
    if content is None:
        content = np.zeros((state.num_items, 0), dtype=np.float32)
    places = histories.indptr[1:, None] - 1 - np.arange(events)[None, :]
    known = places >= histories.indptr[:-1, None]
    history, liked = np.full(known.shape, -1, dtype=np.int64), np.zeros(known.shape, dtype=np.bool_)
    history[known] = histories.item_idx[places[known]]
    liked[known] = histories.positive[places[known]]
    known_items = ~state.cold[candidates.item_idx]
    return Behaviour(
        candidates.item_idx, known_items, candidates.row_of_pair, history, liked, content
    )


def stack_behaviour(parts: list[Behaviour]) -> Behaviour:
    """Return the lists of several parts as one.

    Raises:
        DataError: Their catalogues or lengths of history differ.
    """
    shapes = {(part.content.shape, part.history.shape[1]) for part in parts}
    if len(shapes) > 1:
        raise DataError(
            f"Expected one catalogue and one length of history in all windows, got {shapes}; "
            "make every window from the same data and configuration"
        )
    starts = np.cumsum([0, *(len(part.history) for part in parts)])
    return Behaviour(
        np.concatenate([part.item_idx for part in parts]),
        np.concatenate([part.known for part in parts]),
        np.concatenate(
            [part.list_of_row + start for part, start in zip(parts, starts[:-1], strict=True)]
        ),
        np.concatenate([part.history for part in parts]),
        np.concatenate([part.liked for part in parts]),
        parts[0].content,
    )
