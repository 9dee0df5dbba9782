"""The whole job on tables that nobody has seen, mapped by a dataset.yaml alone."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from kgrec import ArtifactError, Recommender
from kgrec.cli import app
from kgrec.evaluation.ledger import TestLedger

pytestmark = pytest.mark.slow

DATASET = {
    "name": "little-shop",
    "items": {
        "table": "books.csv",
        "id": "isbn",
        "title": "title",
        "entity_type": "book",
        "text": ["{title} by {author}"],
        "attributes": [
            {"column": "author", "relation": "written_by", "entity_type": "person",
             "phrase": "was written by"},
            {"column": "subjects", "separator": "|", "relation": "is_about",
             "entity_type": "subject", "phrase": "is about"},
        ],
    },
    "interactions": {
        "table": "orders.csv",
        "user": "customer",
        "item": "isbn",
        "value": "stars",
        "timestamp": "at",
        "positive": {"min_value": 4},
    },
}  # fmt: skip
RUN = {
    "name": "little",
    "dataset": "dataset.yaml",
    "encoder": "off",
    "further_splits": ["cold_items", "new_users"],
    "baselines": ["popularity", "ease"],
    "tuning": {"trials": 2},
    "sources": ["ease", "svd", "kg_neighbours", "towers"],
    "towers": {"steps": 5, "embedding_dim": 8, "users_per_step": 64},
    "pipeline": {"rankers": ["lightgbm", "linear"], "lightgbm": {"rounds": 10}},
    "explained": 50,
}


def write_tables(folder: Path, num_users: int = 120, num_items: int = 60) -> None:
    """Write books of three subjects and readers who like one of them."""
    rng = np.random.default_rng(0)
    subject = np.arange(num_items) % 3
    lines = ["isbn,title,author,subjects"]
    for item in range(num_items):
        author = f"Author {item // 4}"
        lines.append(f'b{item},"Book, number {item}",{author},subject {subject[item]}|print')
    (folder / "books.csv").write_text("\n".join(lines) + "\n")
    lines = ["customer,isbn,stars,at"]
    for user in range(num_users):
        weight = np.where(subject == user % 3, 8.0, 1.0)
        items = rng.choice(num_items, size=25, replace=False, p=weight / weight.sum())
        for place, item in enumerate(items):
            stars = 5 if subject[item] == user % 3 else 2
            lines.append(f"u{user},b{item},{stars},{1_700_000_000 + 3600 * place + user}")
    (folder / "orders.csv").write_text("\n".join(lines) + "\n")
    (folder / "dataset.yaml").write_text(yaml.safe_dump(DATASET))
    (folder / "run.yaml").write_text(yaml.safe_dump(RUN))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write_tables(folder)
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
    assert {"ease", "towers", "pipeline, no towers"} <= set(models)


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
