"""The candidate union: what is in it, where it came from, and its two ways of asking."""

import itertools

import numpy as np
import pytest
from pydantic import ValidationError
from ranking_data import COLD, histories_of, make_sources, make_train

from kgrec.errors import ConfigError
from kgrec.models.scorer import Scorer
from kgrec.retrieval.candidates import CandidateConfig, CandidateGenerator
from kgrec.retrieval.standing import standing_of

TRAIN = make_train()
SOURCES: dict[str, Scorer] = {name: s.fit(TRAIN) for name, s in make_sources().items()}
COLD_ITEMS = np.bincount(TRAIN.interactions.item_idx, minlength=TRAIN.num_items) == 0
USERS = histories_of(TRAIN, [4, 0, 31])


def generator(**settings: object) -> CandidateGenerator:
    settings = {"depth": 8, "cold_depth": 0} | settings
    return CandidateGenerator(SOURCES, CandidateConfig.model_validate(settings), COLD_ITEMS)


def lists(candidates: object) -> list[set[int]]:
    indptr, items = candidates.indptr, candidates.item_idx  # type: ignore[attr-defined]
    return [set(items[a:b].tolist()) for a, b in itertools.pairwise(indptr)]


def masked(source: Scorer) -> np.ndarray:
    scores = source.scores(USERS).copy()
    scores[USERS.row_of_event, USERS.item_idx] = -np.inf
    return scores


def test_union_is_what_the_sources_put_first() -> None:
    found = lists(generator().generate(USERS))
    for row in range(3):
        expected: set[int] = set()
        for source in SOURCES.values():
            scores = masked(source)[row]
            border = np.sort(scores)[::-1][8]  # items that tie with the ninth are left out
            expected |= set(np.flatnonzero(scores > border).tolist())
        assert found[row] == expected


def test_union_holds_nothing_of_the_history_and_no_item_twice() -> None:
    candidates = generator().generate(USERS)
    for row, items in enumerate(lists(candidates)):
        own = USERS.item_idx[USERS.indptr[row] : USERS.indptr[row + 1]]
        assert not items & set(own.tolist())
        assert len(items) == candidates.indptr[row + 1] - candidates.indptr[row]


def test_union_keeps_to_the_filter() -> None:
    allowed = np.arange(TRAIN.num_items) % 4 == 1
    for items in lists(generator().generate(USERS, allowed=allowed)):
        assert items
        assert allowed[list(items)].all()


def test_filters_asked_at_once_equal_filters_asked_alone() -> None:
    allowed = np.arange(TRAIN.num_items) % 2 == 1
    both = generator().generate_each(USERS, [None, allowed])
    np.testing.assert_array_equal(both[0].item_idx, generator().generate(USERS).item_idx)
    alone = generator().generate(USERS, allowed=allowed)
    np.testing.assert_array_equal(both[1].item_idx, alone.item_idx)


def test_a_share_is_of_the_depth() -> None:
    half = lists(generator(quotas=dict.fromkeys(SOURCES, 0.5)).generate(USERS))
    assert half == lists(generator(quotas=dict.fromkeys(SOURCES, 4)).generate(USERS))
    config = CandidateConfig.model_validate({"depth": 8, "quotas": {"ease": 0.01, "svd": 7}})
    assert [config.quota_of(name) for name in ("ease", "svd", "other")] == [1, 7, 8]
    for wrong in (-1, 1.5, -0.2, "many"):
        with pytest.raises(ValidationError, match="quotas"):
            CandidateConfig.model_validate({"quotas": {"ease": wrong}})


def test_quotas_of_zero_for_all_are_refused() -> None:
    with pytest.raises(ConfigError, match="Expected a candidate source that brings items"):
        generator(quotas=dict.fromkeys(SOURCES, 0))


def test_quota_zero_makes_a_source_a_feature_only() -> None:
    only = {name: 0 for name in SOURCES if name != "ease"}
    found = lists(generator(quotas=only).generate(USERS))
    top = SOURCES["ease"].top(USERS, 8).item_idx
    assert all(items <= set(row.tolist()) for items, row in zip(found, top, strict=True))


def test_cold_quota_brings_items_without_events() -> None:
    found = lists(generator(cold_depth=COLD, quotas={"text_similarity": 0}).generate(USERS))
    assert all(len(items & set(np.flatnonzero(COLD_ITEMS))) > 0 for items in found)


def test_rank_and_z_equal_a_naive_computation() -> None:
    candidates = generator().generate(USERS)
    for column, name in enumerate(candidates.source_names):
        scores = masked(SOURCES[name])
        for pair, row in enumerate(candidates.row_of_pair):
            best = np.sort(scores[row])[::-1][:8]
            own = scores[row, candidates.item_idx[pair]]
            rank = min(1 + int((best > own).sum()), 9)
            assert candidates.rank[pair, column] == rank
            if best.std() > 1e-6:
                z = np.clip((own - best.mean()) / best.std(), -12, 12)
                assert candidates.z[pair, column] == pytest.approx(z, abs=2e-3)


def test_scores_that_differ_by_rounding_stand_alike() -> None:
    scores = np.full(9, 0.0125, dtype=np.float32)
    scores[6:] = np.nextafter(scores[6:], np.float32(1))
    z, rank = standing_of(-np.sort(-scores)[None], np.zeros(9, dtype=np.int64), scores)
    assert (z == 0).all()
    assert (rank == 1).all()


def test_pairs_look_the_same_alone_and_in_the_union() -> None:
    candidates = generator().generate(USERS)
    every_other = np.arange(0, len(candidates.item_idx), 2)
    rows = candidates.row_of_pair[every_other]
    indptr = np.searchsorted(rows, np.arange(4))
    alone = generator().describe_pairs(USERS, indptr, candidates.item_idx[every_other])
    np.testing.assert_array_equal(alone.rank, candidates.rank[every_other])
    np.testing.assert_allclose(alone.z, candidates.z[every_other], atol=1e-4)


def test_large_catalogue_path_gives_the_same_lists() -> None:
    pairwise = generator()
    pairwise._row_bytes = lambda: 10**12  # type: ignore[method-assign]
    dense, sparse = generator().generate(USERS), pairwise.generate(USERS)
    np.testing.assert_array_equal(sparse.item_idx, dense.item_idx)
    np.testing.assert_allclose(sparse.z, dense.z, atol=1e-3)
    assert (sparse.rank == dense.rank).mean() > 0.99


def test_no_users_give_an_empty_union() -> None:
    nobody = generator().generate(USERS.take(np.empty(0, dtype=np.int64)))
    assert nobody.indptr.tolist() == [0]
    assert nobody.z.shape == (0, len(SOURCES))


def test_quota_of_unknown_source_is_refused() -> None:
    with pytest.raises(ConfigError, match="nonsense"):
        generator(quotas={"nonsense": 3})
    with pytest.raises(ConfigError, match="at least one candidate source"):
        CandidateGenerator({}, CandidateConfig(), COLD_ITEMS)
