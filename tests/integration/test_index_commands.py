"""kgrec index build --shards and kgrec index tune, on a published artifact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from kgrec import Recommender
from kgrec.artifact import artifact_id_of, load_artifact
from kgrec.cli import app
from kgrec.data.histories import HistoryBatch
from kgrec.errors import ArtifactError
from kgrec.ranking.pipeline import Pipeline
from kgrec.retrieval.index_kinds import KINDS
from kgrec.retrieval.index_shards import ShardedIndex

SOURCE = ("--source", "content_ridge", "--recall-k", "20")


def command(*words: object, code: int = 0) -> Result:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


def answers(pointer: Path) -> list[tuple[str, list[str], list[float]]]:
    rec = Recommender.load(pointer)
    found = []
    for user in ("user-0", "user-7", "user-40", "loner"):
        items = list(rec.recommend(user, k=20))
        found.append((user, [one.item_id for one in items], [one.score for one in items]))
    return found


def index_of(pointer: Path) -> Any:
    scorer = load_artifact(pointer).scorer
    assert isinstance(scorer, Pipeline)
    return scorer.indexes["content_ridge"]


@pytest.mark.parametrize("kind", KINDS)
def test_shards_answer_as_the_whole(pointer: Path, kind: str) -> None:
    options = (*SOURCE, "--kind", kind, "--target-recall", "1.0")
    command("index", "build", pointer, *options)
    whole, before = index_of(pointer), answers(pointer)
    told = json.loads(command("index", "build", pointer, *options, "--shards", 7, "--json").stdout)
    assert told["published"]
    assert (told["after"]["shards"], told["after"]["recall"]) == (7, 1.0)
    sharded = index_of(pointer)
    assert isinstance(sharded, ShardedIndex)
    assert [len(shard._vectors) for shard in sharded.shards] == [9] * 6 + [6]
    pipeline = load_artifact(pointer).scorer
    assert isinstance(pipeline, Pipeline)
    model: Any = pipeline.sources["content_ridge"]
    train = load_artifact(pointer).interactions
    users = HistoryBatch.from_interactions(train, np.arange(0, 150, 7))
    vectors = model.user_vectors(users)
    excluded = (users.indptr, users.item_idx)
    one, many = (index.search(vectors, 20, excluded=excluded) for index in (whole, sharded))
    np.testing.assert_allclose(many.score, one.score, rtol=1e-5, atol=1e-6)
    for (user, items, scores), (_, others, of_others) in zip(before, answers(pointer), strict=True):
        assert items == others, user
        assert scores == pytest.approx(of_others, rel=1e-4)


def test_shards_are_shown_and_take_in_new_items(pointer: Path, tmp_path: Path) -> None:
    shown = command("index", "build", pointer, *SOURCE, "--kind", "hnsw", "--shards", 3).stdout
    assert "60 vectors of" in shown
    assert "3 shards" in shown
    shown = command("index", "show", pointer).stdout
    assert "content_ridge: hnsw, 60 vectors" in shown
    assert "3 shards, search effort" in shown
    with Recommender.load(pointer, state=tmp_path / "state") as rec:
        rec.add_item("fresh", "A fresh one", triples=[("made_by", "Maker 0")])
        assert any(one.item_id == "fresh" for one in rec.similar("item-0", k=10))
        assert rec.recommend("user-0", k=5).personalised


def test_a_damaged_shard_is_refused_and_named(pointer: Path) -> None:
    command("index", "build", pointer, *SOURCE, "--kind", "ivf", "--shards", 2)
    file = next(load_artifact(pointer).path.rglob("0001/index.faiss"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match=r"0001/index\.faiss"):
        load_artifact(pointer)


@pytest.mark.parametrize(
    ("shards", "message"),
    [(61, "Expected at most 60 shards"), (0, "shards: Input should be greater than or equal to 1")],
)
def test_impossible_numbers_of_shards_are_refused(pointer: Path, shards: int, message: str) -> None:
    before = pointer.read_bytes()
    told = command("index", "build", pointer, *SOURCE, "--shards", shards, code=2).stderr
    assert message in told.replace("\n", " ")
    assert pointer.read_bytes() == before


def test_tune_measures_every_kind_and_writes_nothing(pointer: Path, tmp_path: Path) -> None:
    before = pointer.read_bytes()
    shown = command("index", "tune", "--artifact", pointer, *SOURCE).stdout
    assert "60 vectors of" in shown
    assert all(kind in shown for kind in KINDS)
    assert sum(line.startswith("*") for line in shown.splitlines()[2:-1]) == 1
    picture = tmp_path / "tuning.svg"
    told = command("index", "tune", "--artifact", pointer, *SOURCE, "--plot", picture, "--json")
    found = json.loads(told.stdout)
    assert (found["num_items"], found["recall_k"], found["artifact"]) == (60, 20, None)
    assert {one["kind"] for one in found["settings"]} == set(KINDS)
    assert found["chosen"]["recall"] >= 0.99
    assert "<svg" in picture.read_text()
    assert pointer.read_bytes() == before
    assert len(list((pointer.parent / "artifacts").iterdir())) == 1


def test_tune_write_publishes_the_chosen_kind(pointer: Path) -> None:
    before, answered = artifact_id_of(pointer), answers(pointer)
    bound = ("--max-memory-mb", "0.02")
    plain = json.loads(
        command("index", "tune", "--artifact", pointer, *SOURCE, *bound, "--json").stdout
    )
    within = [one["kind"] for one in plain["settings"] if one["memory_bytes"] <= 20_000]
    assert within
    told = json.loads(
        command("index", "tune", "--artifact", pointer, *SOURCE, *bound, "--write", "--json").stdout
    )
    assert told["chosen"]["kind"] in within
    assert artifact_id_of(pointer) == Path(told["artifact"]).name
    description = index_of(pointer).description
    assert description["kind"] == told["chosen"]["kind"]
    assert description["recall"] >= 0.99
    assert description["config"]["max_memory_bytes"] == 20_000
    assert {user for user, *_ in answers(pointer)} == {user for user, *_ in answered}
    command("rollback", pointer)
    assert artifact_id_of(pointer) == before
    assert answers(pointer) == answered


def test_tune_write_of_a_folder_publishes_nothing(pointer: Path) -> None:
    before = pointer.read_bytes()
    folder = load_artifact(pointer).path
    shown = command("index", "tune", "--artifact", folder, *SOURCE, "--write").stdout
    [line] = [line for line in shown.splitlines() if line.startswith("artifact")]
    assert load_artifact(Path(line.split(maxsplit=1)[1])).path.parent == folder.parent
    assert pointer.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--max-memory-mb", "0.000001", "--write"), "nothing was written: lower --target-recall"),
        (("--plot", "tuning.gif"), "Expected --plot FILE of .svg, .pdf, .png"),
        (("--source", "ease"), "vectors among content_ridge, got 'ease'"),
        (("--target-recall", "1.5"), "Expected settings of a vector index"),
    ],
)
def test_tune_says_what_cannot_be(pointer: Path, options: tuple[str, ...], message: str) -> None:
    before = pointer.read_bytes()
    told = command("index", "tune", "--artifact", pointer, *SOURCE, *options, code=2).stderr
    assert message in told.replace("\n", " ")
    assert pointer.read_bytes() == before
