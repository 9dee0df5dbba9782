"""A candidate against the published model: by old ids, by how much, by chance, and not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from serving_data import NUM_ITEMS, SCORERS, make_artifact, make_training_data

from kgrec.artifact import Artifact, ArtifactDetails, load_artifact
from kgrec.data.dataset import Dataset
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray
from kgrec.data.task import EvaluationTask
from kgrec.jobs.model_gate import AskedByOldIds, Verdict, judge
from kgrec.models.top_items import TopItems

DATA = make_training_data().dataset
USERS = np.arange(120)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    root = tmp_path_factory.mktemp("gate")
    make_artifact(root, details=ArtifactDetails(metrics={"learned_until": 5}))
    return load_artifact(Path(root) / "current", scorers=SCORERS)


class Worse:
    """The published model with ``share`` of its users given their worst items."""

    def __init__(self, published: Artifact, share: float) -> None:
        self._scorer, self._share = published.scorer, share

    def top(
        self,
        histories: HistoryBatch,
        k: int,
        *,
        exclude_history: bool = True,
        allowed: BoolArray | None = None,
        seed: int = 0,
    ) -> TopItems:
        top = self._scorer.top(histories, NUM_ITEMS, allowed=allowed, seed=seed).item_idx
        bad = histories.user_idx < self._share * len(USERS)
        found = top[:, :k].copy()
        for row in np.flatnonzero(bad):
            known = top[row][top[row] >= 0]
            found[row, : min(k, len(known))] = known[::-1][:k]
        return TopItems(found, np.zeros(found.shape, np.float32))


def task(published: Artifact) -> EvaluationTask:
    """Each user's answer is the published model's first choice."""
    histories = HistoryBatch.from_interactions(
        DATA.interactions, USERS, np.full(len(USERS), 10**10)
    )
    targets = published.scorer.top(histories, 1).item_idx[:, 0]
    return EvaluationTask("nights/test", histories, np.arange(len(USERS) + 1), targets)


def verdict(published: Artifact, share: float, **limits: float) -> Verdict:
    settings = {"max_drop": 0.02, "drop_p_value": 0.2, "p_value": 0.05, "min_users": 10} | limits
    return judge(Worse(published, share), published, task(published), DATA, **settings)  # type: ignore[arg-type]


def test_the_same_model_passes(published: Artifact) -> None:
    found = verdict(published, 0.0)
    assert found.passes
    assert found.candidate == found.published == 1.0


def test_a_large_loss_is_refused(published: Artifact) -> None:
    found = verdict(published, 0.5, p_value=1e-9)
    assert not found.passes
    assert "at most 2.0% may be lost" in found.reason


def test_a_large_loss_that_may_be_chance_passes_and_says_so(published: Artifact) -> None:
    found = verdict(published, 0.03, drop_p_value=1e-9, p_value=1e-9)
    assert found.passes
    assert found.relative is not None
    assert found.relative < -0.02
    assert "may be chance" in found.reason
    assert not verdict(published, 0.03, drop_p_value=1.0, p_value=1e-9).passes


def test_a_small_loss_that_is_no_chance_is_refused(published: Artifact) -> None:
    assert not verdict(published, 0.2, max_drop=0.9).passes
    assert "p = " in verdict(published, 0.2, max_drop=0.9).reason
    assert verdict(published, 0.01, max_drop=0.9).passes  # one or two users: chance


def test_few_users_cannot_refuse(published: Artifact) -> None:
    found = verdict(published, 0.5, min_users=1000)
    assert found.passes
    assert "fewer than 1000" in found.reason


def test_a_model_that_has_learned_from_the_newest_events_is_not_compared(
    published: Artifact,
) -> None:
    metrics = {**published.manifest["metrics"], "learned_until": 10**11}
    later = replace(published, manifest={**published.manifest, "metrics": metrics})
    found = verdict(later, 0.5)
    assert found.passes
    assert "not comparable" in found.reason
    assert found.published is None


def test_old_ids_are_asked_where_items_came_went_and_moved(published: Artifact) -> None:
    rng = np.random.default_rng(0)
    moved = rng.permutation(NUM_ITEMS)[:50]  # ten gone, the others elsewhere
    ids = np.array([*DATA.items.ids[moved], "brand-new"], dtype=object)
    items = replace(DATA.items, ids=ids)
    newer: Dataset = replace(DATA, items=items)
    histories = HistoryBatch.from_interactions(DATA.interactions, USERS[:20])
    kept = np.isin(histories.item_idx, moved)
    place = np.full(NUM_ITEMS, -1)
    place[moved] = np.arange(50)
    lengths = np.bincount(histories.row_of_event[kept], minlength=20)
    known = replace(
        histories,
        indptr=np.concatenate([[0], np.cumsum(lengths)]),
        **{
            name: getattr(histories, name)[kept]
            for name in ("item_idx", "value", "timestamp", "positive")
        },
    )
    allowed = np.isin(np.arange(NUM_ITEMS), moved)
    expected = published.scorer.top(known, 7, allowed=allowed)
    asked = replace(known, item_idx=place[known.item_idx])
    found = AskedByOldIds(published, newer).top(asked, 7)
    np.testing.assert_array_equal(found.item_idx, place[expected.item_idx])
    np.testing.assert_array_equal(found.score, expected.score)
