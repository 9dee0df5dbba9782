"""Time of one propagation, forward and backward, four ways, as ratios within one run.

    python benchmarks/bench_propagation.py --json benchmarks/results/propagation.json

The ways take turns in each round and CPU time is what counts, so that a busy machine slows all of
them alike; on a GPU (--device cuda) it is the time between two events on it. The gradient of the
result is given, so that no loss is timed. Ratios are of medians over rounds. Degrees are skewed, as
in real graphs.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.nn import SimpleConv

from kgrec.models.propagation import SparseOperator


def ways(
    num_nodes: int, num_edges: int, device: torch.device
) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return ways to compute A @ x over one symmetric random graph with ``num_edges`` entries."""
    rng = np.random.default_rng(0)
    skewed = np.minimum(rng.pareto(1.2, num_edges // 2) * num_nodes / 50, num_nodes - 1)
    left, right = skewed.astype(np.int64), rng.integers(0, num_nodes, num_edges // 2)
    rows, columns = np.concatenate([left, right]), np.concatenate([right, left])
    values = torch.from_numpy(rng.random(len(rows)).astype(np.float32)).to(device)
    operator = SparseOperator.from_edges(rows, columns, (num_nodes, num_nodes)).to(device)
    edge_index = torch.from_numpy(np.stack([columns, rows])).to(device)
    index = torch.from_numpy(np.stack([rows, columns])).to(device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        coo = torch.sparse_coo_tensor(index, values, (num_nodes, num_nodes)).coalesce()
        csr = coo.to_sparse_csr()
    layer = SimpleConv(aggr="add")
    return {
        "csr, transposed structure kept": lambda x: operator(values, x),
        "torch.sparse csr autograd": lambda x: csr @ x,
        "torch.sparse coo autograd": lambda x: torch.sparse.mm(coo, x),
        "torch-geometric scatter": lambda x: layer(x, edge_index, edge_weight=values),
    }


def seconds(way: Callable[[Tensor], Tensor], x: Tensor, weights: Tensor) -> tuple[float, Tensor]:
    """Return seconds of one forward and backward, and the gradient, to compare."""
    on_gpu = x.device.type == "cuda"
    begin, end = (
        (torch.cuda.Event(enable_timing=True) for _ in range(2)) if on_gpu else (None, None)
    )
    start = time.process_time()
    if begin is not None:
        begin.record()
    (gradient,) = torch.autograd.grad(way(x), x, weights)
    if begin is None or end is None:
        return time.process_time() - start, gradient
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1e3, gradient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=50_000)
    parser.add_argument("--edges", type=int, default=300_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    features, weights = torch.randn(2, arguments.nodes, arguments.dim, device=device)
    features.requires_grad_()
    candidates = ways(arguments.nodes, arguments.edges, device)
    times: dict[str, list[float]] = {name: [] for name in candidates}
    gradients: dict[str, Tensor] = {}
    for turn in range(arguments.rounds + 1):
        for name, way in candidates.items():
            taken, gradients[name] = seconds(way, features, weights)
            if turn:  # the first round warms caches
                times[name].append(taken)
    ours, *others = candidates
    for name in others:
        near = 1e-3 * float(gradients[ours].abs().max())  # sums of many terms, in another order
        torch.testing.assert_close(gradients[name], gradients[ours], rtol=1e-3, atol=near)
    median = {name: float(np.median(values)) for name, values in times.items()}
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    result = {
        "nodes": arguments.nodes,
        "edges": arguments.edges,
        "dim": arguments.dim,
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        ("median_cpu_ms" if device.type == "cpu" else "median_gpu_ms"): {
            name: round(value * 1e3, 2) for name, value in median.items()
        },
        "times_slower": {name: round(median[name] / median[ours], 2) for name in others},
        "versions": {name: version(name) for name in ("torch", "torch-geometric", "numpy")},
        "machine": {"cpu": platform.processor() or platform.machine(), "os": platform.system()}
        | ({"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}),
        "commit": commit,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
