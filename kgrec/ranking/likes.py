"""P(like) of an item that a user does meet: learned from likes and dislikes, not from what is met.

The rankers answer another question: whether the user will meet the item and like it. Probabilities
of different users compare here, so that pairs of all users can be put in one order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from safetensors.numpy import load_file, save_file
from scipy import sparse

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, IntArray, Interactions
from kgrec.errors import ArtifactError
from kgrec.models.compiled import compiled_fast
from kgrec.models.scorer import TrainingData
from kgrec.retrieval.content_ridge import content_matrix, ridge_prediction
from kgrec.retrieval.content_vectors import truncated_svd

_META, _ARRAYS = "likes.json", "likes.safetensors"
_ROUNDS_OF_BIASES = 5
Arrays = Mapping[str, npt.NDArray[Any]]


class LikeConfig(BaseModel):
    """Sizes and weights of the model of likes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    least_events: int = Field(default=100, ge=1)
    """Likes, and as many dislikes, below which no such model is made."""
    factors: int = Field(default=32, ge=1)
    """Length of the taste vectors."""
    ridges: tuple[float, ...] = (5.0, 9.0, 13.0)
    """L2 weights of the taste vectors that are tried on held-out events."""
    rounds: int = Field(default=8, ge=1)
    """Rounds of alternating least squares."""
    presence_factors: int = Field(default=32, ge=1)
    """Length of the vectors of what a user meets at all."""
    presence_ridge: float = Field(default=30.0, gt=0.0)
    """L2 weight of an item's answer to those vectors."""
    shrinkage: float = Field(default=5.0, gt=0.0)
    """Events that pull an item's or a user's mean towards what is known without them."""
    content_ridge: float = Field(default=20.0, gt=0.0)
    """L2 weight of the regression that foretells an item's mean from its content."""
    folds: int = Field(default=4, ge=2)
    """Parts of the events; each is foretold from the others, to weigh the terms."""


class LikeModel:
    """Log-odds of a like = w . (item mean, user mean, taste, presence) + intercept.

    With r_ui = t_ui - b_i - b_u, t the centred rating (or like), b the shrunk means, an item
    without events having the mean that its content foretells:

        taste     p_u . q_i, both by ridge regression on r (ALS); p_u from the history alone
        presence  e_u . s_i, e_u the unit projection of what u met on leading directions of all
                  that users meet; s_i by ridge regression of r on e

    w is a logistic regression on held-out events, which calibrates it too.

    Args:
        config: As it was fitted.
        arrays: As ``fit_likes`` makes them.

    Source: explicit feedback as in Y. Koren, Factorization meets the neighborhood, 2008; here the
    implicit part has item answers by ridge, and every user part is computed from the history.
    """

    def __init__(self, config: LikeConfig, arrays: Arrays) -> None:
        self.config, self.arrays = config, arrays

    def log_odds(
        self, histories: HistoryBatch, indptr: IntArray, item_idx: IntArray
    ) -> npt.NDArray[np.float64]:
        """Return the log-odds of a like of chosen pairs, shape (num_pairs,), float64.

        Args:
            histories: B users; an empty history stands for the average user.
            indptr: Shape (B + 1,), int64.
            item_idx: Shape (num_pairs,), int64; -1, or an item added later, stands for the average
                item.
        """
        columns = _columns(self.config, self.arrays, histories, indptr, item_idx)
        weights = self.arrays["weights"]
        return np.asarray(columns @ weights[:-1] + weights[-1])

    def probabilities(
        self, histories: HistoryBatch, indptr: IntArray, item_idx: IntArray
    ) -> FloatArray:
        """Return P(like | the user meets the item) of chosen pairs, shape (num_pairs,), float32."""
        odds = self.log_odds(histories, indptr, item_idx)
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * odds)), dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        """Return what weighs how much, and the log loss on held-out events."""
        names = ("item", "user", "taste", "presence", "intercept")
        weights = zip(names, self.arrays["weights"].tolist(), strict=True)
        _, loss, base = self.arrays["quality"].tolist()
        return {"weights": dict(weights), "log_loss": loss, "log_loss_of_the_mean": base}

    def save(self, folder: Path) -> None:
        """Write the model into ``folder``: JSON and safetensors."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {name: np.ascontiguousarray(array) for name, array in self.arrays.items()}
        save_file(arrays, folder / _ARRAYS)
        (folder / _META).write_text(json.dumps(self.config.model_dump(mode="json"), indent=1))

    @classmethod
    def load(cls, folder: Path) -> LikeModel:
        """Return the model written by ``save``."""
        for name in (_META, _ARRAYS):
            if not (folder / name).is_file():
                raise ArtifactError(
                    f"Expected the file {folder / name} of the model of likes, found none; "
                    "train and save the pipeline again"
                )
        config = LikeConfig.model_validate(json.loads((folder / _META).read_text()))
        return cls(config, load_file(folder / _ARRAYS))


def fit_likes(
    train: TrainingData, config: LikeConfig, text_vectors: FloatArray | None = None
) -> LikeModel | None:
    """Return the model, or None where too few likes or dislikes are known.

    Args:
        train: Its events are the labels; each is foretold by a fit that has not seen it.
        config: Sizes and weights.
        text_vectors: Shape (num_items, dim), of an encoder; None for hashed words.
    """
    events = train.interactions
    liked = int(events.positive.sum())
    if min(liked, len(events) - liked) < config.least_events:
        return None
    content = content_matrix(train, text_vectors)
    fold = np.random.default_rng(train.seed).integers(config.folds, size=len(events))
    label = events.positive.astype(np.float64)
    columns = np.empty((len(events), 4))
    ridge, best = config.ridges[0], np.inf
    held = fold == 0
    for tried in config.ridges:
        found = _foretold(train, events, held, content, config, tried)
        loss = _logistic(found, label[held])[1]
        if loss < best:
            ridge, best, columns[held] = tried, loss, found
    for number in range(1, config.folds):
        held = fold == number
        columns[held] = _foretold(train, events, held, content, config, ridge)
    weights, loss = _logistic(columns, label)
    share = label.mean()
    base = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    parts = _fit_parts(train, events, content, config, ridge)
    return LikeModel(
        config, {**parts, "weights": weights, "quality": np.array([ridge, loss, base])}
    )


def _foretold(
    train: TrainingData,
    events: Interactions,
    held: npt.NDArray[np.bool_],
    content: FloatArray,
    config: LikeConfig,
    ridge: float,
) -> npt.NDArray[np.float64]:
    """Return the terms of held-out events by a fit on the others, in their order."""
    rest, asked = events.take(~held), events.take(held)
    users = np.unique(asked.user_idx)
    indptr = np.searchsorted(asked.user_idx, np.append(users, train.num_users)).astype(np.int64)
    arrays = _fit_parts(train, rest, content, config, ridge)
    histories = HistoryBatch.from_interactions(rest, users)
    return _columns(config, arrays, histories, indptr, asked.item_idx)


def _fit_parts(
    train: TrainingData,
    events: Interactions,
    content: FloatArray,
    config: LikeConfig,
    ridge: float,
) -> dict[str, npt.NDArray[Any]]:
    users, items = events.user_idx, events.item_idx
    num_users, num_items = train.num_users, train.num_items
    scale = _scale(events)
    target = _targets(scale, events.value, events.positive)
    counts = np.bincount(items, minlength=num_items)
    lengths = np.bincount(users, minlength=num_users)
    touched = (counts > 0).astype(np.float32)
    item_bias, user_bias = np.zeros(num_items), np.zeros(num_users)
    for _ in range(_ROUNDS_OF_BIASES):
        total = np.bincount(items, weights=target - user_bias[users], minlength=num_items)
        mean = total / (counts + config.shrinkage)
        foretold = ridge_prediction(content, mean[:, None], touched, config.content_ridge)
        prior = foretold[:, 0]
        item_bias = mean + prior * config.shrinkage / (counts + config.shrinkage)
        total = np.bincount(users, weights=target - item_bias[items], minlength=num_users)
        user_bias = total / (lengths + config.shrinkage)
    rest = target - item_bias[items] - user_bias[users]
    met = sparse.csr_matrix((np.ones(len(items)), (users, items)), shape=(num_users, num_items))
    weights = 1.0 / np.sqrt(np.maximum(counts, 1.0))
    reached = sparse.diags(1.0 / np.sqrt(np.maximum(lengths, 1.0))) @ met @ sparse.diags(weights)
    factors = min(config.presence_factors, num_items - 1, num_users - 1)
    basis = truncated_svd(sparse.csr_matrix(reached.T), factors, train.seed).astype(np.float64)
    basis = basis / np.maximum(np.linalg.norm(basis, axis=0), 1e-9) * weights[:, None]
    histories = HistoryBatch.from_interactions(events, np.arange(num_users))
    arrays: dict[str, npt.NDArray[Any]] = {
        "scale": scale,
        "ridge": np.array([ridge]),
        "item_bias": item_bias,
        "basis": basis,
        "centre": np.zeros(basis.shape[1]),
    }
    presence = _presence(arrays, histories)
    arrays["centre"] = presence[lengths > 0].mean(axis=0)
    presence = _presence(arrays, histories)
    by_item = np.argsort(items, kind="stable")
    item_indptr = np.concatenate([[0], np.cumsum(counts)])
    of_items = (item_indptr, users[by_item], rest[by_item])
    arrays["presence"] = ridge_rows(*of_items, presence, config.presence_ridge)
    arrays["taste"] = np.random.default_rng(train.seed).normal(
        0.0, 0.1, size=(num_items, config.factors)
    )
    for _ in range(config.rounds):
        taste = ridge_rows(histories.indptr, items, rest, arrays["taste"], ridge)
        arrays["taste"] = ridge_rows(*of_items, taste, ridge)
    return arrays


def _columns(
    config: LikeConfig,
    arrays: Arrays,
    histories: HistoryBatch,
    indptr: IntArray,
    item_idx: IntArray,
) -> npt.NDArray[np.float64]:
    """Return (item mean, user mean, taste, presence) of chosen pairs, shape (n, 4)."""
    num_items = len(arrays["item_bias"])
    histories = histories.of_items_below(num_items)
    events, items = histories.row_of_event, histories.item_idx
    target = _targets(arrays["scale"], histories.value, histories.positive)
    over = target - arrays["item_bias"][items]
    total = np.bincount(events, weights=over, minlength=len(histories))
    user_bias = total / (histories.lengths + config.shrinkage)
    rest = over - user_bias[events]
    taste = ridge_rows(histories.indptr, items, rest, arrays["taste"], float(arrays["ridge"][0]))
    presence = _presence(arrays, histories)
    rows = np.repeat(np.arange(len(histories)), np.diff(indptr))
    known = (item_idx >= 0) & (item_idx < num_items)
    columns = np.zeros((len(item_idx), 4))
    columns[:, 1] = user_bias[rows]
    rows, item_idx = rows[known], item_idx[known]
    columns[known, 0] = arrays["item_bias"][item_idx]
    columns[known, 2] = _products(rows, item_idx, taste, arrays["taste"])
    columns[known, 3] = _products(rows, item_idx, presence, arrays["presence"])
    return columns


def _presence(arrays: Arrays, histories: HistoryBatch) -> npt.NDArray[np.float64]:
    """Return the unit projections of what users met, less their mean; 0 for empty histories."""
    met = histories.matrix(len(arrays["basis"]), positive_only=False)
    vectors = np.asarray(met @ arrays["basis"])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return np.where(histories.lengths[:, None] > 0, vectors - arrays["centre"], 0.0)


def _scale(events: Interactions) -> npt.NDArray[np.float64]:
    """Return (mean value, factor, target of a like, target of a dislike); factor 0: no values."""
    share = float(events.positive.mean())
    spread = float(events.value.std()) if np.isfinite(events.value).all() else 0.0
    if spread < 1e-6:
        return np.array([0.0, 0.0, 1.0 - share, -share])
    mean, factor = float(events.value.mean()), 0.5 / spread
    liked = float(events.value[events.positive].mean())
    disliked = float(events.value[~events.positive].mean())
    return np.array([mean, factor, (liked - mean) * factor, (disliked - mean) * factor])


def _targets(
    scale: npt.NDArray[np.float64], value: FloatArray, positive: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    mean, factor, liked, disliked = scale
    plain = np.where(positive, liked, disliked)
    if factor == 0.0:
        return np.asarray(plain)
    return np.asarray(
        np.where(np.isfinite(value), (value.astype(np.float64) - mean) * factor, plain)
    )


def _logistic(
    columns: npt.NDArray[np.float64], label: npt.NDArray[np.float64], steps: int = 30
) -> tuple[npt.NDArray[np.float64], float]:
    """Return (weights with the intercept last, log loss) of a logistic regression, by Newton."""
    spread = np.maximum(columns.std(axis=0), 1e-9)
    x = np.concatenate([columns / spread, np.ones((len(columns), 1))], axis=1)
    weights = np.zeros(x.shape[1])
    for _ in range(steps):
        p = 0.5 * (1.0 + np.tanh(0.5 * (x @ weights)))
        hessian = x.T @ (x * (p * (1.0 - p))[:, None]) + 1e-3 * np.eye(len(weights))
        step = np.linalg.solve(hessian, x.T @ (label - p) - 1e-3 * weights)
        weights += step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    odds = x @ weights
    loss = float((np.logaddexp(0.0, odds) - label * odds).mean())
    return weights / np.append(spread, 1.0), loss


@compiled_fast
def ridge_rows(indptr: Any, index: Any, target: Any, factors: Any, ridge: Any) -> Any:
    """Return each row's ridge regression of its targets on the factors of its entries.

    Args:
        indptr: Shape (n + 1,).
        index: Shape (num_entries,), rows of ``factors``.
        target: Shape (num_entries,), float64.
        factors: Shape (m, k), float64.
        ridge: L2 weight.

    Returns:
        Shape (n, k), float64; zeros for a row without entries.
    """
    k = factors.shape[1]
    out = np.zeros((len(indptr) - 1, k))
    for row in range(len(indptr) - 1):
        start, stop = indptr[row], indptr[row + 1]
        if start == stop:
            continue
        own = factors[index[start:stop]]
        gram = own.T @ own
        for place in range(k):
            gram[place, place] += ridge
        out[row] = np.linalg.solve(gram, own.T @ target[start:stop])
    return out


@compiled_fast
def _products(rows: Any, items: Any, users: Any, of_items: Any) -> Any:
    out = np.empty(len(rows))
    for pair in range(len(rows)):
        total = 0.0
        for place in range(users.shape[1]):
            total += users[rows[pair], place] * of_items[items[pair], place]
        out[pair] = total
    return out
