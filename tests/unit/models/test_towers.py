"""The towers as a whole: they learn, serve cold items, resume, and come back from disk."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from towers_data import NUM_ITEMS, NUM_USERS, cold_task, make_tiny_bert, planted, recall

from kgrec.data.histories import HistoryBatch
from kgrec.data.task import EvaluationTask
from kgrec.errors import ArtifactError, ConfigError, NotFittedError
from kgrec.models.scorer import TrainingData
from kgrec.models.towers import TowersScorer
from kgrec.models.towers_config import TowersConfig

SMALL = TowersConfig(
    embedding_dim=16, steps=60, users_per_step=120, hidden_items=0.3, threads=1, device="cpu"
)
UNTRAINED = SMALL.model_copy(update={"steps": 1, "learning_rate": 1e-9})


@pytest.fixture(scope="module")
def train() -> TrainingData:
    return planted()


@pytest.fixture(scope="module")
def fitted(train: TrainingData) -> TowersScorer:
    return TowersScorer(SMALL).fit(train)


def _warm_task(train: TrainingData) -> EvaluationTask:
    """Return the question which warm items of their taste users have not seen."""
    users = np.arange(NUM_USERS)
    histories = HistoryBatch.from_interactions(train.interactions, users)
    seen = histories.matrix(NUM_ITEMS, positive_only=False).toarray() > 0
    wanted = [
        [item for item in range(64) if item % 4 == user % 4 and not seen[user, item]]
        for user in users
    ]
    indptr = np.cumsum([0] + [len(items) for items in wanted])
    allowed = np.arange(NUM_ITEMS) < 64
    return EvaluationTask("planted/warm", histories, indptr, np.concatenate(wanted), allowed)


def _masked_recall(scorer: TowersScorer, task: EvaluationTask, k: int) -> float:
    scores = scorer.scores(task.histories)
    scores[task.histories.row_of_event, task.histories.item_idx] = -1e9
    return recall(scores, task, k)


def test_loss_falls_while_training(fitted: TowersScorer) -> None:
    losses = [point.loss for point in fitted.curve]
    assert [point.step for point in fitted.curve] == [20, 40, 60]
    assert losses[0] > max(losses[1:]) + 0.3
    assert losses[2] < np.log(NUM_ITEMS / 4) + 0.4  # it knows the taste: a fourth of the items


def test_fitted_towers_lie_in_the_accuracy_band_and_untrained_ones_do_not(
    fitted: TowersScorer, train: TrainingData
) -> None:
    task = _warm_task(train)  # six right answers among some 51
    low, high = 0.85, 1.0
    assert low < _masked_recall(fitted, task, 6) <= high
    untrained = TowersScorer(UNTRAINED.model_copy(update={"use_interaction_graph": False}))
    shuffled = replace(train, graph=train.graph.ablated("off", 0))
    assert _masked_recall(untrained.fit(shuffled), task, 6) < low - 0.2


def test_cold_items_are_found_by_their_triples(fitted: TowersScorer, train: TrainingData) -> None:
    task = cold_task(train)  # random: .25
    assert recall(fitted.scores(task.histories), task) > 0.8
    without = replace(train, graph=train.graph.ablated("off", 0))
    blind = TowersScorer(SMALL).fit(without)
    assert recall(blind.scores(task.histories), task) < 0.45


def test_cold_items_are_found_by_their_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KGREC_CACHE_DIR", str(tmp_path / "cache"))
    bert = make_tiny_bert(tmp_path / "bert")
    train = planted(texts=True, triples=False)
    config = SMALL.model_copy(update={"text_model": str(bert), "steps": 100})
    scorer = TowersScorer(config).fit(train)
    assert recall(scorer.scores(cold_task(train).histories), cold_task(train)) > 0.8
    assert scorer.describe()["text"] == "on"


def test_describe_states_that_text_is_off(fitted: TowersScorer) -> None:
    assert fitted.describe()["text"] == "off"
    assert fitted.describe()["best_steps"] == 60


def test_scores_are_the_inner_product_of_vectors(fitted: TowersScorer, train: TrainingData) -> None:
    histories = cold_task(train).histories
    users, items = fitted.user_vectors(histories), fitted.item_vectors()
    assert users.shape == (NUM_USERS, 17)
    assert items.shape == (NUM_ITEMS, 17)
    assert users.dtype == items.dtype == np.float32
    np.testing.assert_allclose(users @ items.T, fitted.scores(histories), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(items[:, :-1], axis=1), 1.0, rtol=1e-4)
    np.testing.assert_allclose(users[:, -1], 1.0)


def test_two_fits_give_the_same_numbers_and_another_seed_does_not(
    fitted: TowersScorer, train: TrainingData
) -> None:
    state = torch.random.get_rng_state()
    again = TowersScorer(SMALL).fit(train)
    assert torch.equal(torch.random.get_rng_state(), state)  # the caller's draws are untouched
    np.testing.assert_array_equal(again.item_vectors(), fitted.item_vectors())
    other = TowersScorer(SMALL.model_copy(update={"steps": 20})).fit(replace(train, seed=9))
    assert not np.allclose(other.item_vectors(), fitted.item_vectors())


class _KilledError(Exception):
    """Stands for the end of the process in the middle of training."""


def test_killed_fit_goes_on_with_the_numbers_of_an_uninterrupted_one(
    train: TrainingData, tmp_path: Path
) -> None:
    task = _warm_task(train)
    steps: list[int] = []

    def die_at_40(step: int, total: int, loss: float) -> None:
        steps.append(step)
        if step == 40:
            raise _KilledError

    whole = TowersScorer(SMALL).fit(train, task)
    with pytest.raises(_KilledError):
        TowersScorer(SMALL, checkpoint_dir=tmp_path, progress=die_at_40).fit(train, task)
    assert len(list(tmp_path.glob("*.ckpt"))) == 1
    resumed = TowersScorer(
        SMALL, checkpoint_dir=tmp_path, progress=lambda step, *_: steps.append(step)
    ).fit(train, task)
    assert steps == [20, 40, 60]
    np.testing.assert_array_equal(resumed.item_vectors(), whole.item_vectors())
    assert resumed.curve == whole.curve
    assert not list(tmp_path.iterdir())


def test_checkpoint_of_another_run_is_left_alone(train: TrainingData, tmp_path: Path) -> None:
    def die(step: int, total: int, loss: float) -> None:
        raise _KilledError

    with pytest.raises(_KilledError):
        TowersScorer(SMALL, checkpoint_dir=tmp_path, progress=die).fit(train)
    config = SMALL.model_copy(update={"steps": 20})
    scorer = TowersScorer(config, checkpoint_dir=tmp_path).fit(train)
    assert [point.step for point in scorer.curve] == [20]
    assert len(list(tmp_path.glob("*.ckpt"))) == 1


def test_validation_chooses_the_step_and_refit_repeats_it(train: TrainingData) -> None:
    config = SMALL.model_copy(update={"steps": 200, "eval_every_steps": 10, "patience": 2})
    chosen = TowersScorer(config).fit(train, _warm_task(train))
    best = max(chosen.curve, key=lambda point: point.ndcg or 0.0)
    assert chosen.best_steps == best.step
    assert chosen.curve[-1].step == min(best.step + 20, 200)
    refit = TowersScorer(chosen.refit_config()).fit(train)
    assert refit.best_steps == chosen.best_steps
    np.testing.assert_allclose(refit.item_vectors(), chosen.item_vectors(), atol=1e-6)


def test_warm_start_needs_fewer_steps(fitted: TowersScorer, train: TrainingData) -> None:
    short = SMALL.model_copy(update={"warm_start_steps": 5, "learning_rate": 1e-3})
    warm = TowersScorer(short).fit(train, warm_start=fitted)
    fresh = TowersScorer(short.model_copy(update={"steps": 5})).fit(train)
    assert warm.curve[-1].step == 5
    assert warm.curve[-1].loss < fresh.curve[-1].loss - 0.3


def test_warm_start_matches_items_by_id(fitted: TowersScorer, train: TrainingData) -> None:
    items = train.dataset.items
    renamed = items.ids.copy()
    renamed[3] = "new"
    dataset = replace(train.dataset, items=replace(items, ids=renamed))
    still = SMALL.model_copy(update={"warm_start_steps": 1, "learning_rate": 1e-9})
    scorer = TowersScorer(still).fit(replace(train, dataset=dataset), warm_start=fitted)
    old, new = (model._state.weights["items.ids"] for model in (fitted, scorer))
    same = np.isclose(old.numpy(), new.numpy(), atol=1e-6).all(axis=1)
    assert np.flatnonzero(~same).tolist() == [3]


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence": "gru"},
        {"sequence": "off", "use_profile": False},
        {"graph_layers": 0, "use_interaction_graph": False},
        {"max_softmax_items": 10, "sampled_items": 40},
        {"embedding_dim": 15},
    ],
)
def test_other_settings_learn_too(train: TrainingData, changes: dict[str, object]) -> None:
    scorer = TowersScorer(SMALL.model_copy(update=changes)).fit(train)
    assert _masked_recall(scorer, _warm_task(train), 6) > 0.6


def test_save_and_load_keep_scores_and_need_no_training_code(
    fitted: TowersScorer, train: TrainingData, tmp_path: Path
) -> None:
    fitted.save(tmp_path)
    loaded = TowersScorer.load(tmp_path)
    histories = cold_task(train).histories
    np.testing.assert_array_equal(loaded.scores(histories), fitted.scores(histories))
    assert loaded.describe() == fitted.describe()
    assert loaded.curve == fitted.curve
    code = (
        "import sys; from pathlib import Path; from kgrec.models.towers import TowersScorer; "
        f"TowersScorer.load(Path({str(tmp_path)!r})); "
        "assert not {'lightning', 'transformers', 'torch_geometric'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_loaded_towers_can_start_a_new_fit(fitted: TowersScorer, train: TrainingData) -> None:
    short = SMALL.model_copy(update={"warm_start_steps": 2})
    assert TowersScorer(short).fit(train, warm_start=fitted).best_steps == 2


def test_damaged_folders_are_refused(fitted: TowersScorer, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="Expected saved towers in"):
        TowersScorer.load(tmp_path)
    fitted.save(tmp_path)
    arrays = (tmp_path / "arrays.safetensors").read_bytes()
    (tmp_path / "arrays.safetensors").write_bytes(arrays[: len(arrays) // 2])
    with pytest.raises(ArtifactError, match="Expected the arrays of 'towers'"):
        TowersScorer.load(tmp_path)
    (tmp_path / "arrays.safetensors").write_bytes(arrays)
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**content, "schema_version": 99}))
    with pytest.raises(ArtifactError, match=r"Expected a schema version out of \(1, 2\), got 99"):
        TowersScorer.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**content, "name": "ease"}))
    with pytest.raises(ArtifactError, match="Expected a saved 'towers'"):
        TowersScorer.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**content, "config": {"wrong": 1}}))
    with pytest.raises(ArtifactError, match="Expected the settings of 'towers'"):
        TowersScorer.load(tmp_path)


def test_unfitted_towers_say_so() -> None:
    with pytest.raises(NotFittedError, match="call fit or load"):
        TowersScorer().item_vectors()


def test_data_without_two_likes_of_one_user_is_refused(train: TrainingData) -> None:
    none = train.interactions.take(~train.interactions.positive)
    with pytest.raises(ConfigError, match="two positive train interactions"):
        TowersScorer(SMALL).fit(replace(train, interactions=none))


def test_diverged_training_is_refused(train: TrainingData) -> None:
    wild = SMALL.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(ConfigError, match="lower learning_rate"):
        TowersScorer(wild).fit(train)


def test_config_refuses_unknown_fields() -> None:
    with pytest.raises(ValidationError):
        TowersConfig.model_validate({"embeding_dim": 64})
