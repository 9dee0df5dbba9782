import gzip
import json
import textwrap
from pathlib import Path

import polars as pl
import pytest
import shop_tables
import yaml

from graph_etl import mappings
from graph_etl.dataset_yaml import dataset_config_from, load_dataset_config
from graph_etl.errors import ConfigError
from graph_etl.pipeline import build


def load(folder, text):
    (folder / "dataset.yaml").write_text(textwrap.dedent(text))
    return load_dataset_config(folder / "dataset.yaml")


EXAMPLES = Path(mappings.__file__).parent / "examples"


def build_example(folder, name):
    (folder / "dataset.yaml").write_text((EXAMPLES / f"{name}.yaml").read_text())
    return build(folder / "dataset.yaml", out=folder / "out").snapshot


def test_words_and_codes_that_yaml_takes_for_something_else_stay_what_they_are(tmp_path):
    config = load(
        tmp_path,
        """
        name: on
        missing_values: [-1, no]
        interactions:
          table:
            path: log.csv
            optional: true
            derive: {sex: {column: sex, map: {1: man, 2: woman, Y: yes}}}
        """,
    )
    assert (config.name, config.missing_values) == ("on", ["-1", "no"])
    table = config.interactions.table[0]
    assert table.optional is True
    assert table.derive["sex"].map == {"1": "man", "2": "woman", "Y": "yes"}


def test_the_book_shop_example_builds(tmp_path):
    (tmp_path / "books.csv").write_text("isbn,title,blurb,author,subjects,pages\n1,A,,X,a|b,9\n")
    (tmp_path / "orders.csv").write_text("customer,isbn,ordered_at\nu,1,2024-05-31\n")
    snapshot = build_example(tmp_path, "book-shop")
    assert snapshot.interactions["timestamp"].to_list() == [1717113600]
    assert snapshot.relation_types["phrase"].to_list() == ["was written by", "is about"]
    assert snapshot.triples.height == 3
    assert snapshot.items["text"].to_list() == ["A. Subjects: a, b"]


def test_the_video_site_example_builds(tmp_path):
    videos = [
        {"video": 1, "name": "Cats (2019)", "description": "<p>Two cats</p>", "minutes": 3,
         "topics": ["cats", "play"], "host": "Ann (host)", "guests": ["Bo", "unknown"]},
        {"video": 2, "name": "Cats II (2020)", "topics": ["cats"], "sequel_of": 1},
    ]  # fmt: skip
    lines = "\n".join(map(json.dumps, videos))
    (tmp_path / "videos.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "people.tsv").write_text("person\tage\tsex\n5\t30\tf\n6\t\tm\n")
    for year, action in (("2024", "like"), ("2025", "view")):
        row = {"person": 5, "video": 1, "action": action, "seconds": 7.5, "at": 1_700_000_000_000,
               "device": "tv"}  # fmt: skip
        pl.DataFrame([row]).write_parquet(tmp_path / f"log-{year}.parquet")
    snapshot = build_example(tmp_path, "video-site")
    entities = snapshot.entities["entity_id"].to_list()
    triples = snapshot.triples.select("head_idx", "tail_idx").rows()
    assert [(entities[h], entities[t]) for h, t in triples] == [
        ("video:1", "topic:cats"),
        ("video:1", "topic:play"),
        ("video:1", "person:ann"),
        ("video:1", "person:bo"),
        ("video:2", "topic:cats"),
        ("video:2", "video:1"),
    ]
    assert snapshot.items["text"].to_list() == [
        "Cats (2019). Two cats. Topics: cats, play",
        "Cats II (2020). Topics: cats",
    ]
    assert snapshot.users["profile_text"].to_list() == ["30 years old. female", "male"]
    assert snapshot.interactions["positive"].to_list() == [True, False]
    assert snapshot.interactions["context.device"].to_list() == ["tv", "tv"]
    assert snapshot.interactions["timestamp"].to_list() == [1_700_000_000] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nmae": "x"}, r"got 1 wrong fields: nmae: Extra inputs are not permitted"),
        ({"interactions": {"table": "x", "itm": "y"}}, r"interactions\.itm: Extra inputs"),
        ({"interactions": {}}, r"either 'table' or 'splits'"),
        ({"interactions": {"table": "a", "splits": {"t": "b"}}}, r"either 'table' or 'splits'"),
        ({"interactions": {"table": []}}, r"interactions\.table"),
        ({"interactions": {"table": "x", "unknown_items": "forget"}}, r"'refuse', 'drop' or 'add'"),
        ({"items": {"attributes": [{"column": "c", "relation": "r"}]}}, r"got neither"),
        (
            {"items": {"attributes": [{"column": "c", "relation": "no good", "entity_type": "x"}]}},
            r"a letter followed by letters.*got 'no good'",
        ),
        (
            {"items": {"attributes": [{"column": "c", "relation": "r", "entity_type": "item"}]}},
            r"another type than the items' own 'item'; where its values are item ids",
        ),
        ({"facts": [{"table": "f", "id": "i", "attributes": []}]}, r"either 'item' or 'title'"),
        (
            {"facts": [{"table": "f", "id": "i", "title": "t", "link": {"evidenc": []},
                        "attributes": []}]},
            r"evidenc",
        ),
    ],
)  # fmt: skip
def test_wrong_fields_are_all_named(change, message):
    with pytest.raises(ConfigError, match=message):
        dataset_config_from(shop_tables.content() | change, "my.yaml")


def test_a_config_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        shop_tables.config().name = "other"


def test_extends_takes_a_shipped_mapping_and_changes_single_fields(tmp_path):
    config = load(
        tmp_path,
        """
        extends: recbole
        name: mine
        interactions: {positive: {min_value: 4}}
        """,
    )
    assert config.name == "mine"
    assert config.interactions.table[0].path == "*.inter"
    assert config.interactions.positive.min_value == 4
    assert config.triples[0].table.optional


def test_extends_takes_another_file_and_adds_to_a_bare_table(tmp_path):
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(shop_tables.content()))
    config = load(tmp_path, "extends: base.yaml\nitems: {table: {separator: ';'}}\n")
    assert (config.items.table.path, config.items.table.separator) == ("books.csv", ";")
    with pytest.raises(ConfigError, match=r"at .*recbol\.yaml, found no file"):
        load(tmp_path, "extends: recbol\n")


def test_files_that_are_no_config_are_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yaml, found no file"):
        load_dataset_config(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match=r"Expected YAML in .*dataset\.yaml"):
        load(tmp_path, "name: [")
    with pytest.raises(
        ConfigError, match=r"'name' and 'interactions' in .*dataset\.yaml, got none"
    ):
        load(tmp_path, "- a list\n")
    with pytest.raises(ConfigError, match=r"graph schema at .*absent\.yaml, found none"):
        load(tmp_path, "name: x\ninteractions: {table: t}\ngraph_schema: absent.yaml\n")
