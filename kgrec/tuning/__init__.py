"""Tuning of baselines on validation, with the same budget for each; records of every trial."""

from kgrec.tuning.record import Budget, Trial, TunedModel, TuningRecord, load_record, save_record
from kgrec.tuning.search import tune, tune_all
from kgrec.tuning.space import SHIPPED_SPACES, Dimension, SearchSpace, load_spaces

__all__ = [
    "SHIPPED_SPACES",
    "Budget",
    "Dimension",
    "SearchSpace",
    "Trial",
    "TunedModel",
    "TuningRecord",
    "load_record",
    "load_spaces",
    "save_record",
    "tune",
    "tune_all",
]
