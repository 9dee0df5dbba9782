"""Tastes of users and items drawn from their posterior, given verdicts and what is known of both.

What a verdict is, and how the draws are used, is for likes.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from kgrec.data.interactions import IntArray
from kgrec.models.compiled import compiled_fast

Array = npt.NDArray[np.float64]


class TasteConfig(BaseModel):
    """Sizes of the factorisation, and how long it is drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    factors: int = Field(default=16, ge=1)
    """Length of the taste vectors."""
    chains: int = Field(default=1, ge=1)
    """Chains of draws, each from its own start."""
    sweeps: int = Field(default=80, ge=1)
    """Sweeps of a chain over all users and items."""
    forgotten: int = Field(default=30, ge=0)
    """First sweeps of a chain, which still remember its start and are not kept."""
    kept_every: int = Field(default=5, ge=1)
    """One sweep of so many is kept; the model holds every item's vector once for each."""


class Verdicts:
    """Verdicts of users on items, by user and by item.

    Args:
        user_idx: Shape (n,), int64, ascending.
        item_idx: Shape (n,), int64.
        target: Shape (n,), float64, centred.
        num_users, num_items: Sizes.
    """

    def __init__(
        self, user_idx: IntArray, item_idx: IntArray, target: Array, num_users: int, num_items: int
    ) -> None:
        by_item = np.argsort(item_idx, kind="stable")
        self.size = (num_users, num_items)
        self.of_users = (_indptr(user_idx, num_users), item_idx, target)
        self.of_items = (_indptr(item_idx, num_items), user_idx[by_item], target[by_item])


def draw_tastes(
    verdicts: Verdicts, user_features: Array, item_features: Array, config: TasteConfig, seed: int
) -> dict[str, npt.NDArray[Any]]:
    """Return draws of the items' tastes and of what a user's taste is drawn from.

    With x_u and z_i the features and a leading 1:

        y_ui ~ N(p_u . q_i + a_u + b_i, 1 / alpha)
        (p_u, a_u) ~ N(B' x_u, L^-1);  (q_i, b_i) ~ N(C' z_i, M^-1)
        B, L, C, M normal-Wishart with their own weights of the L2 terms; all by Gibbs sampling

    So a user who met much but judged little has the taste of those who met the same.

    Args:
        verdicts: y_ui.
        user_features: x_u, shape (num_users, p); zeros say: as the average user.
        item_features: z_i, shape (num_items, d).
        config: Sizes.
        seed: Seed of all chains.

    Returns:
        S draws: ``items`` (S, num_items + 1, k + 1), float32, the last row that of the average
        verdict's item; ``prior`` (S, p + 1, k + 1); ``precision`` (S, k + 1, k + 1); ``noise``
        (S,), alpha.

    Source: R. Salakhutdinov, A. Mnih, Bayesian probabilistic matrix factorization, 2008; features
    in the prior as in J. Simm et al., Macau, 2015. What is kept of a user is the prior alone:
    their taste is computed from the history, its mean given the items' draw.
    """
    kept: dict[str, list[npt.NDArray[Any]]] = {
        name: [] for name in ("items", "prior", "precision", "noise")
    }
    for chain in range(config.chains):
        for number, draw in enumerate(
            _sweeps(verdicts, user_features, item_features, config, seed + chain)
        ):
            left = config.sweeps - 1 - number
            if left % config.kept_every == 0 and (number >= config.forgotten or left == 0):
                for name, array in draw.items():
                    kept[name].append(array)
    return {name: np.stack(arrays) for name, arrays in kept.items()}


def _sweeps(
    verdicts: Verdicts, user_features: Array, item_features: Array, config: TasteConfig, seed: int
) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Yield the state after each sweep of one chain."""
    rng = np.random.default_rng(seed)
    width = config.factors + 1
    num_users, num_items = verdicts.size
    x, z = with_ones(user_features), with_ones(item_features)
    users, items = np.zeros((num_users, width)), rng.normal(0.0, 0.1, size=(num_items, width))
    user_weight = item_weight = 1.0
    indptr, index, target = verdicts.of_users
    row = np.repeat(np.arange(num_users), np.diff(indptr))
    share = np.bincount(index, minlength=num_items) / max(len(index), 1)
    alpha = 1.0 / max(float(target.var()), 1e-9)
    for _ in range(config.sweeps):
        prior, precision, user_weight = _draw_prior(users, x, user_weight, rng)
        noise = rng.standard_normal(users.shape)
        users = posterior_rows(*verdicts.of_users, items, x @ prior, precision, alpha, noise)
        of_items, item_precision, item_weight = _draw_prior(items, z, item_weight, rng)
        noise = rng.standard_normal(items.shape)
        items = posterior_rows(
            *verdicts.of_items, users, z @ of_items, item_precision, alpha, noise
        )
        yield {
            "items": np.vstack([items, share @ items]).astype(np.float32),
            "prior": prior,
            "precision": precision,
            "noise": np.array(alpha),
        }
        error = target - products(row, index, users, items)
        alpha = rng.gamma(0.5 * len(error) + 1.0, 1.0 / (0.5 * float(error @ error) + 1.0))


def _draw_prior(
    rows: Array, features: Array, weight: float, rng: np.random.Generator
) -> tuple[Array, Array, float]:
    """Return draws of the regression on the features, of the precision around it, of its L2."""
    (count, width), size = rows.shape, features.shape[1]
    gram = features.T @ features + weight * np.eye(size)
    mean = np.linalg.solve(gram, features.T @ rows)
    rest = rows - features @ mean
    scatter = np.eye(width) + rest.T @ rest + weight * mean.T @ mean
    # Bartlett: precision ~ Wishart(scatter^-1, width + count)
    lower = np.tril(rng.standard_normal((width, width)), -1)
    np.fill_diagonal(lower, np.sqrt(rng.chisquare(width + count - np.arange(width))))
    root = np.linalg.solve(np.linalg.cholesky(scatter).T, lower)
    precision = root @ root.T
    spread = np.linalg.cholesky(np.linalg.inv(precision))
    noise = rng.standard_normal((size, width)) @ spread.T
    regression = mean + np.linalg.solve(np.linalg.cholesky(gram).T, noise)
    norm = float(np.einsum("ik,kl,il->", regression, precision, regression))
    weight = float(rng.gamma(0.5 * size * width + 1.0, 1.0 / (0.5 * norm + 1.0)))
    return np.asarray(regression), np.asarray(precision), weight


def with_ones(features: Array) -> Array:
    """Return the features behind a column of ones, shape (n, p + 1), float64."""
    return np.concatenate([np.ones((len(features), 1)), features], axis=1)


def _indptr(rows: IntArray, size: int) -> IntArray:
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=size))]).astype(np.int64)


@compiled_fast
def posterior_rows(
    indptr: Any,
    index: Any,
    target: Any,
    others: Any,
    prior: Any,
    precision: Any,
    alpha: Any,
    noise: Any,
) -> Any:
    """Return each row's taste and mean given the tastes of the other side.

    Args:
        indptr: Shape (n + 1,).
        index: Shape (num_entries,), rows of ``others``.
        target: Shape (num_entries,), float64.
        others: Shape (m, k + 1), tastes and, last, means.
        prior: Shape (n, k + 1), float64, what is expected of a row without entries.
        precision: Shape (k + 1, k + 1), float64, around it.
        alpha: Precision of the entries.
        noise: Shape (n, k + 1), standard normal for a draw, zeros for the posterior mean.

    Returns:
        Shape (n, k + 1), float64.
    """
    width = others.shape[1]
    out = np.empty((len(indptr) - 1, width))
    for row in range(len(indptr) - 1):
        start, stop = indptr[row], indptr[row + 1]
        own = np.empty((stop - start, width))
        rest = np.empty(stop - start)
        for place in range(start, stop):
            for column in range(width - 1):
                own[place - start, column] = others[index[place], column]
            own[place - start, width - 1] = 1.0
            rest[place - start] = target[place] - others[index[place], width - 1]
        root = np.linalg.cholesky(precision + alpha * (own.T @ own))
        sum_of_both = precision @ prior[row] + alpha * (own.T @ rest)
        out[row] = np.linalg.solve(root.T, np.linalg.solve(root, sum_of_both) + noise[row])
    return out


@compiled_fast
def products(rows: Any, columns: Any, users: Any, items: Any) -> Any:
    """Return p . q + a + b of chosen rows and columns, shape (num_pairs,), float64."""
    last = users.shape[1] - 1
    out = np.empty(len(rows))
    for pair in range(len(rows)):
        total = users[rows[pair], last] + items[columns[pair], last]
        for place in range(last):
            total += users[rows[pair], place] * items[columns[pair], place]
        out[pair] = total
    return out
