"""What becomes of the standing of a few items when single items leave the history.

Of sources whose scores are sums over the items of the history, a summand is taken away from the
items asked about and from the source's best items. That older events would then count as a little
younger, and that what left could be among the best itself, is left aside. The other sources keep
the standing that they gave: a user vector moves little with one item, and costs most to compute
anew. Where no source gives summands, all are asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, IntArray
from kgrec.models.compiled import compiled
from kgrec.models.scorer import Scorer
from kgrec.models.top_items import TopItems
from kgrec.retrieval.candidates import Candidates
from kgrec.retrieval.standing import Z_LIMIT, standing_of


class HistoryChanges:
    """Answers for variants of one history that lack one item each.

    Args:
        sources: Name -> scorer, in the order of the columns of ``told``.
        history: A batch of one.
        told: The items asked about, as the sources gave them for the whole history.
        best: What the standing in ``told`` refers to, as Candidates has it.
    """

    def __init__(
        self,
        sources: Mapping[str, Scorer],
        history: HistoryBatch,
        told: Candidates,
        best: TopItems,
    ) -> None:
        self._sources, self._history, self._told = list(sources.values()), history, told
        self._best = TopItems(best.item_idx[0], best.score[0])
        self.held: IntArray = np.unique(history.item_idx)
        self._summands = {
            column: found
            for column, source in enumerate(self._sources)
            if (found := source.summands(history, self.held, told.item_idx)) is not None
        }

    def weights(self) -> FloatArray | None:
        """Return how much each item of the history speaks for each item asked about.

        Returns:
            Shape (L, n), float32, the rows those of ``held``: the sum over the sources of what is
            added, in deviations of the source's best items; None where no source gives summands.
        """
        if not self._summands:
            return None
        total = np.zeros((len(self.held), len(self._told.item_idx)), dtype=np.float32)
        for column, summands in self._summands.items():
            _add_in_deviations(summands, self._best.score[column], total)
        return total

    def candidates(
        self, variants: HistoryBatch, removed: IntArray, indptr: IntArray, item_idx: IntArray
    ) -> Candidates:
        """Return items with their standing under the variants.

        Args:
            variants: The whole history, then one without each of ``removed``.
            removed: Shape (R,), items of the history, ascending.
            indptr: Shape (R + 2,), int64.
            item_idx: Shape (p,), of the items asked about, ascending within a variant.
        """
        told = self._told
        place = np.searchsorted(told.item_idx, item_idx)
        rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        z, rank = told.z[place], told.rank[place]
        gone = np.searchsorted(self.held, removed)
        for column, summands in self._summands.items():
            items, scores = self._known(column)
            lost = self._sources[column].summands(self._history, removed, items)
            own = (z[:, column], rank[:, column])
            _write_standing(summands, gone, scores, lost, rows, place, *own)
        if not self._summands:
            for column, source in enumerate(self._sources):
                items, _ = self._known(column)
                grid = source.score_grid(variants, np.concatenate([told.item_idx, items]))
                best = -np.sort(-grid[:, len(told.item_idx) :], axis=1)
                z[:, column], rank[:, column] = standing_of(best, rows, grid[rows, place])
        return Candidates(indptr, item_idx, told.source_names, z, rank)

    def _known(self, column: int) -> tuple[IntArray, FloatArray]:
        """Return a source's best items and their scores."""
        known = self._best.item_idx[column] >= 0
        return self._best.item_idx[column][known], self._best.score[column][known]


@compiled
def _add_in_deviations(summands: Any, best: Any, total: Any) -> None:
    """Add the summands of the items asked about, in deviations of a source's best scores."""
    known = best[best > -np.inf]
    if len(known) == 0:
        return
    deviation = known.std()
    if deviation > 1e-9 * (1.0 + abs(known.mean())):
        total += (summands / deviation).astype(np.float32)


@compiled
def _write_standing(
    summands: Any,
    gone: Any,
    scores: Any,
    lost: Any,
    rows: Any,
    place: Any,
    z: Any,
    rank: Any,
) -> None:
    """Write the standing of pairs among a source's best items under their variant.

    Args:
        summands: Shape (L, n), what the history's items add to the items asked about.
        gone: Shape (R,), which item of the history each variant lacks.
        scores: Shape (best,), scores of the best items under the whole history.
        lost: Shape (R, best), what these lose.
        rows: Shape (p,), the variant of each pair, ascending, 0 the whole history.
        place: Shape (p,), the item of each pair.
        z: Shape (p,), written.
        rank: Shape (p,), written.
    """
    totals = np.zeros(summands.shape[1], dtype=np.float32)
    for held in range(len(summands)):
        totals += summands[held]
    best = scores.copy()
    last, mean, deviation = 0, 0.0, 0.0
    for pair in range(len(rows)):
        row = rows[pair]
        if row == 0:
            continue
        if row != last:
            last, mean, squares = row, 0.0, 0.0
            best[:] = scores - lost[row - 1]
            for at in range(len(best)):
                mean += best[at]
            mean /= max(len(best), 1)
            for at in range(len(best)):
                squares += (best[at] - mean) ** 2
            deviation = np.sqrt(squares / max(len(best), 1))
            if deviation <= 1e-9 * (1.0 + abs(mean)):
                deviation = np.inf
        score = totals[place[pair]] - summands[gone[row - 1], place[pair]]
        better = 0
        for at in range(len(best)):
            better += best[at] > score
        rank[pair] = better + 1
        z[pair] = min(max((score - mean) / deviation, -Z_LIMIT), Z_LIMIT)
