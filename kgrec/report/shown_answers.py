"""Sections about answers: the top items of some users with reasons, and whether reasons hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from graph_etl.markup import Content, Markup, folded, from_data, join, tag
from kgrec.artifact import Artifact
from kgrec.report import wording
from kgrec.report.charts import Row, bars
from kgrec.report.inputs import ReportInput
from kgrec.serving.answers import Recommendation, Recommendations
from kgrec.serving.deletion_test import DeletionTest

KINDS = {
    "path": "specific facts of the graph",
    "follows": "the liked item it follows from",
    "generic path": "facts that many items share",
    "whole history": "no single liked item carries it",
    "popular": "popularity alone",
}
_SHOWN_LIKES = 8
_SHOWN_SOURCES = 3


def answers_section(report: ReportInput) -> Markup | None:
    """Return the answers as cards, one for each user."""
    if not report.answers:
        return None
    intro = tag(
        "p",
        "What the published artifact answers. The percentage is the calibrated probability that "
        "the user likes the item soon; “needs” is how much its score falls when the named liked "
        "item is taken out of the history. A triangle opens the facts behind a reason.",
    )
    cards = [_card(report, user, answer) for user, answer in report.answers.items()]
    return join([intro, tag("div", *cards, class_="cards")])


def deletion_section(report: ReportInput) -> Markup | None:
    """Return the outcome of the deletion test."""
    found = report.deletion
    if found is None:
        return None
    if not found.num_explanations:
        return tag("p", "No explanation named a liked item, so that none could be tested.")
    return join([_deletion_words(found), _deletion_chart(found)])


def titles_by_id(artifact: Artifact) -> Mapping[str, str]:
    """Return the title of each item by its external id."""
    ids, titles = artifact.items.ids.tolist(), artifact.items.titles.tolist()
    return dict(zip(ids, titles, strict=True))


def liked_rows(artifact: Artifact, user: str) -> list[int]:
    """Return the rows of the items that a user of the artifact liked, oldest first, each once."""
    known = np.flatnonzero(artifact.users.ids == user)
    if not len(known):
        return []
    events = artifact.interactions
    mine = (events.user_idx == known[0]) & events.positive
    return list(dict.fromkeys(events.item_idx[mine].tolist()))


def _card(report: ReportInput, user: str, answer: Recommendations) -> Markup:
    head: list[Content] = [tag("h3", "User ", from_data(user))]
    if report.artifact is not None:
        likes = liked_rows(report.artifact, user)
        if likes:
            titles = [str(report.artifact.items.titles[row]) for row in likes[-_SHOWN_LIKES:]]
            named = join(_listed([from_data(title) for title in reversed(titles)]))
            count = wording.counted(len(likes), "like")
            latest = " known, the latest: " if len(likes) > len(titles) else " known: "
            head.append(tag("p", f"{count}{latest}", named, class_="note"))
    if answer.reason or not answer.personalised:
        reason = answer.reason or "not personalised"
        head.append(tag("p", from_data(reason), class_="note"))
    items = [_item(one) for one in answer]
    return tag("article", *head, tag("ol", *items, class_="answer"), class_="card")


def _item(one: Recommendation) -> Markup:
    chance = (
        tag("span", wording.percent(one.probability, 0), class_="chance")
        if one.probability is not None
        else None
    )
    head = tag("div", tag("strong", from_data(one.title or one.item_id)), chance, class_="head")
    reason = tag("div", from_data(one.explanation.text)) if one.explanation is not None else None
    return tag("li", head, reason, _behind(one))


def _behind(one: Recommendation) -> Markup:
    """Return one small line: kind of reason, what it needs, sources; under it the facts."""
    why = one.explanation
    parts: list[Content] = []
    if why is not None:
        parts.append(tag("span", why.kind, class_="kind", title=KINDS.get(why.kind)))
        if why.drop is not None and math.isfinite(why.drop):
            parts.append(tag("span", f"needs {why.drop:.2f}", class_="kind"))
    if one.sources:
        parts.append(_found_by(one.sources))
    if why is None or not why.path_text:
        return tag("div", *parts, class_="tags")
    facts = [tag("li", from_data(fact)) for fact in why.path_text]
    return folded(tag("span", *parts, class_="tags"), tag("ul", *facts))


def _found_by(sources: Sequence[str]) -> Markup:
    """Return the sources that ranked the item best; all of them stand in the tooltip."""
    named, further = ", ".join(sources[:_SHOWN_SOURCES]), len(sources) - _SHOWN_SOURCES
    more = f" and {further} more" if further > 0 else ""
    return tag("span", "found by ", from_data(named), more, title=", ".join(sources))


def _deletion_words(found: DeletionTest) -> Markup:
    proven = found.low > 0.5
    verdict = (
        "More than half, beyond doubt of the sample: the named item carries the score more than "
        "chance would."
        if proven
        else "The interval reaches down to one half, so that chance cannot be ruled out."
    )
    without = ""
    if found.num_without_item:
        count = wording.counted(found.num_without_item, "further explanation")
        without = f"{count} named no liked item and could not be tested. "
    return join(
        [
            tag(
                "p",
                "In ",
                tag("strong", wording.percent(found.share), class_="good" if proven else "open"),
                f" [{wording.percent(found.low)}, {wording.percent(found.high)}] of "
                f"{wording.counted(found.num_explanations, 'explanation')} the item’s score falls "
                "more without the liked item that the reason names than without another liked "
                f"item drawn at random; both fall alike in {wording.percent(found.ties)}, which "
                f"counts as a loss. {verdict}",
            ),
            tag(
                "p",
                without,
                "This measures whether reasons are true of "
                "the model; whether they read well is for people to judge.",
                class_="note",
            ),
        ]
    )


def _deletion_chart(found: DeletionTest) -> Markup:
    rows = [
        Row(kind, number, wording.count(number))
        for kind, number in sorted(found.kinds.items(), key=lambda pair: -pair[1])
    ]
    return bars(rows, caption="Tested explanations by kind") if rows else Markup()


def _listed(names: list[Markup]) -> list[Content]:
    parts: list[Content] = []
    for number, name in enumerate(names):
        parts += [" · " if number else "", name]
    return parts
