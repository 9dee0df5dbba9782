"""Clicks and conversions on generated impressions whose true probabilities are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_impressions import MadeImpressions, made_impressions

from kgrec.errors import DataError, NotFittedError
from kgrec.ranking.multitask import ConversionProbabilities, MultiTaskConfig, MultiTaskRanker
from kgrec.ranking.ranker import RankingRows

TRAIN, VAL, TEST = (made_impressions(*drawn) for drawn in ((800, 0), (200, 100), (200, 200)))
FORMS = {"shared bottom": (1, 0), "mmoe": (3, 0), "ple": (2, 1)}


def settings(form: str = "shared bottom", **changes: object) -> MultiTaskConfig:
    shared, own = FORMS[form]
    return MultiTaskConfig.model_validate(
        {"shared_experts": shared, "own_experts": own, "max_epochs": 20, "patience": 4}
        | {"learning_rate": 5e-3, "lists_per_batch": 16}
        | changes
    )


def clicked(made: MadeImpressions) -> RankingRows:
    return made.rows.take_rows(made.rows.label > 0)


def distance(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.abs(found - truth).mean())


@pytest.fixture(scope="module")
def esmm() -> MultiTaskRanker:
    return MultiTaskRanker(settings()).fit(TRAIN.rows, VAL.rows)


@pytest.fixture(scope="module")
def found(esmm: MultiTaskRanker) -> ConversionProbabilities:
    return esmm.probabilities(TEST.rows.values)


def test_made_clicks_are_another_population_than_what_is_shown() -> None:
    met = TEST.conversion[TEST.rows.label > 0].mean()
    assert 0.68 < met < 0.78
    assert 0.30 < TEST.conversion.mean() < 0.36


def test_entire_space_model_recovers_conversions_better_than_one_of_clicks_alone(
    found: ConversionProbabilities,
) -> None:
    naive = MultiTaskRanker(settings(learned_on="clicks", click_weight=0.0, lists_per_batch=50))
    naive.fit(clicked(TRAIN), clicked(VAL))
    alone = naive.probabilities(TEST.rows.values).conversion
    assert distance(found.conversion, TEST.conversion) < 0.14
    assert distance(alone, TEST.conversion) > 0.17
    # what clicks alone tell is too high for what is shown
    assert alone.mean() - TEST.conversion.mean() > 0.1
    assert abs(found.conversion.mean() - TEST.conversion.mean()) < 0.08
    # and so is the share of impressions that become conversions
    clicks = MultiTaskRanker(settings(learned_on="clicks", conversion_weight=0.0))
    click = clicks.fit(TRAIN.rows, VAL.rows).probabilities(TEST.rows.values).click
    truth = TEST.click * TEST.conversion
    assert distance(found.both, truth) < distance(click * alone, truth)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_sharing_learns_both_tasks(form: str) -> None:
    changes = {"dropout": 0.3, "weight_decay": 0.5}
    ranker = MultiTaskRanker(settings(form, **changes)).fit(TRAIN.rows, VAL.rows)
    found = ranker.probabilities(TEST.rows.values)
    assert np.corrcoef(found.click, TEST.click)[0, 1] > 0.85
    assert np.corrcoef(found.conversion, TEST.conversion)[0, 1] > 0.65
    np.testing.assert_allclose(found.both, found.click * found.conversion, rtol=1e-6)


def test_untrained_model_lies_outside_the_bands() -> None:
    frozen = MultiTaskRanker(settings(learning_rate=1e-9, max_epochs=1)).fit(TRAIN.rows)
    found = frozen.probabilities(TEST.rows.values)
    assert abs(np.corrcoef(found.conversion, TEST.conversion)[0, 1]) < 0.5
    assert distance(found.conversion, TEST.conversion) > 0.19


def test_scores_rank_by_what_is_asked(
    esmm: MultiTaskRanker, found: ConversionProbabilities, tmp_path: Path
) -> None:
    wanted = {"click": found.click, "conversion": found.conversion, "both": found.both}
    esmm.save(tmp_path)
    for name, probability in wanted.items():
        other = MultiTaskRanker.load(tmp_path)
        other.config = esmm.config.model_copy(update={"rank_by": name})
        scores = other.scores(TEST.rows.values)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(1 / (1 + np.exp(-scores)), probability, rtol=1e-3, atol=1e-6)


def test_save_and_load_keep_probabilities(
    esmm: MultiTaskRanker, found: ConversionProbabilities, tmp_path: Path
) -> None:
    esmm.save(tmp_path)
    loaded = MultiTaskRanker.load(tmp_path)
    np.testing.assert_array_equal(loaded.probabilities(TEST.rows.values).both, found.both)
    assert loaded.describe() == esmm.describe()


def test_same_seed_gives_the_same_scores(esmm: MultiTaskRanker) -> None:
    again = MultiTaskRanker(settings()).fit(TRAIN.rows, VAL.rows)
    values = TEST.rows.values
    np.testing.assert_array_equal(again.scores(values), esmm.scores(values))


def test_scores_row_by_row_equal_scores_of_all(esmm: MultiTaskRanker) -> None:
    values = TEST.rows.values[:20]
    alone = np.concatenate([esmm.scores(values[row : row + 1]) for row in range(20)])
    np.testing.assert_allclose(alone, esmm.scores(values), rtol=1e-4, atol=1e-5)
    assert esmm.scores(values[:0]).shape == (0,)


def test_rows_without_conversions_are_refused() -> None:
    clicks = replace(TRAIN.rows, conversion=None)
    with pytest.raises(DataError, match=r"which clicks became conversions .* RankingRows"):
        MultiTaskRanker(settings()).fit(clicks)
    with pytest.raises(NotFittedError, match="call fit"):
        MultiTaskRanker().probabilities(TEST.rows.values)
