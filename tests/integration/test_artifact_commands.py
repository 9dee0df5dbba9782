"""Commands on a published artifact: its index built anew, and the questions of a user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kgrec import Recommender
from kgrec.artifact import artifact_id_of, load_artifact
from kgrec.cli import app
from kgrec.errors import ConfigError
from kgrec.jobs.index_build import build_index
from kgrec.ranking.pipeline import Pipeline
from kgrec.retrieval.index import IndexConfig


def command(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_new_index_is_measured_and_published_and_can_be_taken_back(pointer: Path) -> None:
    before = artifact_id_of(pointer)
    source = ("--source", "content_ridge", "--recall-k", "10")
    told = json.loads(command("index", "build", pointer, "--kind", "hnsw", *source, "--json"))
    assert (told["before"]["kind"], told["after"]["kind"]) == ("flat", "hnsw")
    assert told["after"]["recall"] >= 0.99
    assert told["published"]
    assert artifact_id_of(pointer) == told["artifact_id"] != before
    artifact = load_artifact(pointer)
    assert isinstance(artifact.scorer, Pipeline)
    index = artifact.scorer.indexes["content_ridge"]
    assert index.description["kind"] == "hnsw"
    assert artifact.manifest["metrics"]["indexes"]["content_ridge"]["recall"] >= 0.99
    assert "content_ridge: hnsw, 60 vectors" in command("index", "show", pointer)
    assert command("rollback", pointer)
    assert artifact_id_of(pointer) == before


def test_all_but_the_index_stays(pointer: Path) -> None:
    old = load_artifact(pointer)
    built = build_index(pointer, IndexConfig(kind="ivf", target_recall=0.5), "content_ridge")
    new = load_artifact(pointer)
    assert new.path == built.artifact
    kept = {name: file for name, file in old.manifest["files"].items() if "indexes" not in name}
    assert {name: new.manifest["files"].get(name) for name in kept} == kept
    for field in ("config", "seeds", "snapshot_id", "dataset", "counts"):
        assert new.manifest[field] == old.manifest[field]
    assert Recommender.load(pointer, check_probes=True).recommend("user-0").personalised


def test_an_index_for_a_folder_is_written_but_not_published(pointer: Path) -> None:
    before = pointer.read_bytes()
    folder = load_artifact(pointer).path
    shown = command("index", "build", folder, "--kind", "hnsw", "--source", "content_ridge")
    assert "not published: kgrec publish" in shown
    assert pointer.read_bytes() == before


def test_poor_recall_is_refused_and_nothing_is_written(
    pointer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kgrec.retrieval.index.VectorIndex._share_found", lambda *_: 0.4)
    with pytest.raises(ConfigError, match=r"recall@60 of 0\.990 .* got 0\.400 .* nothing was"):
        build_index(pointer, IndexConfig(kind="hnsw"), "content_ridge")
    assert len(list((pointer.parent / "artifacts").iterdir())) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--source", "ease"), "vectors among content_ridge, got 'ease'"),
        (
            ("--kind", "tree"),
            "got kind: Input should be 'auto', 'flat', 'hnsw', 'ivf', 'ivf_4bit' or 'ivf_pq'",
        ),
    ],
)
def test_impossible_wishes_are_refused(
    pointer: Path, options: tuple[str, ...], message: str
) -> None:
    done = CliRunner().invoke(app, ["index", "build", str(pointer), *options])
    assert done.exit_code == 2
    assert message in done.stderr


def recommended(pointer: Path, *words: str) -> list[str]:
    told = json.loads(command("recommend", pointer, *words, "--json"))
    return [item["item_id"] for item in told["items"]]


def test_recommend_takes_filters_of_facts_and_of_numbers(pointer: Path) -> None:
    items = load_artifact(pointer).items
    year = dict(zip(items.ids, items.numeric["year"], strict=True))
    ranged = recommended(pointer, "user-0", "--filter", "year=1980..1990")
    assert ranged
    assert all(1980 <= year[item] <= 1990 for item in ranged)
    assert all(
        year[item] <= 1975 for item in recommended(pointer, "user-0", "--filter", "year=..1975")
    )
    exact = str(int(year["item-9"]))
    assert all(
        year[one] == int(exact)
        for one in recommended(pointer, "user-0", "--filter", f"year={exact}")
    )
    either = ("--filter", "made_by=Maker 0", "--filter", "made_by=Maker 1")
    both = recommended(pointer, "user-0", "-k", "60", *either)
    one = recommended(pointer, "user-0", "-k", "60", *either[:2])
    assert set(one) < set(both)


def test_recommend_takes_a_history_by_commas_or_as_json(pointer: Path) -> None:
    by_commas = recommended(pointer, "--history", "item-0, item-3,")
    assert by_commas == recommended(pointer, "--history", '["item-0", "item-3"]')
    assert not {"item-0", "item-3"} & set(by_commas)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Expected a user id or --history, got neither"),
        (("--history", '["item-0"'), "as a JSON list in --history"),
        (("user-0", "--filter", "year"), "relation=name or column=LEAST..MOST, got 'year'"),
        (("user-0", "--filter", "colour=red"), "Expected a filter out of made_by"),
        (("user-0", "-k", "0"), "Expected k of at least 1, got 0"),
        (("--history", "item-999"), "Expected an item id of the artifact, got 'item-999'"),
    ],
)
def test_recommend_says_what_is_wrong_on_one_line(
    pointer: Path, words: tuple[str, ...], message: str
) -> None:
    done = CliRunner().invoke(app, ["recommend", str(pointer), *words])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_one_flipped_byte_is_told_with_the_file(pointer: Path) -> None:
    damaged = load_artifact(pointer).path / "items.parquet"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    for name in ("recommend", "similar"):
        done = CliRunner().invoke(app, [name, str(pointer), "item-0"])
        assert done.exit_code == 2
        assert f"Expected {damaged} to have sha256" in done.stderr
