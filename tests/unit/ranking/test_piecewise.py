"""Places in pieces of a feature's range: edges at quantiles, steps, the same by numpy."""

import numpy as np
import torch

from kgrec.ranking.piecewise import PiecewiseLinear, places_of


def placed(values: np.ndarray, pieces: int) -> PiecewiseLinear:
    found = PiecewiseLinear(values.shape[1], pieces)
    found.place(values)
    return found


def test_a_value_has_come_through_the_pieces_below_it() -> None:
    values = np.linspace(0.0, 4.0, 401, dtype=np.float32)[:, None]
    places = placed(values, 4)
    np.testing.assert_allclose(places.edges.numpy(), [[0, 1, 2, 3, 4]], atol=1e-6)
    found = places(torch.tensor([[2.25], [-9.0], [9.0]])).numpy()
    np.testing.assert_allclose(found, [[1, 1, 0.25, 0], [0] * 4, [1] * 4], atol=1e-6)
    assert places.width == 4


def test_edges_that_meet_make_a_steep_ramp_not_a_jump() -> None:
    values = np.concatenate([np.zeros(90), np.ones(10)]).astype(np.float32)[:, None]
    places = placed(values, 4)
    below, above = places(torch.tensor([[-1e-6], [1e-6]])).numpy()
    assert np.abs(above - below).max() < 1e-3
    assert np.isfinite(places(torch.tensor([[0.0]])).numpy()).all()


def test_numpy_gives_the_same_places() -> None:
    values = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    values[:, 3] = 0.0  # a constant feature
    places = placed(values, 3)
    expected = places(torch.from_numpy(values)).numpy()
    found = places_of(values, places.edges.numpy())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert places_of(values[:0], places.edges.numpy()).shape == (0, 15)
