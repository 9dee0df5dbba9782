"""What the summary claims, and what the drawing shows, hold in the data behind them."""

import re
from dataclasses import replace

import numpy as np
import pytest

from kgrec.evaluation.source_recall import SourceRecall, UnionRecall
from kgrec.evaluation.statistics import Interval, PairedTest
from kgrec.evaluation.tables import compare_runs, metric_table
from kgrec.report import ReportInput, render_report
from kgrec.report.inputs import MeasuredTable
from kgrec.report.measured import Comparison, comparison, labels_of, strongest_baseline, value_of
from kgrec.report.path_drawing import richest_picture
from kgrec.report.summary import summary
from kgrec.serving.recommender import Recommender


def words_of(markup: str) -> str:
    return re.sub(r"<[^>]+>", "", markup)


def test_summary_states_the_gain_of_the_paired_test(report: ReportInput) -> None:
    main = report.main_table()
    assert main is not None
    ours = [run for run in main.runs if run.record.model == "pipeline"]
    other = [run for run in main.runs if run.record.model == "ease"]
    test = compare_runs(ours, other, "ndcg@20")
    shown = words_of(summary(report)).replace("\u2212", "-").replace("\u00a0", " ")
    assert f"{100 * test.relative:+.1f} %" in shown
    assert f"paired over {test.num_users} users" in shown
    verdict = "better." if test.difference.value > 0 else "worse."
    expected = verdict if test.p_bootstrap < 0.05 else "no difference that these users could prove"
    assert expected in shown


@pytest.mark.parametrize(
    ("change", "p", "expected"),
    [
        (Interval(0.02, 0.01, 0.03), 0.001, True),
        (Interval(-0.02, -0.03, -0.01), 0.001, True),
        (Interval(0.01, -0.01, 0.03), 0.3, False),
    ],
)
def test_relative_gain_keeps_the_shape_of_the_difference(
    report: ReportInput, change: Interval, p: float, expected: bool
) -> None:
    test = PairedTest(change, change.value / 0.2, p, p, 10)
    found = Comparison("a", "b", test, report.tables[0])
    assert found.proven is expected
    assert found.relative.low == pytest.approx(change.low / 0.2)
    assert found.relative.high == pytest.approx(change.high / 0.2)


def test_worse_model_is_called_worse(report: ReportInput) -> None:
    shown = words_of(summary(replace(report, published="popularity", reference="pipeline")))
    assert "worse." in shown
    assert "The highest row of the table is" in shown


def test_gain_over_a_reference_that_found_nothing_is_told_in_absolute_numbers(
    report: ReportInput,
) -> None:
    def without_hits(one: MeasuredTable) -> MeasuredTable:
        runs = []
        for run in one.runs:
            found = run.results[one.slice]
            none = {name: np.zeros_like(values) for name, values in found.metrics.items()}
            nothing = {**run.results, one.slice: replace(found, metrics=none)}
            runs.append(replace(run, results=nothing) if run.record.model == "ease" else run)
        table = metric_table(runs, ("recall@20", "ndcg@20"), slice_name=one.slice, baseline="ease")
        return replace(one, runs=tuple(runs), table=table)  # type: ignore[type-var]

    page = render_report(replace(report, tables=tuple(map(without_hits, report.tables))))
    shown = words_of(page)
    assert not re.search(r"\bnan\b", shown)
    assert re.search(r'That is <strong class="good">\+0\.\d{4}</strong> \[\+0\.\d{4}, \+0\.', page)
    assert re.search(r'new_users: all users: <strong class="good">\+0\.\d{4}</strong>', page)
    assert "(+0" not in shown


def test_a_split_of_data_without_times_is_not_called_recent(report: ReportInput) -> None:
    assert "most recent events are hidden" in words_of(summary(report))
    timeless = replace(report, dataset=replace(report.dataset, has_time=False))
    shown = words_of(summary(timeless))
    assert "most recent" not in shown
    assert "events, drawn at random, is hidden" in shown


def test_many_sources_are_told_in_short(report: ReportInput) -> None:
    user, answer = next(iter(report.answers.items()))
    items = tuple(replace(item, sources=("a", "b", "c", "d", "e")) for item in answer)
    page = render_report(replace(report, answers={user: replace(answer, items=items)}))
    assert 'title="a, b, c, d, e">found by <bdi>a, b, c</bdi> and 2 more<' in page


def test_explanations_without_a_liked_item_are_told_only_where_there_are_some(
    report: ReportInput,
) -> None:
    assert report.deletion is not None
    assert "3 further explanations named no liked item" in render_report(report)
    none = replace(report, deletion=replace(report.deletion, num_without_item=0))
    assert "named no liked item" not in render_report(none)


def test_model_that_was_not_measured_is_named(report: ReportInput) -> None:
    assert "No model called “absent” was measured" in summary(replace(report, published="absent"))


def test_missing_reference_leaves_the_comparison_out(report: ReportInput) -> None:
    shown = words_of(summary(replace(report, reference="absent")))
    assert "Published: pipeline" in shown
    assert "That is" not in shown


def test_labels_stand_best_first_and_seeds_of_one_label_count_as_one(report: ReportInput) -> None:
    main = report.main_table()
    assert main is not None
    labels = labels_of(main)
    assert sorted(labels) == ["ease", "pipeline", "pipeline, graph off", "popularity"]
    values = [value_of(main, label, "ndcg@20") for label in labels]
    numbers = [value.value for value in values if value is not None]
    assert numbers == sorted(numbers, reverse=True)
    assert strongest_baseline(report, main) in ("ease", "popularity")
    assert value_of(main, labels[0], "absent@3") is None
    one, both = (value_of(main, label, "ndcg@20") for label in ("pipeline", "pipeline, graph off"))
    assert one is not None
    assert both is not None
    assert (both.value, both.low, both.high) == pytest.approx((one.value, one.low, one.high))


def test_comparison_with_itself_or_with_nothing_is_none(report: ReportInput) -> None:
    assert comparison(report.tables[0], "pipeline", "pipeline") is None
    assert comparison(report.tables[0], "pipeline", "absent") is None


def test_drawing_shows_edges_of_the_graph_between_its_columns(
    report: ReportInput, recommender: Recommender
) -> None:
    picture = richest_picture(report)
    assert picture is not None
    graph = recommender.artifact.graph
    triples = set(
        zip(graph.head.tolist(), graph.relation.tolist(), graph.tail.tolist(), strict=True)
    )
    assert picture.edges
    for column, start, end, relation, _ in picture.edges:
        assert (start, relation, end) in triples or (end, relation, start) in triples
        assert start in picture.columns[column]
        assert end in picture.columns[column + 1]
    row = recommender.row_of(picture.item.item_id)
    assert picture.columns[-1] == (int(graph.item_entity[row]),)


def test_drawing_has_the_path_that_the_reason_names(
    report: ReportInput, recommender: Recommender
) -> None:
    picture = richest_picture(report)
    assert picture is not None
    assert picture.item.explanation is not None
    graph = recommender.artifact.graph
    named = {
        frozenset((str(graph.entity_ids[start]), str(graph.entity_ids[end])))
        for _, start, end, _, is_named in picture.edges
        if is_named
    }
    path = {frozenset((edge.head, edge.tail)) for edge in picture.item.explanation.path}
    assert path
    assert path <= named


def test_users_unknown_to_the_artifact_are_not_drawn(report: ReportInput) -> None:
    answers = {"stranger": next(iter(report.answers.values()))}
    assert richest_picture(replace(report, answers=answers)) is None
    assert "User <bdi>stranger</bdi>" in render_report(replace(report, answers=answers))


def test_sources_and_rankers_come_from_the_description(
    report: ReportInput, recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    quality = {"linear": 0.31, "trees": 0.42, "calibration_error_before": 0.2}
    quality |= {"auc": 0.81, "gauc": 0.79, "log_loss": 0.123}
    described = {
        "name": "pipeline",
        "config": {
            "candidates": {
                "depth": 100,
                "quotas": {"svd": 0, "text": 0.4},
                "cold_sources": ("text",),
            }
        },
        "sources": {"svd": {"name": "svd", "config": {"rank": 5}}, "text": {"name": "text"}},
        "rankers": {
            "warm": {"chosen": ["trees"], "quality": {**quality, "calibration_error": 0.01}}
        },
    }
    scorer = recommender.artifact.scorer
    monkeypatch.setattr(scorer, "describe", lambda: described)
    page = render_report(report)
    shown = words_of(page)
    assert "features only" in shown
    assert re.search(r"text\s+text\s+40\s+25 more", re.sub(r"<[^>]+>", " ", page))
    assert "rank: 5" in shown
    assert "0.4200" in shown
    assert "calibration error 0.2000 before and 0.0100 after" in shown
    assert "AUC 0.8100, gAUC 0.7900, log loss 0.1230." in shown


def test_recall_of_sources_is_shown_by_what_is_lost(
    report: ReportInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = {"name": "pipeline", "config": {}, "sources": {"svd": {}, "text": {}}}
    assert report.artifact is not None
    monkeypatch.setattr(report.artifact.scorer, "describe", lambda: described)
    assert "What each source brings" not in words_of(render_report(report))
    parts = (SourceRecall("svd", 100.0, 0.25, 0.0125), SourceRecall("text", 40.0, 0.5, 0.3))
    found = UnionRecall("split/val/all", 31, 90, 120.4, 0.625, parts)
    page = render_report(replace(report, source_recall=found))
    shown = re.sub(r"<[^>]+>", " ", page)
    assert "the union holds 62.5% of what 31 users went on to like, in 120 items" in shown
    assert re.search(r"text\s+40\.0\s+0\.5000\s+0\.3000\s+svd\s+100\.0\s+0\.2500", shown)


def test_baseline_is_called_tuned_only_where_the_run_says_how(report: ReportInput) -> None:
    assert "with tuned settings" not in words_of(summary(report))
    tuned = replace(report, config={"tuning": {"trials": 10}})
    assert "against ease with tuned settings" in words_of(summary(tuned))


def test_texts_are_told_with_how_well_they_were_read(report: ReportInput) -> None:
    page = render_report(report)
    section = page[page.index('id="texts"') : page.index('id="audit"')]
    words = re.sub(r"<[^>]*>", " ", section).replace("\u00a0", " ")
    assert "60 texts gave 9 triples (" in re.sub(r"\s+", " ", words)
    assert "7 triples stand in the graph that no table has, and 5 entities" in words
    assert "10 labelled texts" in words
    assert "75.0 % of 4" in words
    assert "50.0 % of 6" in words
    gone = {name: part for name, part in report.audit.items() if name != "extraction"}
    assert "labelled" not in render_report(replace(report, audit=gone))
