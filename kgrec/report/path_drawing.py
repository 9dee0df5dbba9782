"""Draws one reason: the liked items, the entities they share with the recommended item, and it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graph_etl.markup import Content, Markup, from_data, join, tag
from kgrec.artifact import Artifact
from kgrec.report import wording
from kgrec.report.inputs import ReportInput
from kgrec.report.shown_answers import liked_rows
from kgrec.serving.answers import Recommendation
from kgrec.serving.explanations import ExplanationConfig
from kgrec.serving.paths import GraphPaths, SharedFact

_MAX_ENTITIES, _MAX_LIKED = 8, 7
_COLORS = 6
_BOX, _HEIGHT, _STEP, _WIDTH = 178.0, 40.0, 54.0, 720.0


@dataclass(frozen=True)
class PathPicture:
    """The part of the graph that is drawn.

    Attributes:
        user: Whose answer it is.
        item: The recommended item.
        columns: Entities from left to right: liked items, what lies between, the item.
        edges: (column, entity in it, entity in the next, relation_idx, on the named path).
        hidden: Further ways that the picture leaves out.
    """

    user: str
    item: Recommendation
    columns: tuple[tuple[int, ...], ...]
    edges: tuple[tuple[int, int, int, int, bool], ...]
    hidden: int


def drawing_section(report: ReportInput) -> Markup | None:
    """Return the picture of the shown reason that rests on most entities."""
    if report.artifact is None:
        return None
    picture = richest_picture(report)
    if picture is None:
        return None
    graph = report.artifact.graph
    words = picture.item.explanation
    more = (
        f" {wording.counted(picture.hidden, 'further way')} by the graph left out."
        if picture.hidden
        else ""
    )
    relations = list(dict.fromkeys(_name(graph.relations, edge[3]) for edge in picture.edges))
    legend = [
        tag("li", tag("i", class_=f"chip rel{place % _COLORS}"), from_data(name))
        for place, name in enumerate(relations)
    ]
    return join(
        [
            tag(
                "p",
                "Why ",
                tag("strong", from_data(picture.item.title)),
                " is recommended to user ",
                from_data(picture.user),
                ": at the left what they liked, in the middle what it shares with the item. "
                f"Thick lines are the facts that the reason names.{more}",
            ),
            tag("blockquote", from_data(words.text)) if words is not None else None,
            tag("div", _svg(report.artifact, picture, relations), class_="scroll", tabindex="0"),
            tag("ul", *legend, class_="legend"),
        ]
    )


def richest_picture(report: ReportInput) -> PathPicture | None:
    """Return what to draw: of all shown items, the one with a named path and most to see."""
    artifact = report.artifact
    if artifact is None or not artifact.graph.num_triples:
        return None
    config = ExplanationConfig()
    paths = GraphPaths(
        artifact.graph, config.generic_factor, config.generic_floor, config.common_share
    )
    best: tuple[tuple[bool, int], PathPicture] | None = None
    for user, answer in report.answers.items():
        liked = np.array(liked_rows(artifact, user), dtype=np.int64)
        for item in answer:
            row = np.flatnonzero(artifact.items.ids == item.item_id)
            if item.explanation is None or not len(row) or not len(liked):
                continue
            facts = paths.facts(liked, int(row[0]), generic=False)
            facts = facts or paths.facts(liked, int(row[0]), generic=True)
            if not facts:
                continue
            entities, joined = {f.entity for f in facts}, {f.liked for f in facts}
            size = min(len(entities), _MAX_ENTITIES) + 2 * min(len(joined), _MAX_LIKED)
            rank = (bool(item.explanation.path), size)
            if best is None or rank > best[0]:
                best = rank, _picture(artifact, user, item, int(row[0]), facts)
    return None if best is None else best[1]


def _picture(
    artifact: Artifact, user: str, item: Recommendation, row: int, facts: Sequence[SharedFact]
) -> PathPicture:
    """Return columns and edges of the most telling facts, those that the reason names first."""
    graph = artifact.graph
    named = set(item.explanation.path) if item.explanation is not None else set()

    def is_named(triple: int) -> bool:
        ends = (int(graph.head[triple]), int(graph.tail[triple]))
        edge = (
            str(graph.entity_ids[ends[0]]),
            graph.relations[int(graph.relation[triple])],
            str(graph.entity_ids[ends[1]]),
        )
        return edge in named

    ordered = sorted(facts, key=lambda fact: -sum(map(is_named, fact.triples)))
    target = int(graph.item_entity[row])
    entities: dict[int, None] = {}
    liked: dict[int, None] = {}
    ways: list[tuple[list[int], tuple[int, ...]]] = []
    for fact in ordered:
        new_entity = fact.entity not in entities and len(entities) >= _MAX_ENTITIES
        new_liked = fact.liked not in liked and len(liked) >= _MAX_LIKED
        if new_entity or new_liked:
            continue
        entities[fact.entity], liked[fact.liked] = None, None
        ways.append((_nodes(artifact, fact), fact.triples))
    depth = max(len(nodes) for nodes, _ in ways)
    columns: list[dict[int, None]] = [{} for _ in range(depth)]
    edges: dict[tuple[int, int, int, int, bool], None] = {}
    for nodes, triples in ways:
        places = [*range(len(nodes) - 1), depth - 1]
        for place, node in zip(places, nodes, strict=True):
            columns[place][node] = None
        for step, triple in enumerate(triples):
            relation = int(graph.relation[triple])
            edges[(places[step], nodes[step], nodes[step + 1], relation, is_named(triple))] = None
    columns[-1] = {target: None}
    shown = _untangled([list(column) for column in columns], list(edges))
    return PathPicture(user, item, shown, tuple(edges), len(facts) - len(ways))


def _nodes(artifact: Artifact, fact: SharedFact) -> list[int]:
    """Return the entities of a way in order, the liked item first."""
    graph = artifact.graph
    nodes = [int(graph.item_entity[fact.liked])]
    for triple in fact.triples:
        head, tail = int(graph.head[triple]), int(graph.tail[triple])
        nodes.append(tail if head == nodes[-1] else head)
    return nodes


def _untangled(
    columns: list[list[int]], edges: list[tuple[int, int, int, int, bool]]
) -> tuple[tuple[int, ...], ...]:
    """Return the columns ordered so that fewer lines cross: each entity near those it touches."""
    for _ in range(4):
        for column in range(len(columns) - 1):
            for left in (True, False):
                _sort_column(columns, edges, column if left else column + 1, left)
    return tuple(map(tuple, columns))


def _sort_column(
    columns: list[list[int]],
    edges: list[tuple[int, int, int, int, bool]],
    column: int,
    by_right: bool,
) -> None:
    other = columns[column + 1] if by_right else columns[column - 1]
    place = {node: n / max(len(other), 1) for n, node in enumerate(other)}
    joint = column if by_right else column - 1

    def height(node: int) -> float:
        ends = [(a, b) if by_right else (b, a) for c, a, b, *_ in edges if c == joint]
        near = [place[far] for own, far in ends if own == node and far in place]
        return sum(near) / len(near) if near else 0.5

    columns[column].sort(key=height)


def _svg(artifact: Artifact, picture: PathPicture, relations: Sequence[str]) -> Markup:
    graph = artifact.graph
    tallest = max(len(column) for column in picture.columns)
    total = tallest * _STEP + 16
    gap = (_WIDTH - _BOX - 4) / max(len(picture.columns) - 1, 1)
    at: dict[tuple[int, int], tuple[float, float]] = {}
    for number, column in enumerate(picture.columns):
        top = (total - len(column) * _STEP) / 2
        for row, node in enumerate(column):
            at[number, node] = (2 + number * gap, top + row * _STEP + (_STEP - _HEIGHT) / 2)
    content: list[Content] = [tag("title", "Facts that join liked items and the recommended one")]
    met: Counter[tuple[int, int, int]] = Counter()
    for column_at, start, end, relation, named in sorted(picture.edges, key=lambda e: e[4]):
        target = (column_at + 1, end)
        if target not in at:  # one triple joins a liked item and the item itself
            target = (len(picture.columns) - 1, end)
        kind = relations.index(_name(graph.relations, relation)) % _COLORS
        shift = 5.0 * met[column_at, start, end]  # a second relation of the same two entities
        met[column_at, start, end] += 1
        content.append(_edge(at[column_at, start], at[target], kind, named, shift))
    last = len(picture.columns) - 1
    for (number, node), (x, y) in at.items():
        kind_of_node = "liked" if number == 0 else "target" if number == last else "entity"
        name = str(graph.entity_names[node])
        content.append(_node(x, y, name, str(graph.entity_types[node]), kind_of_node))
    return tag("svg", *content, viewBox=f"0 0 {_WIDTH:g} {total:g}", role="img", class_="paths")


def _edge(
    start: tuple[float, float], end: tuple[float, float], kind: int, named: bool, shift: float
) -> Markup:
    x1, y1 = start[0] + _BOX, start[1] + _HEIGHT / 2 + shift
    x2, y2 = end[0], end[1] + _HEIGHT / 2 + shift
    bend = (x2 - x1) / 2
    path = (
        f"M{x1:.0f},{y1:.0f} C{x1 + bend:.0f},{y1:.0f} {x2 - bend:.0f},{y2:.0f} {x2:.0f},{y2:.0f}"
    )
    return tag("path", d=path, class_=f"edge rel{kind}{' named' if named else ''}")


def _node(x: float, y: float, name: str, kind: str, role: str) -> Markup:
    middle = f"{x + _BOX / 2:.1f}"
    label = tag(
        "text",
        wording.shortened(name, 25),
        x=middle,
        y=f"{y + 17:.1f}",
        class_="middle",
    )
    under = tag("text", wording.shortened(kind, 28), x=middle, y=f"{y + 32:.1f}", class_="kind")
    box = tag("rect", x=f"{x:.1f}", y=f"{y:.1f}", width=f"{_BOX:g}", height=f"{_HEIGHT:g}", rx="7")
    return tag("g", tag("title", f"{name} ({kind})"), box, label, under, class_=f"node {role}")


def _name(relations: Sequence[str], relation: int) -> str:
    return relations[relation]
