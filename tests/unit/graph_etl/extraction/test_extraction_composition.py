"""Parts become one extraction; a cascade asks and answers as a run of the same stages does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_extraction import Scripted, film, places, schema

from graph_etl.extraction.composition import Cascade, merged
from graph_etl.extraction.extractor import Request
from graph_etl.extraction.ledger import Ledger
from graph_etl.extraction.records import ExtractedTriple, Extraction, Failure, Mention, Rejection
from graph_etl.extraction.run import ExtractionRun, RunLimits, Stage

WHOLE = (0, 50)
SHORT = Mention(7, 15, "person", 0.9)
FULL = Mention(0, 15, "person", 0.6)
PLACE = Mention(20, 24, "place", 0.8)


def part(*triples, mentions):
    return Extraction("d", tuple(mentions), tuple(triples))


def test_the_same_mention_counts_once_with_the_highest_confidence():
    sure = Mention(20, 24, "place", 0.95)
    made = merged("d", [("a", part(mentions=[PLACE])), ("b", part(mentions=[sure, FULL]))])
    assert made.extraction.mentions == (FULL, sure)
    assert made.mention_engines == (("b",), ("a", "b"))


def test_a_mention_inside_of_a_longer_one_of_its_type_is_that_one():
    one = part(ExtractedTriple(0, "born_in", 1, (7, 24), 0.9), mentions=[SHORT, PLACE])
    other = part(ExtractedTriple(0, "born_in", 1, WHOLE, 0.7), mentions=[FULL, PLACE])
    made = merged("d", [("a", one), ("b", other)])
    assert made.extraction.mentions == (FULL, PLACE)
    assert made.extraction.triples == (ExtractedTriple(0, "born_in", 1, (7, 24), 0.9),)
    assert made.triple_engines == (("a", "b"),)


def test_a_mention_inside_of_one_of_another_type_stays():
    city = Mention(7, 15, "place")
    made = merged("d", [("a", part(mentions=[FULL])), ("b", part(mentions=[city]))])
    assert made.extraction.mentions == (FULL, city)


def test_ends_that_have_become_one_are_a_self_loop():
    one = part(ExtractedTriple(0, "knows", 1, WHOLE), mentions=[SHORT, Mention(0, 6, "person")])
    made = merged("d", [("a", one), ("b", part(mentions=[FULL]))])
    assert made.extraction.triples == ()
    assert made.extraction.rejected == (Rejection("self_loop", "knows"),)


def test_triples_of_the_subject_and_rejections_stay():
    one = part(ExtractedTriple(None, "set_in", 0, WHOLE), mentions=[PLACE])
    other = Extraction("d", (), (), (Rejection("no_evidence", "x"),))
    made = merged("d", [("a", one), ("b", other)]).extraction
    assert made.triples == (ExtractedTriple(None, "set_in", 0, WHOLE),)
    assert made.rejected == (Rejection("no_evidence", "x"),)
    assert merged("d", []).extraction == Extraction("d")


def unsure(request):
    return places(request.document, 0.6)


def moody(request):
    """Fails with odd films, for good or in the first attempts, and never answers film 5."""
    number = int(request.document.doc_id.removeprefix("film-"))
    if number == 5:
        return Failure("timeout", "no answer", answered=False)
    if number % 2 and request.attempt <= number:
        return Failure("invalid_json", "no object")
    return places(request.document, 0.9 if number % 3 else 0.6)


STAGES = {
    "one": [(unsure, 0.5)],
    "always": [(unsure, None), (moody, None)],
    "unsure": [(moody, 0.8), (unsure, 0.8)],
    "three": [(moody, 0.5), (moody, 0.95), (unsure, None)],
}


@pytest.mark.parametrize("stages", STAGES.values(), ids=STAGES)
def test_a_cascade_asks_and_finds_what_a_run_does(stages, tmp_path):
    films = [film(number, text) for number, text in enumerate(["Set in ROME", "none"] * 6)]

    def made():
        return [Stage(Scripted(said, fingerprint=str(i)), b) for i, (said, b) in enumerate(stages)]

    in_run, in_cascade = made(), made()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        limits = RunLimits(max_failed_share=1.0)
        run = ExtractionRun(in_run, schema(), ledger, run_limits=limits)
        found = {one.document.doc_id: one.parts for one in run.over(films)}
    cascade = Cascade(in_cascade, schema())
    answers = {one.doc_id: one for one in cascade.answers([Request(one) for one in films])}
    assert list(answers) == [one.doc_id for one in films]
    for doc_id, parts in found.items():
        named = [(extractor.engine, extraction) for extractor, extraction in parts]
        expected = merged(doc_id, named).extraction if parts else None
        assert answers[doc_id].extraction == expected
    for one, other in zip(in_run, in_cascade, strict=True):
        assert sorted(one.extractor.calls) == sorted(other.extractor.calls)
    spent = sum(answer.usage.requests for answer in answers.values())
    assert spent == sum(account.usage.requests for account in run.accounts)


def test_what_no_engine_answered_fails_with_the_last_failure():
    failing = Scripted(lambda request: Failure("refusal", "no"), fingerprint="a")
    cascade = Cascade([Stage(failing)], schema(), max_attempts=2)
    [answer] = cascade.answers([Request(film(1, "x"), attempt=4)])
    assert answer.failure == Failure("refusal", "no")
    assert failing.calls == [("film-1", 4), ("film-1", 5)]
    assert list(cascade.answers([])) == []


def test_the_fingerprint_tells_engines_and_thresholds_apart():
    def made(*stages):
        return Cascade(
            [Stage(Scripted(fingerprint=name), below) for name, below in stages], schema()
        )

    prints = {
        made(*stages).fingerprint
        for stages in ([("a", 0.5)], [("a", 0.6)], [("b", 0.5)], [("a", 0.5), ("b", None)])
    }
    assert len(prints) == 4
    assert made(("a", 0.5)).fingerprint == made(("a", 0.5)).fingerprint
    with pytest.raises(ValueError, match="Expected at least one engine"):
        made()


SPANS = st.tuples(st.integers(0, 8), st.integers(1, 4), st.sampled_from(["person", "place"]))
PARTS = st.lists(st.sets(SPANS, max_size=5), max_size=3)


@settings(max_examples=200)
@given(PARTS)
def test_merged_mentions_are_the_maximal_ones_of_each_type(spans):
    parts = [
        (f"e{i}", part(mentions=[Mention(s, s + n, t) for s, n, t in sorted(one)]))
        for i, one in enumerate(spans)
    ]
    said = {(s, s + n, t) for one in spans for s, n, t in one}
    maximal = {
        (s, e, t)
        for s, e, t in said
        if not any(u == t and a <= s and e <= b and (a, b) != (s, e) for a, b, u in said)
    }
    made = merged("d", parts)
    assert [(m.start, m.end, m.entity_type) for m in made.extraction.mentions] == sorted(maximal)
    assert all(made.mention_engines)
