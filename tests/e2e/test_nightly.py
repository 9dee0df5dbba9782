"""Nights on a little shop: published, unchanged, refused, killed and gone on, locked."""

from __future__ import annotations

import functools
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from night_shop import CONFIG, command, more_orders, night, shop

from kgrec import Recommender
from kgrec.artifact import artifact_id_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop after its first night; tests copy it."""
    folder = shop(tmp_path_factory.mktemp("nights") / "shop")
    first = night(folder)
    assert first["outcome"] == "published"
    assert first["reason"] == "nothing was published before"
    return folder


@pytest.fixture
def after_first(published: Path, tmp_path: Path) -> Path:
    """The same shop at the same path again, so that nothing but the night differs."""
    kept = tmp_path / "kept"
    shutil.copytree(published, kept)
    yield published
    shutil.rmtree(published)
    shutil.copytree(kept, published)


def test_an_unchanged_night_trains_nothing(after_first: Path) -> None:
    before = artifact_id_of(after_first / "out" / "current")
    second = night(after_first)
    assert second["outcome"] == "unchanged"
    assert second["artifact_id"] == before
    assert set(second["steps"]) == {"graph", "end"}


def test_new_orders_are_learned_measured_and_published(after_first: Path) -> None:
    before = artifact_id_of(after_first / "out" / "current")
    more_orders(after_first)
    second = night(after_first)
    assert second["outcome"] == "published"
    assert second["artifact_id"] != before
    measured = second["steps"]["measure"]
    assert measured["published"] is not None
    assert measured["num_users"] >= 10
    summary = Path(str(second["summary"]))
    assert "| published before |" in summary.with_suffix(".md").read_text()
    recommender = Recommender.load(after_first / "out" / "current")
    answer = recommender.recommend("u4", k=59)
    assert "b20" not in {item.item_id for item in answer}  # ordered that night: it is known


def test_half_the_catalogue_gone_is_refused_and_all_stays(after_first: Path) -> None:
    before = artifact_id_of(after_first / "out" / "current")
    books = (after_first / "books.csv").read_text().splitlines(keepends=True)
    (after_first / "books.csv").write_text("".join(books[:31]))
    orders = (after_first / "orders.csv").read_text().splitlines(keepends=True)
    few = [line for line in orders if line.split(",")[1] in {f"b{i}" for i in range(30)}]
    (after_first / "orders.csv").write_text(orders[0] + "".join(few))
    refused = night(after_first, code=1)
    assert refused["outcome"] == "refused"
    assert "count_drop: entities of type book fell from 60 to 30" in refused["reason"]
    assert artifact_id_of(after_first / "out" / "current") == before
    assert str(refused["snapshot_id"]).startswith("snapshot-")  # the one that stands
    gates = ("count_drop", "delete_share", "degree_drift", "orphan_rise")
    options = [word for gate in gates for word in ("--accept-gate", gate)]
    assert night(after_first, *options, "--reason", "a sale")["outcome"] == "published"
    assert "reason" in night(after_first, "--accept-gate", "count_drop", code=2)["error"]


def test_a_worse_model_is_refused(after_first: Path) -> None:
    before = artifact_id_of(after_first / "out" / "current")
    worse = {
        **CONFIG,
        "sources": ["popularity"],
        "pipeline": {"rankers": ["linear"]},
        "max_drop": 0.02,
    }
    (after_first / "nightly.yaml").write_text(yaml.safe_dump(worse))
    refused = night(after_first, code=1)
    assert "NDCG@20 is" in refused["reason"]
    assert refused["steps"]["measure"]["relative"] < -0.02
    assert refused["artifact_id"] == before


@pytest.mark.parametrize(
    "moment", ["graph: published", "window 2 of 3", "writing the artifact", "measuring against"]
)
def test_a_killed_night_goes_on_to_the_same_end(after_first: Path, moment: str) -> None:
    more_orders(after_first)
    before = artifact_id_of(after_first / "out" / "current")
    with subprocess.Popen(command(after_first), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if moment in line:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert artifact_id_of(after_first / "out" / "current") == before
    assert night(after_first)["outcome"] == "published"
    killed = artifact_id_of(after_first / "out" / "current")
    assert killed == _uninterrupted(after_first)


@functools.cache
def _uninterrupted(folder: Path) -> str:
    """Return the artifact of the same two nights without a kill."""
    shutil.rmtree(folder / "out")
    orders = (folder / "orders.csv").read_text().splitlines(keepends=True)
    (folder / "orders.csv").write_text("".join(orders[:-60]))
    night(folder)
    (folder / "orders.csv").write_text("".join(orders))
    night(folder)
    return artifact_id_of(folder / "out" / "current")


def test_two_nights_at_once_are_refused(after_first: Path) -> None:
    more_orders(after_first)
    with subprocess.Popen(command(after_first), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "graph: reading" in line:
                process.send_signal(signal.SIGSTOP)  # it must not end before the second begins
                break
        assert "found one running" in night(after_first, code=3)["error"]
        process.send_signal(signal.SIGCONT)
        process.stderr.read()
    assert process.returncode == 0


def test_a_broken_journal_is_told(after_first: Path) -> None:
    journal = after_first / "out" / "nights" / "journal.json"
    journal.write_text("{")
    assert "delete it to begin anew" in night(after_first, code=2)["error"]
