"""A small run's report, every part of it there, with names that try to break the page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from serving_data import SCORERS, SmallEase, make_artifact, make_training_data, strings

from graph_etl.statistics import (
    DegreeBin,
    ExtractedFigures,
    GraphStatistics,
    NewEntities,
    RelationFigures,
    SaidTriple,
    TextFigures,
    TopEntity,
    TypeFigures,
)
from kgrec.data.audit import audit_dataset
from kgrec.data.dataset import Dataset
from kgrec.data.splits import Split, make_split
from kgrec.evaluation.beyond_accuracy import catalogue_facts
from kgrec.evaluation.evaluator import evaluate
from kgrec.evaluation.records import StoredRun, make_run
from kgrec.evaluation.tables import Table, metric_table
from kgrec.models.baselines import make_baseline
from kgrec.models.fit_result import CurvePoint
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.report import ReportInput
from kgrec.serving.deletion_test import DeletionTest
from kgrec.serving.recommender import Recommender

KINDS = ("entities", "triples")
HOSTILE = "<script>alert('x')</script> \"&amp; \u202etxt \x00 \ud800 <img src=http://e.example/x>"


@dataclass(frozen=True)
class OneTable:
    """A table of the run, as the job makes it."""

    split: str
    slice: str
    title: str
    table: Table
    runs: tuple[StoredRun, ...]


def run_of(
    scorer: Scorer, label: str, split: Split, train: TrainingData, seed: int = 0
) -> StoredRun:
    facts = catalogue_facts(train.interactions, train.num_items, train.graph.item_entity_matrix())
    results = {
        name: evaluate(scorer, task, (10, 20), num_items=train.num_items, catalogue=facts)
        for name, task in split.validation().items()
    }
    return make_run(results, split=split, part="val", model=label, config={"of": label}, seed=seed)


@pytest.fixture(scope="session")
def data() -> Dataset:
    made = make_training_data().dataset
    titles = made.items.titles.copy()
    titles[:] = [f"{title} {HOSTILE}" for title in titles]
    return replace(made, name=f"made-up {HOSTILE}", items=replace(made.items, titles=titles))


@pytest.fixture(scope="session")
def tables(data: Dataset) -> tuple[OneTable, ...]:
    made = []
    for name in ("per_user_time", "new_users"):
        split = make_split(data, name, seed=0)  # type: ignore[arg-type]
        events = split.interactions("train")
        train = TrainingData(split.visible_dataset("train"), events, split.graph(), 0)
        runs = (
            run_of(make_baseline("popularity").fit(train), "popularity", split, train),
            run_of(make_baseline("itemknn").fit(train), "ease", split, train),
            run_of(SmallEase().fit(train), "pipeline", split, train),
            run_of(SmallEase().fit(train), "pipeline, graph off", split, train, seed=0),
            run_of(SmallEase().fit(train), "pipeline, graph off", split, train, seed=1),
        )
        table = metric_table(runs, ("recall@20", "ndcg@20", "mrr@10"), baseline="ease")
        made.append(OneTable(name, "all", f"{name}: all users", table, runs))
    return tuple(made)


@pytest.fixture(scope="session")
def figures() -> GraphStatistics:
    return GraphStatistics(
        snapshot_id="snapshot-made-up",
        dataset="made-up",
        entities=84,
        triples=120,
        users=160,
        interactions=1266,
        positive_interactions=1100,
        orphans=0,
        entity_types=(TypeFigures(HOSTILE, 60, 0, 2.0, 2.0, 2),),
        relations=(
            RelationFigures(
                "made_by", "item", "maker", 60, 60, 20, 1.0, (TopEntity("m", HOSTILE, 3),)
            ),
        ),
        degrees=(DegreeBin(0, 0, 0), DegreeBin(1, 2, 60), DegreeBin(1000, None, 1)),
        text=TextFigures(items=60, with_text=0, median_characters=0.0, interaction_share=0.0),
        extracted=(ExtractedFigures("set_in", 7, 0.875, (SaidTriple("Film", "Rome", HOSTILE),)),),
        extracted_entities=(NewEntities(HOSTILE, 5, ("Rome", HOSTILE)),),
    )


@pytest.fixture(scope="session")
def recommender(tmp_path_factory: pytest.TempPathFactory, data: Dataset) -> Recommender:
    root: Path = tmp_path_factory.mktemp("artifact")
    found = Recommender.load(make_artifact(root), scorers=SCORERS)
    names = found.artifact.graph.entity_names.copy()
    names[:] = [f"{name} {HOSTILE}" for name in names]
    hostile = replace(
        found.artifact,
        items=data.items,
        graph=replace(found.artifact.graph, entity_names=names),
    )
    return Recommender(hostile)


@pytest.fixture(scope="session")
def report(
    data: Dataset,
    tables: tuple[OneTable, ...],
    figures: GraphStatistics,
    recommender: Recommender,
) -> ReportInput:
    users = [str(recommender.artifact.users.ids[user]) for user in (0, 1)]
    link = {"linked": 40, "ambiguous": 5, "unlinked": 15, "by_method": {"exact": 40}}
    rows = {"rows_in": 70, "rows_kept": 60, "dropped": {HOSTILE: 10}, "repaired": {}, "noted": {}}
    counts = {"precision": 0.75, "recall": 0.5, "f1": 0.6, "right": 3, "said": 4, "true": 6,
              "f1_interval_95": [0.5, 0.7]}  # fmt: skip
    scores = {kind: {"strict": {"all": counts, "set_in": counts}} for kind in KINDS}
    engines = {name: dict.fromkeys(KINDS, counts) for name in ("bert", HOSTILE)}
    gold = {"texts": 10, "absent": 0, "together": scores, "engines": engines}
    read = {**rows, "dropped": {}, "noted": {"triples": 9}}
    tables_of = {"items": rows, "texts": rows, "extraction.bert": read}
    return ReportInput(
        name=f"small {HOSTILE}",
        dataset=data,
        tables=tables,
        main_split="per_user_time",
        baselines=("popularity", "ease"),
        config={"name": HOSTILE, "cutoffs": (10, 20)},
        artifact=recommender.artifact,
        answers={user: recommender.recommend(user, k=10, explain=True) for user in users},
        deletion=DeletionTest(0.71, 0.64, 0.78, 0.02, 200, 3, {"path": 150, "follows": 50}),
        statistics=figures,
        audit={"links": {HOSTILE: link}, "tables": tables_of, "extraction": {"gold": gold}},
        data_audit=audit_dataset(data)[1],
        curves={"towers": (CurvePoint(10, 2.5, 0.1), CurvePoint(20, 2.0, 0.2))},
        timings_s={"towers": 61.0},
        terms=(HOSTILE,),
        created_at="2026-01-01T00:00:00+00:00",
    )


@pytest.fixture(scope="session")
def bare(data: Dataset) -> ReportInput:
    """A report with nothing but a dataset."""
    none = np.empty(0, dtype=np.int64)
    graph = replace(data.graph, head=none, relation=none, tail=none)
    items = replace(data.items, titles=strings([""] * data.num_items))
    empty = replace(data, name="bare", graph=graph, items=items, details={})
    return ReportInput(name="bare", dataset=empty, tables=(), main_split="per_user_time")
