"""kgrec recommend --all-users, predict-topk and score-pairs on a published artifact."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from serving_data import make_training_data
from typer.testing import CliRunner

from kgrec import Recommender
from kgrec.artifact import publish, save_artifact
from kgrec.cli import app
from kgrec.jobs import bulk, bulk_tables
from kgrec.models.baselines import make_baseline
from kgrec.ranking.config import PipelineConfig
from kgrec.ranking.crossfit import fit_pipeline
from kgrec.ranking.likes import LikeConfig


def made(root: Path, likes: LikeConfig) -> Path:
    train = make_training_data()
    config = PipelineConfig(rankers=("linear",), indexed_sources=(), likes=likes)
    pipeline = fit_pipeline(train, lambda: {"ease": make_baseline("ease")}, config)
    publish(save_artifact(root / "artifacts", pipeline, train), root / "current")
    return root / "current"


@pytest.fixture(scope="module")
def pointer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("run"), LikeConfig())


def command(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def told(*words: object) -> dict[str, object]:
    found: dict[str, object] = json.loads(command(*words, "--json"))
    return found


def listed(pointer: Path, users: list[str], k: int) -> list[tuple[str, str, int]]:
    answers = Recommender.load(pointer).recommend_many(users, k=k)
    return [
        (user, item.item_id, item.rank)
        for user, got in zip(users, answers, strict=True)
        for item in got
    ]


def test_all_users_get_what_recommend_gives(pointer: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "recs.parquet"
    found = told("recommend", "--artifact", pointer, "--all-users", "--out", out, "--k", 7)
    users = Recommender.load(pointer).artifact.users.ids.tolist()
    table = pl.read_parquet(out)
    assert table.columns == ["user_id", "item_id", "rank", "score"]
    assert table.select("user_id", "item_id", "rank").rows() == listed(pointer, users, 7)
    assert (found["users"], found["users_without_likes"], found["rows"]) == (160, 2, 160 * 7)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize("ending", ["parquet", "tsv", "csv"])
def test_a_killed_run_goes_on_and_ends_with_the_same_file(
    pointer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(bulk, "USERS_OF_A_PART", 50)
    whole, out = tmp_path / f"whole.{ending}", tmp_path / f"out.{ending}"
    bulk.recommend_all(pointer, whole, 5)

    class KilledError(BaseException):
        pass

    def kill(step: str, share: float) -> None:
        if step.startswith("100"):
            raise KilledError

    with pytest.raises(KilledError):
        bulk.recommend_all(pointer, out, 5, kill)
    assert not out.exists()
    found = bulk.recommend_all(pointer, out, 5)
    assert found.parts_kept == 2
    assert out.read_bytes() == whole.read_bytes()
    with pytest.raises(KilledError):
        bulk.recommend_all(pointer, out, 5, kill)
    assert bulk.recommend_all(pointer, out, 6).parts_kept == 0  # another question
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("form", ["lines", "tsv", "parquet"])
def test_topk_takes_users_in_any_form_and_counts_unknown_ones(
    pointer: Path, tmp_path: Path, form: str
) -> None:
    users = ["user-3", "stranger", "user-1", "loner", "user-3"]
    file = tmp_path / f"users.{'txt' if form == 'lines' else form}"
    if form == "lines":
        file.write_text("\n".join(users) + "\n")
    elif form == "tsv":
        file.write_text("user_id\tage\n" + "".join(f"{user}\t3\n" for user in users))
    else:
        pl.DataFrame({"user_id": users}).write_parquet(file)
    out = tmp_path / "top.tsv"
    found = told("predict-topk", "--artifact", pointer, "--users", file, "--k", 4, "--out", out)
    assert (found["users"], found["unknown_users"], found["users_without_likes"]) == (4, 1, 1)
    table = pl.read_csv(out, separator="\t")
    assert table.select("user_id", "item_id", "rank").rows() == listed(pointer, users[:4], 4)
    met = make_training_data().interactions
    seen = {f"item-{item}" for item in met.item_idx[met.user_idx == 3]}
    assert not seen & set(table.filter(pl.col("user_id") == "user-3")["item_id"])


def test_pairs_get_a_probability_and_keep_their_columns_and_order(
    pointer: Path, tmp_path: Path
) -> None:
    pairs = pl.DataFrame(
        {
            "fold": [3, 1, 2, 9],
            "user_id": ["user-3", "stranger", "user-1", "user-3"],
            "item_id": ["item-59", "item-2", "nowhere", "item-2"],
        }
    )
    pairs.write_parquet(tmp_path / "pairs.parquet")
    out = tmp_path / "scored.parquet"
    words = ("score-pairs", "--artifact", pointer, "--pairs", tmp_path / "pairs.parquet")
    found = told(*words, "--out", out)
    assert (found["pairs"], found["unknown_users"], found["unknown_items"]) == (4, 1, 1)
    assert str(found["kind"]).startswith("calibrated probability that the user likes")
    table = pl.read_parquet(out)
    assert table.drop("score").equals(pairs)
    assert table["score"].is_between(0, 1).all()
    alone = Recommender.load(pointer).score_pairs(["user-3"], ["item-2"])
    assert alone[0] == pytest.approx(table["score"][3], rel=1e-6)
    assert "scored as the average item: 1 pairs of unknown" in command(*words, "--out", out)


def test_without_a_model_of_likes_the_ranker_says_and_then_the_plain_scorer(
    tmp_path: Path,
) -> None:
    ranker = Recommender.load(made(tmp_path / "a", LikeConfig(least_events=10_000)))
    found = ranker.score_pairs(["user-0", "user-0", "stranger"], ["item-4", "nowhere", "item-4"])
    assert ((found > 0) & (found < 1)).all()
    assert ranker.score_pairs(["stranger"], ["nowhere"])[0] == pytest.approx(found[1])
    train = make_training_data()
    ease = make_baseline("ease").fit(train)
    publish(save_artifact(tmp_path / "b", ease, train), tmp_path / "b" / "current")
    plain = Recommender.load(tmp_path / "b" / "current")
    assert np.isfinite(plain.score_pairs(["user-0", "user-9"], ["item-4", "nowhere"])).all()


def test_whole_numbers_stay_numbers() -> None:
    assert bulk_tables.natural(pl.Series(["10", "2"])).dtype == pl.Int64
    assert bulk_tables.natural(pl.Series(["10", "02"])).dtype == pl.String


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_ids_of_digits_keep_their_leading_zeros(tmp_path: Path, ending: str) -> None:
    mark = {"csv": ",", "tsv": "\t"}[ending]
    file = tmp_path / f"pairs.{ending}"
    file.write_text(f"user{mark}isbn{mark}n\n7{mark}0061099686{mark}1\n8{mark}1885547544{mark}2\n")
    table = bulk_tables.read_table(file, ("user", "isbn"))
    assert table["isbn"].to_list() == ["0061099686", "1885547544"]
    assert (table["user"].to_list(), table["n"].to_list()) == ([7, 8], [1, 2])
    assert bulk_tables.read_users(file, "isbn").to_list() == ["0061099686", "1885547544"]


@pytest.mark.parametrize("text", ["7\n08\n7\n", '"user_id"\n"7"\n"08"\n', "user_id,a\n7,1\n08,2\n"])
def test_users_of_a_csv_may_stand_alone_or_in_a_column(tmp_path: Path, text: str) -> None:
    file = tmp_path / "users.csv"
    file.write_text(text)
    assert bulk_tables.read_users(file).to_list() == ["7", "08"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("recommend", "--all-users"), "Expected an artifact, got none"),
        (("recommend", "P", "--all-users"), "--all-users with --out FILE"),
        (("recommend", "P", "user-1", "--out", "x.tsv"), "--all-users with --out FILE"),
        (("recommend", "P", "user-1", "--all-users", "--out", "x.tsv"), "Expected no user"),
        (("recommend", "P", "--all-users", "--out", "x.xls"), "Expected a file named .parquet"),
        (
            ("predict-topk", "--artifact", "P", "--users", "no.txt", "--out", "x.tsv"),
            "no.txt, found none",
        ),
        (
            ("score-pairs", "--artifact", "P", "--pairs", "T", "--out", "x.tsv"),
            "Expected the columns user_id, item_id in",
        ),
    ],
)
def test_what_cannot_be_done_is_told(
    pointer: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    table = tmp_path / "table.tsv"
    table.write_text("user_id\tmovie\n1\t2\n")
    named = {"P": str(pointer), "T": str(table)}
    assert message in command(*(named.get(word, word) for word in words), code=2)
