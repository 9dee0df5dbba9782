"""Extractors on real overviews: precision and recall of triples on 100 marked ones, by training.

    python benchmarks/overviews.py --data ml-latest-small --work DIR --json out.json

Every extractor learns from the film corpus; more it learns from marked overviews, or from what the
graph's tables say of people who stand in an overview. Epoch, threshold and the confidence to work
at are chosen on marked overviews of their own; the 100 gold overviews are asked once for each
model, at the end. Models stay in --work and are not trained again.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

import polars as pl

from graph_etl.extraction.bert import (
    BertExtractor,
    KnownTriple,
    TrainConfig,
    silver_documents,
    train_extractor,
)
from graph_etl.extraction.config import GazetteerConfig
from graph_etl.extraction.corpora import corpus_schema, load_corpus
from graph_etl.extraction.curves import Point, point_inside, precision_recall, surer
from graph_etl.extraction.evaluation import circumstances
from graph_etl.extraction.extractor import Extractor, Request
from graph_etl.extraction.gazetteer import GazetteerExtractor
from graph_etl.extraction.gold import GoldDocument, read_gold
from graph_etl.extraction.records import Document, Extraction
from graph_etl.extraction.scoring import as_record, scores_of
from kgrec.evaluation.environment import git_commit

GOLD = Path(__file__).parent / "gold/ml-latest-small-overviews.jsonl"
OTHER = Path(__file__).parent / "gold/ml-latest-small-overviews-other.jsonl"
DEV = 100
"""The last so many of the other marked overviews choose; the rest may be learned from."""
PRECISION, RECALL = 0.85, 0.40
"""What is asked for; the confidence to work at is the one that is furthest beyond both on dev."""
CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99)
FACTS = (
    # column, entity type, relation: what the tables may say of a name that stands in an overview
    ("directors", "person", "directed_by"),
    ("cast", "person", "stars"),
    ("keywords", "place", "set_in"),
    ("keywords", "period", "set_during"),
    ("keywords", "theme", "about"),
)


@dataclass(frozen=True)
class Overviews:
    """The overviews of ml-latest-small and what is known of them.

    Attributes:
        folder: Where the data set lies.
    """

    folder: Path

    @property
    def path(self) -> Path:
        """The table."""
        return self.folder / "derived/items_joined.parquet"

    @cached_property
    def rows(self) -> pl.DataFrame:
        """Films with an overview, the id as text."""
        return (
            pl.read_parquet(self.path)
            .filter(pl.col("overview") != "")
            .with_columns(pl.col("movieId").cast(pl.String))
        )

    @cached_property
    def documents(self) -> list[Document]:
        """An overview each."""
        columns = self.rows.select("movieId", "overview", "title")
        return [
            Document(item, text, f"film:{item}", "film", title)
            for item, text, title in columns.iter_rows()
        ]

    @cached_property
    def gold(self) -> list[GoldDocument]:
        """The hundred that judge."""
        return read_gold(GOLD, self.documents)

    @cached_property
    def marked(self) -> list[GoldDocument]:
        """Others that are marked."""
        return read_gold(OTHER, self.documents)

    @cached_property
    def unmarked(self) -> list[Document]:
        """Those without marks whose text is not marked under another id either."""
        marked = {one.document.content_hash for one in (*self.gold, *self.marked)}
        return [one for one in self.documents if one.content_hash not in marked]

    @cached_property
    def facts(self) -> pl.DataFrame:
        """Columns head_id, relation, tail_id, entity_type, name, as FACTS says."""
        return pl.concat(
            self.rows.select(
                head_id=pl.format("film:{}", "movieId"), relation=pl.lit(relation), name=column
            )
            .explode("name")
            .drop_nulls("name")
            .with_columns(
                entity_type=pl.lit(kind), tail_id=pl.format("{}:{}", pl.lit(kind), "name")
            )
            for column, kind, relation in FACTS
        )

    def told_by_graph(self, documents: Sequence[Document]) -> list[Extraction]:
        """Return for each document the facts whose names stand in it, and their mentions alone."""
        names = self.facts.select(entity_id="tail_id", entity_type="entity_type", name="name")
        engine = GazetteerExtractor(
            GazetteerConfig(min_characters=3), corpus_schema("films"), names.unique(), self.facts
        )
        return [_used_alone(one) for one in answers_of(engine, documents)]


def _used_alone(extraction: Extraction) -> Extraction:
    used = sorted({one.tail for one in extraction.triples if one.tail is not None})
    mentions = tuple(extraction.mentions[place] for place in used)
    place = {old: new for new, old in enumerate(used)}
    triples = tuple(
        type(one)(None, one.relation, place[one.tail], one.evidence, one.confidence)
        for one in extraction.triples
        if one.tail is not None
    )
    return Extraction(extraction.doc_id, mentions, triples)


def answers_of(engine: Extractor, documents: Sequence[Document]) -> list[Extraction]:
    """Return what an engine says of documents, in their order."""
    requests = [Request(one) for one in documents]
    said = {one.doc_id: one.extraction for one in engine.answers(requests)}
    return [said[one.doc_id] or Extraction(one.doc_id) for one in documents]


# Ways of training -----------------------------------------------------------------------------


def train_one(arm: str, seed: int, data: Path, work: Path, settings: dict[str, Any]) -> Path:
    """Train an extractor, unless it is there; return its folder."""
    out = work / f"{arm}-{seed}"
    if out.is_dir():
        return out
    overviews = Overviews(data)
    config = TrainConfig(seed=seed, epochs=15, **settings)
    train = [*load_corpus("films", "train"), *ARMS[arm](overviews)]
    return train_extractor(
        train, overviews.marked[-DEV:], config, out, schema=corpus_schema("films")
    )


def _marked(count: int) -> Callable[[Overviews], list[GoldDocument]]:
    return lambda overviews: overviews.marked[:-DEV][:count]


def _graph(overviews: Overviews) -> list[GoldDocument]:
    """What the tables say of people: overviews in which somebody stands whom the graph knows."""
    facts = overviews.facts.filter(pl.col("entity_type") == "person")
    silver = silver_documents(
        overviews.unmarked,
        facts.select("tail_id", "entity_type", "name").unique().rows(),
        (KnownTriple(*row) for row in facts.select("head_id", "relation", "tail_id").iter_rows()),
        corpus_schema("films"),
    )
    return [one for one in silver if one.mentions]


ARMS: dict[str, Callable[[Overviews], list[GoldDocument]]] = {
    "films": _marked(0),
    "marked55": _marked(55),
    "marked110": _marked(110),
    "marked": _marked(10_000),
    "graph": _graph,
}


# Measuring -------------------------------------------------------------------------------------


def measured(folder: Path, overviews: Overviews) -> dict[str, Any]:
    """Return what a model reaches on dev and on gold, and where dev says to work."""
    dev, gold = overviews.marked[-DEV:], overviews.gold
    with BertExtractor(folder) as extractor:
        on_dev = answers_of(extractor, [one.document for one in dev])
        on_gold = answers_of(extractor, [one.document for one in gold])
        points = precision_recall(dev, on_dev, CONFIDENCES)
        chosen = point_inside(points, PRECISION, RECALL).confidence
        kept = {one.doc_id: surer(one, chosen) for one in on_gold}
        training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        return {
            "model": extractor.model,
            "documents": training["documents"],
            "training_s": training["seconds"],
            "confidence": chosen,
            "dev": [_plain(one) for one in points],
            "gold": [_plain(one) for one in precision_recall(gold, on_gold, CONFIDENCES)],
            "gold_at_confidence": as_record(scores_of(gold, kept))["triples"]["strict"],
            "gold_mentions": as_record(scores_of(gold, kept))["entities"]["strict"],
        }


def _plain(point: Point) -> dict[str, float]:
    counts = point.counts
    return {
        "confidence": point.confidence,
        "precision": round(counts.precision, 4),
        "recall": round(counts.recall, 4),
        "said": counts.said,
    }


def known_to_graph(overviews: Overviews) -> dict[str, Any]:
    """Return how many gold triples the tables know: what labels from the graph alone can hold."""
    told = overviews.told_by_graph([one.document for one in overviews.gold])
    known: Counter[str] = Counter()
    for gold, extraction in zip(overviews.gold, told, strict=True):
        said = {
            (one.relation, extraction.mentions[one.tail].span)
            for one in extraction.triples
            if one.tail is not None
        }
        known.update(
            one.relation
            for one in gold.relations
            if one.tail is not None and (one.relation, gold.mentions[one.tail].span) in said
        )
    true = Counter(one.relation for gold in overviews.gold for one in gold.relations)
    return {
        "share": round(known.total() / true.total(), 4),
        "by_relation": {name: [known[name], count] for name, count in true.most_common()},
    }


def main() -> None:
    """Train and measure; print or write one JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of ml-latest-small")
    parser.add_argument("--work", type=Path, required=True, help="folder of the trained models")
    parser.add_argument("--arms", nargs="*", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", type=int, default=3, help="of films and marked; others: one")
    parser.add_argument("--processes", type=int, default=1, help="trainings side by side")
    parser.add_argument("--threads", type=int, default=1, help="of each training")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    seeds = {arm: options.seeds if arm in ("films", "marked") else 1 for arm in options.arms}
    settings = {"threads": options.threads}
    jobs = [(arm, seed) for arm, count in seeds.items() for seed in range(count)]
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        asked = [
            pool.submit(train_one, arm, seed, options.data, options.work, settings)
            for arm, seed in jobs
        ]
        for one in asked:
            one.result()
    overviews = Overviews(options.data)
    arms = {
        arm: [measured(options.work / f"{arm}-{seed}", overviews) for seed in range(count)]
        for arm, count in seeds.items()
    }
    report = {
        "gold": {"documents": len(overviews.gold), "times_asked": len(jobs)},
        "marked": {"train": len(overviews.marked) - DEV, "dev": DEV},
        "unmarked": len(overviews.unmarked),
        "asked_for": {"precision": PRECISION, "recall": RECALL},
        "known_to_graph": known_to_graph(overviews),
        "summary": {arm: summary_of(runs) for arm, runs in arms.items()},
        "arms": arms,
        "commit": git_commit(),
        **circumstances([GOLD, OTHER, overviews.path]),
    }
    text = json.dumps(report, indent=1) + "\n"
    if options.json is None:
        print(text)
    else:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(text, encoding="utf-8")


def summary_of(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return means over seeds, at the model's own threshold and at the confidence of dev."""
    chosen = [one["gold_at_confidence"]["all"] for one in runs]
    own = [one["gold"][0] for one in runs]
    return {
        "seeds": len(runs),
        "confidence": [one["confidence"] for one in runs],
        "precision": round(mean(one["precision"] for one in chosen), 4),
        "recall": round(mean(one["recall"] for one in chosen), 4),
        "precision_at_own_threshold": round(mean(one["precision"] for one in own), 4),
        "recall_at_own_threshold": round(mean(one["recall"] for one in own), 4),
    }


if __name__ == "__main__":
    main()
