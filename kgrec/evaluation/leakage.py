"""Finds out whether hidden data reaches a model: planted canaries, and twins of the hidden part.

A canary is an item that nobody knows before the cut and every asked user likes after it. A twin is
the same split with other hidden events: whatever is built from training alone comes out the same.
Split, graph, features and models are all checked by the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kgrec.data.dataset import Dataset
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import IntArray, Interactions, joined_kinds
from kgrec.data.splits import Split
from kgrec.data.splits.cuts import Role
from kgrec.data.splits.split import split_from_roles
from kgrec.data.strings import Strings
from kgrec.errors import DataError

CANARY_ID = "canary"
HiddenPart = Literal["test", "val+test"]
_HIDDEN: dict[str, tuple[Role, ...]] = {
    "test": (Role.TEST_TARGET,),
    "val+test": (Role.VAL_TARGET, Role.TEST_TARGET),
}


@dataclass(frozen=True)
class Canary:
    """A split with a planted item.

    Attributes:
        split: The split; every user with hidden test events likes the canary among them.
        leaky_dataset: The whole dataset, canary events included and a triple from the canary to
            each item that its users liked in train: what a careless job would train on.
        item_idx: The canary.
        entity_idx: Its node in the graph.
    """

    split: Split
    leaky_dataset: Dataset
    item_idx: int
    entity_idx: int


def plant_canary(split: Split) -> Canary:
    """Return the split with one more item that only hidden test events know."""
    dataset, item_idx, entity_idx = _with_canary_item(split.dataset)
    events, roles = split._events, split._roles
    hidden = roles == Role.TEST_TARGET
    users = np.unique(events.user_idx[hidden])
    last = int(events.timestamp.max(initial=0))
    planted = Interactions(
        user_idx=users,
        item_idx=np.full(len(users), item_idx, dtype=np.int64),
        value=np.full(len(users), np.nanmax(events.value, initial=1.0), dtype=np.float32),
        timestamp=np.full(len(users), last + 1 if last else 0, dtype=np.int64),
        positive=np.ones(len(users), dtype=np.bool_),
    )
    both = _joined(events, planted)
    rows = np.argsort(both.user_idx, kind="stable")  # the canary comes last for each user
    all_roles = np.concatenate([roles, np.full(len(users), Role.TEST_TARGET, dtype=np.int8)])
    planted_split = split_from_roles(
        split.config, dataset, both.take(rows), all_roles[rows], {"canary": CANARY_ID}
    )
    return Canary(planted_split, _leaky(dataset, both.take(rows), entity_idx), item_idx, entity_idx)


def canary_traces(
    canary: Canary,
    *,
    interactions: Interactions | None = None,
    histories: HistoryBatch | None = None,
    graph: KnowledgeGraph | None = None,
    item_counts: npt.NDArray[Any] | None = None,
) -> list[str]:
    """Return in words where the canary was found; an empty list means nowhere.

    Args:
        canary: What was planted.
        interactions: Events that a model may learn from.
        histories: Histories that a model is asked with.
        graph: The graph that a model sees.
        item_counts: Shape (num_items, ...): features that count what users did. The row of an
            item that nobody knows is all zero.
    """
    traces = []
    if interactions is not None:
        found = int((interactions.item_idx == canary.item_idx).sum())
        traces += [f"{found} training events on the canary item"] * (found > 0)
    if histories is not None:
        found = int((histories.item_idx == canary.item_idx).sum())
        traces += [f"{found} events on the canary item in histories"] * (found > 0)
    if graph is not None:
        touches = (graph.head == canary.entity_idx) | (graph.tail == canary.entity_idx)
        traces += [f"{int(touches.sum())} triples on the canary entity"] * bool(touches.any())
    if item_counts is not None and np.any(item_counts[canary.item_idx]):
        traces.append("a feature of the canary item that counts hidden events")
    return traces


def require_no_canary(canary: Canary, **where: Any) -> None:
    """Raise DataError where ``canary_traces`` finds the canary."""
    traces = canary_traces(canary, **where)
    if traces:
        raise DataError(
            f"Expected no trace of hidden events, got {'; '.join(traces)}; build from "
            "split.interactions(part) and split.graph(mode) alone"
        )


def users_in_graph(graph: KnowledgeGraph, user_ids: npt.NDArray[np.object_]) -> list[str]:
    """Return the entities of type "user" that bear a user's id: a graph holds item facts only."""
    users = set(user_ids.tolist())
    return [
        str(entity)
        for entity, kind in zip(graph.entity_ids, graph.entity_types, strict=True)
        if kind == "user" and str(entity).removeprefix("user:") in users
    ]


def twin(split: Split, seed: int = 0, hidden: HiddenPart = "test") -> Split:
    """Return the same split with other hidden events; all that may be seen is the same.

    Hidden items and likes are drawn anew (where the split hides items, among these, each at least
    once if there are events enough); users, times, roles and histories stay.

    Args:
        split: The split.
        seed: Seed of the draw.
        hidden: "test" for what is fitted on train + val, "val+test" for what is fitted on train.
    """
    rng = np.random.default_rng(seed)
    item_idx, positive = split._events.item_idx.copy(), split._events.positive.copy()
    for role in _HIDDEN[hidden]:
        rows = rng.permutation(np.flatnonzero(split._roles == role))
        if split.name == "cold_items":
            pool: IntArray = np.unique(item_idx[rows])
            item_idx[rows] = np.concatenate([pool, rng.choice(pool, size=len(rows) - len(pool))])
        else:
            item_idx[rows] = rng.integers(0, split.dataset.num_items, size=len(rows))
        positive[rows] = rng.random(len(rows)) < 0.5
    changed = replace(split._events, item_idx=item_idx, positive=positive)
    return split_from_roles(split.config, split.dataset, changed, split._roles, split.details)


def changes_with_hidden_part(
    build: Callable[[Split], Mapping[str, npt.NDArray[Any]]],
    split: Split,
    seed: int = 0,
    hidden: HiddenPart = "test",
) -> list[str]:
    """Return the names of the arrays that differ when only hidden events do.

    Args:
        build: From a split to what was made of it, seeded: training matrix, features, weights,
            scores of the validation histories.
        split: The split; ``build`` runs on it and on its twin.
        seed: Seed of the twin.
        hidden: As in ``twin``.

    Returns:
        Names in the order of ``build``; an empty list means that nothing leaked.
    """
    original, other = build(split), build(twin(split, seed, hidden))
    return [
        name
        for name, array in original.items()
        if name not in other or not np.array_equal(array, other[name], equal_nan=_is_float(array))
    ]


def require_no_leak(
    build: Callable[[Split], Mapping[str, npt.NDArray[Any]]],
    split: Split,
    seed: int = 0,
    hidden: HiddenPart = "test",
) -> None:
    """Raise DataError where ``changes_with_hidden_part`` names anything."""
    names = changes_with_hidden_part(build, split, seed, hidden)
    if names:
        raise DataError(
            f"Expected {', '.join(names)} to depend on training data alone, got a change when only "
            "hidden events changed; look for a use of the undivided interactions"
        )


def _with_canary_item(dataset: Dataset) -> tuple[Dataset, int, int]:
    item_idx, entity_idx = dataset.num_items, dataset.graph.num_entities
    items, graph = dataset.items, dataset.graph
    kind = graph.entity_types[graph.item_entity[0]]
    grown = replace(
        dataset,
        items=replace(
            items,
            ids=_appended(items.ids, CANARY_ID),
            titles=_appended(items.titles, CANARY_ID),
            texts=_appended(items.texts, ""),
            numeric={
                name: np.append(values, np.float32("nan")) for name, values in items.numeric.items()
            },
            vectors=None if items.vectors is None else np.pad(items.vectors, ((0, 1), (0, 0))),
        ),
        graph=replace(
            graph,
            entity_ids=_appended(graph.entity_ids, CANARY_ID),
            entity_types=_appended(graph.entity_types, str(kind)),
            entity_names=_appended(graph.entity_names, CANARY_ID),
            item_entity=np.append(graph.item_entity, entity_idx),
        ),
    )
    return grown, item_idx, entity_idx


def _leaky(dataset: Dataset, events: Interactions, entity_idx: int) -> Dataset:
    graph = dataset.graph
    liked = graph.item_entity[np.unique(events.positives().item_idx)]
    liked = liked[liked != entity_idx]
    heads = np.full(len(liked), entity_idx, dtype=np.int64)
    leaky = replace(
        graph,
        relations=(*graph.relations, "liked_with"),
        phrases=(*graph.phrases, "was liked with"),
        head=np.concatenate([graph.head, heads]),
        relation=np.concatenate([graph.relation, np.full(len(liked), len(graph.relations))]),
        tail=np.concatenate([graph.tail, liked]),
    )
    return replace(dataset, interactions=events, graph=leaky)


def _joined(a: Interactions, b: Interactions) -> Interactions:
    return Interactions(
        np.concatenate([a.user_idx, b.user_idx]),
        np.concatenate([a.item_idx, b.item_idx]),
        np.concatenate([a.value, b.value]),
        np.concatenate([a.timestamp, b.timestamp]),
        np.concatenate([a.positive, b.positive]),
        joined_kinds([a.kind, b.kind], [len(a), len(b)]),
    )


def _appended(strings: Strings, one: str) -> npt.NDArray[np.object_]:
    return np.array([*strings.tolist(), one], dtype=object)


def _is_float(array: npt.NDArray[Any]) -> bool:
    return bool(np.issubdtype(np.asarray(array).dtype, np.floating))
