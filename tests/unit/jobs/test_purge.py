"""kgrec forget: who is forgotten, what is taken away, and what is in the way of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from serving_data import SCORERS, SmallEase, make_training_data
from typer.testing import CliRunner

from kgrec import Recommender
from kgrec.artifact import ArtifactDetails, publish, save_artifact
from kgrec.cli import app
from kgrec.events import EventLog, read_events
from kgrec.jobs.night_events import take_in
from kgrec.jobs.night_journal import night_lock
from kgrec.jobs.workspace import Workspace
from kgrec.serving.forgotten import ForgottenUsers


def forget(folder: Path, *options: object, code: int = 0) -> Result:
    given = ["forget", "--state", folder / "state", *options]
    result = CliRunner().invoke(app, [str(one) for one in given])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with two artifacts, the second one published, and a log that a night took in."""
    out = tmp_path / "out"
    train = make_training_data()
    for seed in (0, 1):
        details = ArtifactDetails(seeds={"run": seed})
        publish(
            save_artifact(
                out / "artifacts", SmallEase().fit(train), train, details, scorers=SCORERS
            ),
            out / "current",
        )
    with Recommender.load(
        out / "current", event_log=tmp_path / "log", state=tmp_path / "state", scorers=SCORERS
    ) as rec:
        for user in ("user-0", "user-1", "user-0"):
            rec.observe(user, "item-5", value=5.0)
    take_in(tmp_path / "log", Workspace(out).taken_events, 3)
    return tmp_path


def users_of_log(folder: Path) -> list[str]:
    return [stored.event.user_id for stored in read_events(folder / "log")]


def test_without_purge_only_the_ledger_knows(shop: Path) -> None:
    assert forget(shop, "--user", "user-0").stdout == "forgotten\n"
    assert forget(shop, "--user", "user-0").stdout == "was forgotten before\n"
    assert ForgottenUsers(shop / "state")("user-0")
    assert users_of_log(shop) == ["user-0", "user-1", "user-0"]


def test_a_purge_tells_what_it_took_and_what_is_left(shop: Path) -> None:
    everything = ("--purge", "--event-log", shop / "log", "--out", shop / "out")
    names = sorted(path.name for path in (shop / "out" / "artifacts").iterdir())
    told = json.loads(forget(shop, "--user", "user-0", *everything, "--json").stdout)
    standing = [path.name for path in (shop / "out" / "artifacts").iterdir()]
    assert told == {
        "newly": True,
        "forgotten_users": 1,
        "events": 2,
        "rewritten_segments": 1,
        "taken_events": 2,
        "snapshots": [],
        "artifacts": sorted(set(names) - set(standing)),
        "still_held": [f"{standing[0]}, which is published, until the next night"],
    }
    assert len(standing) == 1 < len(names)
    assert users_of_log(shop) == ["user-1"]
    text = forget(shop, *everything).stdout
    assert "of 1 forgotten users: 0 events in 0 files of the log" in text
    assert f"still held by {standing[0]}" in text


def test_encoders_that_learned_from_events_go_with_a_purge(shop: Path) -> None:
    learned = Workspace(shop / "out").text / "encoders" / "one"
    learned.mkdir(parents=True)
    forget(shop, "--user", "user-0", "--purge", "--out", shop / "out")
    assert not Workspace(shop / "out").text.exists()


def test_a_user_without_a_trace_costs_nothing(shop: Path) -> None:
    options = ("--purge", "--event-log", shop / "log", "--out", shop / "out", "--json")
    told = json.loads(forget(shop, "--user", "nobody", *options).stdout)
    assert (told["events"], told["taken_events"], told["artifacts"]) == (0, 0, [])
    assert told["still_held"] == []


def test_a_log_in_use_and_a_running_night_are_told(shop: Path) -> None:
    options = ("--user", "user-0", "--purge", "--event-log", shop / "log", "--out", shop / "out")
    with EventLog(shop / "log"):
        assert "stop the whole service" in forget(shop, *options, code=2).stderr
    with night_lock(Workspace(shop / "out").nights / "lock"):
        assert "found one running" in forget(shop, *options, code=3).stderr
    assert ForgottenUsers(shop / "state")("user-0")  # at once, whatever the purge meets
    assert users_of_log(shop).count("user-0") == 2


def test_pages_that_show_the_user_are_named(shop: Path) -> None:
    (shop / "out" / "run.json").write_text(json.dumps({"answers": {"user-0": {}, "user-1": {}}}))
    (shop / "out" / "report.html").write_text("<p>user-0</p>")
    told = json.loads(
        forget(shop, "--user", "user-0", "--purge", "--out", shop / "out", "--json").stdout
    )
    assert (
        "run.json and report.html, until the next run or until you delete them"
        in (told["still_held"])
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "Expected --user or --purge"),
        (("--user", "u", "--out", "x"), "Expected --purge with --event-log or --out"),
        (("--purge",), "Expected what to purge, got neither"),
        (("--purge", "--out", "nowhere"), "Expected the folder of a run or of nights"),
        (("--purge", "--event-log", "nowhere"), "Expected the folder of an event log"),
    ],
)
def test_what_is_missing_is_told(tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    assert told in forget(tmp_path, *options, code=2).stderr


def test_nothing_goes_back_to_an_artifact_that_was_deleted(shop: Path) -> None:
    pointer = shop / "out" / "current"
    before = pointer.read_bytes()
    forget(shop, "--user", "user-0", "--purge", "--out", shop / "out")
    result = CliRunner().invoke(app, ["rollback", str(pointer)])
    assert result.exit_code == 2
    assert "Expected" in result.stderr
    assert pointer.read_bytes() == before
