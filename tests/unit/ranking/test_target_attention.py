"""Target attention: it finds what the last events tell of a candidate, cold and added items too."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ranking_data import histories_of, make_sources, make_train, small_config

from kgrec.errors import DataError
from kgrec.ranking.behaviour import Behaviour, behaviour_of, stack_behaviour
from kgrec.ranking.cross_network import CrossNetworkConfig, CrossNetworkRanker
from kgrec.ranking.crossfit import fit_pipeline
from kgrec.ranking.feature_state import FeatureConfig, fit_feature_state
from kgrec.ranking.pipeline import Pipeline
from kgrec.ranking.ranker import RankingRows, ndcg_of_lists, sampled_lists, stack_rows
from kgrec.ranking.target_attention import TargetAttentionConfig, TargetAttentionRanker
from kgrec.retrieval.candidates import CandidateGenerator

ITEMS, EVENTS, TOPICS = 60, 6, 8
CONTENT = np.eye(TOPICS, dtype=np.float32)[np.arange(ITEMS) % TOPICS]
CONFIG = TargetAttentionConfig(
    max_epochs=20, lists_per_batch=8, learning_rate=2e-2, item_dim=8, dropout=0.0, use_ids=False
)


def lists(count: int, seed: int, items: int = ITEMS) -> RankingRows:
    """Return lists whose positives are of a topic that the user liked; features tell nothing."""
    rng = np.random.default_rng(seed)
    size = 20
    history = rng.integers(0, ITEMS, size=(count, EVENTS))
    history[:, -1] = np.where(rng.random(count) < 0.5, -1, history[:, -1])
    liked = (rng.random(history.shape) < 0.6) & (history >= 0)
    item = rng.integers(0, items, size=count * size)
    list_of_row = np.repeat(np.arange(count), size)
    same = (history % TOPICS)[list_of_row] == (item % TOPICS)[:, None]
    wanted = (same & liked[list_of_row]).any(axis=1)
    label = (rng.random(len(item)) < np.where(wanted, 0.6, 0.02)).astype(np.float32)
    known = rng.random(len(item)) < 0.8
    return RankingRows(
        ("a", "b"),
        rng.normal(size=(len(item), 2)).astype(np.float32),
        np.arange(0, len(item) + 1, size),
        label,
        label.reshape(count, size).sum(axis=1).astype(np.int64),
        Behaviour(item, known, list_of_row, history, liked, CONTENT),
    )


TRAIN, VAL, TEST = lists(200, 0), lists(60, 1), lists(150, 2)


def quality(rows: RankingRows, scores: np.ndarray) -> float:
    return float(ndcg_of_lists(rows, scores, k=5).mean())


@pytest.fixture(scope="module")
def fitted() -> TargetAttentionRanker:
    return TargetAttentionRanker(CONFIG).fit(TRAIN, VAL)


def test_attention_finds_what_features_alone_cannot(fitted: TargetAttentionRanker) -> None:
    # the planted rule gives .696, chance .289
    assert 0.65 < quality(TEST, fitted.scores(TEST.values, TEST.behaviour)) < 0.72
    features = CrossNetworkRanker(CrossNetworkConfig(max_epochs=5)).fit(TRAIN, VAL)
    assert quality(TEST, features.scores(TEST.values)) < 0.34


def test_untrained_attention_lies_outside_the_band() -> None:
    frozen = TargetAttentionRanker(
        CONFIG.model_copy(update={"learning_rate": 1e-9, "max_epochs": 1})
    )
    assert quality(TEST, frozen.fit(TRAIN).scores(TEST.values, TEST.behaviour)) < 0.34


def test_own_vectors_are_learned_where_there_is_no_content() -> None:
    bare = [
        replace(rows, behaviour=replace(rows.behaviour, content=np.zeros((ITEMS, 0), np.float32)))
        for rows in (lists(800, 9), VAL, TEST)
    ]
    changes = {"use_ids": True, "id_dropout": 0.0, "weight_decay": 0.0, "max_epochs": 6}
    ranker = TargetAttentionRanker(CONFIG.model_copy(update=changes)).fit(bare[0], bare[1])
    found = quality(bare[2], ranker.scores(bare[2].values, bare[2].behaviour))
    assert 0.55 < found < 0.72


def test_cold_items_and_items_added_later_are_ranked_by_content(
    fitted: TargetAttentionRanker,
) -> None:
    rows = lists(100, 3, items=2 * ITEMS)  # half of the candidates came after training
    content = np.eye(TOPICS, dtype=np.float32)[np.arange(2 * ITEMS) % TOPICS]
    behaviour = replace(rows.behaviour, content=content, known=np.zeros(len(rows), dtype=bool))
    assert 0.62 < quality(rows, fitted.scores(rows.values, behaviour)) < 0.72
    own = TargetAttentionRanker(CONFIG.model_copy(update={"use_ids": True})).fit(TRAIN, VAL)
    assert np.isfinite(own.scores(rows.values, behaviour)).all()


def test_same_seed_gives_the_same_scores(fitted: TargetAttentionRanker) -> None:
    again = TargetAttentionRanker(CONFIG).fit(TRAIN, VAL)
    expected = fitted.scores(TEST.values, TEST.behaviour)
    np.testing.assert_allclose(
        again.scores(TEST.values, TEST.behaviour), expected, rtol=1e-5, atol=1e-5
    )


def test_save_and_load_keep_scores(fitted: TargetAttentionRanker, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    loaded = TargetAttentionRanker.load(tmp_path)
    expected = fitted.scores(TEST.values, TEST.behaviour)
    np.testing.assert_allclose(
        loaded.scores(TEST.values, TEST.behaviour), expected, rtol=1e-5, atol=1e-5
    )
    assert loaded.describe() == fitted.describe()


def test_scores_row_by_row_equal_scores_of_all(fitted: TargetAttentionRanker) -> None:
    behaviour = TEST.behaviour
    assert behaviour is not None
    every = fitted.scores(TEST.values, behaviour)[:30]
    alone = [
        fitted.scores(TEST.values[row : row + 1], behaviour.take_rows(slice(row, row + 1)))
        for row in range(30)
    ]
    np.testing.assert_allclose(np.concatenate(alone), every, rtol=1e-4, atol=1e-5)
    assert fitted.scores(TEST.values[:0], behaviour.take_rows(slice(0, 0))).shape == (0,)


def test_empty_history_scores_without_attention(fitted: TargetAttentionRanker) -> None:
    nobody = replace(
        TEST.behaviour,
        history=np.full_like(TEST.behaviour.history, -1),
        liked=np.zeros_like(TEST.behaviour.liked),
    )
    assert np.isfinite(fitted.scores(TEST.values, nobody)).all()
    assert quality(TEST, fitted.scores(TEST.values, nobody)) < 0.4


def test_rows_without_histories_are_refused(fitted: TargetAttentionRanker) -> None:
    with pytest.raises(DataError, match=r"histories of 3000 rows .* got none; make them"):
        fitted.scores(TEST.values)
    with pytest.raises(DataError, match=r"got those of 5"):
        fitted.scores(TEST.values, TEST.behaviour.take_rows(slice(0, 5)))
    with pytest.raises(DataError, match=r"got none"):
        TargetAttentionRanker(CONFIG).fit(replace(TRAIN, behaviour=None))


def test_behaviour_holds_the_last_events_newest_first() -> None:
    train = make_train()
    state = fit_feature_state(train, FeatureConfig())
    histories = histories_of(train, [3, 10])
    empty = replace(
        histories.take(np.array([0])),
        indptr=np.zeros(2, dtype=np.int64),
        item_idx=np.empty(0, dtype=np.int64),
        positive=np.empty(0, dtype=np.bool_),
    )
    sources = {name: source.fit(train) for name, source in make_sources().items()}
    generator = CandidateGenerator(sources, small_config().candidates, state.cold)
    candidates = generator.generate(histories)
    found = behaviour_of(state, histories, candidates, 5)
    for row in range(2):
        own = histories.item_idx[histories.indptr[row] : histories.indptr[row + 1]]
        kinds = histories.positive[histories.indptr[row] : histories.indptr[row + 1]]
        np.testing.assert_array_equal(found.history[row], own[::-1][:5])
        np.testing.assert_array_equal(found.liked[row], kinds[::-1][:5])
    np.testing.assert_array_equal(found.known, state.arrays["events"][candidates.item_idx] > 0)
    long = behaviour_of(state, histories, candidates, 40)
    assert (long.history[0, histories.lengths[0] :] == -1).all()
    nobody = behaviour_of(state, empty, candidates.of_users(0, 1), 5)
    assert (nobody.history == -1).all()
    assert not nobody.liked.any()


def test_rows_keep_their_histories_when_chosen_and_stacked() -> None:
    stacked = stack_rows([VAL, TEST])
    some = sampled_lists(stacked, 4, np.random.default_rng(0))
    behaviour, group = some.behaviour, some.group_of_row
    assert behaviour is not None
    np.testing.assert_array_equal(behaviour.list_of_row, group)
    assert len(behaviour.history) == len(some.indptr) - 1
    key = {float(value): row for row, value in enumerate(stacked.values[:, 0])}
    for row in range(0, len(some), 17):
        old = key[float(some.values[row, 0])]
        before = stacked.behaviour
        assert behaviour.item_idx[row] == before.item_idx[old]
        np.testing.assert_array_equal(
            behaviour.history[behaviour.list_of_row[row]],
            before.history[before.list_of_row[old]],
        )


def test_histories_of_other_lengths_do_not_stack() -> None:
    other = replace(TEST.behaviour, history=TEST.behaviour.history[:, :3])
    with pytest.raises(DataError, match="one length of history"):
        stack_behaviour([VAL.behaviour, other])


def test_pipeline_ranks_with_target_attention_and_keeps_it_in_files(tmp_path: Path) -> None:
    train = make_train()
    config = small_config(
        rankers=("target_attention",),
        target_attention=TargetAttentionConfig(max_epochs=4, item_dim=4, lists_per_batch=8),
    )
    rows_folder = tmp_path / "rows"
    pipeline = fit_pipeline(train, make_sources, config, cache_folder=rows_folder)
    assert list(pipeline.warm.rankers) == ["target_attention"]
    users = histories_of(train, list(range(30)))
    top = pipeline.top(users, 5).item_idx
    assert (top % 2 == np.arange(30)[:, None] % 2).mean() > 0.85
    resumed = fit_pipeline(train, make_sources, config, cache_folder=rows_folder)
    scores = pipeline.scores(users)
    np.testing.assert_allclose(
        resumed.scores(users), scores, rtol=1e-5, atol=1e-5
    )  # torch has threads here
    pipeline.save(tmp_path / "resumed")
    resumed.save(tmp_path / "new")
    weights = "ranker_warm/target_attention/ranker.safetensors"
    assert (tmp_path / "new" / weights).read_bytes() == (
        tmp_path / "resumed" / weights
    ).read_bytes()
    np.testing.assert_allclose(
        Pipeline.load(tmp_path / "new").scores(users), scores, rtol=1e-5, atol=1e-5
    )
