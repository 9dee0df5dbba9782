"""Items that come and go between two artifacts, on the real pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from serving_data import NUM_ITEMS, make_training_data, strings

from kgrec import Recommender, RequestError, UnknownItemError
from kgrec.artifact import publish, save_artifact
from kgrec.errors import ServingStateError
from kgrec.models.baselines import make_baseline
from kgrec.models.scorer import Scorer, TrainingData
from kgrec.models.towers import TowersScorer
from kgrec.models.towers_config import TowersConfig
from kgrec.ranking.config import PipelineConfig
from kgrec.ranking.crossfit import fit_pipeline
from kgrec.ranking.pipeline import Pipeline
from kgrec.retrieval.candidates import CandidateConfig
from kgrec.retrieval.sources import (
    ContentKernel,
    ContentKernelConfig,
    ContentRidge,
    ContentRidgeConfig,
    KgNeighbours,
    NewItems,
    TextSimilarity,
)
from kgrec.serving.answers import Recommendations
from kgrec.serving.new_items import JOURNAL

WORDS = ("tea leaf cup", "oak table chair", "wool scarf knit", "iron pan lid")


def training_data() -> TrainingData:
    train = make_training_data()
    letters = "abcdefghi"
    own = [f"row{letters[i % 8]} column{letters[i // 8]}" for i in range(NUM_ITEMS)]  # no ties
    makers = [f"maker{'abcdefghijklmnopqrst'[i // 3]}x" for i in range(NUM_ITEMS)]
    texts = [f"{WORDS[i // 15]} {makers[i]} {own[i]}" for i in range(NUM_ITEMS)]
    items = replace(train.dataset.items, texts=strings(texts))
    return replace(train, dataset=replace(train.dataset, items=items))


def make_sources() -> dict[str, Scorer]:
    return {
        "ease": make_baseline("ease", {"ridge": 20.0}),
        "kg_neighbours": KgNeighbours(),
        "content_ridge": ContentRidge(),
        "text_similarity": TextSimilarity(),
        "towers": TowersScorer(TowersConfig(embedding_dim=16, steps=20)),
    }


SOURCES_OF_CONTENT = ("content_kernel", "content_ridge")


def sources_without_towers() -> dict[str, Scorer]:
    behaviour = ContentRidgeConfig(factors=8, profile_of_behaviour=True)
    return {
        "ease": make_baseline("ease", {"ridge": 20.0}),
        "content_kernel": ContentKernel(),
        "content_ridge": ContentRidge(behaviour),
    }


@pytest.fixture(scope="module")
def pointer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    train = training_data()
    candidates = CandidateConfig(depth=20, cold_depth=5)
    pipeline = fit_pipeline(
        train, make_sources, PipelineConfig(candidates=candidates, rankers=("linear",))
    )
    root = tmp_path_factory.mktemp("pipeline")
    publish(save_artifact(root, pipeline, train), root / "current")
    return root / "current"


def load(pointer: Path, folder: Path) -> Recommender:
    return Recommender.load(pointer, state=folder / "state", event_log=folder / "log")


def ids(answer: Recommendations) -> Sequence[str]:
    return [item.item_id for item in answer]


def add_teapot(rec: Recommender) -> None:
    told = rec.add_item(
        "teapot",
        "Teapot",
        "tea leaf cup makerax",
        triples=[("made_by", "Maker 0"), ("about", "topic:Topic 0"), ("made_by", "Nobody yet")],
        numeric={"year": 2024.0},
    )
    assert told.known_entities == 2
    assert told.new_entities == ("Nobody yet",)


def test_an_added_item_is_recommended_filtered_found_and_explained(
    pointer: Path, tmp_path: Path
) -> None:
    with load(pointer, tmp_path) as rec:
        before = rec.recommend("user-1", k=10)
        add_teapot(rec)
        history = ["item-0", "item-1", "item-2"]
        assert "teapot" in ids(rec.recommend(history=history, k=10))
        only = rec.recommend(history=history, filters={"year": (2024, None)}, explain=True)
        assert ids(only) == ["teapot"]
        assert only[0].title == "Teapot"
        assert only[0].probability is not None
        assert {"towers", "kg_neighbours", "text_similarity"} & set(only[0].sources)
        assert only[0].explanation is not None
        assert "Maker 0" in only[0].explanation.text
        assert ("item:teapot", "made_by", "maker:Maker 0") in only[0].explanation.path
        assert ids(rec.recommend("nobody", filters={"made_by": "Nobody yet"})) == ["teapot"]
        assert ids(rec.search("teapot", k=1)) == ["teapot"]
        near = ids(rec.similar("teapot", k=15))
        assert len(set(near) & {f"item-{i}" for i in range(15)}) >= 10  # of its topic
        assert rec.item_vector("teapot").shape == rec.item_vector("item-0").shape
        assert len(rec.complementary("teapot")) == 0
        # those it has nothing to do with are answered as before
        after = [item for item in ids(rec.recommend("user-1", k=11)) if item != "teapot"]
        assert len(set(after[:10]) & set(ids(before))) >= 8


def test_an_added_item_is_known_by_its_content_where_there_are_no_towers(tmp_path: Path) -> None:
    train = training_data()
    settings = {
        "candidates": {"depth": 20, "cold_depth": 5, "cold_sources": SOURCES_OF_CONTENT},
        "features": {"use_entity_popularity": True},
        "windows": {"hidden_folds": 0, "cold_folds": 3},
        "rankers": ("linear",),
    }
    config = PipelineConfig.model_validate(settings)
    pipeline = fit_pipeline(train, sources_without_towers, config)
    publish(save_artifact(tmp_path, pipeline, train), tmp_path / "current")
    with load(tmp_path / "current", tmp_path) as rec:
        add_teapot(rec)
        history = ["item-0", "item-1", "item-2"]
        only = rec.recommend(history=history, filters={"year": (2024, None)})
        assert ids(only) == ["teapot"]
        assert set(only[0].sources) & set(SOURCES_OF_CONTENT)


def test_an_added_item_is_placed_by_its_numbers(tmp_path: Path) -> None:
    train = training_data()
    sources = {
        "ease": make_baseline("ease", {"ridge": 20.0}),
        "content_kernel": ContentKernel(ContentKernelConfig(ridge=1.0, number_knots=20)),
    }
    settings = {"candidates": {"cold_sources": ("content_kernel",)}, "rankers": ("linear",)}
    pipeline = fit_pipeline(train, lambda: sources, PipelineConfig.model_validate(settings))
    publish(save_artifact(tmp_path, pipeline, train), tmp_path / "current")
    with load(tmp_path / "current", tmp_path) as rec:
        for year in (1961, 1990, 2018):  # the catalogue's are 1960 to 2019, an item a year
            rec.add_item(f"new-{year}", "tea leaf cup", numeric={"year": float(year)})
        rec.add_item("undated", "tea leaf cup")
        scorer = rec.artifact.scorer
        assert isinstance(scorer, Pipeline)
        vectors = scorer.sources["content_kernel"].item_vectors()  # type: ignore[attr-defined]
        assert np.isfinite(vectors).all()
        for place, year in enumerate((1961, 1990, 2018)):
            near, far = year - 1960, (year - 1960 + 30) % NUM_ITEMS
            new = vectors[NUM_ITEMS + place] - vectors[NUM_ITEMS + 3]  # what the number alone says
            middle = vectors[:NUM_ITEMS].mean(axis=0)
            assert new @ (vectors[near] - middle) > new @ (vectors[far] - middle)


def test_an_added_item_is_drawn_with_the_new_ones_at_once(tmp_path: Path) -> None:
    train = training_data()
    settings = {"candidates": {"depth": 20, "cold_depth": 0}, "rankers": ("linear",)}
    sources = {"ease": make_baseline("ease", {"ridge": 20.0}), "new_items": NewItems()}
    pipeline = fit_pipeline(train, lambda: sources, PipelineConfig.model_validate(settings))
    publish(save_artifact(tmp_path, pipeline, train), tmp_path / "current")
    with load(tmp_path / "current", tmp_path) as rec:
        add_teapot(rec)
        found = {item.item_id: item for item in rec.recommend("user-1", k=NUM_ITEMS)}
        assert found["teapot"].sources == ("new_items",)


def test_events_of_an_added_item_count(pointer: Path, tmp_path: Path) -> None:
    with load(pointer, tmp_path) as rec:
        rec.observe("new", "teapot", value=5.0)
        assert not rec.recommend("new").personalised
        add_teapot(rec)
        answer = rec.recommend("new", k=5)
        assert answer.personalised
        assert "teapot" not in ids(answer)
        assert len(set(ids(answer)) & {f"item-{i}" for i in range(15)}) >= 3


def test_a_restart_keeps_items_until_the_artifact_has_them(pointer: Path, tmp_path: Path) -> None:
    with load(pointer, tmp_path) as rec:
        add_teapot(rec)
        rec.remove_item("item-3")
        before = rec.recommend("user-0", k=20)
    with load(pointer, tmp_path) as rec:
        assert rec.recommend("user-0", k=20) == before
        assert rec.metrics().gauges["items"] == NUM_ITEMS + 1
        train = training_data()
        items = replace(train.dataset.items, ids=strings(["teapot", *train.dataset.items.ids[1:]]))
        train = replace(train, dataset=replace(train.dataset, items=items))
        folder = save_artifact(tmp_path / "next", KgNeighbours().fit(train), train, scorers=KG)
        publish(folder, tmp_path / "next" / "current")
    with Recommender.load(folder, state=tmp_path / "state", scorers=KG) as rec:
        assert rec.metrics().gauges["items"] == NUM_ITEMS
        assert rec.artifact.items.titles[rec.row_of("teapot")] == "Item 0"
        assert "item-3" not in ids(rec.recommend("nobody", k=NUM_ITEMS))
        rec.prepare_items()
        rec.add_item("kettle", "Kettle", triples=[("made_by", "Maker 1")])
        assert "kettle" in ids(rec.recommend(history=["item-4", "item-5"], k=3))
        assert rec.check_probes() > 0  # of the artifact, which stays as it was made


KG: dict[str, type[Scorer]] = {"kg_neighbours": KgNeighbours}


def test_a_removed_item_is_gone_from_every_answer(pointer: Path, tmp_path: Path) -> None:
    with load(pointer, tmp_path) as rec:
        add_teapot(rec)
        for item in ("item-1", "teapot"):
            assert rec.remove_item(item)
            assert not rec.remove_item(item)
            for answer in (
                rec.recommend("user-0", k=100),
                rec.recommend("nobody", k=100),
                rec.similar("item-0", k=100),
                rec.complementary("item-0", k=100),
                rec.search("Item 1", k=100),
            ):
                assert item not in ids(answer)
            with pytest.raises(UnknownItemError, match=r"was removed; add it again"):
                rec.similar(item)
        with pytest.raises(UnknownItemError, match="nearest"):
            rec.remove_item("never there")
        rec.add_item("item-1", "Item 1")
        assert "item-1" in ids(rec.recommend("nobody", k=100))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"item_id": "item-0", "title": "x"}, "that the artifact does not hold, got 'item-0'"),
        ({"title": "x", "triples": [("by", "Ann")]}, "a relation out of made_by, about, got 'by'"),
        ({"title": "x", "numeric": {"price": 1.0}}, "columns out of year, got price"),
        ({"title": "x", "numeric": {"year": float("nan")}}, "got nan under 'numeric.year'"),
        ({"item_id": "", "title": "x"}, "under 'item_id'"),
        ({"title": "x", "triples": [("made_by",)]}, "under 'triples.0"),
    ],
)
def test_items_that_cannot_be_taken_change_nothing(
    pointer: Path, tmp_path: Path, item: dict[str, object], message: str
) -> None:
    with load(pointer, tmp_path) as rec:
        with pytest.raises(RequestError, match=message):
            rec.add_item(**{"item_id": "new", **item})  # type: ignore[arg-type]
        assert rec.metrics().gauges["items"] == NUM_ITEMS
        assert not (tmp_path / "state" / JOURNAL).exists()


def test_a_damaged_journal_is_refused(pointer: Path, tmp_path: Path) -> None:
    with load(pointer, tmp_path) as rec:
        rec.remove_item("item-1")
        rec.remove_item("item-2")
    file = tmp_path / "state" / JOURNAL
    content = file.read_bytes()
    file.write_bytes(content.replace(b"item-1", b"item-9"))
    with pytest.raises(ServingStateError, match=JOURNAL):
        load(pointer, tmp_path)
    file.write_bytes(content[:-3])  # the last line was never told of
    with load(pointer, tmp_path) as rec:
        assert "item-2" in ids(rec.recommend("nobody", k=100))
        assert "item-1" not in ids(rec.recommend("nobody", k=100))


def test_new_vectors_lie_beside_the_index() -> None:
    from kgrec.retrieval.delta_index import DeltaIndex
    from kgrec.retrieval.index import IndexConfig, VectorIndex

    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((60, 8)).astype(np.float32)
    queries = rng.standard_normal((4, 8)).astype(np.float32)
    whole = VectorIndex(IndexConfig(kind="flat")).build(vectors)
    delta = DeltaIndex(VectorIndex(IndexConfig(kind="flat")).build(vectors[:50]), vectors[50:])
    allowed = rng.random(60) < 0.5
    indptr = np.array([0, 3, 3, 5, 6])
    excluded = (indptr, rng.integers(0, 60, 6))
    for options in ({}, {"allowed": allowed}, {"excluded": excluded}):
        want, found = whole.search(queries, 12, **options), delta.search(queries, 12, **options)
        np.testing.assert_array_equal(found.item_idx, want.item_idx)
        np.testing.assert_allclose(found.score, want.score, rtol=1e-5)
