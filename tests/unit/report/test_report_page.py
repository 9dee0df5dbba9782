"""The page is whole, fetches nothing, runs nothing, and says what the records say."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kgrec.report import ReportInput, render_report, write_report
from kgrec.report.page import SECTIONS

VOID = {"meta", "br"}
FETCHING = {"script", "link", "iframe", "object", "embed", "img", "base", "form", "audio", "video"}


class Page(HTMLParser):
    """Elements, their texts, and whether every element that opens closes in order."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.names: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.row_heads: list[str] = []
        self.style = ""
        self.in_row_head = False
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [str(value) for name, value in attrs if name == "id"]
        if tag == "th":
            self.in_row_head = ("scope", "row") in attrs
            self.row_heads += [""] * self.in_row_head
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["style"]:
            self.style += data
            return
        self.words.append(data)
        if "th" in self.open and self.in_row_head:
            self.row_heads[-1] += data


@pytest.fixture(scope="module")
def source(report: ReportInput) -> str:
    return render_report(report)


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_page_closes_every_element_in_order(page: Page) -> None:
    assert page.open == []


def test_page_has_every_section_once_and_links_lead_to_them(page: Page) -> None:
    expected = ["summary", *(key for key, _, _ in SECTIONS)]
    assert page.ids == expected
    links = [value for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
    assert links == [f"#{key}" for key, _, _ in SECTIONS]


def test_page_runs_nothing_and_fetches_nothing(page: Page) -> None:
    assert FETCHING.isdisjoint(page.names)
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name == "src"]
    loading = [v for _, name, v in page.attributes if name in ("href", "action", "xlink:href")]
    assert all(str(value).startswith("#") for value in loading)
    assert "url(" not in page.style
    assert "@import" not in page.style


def test_page_forbids_fetching_by_policy(page: Page) -> None:
    policies = [v for tag, name, v in page.attributes if (tag, name) == ("meta", "content")]
    assert any(str(policy).startswith("default-src 'none'") for policy in policies)


def test_page_shows_names_from_data_as_text(page: Page, source: str) -> None:
    shown = "".join(page.words)
    assert shown.count("<script>alert('x')</script>") > 20
    assert "<script" not in source.lower()
    assert "\x00" not in source
    source.encode("utf-8")  # no lone surrogate is left


def test_page_has_every_row_of_every_table(page: Page, report: ReportInput) -> None:
    for one in report.tables:
        for cells in one.table.rows:
            assert page.row_heads.count(cells[0]) >= len(report.tables)
    shown = "".join(page.words).replace("\u2212", "-")
    for one in report.tables:
        for cells in one.table.rows:
            for cell in cells[1:]:
                assert cell.partition(" [")[0] in shown
                assert all(number in shown for number in re.findall(r"\d+\.\d+", cell))


def test_rows_are_marked_by_whose_they_are(page: Page) -> None:
    kinds = [value for tag, name, value in page.attributes if (tag, name) == ("tr", "class")]
    assert {"published", "ours", "reference", "baseline"} == set(kinds)


def test_sections_without_content_are_left_out(bare: ReportInput) -> None:
    page = Page(render_report(bare))
    assert page.open == []
    assert page.ids == ["summary", "provenance"]


@pytest.mark.parametrize(
    ("field", "nothing", "section"),
    [
        ("artifact", None, {"model", "reason"}),
        ("answers", {}, {"answers", "reason"}),
        ("deletion", None, {"deletion"}),
        ("statistics", None, {"graph", "texts"}),
        ("curves", {}, {"curves"}),
        ("terms", (), {"terms"}),
    ],
)
def test_one_part_missing_leaves_the_others(
    report: ReportInput, field: str, nothing: object, section: set[str]
) -> None:
    data = replace(report.dataset, details={})
    less = replace(report, dataset=data, **{field: nothing})  # type: ignore[arg-type]
    page = Page(render_report(less))
    assert set(page.ids) == {"summary", *(key for key, _, _ in SECTIONS)} - section


def test_audit_is_shown_where_only_one_half_is_there(report: ReportInput) -> None:
    for less in (replace(report, audit={}), replace(report, data_audit=None)):
        assert "audit" in Page(render_report(less)).ids


def test_page_without_the_main_table_still_shows_the_others(report: ReportInput) -> None:
    page = Page(render_report(replace(report, main_split="global_time")))
    assert {"tables", "answers"} <= set(page.ids)
    assert "quality" not in page.ids


def test_same_input_gives_the_same_page(report: ReportInput, source: str) -> None:
    assert render_report(report) == source


def test_write_report_replaces_the_file_and_leaves_no_part(
    bare: ReportInput, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(bare, path)
    write_report(bare, path)
    assert path.read_text(encoding="utf-8") == render_report(bare)
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
