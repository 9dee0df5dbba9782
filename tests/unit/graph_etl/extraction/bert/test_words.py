"""Words, sentences and windows: exact ranges, nothing lost, rules as stated."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_etl.extraction.bert.config import ModelSettings
from graph_etl.extraction.bert.encoder import Pieces, tokenizer_of
from graph_etl.extraction.bert.windows import windows_of
from graph_etl.extraction.bert.words import SHAPES, sentences_of, shape_of, words_of
from graph_etl.extraction.records import Document


def words(text):
    return [text[start:end] for start, end in words_of(text)]


def sentences(text):
    spans = words_of(text)
    return [text[spans[a][0] : spans[b - 1][1]] for a, b in sentences_of(text, spans)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It cost 1,000.5 in the U.S., no?", "It|cost|1,000.5|in|the|U.S.|,|no|?"),
        ("O'Hara's New York-based", "O|'|Hara|'|s|New|York|-|based"),
        ("J. Smith e.g. 3.5mm FL12", "J|.|Smith|e.g.|3.5mm|FL12"),
        ("北京是中国的首都。", "北|京|是|中|国|的|首|都|。"),
        ("東京タワーへ", "東|京|タ|ワ|ー|へ"),
        ("हिन्दी naïve cafe\u0301 한국어", "हिन्दी|naïve|cafe\u0301|한국어"),
        ("a_b 🎬🏳️ x", "a|_|b|🎬|🏳️|x"),
        ("a\x00b\ufeff \u200b\u2060", "a|b"),
        ("", ""),
    ],
)
def test_words_follow_the_rule(text, expected):
    assert "|".join(words(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He met Dr. J. Kennedy. Then he left.", ["He met Dr. J. Kennedy.", "Then he left."]),
        ('"Why?" she asked. "No!"', ['"Why?" she asked.', '"No!"']),
        ("It rained... and then it stopped.", ["It rained... and then it stopped."]),
        ("Built by Acme Inc. in 1990.", ["Built by Acme Inc. in 1990."]),
        ("他住在北京。她住在上海！对吗？", ["他住在北京。", "她住在上海！", "对吗？"]),
        ("A title\n\nThe text", ["A title", "The text"]),
        ("One . Two ) . Three", ["One .", "Two ) .", "Three"]),
        ("In the U.S. Army he rose.", ["In the U.S. Army he rose."]),
        ("", []),
    ],
)
def test_sentences_follow_the_rule(text, expected):
    assert sentences(text) == expected


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
def test_words_and_sentences_leave_nothing_out(text):
    spans = words_of(text)
    assert all(start < end for start, end in spans)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    left = list(text)
    for start, end in spans:
        left[start:end] = " " * (end - start)
    assert not [one for one in left if one.isprintable() and not one.isspace()]
    parts = sentences_of(text, spans)
    assert [place for start, end in parts for place in range(start, end)] == list(range(len(spans)))


@pytest.mark.parametrize(
    ("word", "shape"),
    [
        ("word", "lower"), ("Word", "Capital"), ("I", "Capital"), ("NATO", "UPPER"),
        ("McCoy", "miXed"), ("1990", "digits"), ("B2B", "l3tters"),
        ("京", "unspaced"), ("...", "sign"),
        ("U.S.", "UPPER"), ("1,000", "l3tters"),
    ],
)  # fmt: skip
def test_shapes_of_words(word, shape):
    assert SHAPES[shape_of(word)] == shape


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["Anna ", "works. ", "In ", "京", "🎬 ", "xyz", "\n\n"]), max_size=80)
)
def test_windows_hold_every_word_once_and_keep_to_their_size(tiny_bert, parts):
    pieces = Pieces(tokenizer_of(tiny_bert))
    limits = ModelSettings(window_pieces=12, max_pieces=16)
    text = "".join(parts)
    windows = windows_of([Document("d", text, subject_type="t")], pieces, limits, {"t": 3})
    assert [span for one in windows for span in one.words] == words_of(text)
    for one in windows:
        assert len(one.piece_ids) <= 16
        assert len(one.piece_ids) <= 12 or len(one.sentences) == 1
        assert one.piece_starts[-1] == len(one.piece_ids)
        assert len(one.forms) == len(one.words) == len(one.piece_starts) - 1
        assert one.subject_type == 3
        covered = [place for start, end in one.sentences for place in range(start, end)]
        assert covered == list(range(len(one.words)))
