"""Chooses among rankers on the last window, calibrates the choice, and refits it on all windows."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kgrec.data.interactions import FloatArray
from kgrec.errors import ArtifactError, ConfigError, MissingDependencyError
from kgrec.evaluation.ctr_metrics import auc, auc_of_users, gauc, log_loss
from kgrec.ranking.behaviour import Behaviour
from kgrec.ranking.calibration import Calibration, expected_calibration_error, fit_calibration
from kgrec.ranking.config import PipelineConfig
from kgrec.ranking.cross_network import CrossNetworkRanker
from kgrec.ranking.lightgbm_ranker import LightGBMRanker, import_lightgbm
from kgrec.ranking.linear import LinearRanker
from kgrec.ranking.onnx_model import check_onnx_installed
from kgrec.ranking.ranker import Ranker, RankingRows, ndcg_of_lists, sampled_lists, stack_rows
from kgrec.ranking.target_attention import TargetAttentionRanker
from kgrec.ranking.torch_ranker import TorchRanker, one_thread

RANKERS: dict[str, type[Ranker]] = {
    ranker.name: ranker
    for ranker in (LightGBMRanker, CrossNetworkRanker, TargetAttentionRanker, LinearRanker)
}
TIMED_ROWS = 200
_META = "chosen_ranker.json"


@dataclass(frozen=True)
class ChosenRanker:
    """One ranker, or the sum of several, with its calibration.

    Attributes:
        names: Feature names, in the order of the columns.
        rankers: Name -> fitted ranker; their standardised scores are summed.
        spread: Name -> deviation of that ranker's scores, by which they are divided.
        calibration: Of the summed score, fitted on lists that the rankers had not learned from.
        quality: What was tried -> NDCG@20 on the last window; plus "calibration_error" and
            "calibration_error_before", the expected calibration error with and without it, and
            "auc", "gauc" and "log_loss" of the choice, where lists hold both labels.
    """

    names: tuple[str, ...]
    rankers: dict[str, Ranker]
    spread: dict[str, float]
    calibration: Calibration
    quality: dict[str, float]

    @property
    def reads_behaviour(self) -> bool:
        """Whether ``scores`` needs items and histories beside the features."""
        return any(ranker.reads_behaviour for ranker in self.rankers.values())

    def scores(
        self, values: FloatArray, behaviour: Behaviour | None = None
    ) -> npt.NDArray[np.float64]:
        """Return the calibrated log-odds of each row, shape (n,), float64.

        Args:
            values: Shape (n, F).
            behaviour: Items and histories of the same rows; needed where ``reads_behaviour``.
        """
        total = np.zeros(len(values), dtype=np.float32)
        for name, ranker in self.rankers.items():
            total += ranker.scores(values, behaviour) / self.spread[name]
        return self.calibration.log_odds(total)

    def save(self, folder: Path) -> None:
        """Write every ranker into a folder of its own, and the calibration as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, ranker in self.rankers.items():
            ranker.save(folder / name)
        meta = {
            "names": self.names,
            "rankers": list(self.rankers),
            "spread": self.spread,
            "calibration": [self.calibration.slope, self.calibration.intercept],
            "quality": self.quality,
        }
        (folder / _META).write_text(json.dumps(meta, indent=1))

    @classmethod
    def load(cls, folder: Path) -> ChosenRanker:
        """Return what ``save`` wrote."""
        if not (folder / _META).is_file():
            raise ArtifactError(
                f"Expected the file {folder / _META} of a ranker, found none; "
                "train and save the pipeline again"
            )
        meta = json.loads((folder / _META).read_text())
        rankers = {name: RANKERS[name].load(folder / name) for name in meta["rankers"]}
        calibration = Calibration(*meta["calibration"])
        return cls(tuple(meta["names"]), rankers, meta["spread"], calibration, meta["quality"])


def usable_rankers(config: PipelineConfig) -> tuple[str, ...]:
    """Return the configured rankers whose libraries are installed.

    Raises:
        ConfigError: A name is unknown.
        MissingDependencyError: None of them can be used, or not by the configured runtime.
    """
    unknown = [name for name in config.rankers if name not in RANKERS]
    if unknown or not config.rankers:
        raise ConfigError(
            f"Expected 'rankers' among {sorted(RANKERS)}, got {list(config.rankers)}; "
            "correct the pipeline's configuration"
        )
    if config.ranker_runtime == "onnx":
        check_onnx_installed()
    usable = list(config.rankers)
    if LightGBMRanker.name in usable:
        try:
            import_lightgbm()
        except MissingDependencyError:
            usable.remove(LightGBMRanker.name)
            if not usable:
                raise
    return tuple(usable)


@one_thread()
def choose_ranker(train: RankingRows, last: RankingRows, config: PipelineConfig) -> ChosenRanker:
    """Return the sum of the rankers, or what beats it on the last window, refitted.

    Where ``latency_budget_ms`` is set, what takes longer to score a list is left out.

    Args:
        train: Lists of all windows but the last, sampled.
        last: Whole lists of the last window: they stop, choose and calibrate, and are then learned
            from too, sampled like the others.
        config: Which rankers, and their settings.

    Raises:
        ConfigError: No ranker keeps to the latency budget.
    """
    fitted: dict[str, Ranker] = {}
    held: dict[str, FloatArray] = {}
    stop = _some_lists(last, config.stopping_lists)
    for name in usable_rankers(config):
        fitted[name] = RANKERS[name](getattr(config, name)).fit(train, stop)  # type: ignore[call-arg]
        raw = fitted[name].scores(last.values, last.behaviour)
        held[name] = raw / (float(raw.std()) or 1.0)
    tried = _within_budget(_combinations(fitted, config.blend), fitted, last, config)
    sums = {name: _sum([held[part] for part in parts]) for name, parts in tried.items()}
    measured = {name: ndcg_of_lists(last, scores) for name, scores in sums.items()}
    quality = {name: float(values.mean()) for name, values in measured.items()}
    best = _chosen(measured, tried)
    calibration = fit_calibration(sums[best], last.label)
    plain = Calibration().probabilities(sums[best])
    after = calibration.probabilities(sums[best])
    quality["calibration_error_before"] = expected_calibration_error(plain, last.label)
    quality["calibration_error"] = expected_calibration_error(after, last.label)
    quality |= _click_quality(last, after)
    rng = np.random.default_rng(config.windows.seed)
    everything = stack_rows([train, sampled_lists(last, config.negatives, rng)])
    rankers = {name: fitted[name].fit(everything) for name in tried[best]}
    if config.ranker_runtime == "onnx":
        _use_onnx(rankers.values())
    spread = {
        name: float(ranker.scores(last.values, last.behaviour).std()) or 1.0
        for name, ranker in rankers.items()
    }
    return ChosenRanker(train.names, rankers, spread, calibration, quality)


def _click_quality(rows: RankingRows, probabilities: FloatArray) -> dict[str, float]:
    label, lists = rows.label > 0, rows.group_of_row
    if not len(auc_of_users(lists, label, probabilities)[0]):
        return {}  # no list holds both labels
    return {
        "auc": auc(label, probabilities),
        "gauc": gauc(lists, label, probabilities),
        "log_loss": log_loss(label, probabilities),
    }


def _combinations(names: Iterable[str], blend: bool) -> dict[str, tuple[str, ...]]:
    """Return what may be chosen: each ranker, and each sum of several where they are blended."""
    names = tuple(names)
    sizes = range(1, len(names) + 1 if blend else 2)
    parts = [chosen for size in sizes for chosen in itertools.combinations(names, size)]
    return {"+".join(chosen): chosen for chosen in parts}


def _within_budget(
    tried: dict[str, tuple[str, ...]],
    fitted: Mapping[str, Ranker],
    rows: RankingRows,
    config: PipelineConfig,
) -> dict[str, tuple[str, ...]]:
    """Return what scores a list in time; without a budget nothing is measured."""
    budget = config.latency_budget_ms
    if budget is None:
        return tried
    if config.ranker_runtime == "onnx":
        _use_onnx(fitted.values())
    taken = {name: cpu_ms(ranker, rows) for name, ranker in fitted.items()}
    kept = {
        name: parts for name, parts in tried.items() if sum(taken[part] for part in parts) <= budget
    }
    if not kept:
        found = {name: round(value, 3) for name, value in taken.items()}
        raise ConfigError(
            f"Expected a ranker that scores {TIMED_ROWS} rows within latency_budget_ms {budget}, "
            f"got {found}; raise the budget, or add a lighter ranker to 'rankers'"
        )
    return kept


def cpu_ms(ranker: Ranker, rows: RankingRows, repeats: int = 30) -> float:
    """Return the CPU milliseconds that a fitted ranker takes for 200 rows: the least of some."""
    values = rows.values[:TIMED_ROWS]
    behaviour = rows.behaviour and rows.behaviour.take_rows(slice(0, TIMED_ROWS))
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        ranker.scores(values, behaviour)
        best = min(best, time.process_time() - start)
    return 1e3 * best


def _use_onnx(rankers: Iterable[Ranker]) -> None:
    for ranker in rankers:
        if isinstance(ranker, TorchRanker):
            ranker.use_onnx()


def _chosen(measured: Mapping[str, FloatArray], tried: Mapping[str, tuple[str, ...]]) -> str:
    """Return the best; the longest sum stands where nothing beats it by a standard error.

    A sum errs less on lists that nobody has seen; which other one is best on one window is often
    chance.
    """
    best = max(measured, key=lambda name: float(measured[name].mean()))
    whole = max(tried, key=lambda name: (len(tried[name]), float(measured[name].mean())))
    if len(tried[whole]) == 1:
        return best
    gain = measured[best] - measured[whole]
    error = float(gain.std()) / max(len(gain), 1) ** 0.5
    return best if float(gain.mean()) > error else whole


def _sum(scores: list[FloatArray]) -> FloatArray:
    return np.asarray(np.sum(scores, axis=0), dtype=np.float32)


def _some_lists(rows: RankingRows, count: int, seed: int = 0) -> RankingRows:
    """Return at most ``count`` lists, drawn by seed."""
    total = len(rows.indptr) - 1
    chosen = np.zeros(total, dtype=np.bool_)
    chosen[np.random.default_rng(seed).permutation(total)[:count]] = True
    return rows if count >= total else rows.take_rows(chosen[rows.group_of_row])
