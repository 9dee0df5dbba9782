"""Measuring one model on one split's test part: opened once, recorded, and never done twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kgrec.data.splits import Split
from kgrec.evaluation.beyond_accuracy import CatalogueFacts
from kgrec.evaluation.environment import git_commit
from kgrec.evaluation.evaluator import evaluate
from kgrec.evaluation.ledger import TestLedger
from kgrec.evaluation.records import StoredRun, hash_of_config, load_run, make_run, save_run
from kgrec.jobs.workspace import Workspace
from kgrec.models.scorer import Scorer


@dataclass(frozen=True)
class Referee:
    """Measures models on the test part of one split.

    Attributes:
        workspace: Where records and ledger lie.
        split: What is asked.
        catalogue: Popularity and features as of training, for the metrics beyond accuracy.
        cutoffs: k of the metrics.
        seed: Seed of models, ties and resampling.
    """

    workspace: Workspace
    split: Split
    catalogue: CatalogueFacts
    cutoffs: tuple[int, ...]
    seed: int

    def measure(
        self, label: str, config: Mapping[str, Any], fitted: Callable[[], Scorer]
    ) -> StoredRun:
        """Return the record of a model, from disk where this code made it before.

        Args:
            label: Row of the tables.
            config: Everything that was set or chosen, JSON-ready.
            fitted: Returns the model, fitted on what the split refits on; called only if needed.
        """
        stored = self.stored(label, config)
        if stored is not None:
            return stored
        started = time.perf_counter()
        model = fitted()
        fit_s = time.perf_counter() - started
        ledger = TestLedger(self.workspace.ledger)
        tasks = self.split.open_test(
            ledger,
            model=label,
            config_hash=hash_of_config(label, config, self.seed),
            repeat=True,  # a run killed between opening and record opens again; the ledger says so
        )
        results = {
            name: evaluate(
                model,
                task,
                self.cutoffs,
                num_items=self.split.dataset.num_items,
                seed=self.seed,
                catalogue=self.catalogue,
            )
            for name, task in tasks.items()
        }
        run = make_run(
            results,
            split=self.split,
            part="test",
            model=label,
            config=config,
            seed=self.seed,
            ledger=ledger,
            timings_s={"fit": fit_s},
        )
        save_run(run, self.workspace.records)
        return run

    def stored(self, label: str, config: Mapping[str, Any]) -> StoredRun | None:
        """Return the record that this commit made of the same model, split and data, if any."""
        config_hash = hash_of_config(label, config, self.seed)
        for path in sorted(self.workspace.records.glob(f"*-{config_hash[:8]}.json")):
            run = load_run(path)
            record = run.record
            if (
                record.config_hash == config_hash
                and record.snapshot_id == self.split.dataset.snapshot_id
                and record.split["checksum"] == self.split.checksum
                and record.commit == git_commit()
                and "+" not in record.commit  # changed code may measure otherwise
            ):
                return run
        return None
