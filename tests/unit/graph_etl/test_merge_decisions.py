"""The review file: what people may write in it, and what is refused with its line."""

from __future__ import annotations

import pytest

from graph_etl.errors import ConfigError
from graph_etl.resolution.merge_decisions import (
    COLUMNS,
    ReviewRow,
    decided,
    decisions_of,
    read_review,
    shown,
    with_open_pairs,
    write_review,
)

HEAD = ",".join(COLUMNS)


def row(one, other, decision="", by="", score=""):
    return ReviewRow("t", f"t:{one}", one, f"t:{other}", other, score, "why", decision, by)


def file_of(folder, *lines):
    path = folder / "review.csv"
    path.write_text("\n".join([HEAD, *lines]) + "\n", encoding="utf-8")
    return path


def test_rows_are_read_as_written(tmp_path):
    rows = [row('a "b"', "c,d"), row("e\u2028f", "🎸", "yes", "me", "0.9")]
    assert write_review(tmp_path / "review.csv", rows)
    assert read_review(tmp_path / "review.csv") == rows
    assert not write_review(tmp_path / "review.csv", rows)


def test_files_of_spreadsheets_are_read(tmp_path):
    path = tmp_path / "review.csv"
    path.write_bytes(b"\xef\xbb\xbf" + f"{HEAD}\r\nt,t:a,A,t:b,B,0.8,why, YES ,me\r\n".encode())
    assert decisions_of(read_review(path)).same == {("t:a", "t:b")}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("t,t:a,A,t:b,B,0.8,why,maybe,me", "the decision yes, no or nothing in line 3 .*'maybe'"),
        ("t,t:a,A,t:a,A,0.8,why,yes,me", "two ids of the row's type 't' in line 3"),
        ("t,t:a,A,u:b,B,0.8,why,yes,me", "two ids of the row's type 't' in line 3"),
        ("t,,A,t:b,B,0.8,why,yes,me", "two ids of the row's type 't' in line 3"),
        ("t,t:a,A,t:b,B,0.8,why", "Expected 9 cells in line 3"),
        ("t,t:a,A,t:b,B,0.8,why,yes,me,too", "Expected 9 cells in line 3"),
        ('t,"t:a,A,t:b,B,0.8,why,yes,me', "Expected a review file, CSV in UTF-8"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(tmp_path, line, message):
    path = file_of(tmp_path, "t,t:x,X,t:y,Y,0.8,why,,", line)
    with pytest.raises(ConfigError, match=message):
        read_review(path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"PAR1", b"type,id_a\n"])
def test_a_damaged_file_is_refused_by_name(tmp_path, content):
    (tmp_path / "review.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=r"review\.csv"):
        read_review(tmp_path / "review.csv")


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="Expected a review file"):
        read_review(tmp_path / "none.csv")


def test_yes_and_no_on_one_pair_name_both_rows(tmp_path):
    path = file_of(tmp_path, "t,t:a,A,t:b,B,,,yes,me", "t,t:b,B,t:a,A,,,no,you")
    with pytest.raises(ConfigError, match=r"'no' in line 3 of .*'yes' in line 2 of"):
        decisions_of(read_review(path))


def test_contradiction_through_others_names_the_rows(tmp_path):
    path = file_of(
        tmp_path,
        "t,t:a,A,t:b,B,,,yes,me",
        "t,t:x,X,t:y,Y,,,yes,me",
        "t,t:c,C,t:b,B,,,yes,me",
        "t,t:a,A,t:c,C,,,no,me",
    )
    with pytest.raises(ConfigError, match=r"'no' in line 5 .*'yes' in line 2 .*, line 4"):
        decisions_of(read_review(path))


def test_rows_that_agree_are_one_decision():
    found = decisions_of([row("a", "b", "yes"), row("b", "a", "yes"), row("c", "d", "no")])
    assert found.same == {("t:a", "t:b")}
    assert found.different == {("t:c", "t:d")}


def test_open_pairs_are_written_anew_and_decisions_stay():
    rows = [row("a", "b", "no", "me"), row("c", "d")]
    found = [row("b", "a"), row("e", "f")]
    assert with_open_pairs(rows, found) == [rows[0], found[1]]


def test_a_new_decision_replaces_the_older_one():
    rows = [row("a", "b", "yes", "me"), row("c", "d")]
    after = decided(rows, [row("b", "a", "no", "undo"), row("e", "f", "no", "undo")])
    assert [(one.decision, one.decided_by) for one in after] == [
        ("no", "undo"), ("", ""), ("no", "undo")
    ]  # fmt: skip
    assert after[0].id_a == "t:a"


@pytest.mark.parametrize(
    ("name", "written"),
    [("=1+1", "'=1+1"), ("@a", "'@a"), ("a\x00\u202e\nb", "a   b"), ("x" * 10_000, "x" * 200)],
)
def test_names_are_written_as_one_harmless_line(name, written):
    assert shown(name) == written
