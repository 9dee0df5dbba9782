"""Escaping, words for numbers, and charts that say what they were given."""

import math
import re
from itertools import pairwise

import pytest

from graph_etl.markup import Markup, folded, from_data, join, table, tag, text
from kgrec.evaluation.statistics import Interval
from kgrec.report import wording
from kgrec.report.charts import Row, bars, intervals, lines, shares, ticks


def test_text_is_escaped_once_and_markup_is_kept() -> None:
    assert text("a < b & \"c\" 'd'") == "a &lt; b &amp; &quot;c&quot; &#x27;d&#x27;"
    assert text(text("a < b")) == "a &lt; b"
    assert text(None) == ""


@pytest.mark.parametrize("bad", ["\x00", "\x1b", "\x85", "\uffff"])
def test_text_leaves_out_control_characters(bad: str) -> None:
    assert text(f"a{bad}b") == "ab"


def test_text_replaces_lone_surrogates() -> None:
    assert text("a\ud800b") == "a?b"


def test_attributes_are_escaped_and_absent_ones_left_out() -> None:
    made = tag("a", "x", href='"><b>', class_=None, hidden=True, data_k=3, inert=False)
    assert made == '<a href="&quot;&gt;&lt;b&gt;" hidden data-k="3">x</a>'


def test_content_of_an_element_is_escaped_unless_it_is_markup() -> None:
    assert tag("p", "<b>", tag("i", "<")) == "<p>&lt;b&gt;<i>&lt;</i></p>"
    assert folded("<", "x") == "<details><summary>&lt;</summary>x</details>"
    assert from_data("\u202eabc") == "<bdi>\u202eabc</bdi>"
    assert isinstance(join(["a", 1, 2.5]), Markup)


def test_table_marks_rows_and_escapes_cells() -> None:
    made = table(["a", "b"], [["<x>", 1]], row_classes=["ours"], caption="c")
    assert '<tr class="ours"><th scope="row">&lt;x&gt;</th><td>1</td></tr>' in made
    assert "<caption>c</caption>" in made


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.25, "0.2 s"), (12.4, "12 s"), (250, "4 min 10 s"), (7500, "2 h 5 min"), (math.nan, "–")],
)
def test_durations_read_well(seconds: float, words: str) -> None:
    assert wording.duration(seconds) == words


def test_numbers_read_well() -> None:
    assert wording.counted(1, "entity", "entities") == "1 entity"
    assert wording.counted(2000, "entity", "entities") == "2,000 entities"
    assert wording.signed_percent(-0.0512) == "\u22125.1\u00a0%"
    assert wording.p_value(0.0004) == "p < 0.001"
    assert wording.p_value(0.0312) == "p = 0.031"
    assert wording.metric_name("ndcg@20") == "NDCG@20"
    assert wording.metric_name("popularity_lift@10") == "Popularity lift@10"
    assert wording.shortened("a  b\nc", 4) == "a b…"


def places(made: str, kind: str) -> list[tuple[float, float]]:
    found = re.findall(rf'<i class="{kind}" style="left:([\d.]+)%(?:;width:([\d.]+)%)?"', made)
    return [(float(left), float(width or 0)) for left, width in found]


def test_bars_start_at_zero_and_grow_with_the_value() -> None:
    made = bars([Row("a", 2.0, "2"), Row("b", 1.0, "1"), Row("c", 0.0, "0")])
    assert places(made, "bar") == [(0.0, 100.0), (0.0, 50.0), (0.0, 0.0)]


def test_bars_below_zero_go_to_the_left_of_it() -> None:
    made = bars([Row("a", 1.0, "1"), Row("b", -1.0, "-1"), Row("c", math.nan, "–")])
    assert places(made, "bar") == [(50.0, 50.0), (0.0, 50.0), (50.0, 0.0)]
    assert len(places(made, "zero")) == 3


def test_intervals_hold_their_value_and_the_reference_stands_in_every_row() -> None:
    rows = [
        Row("a", 0.3, "a", Interval(0.3, 0.2, 0.4), "published"),
        Row("b", 0.25, "b", Interval(0.25, 0.22, 0.3), "reference"),
    ]
    made = intervals(rows, reference=0.25)
    for (left, width), (dot, _) in zip(places(made, "whisker"), places(made, "dot"), strict=True):
        assert left < dot < left + width
    marks = places(made, "mark")
    assert marks == [places(made, "dot")[1]] * 2
    assert 'class="line published"' in made


def test_equal_values_do_not_divide_by_zero() -> None:
    rows = [Row("a", 0.0, "0"), Row("b", 0.0, "0")]
    assert places(bars(rows), "bar") == [(0.0, 0.0), (0.0, 0.0)]
    assert len(places(intervals(rows), "dot")) == 2
    assert "circle" in lines({"one": [(1.0, 0.5)]}, x_name="x", y_name="y")


def test_shares_sum_to_the_whole_and_leave_out_what_is_not_there() -> None:
    made = shares([("linked", 30), ("ambiguous", 0), ("unlinked", 10)])
    widths = [float(width) for width in re.findall(r"width:([\d.]+)%", made)]
    assert widths == [75.0, 25.0]
    assert "ambiguous" not in made


def test_lines_mark_the_point_that_was_chosen() -> None:
    made = lines({"a": [(1, 0.1), (2, 0.3), (3, 0.2)]}, x_name="x", y_name="y", marked={"a": 2})
    radii = re.findall(r' r="([\d.]+)"', made)
    assert radii == ["2.5", "5", "2.5"]
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', made)]
    assert heights[1] < heights[2] < heights[0]  # the higher the value, the higher on the page


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.1157, 0.2212), (-3.0, 7.0), (0, 12573)])
def test_ticks_are_even_and_inside(low: float, high: float) -> None:
    found = ticks(low, high, 5)
    assert 3 <= len(found) <= 9
    assert low <= found[0]
    assert found[-1] <= high
    steps = {round(b - a, 9) for a, b in pairwise(found)}
    assert len(steps) == 1
