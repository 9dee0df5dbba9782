"""Random shops: nothing is lost in silence, order does not matter, what is written is read."""

import string
import tempfile
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_etl.dataset_config import DatasetConfig
from graph_etl.pipeline import build
from graph_etl.snapshot import TABLES, load_snapshot, write_snapshot
from graph_etl.table_config import TableConfig
from graph_etl.tables import TableReader

CONFIG = DatasetConfig.model_validate(
    {
        "name": "random",
        "items": {
            "table": "items",
            "id": "id",
            "entity_type": "thing",
            "attributes": [
                {"column": "tags", "relation": "has_tag", "entity_type": "tag", "separator": "|"},
                {"column": "like", "relation": "is_like", "references": "items"},
            ],
        },
        "interactions": {
            "table": "log",
            "user": "user",
            "item": "item",
            "value": "value",
            "timestamp": "at",
            "positive": {"min_value": 0},
            "bad_timestamps": "drop",
        },
    }
)
ids = st.sampled_from(["a", "b", "c", "d", " a", "e ", ""])
words = st.text(string.ascii_letters + " |éß\u00a0\U0001d4d0", max_size=6)
items = st.lists(
    st.tuples(words, words, ids), min_size=1, max_size=6
).map(lambda rows: [(f"i{n}", *row) for n, row in enumerate(rows)])  # fmt: skip
numbers = st.sampled_from(["1", "-2.5", "nan", "", "x", "1e3"])
rows = st.lists(st.tuples(ids, st.sampled_from(["i0", "i1", "i9", ""]), numbers, numbers))


def frames(catalogue, log):
    return {
        "items": pl.DataFrame(
            catalogue, schema=dict.fromkeys(("id", "title", "tags", "like"), pl.String),
            orient="row",
        ),
        "log": pl.DataFrame(
            log, schema=dict.fromkeys(("user", "item", "value", "at"), pl.String), orient="row"
        ),
    }  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(catalogue=items, log=rows)
def test_every_row_of_a_random_shop_is_accounted_for(catalogue, log):
    log = [*log, ("u", "i0", "1", "5")]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        result = build(CONFIG, out=out, sources=frames(catalogue, log))
        again = load_snapshot(result.pointer)
        for name in TABLES:
            assert getattr(again, name).equals(getattr(result.snapshot, name))
        counts = result.audit["tables"]
        assert counts["items"]["rows_in"] == len(catalogue) == again.items.height
        assert counts["interactions"]["rows_in"] == len(log)
        assert counts["interactions"]["rows_kept"] == again.interactions.height
        assert counts["triples"]["rows_kept"] == again.triples.height
        for table in counts.values():
            assert table["rows_in"] == table["rows_kept"] + sum(table["dropped"].values())
        assert again.entities["entity_id"].is_unique().all()
        assert again.triples.select("head_idx", "relation_idx", "tail_idx").is_unique().all()


@settings(max_examples=15, deadline=None)
@given(catalogue=items, log=rows, seed=st.integers(0, 99))
def test_the_graph_does_not_depend_on_the_order_of_interactions(catalogue, log, seed):
    log = [*log, ("u", "i0", "1", "5")]
    shuffled = pl.DataFrame({"n": range(len(log))}).sample(fraction=1, shuffle=True, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        one = build(CONFIG, out=Path(folder) / "a", sources=frames(catalogue, log)).snapshot
        other = [log[n] for n in shuffled["n"]]
        two = build(CONFIG, out=Path(folder) / "b", sources=frames(catalogue, other)).snapshot
        for name in ("entities", "relation_types", "triples", "items", "users"):
            assert getattr(one, name).equals(getattr(two, name))
        rows_of = ["user_idx", "item_idx", "value", "timestamp"]
        assert sorted(one.interactions.select(rows_of).rows(), key=str) == sorted(
            two.interactions.select(rows_of).rows(), key=str
        )


cells = st.text(
    st.characters(blacklist_characters='\n\r"\x00,\t\ufeff', blacklist_categories=("Cs",)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(table=st.lists(st.tuples(cells, cells), min_size=1, max_size=5),
       ending=st.sampled_from([".csv", ".tsv", ".parquet", ".jsonl"]))  # fmt: skip
def test_a_written_table_is_read_as_it_was(table, ending):
    frame = pl.DataFrame(table, schema={"a": pl.String, "b": pl.String}, orient="row")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t{ending}"
        if ending == ".parquet":
            frame.write_parquet(path)
        elif ending == ".jsonl":
            frame.write_ndjson(path)
        else:
            separator = "," if ending == ".csv" else "\t"
            frame.write_csv(path, separator=separator, quote_style="never")
        assert TableReader(Path(folder)).read(TableConfig(path=path.name)).frame.equals(frame)


@settings(max_examples=15, deadline=None)
@given(
    names=st.lists(cells, min_size=1, max_size=5),
    links=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8),
)
def test_snapshots_are_read_back_as_written(names, links):
    size = len(names)
    links = [(head % size, tail % size) for head, tail in links]
    plain = {"entity_idx": range(size), "entity_id": [f"t:{i}" for i in range(size)],
             "entity_type": ["t"] * size, "name": names}  # fmt: skip
    tables = {name: pl.DataFrame(schema=dict(columns)) for name, columns in TABLES.items()}
    tables["entities"] = pl.DataFrame(plain, schema=dict(TABLES["entities"]))
    tables["relation_types"] = pl.DataFrame(
        [(0, "r", "t", "t", "is")], schema=dict(TABLES["relation_types"]), orient="row"
    )
    tables["triples"] = pl.DataFrame(
        [(head, 0, tail, "s", "d", "table", 1.0, "run") for head, tail in links],
        schema=dict(TABLES["triples"]),
        orient="row",
    )
    with tempfile.TemporaryDirectory() as folder:
        snapshot = write_snapshot(tables, Path(folder), {})
        assert all(getattr(snapshot, name).equals(tables[name]) for name in TABLES)
        assert write_snapshot(tables, Path(folder), {}).path == snapshot.path
