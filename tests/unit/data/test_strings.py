"""Strings in one run of bytes read like the array of strings that they stand for."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec.data.strings import StringColumn
from kgrec.serving.string_rows import StringRows

TEXTS = ["one", "", "zwölf", "日本", "one more"]


@given(st.lists(st.text()))
def test_column_reads_as_the_list_it_was_made_of(texts: list[str]) -> None:
    column = StringColumn.of(texts)
    assert column.tolist() == texts
    assert list(column) == texts
    assert len(column) == len(texts)
    assert StringColumn.of(pl.Series(texts, dtype=pl.String)[1:]).tolist() == texts[1:]


def test_column_reads_as_an_object_array_does() -> None:
    column, array = StringColumn.of(TEXTS), np.array(TEXTS, dtype=object)
    assert [column[place] for place in (0, -1, np.int64(3))] == ["one", "one more", "日本"]
    for chosen in (slice(1, 3), np.array([4, 0]), array != "", [2], np.array([[0, 1], [2, 3]])):
        np.testing.assert_array_equal(column[chosen], array[chosen])
    np.testing.assert_array_equal(column == "one", array == "one")
    np.testing.assert_array_equal(np.asarray(column), array)
    np.testing.assert_array_equal(column.astype(str), array.astype(str))
    assert "one" in column
    with pytest.raises(IndexError, match="below 5, got 5"):
        column[5]


def test_copy_may_be_written_into() -> None:
    column = StringColumn.of(TEXTS)
    written = column.copy()
    written[0] = "other"
    assert column[0] == "one"


def test_extended_column_holds_both() -> None:
    assert StringColumn.of(TEXTS).extended(["x", "é"]).tolist() == [*TEXTS, "x", "é"]
    assert StringColumn.of([]).extended(["x"]).tolist() == ["x"]


@given(st.lists(st.text(max_size=4)), st.text(max_size=4))
def test_rows_find_what_a_dict_finds(texts: list[str], other: str) -> None:
    rows, place = StringRows(StringColumn.of(texts)), {text: n for n, text in enumerate(texts)}
    for text in [*texts, other]:
        assert rows.get(text) == place.get(text)
        assert (text in rows) == (text in place)
