"""The frontier of recall, time and memory, and what is chosen from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kgrec.jobs.index_tune import Tuning, plot, tuned
from kgrec.retrieval.index_kinds import KINDS, IndexConfig


def clustered(rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(12, 16))
    found = centres[rng.integers(0, 12, rows)] + 0.6 * rng.normal(size=(rows, 16))
    return found.astype(np.float32)


@pytest.fixture(scope="module")
def found() -> Tuning:
    return tuned(clustered(900, 0), clustered(40, 1), IndexConfig(recall_k=20), "towers")


def test_every_kind_is_measured_up_to_whole_recall(found: Tuning) -> None:
    assert tuple(dict.fromkeys(one.kind for one in found.settings)) == KINDS
    for kind in KINDS:
        recalls = [one.recall for one in found.settings if one.kind == kind]
        assert recalls[-1] > 0.99
    flat = found.settings[0]
    assert (flat.recall, flat.effort) == (1.0, None)


def test_the_frontier_holds_what_nothing_beats(found: Tuning) -> None:
    kept = [one for one in found.settings if one.on_frontier]
    assert kept
    for one in found.settings:
        beaten = any(
            other.recall >= one.recall
            and other.cpu_ms <= one.cpu_ms
            and other.memory_bytes < one.memory_bytes
            for other in kept
        )
        assert not (one.on_frontier and beaten)
    assert found.chosen is not None
    assert found.chosen.recall >= 0.99


def test_memory_bounds_the_choice(found: Tuning) -> None:
    least = min(one.memory_bytes for one in found.settings)
    for most, kind in ((least, "ivf_4bit"), (least - 1, None)):
        config = IndexConfig(recall_k=20, max_memory_bytes=most)
        chosen = tuned(clustered(900, 0), clustered(40, 1), config, "towers").chosen
        assert (chosen and chosen.kind) == kind


def test_plot_is_a_picture(found: Tuning, tmp_path: Path) -> None:
    plot(found, tmp_path / "deep" / "tuning.svg")
    assert "<svg" in (tmp_path / "deep" / "tuning.svg").read_text()
