"""A cross network scores without torch as it does with it, while it trains too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kgrec.ranking.cross_network import CrossNetwork, CrossNetworkConfig


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"cross_layers": 2, "experts": 3, "rank": 4},
        {"stacked": True, "hidden": (16, 8)},
        {"cross_layers": 0, "hidden": ()},
        {"pieces": 3, "stacked": True},
    ],
)
def test_cross_weights_score_as_the_network_does(settings: dict[str, object]) -> None:
    torch.manual_seed(0)
    network = CrossNetwork(11, CrossNetworkConfig.model_validate(settings)).eval()
    features = np.random.default_rng(0).normal(size=(70, 11)).astype(np.float32)
    if network.places is not None:
        network.places.place(features)
    weights = network.weights
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()  # after the weights were taken: they share the memory
        expected = network(torch.from_numpy(features)).numpy()
    found = weights.scores(features)
    assert found.dtype == np.float32
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * float(expected.std()))
    assert weights.scores(features[:0]).shape == (0,)
