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
from kgrec.data.interactions import BoolArray, FloatArray, IntArray, Interactions
from kgrec.errors import ArtifactError
from kgrec.models.scorer import TrainingData
from kgrec.models.text.side import TextVectors, untaught
from kgrec.ranking.near_means import near_means
from kgrec.ranking.taste_draws import (
    TasteConfig,
    Verdicts,
    draw_tastes,
    posterior_rows,
    products,
    with_ones,
)
from kgrec.retrieval.content_ridge import content_matrix, ridge_prediction
from kgrec.retrieval.content_vectors import truncated_svd, unit_rows

_META, _ARRAYS = "likes.json", "likes.safetensors"
_ROUNDS_OF_BIASES = 5
TERMS = ("item", "user", "taste", "near_in_company", "near_in_content")
Arrays = Mapping[str, npt.NDArray[Any]]


class LikeConfig(BaseModel):
    """Sizes and weights of the model of likes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    least_events: int = Field(default=100, ge=1)
    """Likes, and as many dislikes, below which no such model is made."""
    tastes: TasteConfig = TasteConfig()
    """The factorisation of verdicts."""
    company_factors: int = Field(default=32, ge=1)
    """Length of the vectors of what is met together, whatever is thought of it."""
    content_factors: int = Field(default=32, ge=1)
    """Length of the vectors of the items' content."""
    shrinkage: float = Field(default=5.0, gt=0.0)
    """Events that pull an item's or a user's mean towards what is known without them."""
    content_ridge: float = Field(default=20.0, gt=0.0)
    """L2 weight of the regression that foretells an item's mean from its content."""
    sharpness: float = Field(default=4.0, ge=0.0)
    """A verdict on an item counts for another one exp(sharpness x cosine) times."""
    near_shrinkage: float = Field(default=20.0, gt=0.0)
    """Weight that pulls the mean of verdicts on near items towards the user's mean."""
    held_share: float = Field(default=0.2, gt=0.0, lt=1.0)
    """Share of the verdicts that a first fit does not see, to weigh the terms by."""


class LikeModel:
    """Log-odds of a like = w . (item, user, taste, near in company, near in content) + intercept.

    With r_ui = t_ui - b_i - b_u, t the centred rating (or like), b the shrunk means, an item
    without events having the mean that its content foretells:

        item, user  b_i, b_u
        taste       mean over draws of p_u . q_i + a_u + b_i, p_u and a_u the posterior mean given
                    the draw (taste_draws.py); a user's prior hears what they met, a unit vector
                    e_u on the leading directions of all that users meet, and how much
        near        sum_j K_ij r_uj / (sum_j K_ij + c) over the history, K = exp(s cos), once of
                    the vectors of what is met together, once of the content's

    w is a logistic regression on held-out events, which calibrates it too.

    Args:
        config: As it was fitted.
        arrays: As ``fit_likes`` makes them.

    Source: that what is met at all tells tastes, as in Y. Koren, Factorization meets the
    neighborhood, 2008; every user part is computed from the history.
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
        columns = self.terms(histories, indptr, item_idx)
        weights = self.arrays["weights"]
        return np.asarray(columns @ weights[:-1] + weights[-1])

    def terms(
        self, histories: HistoryBatch, indptr: IntArray, item_idx: IntArray
    ) -> npt.NDArray[np.float64]:
        """Return what is weighed, named as ``TERMS``, shape (num_pairs, 5), float64."""
        return _columns(self.config, self.arrays, histories, indptr, item_idx)

    def probabilities(
        self, histories: HistoryBatch, indptr: IntArray, item_idx: IntArray
    ) -> FloatArray:
        """Return P(like | the user meets the item) of chosen pairs, shape (num_pairs,), float32."""
        odds = self.log_odds(histories, indptr, item_idx)
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * odds)), dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        """Return what weighs how much, and the log loss on held-out events."""
        weights = zip((*TERMS, "intercept"), self.arrays["weights"].tolist(), strict=True)
        loss, base = self.arrays["quality"].tolist()
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
    train: TrainingData, config: LikeConfig, text_vectors: TextVectors | None = None
) -> LikeModel | None:
    """Return the model, or None where too few likes or dislikes are known.

    Args:
        train: Its events are the labels; those that weigh the terms are held out of a first fit.
        config: Sizes and weights.
        text_vectors: Shape (num_items, dim), of an encoder; None for hashed words. Of encoders
            that learned from events the one before is taken: it must not know what is held out.
    """
    events = train.interactions
    liked = int(events.positive.sum())
    if min(liked, len(events) - liked) < config.least_events:
        return None
    content = content_matrix(train, untaught(text_vectors))
    held = np.random.default_rng(train.seed).random(len(events)) < config.held_share
    rest, asked = events.take(~held), events.take(held)
    users = np.unique(asked.user_idx)
    indptr = np.searchsorted(asked.user_idx, np.append(users, train.num_users)).astype(np.int64)
    first = _fit_parts(train, rest, content, config)
    histories = HistoryBatch.from_interactions(rest, users)
    columns = _columns(config, first, histories, indptr, asked.item_idx)
    weights, loss = logistic(columns, asked.positive.astype(np.float64))
    share = asked.positive.mean()
    base = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    parts = _fit_parts(train, events, content, config)
    return LikeModel(config, {**parts, "weights": weights, "quality": np.array([loss, base])})


def _fit_parts(
    train: TrainingData, events: Interactions, content: FloatArray, config: LikeConfig
) -> dict[str, npt.NDArray[Any]]:
    num_users, num_items = train.num_users, train.num_items
    scale = _scale(events)
    arrays: dict[str, npt.NDArray[Any]] = {"scale": scale}
    counts = np.bincount(events.item_idx, minlength=num_items)
    amount = np.log1p(counts)
    arrays.update(_company(events, counts, num_users, config, train.seed))
    plain = truncated_svd(sparse.csr_matrix(content[:, :-1]), config.content_factors, train.seed)
    arrays["content"] = unit_rows(plain)
    seen = counts > 0
    item_features = np.concatenate(
        [
            _standard(arrays["company"], seen)[0],
            _standard(amount[:, None], seen)[0],
            _standard(arrays["content"], np.ones(num_items, dtype=np.bool_))[0],
        ],
        axis=1,
    )
    histories = HistoryBatch.from_interactions(events, np.arange(num_users))
    _, moments = _standard(_met(arrays, histories), histories.lengths > 0)
    arrays["moments"] = moments
    target = _targets(scale, events.value, events.positive)
    arrays["item_bias"] = _item_bias(events, target, num_users, content, config)
    draws = draw_tastes(
        Verdicts(events.user_idx, events.item_idx, target, num_users, num_items),
        _user_features(arrays, histories),
        item_features,
        config.tastes,
        train.seed,
    )
    return {**arrays, **{f"draws_{name}": array for name, array in draws.items()}}


def _company(
    events: Interactions, counts: IntArray, num_users: int, config: LikeConfig, seed: int
) -> dict[str, npt.NDArray[Any]]:
    """Return the items' vectors of what is met together, and what they weigh in users' sums."""
    users, items = events.user_idx, events.item_idx
    lengths = np.bincount(users, minlength=num_users)
    shape = (num_users, len(counts))
    met = sparse.csr_matrix((np.ones(len(items)), (users, items)), shape=shape)
    weights = 1.0 / np.sqrt(np.maximum(counts, 1.0))
    reached = sparse.diags(1.0 / np.sqrt(np.maximum(lengths, 1.0))) @ met @ sparse.diags(weights)
    vectors = truncated_svd(sparse.csr_matrix(reached.T), config.company_factors, seed)
    return {
        "company": unit_rows(vectors),
        "pull": weights * np.linalg.norm(vectors, axis=1),
        "strength": np.maximum(np.linalg.norm(vectors, axis=0), 1e-9),
    }


def _item_bias(
    events: Interactions,
    target: npt.NDArray[np.float64],
    num_users: int,
    content: FloatArray,
    config: LikeConfig,
) -> npt.NDArray[np.float64]:
    """Return the items' shrunk means, beside those of their users and what content foretells."""
    users, items, num_items = events.user_idx, events.item_idx, len(content)
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
    return item_bias


def _columns(
    config: LikeConfig,
    arrays: Arrays,
    histories: HistoryBatch,
    indptr: IntArray,
    item_idx: IntArray,
) -> npt.NDArray[np.float64]:
    """Return the terms of chosen pairs, shape (n, 5)."""
    num_items = len(arrays["item_bias"])
    histories = histories.of_items_below(num_items)
    features = _user_features(arrays, histories)
    events, items = histories.row_of_event, histories.item_idx
    target = _targets(arrays["scale"], histories.value, histories.positive)
    over = target - arrays["item_bias"][items]
    total = np.bincount(events, weights=over, minlength=len(histories))
    user_bias = total / (histories.lengths + config.shrinkage)
    rest = over - user_bias[events]
    rows = np.repeat(np.arange(len(histories)), np.diff(indptr))
    known = (item_idx >= 0) & (item_idx < num_items)
    columns = np.zeros((len(item_idx), len(TERMS)))
    columns[:, 1] = user_bias[rows]
    columns[:, 2] = _tastes(
        arrays, histories, features, target, rows, np.where(known, item_idx, num_items)
    )
    rows, item_idx = rows[known], item_idx[known]
    columns[known, 0] = arrays["item_bias"][item_idx]
    for place, name in ((3, "company"), (4, "content")):
        columns[known, place] = near_means(
            histories.indptr,
            items,
            rest,
            arrays[name],
            rows,
            item_idx,
            config.sharpness,
            config.near_shrinkage,
        )
    return columns


def _tastes(
    arrays: Arrays,
    histories: HistoryBatch,
    features: npt.NDArray[np.float64],
    target: npt.NDArray[np.float64],
    rows: IntArray,
    item_idx: IntArray,
) -> npt.NDArray[np.float64]:
    """Return the mean over draws of what each user's taste says of the item, shape (n,)."""
    x, total = with_ones(features), np.zeros(len(rows))
    draws = [arrays[f"draws_{name}"] for name in ("items", "prior", "precision", "noise")]
    for items, prior, precision, alpha in zip(*draws, strict=True):
        expected = x @ prior
        users = posterior_rows(
            histories.indptr,
            histories.item_idx,
            target,
            items,
            expected,
            precision,
            float(alpha),
            np.zeros_like(expected),
        )
        total += products(rows, item_idx, users, items)
    return total / len(draws[0])


def _met(arrays: Arrays, histories: HistoryBatch) -> npt.NDArray[np.float64]:
    """Return the unit projections of what users met, and the logarithm of how much."""
    met = histories.matrix(len(arrays["company"]), positive_only=False)
    met = met @ sparse.diags(arrays["pull"])
    vectors = np.asarray(met @ arrays["company"]) / arrays["strength"]
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    count = np.log(np.maximum(histories.lengths, 1))
    return np.concatenate([vectors, count[:, None]], axis=1)


def _user_features(arrays: Arrays, histories: HistoryBatch) -> npt.NDArray[np.float64]:
    """Return what users met in standard units, shape (B, p); zeros for an empty history."""
    centre, spread = arrays["moments"]
    filled = histories.lengths[:, None] > 0
    return np.where(filled, (_met(arrays, histories) - centre) / spread, 0.0)


def _standard(
    columns: npt.NDArray[Any], known: BoolArray
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return columns of mean 0 and spread 1 over the known rows, 0 in others; mean and spread."""
    chosen = columns[known].astype(np.float64)
    centre, spread = chosen.mean(axis=0), chosen.std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    return np.where(known[:, None], (columns - centre) / spread, 0.0), np.stack([centre, spread])


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
    scale: npt.NDArray[np.float64], value: FloatArray, positive: BoolArray
) -> npt.NDArray[np.float64]:
    mean, factor, liked, disliked = scale
    plain = np.where(positive, liked, disliked)
    if factor == 0.0:
        return np.asarray(plain)
    return np.asarray(
        np.where(np.isfinite(value), (value.astype(np.float64) - mean) * factor, plain)
    )


def logistic(
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
