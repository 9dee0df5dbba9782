"""On ml-latest-small the protocol gives the known figures of EASE; its splits are sound."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from evaluation_data import OpenLog, Popularity, dataset_of

from kgrec.data.audit import audit_dataset, audit_split, audit_task
from kgrec.data.dataset import Dataset
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, Interactions
from kgrec.data.splits import make_split
from kgrec.evaluation.evaluator import evaluate
from kgrec.evaluation.leakage import require_no_leak

pytestmark = [pytest.mark.data, pytest.mark.slow]

RIDGE = 200.0  # chosen on validation NDCG@20 among 50 ... 800, flat from 50 to 200


class PlainEase(Popularity):
    """B = -P / diag(P), P = (X'X + ridge I)^-1, on the binary matrix of likes (Steck 2019)."""

    def __init__(self, trained: Interactions, num_users: int, num_items: int) -> None:
        likes = trained.positives().matrix(num_users, num_items)
        self.liked = np.flatnonzero(np.asarray(likes.sum(axis=0)).ravel())
        gram = (likes[:, self.liked].T @ likes[:, self.liked]).toarray().astype(np.float64)
        inverse = np.linalg.inv(gram + RIDGE * np.eye(len(gram)))
        self.weights = (-inverse / np.diag(inverse)).astype(np.float32)
        np.fill_diagonal(self.weights, 0)
        self.num_items, self.largest_batch = num_items, 0

    def scores(self, histories: HistoryBatch) -> FloatArray:
        found = np.zeros((len(histories), self.num_items), dtype=np.float32)
        found[:, self.liked] = histories.matrix(self.num_items)[:, self.liked] @ self.weights
        return found


@pytest.fixture(scope="module")
def ratings(data_dir: Path) -> Dataset:
    file = data_dir / "ml-latest-small" / "ratings.csv"
    if not file.is_file():
        pytest.skip(f"KGREC_DATA_DIR has no {file.relative_to(data_dir)}")
    table = pl.read_csv(file)
    items = {item: n for n, item in enumerate(table["movieId"].unique().sort().to_list())}
    rows = [
        (user - 1, items[item], value, at)
        for user, item, value, at in table.select(
            "userId", "movieId", "rating", "timestamp"
        ).iter_rows()
    ]
    return dataset_of(rows, 610, len(items), like_from=3.5)


def test_plain_ease_reaches_the_known_figures(ratings: Dataset) -> None:
    split = make_split(ratings, "per_user_time")
    trained = split.interactions("train+val")
    task = split.open_test(OpenLog(), model="ease", config_hash="0")["all"]
    audit_task(task, trained, ratings.num_items)
    ease = evaluate(
        PlainEase(trained, ratings.num_users, ratings.num_items),
        task,
        num_items=ratings.num_items,
    )
    popular = evaluate(Popularity(trained, ratings.num_items), task, num_items=ratings.num_items)
    assert 0.150 < ease.means()["recall@20"] < 0.170
    assert 0.142 < ease.means()["ndcg@20"] < 0.155
    assert popular.means()["recall@20"] < 0.12
    assert ease.wall_s - ease.model_s < 1.0


@pytest.mark.parametrize("kind", ["global_time", "per_user_time", "new_users", "cold_items"])
def test_splits_of_real_data_pass_their_audit_and_do_not_leak(ratings: Dataset, kind: str) -> None:
    data, report = audit_dataset(ratings)
    assert report.counts["duplicate_events"] == 0
    split = make_split(data, kind)  # type: ignore[arg-type]
    sizes = audit_split(split)
    assert sizes["train"] < sizes["train+val"] < len(data.interactions)
    trained = split.interactions("train+val")
    for task in split.open_test(OpenLog(), model="m", config_hash="c").values():
        audit_task(task, trained, data.num_items)
    require_no_leak(
        lambda one: {
            "popularity": Popularity(one.interactions("train+val"), data.num_items).counts
        },
        split,
    )
