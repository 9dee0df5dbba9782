"""Probe queries: questions with the answers that an artifact gave when it was made.

Asked again on another machine they show whether the artifact still answers the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import Interactions
from kgrec.errors import ArtifactError
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.models.top_items import TopItems

NUM_PROBES = 5
PROBE_K = 10
# float32 sums differ in their last digits between machines and batch shapes
RELATIVE_TOLERANCE = 1e-3


def make_probes(scorer: Scorer, saved: Scorer, train: TrainingData) -> list[dict[str, Any]]:
    """Return probe queries with the answers of ``saved``, which must equal those of ``scorer``.

    Args:
        scorer: As fitted.
        saved: The same, written and read back.
        train: What it was fitted on; users with events are asked, evenly spaced by row.

    Raises:
        ArtifactError: The two answer differently.
    """
    users = np.unique(train.interactions.user_idx)
    picks = np.linspace(0, len(users) - 1, min(NUM_PROBES, len(users))).astype(np.int64)
    probes = []
    for user in users[picks]:
        probe = _probe(saved, train.interactions, int(user))
        fault = difference(probe, answer_to(probe, scorer, train.interactions))
        if fault:
            raise ArtifactError(
                f"Expected the saved {scorer.name} to answer as the fitted one does, got {fault}; "
                "its save or load loses something"
            )
        probes.append(probe)
    return probes


def answer_to(probe: dict[str, Any], scorer: Scorer, interactions: Interactions) -> TopItems:
    """Ask a probe's question.

    Always of one user: a batch sums in another order, and where scores are equal a lost digit
    changes ranks, on which other scores rest.
    """
    user = np.array([probe["user_idx"]], dtype=np.int64)
    return scorer.top(HistoryBatch.from_interactions(interactions, user), int(probe["k"]))


def difference(probe: dict[str, Any], answer: TopItems) -> str:
    """Return in words how an answer differs from the probe's, "" where it does not.

    Scores may differ in their last digits, and items whose scores are that close may trade places.
    """
    expected = np.asarray(probe["score"], dtype=np.float32)
    actual = answer.score[0][answer.item_idx[0] >= 0]
    if len(expected) != len(actual):
        return f"{len(actual)} items in place of {len(expected)}"
    tolerance = RELATIVE_TOLERANCE * max(1.0, float(np.abs(expected).max(initial=0.0)))
    gap = np.abs(expected - actual)
    if gap.max(initial=0.0) > tolerance:
        place = int(gap.argmax())
        return f"score {actual[place]:.6g} in place of {expected[place]:.6g} at rank {place + 1}"
    items = np.asarray(probe["item_idx"])
    sure = items[expected > expected.min(initial=np.inf) + 2 * tolerance]
    missing = np.setdiff1d(sure, answer.item_idx[0])
    return f"an answer without item_idx {missing[0]}" if len(missing) else ""


def _probe(scorer: Scorer, interactions: Interactions, user: int) -> dict[str, Any]:
    asked = {"user_idx": user, "k": PROBE_K}
    answer = answer_to(asked, scorer, interactions)
    found = answer.item_idx[0] >= 0
    return asked | {
        "item_idx": answer.item_idx[0][found].tolist(),
        "score": [round(float(score), 7) for score in answer.score[0][found]],
    }
