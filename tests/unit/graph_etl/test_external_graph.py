import polars as pl
import pytest

from graph_etl.dataset_yaml import dataset_config_from
from graph_etl.pipeline import build

LOG = pl.DataFrame({"user_id": ["u", "v", "u", "w"], "item_id": ["1", "2", "10", "3"]})
GRAPH = pl.DataFrame(
    {
        "head_id": ["m.1", "m.2", "m.9", "m.1", "m.1", "m.3", None],
        "relation_id": ["film.film.actor", "film.film.actor", "film.film.actor", "film.film.actor",
                        "sequel", "7", "x"],
        "tail_id": ["m.7", "m.7", "m.8", "m.7", "m.2", "m.7", "m.7"],
    }
)  # fmt: skip
LINK = pl.DataFrame(
    {"item_id": ["1", "10", "2", "99", "3"], "entity_id": ["m.1", "m.1", "m.2", "m.4", None]}
)
NAMES = pl.DataFrame(
    {
        "entity_id": ["m.7", "m.8", "m.1", "m.7", "m.5"],
        "name": ["Al Pacino", "", "Heat!", "again", "Nobody"],
        "kind": ["person", "person", "film", "person", "person"],
    }
)


def run(tmp_path, *, link=True, names=False, phrases=None):
    triples = {"table": "graph", "phrases": phrases or {}}
    if link:
        triples["link"] = {"table": "link"}
    if names:
        triples["names"] = {"table": "names", "type": "kind"}
    fields = {"name": "x", "interactions": {"table": "log"}, "triples": [triples]}
    sources = {"log": LOG, "graph": GRAPH, "link": LINK, "names": NAMES}
    result = build(dataset_config_from(fields, "the test"), out=tmp_path, sources=sources)
    snapshot = result.snapshot
    entity = snapshot.entities.select("entity_id", "entity_type", "name").rows()
    relation = snapshot.relation_types.select("relation", "head_type", "tail_type").rows()
    rows = snapshot.triples.select("head_idx", "relation_idx", "tail_idx").rows()
    triples = [(entity[h][0], relation[r][0], entity[t][0]) for h, r, t in rows]
    return entity, relation, triples, result


def test_linked_entities_become_their_items(tmp_path):
    entity, relation, triples, result = run(tmp_path)
    assert [row[0] for row in entity] == [
        "item:1", "item:2", "item:3", "item:10", "entity:m.3", "entity:m.7", "entity:m.8",
        "entity:m.9",
    ]  # fmt: skip
    assert relation == [
        ("film.film.actor", "entity", "entity"),
        ("film.film.actor", "item", "entity"),
        ("relation_7", "entity", "entity"),
        ("sequel", "item", "item"),
    ]
    assert triples == [
        ("item:1", "film.film.actor", "entity:m.7"),
        ("item:1", "sequel", "item:2"),
        ("item:2", "film.film.actor", "entity:m.7"),
        ("item:10", "film.film.actor", "entity:m.7"),
        ("item:10", "sequel", "item:2"),
        ("entity:m.3", "relation_7", "entity:m.7"),
        ("entity:m.9", "film.film.actor", "entity:m.8"),
    ]
    tables = result.audit["tables"]
    assert tables["triples.graph"] == {
        "rows_in": 7,
        "rows_kept": 5,
        "dropped": {"empty head, relation or tail": 1, "duplicate row": 1},
        "repaired": {},
        "noted": {"rows added: entities of several items": 2},
    }
    assert tables["link.link"]["dropped"] == {"empty or duplicate": 1, "unknown item": 1}
    assert tables["link.link"]["noted"] == {
        "items without a link": 1,
        "entities of several items": 1,
    }
    assert result.snapshot.triples["source"].unique().to_list() == ["graph:relation_id"]
    assert result.snapshot.triples["doc_id"][0] == "m.1"


def test_names_and_types_come_from_their_table(tmp_path):
    entity, relation, _, result = run(tmp_path, names=True)
    assert ("person:m.7", "person", "Al Pacino") in entity
    assert ("item:1", "item", "1") in entity
    assert not any(row[0] == "person:m.5" for row in entity) or len(entity) == 9
    assert ("film.film.actor", "item", "person") in relation
    assert result.audit["tables"]["names.names"]["dropped"] == {
        "empty id or name": 1,
        "entity named before": 1,
    }


def test_without_links_an_entity_with_an_items_id_is_that_item(tmp_path):
    graph = pl.DataFrame({"head_id": ["1", "5"], "relation_id": ["r", "r"], "tail_id": ["5", "2"]})
    fields = {"name": "x", "interactions": {"table": "log"}, "triples": [{"table": "graph"}]}
    result = build(
        dataset_config_from(fields, "the test"), out=tmp_path, sources={"log": LOG, "graph": graph}
    )
    assert result.snapshot.entities["entity_id"].to_list()[4:] == ["entity:5"]
    assert result.snapshot.triples.height == 2


@pytest.mark.parametrize(
    ("phrases", "phrase"), [({}, "sequel"), ({"sequel": "continues in"}, "continues in")]
)
def test_phrases_are_given_or_made_of_the_name(tmp_path, phrases, phrase):
    result = run(tmp_path, phrases=phrases)[3]
    found = result.snapshot.relation_types.filter(relation="sequel")["phrase"]
    assert found.to_list() == [phrase]


def test_an_absent_optional_graph_is_left_out(tmp_path):
    fields = {
        "name": "x",
        "interactions": {"table": "log"},
        "triples": [{"table": {"path": "*.kg", "optional": True}}],
    }
    result = build(dataset_config_from(fields, "t"), out=tmp_path, sources={"log": LOG})
    assert result.snapshot.triples.height == 0
    assert result.snapshot.entities.height == 4
