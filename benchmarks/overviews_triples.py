"""Recommendation of cold films with the triples of their overviews, and without them.

    python benchmarks/overviews_triples.py --data ml-latest-small --model DIR \
        --confidence 0.9 --json out.json

The graph of ml-latest-small is built with an extractor over all overviews; each model is fitted on
the whole graph, on that of the tables alone, and on one whose extracted tails are permuted within
their relation (as many triples that say nothing). Several splits hide a tenth of the films each;
the films hidden are ranked among themselves. A user's differences are averaged over the splits and
tested user by user.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graph_etl import dataset_config_from
from graph_etl.dataset_yaml import read_fields
from graph_etl.extraction.corpora import corpus_path
from graph_etl.extraction.evaluation import circumstances
from graph_etl.fetch import fetch
from graph_etl.mappings import mapping_path
from graph_etl.pipeline import build
from kgrec.data.dataset import Dataset, dataset_from_snapshot
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.splits import Split, make_split
from kgrec.evaluation.environment import git_commit
from kgrec.evaluation.evaluator import EvaluationResult, evaluate
from kgrec.evaluation.ledger import TestLedger
from kgrec.evaluation.statistics import paired_test
from kgrec.models.baselines import make_baseline
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.models.text.encoder import TextEncoder
from kgrec.retrieval.sources import ContentRidge, KgNeighbours
from kgrec.tuning import load_record

TUNED = Path(__file__).parent.parent / "configs/tuned/ml-latest-small.json"
GRAPHS = ("with", "without", "permuted")
METRICS = ("recall@20", "ndcg@20")
MODELS = ("kg_neighbours", "rp3_kg", "ease_kg", "content_ridge", "content_ridge_graph")


def built_dataset(options: argparse.Namespace, folder: Path) -> tuple[Dataset, dict[str, Any]]:
    """Return the data set with extracted triples in its graph, and what the build counted."""
    fields = dict(read_fields(mapping_path("ml-latest-small")))
    fields["extraction"] = {
        "schema": str(corpus_path("films", "graph_schema.yaml")),
        "text": ["{overview}"],
        "engines": [{"engine": "bert", "model": str(options.model.resolve())}],
        "limits": {"min_confidence": options.confidence},
    }
    result = build(dataset_config_from(fields, "ml-latest-small"), out=folder, data=options.data)
    counts = result.audit["tables"]["extraction.bert"]
    return dataset_from_snapshot(result.snapshot), counts


def permuted(graph: KnowledgeGraph, seed: int) -> KnowledgeGraph:
    """Return the graph with the tails of its extracted triples permuted within each relation."""
    assert graph.extracted is not None
    rng = np.random.default_rng(seed)
    tail = graph.tail.copy()
    for relation in np.unique(graph.relation[graph.extracted]):
        rows = np.flatnonzero(graph.extracted & (graph.relation == relation))
        tail[rows] = rng.permutation(tail[rows])
    return replace(graph, tail=tail)


def graph_of(split: Split, name: str) -> KnowledgeGraph:
    """Return the graph that a model is fitted on."""
    if name == "permuted":
        return permuted(split.graph(), split.seed)
    return split.graph("on" if name == "with" else "tables")


def makers(dataset: Dataset) -> dict[str, Callable[[], Scorer]]:
    """Return the models whose scores of untouched films come from the graph, ready to be made."""
    tuned = load_record(TUNED).models
    vectors = TextEncoder(str(fetch("minilm"))).encode(dataset.items.texts.tolist())
    no_text = np.zeros_like(vectors)
    ease = {**tuned["ease_kg"].best_settings, "cold_items": True}
    return {
        "kg_neighbours": KgNeighbours,
        "rp3_kg": lambda: make_baseline("rp3_kg", tuned["rp3_kg"].best_settings),
        "ease_kg": lambda: make_baseline("ease_kg", ease),
        "content_ridge": lambda: ContentRidge(text_vectors=vectors),
        "content_ridge_graph": lambda: ContentRidge(text_vectors=no_text),
    }


def asked(
    split: Split, models: dict[str, Callable[[], Scorer]], ledger: TestLedger
) -> dict[tuple[str, str], EvaluationResult]:
    """Return what each model does on the hidden films with each graph."""
    found = {}
    for graph_name in GRAPHS:
        graph = graph_of(split, graph_name)
        dataset = replace(split.visible_dataset("train+val"), graph=graph)
        train = TrainingData(dataset, split.interactions("train+val"), graph, split.seed)
        for name, make in models.items():
            label = f"{name}, {graph_name}"
            tasks = split.open_test(ledger, model=label, config_hash=label)
            found[name, graph_name] = evaluate(
                make().fit(train),
                tasks["among_cold"],
                (20,),
                num_items=split.dataset.num_items,
                seed=split.seed,
            )
    return found


def compared(results: list[dict[tuple[str, str], EvaluationResult]], name: str) -> dict[str, Any]:
    """Return means over splits, and with against without, and against permuted, by user."""
    record: dict[str, Any] = {}
    for metric in METRICS:
        values = {graph: [one[name, graph].metrics[metric] for one in results] for graph in GRAPHS}
        record[metric] = {
            graph: [round(float(each.mean()), 4) for each in values[graph]] for graph in GRAPHS
        }
        record[metric]["means"] = {
            graph: round(float(np.mean([each.mean() for each in values[graph]])), 4)
            for graph in GRAPHS
        }
        for other in ("without", "permuted"):
            users: dict[int, list[float]] = defaultdict(list)
            for one, a, b in zip(results, values["with"], values[other], strict=True):
                for user, gain in zip(one[name, "with"].user_idx.tolist(), a - b, strict=True):
                    users[user].append(float(gain))
            gains = np.array([np.mean(each) for each in users.values()])
            test = paired_test(gains, np.zeros(len(gains)))
            record[metric][f"with - {other}"] = {
                "difference": round(test.difference.value, 5),
                "interval_95": [round(test.difference.low, 5), round(test.difference.high, 5)],
                "p_bootstrap": round(test.p_bootstrap, 4),
                "p_wilcoxon": round(test.p_wilcoxon, 4),
                "users": test.num_users,
            }
    return record


def described(graph: KnowledgeGraph) -> dict[str, Any]:
    """Return how many triples were extracted, and how many entities they add that tie films."""
    assert graph.extracted is not None
    names = Counter(graph.relations[one] for one in graph.relation[graph.extracted].tolist())
    tails = Counter(graph.tail[graph.extracted].tolist())
    return {
        "triples_of_tables": int((~graph.extracted).sum()),
        "triples_extracted": int(graph.extracted.sum()),
        "by_relation": dict(names.most_common()),
        "films": len(set(graph.head[graph.extracted].tolist())),
        "entities_extracted": len(tails),
        "entities_in_two_films_or_more": sum(count > 1 for count in tails.values()),
    }


def main() -> None:
    """Build, fit and compare; print or write one JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of ml-latest-small")
    parser.add_argument("--model", type=Path, required=True, help="folder of a trained extractor")
    parser.add_argument("--confidence", type=float, default=0.9, help="least that counts")
    parser.add_argument("--splits", type=int, default=10, help="cold splits")
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="folder of the build, to keep it")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        dataset, counts = built_dataset(options, options.out or Path(folder))
        models = {name: make for name, make in makers(dataset).items() if name in options.models}
        ledger = TestLedger(Path(folder) / "ledger.jsonl")
        results = [
            asked(make_split(dataset, "cold_items", seed=seed), models, ledger)
            for seed in range(options.splits)
        ]
    report = {
        "model": json.loads((options.model / "manifest.json").read_text(encoding="utf-8")),
        "confidence": options.confidence,
        "extraction": counts,
        "graph": described(dataset.graph),
        "splits": options.splits,
        "models": {name: compared(results, name) for name in models},
        "commit": git_commit(),
        **circumstances([options.data / "derived/items_joined.parquet", TUNED]),
    }
    text = json.dumps(report, indent=1) + "\n"
    if options.json is None:
        print(text)
    else:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
