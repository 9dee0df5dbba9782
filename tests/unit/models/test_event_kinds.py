"""The kind of an event (view, purchase) is learned from, kept, and asked with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from serving_data import make_interactions, make_training_data
from towers_data import NUM_ITEMS, NUM_USERS, planted

from kgrec import Event, Recommender
from kgrec.artifact import load_artifact, save_artifact
from kgrec.data.dataset import _kinds
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import IntArray, Interactions, joined_kinds, kind_codes
from kgrec.http.requests import HistoryEvent
from kgrec.models.baselines import make_baseline
from kgrec.models.scorer import TrainingData
from kgrec.models.tower_inputs import kinds_of
from kgrec.models.towers import EVENT_MARKS, TowersScorer
from kgrec.models.towers_config import TowersConfig
from kgrec.models.user_reading import UserReading
from kgrec.models.user_tower import UserInputs, rows_of_kinds
from kgrec.serving.catalogue import Catalogue
from kgrec.serving.live_histories import PositiveRule, with_recent
from kgrec.serving.live_state import LiveEvent
from kgrec.serving.request_histories import stack, without_each

HALF = 6
KINDS = ("view", "save", "share", "buy")
SMALL = TowersConfig(embedding_dim=16, steps=120, users_per_step=120, threads=1, device="cpu")

OWN = {"towers": TowersScorer}


def told_by_kinds(seed: int = 0) -> TrainingData:
    """Return users who like anything first, and then what the kind of their events stands for."""
    rng = np.random.default_rng(seed)
    train = planted(triples=False)
    kinds = np.repeat(rng.integers(0, 4, size=(NUM_USERS, 1)), 2 * HALF, axis=1)
    tastes = np.where(np.arange(2 * HALF) < HALF, rng.integers(0, 4, size=kinds.shape), kinds)
    numbers = np.argsort(rng.random((NUM_USERS, 16)), axis=1)[:, : 2 * HALF]  # none twice
    items = 4 * numbers + tastes
    events = Interactions(
        np.repeat(np.arange(NUM_USERS), 2 * HALF),
        items.ravel(),
        np.full(items.size, np.nan, dtype=np.float32),
        1_000_000 + 60 * np.arange(items.size),
        np.ones(items.size, dtype=np.bool_),
        kind_codes(KINDS)[kinds.ravel()],
    )
    return replace(train, interactions=events)


def share_foretold(scorer: TowersScorer, seed: int = 1) -> float:
    """Return how often what comes best after first halves is of the taste of the kind."""
    events = told_by_kinds(seed).interactions
    first = events.take(np.arange(len(events)) % (2 * HALF) < HALF)
    histories = HistoryBatch.from_interactions(first, np.arange(NUM_USERS))
    best = scorer.scores(histories)[:, :64].argmax(axis=1)
    assert first.kind is not None
    return float(np.mean(kind_codes(KINDS)[best % 4] == first.kind[histories.indptr[1:] - 1]))


def test_towers_learn_what_kinds_foretell() -> None:
    train = told_by_kinds()
    assert share_foretold(TowersScorer(SMALL).fit(train)) > 0.7  # chance: a quarter
    deaf = SMALL.model_copy(update={"event_kinds": False})
    assert share_foretold(TowersScorer(deaf).fit(train)) < 0.5
    gru = SMALL.model_copy(update={"sequence": "gru"})
    assert share_foretold(TowersScorer(gru).fit(train)) > 0.7


def test_one_kind_is_no_news() -> None:
    train = planted()
    assert kinds_of(train, SMALL) is None
    told = told_by_kinds()
    assert kinds_of(told, SMALL.model_copy(update={"sequence": "off"})) is None
    kinds = kinds_of(told, SMALL)
    assert kinds is not None
    assert kinds.tolist() == sorted(kind_codes(KINDS).tolist())


def test_kinds_come_back_from_disk_and_start_another_fit(tmp_path: Path) -> None:
    train = told_by_kinds()
    fitted = TowersScorer(SMALL.model_copy(update={"steps": 120})).fit(train)
    fitted.save(tmp_path)
    again = TowersScorer.load(tmp_path)
    histories = HistoryBatch.from_interactions(train.interactions, np.arange(NUM_USERS))
    np.testing.assert_array_equal(again.scores(histories), fitted.scores(histories))
    # tomorrow "view" is gone and "gift" is there: rows are found by the kind, not by their place
    kind = train.interactions.kind
    assert kind is not None
    view, gift = kind_codes(["view", "gift"])
    later = replace(train.interactions, kind=np.where(kind == view, gift, kind))
    still = SMALL.model_copy(update={"warm_start_steps": 1, "learning_rate": 1e-9})
    warm = TowersScorer(still).fit(replace(train, interactions=later), warm_start=again)
    marks = [one._state.weights[EVENT_MARKS].numpy() for one in (fitted, warm)]
    rows = [
        rows_of_kinds(torch.from_numpy(kind_codes([*KINDS, "gift"])), one._state.users.event_codes)
        for one in (fitted, warm)
    ]
    for name, old, new in zip((*KINDS, "gift"), *(row.tolist() for row in rows), strict=True):
        assert (old > 0, new > 0) == (name != "gift", name != "view")
        if old and new:
            np.testing.assert_allclose(marks[0][old], marks[1][new], atol=1e-6)


def test_compiled_answers_are_those_of_the_tower() -> None:
    fitted = TowersScorer(SMALL).fit(told_by_kinds())
    tower, items = fitted._state.users, fitted._state.items[:, :-1]
    reading = UserReading.of(tower)
    assert reading is not None
    told = HistoryBatch.from_interactions(told_by_kinds(2).interactions, np.arange(9))
    unknown = replace(told, kind=kind_codes(["never seen"] * len(told.item_idx)))
    untold = replace(told, kind=None)
    batch = stack([told, unknown, untold])
    with torch.no_grad():
        expected = tower(UserInputs.of(batch, NUM_ITEMS, tower.config), items).numpy()
    found = reading.vectors(batch, fitted.item_vectors())
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_array_equal(found[9:18], found[18:])  # unknown is as good as not told
    assert (np.abs(found[:9] - found[9:18]).max(axis=1) > 1e-3).all()


@pytest.mark.parametrize("first", [None, np.array([5, 6])])
@pytest.mark.parametrize("second", [None, np.array([7])])
def test_parts_are_joined(first: IntArray | None, second: IntArray | None) -> None:
    joined = joined_kinds([first, second], [2, 1])
    if first is None and second is None:
        assert joined is None
    else:
        assert joined is not None
        assert joined.tolist() == [*(first if first is not None else [0, 0]),
                                   *(second if second is not None else [0])]  # fmt: skip


def test_a_code_is_of_its_name_alone() -> None:
    codes = kind_codes(["buy", "", "view", "buy"])
    assert codes[0] == codes[3] != codes[2]
    assert codes[1] == 0
    assert codes[0] == kind_codes(["buy"])[0]


def test_a_subset_of_events_keeps_their_kinds() -> None:
    events = told_by_kinds().interactions
    batch = HistoryBatch.from_interactions(events, np.array([3]))
    kind = batch.kind
    assert kind is not None
    kept = batch.of_items_below(40)
    assert kept.kind is not None
    assert kept.kind.tolist() == kind[batch.item_idx < 40].tolist()
    first = int(batch.item_idx[0])
    variant = without_each(batch, np.array([first])).take(np.array([1]))
    assert variant.kind is not None
    assert variant.kind.tolist() == kind[batch.item_idx != first].tolist()


def served(folder: Path, *, rule: tuple[str, ...] | None) -> Recommender:
    """Return a recommender of towers on events of several kinds."""
    train = make_training_data()
    events = make_interactions()
    rng = np.random.default_rng(0)
    kinds = kind_codes([KINDS[n] for n in rng.integers(0, 4, size=len(events))])
    details = {**train.dataset.details, "positive": {"events": rule, "min_value": None}}
    given = replace(
        train,
        interactions=replace(events, kind=kinds),
        dataset=replace(train.dataset, details=details),
    )
    scorer = TowersScorer(SMALL.model_copy(update={"steps": 20})).fit(given)
    return Recommender.load(save_artifact(folder, scorer, given, scorers=OWN), scorers=OWN)


def test_requests_tell_kinds(tmp_path: Path) -> None:
    rec = served(tmp_path, rule=("buy", "save"))
    assert rec.artifact.interactions.kind is not None
    items = [str(one) for one in rec.artifact.items.ids[:3]]

    def scores(*kinds: str | None) -> list[tuple[str, float]]:
        history = [Event(item, event=kind) for item, kind in zip(items, kinds, strict=True)]
        return [(one.item_id, one.score) for one in rec.recommend(history=history, k=5)]

    assert scores("buy", "buy", "save") != scores("save", "save", "buy")
    assert scores("view", "view", "buy") != scores("buy", "buy", "buy")  # a view is no like
    assert scores(None, None, None) == [
        (one.item_id, one.score) for one in rec.recommend(history=items, k=5)
    ]


def test_the_artifact_keeps_the_kinds(tmp_path: Path) -> None:
    rec = served(tmp_path, rule=None)
    kind = rec.artifact.interactions.kind
    assert kind is not None
    assert set(kind.tolist()) == set(kind_codes(KINDS).tolist())
    train = make_training_data()
    plain = save_artifact(tmp_path / "one", make_baseline("popularity").fit(train), train)
    assert load_artifact(plain).interactions.kind is None


def test_a_table_of_several_kinds_gives_their_codes() -> None:
    told = _kinds(pl.Series("event", ["view", "buy", None, "view"]))
    assert told is not None
    assert told.tolist() == kind_codes(["view", "buy", "", "view"]).tolist()
    assert _kinds(pl.Series("event", ["rating", "rating"])) is None


@pytest.mark.parametrize("of_several", [True, False])
def test_later_events_join_with_their_kinds(of_several: bool) -> None:
    train = make_training_data()
    events = make_interactions()
    kind = kind_codes(["view"] * len(events)) if of_several else None
    stored = HistoryBatch.from_interactions(replace(events, kind=kind), np.array([0]))
    catalogue = Catalogue(train.dataset.items)
    there = int(stored.item_idx[-1])
    fresh = next(row for row in range(len(train.dataset.items.ids)) if row not in stored.item_idx)
    last = int(stored.timestamp.max())
    later = [
        LiveEvent(last + 60 * place, place, str(train.dataset.items.ids[row]), event, None)
        for place, (row, event) in enumerate([(there, "buy"), (fresh, "save")], start=1)
    ]
    joined = with_recent(stored, later, catalogue, PositiveRule(), None)
    assert joined.item_idx[-2:].tolist() == [there, fresh]
    assert joined.kind is not None
    before = kind_codes(["view" if of_several else ""] * (len(joined.item_idx) - 2)).tolist()
    assert joined.kind.tolist() == [*before, *kind_codes(["buy", "save"]).tolist()]


def test_the_service_hands_the_kind_on() -> None:
    asked = HistoryEvent(item_id="7", event="view")
    assert asked.as_event() == Event("7", event="view")
