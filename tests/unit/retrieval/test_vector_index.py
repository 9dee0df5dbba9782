"""The vector index against exact search, its filters, its measured recall and its files."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from kgrec.errors import ArtifactError, DataError, MissingDependencyError, NotFittedError
from kgrec.retrieval import faiss_module
from kgrec.retrieval.index import IndexConfig, VectorIndex
from kgrec.retrieval.index_kinds import KINDS, chosen_kind, memory_bytes, parts_of_a_code
from kgrec.retrieval.index_shards import ShardedIndex


def vectors(rows: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(12, dim))
    noise = rng.normal(size=(rows, dim))
    return (centres[rng.integers(0, 12, rows)] + 0.6 * noise).astype(np.float32)


def exact(queries: np.ndarray, items: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-(queries @ items.T), axis=1, kind="stable")[:, :k]


def test_flat_search_equals_exact_search() -> None:
    items, queries = vectors(300), vectors(20, seed=1)
    found = VectorIndex().build(items).search(queries, 10)
    np.testing.assert_array_equal(found.item_idx, exact(queries, items, 10))
    best = np.take_along_axis(queries @ items.T, found.item_idx, axis=1)
    np.testing.assert_allclose(found.score, best, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_search_returns_allowed_and_not_excluded_items_only(kind: str) -> None:
    items, queries = vectors(900), vectors(5, seed=1)
    index = VectorIndex(IndexConfig(kind=kind)).build(items, vectors(60, seed=2))
    allowed = np.arange(900) % 3 == 0
    best = exact(queries, items[allowed], 4) * 3
    excluded = (np.arange(0, 21, 4), best.ravel())
    found = index.search(queries, 30, allowed=allowed, excluded=excluded)
    assert allowed[found.item_idx[found.item_idx >= 0]].all()
    for row in range(5):
        assert not np.isin(found.item_idx[row], best[row]).any()
        assert len(set(found.item_idx[row].tolist())) == 30
    assert (np.diff(found.score, axis=1) <= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_narrow_filter_is_answered_in_full(kind: str) -> None:
    items, queries = vectors(900), vectors(5, seed=1)
    index = VectorIndex(IndexConfig(kind=kind)).build(items)
    allowed = np.zeros(900, dtype=bool)
    allowed[[3, 77, 500]] = True
    found = index.search(queries, 5, allowed=allowed)
    assert (np.sort(found.item_idx[:, :3], axis=1) == [3, 77, 500]).all()
    assert (found.item_idx[:, 3:] == -1).all()
    assert np.isneginf(found.score[:, 3:]).all()


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_build_raises_the_effort_to_the_target_recall(kind: str) -> None:
    items, queries = vectors(4000), vectors(200, seed=1)
    config = IndexConfig(kind=kind, target_recall=0.95, recall_k=20)
    index = VectorIndex(config).build(items, queries)
    assert index.description["recall"] >= 0.95
    found = index.search(queries, 20).item_idx
    best = exact(queries, items, 20)
    naive = np.mean([len(set(a) & set(b)) / 20 for a, b in zip(found, best, strict=True)])
    assert index.measured_recall(queries, 20) == pytest.approx(naive, abs=1e-3)


def test_ivf_with_one_probe_misses_some() -> None:
    items, queries = vectors(4000), vectors(100, seed=1)
    index = VectorIndex(IndexConfig(kind="ivf", target_recall=0.99)).build(items)
    before = index.measured_recall(queries, 20)
    assert before < 0.9  # the measure can tell a bad index from a good one
    assert index.tune(queries) >= 0.99


def test_auto_chooses_by_size() -> None:
    config = IndexConfig(flat_limit=100, hnsw_limit=300)
    kinds = [VectorIndex(config).build(vectors(n)).description["kind"] for n in (100, 200, 400)]
    assert kinds == ["flat", "hnsw", "ivf"]


@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load_keep_answers_and_description(kind: str, tmp_path: Path) -> None:
    items, queries = vectors(800), vectors(30, seed=1)
    index = VectorIndex(IndexConfig(kind=kind)).build(items, queries)
    index.save(tmp_path / "new")
    loaded = VectorIndex.load(tmp_path / "new")
    assert loaded.description == index.description
    before, after = index.search(queries, 10), loaded.search(queries, 10)
    np.testing.assert_array_equal(after.item_idx, before.item_idx)
    allowed = np.arange(800) < 5
    np.testing.assert_array_equal(
        loaded.search(queries, 5, allowed=allowed).item_idx,
        index.search(queries, 5, allowed=allowed).item_idx,
    )


def test_load_of_damaged_file_names_it(tmp_path: Path) -> None:
    VectorIndex().build(vectors(50)).save(tmp_path)
    (tmp_path / "index.faiss").write_bytes(b"not an index")
    with pytest.raises(ArtifactError, match=r"index\.faiss.*build it again"):
        VectorIndex.load(tmp_path)
    (tmp_path / "index.faiss").unlink()
    with pytest.raises(ArtifactError, match=r"index\.faiss.*found none"):
        VectorIndex.load(tmp_path)


def test_build_refuses_values_that_are_not_finite() -> None:
    bad = vectors(5)
    bad[2, 3] = np.nan
    with pytest.raises(DataError, match="with 1 values that are not finite"):
        VectorIndex().build(bad)


def test_search_before_build_raises() -> None:
    with pytest.raises(NotFittedError, match="call build"):
        VectorIndex().search(vectors(1), 3)


def test_search_of_no_queries_is_empty() -> None:
    found = VectorIndex().build(vectors(50)).search(np.empty((0, 16), dtype=np.float32), 3)
    assert found.item_idx.shape == (0, 3)


def test_missing_faiss_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(name)

    faiss_module.import_faiss.cache_clear()
    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(MissingDependencyError, match=r"pip install .*kgrec\[cpu\]"):
        faiss_module.import_faiss()
    faiss_module.import_faiss.cache_clear()


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_filters_equal_brute_force_when_all_is_searched(
    tmp_path: Path, kind: str, mapped: bool
) -> None:
    items, queries = vectors(900), vectors(5, seed=1)
    index = VectorIndex(IndexConfig(kind=kind, refine=64)).build(items)
    while index.search_harder():
        pass
    index.save(tmp_path)
    allowed = np.random.default_rng(3).random(900) < 0.5
    loaded = VectorIndex.load(tmp_path, mapped=mapped)
    best = np.flatnonzero(allowed)[exact(queries, items[allowed], 10)]
    for one in (index, loaded):
        found = one.search(queries, 10, allowed=allowed)
        np.testing.assert_array_equal(found.item_idx, best)
        own = np.take_along_axis(queries @ items.T, best, axis=1)
        np.testing.assert_allclose(found.score, own, rtol=1e-5)


def test_codes_find_and_whole_vectors_score(tmp_path: Path) -> None:
    items, queries = vectors(3000), vectors(80, seed=1)
    config = IndexConfig(kind="ivf_pq", code_bytes=4, refine=1, recall_k=20)
    index = VectorIndex(config).build(items, queries)
    assert index.description["recall"] >= 0.99
    assert index.description["refine"] > 1  # the codes alone do not reach it
    assert index.description["memory_bytes"] < items.nbytes / 3
    index.save(tmp_path)
    found, kept = index.search(queries, 20), VectorIndex.load(tmp_path).search(queries, 20)
    np.testing.assert_array_equal(found.item_idx, kept.item_idx)
    (tmp_path / "vectors.npy").unlink()
    with pytest.raises(ArtifactError, match=r"vectors\.npy of a vector index, found none"):
        VectorIndex.load(tmp_path)


def test_auto_goes_by_size_and_by_memory() -> None:
    config = IndexConfig(flat_limit=1000, hnsw_limit=5000)
    assert [chosen_kind(config, size, 16) for size in (1000, 5000, 5001)] == ["flat", "hnsw", "ivf"]
    tight = config.model_copy(update={"max_memory_bytes": memory_bytes(config, "ivf", 9000, 16)})
    assert chosen_kind(tight, 1000, 16) == "flat"
    assert chosen_kind(tight, 9000, 16) == "ivf"
    assert chosen_kind(tight, 9001, 16) == "ivf_pq"
    assert [parts_of_a_code(dim, 32) for dim in (64, 65, 31, 67)] == [32, 13, 31, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_shards_answer_as_one_index(tmp_path: Path, kind: str) -> None:
    items, queries = vectors(900), vectors(6, seed=1)
    config = IndexConfig(kind=kind, target_recall=1.0, recall_k=30)
    ShardedIndex.over(items, 350, config, queries).save(tmp_path)
    sharded = ShardedIndex.load(tmp_path)
    assert [len(shard.search(queries, 1).score) for shard in sharded.shards] == [6, 6, 6]
    whole = VectorIndex(IndexConfig(kind="flat")).build(items)
    allowed = np.arange(900) % 4 > 0
    best = exact(queries, items, 5)
    excluded = (np.arange(0, 31, 5), best.ravel())
    for options in ({}, {"excluded": excluded}, {"allowed": allowed, "excluded": excluded}):
        one, many = whole.search(queries, 15, **options), sharded.search(queries, 15, **options)
        np.testing.assert_array_equal(one.item_idx, many.item_idx)
        np.testing.assert_allclose(one.score, many.score, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 9, 40])
@pytest.mark.parametrize("kind", KINDS)
def test_fewer_vectors_than_numbers_are_indexed(kind: str, size: int) -> None:
    items = np.random.default_rng(0).normal(size=(size, 48)).astype(np.float32)
    config = IndexConfig(kind=kind, target_recall=1.0, recall_k=5)
    index = VectorIndex(config).build(items, items)
    assert index.description["recall"] == 1.0
    found = index.search(items, 1)
    np.testing.assert_array_equal(found.item_idx[:, 0], np.argmax(items @ items.T, axis=1))


def test_auto_gives_up_hnsw_where_vectors_share_a_direction():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(1000, 16)).astype(np.float32)
    vectors[:, 0] += 30
    queries = rng.normal(size=(50, 16)).astype(np.float32)
    hnsw = VectorIndex(IndexConfig(kind="hnsw")).build(vectors, queries)
    assert hnsw.description["recall"] < 0.5
    auto = VectorIndex(IndexConfig(flat_limit=100)).build(vectors, queries)
    assert auto.description["kind"] == "ivf"
    assert auto.measured_recall(queries) >= 0.99
