"""Every baseline holds the scorer contract; those that learn tastes solve the checkerboard."""

from __future__ import annotations

from typing import Any, ClassVar

from scorer_contract import CheckerboardContract, ScorerContract

from kgrec.models.baselines import make_baseline
from kgrec.models.scorer import Scorer


class BaselineContract(ScorerContract):
    name: ClassVar[str]
    settings: ClassVar[dict[str, Any]] = {}

    @classmethod
    def make_scorer(cls) -> Scorer:
        return make_baseline(cls.name, cls.settings)


class TestPopularity(BaselineContract):
    name = "popularity"
    settings: ClassVar[dict[str, Any]] = {"half_life_days": 0.01}


class TestItemKNN(BaselineContract, CheckerboardContract):
    name = "itemknn"


class TestItemKNNWithSigns(BaselineContract, CheckerboardContract):
    name = "itemknn"
    settings: ClassVar[dict[str, Any]] = {
        "negative_weight": -0.3,
        "train_negative_weight": 0.2,
        "history_half_life_events": 20.0,
        "neighbours_per_item": 12,
    }


class TestRP3Beta(BaselineContract, CheckerboardContract):
    name = "rp3beta"


class TestEASE(BaselineContract, CheckerboardContract):
    name = "ease"


class TestEASEWeighted(BaselineContract, CheckerboardContract):
    name = "ease"
    settings: ClassVar[dict[str, Any]] = {
        "ridge": 3.0,
        "user_exponent": 0.75,
        "ridge_exponent": 0.25,
        "negative_weight": 0.2,
    }


class TestEASEPruned(BaselineContract, CheckerboardContract):
    name = "ease"
    settings: ClassVar[dict[str, Any]] = {"neighbours_per_item": 15}


class TestSVD(BaselineContract, CheckerboardContract):
    name = "svd"
    settings: ClassVar[dict[str, Any]] = {"num_factors": 2}


class TestSLIM(BaselineContract, CheckerboardContract):
    name = "slim"


class TestSLIMWithoutTable(BaselineContract, CheckerboardContract):
    name = "slim"
    settings: ClassVar[dict[str, Any]] = {"table_bytes": 1, "neighbours_per_item": 12}


class TestIALS(BaselineContract, CheckerboardContract):
    name = "ials"
    settings: ClassVar[dict[str, Any]] = {"num_factors": 4, "ridge": 0.001}


class TestRP3KG(BaselineContract, CheckerboardContract):
    name = "rp3_kg"


class TestSLIMKG(BaselineContract, CheckerboardContract):
    name = "slim_kg"


class TestEASEKG(BaselineContract, CheckerboardContract):
    name = "ease_kg"
    settings: ClassVar[dict[str, Any]] = {"cold_items": True}


class TestSLIT(BaselineContract):
    name = "slit"  # by direction, as transitions
    settings: ClassVar[dict[str, Any]] = {"ridge": 10.0}


class TestTransitions(BaselineContract):
    name = "transitions"  # by direction: on the board the first item never follows another


class TestContemporaries(BaselineContract):
    name = "contemporaries"


class TestContemporariesBothWays(BaselineContract, CheckerboardContract):
    name = "contemporaries"
    settings: ClassVar[dict[str, Any]] = {
        "backward_weight": 1.0,
        "gap_half_life_s": 1e6,
        "half_life_days": 3.0,
        "negative_weight": 0.2,
        "train_negative_weight": 0.5,
        "source_exponent": 0.3,
        "target_exponent": 0.3,
        "occurrences_per_item": 20,
    }


class TestLightGCN(BaselineContract, CheckerboardContract):
    name = "lightgcn"
    settings: ClassVar[dict[str, Any]] = {"embedding_dim": 16, "num_epochs": 60, "threads": 1}


class TestKGIN(BaselineContract, CheckerboardContract):
    name = "kgin"
    settings: ClassVar[dict[str, Any]] = {"embedding_dim": 16, "num_epochs": 60, "threads": 1}
    rtol = 1e-4
    atol = 1e-5


class TestSASRec(BaselineContract, CheckerboardContract):
    name = "sasrec"
    settings: ClassVar[dict[str, Any]] = {
        "embedding_dim": 16,
        "num_epochs": 60,
        "learning_rate": 0.01,
        "threads": 1,
    }
    rtol = 1e-4
    atol = 1e-5


class TestTransitionsBothWays(BaselineContract, CheckerboardContract):
    name = "transitions"
    settings: ClassVar[dict[str, Any]] = {
        "backward_weight": 1.0,
        "gap_half_life_s": 1e6,
        "train_negative_weight": 0.5,
    }
