"""A picture of one entity and what it is joined to, for people to look at."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import networkx as nx
import polars as pl
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from graph_etl.errors import DataError
from graph_etl.snapshot import Snapshot

FORMATS = (".png", ".svg", ".pdf")
_MAX_LABEL_CHARACTERS = 28


class Drawing(NamedTuple):
    """What a picture shows: the centre's name, and how many of its neighbours."""

    path: Path
    name: str
    shown: int
    neighbors: int


def draw_neighborhood(
    snapshot: Snapshot, entity: str, path: str | Path, *, max_neighbors: int = 40
) -> Drawing:
    """Draw an entity, its neighbours and their relations into a file.

    Neighbours stand around the centre in one sector for each relation and direction; where there
    are too many, each relation keeps its best connected ones.

    Args:
        snapshot: The graph.
        entity: An entity_id, or a name (case ignored) that only one entity has.
        path: File to write: .png, .svg or .pdf.
        max_neighbors: At most so many neighbours are drawn.

    Raises:
        DataError: No entity, or several, are called so, or the file's ending is another.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"Expected a picture ending in one of {FORMATS}, got '{path.name}'")
    centre = _entity_index(snapshot, entity)
    groups = _neighbor_groups(snapshot, centre)
    chosen = _chosen(groups, max_neighbors)
    graph = _graph(snapshot, centre, chosen)
    total = len({int(index) for _, members in groups for index in members})
    figure = _figure(graph, centre, chosen, total)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    return Drawing(path, str(graph.nodes[centre]["name"]), graph.number_of_nodes() - 1, total)


Groups = list[tuple[str, list[int]]]


def _entity_index(snapshot: Snapshot, entity: str) -> int:
    entities = snapshot.entities
    found = entities.filter(pl.col("entity_id") == entity)
    if not found.height:
        found = entities.filter(pl.col("name").str.to_lowercase() == entity.lower())
    if found.height == 1:
        return int(found["entity_idx"][0])
    if found.height:
        raise DataError(
            f"Expected the name of one entity, got '{entity}', which {found.height} have; give one "
            f"of their ids: {found['entity_id'].head(5).to_list()}"
        )
    lowered = pl.col("name").str.to_lowercase()
    near = entities.filter(lowered.str.contains(entity.lower(), literal=True))
    hint = f"names with it: {near['name'].head(5).to_list()}" if near.height else "no name has it"
    raise DataError(f"Expected an entity_id or a whole name, got '{entity}'; {hint}")


def _neighbor_groups(snapshot: Snapshot, centre: int) -> Groups:
    """Neighbours of each relation in words, best connected first."""
    triples = snapshot.triples
    degree = pl.concat([triples["head_idx"], triples["tail_idx"]]).value_counts(name="degree")
    column = degree.columns[0]
    groups: Groups = []
    for near, far, arrow in (("head_idx", "tail_idx", "{} →"), ("tail_idx", "head_idx", "← {}")):
        touching = triples.filter((pl.col(near) == centre) & (pl.col(far) != centre))
        ranked = (
            touching.join(degree, left_on=far, right_on=column)
            .unique(["relation_idx", far])
            .sort("relation_idx", "degree", far, descending=[False, True, False])
        )
        for (relation,), part in ranked.group_by("relation_idx", maintain_order=True):
            words = snapshot.relation_types["phrase"][int(str(relation))]
            groups.append((arrow.format(words), part[far].to_list()))
    return groups


def _chosen(groups: Groups, limit: int) -> Groups:
    """Take from all groups in turn until ``limit`` different neighbours are taken."""
    taken: dict[int, int] = {}
    for row in zip_longest(*(members for _, members in groups)):
        for group, index in enumerate(row):
            if index is not None and len(taken) < limit:
                taken.setdefault(index, group)
    return [
        (words, [index for index in members if taken.get(index) == group])
        for group, (words, members) in enumerate(groups)
    ]


def _graph(snapshot: Snapshot, centre: int, groups: Groups) -> nx.MultiDiGraph:
    shown = [centre, *(index for _, members in groups for index in members)]
    graph = nx.MultiDiGraph()
    rows = snapshot.entities[shown].select("entity_idx", "name", "entity_type")
    for index, name, entity_type in rows.iter_rows():
        graph.add_node(index, name=name, entity_type=entity_type)
    keep = pl.col("head_idx").is_in(shown) & pl.col("tail_idx").is_in(shown)
    for head, tail in snapshot.triples.filter(keep).select("head_idx", "tail_idx").iter_rows():
        graph.add_edge(head, tail)
    return graph


def _figure(graph: nx.MultiDiGraph, centre: int, groups: Groups, total: int) -> Figure:
    figure = Figure(figsize=(13, 11), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-1.8, 1.8)
    axes.set_ylim(-1.62, 1.62)
    angles = _angles([len(members) for _, members in groups])
    place = {centre: (0.0, 0.0)}
    relation_colors = colormaps["Dark2"].colors  # type: ignore[attr-defined]
    for group, (words, members) in enumerate(groups):
        color = relation_colors[group % len(relation_colors)]
        for index, angle in zip(members, angles[group], strict=True):
            place[index] = (math.cos(angle), math.sin(angle))
            axes.plot(*zip((0, 0), place[index], strict=True), color=color, lw=1.2, zorder=1)
            _write_around(axes, str(graph.nodes[index]["name"]), angle)
        if members:
            _write_relation(axes, words, angles[group], color)
    for head, tail in set(graph.edges()):
        if centre not in (head, tail):
            axes.plot(*zip(place[head], place[tail], strict=True), color="0.8", lw=0.7, zorder=0)
    _draw_nodes(axes, graph, centre, place)
    name = _short(str(graph.nodes[centre]["name"]), 60)
    axes.set_title(
        f"{name}: {graph.number_of_nodes() - 1} of {total} neighbours",
        parse_math=False,
        fontsize=14,
    )
    return figure


def _angles(sizes: Sequence[int]) -> list[list[float]]:
    """Angles of each group's members, groups one after another with a gap between."""
    gap = 0.6 if sum(sizes) > 8 else 0.3
    shown = [size for size in sizes if size]
    unit = 2 * math.pi / max(1.0, sum(shown) + gap * len(shown))
    angles, start = [], math.pi / 2
    for size in sizes:
        angles.append([start - unit * (i + 0.5) for i in range(size)])
        start -= unit * (size + gap) if size else 0
    return angles


def _write_around(axes: Any, name: str, angle: float) -> None:
    """Write a neighbour's name outwards, never upside down."""
    left = math.cos(angle) < 0
    axes.text(
        1.06 * math.cos(angle),
        1.06 * math.sin(angle),
        _short(name, _MAX_LABEL_CHARACTERS),
        rotation=math.degrees(angle) + (180 if left else 0),
        rotation_mode="anchor",
        ha="right" if left else "left",
        va="center",
        fontsize=9,
        parse_math=False,
    )


def _write_relation(axes: Any, words: str, angles: Sequence[float], color: Any) -> None:
    middle = (angles[0] + angles[-1]) / 2
    axes.text(
        0.52 * math.cos(middle),
        0.52 * math.sin(middle),
        words,
        ha="center",
        va="center",
        fontsize=10,
        color=color,
        fontweight="bold",
        parse_math=False,
        bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": color, "alpha": 0.9},
        zorder=4,
    )


def _draw_nodes(
    axes: Any, graph: nx.MultiDiGraph, centre: int, place: dict[int, tuple[float, float]]
) -> None:
    types = list(dict.fromkeys(kind for _, kind in graph.nodes(data="entity_type")))
    palette = colormaps["tab10"].colors  # type: ignore[attr-defined]
    color = {kind: palette[i % len(palette)] for i, kind in enumerate(types)}
    for index, (x, y) in place.items():
        axes.scatter(
            x,
            y,
            s=500 if index == centre else 70,
            color=color[graph.nodes[index]["entity_type"]],
            edgecolors="white",
            zorder=3,
        )
    axes.text(
        0,
        -0.1,
        _short(str(graph.nodes[centre]["name"]), 40),
        ha="center",
        va="top",
        fontsize=11,
        parse_math=False,
        bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": "0.7"},
        zorder=5,
    )
    handles = [
        Line2D([], [], marker="o", linestyle="", color=color[kind], label=kind) for kind in types
    ]
    axes.legend(handles=handles, loc="lower right", fontsize=10, frameon=False)


def _short(name: str, limit: int) -> str:
    line = " ".join(name.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
