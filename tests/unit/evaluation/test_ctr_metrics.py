"""Like-probability metrics equal naive loops and torchmetrics."""

import itertools
import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_auroc, binary_calibration_error

from kgrec.errors import DataError
from kgrec.evaluation.ctr_metrics import (
    auc,
    auc_of_users,
    expected_calibration_error,
    gauc,
    log_loss,
)

RNG = np.random.default_rng(1)
USERS = RNG.integers(0, 12, size=300)
LABELS = RNG.random(300) < 0.4
SCORES = np.round(np.clip(LABELS * 0.2 + RNG.random(300) * 0.8, 0, 1), 1)  # many ties


def naive_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    pairs = list(itertools.product(scores[labels], scores[~labels]))
    return sum((a > b) + 0.5 * (a == b) for a, b in pairs) / len(pairs)


def test_auc_equals_counted_pairs_and_torchmetrics() -> None:
    assert auc(LABELS, SCORES) == pytest.approx(naive_auc(LABELS, SCORES))
    other = binary_auroc(torch.tensor(SCORES), torch.tensor(LABELS.astype(int)))
    assert auc(LABELS, SCORES) == pytest.approx(float(other), abs=1e-6)


def test_gauc_weighs_users_by_rows_and_leaves_one_sided_ones_out() -> None:
    labels = LABELS.copy()
    labels[USERS == 5] = True
    total = weight = 0.0
    expected_users = []
    for user in range(12):
        own = user == USERS
        if labels[own].all() or not labels[own].any():
            continue
        expected_users.append(user)
        total += own.sum() * naive_auc(labels[own], SCORES[own])
        weight += own.sum()
    assert gauc(USERS, labels, SCORES) == pytest.approx(total / weight)
    assert auc_of_users(USERS, labels, SCORES)[0].tolist() == expected_users


def test_log_loss_equals_a_naive_loop() -> None:
    expected = -np.mean(
        [
            math.log(min(max(p if y else 1 - p, 1e-7), 1 - 1e-7))
            for p, y in zip(SCORES, LABELS, strict=True)
        ]
    )
    assert log_loss(LABELS, SCORES) == pytest.approx(expected, rel=1e-6)


def test_log_loss_of_a_certain_mistake_is_finite() -> None:
    assert log_loss(np.array([True]), np.array([0.0])) == pytest.approx(-math.log(1e-7))


def test_expected_calibration_error_equals_a_loop_and_torchmetrics() -> None:
    p = RNG.random(500)
    labels = RNG.random(500) < p**2
    expected = 0.0
    for b in range(15):
        inside = (p > b / 15) & (p <= (b + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(p[inside].mean() - labels[inside].mean())
    assert expected_calibration_error(labels, p) == pytest.approx(expected)
    other = binary_calibration_error(torch.tensor(p), torch.tensor(labels.astype(int)), n_bins=15)
    assert expected_calibration_error(labels, p) == pytest.approx(float(other), abs=1e-6)


def test_one_kind_of_label_or_no_probability_is_refused() -> None:
    with pytest.raises(DataError, match="Expected likes and dislikes for AUC, got 2 and 0"):
        auc(np.array([True, True]), np.array([0.1, 0.2]))
    with pytest.raises(DataError, match="Expected a user with likes and dislikes"):
        gauc(np.array([0, 1]), np.array([True, False]), np.array([0.1, 0.2]))
    with pytest.raises(DataError, match=r"Expected probabilities in \[0, 1\]"):
        log_loss(np.array([True]), np.array([1.5]))
    with pytest.raises(DataError, match="at least one"):
        expected_calibration_error(np.array([], dtype=bool), np.array([]))
