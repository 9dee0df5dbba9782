"""Towers that begin with the published ones' weights, where little changed since then.

Only the last fit may: it learns from all that the published towers learned from, and more. The
towers of the ranker's windows must not have seen what comes after their window.
"""

from __future__ import annotations

from typing import Any, Self

import polars as pl

from kgrec.artifact import Artifact
from kgrec.config import NightlyConfig
from kgrec.data.dataset import Dataset
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.interactions import Interactions
from kgrec.data.task import EvaluationTask
from kgrec.models.scorer import TrainingData
from kgrec.models.text.side import TextSide
from kgrec.models.towers import TowersScorer
from kgrec.models.towers_config import TowersConfig
from kgrec.ranking.pipeline import Pipeline

# Measured: at the full rate the first steps throw away what the weights had learned.
_RATE_SHARE = 0.2


class WarmTowers(TowersScorer):
    """Towers that begin with earlier weights when they are fitted on all events, else anew.

    With earlier weights they learn at a fifth of the rate.

    Args:
        config: Their settings.
        earlier: Fitted towers, matched by the ids of items and entities.
        num_events: Number of all events that may be learned from.
        texts: As TowersScorer takes it.
    """

    def __init__(
        self,
        config: TowersConfig,
        earlier: TowersScorer,
        num_events: int,
        texts: TextSide | None = None,
    ) -> None:
        super().__init__(config, texts=texts)
        self._earlier, self._num_events = earlier, num_events

    def fit(
        self,
        train: TrainingData,
        validation: EvaluationTask | None = None,
        warm_start: TowersScorer | None = None,
    ) -> Self:
        """Train on ``train`` and return self."""
        if warm_start is None and len(train.interactions) == self._num_events:
            warm_start = self._earlier
            rate = self.config.learning_rate * _RATE_SHARE
            self.config = self.config.model_copy(update={"learning_rate": rate})
        return super().fit(train, validation, warm_start)


def earlier_towers(
    published: Artifact | None, config: NightlyConfig, dataset: Dataset, events: Interactions
) -> TowersScorer | None:
    """Return the published towers, None where they may not be begun with.

    They may where the configuration is the same, at most ``warm_start_below`` of triples and
    interactions changed, and they learned from nothing newer than ``events``.

    Args:
        published: What stands.
        config: The night's.
        dataset: The night's graph and all interactions.
        events: Those that may be learned from.
    """
    if published is None or not config.warm_start_below:
        return None
    if not isinstance(published.scorer, Pipeline):
        return None
    towers = published.scorer.sources.get(TowersScorer.name)
    told: dict[str, Any] = published.manifest["metrics"]
    if (
        not isinstance(towers, TowersScorer)
        or published.manifest["config"] != config.model_dump(mode="json")
        or told.get("learned_until", 2**63) > events.timestamp.max(initial=0)
        or changed_share(published, dataset) > config.warm_start_below
    ):
        return None
    return towers


def changed_share(published: Artifact, dataset: Dataset) -> float:
    """Return triples that came or went and interactions more or fewer, over all there are."""
    before, now = _triples(published.graph), _triples(dataset.graph)
    ids = ["head", "relation", "tail"]
    changed = (
        before.join(now, on=ids, how="anti").height + now.join(before, on=ids, how="anti").height
    )
    changed += abs(len(dataset.interactions) - len(published.interactions))
    return changed / max(now.height + len(dataset.interactions), 1)


def _triples(graph: KnowledgeGraph) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "head": graph.entity_ids[graph.head].tolist(),
            "relation": [graph.relations[number] for number in graph.relation],
            "tail": graph.entity_ids[graph.tail].tolist(),
        },
        schema=dict.fromkeys(("head", "relation", "tail"), pl.String),
    ).unique()
