"""Artifacts change under load: every answer is of one version, and none is lost."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from serving_data import SCORERS, SmallEase, make_interactions, make_training_data

from kgrec import Recommender
from kgrec.artifact import ArtifactDetails, publish, save_artifact
from kgrec.errors import ArtifactError


def make_version(root: Path, seed: int, details: ArtifactDetails | None = None) -> Path:
    train = make_training_data()
    train = replace(train, interactions=make_interactions(seed))
    return save_artifact(root, SmallEase().fit(train), train, details, scorers=SCORERS)


@pytest.fixture
def versions(tmp_path: Path) -> tuple[Path, Path, Path]:
    first, second = make_version(tmp_path, 0), make_version(tmp_path, 1)
    publish(first, tmp_path / "current")
    return tmp_path, first, second


def test_reload_follows_the_pointer(versions: tuple[Path, Path, Path]) -> None:
    root, first, second = versions
    rec = Recommender.load(root / "current", scorers=SCORERS)
    assert not rec.reload()
    publish(second, root / "current")
    assert rec.artifact_id == first.name
    assert rec.reload()
    assert rec.artifact_id == rec.recommend("user-0").artifact_id == second.name
    fresh = Recommender.load(root / "current", scorers=SCORERS)
    assert rec.recommend("user-0") == fresh.recommend("user-0")
    assert rec.metrics().counts["swaps"] == 1


def test_swaps_under_load_mix_no_versions_and_lose_no_answer(
    versions: tuple[Path, Path, Path],
) -> None:
    root, first, second = versions
    users = [f"user-{n}" for n in range(12)]
    expected = {}
    for folder in (first, second):
        alone = Recommender.load(folder, scorers=SCORERS)
        expected[folder.name] = alone.recommend_many(users, k=5, explain=True)
    assert expected[first.name][0].items != expected[second.name][0].items
    rec = Recommender.load(root / "current", scorers=SCORERS)
    seen: Counter[str] = Counter()
    faults: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            answers = rec.recommend_many(users, k=5, explain=True)
            version = answers[0].artifact_id
            if answers != expected[version]:
                faults.append(version)
            seen[version] += 1

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for swap in range(6):
        publish((second, first)[swap % 2], root / "current")
        assert rec.reload()
    done.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert seen.total() == rec.metrics().latency["recommend_many"].calls
    assert rec.metrics().counts["swaps"] == 6
    assert not any(name.startswith("error") for name in rec.metrics().counts)


def test_a_deleted_or_damaged_artifact_leaves_the_present_one(
    versions: tuple[Path, Path, Path],
) -> None:
    root, first, second = versions
    rec = Recommender.load(root / "current", scorers=SCORERS)
    before = rec.recommend("user-0", k=10, explain=True)
    publish(second, root / "current")
    shutil.rmtree(first)  # served out of memory
    file = second / "histories.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:-10])
    with pytest.raises(ArtifactError, match=r"histories\.parquet"):
        rec.reload()
    assert rec.recommend("user-0", k=10, explain=True) == before
    shutil.rmtree(second)
    with pytest.raises(ArtifactError, match="to name an artifact"):
        rec.reload()
    assert rec.recommend("user-0", k=10, explain=True) == before
    assert rec.metrics().counts["error.ArtifactError"] == 2


def test_events_outlive_a_swap_and_a_rollback(tmp_path: Path) -> None:
    told = ArtifactDetails(metrics={"events_until": 2})
    old, new = make_version(tmp_path, 0), make_version(tmp_path, 1, told)
    publish(new, tmp_path / "current")
    log = tmp_path / "log"
    with Recommender.load(tmp_path / "current", event_log=log, scorers=SCORERS) as rec:
        for item in ("item-0", "item-1", "item-6"):
            rec.observe("new", item, value=5.0)
    with Recommender.load(tmp_path / "current", event_log=log, scorers=SCORERS) as rec:
        assert rec.history_of("new").item_idx.tolist() == [6]  # the artifact has the others
        rec.observe("new", "item-7", value=5.0)
        publish(old, tmp_path / "current")
        rec.reload()  # an older one: what it does not know is read from the log
        assert rec.history_of("new").item_idx.tolist() == [0, 1, 6, 7]
        publish(new, tmp_path / "current")
        rec.reload()
        assert rec.history_of("new").item_idx.tolist() == [0, 1, 6, 7]


def test_items_and_events_come_in_while_others_ask(tmp_path: Path) -> None:
    publish(make_version(tmp_path, 0), tmp_path / "current")
    options = {"state": tmp_path / "state", "event_log": tmp_path / "log", "scorers": SCORERS}
    rec = Recommender.load(tmp_path / "current", **options)  # type: ignore[arg-type]
    faults: list[BaseException] = []
    done = threading.Event()

    def ask(user: str) -> None:
        try:
            while not done.is_set():
                answer = rec.recommend(user, k=100)
                held = len(rec.history_of(user).item_idx)
                assert len(answer) >= 56 - held
                rec.observe(user, f"item-{held % 60}", value=5.0)
                assert len(rec.search("New", k=5)) <= 5
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=ask, args=(f"someone-{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for n in range(4):
        rec.add_item(f"new-{n}", f"New {n}", triples=[("made_by", "Maker 0")])
        rec.remove_item(f"item-{40 + n}")
        rec.forget(f"user-{n}")
    done.set()
    for thread in threads:
        thread.join()
    assert faults == []
    shown = [item.item_id for item in rec.recommend("nobody", k=100)]
    assert {f"new-{n}" for n in range(4)} <= set(shown)
    assert not {f"item-{40 + n}" for n in range(4)} & set(shown)
    rec.close()
