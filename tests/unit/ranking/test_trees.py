"""Trees as flat arrays give what LightGBM gives, to the last bit, or say that they cannot."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from kgrec.ranking.trees import trees_of_text


def _model(
    leaves: int,
    *,
    rounds: int = 20,
    values: np.ndarray | None = None,
    categories: list[int] | str = "auto",
    **more: object,
) -> tuple[lightgbm.Booster, np.ndarray]:
    rng = np.random.default_rng(leaves)
    if values is None:
        values = rng.normal(size=(3000, 9)).astype(np.float32)
        values[:, 3] = rng.integers(3, size=3000)  # ties with thresholds
    label = (np.nan_to_num(values[:, 0]) * values[:, 1] + values[:, 3] > 1.0).astype(np.float32)
    parameters = {"objective": "binary", "num_leaves": leaves, "verbose": -1, "min_data_in_leaf": 5}
    data = lightgbm.Dataset(values, label=label, categorical_feature=categories)
    return lightgbm.train({**parameters, **more}, data, rounds), values


@pytest.mark.parametrize("leaves", [2, 15, 32, 33, 64])
def test_trees_give_the_scores_of_lightgbm_to_the_last_bit(leaves: int) -> None:
    model, values = _model(leaves)
    trees = trees_of_text(model.model_to_string())
    assert trees is not None
    # values that are thresholds themselves, and their neighbours, fall on the right side
    rng = np.random.default_rng(0)
    border = rng.choice(trees.threshold, size=(700, 9)).astype(np.float32)
    above = np.nextafter(border, np.float32(np.inf))
    asked = np.concatenate([values, border, above])
    assert np.array_equal(trees.sums(asked), model.predict(asked, raw_score=True))


def test_trees_score_a_row_alone_as_among_others() -> None:
    model, values = _model(15)
    trees = trees_of_text(model.model_to_string())
    assert trees is not None
    together = trees.sums(values[:1100])
    assert all(trees.sums(values[row : row + 1])[0] == together[row] for row in (0, 511, 512, 1099))
    assert trees.sums(values[:0]).shape == (0,)


def test_trees_of_a_model_that_found_no_split_are_constant() -> None:
    model, values = _model(15, rounds=2, min_data_in_leaf=3000)
    trees = trees_of_text(model.model_to_string())
    assert trees is not None
    assert np.array_equal(trees.sums(values), model.predict(values, raw_score=True))


def test_trees_leave_what_they_cannot_tell_to_lightgbm() -> None:
    assert trees_of_text(_model(80)[0].model_to_string()) is None  # more leaves than bits
    rng = np.random.default_rng(1)
    values = rng.normal(size=(3000, 9)).astype(np.float32)
    values[rng.random(3000) < 0.3, 0] = np.nan
    values[:, 3] = rng.integers(3, size=3000)
    assert trees_of_text(_model(15, values=values)[0].model_to_string()) is None
    categories = _model(15, categories=[3])[0]
    assert trees_of_text(categories.model_to_string()) is None
