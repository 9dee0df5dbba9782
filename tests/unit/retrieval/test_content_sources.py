"""Sources that reach untouched items, against naive computations."""

from dataclasses import replace

import numpy as np
import pytest
from ranking_data import histories_of, make_train
from scipy import sparse

from kgrec.retrieval.content_vectors import (
    centred,
    hashed_text_vectors,
    idf_of,
    truncated_svd,
)
from kgrec.retrieval.sources import ContentRidge, KgNeighbours, ProfileConfig, TextSimilarity
from kgrec.retrieval.vector_source import profile_weights

TRAIN = make_train()
USERS = histories_of(TRAIN, [2, 7, 9])


def test_centred_rows_have_unit_length_and_no_common_direction() -> None:
    vectors = np.random.default_rng(0).normal(loc=3.0, size=(50, 8)).astype(np.float32)
    vectors[4] = 0
    moved = centred(vectors)
    assert (moved[4] == 0).all()
    lengths = np.linalg.norm(np.delete(moved, 4, axis=0), axis=1)
    np.testing.assert_allclose(lengths, 1.0, rtol=1e-5)
    assert np.linalg.norm(moved.mean(axis=0)) < 0.25  # 0.99 before the mean was taken away


def test_idf_is_zero_for_what_one_item_has() -> None:

    incidence = sparse.csr_matrix(np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=np.float32))
    np.testing.assert_allclose(idf_of(incidence), [np.log(2), np.log(2.5), 0.0], rtol=1e-6)


def test_profile_weights_fade_and_turn_with_dislike() -> None:
    config = ProfileConfig(dislike_weight=-0.5, recent_half_life=1.0)
    weights = profile_weights(USERS, TRAIN.num_items, config).toarray()
    start, stop = USERS.indptr[1], USERS.indptr[2]
    raw = [
        (1.0 if USERS.positive[event] else -0.5) * 0.5 ** (stop - 1 - event)
        for event in range(start, stop)
    ]
    expected = np.zeros(TRAIN.num_items)
    expected[USERS.item_idx[start:stop]] = np.array(raw) / np.abs(raw).sum()
    np.testing.assert_allclose(weights[1], expected, rtol=1e-5, atol=1e-8)


def test_kg_neighbours_equal_a_naive_loop() -> None:
    source = KgNeighbours().fit(TRAIN)
    scores = source.scores(USERS)
    graph, size = TRAIN.graph, TRAIN.num_items
    touched = [set() for _ in range(size)]
    for head, tail in zip(graph.head, graph.tail, strict=True):
        touched[head].add(int(tail))
    count = {e: sum(e in own for own in touched) for own in touched for e in own}
    idf = {e: np.log1p(size / n) if n >= 2 else 0.0 for e, n in count.items()}
    length = [np.sqrt(sum(idf[e] ** 2 for e in own)) for own in touched]
    weights = profile_weights(USERS, size, source.config).toarray()
    for item in (0, 13, 58):
        expected = sum(
            weights[0, other]
            * sum(idf[e] ** 2 for e in touched[item] & touched[other])
            / (length[item] * length[other])
            for other in range(size)
        )
        assert scores[0, item] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("source", [TextSimilarity(), KgNeighbours(), ContentRidge()])
def test_untouched_items_are_told_apart_by_taste(source: TextSimilarity) -> None:
    scores = source.fit(TRAIN).scores(histories_of(TRAIN, list(range(40))))
    cold = scores[:, -4:]
    own = np.where(np.arange(40)[:, None] % 2 == np.arange(-4, 0) % 2, cold, np.nan)
    other = np.where(np.isnan(own), cold, np.nan)
    assert (np.nanmean(own, axis=1) > np.nanmean(other, axis=1)).mean() > 0.9


def test_given_text_vectors_are_used() -> None:
    given = np.random.default_rng(1).normal(size=(TRAIN.num_items, 5)).astype(np.float32)
    source = TextSimilarity(text_vectors=given).fit(TRAIN)
    np.testing.assert_array_equal(source.item_vectors(), centred(given))


def test_hashed_text_vectors_are_deterministic_and_zero_without_text() -> None:
    items = TRAIN.dataset.items
    texts = items.texts.copy()
    texts[3] = ""

    first = hashed_text_vectors(replace(items, texts=texts), dim=6)
    second = hashed_text_vectors(replace(items, texts=texts), dim=6)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first[3], 0.0, atol=1e-10)
    assert np.linalg.norm(first[4]) > 0.1


def test_truncated_svd_equals_the_dense_one_up_to_sign() -> None:
    rng = np.random.default_rng(0)
    low = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 30))
    found = truncated_svd(sparse.csr_matrix(low), 8, seed=0)
    u, s, _ = np.linalg.svd(low, full_matrices=False)
    assert found.shape == (40, 3)  # columns beyond the rank are left out
    np.testing.assert_allclose(np.abs(found), np.abs(u[:, :3] * s[:3]), atol=1e-4)
