"""Forgotten at once, after a restart and in every artifact; and the ledger tells nobody who."""

from __future__ import annotations

import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from serving_data import SCORERS, make_artifact

from kgrec import Recommender, RequestError
from kgrec.errors import ServingStateError
from kgrec.events import Event, read_events
from kgrec.serving.forgotten import KEY, LEDGER, ForgottenUsers
from kgrec.serving.journal import Journal


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    make_artifact(root)
    return root


def load(root: Path, folder: Path) -> Recommender:
    return Recommender.load(
        root / "current", event_log=folder / "log", state=folder / "state", scorers=SCORERS
    )


def test_a_forgotten_user_is_gone_at_once_and_after_a_restart(root: Path, tmp_path: Path) -> None:
    with load(root, tmp_path) as rec:
        stranger = rec.recommend("nobody", k=10)
        assert rec.recommend("user-0").personalised
        rec.observe("user-0", "item-59", value=5.0)
        rec.observe("new", "item-0", value=5.0)
        assert rec.forget("user-0")
        assert rec.forget("new")
        assert not rec.forget("user-0")
        for user in ("user-0", "new"):
            assert rec.is_forgotten(user)
            answer = rec.recommend(user, k=10)
            assert not answer.personalised
            assert answer.items == stranger.items
            assert answer.reason == stranger.reason.replace("nobody", user)
            assert len(rec.history_of(user)) == 1
            assert len(rec.history_of(user).item_idx) == 0
            assert rec.history_of(user).user_idx[0] == -1  # the profile is gone, too
            assert rec.explain(user, "item-5") == rec.explain("nobody", "item-5")
        assert rec.recommend("user-1").personalised
        told = rec.observe("user-0", "item-1", value=5.0)
        assert told.offset is None
        assert not told.counts
    assert [stored.offset for stored in read_events(tmp_path / "log")] == [0, 1]
    with load(root, tmp_path) as rec:
        assert not rec.recommend("user-0").personalised
        assert not rec.recommend("new").personalised
        assert rec.metrics().gauges["forgotten_users"] == 2
        assert rec.metrics().gauges["live_users"] == 0


def test_the_ledger_holds_no_ids_and_the_key_is_private(tmp_path: Path) -> None:
    ledger = ForgottenUsers(tmp_path)
    ledger.forget("ann@example.org")
    content = (tmp_path / LEDGER).read_bytes()
    assert b"ann" not in content
    assert stat.S_IMODE((tmp_path / KEY).stat().st_mode) == 0o600
    other = ForgottenUsers(tmp_path / "other")
    other.forget("ann@example.org")
    assert (tmp_path / "other" / LEDGER).read_bytes() != content
    assert ledger.among(["bob", "ann@example.org", " ann@example.org "]) == {
        "ann@example.org",
        " ann@example.org ",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == [KEY, LEDGER, "other"]


def test_a_log_is_read_without_forgotten_users(root: Path, tmp_path: Path) -> None:
    with load(root, tmp_path) as rec:
        for user in ("a", "b", "a", "c"):
            rec.observe(user, "item-0")
        rec.forget("a")
    forgotten = ForgottenUsers(tmp_path / "state")

    def keep(event: Event) -> bool:
        return not forgotten(event.user_id)

    left = [stored.event.user_id for stored in read_events(tmp_path / "log", keep=keep)]
    assert left == ["b", "c"]


def test_another_process_reads_what_was_entered(tmp_path: Path) -> None:
    writer, reader = ForgottenUsers(tmp_path), ForgottenUsers(tmp_path)
    writer.forget("a")
    reader.refresh()
    assert reader("a")
    reader.forget("b")
    writer.forget("c")
    assert writer("b")
    assert len(ForgottenUsers(tmp_path)) == 3


def test_reload_reads_whom_another_process_forgot(root: Path, tmp_path: Path) -> None:
    with load(root, tmp_path) as rec:
        assert rec.recommend("user-0").personalised
        ForgottenUsers(tmp_path / "state").forget("user-0")
        assert not rec.reload()  # the same artifact
        assert not rec.recommend("user-0").personalised


def test_many_threads_forget_at_once(tmp_path: Path) -> None:
    ledger = ForgottenUsers(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        new = list(pool.map(lambda n: ledger.forget(f"user-{n % 20}"), range(60)))
    assert sum(new) == 20
    assert len(ForgottenUsers(tmp_path)) == len(ledger) == 20


def test_without_a_folder_nobody_can_be_forgotten(root: Path) -> None:
    rec = Recommender.load(root / "current", scorers=SCORERS)
    with pytest.raises(RequestError, match="Expected a folder for the ledger"):
        rec.forget("user-0")


def test_a_damaged_ledger_is_refused(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    ledger = ForgottenUsers(folder)
    for n in range(3):
        ledger.forget(f"user-{n}")
    file = folder / LEDGER
    whole = file.read_bytes()
    for place in range(0, len(whole) - 1, 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0x01
        file.write_bytes(damaged)
        with pytest.raises(ServingStateError, match=LEDGER):
            load(root, tmp_path)
    lines = whole.splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], *lines[3:]]))  # one user taken out of the middle
    with pytest.raises(ServingStateError, match=r"line 3: the file is damaged; restore it"):
        load(root, tmp_path)
    file.write_bytes(whole)
    load(root, tmp_path).close()


def test_a_line_that_was_cut_short_was_never_told_of(tmp_path: Path) -> None:
    ledger = ForgottenUsers(tmp_path)
    ledger.forget("a")
    ledger.forget("b")
    file = tmp_path / LEDGER
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    again = ForgottenUsers(tmp_path)
    assert again("a")
    assert not again("b")
    again.forget("b")
    assert file.read_bytes() == whole


def test_a_lost_or_changed_key_is_refused(tmp_path: Path) -> None:
    ForgottenUsers(tmp_path).forget("a")
    key = (tmp_path / KEY).read_bytes()
    (tmp_path / KEY).write_bytes(key[:-1] + bytes([key[-1] ^ 1]))
    with pytest.raises(ServingStateError, match="belongs to another key"):
        ForgottenUsers(tmp_path)
    (tmp_path / KEY).write_bytes(b"short")
    with pytest.raises(ServingStateError, match="Expected 32 bytes in the key"):
        ForgottenUsers(tmp_path)
    (tmp_path / KEY).unlink()
    with pytest.raises(ServingStateError, match="restore the key from a copy"):
        ForgottenUsers(tmp_path)


def test_a_full_disk_forgets_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = ForgottenUsers(tmp_path)
    ledger.forget("a")
    whole = (tmp_path / LEDGER).read_bytes()

    def no_room(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", no_room)
        with pytest.raises(ServingStateError, match="nothing was changed: make room"):
            ledger.forget("b")
    assert not ledger("b")
    assert (tmp_path / LEDGER).read_bytes() == whole
    assert ledger.forget("b")


def test_a_copy_of_the_folder_is_a_backup(tmp_path: Path) -> None:
    ForgottenUsers(tmp_path / "state").forget("a")
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    assert ForgottenUsers(tmp_path / "copy")("a")


def test_a_journal_keeps_lines_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "lines", "head")
    assert journal.lines() == []
    for line in ("one", "two two", "", "dreißig"):
        journal.append(line)
    assert Journal(tmp_path / "lines", "head").lines() == ["one", "two two", "", "dreißig"]
    with pytest.raises(ServingStateError, match="Expected 'other' as the first line"):
        Journal(tmp_path / "lines", "other").lines()
