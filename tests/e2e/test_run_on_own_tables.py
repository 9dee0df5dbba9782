"""The whole job on tables that nobody has seen, mapped by a dataset.yaml alone."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from own_tables import RUN, SHORT_RUN, write_tables
from typer.testing import CliRunner

from kgrec import ArtifactError, Recommender
from kgrec.artifact import load_artifact
from kgrec.cli import app
from kgrec.evaluation.ledger import TestLedger

pytestmark = pytest.mark.slow


# sources that look at no taste, beside the others
OF_ALL = {
    "sources": [*RUN["sources"], "trending", "new_items"],
    "pipeline": {**RUN["pipeline"], "candidates": {"quotas": {"new_items": 0.2, "towers": 50}}},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write_tables(folder, run=RUN | OF_ALL)
    done = CliRunner().invoke(app, ["run", str(folder / "run.yaml"), "--out", str(folder / "out")])
    assert done.exit_code == 0, done.output
    assert "per_user_time: all users" in done.stdout
    assert "cold_items" in done.stdout
    assert "new_users" in done.stdout
    return folder / "out"


def test_run_beats_popularity_where_taste_decides(finished: Path) -> None:
    found = json.loads((finished / "run.json").read_text())
    models = {one["model"]: one["metrics"]["ndcg@20"] for one in found["tables"][0]["models"]}
    assert models["pipeline"]["low"] > models["popularity"]["high"]
    parts = {f"pipeline, {part}" for part in ("no towers", "text off", "graph off", "ranker off")}
    assert {"ease", "towers", *parts} <= set(models)


def test_run_answers_known_and_unknown_users_with_true_edges(finished: Path) -> None:
    recommender = Recommender.load(finished / "current")
    known = recommender.recommend("u1", k=5, explain=True)
    assert known.personalised
    assert len(known) == 5
    graph = recommender.artifact.graph
    edges = {
        (graph.entity_ids[h], graph.relations[r], graph.entity_ids[t])
        for h, r, t in zip(graph.head, graph.relation, graph.tail, strict=True)
    }
    for item in known:
        assert item.explanation is not None
        assert item.explanation.text
        assert set(map(tuple, item.explanation.path)) <= edges
    unseen = recommender.recommend(history=["b0", "b3", "b6"], k=5)
    assert unseen.personalised
    assert not {"b0", "b3", "b6"} & {item.item_id for item in unseen}
    assert not recommender.recommend("nobody", k=5).personalised


def test_what_each_source_brings_is_recorded_and_shown(finished: Path) -> None:
    found = json.loads((finished / "run.json").read_text())["source_recall"]
    assert found["task"].startswith("per_user_time/val")
    sources = {one["source"]: one for one in found["sources"]}
    assert list(sources) == OF_ALL["sources"]
    assert sources["new_items"]["candidates"] <= 20
    for one in sources.values():
        assert 0 <= one["lost_without"] <= one["alone"] <= found["recall"] <= 1
    assert found["candidates"] <= 60
    assert "What each source brings" in (finished / "report.html").read_text()


def test_a_quota_of_no_source_is_told_before_anything_is_built(tmp_path: Path) -> None:
    wrong = {"pipeline": {"candidates": {"quotas": {"nonsense": 3}}}}
    write_tables(tmp_path, run=RUN | wrong)
    done = CliRunner().invoke(
        app, ["run", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 2
    assert "for sources of the run (ease, svd, kg_neighbours, towers), got nonsense" in done.stderr
    assert not (tmp_path / "out" / "graph").exists()


def test_evaluate_prints_what_the_run_recorded(finished: Path) -> None:
    printed = CliRunner().invoke(app, ["evaluate", str(finished / "current"), "--json"])
    found = json.loads(printed.stdout)
    assert found["protocol"].startswith("full ranking")
    assert found == json.loads((finished / "run.json").read_text())


def test_evaluate_again_gives_the_same_numbers_and_is_logged(finished: Path) -> None:
    before = TestLedger(finished / "test-ledger.jsonl").count
    arguments = ["evaluate", str(finished / "current"), "--open-test", "--json"]
    again = json.loads(CliRunner().invoke(app, arguments).stdout)["tables"][0]["models"][0]
    found = json.loads((finished / "run.json").read_text())["tables"][0]["models"]
    stored = next(one for one in found if one["model"] == "pipeline")
    assert again["metrics"]["ndcg@20"]["value"] == stored["metrics"]["ndcg@20"]["value"]
    assert TestLedger(finished / "test-ledger.jsonl").count == before + 1


def test_one_flipped_byte_is_refused_and_named(finished: Path, tmp_path: Path) -> None:
    original = next((finished / "artifacts").glob("artifact-*"))
    for file in sorted(path for path in original.rglob("*") if path.is_file()):
        copy = tmp_path / original.name
        shutil.copytree(original, copy)
        damaged = copy / file.relative_to(original)
        content = bytearray(damaged.read_bytes())
        content[len(content) // 2] ^= 1
        damaged.write_bytes(bytes(content))
        with pytest.raises(ArtifactError, match=damaged.name.removesuffix(".sha256")):
            Recommender.load(copy)
        shutil.rmtree(copy)


def test_a_second_run_changes_nothing(finished: Path) -> None:
    pointer = (finished / "current").read_text()
    metrics = json.loads((finished / "run.json").read_text())["tables"]
    folder = finished.parent
    shutil.copytree(folder, folder.parent / "again")
    other = folder.parent / "again"
    shutil.rmtree(other / "out")
    done = CliRunner().invoke(app, ["run", str(other / "run.yaml"), "--out", str(other / "out")])
    assert done.exit_code == 0, done.output
    again = json.loads((other / "out" / "run.json").read_text())["tables"]
    values = [[(one["model"], one["metrics"]) for one in table["models"]] for table in metrics]
    assert values == [
        [(one["model"], one["metrics"]) for one in table["models"]] for table in again
    ]
    assert pointer == (finished / "current").read_text()


def test_measures_are_told_of_the_artifact_that_they_were_made_of(
    finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "out")
    pointer = str(tmp_path / "out" / "current")
    built = CliRunner().invoke(app, ["index", "build", pointer, "--kind", "hnsw"])
    assert built.exit_code == 0, built.output
    stale = CliRunner().invoke(app, ["evaluate", pointer])
    assert stale.exit_code == 2
    assert "came later or from elsewhere; measure it with" in stale.stderr
    again = json.loads(
        CliRunner().invoke(app, ["evaluate", pointer, "--open-test", "--json"]).stdout
    )
    assert again["artifact_id"] == (tmp_path / "out" / "current").read_text().split()[0][10:]
    assert again["tables"][0]["models"][0]["metrics"]["ndcg@20"]["value"] > 0
    (tmp_path / "out" / "run.json").write_text("{")
    damaged = CliRunner().invoke(app, ["evaluate", pointer])
    assert damaged.exit_code == 2
    assert "Expected JSON in" in damaged.stderr


def test_what_is_published_on_all_events_is_never_measured(tmp_path: Path) -> None:
    write_tables(tmp_path, run=SHORT_RUN | {"publish_on": "all"})
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["run", str(tmp_path / "run.yaml"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    served, twin = load_artifact(out / "current"), None
    for folder in (out / "artifacts").glob("artifact-*"):
        if folder != served.path:
            twin = load_artifact(folder)
    assert twin is not None
    events = len(pl.read_csv(tmp_path / "orders.csv"))
    assert len(served.interactions) == events > len(twin.interactions)
    refused = CliRunner().invoke(app, ["evaluate", str(out / "current"), "--open-test"])
    assert refused.exit_code == 2
    assert "learned from all events" in refused.stderr
    measured = ["evaluate", str(twin.path), "--open-test", "--json"]
    again = json.loads(CliRunner().invoke(app, measured).stdout)["tables"][0]["models"][0]
    found = json.loads((out / "run.json").read_text())
    assert found["artifact_id"] == served.artifact_id
    stored = next(one for one in found["tables"][0]["models"] if one["model"] == "pipeline")
    assert again["metrics"]["ndcg@20"]["value"] == stored["metrics"]["ndcg@20"]["value"]
