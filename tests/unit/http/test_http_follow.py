"""A service follows what other processes do with its state folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from http_fixtures import running
from serving_data import SCORERS, make_artifact

from kgrec import Recommender
from kgrec.serving.forgotten import ForgottenUsers
from kgrec.serving.new_items import JOURNAL


class Preparing(Recommender):
    """Counts how often it was asked to make ready for new items."""

    prepared = 0

    def prepare_items(self) -> None:
        self.prepared += 1
        super().prepare_items()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_artifact(tmp_path)
    return tmp_path


def test_a_user_whom_another_process_forgot_is_in_no_answer(root: Path) -> None:
    asked = {"user_id": "user-0"}
    with running(root, no_auth=True, state=root / "state", follow_s=60) as (client, _):
        assert client.post("/v1/recommend", json=asked).json()["personalised"]
        ForgottenUsers(root / "state").forget("user-0")
        assert not client.post("/v1/recommend", json=asked).json()["personalised"]


def test_items_of_another_process_are_followed_and_old_answers_dropped(root: Path) -> None:
    state = root / "state"
    with running(root, no_auth=True, state=state, follow_s=60) as (client, service):
        client.post("/v1/recommend", json={"user_id": "user-0"})
        assert len(service.ladder.cache) == 1
        service.follow()
        assert len(service.ladder.cache) == 1  # nothing came
        with Recommender.load(root / "current", state=state, scorers=SCORERS) as other:
            other.add_item("made-1", "Another title")
            other.remove_item("item-3")
        service.follow()
        assert len(service.ladder.cache) == 0
        found = client.post("/v1/search", json={"text": "Another title", "k": 60}).json()["items"]
        ids = [item["item_id"] for item in found]
        assert ids[0] == "made-1"
        assert "item-3" not in ids


def test_a_damaged_journal_is_told_once_and_changes_no_answer(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = root / "state"
    with running(root, no_auth=True, state=state, follow_s=60) as (client, service):
        state.mkdir(exist_ok=True)
        (state / JOURNAL).write_text("00000000 no journal\n")
        service.follow()
        service.follow()
        told = [one.message for one in caplog.records]
        assert told.count("other workers not followed") == 1
        assert client.post("/v1/recommend", json={"user_id": "user-0"}).status_code == 200


@pytest.mark.parametrize(("wanted", "times"), [(True, 1), (False, 0)])
def test_new_items_are_prepared_for_where_it_is_asked_for(
    root: Path, wanted: bool, times: int
) -> None:
    given = {"state": root / "state", "follow_s": 60, "prepare_items": wanted}
    with running(root, kind=Preparing, no_auth=True, **given) as (_, service):
        service.follow()
        assert isinstance(service.recommender, Preparing)
        assert service.recommender.prepared == times
