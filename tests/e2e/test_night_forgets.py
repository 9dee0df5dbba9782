"""Who asked to be forgotten is in no snapshot, store and artifact that a night makes or leaves."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml
from night_shop import CONFIG, night, shop

from graph_etl.builds import open_built_store
from graph_etl.snapshot import load_snapshot
from kgrec import Recommender
from kgrec.artifact import artifact_id_of, load_artifact
from kgrec.events import Event, EventLog, read_events
from kgrec.serving.forgotten import ForgottenUsers

pytestmark = pytest.mark.slow

GONE = "reader-zq81x@example.org"
SETTINGS = CONFIG | {"store": "kglite", "event_log": "log", "state": "state"}


def write_events(folder: Path, user: str, numbers: range) -> None:
    with EventLog(folder / "log") as log:
        log.append_all(
            [
                Event(
                    event_id=f"{user}-{number}",
                    user_id=user,
                    item_id=f"b{number % 60}",
                    value=5.0,
                    time=1_700_900_000 + number,
                )
                for number in numbers
            ]
        )


def rename_user(folder: Path, user: str, name: str) -> None:
    """Let a user of the tables have another id."""
    with (folder / "orders.csv").open() as handle:
        rows = list(csv.reader(handle))
    changed = [[name if row[0] == user else row[0], *row[1:]] for row in rows]
    (folder / "orders.csv").write_text("".join(",".join(row) + "\n" for row in changed))


def holders(folder: Path) -> list[str]:
    """Return the files below a folder that hold the user's id, packed in tables or plain."""
    found = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if file.suffix == ".parquet":
            text = pl.read_parquet(file).write_json()
        else:
            text = file.read_bytes().decode("latin-1")
        if GONE in text:
            found.append(str(file.relative_to(folder)))
    return found


def forget(folder: Path, *options: str) -> dict[str, object]:
    command = "from kgrec.cli import app; app(prog_name='kgrec')"
    given = ["forget", "--state", str(folder / "state"), "--user", GONE, "--json", *options]
    done = subprocess.run(
        [sys.executable, "-c", command, *given], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout))


@pytest.fixture
def published(tmp_path: Path) -> Path:
    folder = shop(tmp_path / "shop", SETTINGS)
    rename_user(folder, "u7", GONE)
    write_events(folder, GONE, range(5))
    write_events(folder, "another", range(5, 12))
    assert night(folder)["outcome"] == "published"
    return folder


def test_a_purged_user_is_gone_from_everything_after_the_next_night(published: Path) -> None:
    out = published / "out"
    first = artifact_id_of(out / "current")
    assert any("users.parquet" in file for file in holders(out / "artifacts"))
    report = forget(published, "--purge", "--event-log", str(published / "log"), "--out", str(out))
    assert (report["newly"], report["events"], report["taken_events"]) == (True, 5, 5)
    assert (report["snapshots"], report["artifacts"]) == ([], [])
    assert len(report["still_held"]) == 2  # the published ones
    assert holders(published / "log") == holders(published / "state") == []
    with Recommender.load(out / "current", state=published / "state") as rec:
        assert not rec.recommend(GONE).personalised
    told = night(published)
    assert told["outcome"] == "published"
    assert told["steps"]["events"]["dropped"] == {"forgotten user": 5}
    assert told["steps"]["events"]["kept"] == 7
    gone = told["steps"]["forgotten"]
    assert (gone["users"], len(gone["snapshots"]), gone["artifacts"]) == (1, 1, [first])
    assert gone["still_held"] == []
    assert holders(out) == []
    assert holders(published / "log") == []
    with open_built_store(out / "graph") as store:
        graph = store.export()
    assert GONE not in "".join(part.write_json() for part in (graph.entities, graph.triples))
    again = forget(published, "--purge", "--event-log", str(published / "log"), "--out", str(out))
    assert (again["newly"], again["events"], again["still_held"]) == (False, 0, [])


def test_the_model_is_trained_as_if_they_had_never_been(published: Path) -> None:
    write_events(published, GONE, range(20, 24))  # taken in by no night yet, and not purged
    ForgottenUsers(published / "state").forget(GONE)
    told = night(published)
    assert told["steps"]["events"]["dropped"] == {"forgotten user": 9}
    assert holders(published / "out") == []
    assert len(list(read_events(published / "log"))) == 16  # the log is for the purge
    artifact = load_artifact(published / "out" / "current")
    assert GONE not in artifact.users.ids
    snapshot = load_snapshot(published / "out" / "graph" / "snapshots" / "current")

    never = shop(published.with_name("never"), SETTINGS)
    rename_user(never, "u7", GONE)
    orders = (never / "orders.csv").read_text().splitlines(keepends=True)
    (never / "orders.csv").write_text("".join(one for one in orders if not one.startswith(GONE)))
    write_events(never, "another", range(5, 12))
    night(never)
    same = load_artifact(never / "out" / "current")
    expected = load_snapshot(never / "out" / "graph" / "snapshots" / "current")
    assert snapshot.snapshot_id == expected.snapshot_id
    for name in ("user_idx", "item_idx", "timestamp"):
        found = getattr(artifact.interactions, name)
        assert found.tolist() == getattr(same.interactions, name).tolist()
    assert artifact.manifest["probes"] == same.manifest["probes"]


def test_a_refused_night_says_what_still_holds_them(published: Path) -> None:
    ForgottenUsers(published / "state").forget(GONE)
    dataset = yaml.safe_load((published / "dataset.yaml").read_text())
    gates = {"gold": [{"name": "never", "cypher": "MATCH (b:book) RETURN b.name LIMIT 1",
                       "rows": [["no such book"]]}]}  # fmt: skip
    (published / "dataset.yaml").write_text(yaml.safe_dump(dataset | {"gates": gates}))
    told = night(published, code=1)
    assert told["outcome"] == "refused"
    held = told["steps"]["forgotten"]["still_held"]
    assert len(held) == 2
    assert all("which is published, until the next night" in one for one in held)
    page = Path(str(told["summary"])).with_suffix(".md").read_text()
    assert f"still held by {held[0]}" in page
