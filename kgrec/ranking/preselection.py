"""Which candidates the ranker is worth asking about: a linear guess of its score by the sources.

The guess costs a few additions a candidate where the ranker costs all its features. It is fitted to
what the ranker itself says, so that nothing has to be labelled, and close to the top of the list,
where it matters. Retrieval is for kgrec.retrieval, the final order for the rankers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kgrec.data.interactions import BoolArray, FloatArray
from kgrec.errors import ArtifactError
from kgrec.models.compiled import compiled
from kgrec.retrieval.candidates import Candidates
from kgrec.retrieval.standing import RankArray

_FILE = "preselection.json"
_BEST = 20  # places of the final list that the record counts
_RIDGE = 1e-6


@dataclass(frozen=True)
class Preselection:
    """score(u, i) ~ w . [z of each source, 1 / sqrt(rank) in each, the largest of both, 1].

    Attributes:
        source_names: S names, in the order of the candidates' columns.
        weights: Shape (2, 2 * S + 3), float32: of items with train events, and of those without.
        kept: Candidates kept for a user -> mean share of the ranker's best 20 among them, on
            histories that the weights were not fitted on.
    """

    source_names: tuple[str, ...]
    weights: FloatArray
    kept: dict[str, float]

    def best(self, candidates: Candidates, cold: BoolArray, count: int) -> Candidates:
        """Return the candidates with the ``count`` highest guesses of each user, of equal ones
        those with the lower item_idx.

        Args:
            candidates: Lists of B users.
            cold: Shape (num_items,), bool: items without train events.
            count: Candidates to keep.
        """
        sizes = np.diff(candidates.indptr)
        if sizes.max(initial=0) <= count:
            return candidates
        kept = _kept(self.guesses(candidates, cold), candidates.indptr, count)
        return replace(
            candidates,
            indptr=np.concatenate([[0], np.cumsum(np.minimum(sizes, count))]),
            item_idx=candidates.item_idx[kept],
            z=candidates.z[kept],
            rank=candidates.rank[kept],
        )

    def guesses(self, candidates: Candidates, cold: BoolArray) -> FloatArray:
        """Return the guess for each candidate, shape (n,), float32."""
        kind = cold[candidates.item_idx].astype(np.int64)
        guesses: FloatArray = _guesses(candidates.z, candidates.rank, kind, self.weights)
        return guesses

    def save(self, folder: Path) -> None:
        """Write the weights into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "source_names": self.source_names,
            "weights": self.weights.tolist(),
            "kept": self.kept,
        }
        (folder / _FILE).write_text(json.dumps(content, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Preselection:
        """Return what ``save`` wrote.

        Raises:
            ArtifactError: The file is absent.
        """
        if not (folder / _FILE).is_file():
            raise ArtifactError(
                f"Expected the file {folder / _FILE} of a pipeline, found none; "
                "train and save the pipeline again"
            )
        content = json.loads((folder / _FILE).read_text())
        weights = np.array(content["weights"], dtype=np.float32)
        return cls(tuple(content["source_names"]), weights, content["kept"])


def fit_preselection(
    candidates: Candidates, scores: FloatArray, cold: BoolArray, count: int
) -> Preselection:
    """Return the weights by weighted least squares on two thirds of the users, measured on a third.

    Args:
        candidates: Lists of B users, none left out.
        scores: Shape (n,), what the ranker gives each candidate.
        cold: Shape (num_items,), bool.
        count: Candidates that will be kept, for the record.
    """
    rows = candidates.row_of_pair
    order = np.lexsort((np.arange(len(rows)), -scores, rows))
    place = np.empty(len(rows), dtype=np.int64)
    place[order] = np.arange(len(rows)) - candidates.indptr[:-1][rows[order]]
    weight = np.where(rows % 3 > 0, 1.0 / (10.0 + place), 0.0)
    inputs = _inputs(candidates.z, candidates.rank)
    is_cold = cold[candidates.item_idx]
    fitted = [_least_squares(inputs, scores, weight * (is_cold == kind)) for kind in (False, True)]
    # where only one kind of item was met, it stands for both
    weights = [
        one if one is not None else other for one, other in zip(fitted, fitted[::-1], strict=True)
    ]
    none = np.zeros(inputs.shape[1])
    stacked = np.stack([none if one is None else one for one in weights]).astype(np.float32)
    made = Preselection(candidates.source_names, stacked, {})
    best = (place < _BEST) & (rows % 3 == 0)
    kept = _kept(made.guesses(candidates, cold), candidates.indptr, count)
    share = float(np.isin(np.flatnonzero(best), kept).mean()) if best.any() else 1.0
    return replace(made, kept={str(count): share})


def _least_squares(inputs: FloatArray, target: FloatArray, weight: FloatArray) -> Any:
    used = weight > 0
    if not used.any():
        return None
    some, weight = inputs[used].astype(np.float64), weight[used]
    gram = some.T @ (some * weight[:, None])
    gram += _RIDGE * max(float(np.trace(gram)), 1e-9) * np.eye(len(gram))
    return np.linalg.solve(gram, some.T @ (target[used] * weight))


def _inputs(z: FloatArray, rank: RankArray) -> FloatArray:
    """Return what the guess is linear in, shape (n, 2 * S + 3), float32."""
    width = 2 * z.shape[1] + 3
    inputs = np.empty((len(z), width), dtype=np.float32)
    for column in range(width):
        unit = np.zeros((2, width), dtype=np.float32)
        unit[:, column] = 1.0
        inputs[:, column] = _guesses(z, rank, np.zeros(len(z), dtype=np.int64), unit)
    return inputs


@compiled
def _guesses(z: Any, rank: Any, kind: Any, weights: Any) -> Any:
    count, sources = z.shape
    out = np.empty(count, dtype=np.float32)
    for pair in range(count):
        own = weights[kind[pair]]
        most_z, most_rank = np.float32(-np.inf), 0.0
        total = np.float64(own[2 * sources + 2])
        for source in range(sources):
            high = 1.0 / np.sqrt(np.float64(rank[pair, source]))
            total += own[source] * z[pair, source] + own[sources + source] * high
            most_z, most_rank = max(most_z, z[pair, source]), max(most_rank, high)
        out[pair] = total + own[2 * sources] * most_z + own[2 * sources + 1] * most_rank
    return out


@compiled
def _kept(guesses: Any, indptr: Any, count: Any) -> Any:
    """Return the places of the ``count`` highest guesses of each row, ascending."""
    kept = np.empty(len(guesses), dtype=np.int64)
    size = 0
    for row in range(len(indptr) - 1):
        first, stop = indptr[row], indptr[row + 1]
        border, room = np.float32(-np.inf), count
        if stop - first > count:
            own = guesses[first:stop]
            border = np.partition(own, stop - first - count)[stop - first - count]
            for place in range(first, stop):
                if guesses[place] > border:
                    room -= 1
        for place in range(first, stop):
            if guesses[place] == border:
                room -= 1
            if guesses[place] > border or (guesses[place] == border and room >= 0):
                kept[size] = place
                size += 1
    return kept[:size].copy()
