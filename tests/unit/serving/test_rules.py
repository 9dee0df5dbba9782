"""Rules after ranking: what they do to a list, and that they tell."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from serving_data import NUM_ITEMS, SCORERS, VectorEase, make_artifact

from kgrec import Recommender, RequestError
from kgrec.serving.answers import Recommendations
from kgrec.serving.rules import Boost, Freshness, RulesConfig


@pytest.fixture(scope="module")
def rec(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    root = tmp_path_factory.mktemp("vectors")
    make_artifact(root, scorer=VectorEase)
    return Recommender.load(root / "current", scorers=SCORERS)


def numbers(answer: Recommendations) -> list[int]:
    return [int(item.item_id.removeprefix("item-")) for item in answer]


def asked(rec: Recommender, **rules: object) -> Recommendations:
    return rec.recommend("user-0", k=10, rules=RulesConfig(**rules), debug=True)  # type: ignore[arg-type]


def test_no_rule_changes_nothing(rec: Recommender) -> None:
    plain = rec.recommend("user-0", k=10)
    assert asked(rec).items == plain.items
    assert asked(rec).debug == {"rules": {}}
    assert plain.debug is None
    assert "debug" not in plain.to_dict()
    assert asked(rec).to_dict()["debug"] == {"rules": {}}


def test_exclusions_leave_out_what_a_filter_names(rec: Recommender) -> None:
    answer = asked(rec, exclude=[{"about": "Topic 0"}, {"year": (2000, None)}])
    assert len(answer) == 10
    assert all(15 <= number < 40 for number in numbers(answer))
    assert answer.debug is not None
    told = answer.debug["rules"]
    assert {"item-40", "item-59"} <= set(told["exclude.1"]["left_out"])


def test_boosts_move_items_up_and_down(rec: Recommender) -> None:
    up = asked(rec, boosts=[Boost(filters={"about": "Topic 3"}, weight=50.0)])
    assert all(number >= 45 for number in numbers(up))
    top = numbers(rec.recommend("user-0", k=1))[0]
    down = asked(rec, boosts=[Boost(filters={"year": 1960 + top}, weight=-50.0)])
    assert top not in numbers(down)
    assert [item.rank for item in down] == list(range(1, 11))
    scores = [item.score for item in down]
    assert scores == sorted(scores, reverse=True)


def test_caps_hold_for_every_entity(rec: Recommender) -> None:
    answer = rec.recommend("nobody", k=15, rules=RulesConfig(caps={"made_by": 1}), debug=True)
    makers = [number // 3 for number in numbers(answer)]
    assert len(makers) == len(set(makers)) == 15
    two = rec.recommend("nobody", k=60, rules=RulesConfig(caps={"about": 2, "made_by": 1}))
    assert len(two) == 8  # four topics: fewer come, never more of one


def test_fresh_items_come_first(rec: Recommender) -> None:
    answer = asked(rec, freshness=Freshness(column="year", half_life=1.0, weight=100.0))
    assert numbers(answer)[0] == NUM_ITEMS - 1
    assert numbers(answer)[1] == NUM_ITEMS - 2


def test_diversity_spreads_the_list(rec: Recommender) -> None:
    def topics(diversity: float) -> int:
        return len({number // 15 for number in numbers(asked(rec, diversity=diversity))})

    assert topics(0.8) > topics(0.0)
    assert numbers(asked(rec, diversity=0.8))[0] == numbers(rec.recommend("user-0", k=1))[0]


def test_exploration_shows_others_and_tells_how_likely(rec: Recommender) -> None:
    plain = set(numbers(rec.recommend("user-0", k=10)))
    answer = asked(rec, explore_share=0.3, seed=1)
    new = [item for item in answer if "exploration" in item.sources]
    assert len(new) == 3
    assert answer[0].rank == 1
    assert answer[0] not in new
    assert len(set(numbers(answer)) & plain) == 7
    assert answer.debug is not None
    told = answer.debug["rules"]["explore"]
    assert told["items"] == [item.item_id for item in new]
    beyond = len(rec.recommend("user-0", k=NUM_ITEMS)) - 10
    assert told["propensity"] == pytest.approx(3 / beyond)
    assert asked(rec, explore_share=0.3, seed=1) == answer
    drawn = {
        number for seed in range(60) for number in numbers(asked(rec, explore_share=0.3, seed=seed))
    }
    assert len(drawn) == beyond + 10


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"caps": {"by": 1}}, r"a cap on a relation out of made_by, about, got 'by'"),
        ({"boosts": [{"filters": {"by": "x"}, "weight": 1.0}]}, r"a filter out of made_by"),
        ({"freshness": {"column": "price", "half_life": 1.0}}, r"a filter out of .*got 'price'"),
    ],
)
def test_rules_that_name_nothing_are_refused(
    rec: Recommender, rules: dict[str, object], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        asked(rec, **rules)


@pytest.mark.parametrize(
    "rules",
    [
        {"diversity": 1.5},
        {"explore_share": -0.1},
        {"freshness": {"column": "year", "half_life": 0.0}},
        {"boosts": [{"filters": {}, "weight": float("nan")}]},
        {"caps": {"made_by": -1}},
    ],
)
def test_rules_out_of_range_are_refused(rules: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RulesConfig.model_validate(rules)


def test_complements_are_liked_together_not_alike(tmp_path: Path) -> None:
    make_artifact(tmp_path)
    rec = Recommender.load(tmp_path / "current", scorers=SCORERS)
    answer = rec.complementary("item-0", k=5)
    train = rec.artifact.interactions.positives()
    fans = set(train.user_idx[train.item_idx == 0])
    assert len(answer) == 5
    for item in answer:
        row = rec.row_of(item.item_id)
        assert len(fans & set(train.user_idx[train.item_idx == row])) >= 2
    assert answer.reason == "goes with Item 0"
    nothing = rec.complementary("item-59")
    assert len(nothing) == 0
    assert "too few people have liked it" in nothing.reason
