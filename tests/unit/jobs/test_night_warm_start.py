"""When a night's towers begin with the published weights, and that windows never do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ranking_data import make_train, small_config

from kgrec.artifact import Artifact, ArtifactDetails, load_artifact, save_artifact
from kgrec.config import NightlyConfig
from kgrec.data.dataset import Dataset
from kgrec.jobs.night_warm_start import WarmTowers, changed_share, earlier_towers
from kgrec.models.scorer import TrainingData
from kgrec.models.towers import TowersScorer
from kgrec.models.towers_config import TowersConfig
from kgrec.ranking.crossfit import fit_pipeline

TOWERS = TowersConfig(embedding_dim=4, steps=3, warm_start_steps=1, users_per_step=16, device="cpu")
CONFIG = NightlyConfig(dataset="x", towers=TOWERS, warm_start_below=0.05)
TRAIN = make_train()
UNTIL = int(TRAIN.interactions.timestamp.max())


def dataset_of(train: TrainingData) -> Dataset:
    return replace(train.dataset, graph=train.graph, interactions=train.interactions)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    pipeline = fit_pipeline(
        TRAIN, lambda: {"towers": TowersScorer(TOWERS)}, small_config(rankers=("linear",))
    )
    details = ArtifactDetails(
        config=CONFIG.model_dump(mode="json"), metrics={"learned_until": UNTIL}
    )
    root: Path = tmp_path_factory.mktemp("published")
    return load_artifact(save_artifact(root, pipeline, TRAIN, details))


def found(
    published: Artifact | None, config: NightlyConfig = CONFIG, train: TrainingData = TRAIN
) -> TowersScorer | None:
    return earlier_towers(published, config, dataset_of(train), train.interactions)


def fewer(train: TrainingData, share: float) -> TrainingData:
    rows = np.arange(int(len(train.interactions) * (1 - share)))
    return replace(train, interactions=train.interactions.take(rows))


def test_little_change_begins_with_the_published_weights(published: Artifact) -> None:
    assert isinstance(found(published), TowersScorer)
    assert found(None) is None


def test_another_configuration_begins_anew(published: Artifact) -> None:
    assert found(published, CONFIG.model_copy(update={"encoder": "off"})) is None
    assert found(published, CONFIG.model_copy(update={"warm_start_below": 0.0})) is None


def test_much_change_begins_anew(published: Artifact) -> None:
    graph = replace(TRAIN.graph, tail=np.roll(TRAIN.graph.tail, 1))
    changed = replace(TRAIN, graph=graph)
    assert changed_share(published, dataset_of(TRAIN)) == 0
    assert changed_share(published, dataset_of(changed)) > 0.05
    assert found(published, train=changed) is None
    assert changed_share(published, dataset_of(fewer(TRAIN, 0.5))) > 0.4


def test_a_model_that_knows_newer_events_is_not_begun_with(published: Artifact) -> None:
    older = TRAIN.interactions.timestamp < UNTIL
    train = replace(TRAIN, interactions=TRAIN.interactions.take(np.flatnonzero(older)))
    assert found(published, train=train) is None


def test_only_the_fit_on_all_events_begins_with_earlier_weights(published: Artifact) -> None:
    earlier = found(published)
    assert earlier is not None
    num_events = len(TRAIN.interactions)
    whole = WarmTowers(TOWERS, earlier, num_events).fit(TRAIN)
    slower = TOWERS.model_copy(update={"learning_rate": TOWERS.learning_rate * 0.2})
    warm = TowersScorer(slower).fit(TRAIN, warm_start=earlier)
    assert np.array_equal(whole.item_vectors(), warm.item_vectors())
    window = fewer(TRAIN, 0.3)
    part = WarmTowers(TOWERS, earlier, num_events).fit(window)
    anew = TowersScorer(TOWERS).fit(window)
    assert np.array_equal(part.item_vectors(), anew.item_vectors())
    assert not np.array_equal(whole.item_vectors(), TowersScorer(TOWERS).fit(TRAIN).item_vectors())
