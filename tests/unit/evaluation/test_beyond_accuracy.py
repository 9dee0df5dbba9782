"""Metrics of lists equal their definition, looped over."""

import itertools
import math

import numpy as np
import pytest
from evaluation_data import random_dataset

from kgrec.data.histories import HistoryBatch
from kgrec.evaluation.beyond_accuracy import catalogue_facts, gini, list_metrics, set_metrics

RNG = np.random.default_rng(0)
DATA = random_dataset()
FEATURES = RNG.normal(size=(DATA.num_items, 5)).astype(np.float32)
FEATURES[3] = 0
FACTS = catalogue_facts(DATA.interactions, DATA.num_items, FEATURES)
USERS = np.arange(10)
TOP = np.array([RNG.permutation(DATA.num_items)[:6] for _ in USERS])
TOP[2, 3:] = -1
TOP[4, 1:] = -1
TOP[5, :] = -1
TOP[6, 0] = 3
HISTORIES = HistoryBatch.from_interactions(DATA.interactions, USERS)


def likes_of(item: int) -> int:
    likes = DATA.interactions.positives()
    return len(set(likes.user_idx[likes.item_idx == item].tolist()))


def cosine(a: int, b: int) -> float:
    x, y = FEATURES[a].astype(float), FEATURES[b].astype(float)
    lengths = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / lengths if lengths else 0.0


def test_list_metrics_equal_a_naive_loop() -> None:
    found = list_metrics(TOP, HISTORIES, FACTS, 6)
    num_users = len(set(DATA.interactions.positives().user_idx.tolist()))
    for row, user in enumerate(USERS):
        items = [int(i) for i in TOP[row] if i >= 0]
        share = [likes_of(i) / num_users for i in items]
        bits = [-math.log2((likes_of(i) + 1) / (num_users + 1)) for i in items]
        pairs = [1 - cosine(a, b) for a, b in itertools.combinations(items, 2)]
        own = DATA.interactions.positives()
        liked = [likes_of(int(i)) / num_users for i in own.item_idx[own.user_idx == user]]
        mean = float(np.mean(share)) if share else 0.0
        assert found["novelty@6"][row] == pytest.approx(np.mean(bits) if bits else 0.0)
        assert found["popularity@6"][row] == pytest.approx(mean)
        assert found["diversity@6"][row] == pytest.approx(np.mean(pairs) if pairs else 0, abs=1e-6)
        expected = mean - float(np.mean(liked)) if items and liked else 0.0
        assert found["popularity_lift@6"][row] == pytest.approx(expected)


def test_set_metrics_equal_a_naive_loop() -> None:
    counts = [int((item == TOP).sum()) for item in range(DATA.num_items)]
    found = set_metrics(TOP, DATA.num_items)
    assert found["coverage@6"] == sum(c > 0 for c in counts) / len(counts)
    pairs = sum(abs(a - b) for a in counts for b in counts)
    expected = pairs / (2 * len(counts) * sum(counts))
    assert found["gini@6"] == pytest.approx(expected)


def test_set_metrics_weigh_lists_as_if_repeated() -> None:
    weights = RNG.integers(0, 3, size=len(TOP))
    repeated = set_metrics(np.repeat(TOP, weights, axis=0), DATA.num_items)
    assert set_metrics(TOP, DATA.num_items, weights) == pytest.approx(repeated)


def test_gini_knows_its_ends() -> None:
    assert gini(np.array([5, 5, 5, 5]), 4) == pytest.approx(0)
    assert gini(np.array([7]), 100) == pytest.approx(0.99)
    assert gini(np.array([0, 0]), 2) == 0
