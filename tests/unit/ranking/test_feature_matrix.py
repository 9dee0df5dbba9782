"""Features against naive computations, and what they may not depend on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ranking_data import histories_of, make_sources, make_train
from scipy import sparse

from kgrec.data.histories import HistoryBatch
from kgrec.errors import ArtifactError, DataError
from kgrec.ranking.feature_state import (
    FeatureConfig,
    FeatureState,
    fit_feature_state,
    largest_per_row,
)
from kgrec.ranking.features import DAY_S, FeatureBuilder, FeatureMatrix
from kgrec.retrieval.candidates import CandidateConfig, CandidateGenerator, Candidates

TRAIN = make_train()
STATE = fit_feature_state(TRAIN, FeatureConfig())
SOURCES = {name: source.fit(TRAIN) for name, source in make_sources().items()}
GENERATOR = CandidateGenerator(SOURCES, CandidateConfig(depth=10), STATE.cold)
USERS = histories_of(TRAIN, [5, 0, 12, 33])
CANDIDATES = GENERATOR.generate(USERS)
MATRIX = FeatureBuilder(STATE).build(USERS, CANDIDATES)


def column(name: str, matrix: FeatureMatrix = MATRIX) -> np.ndarray:
    return matrix.values[:, matrix.names.index(name)]


def build(histories: HistoryBatch, candidates: Candidates, state: FeatureState = STATE):
    return FeatureBuilder(state).build(histories, candidates)


def events_of(row: int, liked: bool | None = None) -> np.ndarray:
    here = np.arange(USERS.indptr[row], USERS.indptr[row + 1])
    return here if liked is None else here[USERS.positive[here] == liked]


def test_features_are_finite_float32_with_unique_names() -> None:
    assert MATRIX.values.dtype == np.float32
    assert np.isfinite(MATRIX.values).all()
    assert len(set(MATRIX.names)) == MATRIX.values.shape[1]


def test_names_are_the_same_for_other_users() -> None:
    other = histories_of(TRAIN, [1])
    assert build(other, GENERATOR.generate(other)).names == MATRIX.names


def test_features_of_a_user_alone_equal_those_in_a_batch() -> None:
    for row in range(len(USERS)):
        alone = USERS.take(np.array([row]))
        matrix = build(alone, GENERATOR.generate(alone))
        here = slice(CANDIDATES.indptr[row], CANDIDATES.indptr[row + 1])
        np.testing.assert_allclose(matrix.values, MATRIX.values[here], rtol=1e-4, atol=1e-4)


def test_features_do_not_depend_on_the_other_candidates() -> None:
    kept = np.arange(0, len(CANDIDATES.item_idx), 3)
    indptr = np.searchsorted(CANDIDATES.row_of_pair[kept], np.arange(len(USERS) + 1))
    fewer = GENERATOR.describe_pairs(USERS, indptr, CANDIDATES.item_idx[kept])
    matrix = build(USERS, fewer)
    np.testing.assert_allclose(matrix.values, MATRIX.values[kept], rtol=1e-4, atol=1e-4)


def test_popularity_counts_equal_a_naive_count() -> None:
    for pair in range(0, len(CANDIDATES.item_idx), 7):
        item, now = CANDIDATES.item_idx[pair], USERS.now[CANDIDATES.row_of_pair[pair]]
        times = TRAIN.interactions.timestamp[TRAIN.interactions.item_idx == item]
        assert column("item.log_events")[pair] == pytest.approx(np.log1p(len(times)))
        before = times <= now
        assert column("time.log_before")[pair] == pytest.approx(np.log1p(before.sum()))
        recent = before & (times > now - 30 * DAY_S)
        assert column("time.log_recent_30")[pair] == pytest.approx(np.log1p(recent.sum()))


def test_time_features_use_nothing_later_than_the_request() -> None:
    late = replace(USERS, now=np.full(len(USERS), USERS.timestamp.min() + 40 * DAY_S))
    latest = int(late.now[0])
    seen = TRAIN.interactions.timestamp <= latest
    past = fit_feature_state(
        replace(TRAIN, interactions=TRAIN.interactions.take(seen)), FeatureConfig()
    )
    whole, short = build(late, CANDIDATES), build(late, CANDIDATES, past)
    for name in ("time.log_before", "time.log_recent_30", "time.trend_30", "time.log_age_days"):
        np.testing.assert_allclose(column(name, whole), column(name, short), rtol=1e-5)


def test_text_similarities_equal_a_naive_loop() -> None:
    text = STATE.arrays["text"]
    for pair in range(0, len(CANDIDATES.item_idx), 5):
        row, item = CANDIDATES.row_of_pair[pair], CANDIDATES.item_idx[pair]
        liked = [float(text[item] @ text[USERS.item_idx[e]]) for e in events_of(row, True)]
        disliked = [float(text[item] @ text[USERS.item_idx[e]]) for e in events_of(row, False)]
        assert column("text.liked_mean")[pair] == pytest.approx(np.mean(liked), abs=1e-5)
        assert column("text.liked_max")[pair] == pytest.approx(max(liked), abs=1e-5)
        top = np.mean(sorted(liked)[-3:])
        assert column("text.liked_top3")[pair] == pytest.approx(top, abs=1e-5)
        if disliked:
            assert column("text.disliked_mean")[pair] == pytest.approx(np.mean(disliked), abs=1e-5)


def test_graph_features_equal_a_naive_loop() -> None:
    graph = TRAIN.graph
    entity = {  # (relation, item) -> its entity; each item has one of each relation
        (int(r), int(h)): int(t)
        for h, r, t in zip(graph.head, graph.relation, graph.tail, strict=True)
    }
    for pair in range(0, len(CANDIDATES.item_idx), 5):
        row, item = CANDIDATES.row_of_pair[pair], int(CANDIDATES.item_idx[pair])
        events = events_of(row)
        rate = USERS.positive[events].mean()
        for relation, name in enumerate(graph.relations):
            own = entity[relation, item]
            degree = sum(tail == own for (r, _), tail in entity.items() if r == relation)
            idf = np.log1p(TRAIN.num_items / degree)
            same = [e for e in events if entity[relation, int(USERS.item_idx[e])] == own]
            liked = sum(bool(USERS.positive[e]) for e in same)
            scale = np.sqrt(max(USERS.positive[events].sum(), 1))
            expected = np.log1p(idf * liked / scale)
            assert column(f"graph.{name}.liked")[pair] == pytest.approx(expected, abs=1e-5)
            taste = sum(USERS.positive[e] - rate for e in same) / (len(same) + 3.0)
            assert column(f"graph.{name}.taste")[pair] == pytest.approx(taste, abs=1e-5)


def test_sequence_features_equal_a_naive_loop() -> None:
    arrays, size = STATE.arrays, STATE.num_items
    steps = sparse.csr_matrix(
        (arrays["steps_values"], arrays["steps_items"], arrays["steps_indptr"]), (size, size)
    ).toarray()
    for pair in range(0, len(CANDIDATES.item_idx), 5):
        row, item = CANDIDATES.row_of_pair[pair], CANDIDATES.item_idx[pair]
        last = [USERS.item_idx[e] for e in events_of(row)[-3:]]
        expected = sum(steps[j, item] for j in last) / 3
        assert column("sequence.steps.last3")[pair] == pytest.approx(expected, abs=1e-6)
        assert column("sequence.steps.last")[pair] == pytest.approx(steps[last[-1], item], abs=1e-6)


def test_group_features_are_neutral_for_an_unknown_user() -> None:
    stranger = replace(USERS, user_idx=np.full(len(USERS), -1))
    matrix = build(stranger, CANDIDATES)
    assert (column("group.club.share", matrix) == 0).all()
    assert (column("group.club.share") != 0).any()
    same = [name for name in MATRIX.names if not name.startswith("group.")]
    for name in same:  # nothing else knows who asks
        np.testing.assert_array_equal(column(name, matrix), column(name))


def test_empty_history_gives_finite_features() -> None:
    nobody = histories_of(TRAIN, [999])
    matrix = build(nobody, GENERATOR.generate(nobody))
    assert len(matrix.values) > 0
    assert np.isfinite(matrix.values).all()


def test_cold_item_is_flagged_and_guessed_from_content() -> None:
    indptr, items = np.array([0, 2]), np.array([0, TRAIN.num_items - 1])
    one = USERS.take(np.array([0]))
    matrix = build(one, GENERATOR.describe_pairs(one, indptr, items))
    assert column("item.cold", matrix).tolist() == [0.0, 1.0]
    assert column("item.log_events", matrix)[1] == 0.0
    assert column("item.content_popularity", matrix)[1] != 0.0


def test_switches_remove_their_features() -> None:
    config = FeatureConfig(
        use_graph=False, use_text=False, use_attributes=False, use_cold_flag=False
    )
    names = build(USERS, CANDIDATES, fit_feature_state(TRAIN, config)).names
    assert not [n for n in names if n.startswith(("graph.", "text.", "group.", "item.cold"))]


def test_switches_hide_graph_and_text_from_the_content_guess() -> None:
    config = FeatureConfig(use_graph=False, use_text=False)
    other = replace(TRAIN, graph=TRAIN.graph.ablated("random", 1))
    text = np.random.default_rng(0).normal(size=(TRAIN.num_items, 4)).astype(np.float32)
    first = fit_feature_state(TRAIN, config)
    second = fit_feature_state(other, config, text)
    np.testing.assert_array_equal(first.arrays["content"], second.arrays["content"])


def test_state_save_and_load_keep_features_exactly(tmp_path: Path) -> None:
    STATE.save(tmp_path / "new")
    loaded = FeatureState.load(tmp_path / "new")
    assert loaded.relations == STATE.relations
    np.testing.assert_array_equal(build(USERS, CANDIDATES, loaded).values, MATRIX.values)


def test_load_of_absent_state_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"feature_state\.json.*train and save"):
        FeatureState.load(tmp_path)


def test_candidates_of_other_users_are_refused() -> None:
    with pytest.raises(DataError, match="Expected candidate lists for 2 histories, got 4"):
        build(USERS.take(np.array([0, 1])), CANDIDATES)


def test_relations_beyond_the_limit_share_one_group() -> None:
    state = fit_feature_state(TRAIN, FeatureConfig(max_relations=1))
    assert state.relations == ("made_by", "other")


def test_largest_per_row_equals_a_naive_sort() -> None:
    matrix = np.random.default_rng(0).random((9, 12)) * (
        np.random.default_rng(1).random((9, 12)) > 0.3
    )
    kept = largest_per_row(sparse.csr_matrix(matrix), 4).toarray()
    for row in range(9):
        border = np.sort(matrix[row])[::-1][3]
        np.testing.assert_array_equal(kept[row], np.where(matrix[row] >= border, matrix[row], 0))
