"""Scores of extractions: hand-made examples, and a naive loop over everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_etl.errors import DataError
from graph_etl.extraction.gold import GoldDocument, GoldRelation
from graph_etl.extraction.records import Document, ExtractedTriple, Extraction, Mention
from graph_etl.extraction.scoring import Counts, agreement, as_record, micro_counts, scores_of

TYPES, RELATIONS, PLACES = ("person", "place"), ("lives_in", "knows"), ((0, 2), (2, 4), (4, 6))


def gold(mentions, relations, name="d", subject=""):
    document = Document(name, "abcdef", subject_type=subject)
    return GoldDocument(
        document,
        tuple(Mention(*one) for one in mentions),
        tuple(GoldRelation(*one) for one in relations),
    )


def said(mentions, relations, name="d"):
    return Extraction(
        name,
        tuple(Mention(*one) for one in mentions),
        tuple(ExtractedTriple(*one, (0, 6)) for one in relations),
    )


def test_strict_wants_types_and_boundaries_does_not():
    truth = gold([(0, 2, "person"), (2, 4, "place")], [(0, "lives_in", 1)])
    answer = said([(0, 2, "place"), (2, 4, "place")], [(0, "lives_in", 1)])
    scores = scores_of([truth], {"d": answer})
    assert scores["entities"]["strict"].micro == Counts(1, 2, 2)
    assert scores["entities"]["boundaries"].micro == Counts(2, 2, 2)
    assert scores["triples"]["strict"].micro == Counts(0, 1, 1)
    assert scores["triples"]["boundaries"].micro == Counts(1, 1, 1)


def test_direction_and_relation_count_in_both_views():
    truth = gold([(0, 2, "person"), (2, 4, "person")], [(0, "knows", 1)])
    for answer in ([(1, "knows", 0)], [(0, "lives_in", 1)]):
        scores = scores_of([truth], {"d": said([(0, 2, "person"), (2, 4, "person")], answer)})
        assert scores["triples"]["strict"].micro.right == 0
        assert scores["triples"]["boundaries"].micro.right == 0


def test_duplicates_count_once():
    truth = gold([(0, 2, "person"), (0, 2, "person"), (2, 4, "place")], [(0, "lives_in", 2)] * 2)
    twice = [(0, 2, "person"), (0, 2, "person"), (2, 4, "place")]
    answer = said(twice, [(0, "lives_in", 2), (1, "lives_in", 2)])
    scores = scores_of([truth], {"d": answer})
    assert scores["entities"]["strict"].micro == Counts(2, 2, 2)
    assert scores["triples"]["strict"].micro == Counts(1, 1, 1)


def test_subject_is_an_end_like_any_other():
    truth = gold([(0, 2, "person")], [(None, "knows", 0)], subject="thing")
    right = said([(0, 2, "person")], [(None, "knows", 0)])
    turned = said([(0, 2, "person")], [(0, "knows", None)])
    assert scores_of([truth], {"d": right})["triples"]["strict"].micro.f1 == 1.0
    assert scores_of([truth], {"d": turned})["triples"]["boundaries"].micro.f1 == 0.0


def test_document_without_an_answer_counts_as_nothing_found():
    truths = [gold([(0, 2, "person")], [], name) for name in "ab"]
    scores = scores_of(truths, {"a": said([(0, 2, "person")], [], "a")})
    assert scores["entities"]["strict"].micro == Counts(1, 1, 2)
    assert scores["entities"]["strict"].micro.recall == 0.5


def test_nothing_said_and_nothing_true_scores_zero():
    micro = scores_of([gold([], [])], {"d": said([], [])})["triples"]["strict"].micro
    assert (micro.precision, micro.recall, micro.f1) == (0.0, 0.0, 0.0)


def test_types_are_counted_apart():
    truth = gold(
        [(0, 2, "person"), (2, 4, "place"), (4, 6, "person")], [(0, "lives_in", 1), (0, "knows", 2)]
    )
    answer = said([(0, 2, "person"), (2, 4, "place")], [(0, "lives_in", 1)])
    scores = scores_of([truth], {"d": answer})
    assert scores["entities"]["strict"].by_type == {
        "person": Counts(1, 1, 2),
        "place": Counts(1, 1, 1),
    }
    assert scores["triples"]["strict"].by_type == {
        "knows": Counts(0, 0, 1),
        "lives_in": Counts(1, 1, 1),
    }
    record = as_record(scores)
    assert record["triples"]["strict"]["all"]["f1"] == pytest.approx(2 / 3)
    assert record["entities"]["strict"]["person"]["recall"] == 0.5


def test_extraction_of_an_unlabelled_document_is_refused():
    with pytest.raises(DataError, match="got an extraction of 'x'"):
        scores_of([gold([], [])], {"x": said([], [], "x")})
    with pytest.raises(DataError, match="got no labelled documents"):
        scores_of([], {})


def test_agreement_of_runs():
    one = [said([(0, 2, "person"), (2, 4, "place")], [(0, "lives_in", 1)])]
    other = [said([(0, 2, "person")], [])]
    assert agreement(one, one) == {"entities": 1.0, "triples": 1.0}
    assert agreement(one, other) == {"entities": pytest.approx(2 / 3), "triples": 0.0}
    assert agreement([said([], [])], [said([], [])]) == {"entities": 1.0, "triples": 1.0}


def naive(gold_documents, answers, kind, strict):
    """Count by comparing everything with everything."""
    right = n_said = n_true = 0
    for truth in gold_documents:
        answer = answers.get(truth.document.doc_id)
        sides = []
        for record in (truth, answer):
            items = []
            if record is None:
                sides.append(items)
                continue
            ends = [(m.start, m.end, m.entity_type if strict else "") for m in record.mentions]
            if kind == "entities":
                listed = ends
            else:
                triples = record.relations if record is truth else record.triples
                listed = [
                    (
                        "subject" if t.head is None else ends[t.head],
                        t.relation,
                        "subject" if t.tail is None else ends[t.tail],
                    )
                    for t in triples
                ]
            for item in listed:
                if item not in items:
                    items.append(item)
            sides.append(items)
        n_true += len(sides[0])
        n_said += len(sides[1])
        for item in sides[1]:
            right += item in sides[0]
    return Counts(right, n_said, n_true)


mentions = st.lists(
    st.tuples(st.sampled_from(PLACES), st.sampled_from(TYPES)).map(lambda one: (*one[0], one[1])),
    min_size=1,
    max_size=5,
)


@st.composite
def marked(draw):
    found = draw(mentions)
    end = st.one_of(st.none(), st.integers(0, len(found) - 1))
    pairs = st.tuples(end, st.sampled_from(RELATIONS), end)
    relations = draw(st.lists(pairs.filter(lambda one: one[0] != one[2]), max_size=5))
    return found, relations


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(marked(), st.one_of(st.none(), marked())), min_size=1, max_size=4))
def test_counts_equal_a_naive_loop(pairs):
    truths = [gold(*truth, name=str(n), subject="thing") for n, (truth, _) in enumerate(pairs)]
    answers = {str(n): said(*answer, name=str(n)) for n, (_, answer) in enumerate(pairs) if answer}
    scores = scores_of(truths, answers)
    for kind in ("entities", "triples"):
        for view in ("strict", "boundaries"):
            table = scores[kind][view]
            assert table.micro == naive(truths, answers, kind, view == "strict")
            low, high = table.interval
            assert 0 <= low <= high <= 1
    in_order = [answers.get(str(n), Extraction(str(n))) for n in range(len(pairs))]
    assert micro_counts(truths, in_order, "triples") == scores["triples"]["strict"].micro


def test_interval_is_that_of_a_plain_bootstrap():
    rng = np.random.default_rng(1)
    truths = [gold([(0, 2, "person")], [], str(n)) for n in range(60)]
    good = rng.random(60) < 0.7
    answers = {
        str(n): said([(0, 2, "person" if good[n] else "place")], [], str(n)) for n in range(60)
    }
    table = scores_of(truths, answers)["entities"]["strict"]
    means = [rng.choice(good, 60).mean() for _ in range(4000)]
    assert table.interval == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.03)
    again = scores_of(truths, answers)["entities"]["strict"]
    assert again.interval == table.interval
