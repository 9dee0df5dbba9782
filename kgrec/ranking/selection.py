"""Chooses among rankers on the last window, calibrates the choice, and refits it on all windows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kgrec.data.interactions import FloatArray
from kgrec.errors import ArtifactError, ConfigError, MissingDependencyError
from kgrec.ranking.calibration import Calibration, expected_calibration_error, fit_calibration
from kgrec.ranking.config import PipelineConfig
from kgrec.ranking.cross_network import CrossNetworkRanker
from kgrec.ranking.lightgbm_ranker import LightGBMRanker, import_lightgbm
from kgrec.ranking.linear import LinearRanker
from kgrec.ranking.ranker import Ranker, RankingRows, ndcg_of_lists, sampled_lists, stack_rows

RANKERS: dict[str, type[Ranker]] = {
    ranker.name: ranker for ranker in (LightGBMRanker, CrossNetworkRanker, LinearRanker)
}
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
            "calibration_error_before", the expected calibration error with and without it.
    """

    names: tuple[str, ...]
    rankers: dict[str, Ranker]
    spread: dict[str, float]
    calibration: Calibration
    quality: dict[str, float]

    def scores(self, values: FloatArray) -> npt.NDArray[np.float64]:
        """Return the calibrated log-odds of each row, shape (n,), float64."""
        total = np.zeros(len(values), dtype=np.float32)
        for name, ranker in self.rankers.items():
            total += ranker.scores(values) / self.spread[name]
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
        MissingDependencyError: None of them can be used.
    """
    unknown = [name for name in config.rankers if name not in RANKERS]
    if unknown or not config.rankers:
        raise ConfigError(
            f"Expected 'rankers' among {sorted(RANKERS)}, got {list(config.rankers)}; "
            "correct the pipeline's configuration"
        )
    usable = list(config.rankers)
    if LightGBMRanker.name in usable:
        try:
            import_lightgbm()
        except MissingDependencyError:
            usable.remove(LightGBMRanker.name)
            if not usable:
                raise
    return tuple(usable)


def choose_ranker(train: RankingRows, last: RankingRows, config: PipelineConfig) -> ChosenRanker:
    """Return the sum of the rankers, or the one that beats it on the last window, refitted.

    Args:
        train: Lists of all windows but the last, sampled.
        last: Whole lists of the last window: they stop, choose and calibrate, and are then learned
            from too, sampled like the others.
        config: Which rankers, and their settings.
    """
    fitted: dict[str, Ranker] = {}
    held: dict[str, FloatArray] = {}
    stop = _some_lists(last, config.stopping_lists)
    for name in usable_rankers(config):
        fitted[name] = RANKERS[name](getattr(config, name)).fit(train, stop)  # type: ignore[call-arg]
        raw = fitted[name].scores(last.values)
        held[name] = raw / (float(raw.std()) or 1.0)
    tried: dict[str, tuple[str, ...]] = {name: (name,) for name in fitted}
    if config.blend and len(fitted) > 1:
        tried["+".join(fitted)] = tuple(fitted)
    sums = {name: _sum([held[part] for part in parts]) for name, parts in tried.items()}
    measured = {name: ndcg_of_lists(last, scores) for name, scores in sums.items()}
    quality = {name: float(values.mean()) for name, values in measured.items()}
    best = _chosen(measured, tried)
    calibration = fit_calibration(sums[best], last.label)
    plain = Calibration().probabilities(sums[best])
    after = calibration.probabilities(sums[best])
    quality["calibration_error_before"] = expected_calibration_error(plain, last.label)
    quality["calibration_error"] = expected_calibration_error(after, last.label)
    rng = np.random.default_rng(config.windows.seed)
    everything = stack_rows([train, sampled_lists(last, config.negatives, rng)])
    rankers = {name: fitted[name].fit(everything) for name in tried[best]}
    spread = {name: float(rankers[name].scores(last.values).std()) or 1.0 for name in rankers}
    return ChosenRanker(train.names, rankers, spread, calibration, quality)


def _chosen(measured: Mapping[str, FloatArray], tried: Mapping[str, tuple[str, ...]]) -> str:
    """Return the best ranker; a sum stands where nothing beats it by a standard error.

    A sum errs less on lists that nobody has seen; which single one is best on one window is often
    chance.
    """
    best = max(measured, key=lambda name: float(measured[name].mean()))
    whole = max(tried, key=lambda name: len(tried[name]))
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
