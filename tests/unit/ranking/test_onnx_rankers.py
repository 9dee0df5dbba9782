"""Torch rankers as ONNX: the same scores, files that carry them, what is said without the extra."""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from made_impressions import made_impressions
from ranking_data import histories_of, make_sources, make_train, small_config

from kgrec.errors import ConfigError, MissingDependencyError, NotFittedError
from kgrec.ranking import onnx_model
from kgrec.ranking.behaviour import Behaviour
from kgrec.ranking.cross_network import CrossNetworkConfig, CrossNetworkRanker
from kgrec.ranking.crossfit import fit_pipeline
from kgrec.ranking.linear import LinearConfig, LinearRanker
from kgrec.ranking.multitask import MultiTaskConfig, MultiTaskRanker
from kgrec.ranking.pipeline import Pipeline
from kgrec.ranking.selection import usable_rankers
from kgrec.ranking.target_attention import TargetAttentionConfig, TargetAttentionRanker
from kgrec.ranking.torch_ranker import TorchRanker

ITEMS = 30


def with_behaviour() -> tuple[np.ndarray, Behaviour]:
    rng = np.random.default_rng(0)
    history = rng.integers(-1, ITEMS, size=(len(ROWS.indptr) - 1, 7))
    behaviour = Behaviour(
        rng.integers(0, ITEMS, len(ROWS)),
        rng.random(len(ROWS)) < 0.8,
        ROWS.group_of_row,
        history,
        (rng.random(history.shape) < 0.5) & (history >= 0),
        rng.normal(size=(ITEMS, 5)).astype(np.float32),
    )
    return ROWS.values, behaviour


ROWS = made_impressions(30, 0).rows
VALUES, BEHAVIOUR = with_behaviour()
TRAIN = replace(ROWS, behaviour=BEHAVIOUR)
MAKERS: dict[str, Callable[[], TorchRanker]] = {
    "linear": lambda: LinearRanker(LinearConfig(max_epochs=2)),
    "cross_network": lambda: CrossNetworkRanker(
        CrossNetworkConfig(max_epochs=2, cross_layers=2, experts=3, stacked=True, pieces=3)
    ),
    "target_attention": lambda: TargetAttentionRanker(
        TargetAttentionConfig(max_epochs=2, use_ids=True, pieces=2)
    ),
    "multitask": lambda: MultiTaskRanker(MultiTaskConfig(max_epochs=2)),
}


@pytest.fixture(scope="module", params=MAKERS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """Return a ranker, the same one by onnxruntime, and the folder of the latter."""
    folder = tmp_path_factory.mktemp(request.param)
    ranker = MAKERS[request.param]().fit(TRAIN)
    ranker.save(folder / "torch")
    exported = type(ranker).load(folder / "torch").use_onnx()
    exported.save(folder / "onnx")
    return ranker, exported, folder / "onnx"


Both = tuple[TorchRanker, TorchRanker, Path]


def test_onnx_scores_equal_those_of_torch(both: Both) -> None:
    ranker, exported, _ = both
    for rows in (slice(0, len(VALUES)), slice(0, 1), slice(3, 45), slice(0, 0)):
        part = BEHAVIOUR.take_rows(rows)
        expected = ranker.scores(VALUES[rows], part)
        np.testing.assert_allclose(exported.scores(VALUES[rows], part), expected, atol=1e-4)
    assert np.ptp(ranker.scores(VALUES, BEHAVIOUR)) > 0.01


def test_scores_come_from_the_onnx_model(both: Both) -> None:
    ranker, exported, _ = both
    assert ranker._network is not None
    assert exported._network is not None
    changed = type(ranker).load(both[2])
    for weight in changed._network.parameters():
        weight.data.zero_()
    found = changed.scores(VALUES, BEHAVIOUR)
    np.testing.assert_array_equal(found, exported.scores(VALUES, BEHAVIOUR))


def test_file_holds_a_valid_model_that_takes_raw_features(both: Both) -> None:
    ranker, _, folder = both
    model = onnx.load(folder / "ranker.onnx")
    onnx.checker.check_model(model, full_check=True)
    names = [given.name for given in model.graph.input]
    assert names == ["features", *ranker.further_inputs]
    assert [given.name for given in model.graph.output] == ["output"]


def test_loaded_ranker_scores_as_the_exported_one(both: Both) -> None:
    ranker, exported, folder = both
    loaded = type(ranker).load(folder)
    expected = exported.scores(VALUES, BEHAVIOUR)
    np.testing.assert_array_equal(loaded.scores(VALUES, BEHAVIOUR), expected)


def test_fit_after_export_goes_back_to_torch(tmp_path: Path) -> None:
    ranker = MAKERS["linear"]().fit(TRAIN).use_onnx().fit(TRAIN)
    ranker.save(tmp_path)
    assert not (tmp_path / "ranker.onnx").exists()
    with pytest.raises(NotFittedError, match="call fit"):
        MAKERS["linear"]().use_onnx()


def test_pipeline_carries_onnx_files_and_scores_alike_after_loading(tmp_path: Path) -> None:
    train = make_train()
    changes = {"rankers": ("linear",), "linear": LinearConfig(max_epochs=3)}
    plain = fit_pipeline(train, make_sources, small_config(**changes))
    pipeline = fit_pipeline(train, make_sources, small_config(ranker_runtime="onnx", **changes))
    pipeline.save(tmp_path)
    found = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.onnx")}
    assert found == {"ranker_warm/linear/ranker.onnx", "ranker_cold/linear/ranker.onnx"}
    users = histories_of(train, list(range(20)))
    scores = pipeline.scores(users)
    np.testing.assert_array_equal(Pipeline.load(tmp_path).scores(users), scores)
    np.testing.assert_allclose(scores, plain.scores(users), atol=1e-4)


@pytest.fixture
def no_onnx(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(name: str) -> None:
        raise ImportError(name)

    onnx_model._imported.cache_clear()
    monkeypatch.setattr(importlib, "import_module", fail)
    yield
    onnx_model._imported.cache_clear()


@pytest.mark.usefixtures("no_onnx")
def test_missing_extra_is_named_before_anything_is_trained() -> None:
    with pytest.raises(MissingDependencyError, match=r"pip install \"kgrec\[onnx\]\""):
        usable_rankers(small_config(ranker_runtime="onnx"))
    with pytest.raises(MissingDependencyError, match="'onnx'"):
        MAKERS["linear"]().fit(TRAIN).use_onnx()
    assert usable_rankers(small_config()) == ("cross_network",)


def test_unknown_runtime_is_refused() -> None:
    with pytest.raises((ConfigError, ValueError), match="ranker_runtime"):
        small_config(ranker_runtime="tensorrt")
