"""Memory and time of the towers where the graph is too large to be propagated whole in each step.

    python benchmarks/bench_towers_million.py --items 1000000 --json FILE

Makes a catalogue (made_catalogue.py) of ten likes and ten triples an item, trains one epoch, in
which every user of two likes or more comes once, and computes the vectors of all items over the
whole graph. Times are CPU time of all threads; peaks are of the whole process, making the catalogue
included. It says nothing of quality: the loss, on the same steps before and after, shows that the
towers learn. Records of several sizes stand in one file, by number of items.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded

import numpy as np
import torch
from made_catalogue import make_training_data

from kgrec.evaluation.environment import git_commit, machine, versions
from kgrec.models.hybrid import TwoTowers
from kgrec.models.sampling import StepSampler
from kgrec.models.tower_inputs import assemble
from kgrec.models.towers_config import TowersConfig
from kgrec.models.training import fit_towers

ITEMS_A_USER = 5
LENGTH = 46  # the mean of the lengths drawn is somewhat above their median
RELATIONS = (
    ("has_genre", 2, 40.0),
    ("directed_by", 1, 0.1),
    ("stars", 4, 0.3),
    ("has_keyword", 3, 5000.0),
    ("made_in", 1, 60.0),
)
LOOK_STEPS = 2
Value = TypeVar("Value")


class Watch:
    """Takes the CPU time of each part, and the peak of memory at its end."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[str, float]] = {}

    def __call__(self, name: str, part: Callable[[], Value]) -> Value:
        """Return what ``part`` returns."""
        started = time.process_time(), time.perf_counter()
        value = part()
        self.parts[name] = {
            "cpu_s": round(time.process_time() - started[0], 1),
            "wall_s": round(time.perf_counter() - started[1], 1),
            "peak_gb": peak_gb(),
        }
        sys.stderr.write(f"{name}: {self.parts[name]}\n")
        return value


def peak_gb() -> float:
    """Return the most memory that this process has held, in units of 10^9 bytes."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)


@torch.no_grad()
def loss_of(model: TwoTowers, sampler: StepSampler) -> float:
    """Return the mean loss of steps of a later epoch, without dropout."""
    model.eval()
    first = 1000 * sampler.steps_per_epoch
    steps = [sampler.step(first + number) for number in range(LOOK_STEPS)]
    loss = float(np.mean([float(model.loss(step)) for step in steps]))
    model.train()
    return loss


def main() -> int:
    """Make, train, infer, and keep the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--users-per-step", type=int, default=1000)
    parser.add_argument("--neighbours", type=int, default=TowersConfig().neighbours)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--whole-graph", action="store_true", help="Propagate over everything.")
    parser.add_argument("--steps", type=int, help="Stop before the epoch ends.")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    watch = Watch()
    num_users = options.items // ITEMS_A_USER
    train = watch(
        "made", lambda: make_training_data(options.items, num_users, LENGTH, 0, RELATIONS)
    )
    config = TowersConfig(
        users_per_step=options.users_per_step,
        neighbours=options.neighbours,
        sampled_above=10**12 if options.whole_graph else 0,
        threads=options.threads,
        device="cpu",
    )
    assembly = watch("assembled", lambda: assemble(train, config))
    model, sampler = assembly.model, assembly.sampler
    steps = options.steps or sampler.steps_per_epoch
    before = watch("loss before", lambda: loss_of(model, sampler))
    result = watch("epoch", lambda: fit_towers(model, sampler, None, steps, progress=told))
    after = watch("loss after", lambda: loss_of(model, sampler))
    vectors, _ = watch("vectors of all items", model.all_items)
    record: dict[str, Any] = {
        "items": train.num_items,
        "users asked": len(sampler.users),
        "likes": len(train.interactions),
        "triples": train.graph.num_triples,
        "weights": sum(weight.numel() for weight in model.parameters()),
        "steps": steps,
        "epoch": steps == sampler.steps_per_epoch,
        "propagation": "whole graph" if options.whole_graph else "drawn parts",
        "towers": config.model_dump(mode="json"),
        "parts": watch.parts,
        "cpu_s a step": round(watch.parts["epoch"]["cpu_s"] / steps, 2),
        "loss": {"before": before, "after": after},
        "loss while training": [[point.step, point.loss] for point in result.curve],
        "vectors": {"shape": list(vectors.shape), "finite": bool(vectors.isfinite().all())},
        "peak_gb": peak_gb(),
        "machine": machine(),
        "versions": versions(),
        "commit": git_commit(),
    }
    text = json.dumps(record, indent=1)
    sys.stdout.write(text + "\n")
    if options.json is not None:
        kept = json.loads(options.json.read_text()) if options.json.is_file() else {}
        kept[str(options.items)] = record
        options.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return 0


def told(step: int, steps: int, loss: float) -> None:
    """Say how far training is."""
    sys.stderr.write(f"step {step} of {steps}: loss {loss:.4f}, peak {peak_gb()} GB\n")


if __name__ == "__main__":
    raise SystemExit(main())
