"""The parts of the network and of its training, each against a plain loop."""

import numpy as np
import pytest
import torch
from tiny_world import SCHEMA, document, mention, world

from graph_etl.extraction import bert
from graph_etl.extraction.bert.config import ModelSettings
from graph_etl.extraction.bert.decoding import candidates_of
from graph_etl.extraction.bert.encoder import Pieces, tokenizer_of
from graph_etl.extraction.bert.features import (
    IGNORED,
    SUBJECT,
    WindowLabels,
    batch_of,
    labels_of,
    span_targets,
)
from graph_etl.extraction.bert.labels import Labels
from graph_etl.extraction.bert.model import larger, range_max
from graph_etl.extraction.bert.pairs import pair_targets, pairs_of, within_reach
from graph_etl.extraction.bert.training_data import hide_pieces, settings_for
from graph_etl.extraction.bert.windows import windows_of
from graph_etl.extraction.gold import GoldDocument, GoldRelation
from graph_etl.extraction.records import Mention

LABELS = Labels(SCHEMA)
THING, PERSON, PLACE, FIRM = range(4)


@pytest.fixture(scope="module")
def pieces(tiny_bert):
    return Pieces(tokenizer_of(tiny_bert))


def windows(pieces, *texts, subject=False):
    documents = [document(text, str(n), subject) for n, text in enumerate(texts)]
    return windows_of(documents, pieces, ModelSettings(), LABELS.type_index)


@pytest.mark.parametrize("length", [1, 2, 7, 12, 33])
def test_range_max_equals_a_loop(length):
    generator = torch.Generator().manual_seed(length)
    values = torch.randn(3, length, 5, generator=generator, requires_grad=True)
    starts = torch.randint(0, length, (40,), generator=generator)
    ends = torch.minimum(
        starts + torch.randint(0, length + 1, (40,), generator=generator), torch.tensor(length)
    )
    rows = torch.randint(0, 3, (40,), generator=generator)
    found = range_max(values, rows, starts, ends, length)
    for place, (row, start, end) in enumerate(zip(rows, starts, ends, strict=True)):
        wanted = values[row, start:end].max(dim=0).values if end > start else torch.zeros(5)
        assert torch.equal(found[place], wanted)
    (mine,) = torch.autograd.grad(found.sum(), values)
    ranges = zip(rows, starts, ends, strict=True)
    plain = [values[r, s:e].amax(dim=0).sum() for r, s, e in ranges if e > s]
    (theirs,) = torch.autograd.grad(torch.stack(plain).sum(), values)
    assert torch.allclose(mine, theirs)


def test_larger_has_the_gradient_of_maximum():
    first = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    second = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(larger, (first, second))


def test_labels_of_a_window_leave_out_what_no_answer_could_be(pieces):
    text = "Anna lives in Paris . Bert"
    gold = GoldDocument(
        document(text),
        (
            mention(text, "Anna", "person"),
            Mention(1, 3, "person"),
            mention(text, "Paris", "place"),
            mention(text, "Anna", "person"),
        ),
        tuple(GoldRelation(head, "lives_in", 2) for head in (0, 1, 3)),
        unknown=((22, 26),),
        unsure=frozenset({GoldRelation(2, "lives_in", 0)}),
    )  # fmt: skip
    (window,) = windows(pieces, text)
    known = labels_of(window, gold, LABELS)
    assert known.spans.tolist() == [[0, 0, PERSON], [3, 3, PLACE]]
    lives_in = LABELS.relation_index["lives_in"]
    assert known.relations == {(0, lives_in, 1)}
    assert known.unsure == {(1, lives_in, 0)}
    assert known.unknown == ((5, 6),)


def test_span_targets_name_mentions_and_leave_out_the_unknown():
    spans = np.array([[0, 1, PERSON]])
    known = WindowLabels(spans, frozenset(), frozenset(), ((3, 4),))
    window = type("Window", (), {"words": ((0, 1),) * 5})
    rng = np.random.default_rng(0)
    targets = span_targets([window], [known], 3, 100, rng)[0]
    for first in range(5):
        for more in range(3):
            last = first + more
            outside = last >= 5 or first <= 3 <= last
            wanted = PERSON + 1 if (first, last) == (0, 1) else IGNORED if outside else 0
            assert targets[first, more] == wanted
    few = span_targets([window], [known], 3, 2, rng)[0]
    assert (few == 0).sum() == 2
    assert few[0, 1] == PERSON + 1


def test_pairs_are_those_that_the_schema_has_a_pattern_for():
    spans = np.array([[0, 0, PERSON], [2, 2, PLACE], [4, 4, FIRM], [6, 6, PERSON]])
    pairs = pairs_of([spans[:0], spans, spans], [THING, THING, -1], LABELS.allowed)
    listed = set(zip(pairs.window.tolist(), pairs.head.tolist(), pairs.tail.tolist(), strict=True))
    between = {(head, tail) for head in (0, 3) for tail in (1, 2)}
    wanted = {(window, *pair) for window in (1, 2) for pair in between}
    assert listed == wanted | {(1, SUBJECT, 0), (1, SUBJECT, 3)}
    assert LABELS.allowed[pairs.head_type, pairs.tail_type].any(axis=1).all()


def test_pairs_that_are_too_far_apart_are_not_asked(pieces):
    (window,) = windows(pieces, "Anna . Bert . Paris . Rome .", subject=True)
    batch = batch_of([window], pieces)
    spans = np.array([[0, 0, PERSON], [2, 2, PERSON], [4, 4, PLACE], [6, 6, PLACE]])
    pairs = pairs_of([spans], [THING], LABELS.allowed)
    for limit in (None, 0, 1, 2, 3):
        kept = within_reach(pairs, batch.sentence, limit)
        listed = set(zip(kept.head.tolist(), kept.tail.tolist(), strict=True))
        far = 3 if limit is None else limit
        near = {(head, tail) for head in (0, 1) for tail in (2, 3) if tail - head <= far}
        assert listed == near | {(SUBJECT, 0), (SUBJECT, 1)}


def test_pair_targets_hold_truth_doubt_and_a_cap():
    spans = np.array([[place, place, PERSON if place < 6 else PLACE] for place in range(12)])
    lives_in = LABELS.relation_index["lives_in"]
    relations = frozenset({(0, lives_in, 7)})
    known = WindowLabels(spans, relations, frozenset({(1, lives_in, 7)}), ())
    pairs = pairs_of([spans], [-1], LABELS.allowed)
    rng = np.random.default_rng(0)
    all_pairs, truth, counts = pair_targets(pairs, [known], LABELS.allowed, 100, rng)
    assert len(all_pairs) == 36
    for row, (head, tail) in enumerate(zip(all_pairs.head, all_pairs.tail, strict=True)):
        assert truth[row].nonzero().flatten().tolist() == (
            [lives_in] if (head, tail) == (0, 7) else []
        )
        assert counts[row].sum() == (0 if (head, tail) == (1, 7) else 1)
    few, truth, _ = pair_targets(pairs, [known], LABELS.allowed, 5, rng)
    assert len(few) == 6
    assert truth.sum() == 1


def test_candidates_are_the_likeliest_types_and_their_rivals():
    logits = torch.full((2, 6, 2, 4), -5.0)
    logits[..., 0] = 0.0
    logits[0, 0, 1, 1] = 2.0  # words 0-1, type 0
    logits[0, 1, 0, 2:4] = torch.tensor([3.0, 2.8])  # word 1, two types
    logits[0, 2, 0, 1] = -0.5  # word 2: less sure than none, yet a probability of .37
    logits[0, 3, 0, 1:4] = torch.tensor([0.1, 0.09, 0.08])  # word 3: each has .26, one is first
    logits[0, 5, 1, 2] = 9.0  # words 5-6: outside
    mentions, confidences = candidates_of(logits, torch.tensor([6, 6]))
    found = [[0, 1, 0], [1, 1, 1], [1, 1, 2], [2, 2, 0], [3, 3, 0]]
    assert mentions[0].tolist() == found
    margins = torch.tensor([2.0, 3.0, 2.8, -0.5, 0.1])
    assert confidences[0] == pytest.approx(torch.sigmoid(margins).numpy())
    assert mentions[1].shape == (0, 3)
    assert confidences[1].shape == (0,)


def test_candidates_are_no_more_than_words():
    logits = torch.full((2, 4, 2, 2), 0.0)
    logits[..., 1] = 1 + torch.arange(16.0).reshape(2, 4, 2)
    mentions, confidences = candidates_of(logits, torch.tensor([4, 2]))
    assert mentions[0].tolist() == [[1, 2, 0], [2, 2, 0], [2, 3, 0], [3, 3, 0]]
    assert mentions[1].tolist() == [[0, 1, 0], [1, 1, 0]]
    assert [len(one) for one in confidences] == [4, 2]


def test_batches_pad_and_point_to_pieces(pieces):
    found = windows(pieces, "Anna zz .", "Bert", subject=True)
    batch = batch_of(found, pieces)
    for row, one in enumerate(found):
        assert batch.num_words[row] == len(one.words)
        for word in range(len(one.words)):
            first, end = batch.first_piece[row, word], batch.end_piece[row, word]
            start, stop = one.piece_starts[word : word + 2]
            assert tuple(batch.piece_ids[row, first:end].tolist()) == one.piece_ids[start:stop]
        assert batch.attention[row].sum() == len(one.piece_ids) + 2
        assert (
            batch.first_piece[row, len(one.words) :] == batch.end_piece[row, len(one.words) :]
        ).all()
    assert batch.subject_type.tolist() == [THING, THING]


def test_hidden_pieces_spare_the_frame(pieces):
    batch = batch_of(windows(pieces, "Anna lives in Paris .", "Bert"), pieces)
    rng = np.random.default_rng(0)
    hidden = hide_pieces(batch, 0.999, pieces.mask, rng)
    assert (hidden.piece_ids == pieces.mask).sum() >= 5
    assert (hidden.piece_ids[:, 0] == pieces.cls).all()
    ends = hidden.attention.sum(dim=1) - 1
    assert (hidden.piece_ids[torch.arange(2), ends] == pieces.sep).all()
    assert (hidden.piece_ids[1, 3:] == pieces.pad).all()


def test_settings_fit_the_labels():
    text = "one two three four five six seven eight nine ten"
    long = GoldDocument(document(text), (Mention(0, len(text), "place"),))
    assert settings_for([long], ModelSettings()).max_span_words == 10
    assert settings_for(world(), ModelSettings()).max_span_words == 8
    assert not settings_for(world(), ModelSettings()).nested
    far = "Anna . Bert . Paris ."
    both = (mention(far, "Anna", "person"), mention(far, "Paris", "place"))
    related = GoldDocument(document(far), both, (GoldRelation(0, "lives_in", 1),))
    assert settings_for([related], ModelSettings()).sentences_apart == 2
    assert settings_for([related], ModelSettings(sentences_apart=1)).sentences_apart == 1
    assert settings_for(world(), ModelSettings()).sentences_apart == 0
    inside = GoldDocument(document(text), (Mention(0, 7, "place"), Mention(4, 7, "place")))
    assert settings_for([inside], ModelSettings()).nested


def test_public_names_are_there():
    for name in bert.__all__:
        assert getattr(bert, name).__name__ == name
    assert dir(bert) == sorted(bert.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        bert.nothing  # noqa: B018
