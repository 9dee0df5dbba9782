"""The graph store contract on kglite, and what is particular to its file."""

from __future__ import annotations

import os
import subprocess
import sys

import polars as pl
import pytest
from graph_store_contract import GraphStoreContract, assert_holds, library, random_graph, write

from graph_etl.errors import ConfigError, StoreError
from graph_etl.store import open_store
from graph_etl.store.kglite_store import KgliteStore


class TestKgliteStore(GraphStoreContract):
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "graph.kgl"

    @pytest.fixture
    def store(self, path):
        with KgliteStore(path) as store:
            yield store

    @pytest.fixture
    def reopen(self, path):
        def closed_and_opened(store):
            store.close()
            return KgliteStore(path, read_only=True)

        return closed_and_opened

    def test_absent_file_for_reading_is_an_error(self, path):
        with pytest.raises(StoreError, match=r"graph\.kgl, found none; make one with"):
            KgliteStore(path, read_only=True)

    def test_absent_folder_is_an_error(self, tmp_path):
        with pytest.raises(StoreError, match=r"Expected the folder .*nowhere, found none"):
            KgliteStore(tmp_path / "nowhere" / "graph.kgl")

    @pytest.mark.parametrize("damage", ["truncated", "flipped", "no graph"])
    def test_damaged_file_is_an_error(self, store, path, damage):
        write(store, library())
        store.close()
        content = bytearray(path.read_bytes())
        if damage == "truncated":
            del content[-20:]
        elif damage == "flipped":
            content[len(content) // 2] ^= 1
        else:
            content[:] = b"no graph at all"
        path.write_bytes(content)
        for read_only in (True, False):
            with pytest.raises(StoreError, match=r"Expected a kglite graph in .*graph\.kgl, got"):
                KgliteStore(path, read_only=read_only)

    def test_second_writer_is_refused(self, store, path):
        with pytest.raises(StoreError, match="only writer"):
            KgliteStore(path)
        store.close()
        KgliteStore(path).close()

    def test_reader_keeps_the_version_it_opened(self, store, path):
        write(store, library())
        with KgliteStore(path, read_only=True) as reader:
            write(store, random_graph(1), delete_missing=True)
            assert_holds(reader, library())
        with KgliteStore(path, read_only=True) as reader:
            assert_holds(reader, random_graph(1))

    def test_unchanged_write_leaves_the_file_alone(self, store, path):
        write(store, library())
        before = path.stat().st_mtime_ns, path.read_bytes()
        write(store, library())
        store.close()
        assert (path.stat().st_mtime_ns, path.read_bytes()) == before

    def test_failed_write_leaves_the_store_as_it_was(self, store, path, monkeypatch):
        write(store, library())
        before = path.read_bytes()
        monkeypatch.setattr("graph_etl.store.kglite_store._total", lambda stats: list(stats))
        with pytest.raises(StoreError, match="Expected the store to report"):
            write(store, random_graph(0), delete_missing=True)
        assert_holds(store, library())
        assert path.read_bytes() == before

    def test_killed_writer_leaves_the_old_file(self, store, path):
        write(store, library())
        store.close()
        script = (
            "import sys, os\n"
            "from graph_store_contract import random_graph, write\n"
            "from graph_etl.store.kglite_store import KgliteStore\n"
            "import graph_etl.store.kglite_store as module\n"
            "store = KgliteStore(sys.argv[1])\n"
            "module._total = lambda stats: [list(stats), os._exit(9)]\n"
            "write(store, random_graph(0), delete_missing=True)\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", script, str(path)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
        assert ended.returncode == 9
        with KgliteStore(path) as again:
            assert_holds(again, library())
            write(again, random_graph(0), delete_missing=True)
            assert_holds(again, random_graph(0))

    def test_engine_refuses_files_without_the_text_guard(self, store, monkeypatch):
        monkeypatch.setattr("graph_etl.store.cypher_store.checked_read_only", lambda text: text)
        with pytest.raises(StoreError, match="reads a file"):
            store.query("LOAD CSV FROM 'file:///etc/hostname' AS line RETURN line")

    def test_unknown_label_is_remarked_not_printed(self, store, capfd):
        write(store, library())
        found = store.query("MATCH (n:bok) RETURN n")
        assert "bok" in found.warnings[0]
        assert capfd.readouterr() == ("", "")

    def test_large_batches_are_split(self, store, monkeypatch):
        monkeypatch.setattr("graph_etl.store.change_statements.BATCH_ROWS", 7)
        tables = random_graph(5, num_entities=60, num_triples=200)
        write(store, tables)
        assert_holds(store, tables)
        write(store, library(), delete_missing=True)
        assert_holds(store, library())

    def test_open_store_by_name(self, tmp_path):
        with open_store("kglite", tmp_path) as store:
            write(store, library())
        with open_store("kglite", tmp_path, read_only=True) as store:
            assert store.counts().entities["book"] == 3
        with pytest.raises(ConfigError, match="got 'oracle'"):
            open_store("oracle", tmp_path)

    def test_confidence_survives_as_float32(self, store):
        tables = library()
        thirds = tables.triples.with_columns(confidence=pl.lit(1 / 3, dtype=pl.Float32))
        store.write(tables.entities, tables.relation_types, thirds)
        assert store.export().triples["confidence"].unique().to_list() == [
            pl.Series([1 / 3], dtype=pl.Float32)[0]
        ]
