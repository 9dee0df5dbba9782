"""The towers hold the contract of every scorer."""

from __future__ import annotations

from scorer_contract import CheckerboardContract, ScorerContract

from kgrec.models.scorer import Scorer
from kgrec.models.towers import TowersScorer
from kgrec.models.towers_config import TowersConfig


class TestTowers(ScorerContract, CheckerboardContract):
    rtol = 1e-4  # sums of a batch run in another order than those of a single row
    atol = 1e-5

    @classmethod
    def make_scorer(cls) -> Scorer:
        return TowersScorer(TowersConfig(embedding_dim=16, steps=60, threads=1))
