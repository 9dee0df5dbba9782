"""Reasons: every edge exists, generic facts only where nothing else is, the named item counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from serving_data import COLD, NUM_ITEMS, SCORERS, make_artifact, strings

from kgrec.data.graph import KnowledgeGraph
from kgrec.serving.answers import Explanation
from kgrec.serving.deletion_test import deletion_test
from kgrec.serving.explanations import ExplanationConfig
from kgrec.serving.recommender import Recommender


@pytest.fixture(scope="module")
def rec(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    root = tmp_path_factory.mktemp("explained")
    make_artifact(root)
    return Recommender.load(root / "current", scorers=SCORERS)


def with_graph(rec: Recommender, graph: KnowledgeGraph) -> Recommender:
    return Recommender(replace(rec.artifact, graph=graph))


def linked(graph: KnowledgeGraph, head: list[int], tail: list[int], phrase: str) -> KnowledgeGraph:
    """Return the graph with these triples of one more relation, and no others."""
    return replace(
        graph,
        relations=(*graph.relations, "extra"),
        phrases=(*graph.phrases, phrase),
        head=np.array(head, dtype=np.int64),
        relation=np.full(len(head), len(graph.relations), dtype=np.int64),
        tail=np.array(tail, dtype=np.int64),
    )


def all_reasons(rec: Recommender, num_users: int = 40) -> list[tuple[str, str, Explanation]]:
    """Return (user, item, reason) of the first users' lists."""
    users = rec.artifact.users.ids[:num_users].tolist()
    answers = rec.recommend_many(users, k=8, explain=True)
    return [
        (user, item.item_id, item.explanation)
        for user, answer in zip(users, answers, strict=True)
        for item in answer
        if item.explanation
    ]


def test_every_edge_stands_in_the_graph(rec: Recommender) -> None:
    graph = rec.artifact.graph
    edges = {
        (graph.entity_ids[h], graph.relations[r], graph.entity_ids[t])
        for h, r, t in zip(graph.head, graph.relation, graph.tail, strict=True)
    }
    reasons = [reason for _, _, reason in all_reasons(rec)]
    used = [edge for reason in reasons for edge in reason.path]
    assert len(reasons) == 8 * 40
    assert len(used) > 100
    assert set(used) <= edges
    for reason in reasons:
        assert len(reason.path) == len(reason.path_text)
        assert (reason.kind in ("path", "generic path")) == bool(reason.path)


def test_a_liked_item_of_the_same_title_is_no_reason(rec: Recommender) -> None:
    titles = rec.artifact.items.titles.copy()
    titles[0], titles[2] = "Dune", "DUNE!"
    twins = Recommender(replace(rec.artifact, items=replace(rec.artifact.items, titles=titles)))
    named = {
        reason.liked_item_id
        for history in (["item-0", "item-4"], ["item-0", "item-1", "item-30"])
        if (reason := twins.explain(None, "item-2", history=history))
    }
    assert rec.explain(None, "item-2", history=["item-0", "item-30"]).liked_item_id == "item-0"
    assert "item-0" not in named
    assert "item-4" in named
    alone = twins.explain(None, "item-2", history=["item-0"])
    assert (alone.kind, alone.liked_item_id) == ("whole history", None)


def test_a_title_of_many_items_names_a_kind_and_stays_a_reason(rec: Recommender) -> None:
    titles = rec.artifact.items.titles.copy()
    titles[:4] = "Gift card"
    cards = Recommender(replace(rec.artifact, items=replace(rec.artifact.items, titles=titles)))
    reason = cards.explain(None, "item-2", history=["item-0", "item-30"])
    assert reason.text == "you liked Gift card; both were made by Maker 0"


def test_path_joins_the_liked_item_and_the_item(rec: Recommender) -> None:
    reason = rec.explain(None, "item-2", history=["item-0", "item-30"])
    assert reason.text == "you liked Item 0; both were made by Maker 0"
    assert reason.kind == "path"
    assert reason.path == (
        ("item:Item 0", "made_by", "maker:Maker 0"),
        ("item:Item 2", "made_by", "maker:Maker 0"),
    )
    assert reason.path_text == ("Item 0 was made by Maker 0", "Item 2 was made by Maker 0")
    assert reason.liked_item_id == "item-0"
    assert reason.drop is not None
    assert reason.drop > 0


def test_generic_facts_come_only_where_nothing_is_more_specific(rec: Recommender) -> None:
    # nobody is said to have liked both, so that generic facts have their chance
    told = all_reasons(Recommender(rec.artifact, ExplanationConfig(min_co_likes=10_000)))
    generic = [(user, item) for user, item, reason in told if reason.kind == "generic path"]
    assert len(generic) > 10
    for user, item in generic:
        history = rec.history_of(user)
        makers = {row // 3 for row in history.item_idx[history.positive]}
        assert rec.row_of(item) // 3 not in makers
    for _, _, reason in told:
        about = any(edge.relation == "about" for edge in reason.path)
        assert about == (reason.kind == "generic path")


def test_words_of_a_generic_path(rec: Recommender) -> None:
    weights = rec.artifact.scorer.weights.copy()  # type: ignore[attr-defined]
    weights[0, [0, 1, 2]] = -1.0  # the maker's own items aside
    other = int(weights[0, :15].argmax())
    lenient = Recommender(rec.artifact, ExplanationConfig(min_co_likes=10_000))
    reason = lenient.explain(None, f"item-{other}", history=["item-0"])
    assert reason.kind == "generic path"
    assert reason.text == "you liked Item 0; both are about Topic 0"


def test_follows_from_a_liked_item_without_a_path(rec: Recommender) -> None:
    no_graph = with_graph(rec, rec.artifact.graph.ablated("off", 0))
    reason = no_graph.explain(None, "item-2", history=["item-0", "item-30"])
    both, fans = co_likes(rec, 2, 0), likes(rec, 0)
    assert reason.kind == "follows"
    assert reason.path == ()
    assert reason.liked_item_id == "item-0"
    expected = f"because you liked Item 0: {both} of {fans} people who liked it liked this too"
    assert reason.text == expected


def test_item_that_no_liked_item_carries(rec: Recommender) -> None:
    cold = rec.explain("user-3", f"item-{COLD}")
    assert cold.kind == "whole history"
    assert cold.text == "fits what you liked as a whole; new: nobody has liked it yet"
    assert cold.liked_item_id is None
    best = max(range(NUM_ITEMS), key=lambda row: likes(rec, row))
    text = f"popular: {likes(rec, best)} people liked it"
    assert rec.explain("nobody", f"item-{best}").text == text
    rare = min(range(COLD), key=lambda row: likes(rec, row))
    assert rec.explain("nobody", f"item-{rare}").text == f"{likes(rec, rare)} people liked it"


def test_item_of_the_history_is_explained_as_if_new(rec: Recommender) -> None:
    reason = rec.explain(None, "item-2", history=["item-2", "item-0"])
    assert reason.liked_item_id == "item-0"


def test_items_joined_by_one_triple(rec: Recommender) -> None:
    graph = linked(rec.artifact.graph, [2], [0], "is a sequel of")
    reason = with_graph(rec, graph).explain(None, "item-2", history=["item-0", "item-30"])
    assert reason.text == "you liked Item 0; Item 2 is a sequel of Item 0"
    assert reason.path == (("item:Item 2", "extra", "item:Item 0"),)


def test_entities_that_are_heads(rec: Recommender) -> None:
    maker = NUM_ITEMS
    graph = linked(rec.artifact.graph, [maker, maker + 1, maker, maker + 1], [0, 0, 2, 2], "made")
    reason = with_graph(rec, graph).explain(None, "item-2", history=["item-0", "item-30"])
    assert reason.text == "you liked Item 0; Maker 0 and Maker 1 made both"


def test_ways_of_three_triples(rec: Recommender) -> None:
    first, second = NUM_ITEMS, NUM_ITEMS + 1
    graph = linked(rec.artifact.graph, [0, first, 2], [first, second, second], "knows")
    reason = with_graph(rec, graph).explain(None, "item-2", history=["item-0", "item-30"])
    assert reason.text == (
        "you liked Item 0; Item 0 knows Maker 0, Maker 0 knows Maker 1 and Item 2 knows Maker 1"
    )
    assert len(reason.path) == 3


def test_two_items_related_to_an_entity_in_different_ways(rec: Recommender) -> None:
    graph = linked(rec.artifact.graph, [0], [NUM_ITEMS], "praises")
    keep = np.array([2, 0, 0])  # item 2 made by Maker 0, from the graph as it was
    mixed = replace(
        graph,
        head=np.append(graph.head, keep[0]),
        relation=np.append(graph.relation, 0),
        tail=np.append(graph.tail, NUM_ITEMS),
    )
    reason = with_graph(rec, mixed).explain(None, "item-2", history=["item-0", "item-30"])
    assert reason.text == (
        "you liked Item 0; Item 0 praises Maker 0 and Item 2 was made by Maker 0"
    )


def test_reasons_name_no_relation_in_code() -> None:
    folder = Path(__file__).parents[3] / "kgrec" / "serving"
    for file in folder.glob("*.py"):
        for word in ("directed_by", "has_genre", "country"):
            lines = [line for line in file.read_text().splitlines() if f"== '{word}" in line]
            assert lines == []


def test_named_items_stand_the_deletion_test(rec: Recommender) -> None:
    result = deletion_test(rec, num_explanations=300, k=5, seed=1)
    assert result.num_explanations >= 300
    assert result.share >= 0.8
    assert result.low <= result.share <= result.high
    assert sum(result.kinds.values()) == result.num_explanations
    assert deletion_test(rec, num_explanations=300, k=5, seed=1) == result


def test_deletion_test_notices_random_reasons(
    rec: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A referee that passes everything is none: names drawn at random must win about half."""
    rng = np.random.default_rng(0)

    def at_random(history: object, items: np.ndarray, *_: object) -> list[Explanation]:
        liked = np.unique(history.item_idx[history.positive])  # type: ignore[attr-defined]
        return [
            Explanation("because", "follows", liked_item_id=f"item-{rng.choice(liked)}")
            for _ in items
        ]

    fake = Recommender(rec.artifact)
    monkeypatch.setattr(fake._served._explainer, "explain", at_random)
    assert 0.3 < deletion_test(fake, num_explanations=300, k=5).share < 0.6


def likes(rec: Recommender, row: int) -> int:
    return int((rec.artifact.interactions.positives().item_idx == row).sum())


def co_likes(rec: Recommender, first: int, second: int) -> int:
    liked = rec.artifact.interactions.positives()
    users = [set(liked.user_idx[liked.item_idx == row]) for row in (first, second)]
    return len(users[0] & users[1])


def test_names_fall_back_on_ids(rec: Recommender) -> None:
    graph = rec.artifact.graph
    nameless = replace(graph, entity_names=strings([""] * graph.num_entities))
    reason = with_graph(rec, nameless).explain(None, "item-2", history=["item-0", "item-30"])
    assert reason.text == "you liked Item 0; both were made by maker:Maker 0"


def test_rare_entities_of_a_generic_relation_are_generic_too(rec: Recommender) -> None:
    common, rare = NUM_ITEMS, NUM_ITEMS + 1
    items = list(range(NUM_ITEMS))
    tails = [rare if item in (0, 2) else common for item in items]
    whole = linked(rec.artifact.graph, items, tails, "is in")
    alone = linked(rec.artifact.graph, [0, 2], [rare, rare], "is in")
    assert with_graph(rec, whole).explain(None, "item-2", history=["item-0"]).kind == "follows"
    assert with_graph(rec, alone).explain(None, "item-2", history=["item-0"]).kind == "path"


def test_what_most_items_share_is_no_reason(rec: Recommender) -> None:
    items = list(range(NUM_ITEMS))
    of_all = linked(rec.artifact.graph, items, [NUM_ITEMS] * NUM_ITEMS, "is in")
    artifact = replace(rec.artifact, graph=of_all)
    lone = ExplanationConfig(min_co_likes=10_000)  # nobody is said to have liked both
    reason = Recommender(artifact, lone).explain(None, "item-2", history=["item-0"])
    assert (reason.kind, reason.text) == ("follows", "because you liked Item 0")
    every = lone.model_copy(update={"common_share": 1.0})
    reason = Recommender(artifact, every).explain(None, "item-2", history=["item-0"])
    assert reason.text == "you liked Item 0; both are in Maker 0"
