"""Entity resolution in a build: ids, provenance, nights, undo, review, and the commands."""

from __future__ import annotations

import json

import polars as pl
import pytest
from typer.testing import CliRunner

from graph_etl.attributes import STATEMENT
from graph_etl.audit import BuildAudit
from graph_etl.cli import app
from graph_etl.dataset_config import DatasetConfig
from graph_etl.dataset_yaml import load_dataset_config
from graph_etl.errors import ConfigError, SnapshotError
from graph_etl.pipeline import build
from graph_etl.resolution import ResolutionConfig
from graph_etl.resolution.merge_files import (
    merges_file,
    read_merges,
    read_rows,
    review_file,
    undo_merges,
    write_merges,
)
from graph_etl.resolution.resolved_statements import EntityResolution
from graph_etl.snapshot import TABLES
from graph_etl.versions import prune, rollback

AUTHORS = ["J.R.R. Tolkien", "J. R. R. Tolkien", "J. R. R. Tolkien", "Sergei Bodrov",
           "Sergey Bodrov", "Kar-Wai Wong", "Wong Kar-Wai", "Jane Smith", "John Smith"]  # fmt: skip


def config(level="similar", **fields):
    resolution = {"level": level, "kinds": {"person": "person"}, **fields.pop("resolution", {})}
    return DatasetConfig.model_validate(
        {
            "name": "shop",
            "items": {
                "table": "books",
                "id": "id",
                "title": "id",
                "entity_type": "book",
                "attributes": [
                    {"column": "author", "relation": "written_by", "entity_type": "person"}
                ],
            },
            "interactions": {"table": "orders", "user": "user", "item": "item"},
            "resolution": resolution,
            **fields,
        }
    )


def tables(authors=AUTHORS):
    books = pl.DataFrame({"id": [f"b{n}" for n in range(len(authors))], "author": authors})
    return {"books": books, "orders": pl.DataFrame({"user": ["u"], "item": ["b0"]})}


def built(folder, authors=AUTHORS, **options):
    sources = {**tables(authors), **options.pop("sources", {})}
    return build(config(**options), out=folder, sources=sources, gated=False)


def people(snapshot):
    rows = snapshot.entities.filter(pl.col("entity_type") == "person")
    return dict(rows.select("entity_id", "name").iter_rows())


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_default_level_leaves_ids_and_files_as_they_are(tmp_path):
    result = built(tmp_path, level="spelling")
    assert len(people(result.snapshot)) == 8
    assert "merges" not in result.audit["tables"]
    assert not (tmp_path / "resolution").exists()


def test_merged_triples_keep_where_they_come_from(tmp_path):
    apart = built(tmp_path / "a", level="spelling").snapshot
    result = built(tmp_path / "b")
    assert people(result.snapshot)["person:j. r. r. tolkien"] == "J. R. R. Tolkien"
    assert "person:j.r.r. tolkien" not in people(result.snapshot)
    said = ["source", "doc_id", "engine", "confidence", "run_id"]
    assert result.snapshot.triples.select(said).equals(apart.triples.select(said))
    counts = result.audit["tables"]["merges"]
    assert (counts["rows_in"], counts["rows_kept"]) == (8, 6)
    assert counts["dropped"] == {"merged, exact": 1, "merged, similar": 1}
    assert counts["noted"] == {"open pairs": 1}
    names = result.snapshot.items["attribute.written_by"].to_list()
    assert names[0] == ["J. R. R. Tolkien"]


def test_two_spellings_on_one_item_are_a_duplicate_triple(tmp_path):
    extra = {"books": pl.DataFrame({"id": ["b0"], "author": [["Zoe Saldaña", "Zoe Saldana"]]})}
    result = built(tmp_path, sources=extra)
    assert result.audit["tables"]["triples"]["dropped"] == {"duplicate triple": 1}
    assert result.snapshot.triples.height == 1


def test_second_build_writes_nothing(tmp_path):
    built(tmp_path)
    before = files_of(tmp_path)
    assert not built(tmp_path).changed
    assert files_of(tmp_path) == before


def test_rows_in_another_order_give_the_same_graph_and_files(tmp_path):
    one, other = built(tmp_path / "a"), built(tmp_path / "b", authors=AUTHORS[::-1])
    assert (
        one.snapshot.entities.select("name")
        .sort("name")
        .equals(other.snapshot.entities.select("name").sort("name"))
    )
    assert read_merges(tmp_path / "a").equals(read_merges(tmp_path / "b"))
    assert read_rows(tmp_path / "a") == read_rows(tmp_path / "b")


def test_a_kept_id_stays_though_counts_change_and_its_spelling_goes(tmp_path):
    built(tmp_path)
    more = built(tmp_path, authors=[*AUTHORS, *["J.R.R. Tolkien"] * 5]).snapshot
    assert people(more)["person:j. r. r. tolkien"] == "J.R.R. Tolkien"
    gone = built(tmp_path, authors=["J.R.R. Tolkien"]).snapshot
    assert people(gone) == {"person:j. r. r. tolkien": "J.R.R. Tolkien"}
    assert not built(tmp_path, authors=["J.R.R. Tolkien"]).changed
    assert read_merges(tmp_path)["kept_id"].to_list() == ["person:j. r. r. tolkien"]


def test_an_id_that_was_published_is_kept_when_a_more_frequent_spelling_comes(tmp_path):
    built(tmp_path, authors=["Zoe Saldana"])
    after = built(tmp_path, authors=["Zoe Saldana", "Zoe Saldaña", "Zoe Saldaña"]).snapshot
    assert people(after) == {"person:zoe saldana": "Zoe Saldaña"}


def test_undo_parts_the_entities_and_the_graph_is_the_unmerged_one(tmp_path):
    apart = built(tmp_path / "a", level="spelling").snapshot
    built(tmp_path / "b")
    for one in read_merges(tmp_path / "b")["merged_id"]:
        undo_merges(tmp_path / "b", [one])
    after = built(tmp_path / "b").snapshot
    assert all(getattr(after, name).equals(getattr(apart, name)) for name in TABLES)
    assert after.snapshot_id == apart.snapshot_id
    assert read_merges(tmp_path / "b").is_empty()
    assert not built(tmp_path / "b").changed


def test_undo_of_one_member_leaves_the_others_merged(tmp_path):
    authors = ["Hip Hop", "hip-hop", "hip hop!", "Zoe"]
    built(tmp_path, authors=authors)
    assert len(undo_merges(tmp_path, ["person:hip hop!"])) == 2
    assert set(people(built(tmp_path, authors=authors).snapshot)) == {
        "person:hip hop", "person:hip hop!", "person:zoe",
    }  # fmt: skip


def test_undo_of_an_unknown_id_is_refused(tmp_path):
    built(tmp_path)
    with pytest.raises(ConfigError, match="Expected the id of a merged entity, got 'person:x'"):
        undo_merges(tmp_path, ["person:x"])
    assert all(not row.decision for row in read_rows(tmp_path))


def test_an_answer_in_the_review_file_is_honoured_and_kept(tmp_path):
    built(tmp_path)
    file = review_file(tmp_path)
    file.write_text(file.read_text().replace("letter differs,,", "letter differs,yes,me"))
    after = built(tmp_path)
    assert len(people(after.snapshot)) == 5
    assert read_merges(tmp_path)["stage"].sort().to_list() == ["exact", "reviewed", "similar"]
    assert [(row.decision, row.decided_by) for row in read_rows(tmp_path)] == [("yes", "me")]
    assert not built(tmp_path).changed


def test_decisions_come_from_a_file_of_the_configuration_too(tmp_path):
    file = tmp_path / "mine.csv"
    line = "person,person:jane smith,Jane,person:john smith,John,,known,yes,me"
    gone = "person,person:nobody,N,person:nowhere,W,,known,yes,me"
    head = "type,id_a,name_a,id_b,name_b,score,evidence,decision,decided_by"
    file.write_text(f"{head}\n{line}\n{gone}\n")
    result = built(tmp_path / "out", resolution={"reviewed": file})
    assert "person:john smith" not in people(result.snapshot)
    assert result.audit["tables"]["merges"]["noted"]["ids of decisions that are not here"] == 2
    file.write_text(f"{head}\n{line}\n{line.replace('yes', 'no')}\n")
    with pytest.raises(ConfigError, match=r"'no' in line 3 of .*mine\.csv.*'yes' in line 2"):
        built(tmp_path / "out", resolution={"reviewed": file})


def test_types_that_are_not_named_stay_as_they_are(tmp_path):
    assert len(people(built(tmp_path, resolution={"types": ["place"]}).snapshot)) == 8


def test_ends_that_become_one_are_dropped_and_counted(tmp_path):
    graph = {"inspired": pl.DataFrame({"h": ["j.r.r. tolkien", "jane smith"],
                                       "r": ["inspired", "inspired"],
                                       "t": ["j. r. r. tolkien", "john smith"]})}  # fmt: skip
    section = [{"table": "inspired", "head": "h", "relation": "r", "tail": "t",
                "entity_type": "person"}]  # fmt: skip
    result = built(tmp_path, sources=graph, triples=section)
    counts = result.audit["tables"]["triples"]
    assert counts["dropped"] == {"ends merged into one": 1}
    assert counts["rows_in"] == counts["rows_kept"] + 1 == len(AUTHORS) + 2


def test_statements_with_evidence_and_names_of_heads_are_resolved(tmp_path):
    table = pl.DataFrame(
        [
            [
                "b:1",
                "book",
                "by",
                "person:zoe saldana",
                "person",
                "Zoe Saldana",
                "s",
                "1",
                "table",
                1.0,
                "r",
            ]
        ],
        schema=dict(STATEMENT),
        orient="row",
    )
    text = table.with_columns(
        head_id=pl.lit("person:zoe saldaña"),
        head_type=pl.lit("person"),
        tail_id=pl.lit("place:here"),
        tail_type=pl.lit("place"),
        tail_name=pl.lit("here"),
        evidence=pl.lit("Zoe ..."),
    )
    names = pl.DataFrame(
        [["person:zoe saldaña", "person", "Zoe Saldaña"]],
        schema=["entity_id", "entity_type", "name"],
        orient="row",
    )
    resolution = EntityResolution(ResolutionConfig(level="exact"), tmp_path, None)
    first, second = resolution.resolve([table, text], "book", BuildAudit(), [names])
    assert first.equals(table)
    assert second.equals(text.with_columns(head_id=pl.lit("person:zoe saldana")))
    assert resolution.merged(names, "entity_id")["entity_id"].to_list() == ["person:zoe saldana"]


def test_rollback_shows_the_merges_of_its_version_and_pruning_drops_them(tmp_path):
    first = built(tmp_path).snapshot.snapshot_id
    second = built(tmp_path, authors=["Zoe Saldana", "Zoe Saldaña"]).snapshot.snapshot_id
    (tmp_path / "store").write_text("none")
    rollback(tmp_path)
    assert read_merges(tmp_path).height == 2
    assert read_merges(tmp_path, second).height == 1
    prune(tmp_path, 1)
    built(tmp_path)
    assert merges_file(tmp_path, first).is_file()
    assert not merges_file(tmp_path, second).is_file()


@pytest.mark.parametrize("damage", [b"", b"PAR1PAR1", "cut"])
def test_a_damaged_file_of_merges_is_refused_by_name(tmp_path, damage):
    result = built(tmp_path)
    file = merges_file(tmp_path, result.snapshot.snapshot_id)
    file.write_bytes(file.read_bytes()[:-9] if damage == "cut" else damage)
    with pytest.raises(SnapshotError, match=file.name):
        built(tmp_path)
    file.unlink()
    assert not built(tmp_path).changed
    assert file.is_file()


def test_merges_with_other_columns_are_refused(tmp_path):
    result = built(tmp_path)
    write_merges(tmp_path, result.snapshot.snapshot_id, pl.DataFrame({"a": [1]}))
    with pytest.raises(SnapshotError, match="take the file away"):
        read_merges(tmp_path)


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    return result.stdout


def test_commands_list_undo_and_review(tmp_path):
    built(tmp_path)
    listed = run("merges", "list", tmp_path)
    assert "person:j.r.r. tolkien -> person:j. r. r. tolkien  exact 1.00" in listed
    assert "2 merges" in listed
    assert json.loads(run("merges", "list", tmp_path, "--type", "x", "--json")) == {"merges": []}
    assert "1 open, 0 decided" in run("merges", "review", tmp_path)
    pair = ("person:sergei bodrov", "person:sergey bodrov")
    decision = ("merges", "review", tmp_path, "--yes", *pair)
    run(*decision, code=2)  # by whom?
    assert "0 open, 1 decided" in run(*decision, "--by", "me")
    assert "1 open" not in run("merges", "undo", tmp_path, "person:j.r.r. tolkien")
    built(tmp_path)
    assert "person:sergey bodrov -> person:sergei bodrov  reviewed" in run(
        "merges", "list", tmp_path
    )
    told = json.loads(run("merges", "review", tmp_path, "--json"))
    assert (told["decided"], told["open"]) == (2, [])


def test_commands_refuse_what_cannot_be_one(tmp_path):
    built(tmp_path)
    before = files_of(tmp_path)
    for pair in (
        ("person:jane smith", "person:nobody"),
        ("person:jane smith", "book:b0"),
        ("person:jane smith", "person:jane smith"),
    ):
        run("merges", "review", tmp_path, "--yes", *pair, "--by", "me", code=2)
    run("merges", "undo", tmp_path, "person:jane smith", code=2)
    run("merges", "list", tmp_path / "nothing", code=2)
    assert files_of(tmp_path) == before


def test_a_decision_by_hand_on_any_two_entities_is_honoured(tmp_path):
    built(tmp_path)
    pair = ("person:jane smith", "person:john smith")
    run("merges", "review", tmp_path, "--yes", *pair, "--by", "me")
    assert len(people(built(tmp_path).snapshot)) == 5
    run("merges", "review", tmp_path, "--no", *pair, "--by", "me")
    assert len(people(built(tmp_path).snapshot)) == 6


def test_reviewed_is_relative_to_the_yaml_that_names_it(tmp_path):
    (tmp_path / "base").mkdir()
    fields = config(resolution={"reviewed": "mine.csv"}).model_dump(
        mode="json", exclude_defaults=True
    )
    (tmp_path / "base" / "shop.yaml").write_text(json.dumps(fields))
    (tmp_path / "dataset.yaml").write_text("extends: base/shop.yaml\nname: other\n")
    loaded = load_dataset_config(tmp_path / "dataset.yaml")
    assert loaded.resolution.reviewed == tmp_path / "base" / "mine.csv"
    assert loaded.resolution.level == "similar"
