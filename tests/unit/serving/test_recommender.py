"""The Recommender's contract: defined answers for every well-formed request, clear errors else."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from serving_data import CRITIC, NUM_ITEMS, SCORERS, VectorEase, make_artifact, make_training_data

import kgrec
from kgrec import Event, Recommender, RequestError, UnknownItemError
from kgrec.errors import ArtifactError
from kgrec.serving.answers import Recommendations

TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rec(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    root = tmp_path_factory.mktemp("served")
    make_artifact(root)
    return Recommender.load(root / "current", scorers=SCORERS)


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    root = tmp_path_factory.mktemp("vectors")
    make_artifact(root, scorer=VectorEase)
    return Recommender.load(root / "current", scorers=SCORERS)


def ids(answer: Recommendations) -> list[str]:
    return [item.item_id for item in answer]


def seen_by(user: str) -> set[str]:
    train = make_training_data()
    row = train.dataset.users.ids.tolist().index(user)
    events = train.interactions
    return {f"item-{i}" for i in events.item_idx[events.user_idx == row]}


def test_known_user_gets_a_personal_answer(rec: Recommender) -> None:
    answer = rec.recommend("user-0", k=5)
    assert answer.personalised
    assert answer.reason == ""
    assert answer.artifact_id == rec.artifact_id
    assert [item.rank for item in answer] == [1, 2, 3, 4, 5]
    scores = [item.score for item in answer]
    assert scores == sorted(scores, reverse=True)
    assert not seen_by("user-0") & set(ids(answer))
    assert answer[0].title == answer[0].item_id.replace("item-", "Item ")
    assert answer[0].explanation is None


def test_answers_equal_the_scorer(rec: Recommender) -> None:
    train = make_training_data()
    history = train.interactions.take(train.interactions.user_idx == 0)
    weights = rec.artifact.scorer.weights  # type: ignore[attr-defined]
    scores = weights[history.item_idx[history.positive]].sum(axis=0)
    scores[history.item_idx] = -np.inf
    expected = [f"item-{i}" for i in np.argsort(-scores)[:5]]
    assert ids(rec.recommend("user-0", k=5)) == expected


def test_unknown_user_gets_popular_items_and_the_reason(rec: Recommender) -> None:
    answer = rec.recommend("nobody", k=3, explain=True)
    likes = np.bincount(make_training_data().interactions.positives().item_idx, minlength=NUM_ITEMS)
    assert not answer.personalised
    assert "'nobody' is not known" in answer.reason
    assert [item.score for item in answer] == sorted(likes, reverse=True)[:3]
    assert [item.sources for item in answer] == [("popular",)] * 3
    assert answer[0].explanation is not None
    assert answer[0].explanation.text == f"popular: {max(likes)} people liked it"


@pytest.mark.parametrize(
    ("user", "history", "reason"),
    [
        ("loner", None, "has no train events"),
        ("critic", None, "nothing that was liked"),
        (None, None, "neither a user nor a history"),
        (None, [], "the history is empty"),
        ("user-0", [], "the history is empty"),
        (None, [Event("item-3", value=1.0)], "nothing that was liked"),
    ],
)
def test_nothing_liked_gives_popular_items(
    rec: Recommender, user: str | None, history: list[Event] | None, reason: str
) -> None:
    answer = rec.recommend(user, history=history, k=4)
    assert not answer.personalised
    assert reason in answer.reason
    assert len(answer) == 4


def test_popular_items_leave_out_what_was_seen(rec: Recommender) -> None:
    events = make_training_data().interactions
    seen = {f"item-{i}" for i in events.item_idx[events.user_idx == CRITIC]}
    assert not seen & set(ids(rec.recommend("critic", k=NUM_ITEMS)))


def test_history_of_a_user_never_seen(rec: Recommender) -> None:
    answer = rec.recommend(history=["item-0", "item-1"], k=1)
    assert answer.personalised
    assert ids(answer) == ["item-2"]  # the maker's third item


def test_brought_history_equals_the_stored_one(rec: Recommender) -> None:
    stored = rec.history_of("user-5")
    events = [
        Event(f"item-{item}", float(value), int(time))
        for item, value, time in zip(stored.item_idx, stored.value, stored.timestamp, strict=True)
    ]
    assert rec.recommend(history=events) == rec.recommend("user-5")
    shuffled = [events[n] for n in np.random.default_rng(0).permutation(len(events))]
    assert rec.recommend(history=shuffled) == rec.recommend("user-5")


def test_repeated_items_count_once_by_their_last_event(rec: Recommender) -> None:
    once = rec.recommend(history=["item-1", "item-0"])
    assert rec.recommend(history=["item-0", "item-1", "item-0"]) == once
    revised = rec.recommend(history=["item-6", Event("item-0", 5.0), Event("item-0", 1.0)])
    assert ids(revised)[0] in {"item-7", "item-8"}
    assert "item-0" not in ids(revised)


def test_low_values_are_no_likes_but_masked(rec: Recommender) -> None:
    answer = rec.recommend(history=[Event("item-0", 5.0), Event("item-1", 2.0)], k=NUM_ITEMS)
    plain = rec.recommend(history=["item-0"], k=NUM_ITEMS)
    assert "item-1" not in ids(answer)
    assert ids(answer) == [item for item in ids(plain) if item != "item-1"]
    forced = rec.recommend(history=["item-0", Event("item-1", 2.0, positive=True)], k=5)
    assert ids(forced) == ids(rec.recommend(history=["item-0", "item-1"], k=5))


def test_times_on_some_events_only_are_refused(rec: Recommender) -> None:
    with pytest.raises(RequestError, match=r"every event of the history or on none, got 1 of 2"):
        rec.recommend(history=[Event("item-0", timestamp=5), Event("item-1")])


def test_unknown_item_names_the_nearest(rec: Recommender) -> None:
    with pytest.raises(UnknownItemError, match=r"got 'item-100'; nearest: .*'item-10' \(Item 10\)"):
        rec.recommend(history=["item-0", "item-100"])
    for call in (rec.similar, lambda item: rec.explain("user-0", item)):
        with pytest.raises(UnknownItemError, match=r"'Item 7'; nearest: 'item-7' \(Item 7\)"):
            call("Item 7")


def test_unknown_items_of_a_history_can_be_skipped(rec: Recommender) -> None:
    answer = rec.recommend(history=["item-0", "gone"], skip_unknown=True)
    assert answer.items == rec.recommend(history=["item-0"]).items
    assert answer.reason == "left out unknown items gone"
    nothing = rec.recommend(history=["gone"], skip_unknown=True)
    assert nothing.reason == "popular items: the history is empty; left out unknown items gone"


def test_k_beyond_the_catalogue_gives_as_many_as_there_are(rec: Recommender) -> None:
    assert len(rec.recommend("user-0", k=10_000)) == NUM_ITEMS - len(seen_by("user-0"))
    assert len(rec.recommend("nobody", k=10_000)) == NUM_ITEMS
    assert len(rec.similar("item-0", k=10_000)) == NUM_ITEMS - 1


@pytest.mark.parametrize("k", [0, -3])
def test_k_below_one_is_refused(rec: Recommender, k: int) -> None:
    with pytest.raises(RequestError, match=rf"k of at least 1, got {k}"):
        rec.recommend("user-0", k=k)


@pytest.mark.parametrize("user", ["user-0", "nobody"])
def test_filters_by_entity_and_range_and_exclusion(rec: Recommender, user: str) -> None:
    answer = rec.recommend(user, k=60, filters={"about": "Topic 1"})
    assert set(ids(answer)) == {f"item-{i}" for i in range(15, 30)} - (
        seen_by(user) if user != "nobody" else set()
    )
    both = rec.recommend(
        user, k=60, filters={"made_by": ["Maker 0", "maker:Maker 9"], "year": (1961, None)}
    )
    wanted = {"item-1", "item-2", "item-27", "item-28", "item-29"}
    assert set(ids(both)) == wanted - (seen_by(user) if user != "nobody" else set())
    one = rec.recommend("nobody", filters={"year": 1965}, exclude=["not there"])
    assert ids(one) == ["item-5"]
    assert ids(rec.recommend("nobody", filters={"year": 1965}, exclude=["item-5"])) == []


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"director": "Ann"}, r"a filter out of made_by, about, year, got 'director'"),
        ({"about": "Topik 1"}, r"under 'about', got 'Topik 1'; nearest: 'Topic 1'"),
        ({"year": "new"}, r"a number or a \(least, most\) pair for the filter 'year', got 'new'"),
        ({"year": (1, 2, 3)}, r"pair for the filter 'year'"),
    ],
)
def test_filters_that_name_nothing_are_refused(
    rec: Recommender, filters: dict[str, object], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        rec.recommend("user-0", filters=filters)


def test_batch_equals_single(rec: Recommender) -> None:
    users = ["user-0", "nobody", "user-7", "loner", "user-31"]
    batch = rec.recommend_many(users, k=7, explain=True)
    for user, answer in zip(users, batch, strict=True):
        single = rec.recommend(user, k=7, explain=True)
        assert ids(answer) == ids(single)
        assert answer.reason == single.reason
        assert [i.explanation for i in answer] == [i.explanation for i in single]
        np.testing.assert_allclose(
            [i.score for i in answer], [i.score for i in single], rtol=1e-5, atol=1e-6
        )


def test_batch_of_histories(rec: Recommender) -> None:
    histories = [["item-0", "item-1"], []]
    first, second = rec.recommend_many(histories=histories, k=2)
    assert ids(first) == ids(rec.recommend(history=histories[0], k=2))
    assert not second.personalised
    assert rec.recommend_many([]) == []
    with pytest.raises(RequestError, match="one history for each of 1 users, got 2"):
        rec.recommend_many(["user-0"], histories=histories)


def test_similar_items(rec: Recommender, vectors: Recommender) -> None:
    assert set(ids(rec.similar("item-0", k=2))) == {"item-1", "item-2"}
    answer = vectors.similar("item-0", k=3, filters={"about": "Topic 0"}, exclude=["item-1"])
    assert not {"item-0", "item-1"} & set(ids(answer))
    assert all(int(item.removeprefix("item-")) < 15 for item in ids(answer))
    assert answer[0].score <= 1.0


def test_search_by_title(rec: Recommender) -> None:
    assert ids(rec.search("item 42", k=1)) == ["item-42"]
    assert ids(rec.search("itm 42", k=1)) == ["item-42"]
    assert ids(rec.search("   ")) == []


def test_vectors(rec: Recommender, vectors: Recommender) -> None:
    assert vectors.item_vector("item-4").shape == (NUM_ITEMS,)
    user = vectors.user_vector(history=["item-4"])
    np.testing.assert_array_equal(user, vectors.item_vector("item-4"))
    for call in (lambda: rec.item_vector("item-4"), lambda: rec.user_vector("user-0")):
        with pytest.raises(RequestError, match="'small_ease', which has none"):
            call()


def test_answers_print_and_turn_into_json(rec: Recommender) -> None:
    answer = rec.recommend("user-0", k=2, explain=True)
    assert repr(answer).startswith("2 recommendations, personalised (artifact-")
    assert "  1. Item" in repr(answer)
    plain = json.loads(json.dumps(answer.to_dict()))
    assert plain["items"][0]["item_id"] == answer[0].item_id
    assert plain["items"][0]["explanation"]["text"] == str(answer[0].explanation)


def test_ids_may_be_numbers(rec: Recommender) -> None:
    assert rec.recommend(5).reason == rec.recommend("5").reason
    with pytest.raises(UnknownItemError, match="got 5"):
        rec.similar(5)


def test_probes_are_checked(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path)
    rec = Recommender.load(folder, check_probes=True, scorers=SCORERS)
    assert rec.check_probes() == 5
    rec.artifact.manifest["probes"][2]["score"][0] += 1.0
    with pytest.raises(ArtifactError, match=r"probe 3 of 5 .* at rank 1; compare the versions"):
        rec.check_probes()


def test_many_threads_get_the_same_answers(rec: Recommender) -> None:
    users = [f"user-{n}" for n in range(24)] * 3
    expected = [rec.recommend(user, explain=True) for user in users]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda user: rec.recommend(user, explain=True), users)) == expected


def test_public_names_are_exact() -> None:
    assert {name: getattr(kgrec, name).__name__ for name in kgrec.__all__} == {
        name: name for name in kgrec.__all__
    }
    assert dir(kgrec) == sorted(kgrec.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trainer'"):
        _ = kgrec.trainer


def test_serving_loads_no_training_code(rec: Recommender) -> None:
    script = """
import sys
import kgrec
assert "numpy" not in sys.modules, "import kgrec should cost nothing"
from serving_data import SCORERS
rec = kgrec.Recommender.load(sys.argv[1], scorers=SCORERS)
rec.recommend("user-0", explain=True)
training = ("lightning", "pytorch_lightning", "graph_etl.pipeline", "kgrec.jobs", "neo4j")
print([name for name in training if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(rec.artifact.path)],
        env={"PYTHONPATH": f"{TESTS}:{TESTS.parent}", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
