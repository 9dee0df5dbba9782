import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import shop_tables
import yaml

from graph_etl.errors import ConfigError, DataError, SchemaViolationError, StoreError
from graph_etl.pipeline import build, open_dataset
from graph_etl.snapshot import load_snapshot


@pytest.fixture
def shop(tmp_path):
    return shop_tables.write(tmp_path / "shop")


@pytest.fixture
def result(shop, tmp_path):
    return build(shop_tables.config(), out=tmp_path / "out", data=shop)


def names(snapshot):
    """Triples in words: head name, relation, tail name, source, doc_id."""
    entity = snapshot.entities["name"].to_list()
    relation = snapshot.relation_types["relation"].to_list()
    return [
        (entity[t["head_idx"]], relation[t["relation_idx"]], entity[t["tail_idx"]], t["source"],
         t["doc_id"])
        for t in snapshot.triples.iter_rows(named=True)
    ]  # fmt: skip


def test_a_shop_becomes_a_snapshot(result):
    snapshot = load_snapshot(result.pointer)
    assert result.changed
    assert snapshot.snapshot_id == result.snapshot.snapshot_id
    assert snapshot.items["item_id"].to_list() == ["b1", "b2", "b3", "b4"]
    assert snapshot.items["title"].to_list() == ["Dune", "Emma", "Persuasion", "b4"]
    assert snapshot.items["numeric.pages"].to_list() == [412.0, 474.0, None, None]
    assert snapshot.items["text"].to_list() == [
        "Dune. A planet of sand. About: desert, politics",
        "Emma. About: love",
        "Persuasion. Second chances. About: love, the sea",
        "Unknown pages",
    ]
    assert snapshot.items["attribute.is_about"].to_list()[0] == ["desert", "politics"]
    # the entity's name, not the spelling of the row
    assert snapshot.items["attribute.written_by"].to_list()[2] == ["Jane Austen"]
    assert snapshot.users["user_id"].to_list() == ["u1", "u2", "u9", "u3"]
    assert snapshot.users["profile_text"].to_list() == [
        "31 years old. lives in Graz",
        "lives in Oslo",
        "40 years old",
        "",
    ]
    assert snapshot.users["attribute.city"].to_list() == ["Graz", "Oslo", "", ""]
    assert snapshot.interactions.select(
        "user_idx", "item_idx", "event", "value", "timestamp", "positive"
    ).rows() == [
        (0, 0, "rating", 5.0, 100, True),
        (0, 1, "rating", 2.0, 200, False),
        (1, 0, "rating", 4.0, 150, True),
        (3, 2, "rating", 3.0, 300, False),
        (0, 3, "rating", 5.0, 400, True),
    ]


def test_triples_tell_where_they_come_from(result):
    assert names(result.snapshot) == [
        ("Dune", "written_by", "Frank Herbert", "books.csv:author", "b1"),
        ("Dune", "is_about", "desert", "books.csv:subjects", "b1"),
        ("Dune", "is_about", "politics", "books.csv:subjects", "b1"),
        ("Emma", "written_by", "Jane Austen", "books.csv:author", "b2"),
        ("Emma", "is_about", "love", "books.csv:subjects", "b2"),
        ("Persuasion", "written_by", "Jane Austen", "books.csv:author", "b3"),
        ("Persuasion", "is_about", "love", "books.csv:subjects", "b3"),
        ("Persuasion", "is_about", "the sea", "books.csv:subjects", "b3"),
    ]
    triples = result.snapshot.triples
    assert set(triples["engine"]) == {"table"}
    assert set(triples["confidence"]) == {1.0}
    assert set(triples["run_id"]) == set(result.snapshot.manifest["run_ids"])
    phrases = result.snapshot.relation_types["phrase"].to_list()
    assert phrases == ["was written by", "is about"]


def test_every_row_is_accounted_for(result):
    tables = result.audit["tables"]
    assert tables["interactions"] == {
        "rows_in": 8,
        "rows_kept": 5,
        "dropped": {"empty user id": 1, "exact duplicate": 1, "unknown item": 1},
        "repaired": {},
        "noted": {"unknown items": 1, "positive": 3},
    }
    assert tables["items"]["repaired"] == {
        "empty title, the id stands for it": 1,
        "no finite number in 'pages', left unknown": 2,
    }
    assert tables["users"]["noted"] == {"added from the interactions": 1}
    assert tables["attributes.books.csv.written_by"]["dropped"] == {"missing-value word": 1}
    for counts in tables.values():
        assert counts["rows_in"] == counts["rows_kept"] + sum(counts["dropped"].values())
    assert result.snapshot.manifest["audit"] == result.audit
    assert result.snapshot.manifest["dataset"]["license"] == "CC0-1.0"
    assert result.snapshot.manifest["dataset"]["positive"] == {"min_value": 4.0}
    assert set(result.snapshot.manifest["inputs"]) == {"books.csv", "readers.csv", "orders.csv"}


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_second_run_writes_nothing(result, shop, tmp_path):
    before = files(tmp_path / "out")
    again = build(shop_tables.config(), out=tmp_path / "out", data=shop)
    assert not again.changed
    assert files(tmp_path / "out") == before


def test_the_same_input_gives_the_same_bytes_in_another_process(result, shop, tmp_path):
    (shop / "dataset.yaml").write_text(yaml.safe_dump(shop_tables.content()))
    code = (
        "import sys; from pathlib import Path; from graph_etl import build\n"
        "print(build(Path(sys.argv[1]), out=Path(sys.argv[2])).snapshot.snapshot_id)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(shop / "dataset.yaml"), str(tmp_path / "other")],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[3]), "POLARS_MAX_THREADS": "1"},
    )
    assert run.stdout.strip() == result.snapshot.snapshot_id


def test_new_interactions_leave_the_graph_files_alone(result, shop, tmp_path):
    shop_tables.write(shop, orders=shop_tables.ORDERS + "u2,b2,5,500\n")
    again = build(shop_tables.config(), out=tmp_path / "out", data=shop)
    old, new = result.snapshot.manifest, again.snapshot.manifest
    assert again.changed
    assert new["parent"] == old["snapshot_id"]
    same = {name for name in old["files"] if old["files"][name] == new["files"][name]}
    assert same == {"entities", "relation_types", "triples", "items", "users"}


def test_a_damaged_snapshot_is_built_again(result, shop, tmp_path):
    file = result.snapshot.path / "triples.parquet"
    file.write_bytes(file.read_bytes()[:-7])
    again = build(shop_tables.config(), out=tmp_path / "out", data=shop)
    assert again.snapshot.snapshot_id == result.snapshot.snapshot_id
    assert load_snapshot(result.pointer).triples.height == 8


def test_frames_from_python_need_no_files(tmp_path):
    books = pl.DataFrame({"isbn": ["b1"], "title": ["Dune"], "tags": [["sand", "spice"]]})
    orders = pl.DataFrame({"user_id": [1, 2], "isbn": ["b1", "b1"]})
    config = {
        "name": "frames",
        "items": {
            "table": "books",
            "id": "isbn",
            "entity_type": "book",
            "attributes": [{"column": "tags", "relation": "has_tag", "entity_type": "tag"}],
        },
        "interactions": {"table": "orders", "item": "isbn"},
    }
    from graph_etl import dataset_config_from

    result = build(
        dataset_config_from(config, "the test"),
        out=tmp_path,
        sources={"books": books, "orders": orders},
    )
    assert [row[:3] for row in names(result.snapshot)] == [
        ("Dune", "has_tag", "sand"),
        ("Dune", "has_tag", "spice"),
    ]
    assert result.snapshot.interactions["positive"].all()
    assert result.snapshot.interactions["timestamp"].null_count() == 2


def test_progress_is_told_in_order_and_nothing_is_printed(shop, tmp_path, capsys):
    told = []
    build(shop_tables.config(), out=tmp_path / "out", data=shop,
          progress=lambda what, share: told.append((what, share)))  # fmt: skip
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert capsys.readouterr() == ("", "")


class RecordingStore:
    def __init__(self, error=None):
        self.written, self.error = [], error

    def write(self, entities, relation_types, triples, **options):
        if self.error:
            raise self.error
        self.written.append((entities.height, relation_types.height, triples.height, options))
        return "summary"


def test_a_store_is_loaded_before_the_snapshot_is_published(shop, tmp_path):
    store = RecordingStore()
    result = build(shop_tables.config(), out=tmp_path / "out", data=shop, store=store)
    assert result.store == "summary"
    options = {"delete_missing": True, "known": None, "compare": False}
    assert store.written == [(10, 2, 8, options)]
    build(shop_tables.config(), out=tmp_path / "out", data=shop, store=store)
    assert store.written[1][3]["known"].entities.equals(result.snapshot.entities)
    with pytest.raises(StoreError, match="no"):
        build(shop_tables.config(), out=tmp_path / "other", data=shop,
              store=RecordingStore(StoreError("no")))  # fmt: skip
    assert not (tmp_path / "other" / "snapshots" / "current").exists()


def test_a_folder_is_opened_by_its_yaml_or_by_a_mapping(shop, tmp_path):
    with pytest.raises(ConfigError, match=r"dataset\.yaml in .*movielens-csv.*got books\.csv"):
        open_dataset(shop)
    (shop / "dataset.yaml").write_text(yaml.safe_dump(shop_tables.content()))
    config, folder = open_dataset(shop)
    assert (config.name, folder) == ("book-shop", shop)
    assert build(shop, out=tmp_path / "out").snapshot.items.height == 4


def test_a_declared_schema_is_binding(shop, tmp_path):
    schema = {
        "entity_types": [{"name": "book"}, {"name": "person"}],
        "relation_types": [
            {"relation": "written_by", "head": "book", "tail": "person", "phrase": "is by"}
        ],
    }
    (shop / "graph_schema.yaml").write_text(yaml.safe_dump(schema))
    content = shop_tables.content() | {"graph_schema": "graph_schema.yaml"}
    (shop / "dataset.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(SchemaViolationError, match=r"got \(book, is_about, subject\) for book:b1"):
        build(shop / "dataset.yaml", out=tmp_path / "out")
    assert not (tmp_path / "out" / "snapshots" / "current").exists()
    del content["items"]["attributes"][1]
    content["items"]["text"] = ["title"]
    (shop / "dataset.yaml").write_text(yaml.safe_dump(content))
    result = build(shop / "dataset.yaml", out=tmp_path / "out")
    assert result.snapshot.relation_types["phrase"].to_list() == ["is by"]


def test_the_rule_for_unknown_items(shop, tmp_path):
    with pytest.raises(DataError, match=r"in the catalogue, got 'b7' among 1 rows of 1 unknown"):
        build(shop_tables.config(unknown_items="refuse"), out=tmp_path / "a", data=shop)
    result = build(shop_tables.config(unknown_items="add"), out=tmp_path / "b", data=shop)
    assert result.snapshot.items["item_id"].to_list() == ["b1", "b2", "b3", "b4", "b7"]
    assert result.snapshot.items["title"][4] == "b7"
    assert result.audit["tables"]["items"]["noted"]["added from the interactions"] == 1
    assert result.audit["tables"]["interactions"]["rows_kept"] == 6


def test_interactions_that_all_fall_away_are_refused(shop, tmp_path):
    shop_tables.write(shop, orders="customer,isbn,stars,at\nu1,9,5,100\n")
    with pytest.raises(
        DataError, match=r"Expected interactions, got none of 1 rows .*unknown item"
    ):
        build(shop_tables.config(), out=tmp_path / "out", data=shop)


def test_the_manifest_is_json_without_machine_paths(result, tmp_path):
    text = (result.snapshot.path / "manifest.json").read_text()
    assert str(tmp_path) not in text
    assert json.loads(text)["counts"]["items"] == 4
