"""The part of the page that says what each candidate source brings."""

from __future__ import annotations

from graph_etl.markup import Content, Markup, table, tag
from kgrec.evaluation.source_recall import UnionRecall
from kgrec.report.charts import Row, bars


def source_recall_part(found: UnionRecall | None) -> Markup | None:
    """Return recall of the union and of each source on validation; None where not measured."""
    if found is None:
        return None
    by_loss = sorted(found.sources, key=lambda one: (-one.lost_without, -one.alone))
    rows: list[list[Content]] = [
        [one.source, f"{one.candidates:.1f}", f"{one.alone:.4f}", f"{one.lost_without:.4f}"]
        for one in by_loss
    ]
    headings = ("source", "items for a user", "recall alone", "lost without it")
    intro = tag(
        "p",
        f"On validation the union holds {found.recall:.1%} of what {found.num_users:,} users went "
        f"on to like, in {found.candidates:.0f} items for a user. What a source finds that no "
        "other does is lost without it. The sources were fitted on the train part alone.",
    )
    chart = bars(
        [Row(one.source, one.alone, f"{one.alone:.4f}") for one in by_loss],
        caption="Recall of each source alone",
    )
    title = tag("h3", "What each source brings")
    return tag("div", title, intro, table(headings, rows), chart, class_="block")
