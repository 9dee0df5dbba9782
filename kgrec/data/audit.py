"""Looks over a dataset and a split before use: counts what is wrong, repairs or refuses by rule.

Each check has one stated rule: "refuse" raises, "repair" changes the data and says how much,
"report" only counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kgrec.data.dataset import Dataset
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.interactions import BoolArray, Interactions
from kgrec.data.splits import Split
from kgrec.data.strings import Strings
from kgrec.data.task import EvaluationTask
from kgrec.errors import DataError

Rule = Literal["refuse", "repair", "report"]

RULES: Mapping[str, tuple[Rule, str]] = {
    "item_idx_out_of_range": ("refuse", "events that name no item of the catalogue"),
    "user_idx_out_of_range": ("refuse", "events that name no user"),
    "triple_out_of_range": ("refuse", "triples that name no entity or relation"),
    "item_entity_out_of_range": ("refuse", "items whose graph node does not exist"),
    "duplicate_item_ids": ("refuse", "items whose id stands more than once"),
    "duplicate_user_ids": ("refuse", "users whose id stands more than once"),
    "negative_timestamps": ("refuse", "events before 1970"),
    "infinite_values": ("refuse", "events with an infinite value"),
    "no_positive_events": ("refuse", "datasets without a single like"),
    "duplicate_events": ("repair", "events equal in user, item and time; the largest value stays"),
    "duplicate_triples": ("repair", "triples stated more than once; one stays"),
    "self_loops": ("repair", "triples from an entity to itself; dropped"),
    "repeated_pairs": ("report", "further events of a user with an item at another time"),
    "missing_timestamps": ("report", "events without a time; splits then draw cuts at random"),
    "users_without_events": ("report", "users nobody has seen doing anything"),
    "users_without_likes": ("report", "users who have events but no like"),
    "items_without_events": ("report", "items nobody has interacted with"),
    "items_without_text": ("report", "items with neither text nor title"),
    "items_without_triples": ("report", "items without any fact in the graph"),
    "unknown_tokens": ("report", "entities and attributes named N/A, unknown and the like"),
}
_UNKNOWN = frozenset({"n/a", "na", "nan", "none", "null", "unknown", "[unk]", "<unk>", "?", "-"})


@dataclass(frozen=True)
class AuditReport:
    """What an audit found.

    Attributes:
        counts: Check -> number found; checks with none are there with 0.
        repaired: Checks whose findings were repaired in the dataset that came with the report.
    """

    counts: Mapping[str, int]
    repaired: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return one line for each finding: count, what it is, what was done about it."""
        done = {"repair": "repaired", "report": "left as it is", "refuse": "refused"}
        return [
            f"{count} {RULES[check][1]} ({check}: {done[RULES[check][0]]})"
            for check, count in self.counts.items()
            if count
        ]

    def describe(self) -> dict[str, Any]:
        """Return the counts and repairs, as they go into run records."""
        return {"counts": dict(self.counts), "repaired": list(self.repaired)}


def audit_dataset(dataset: Dataset) -> tuple[Dataset, AuditReport]:
    """Return the dataset, repaired by the rules of RULES, and what was found.

    Raises:
        DataError: Something was found whose rule is "refuse"; the message names every such check.
    """
    counts = dict.fromkeys(RULES, 0)
    counts |= _identity_counts(dataset)
    refused = [check for check, count in counts.items() if count and RULES[check][0] == "refuse"]
    if refused:
        found = "; ".join(f"{counts[check]} {RULES[check][1]} ({check})" for check in refused)
        raise DataError(
            f"Expected dataset '{dataset.name}' ({dataset.snapshot_id}) to pass its audit, got "
            f"{found}; mend the source tables, or what dataset.yaml says of them (likes: "
            "interactions.positive), and build the snapshot again"
        )
    events, graph = dataset.interactions, dataset.graph
    kept_events, kept_triples = _distinct_events(events), _distinct_triples(graph)
    loops = graph.head == graph.tail
    counts["duplicate_events"] = int((~kept_events).sum())
    counts["self_loops"] = int(loops.sum())
    counts["duplicate_triples"] = int((~kept_triples).sum())
    keep = kept_triples & ~loops
    repaired = replace(
        dataset,
        interactions=events if kept_events.all() else events.take(kept_events),
        graph=graph if keep.all() else graph.with_triples(keep),
    )
    counts |= _reported_counts(repaired)
    mended = tuple(c for c in counts if counts[c] and RULES[c][0] == "repair")
    return repaired, AuditReport(counts, mended)


def audit_split(split: Split) -> dict[str, int]:
    """Return the sizes of a split's parts after checking that train and validation do not overlap.

    Test is not opened: its tasks are checked by ``audit_task`` when they come out.

    Raises:
        DataError: A hidden pair of validation stands in train or in the user's history.
    """
    train = split.interactions("train")
    sizes = {"train": len(train), "train+val": len(split.interactions("train+val"))}
    for name, task in split.validation().items():
        audit_task(task, train, split.dataset.num_items)
        sizes[f"val_{name}_users"] = len(task)
        sizes[f"val_{name}_targets"] = len(task.target_items)
    return sizes


def audit_task(task: EvaluationTask, trained: Interactions, num_items: int) -> None:
    """Check a task against the events that the model asked was trained on.

    Args:
        task: Histories and hidden positives.
        trained: The events of training.
        num_items: Size of the catalogue.

    Raises:
        DataError: A target was trained on or stands in its user's history, a user has none, or an
            id is out of range.
    """
    lengths = np.diff(task.target_indptr)
    users = np.repeat(task.histories.user_idx, lengths)
    hidden = users * num_items + task.target_items
    histories = task.histories
    known = histories.user_idx[histories.row_of_event] * num_items + histories.item_idx
    found = {
        "targets out of range": _outside(task.target_items, num_items),
        "users without a target": int((lengths < 1).sum()),
        "targets named twice": len(hidden) - len(np.unique(hidden)),
        "targets in train": int(
            np.isin(hidden, trained.user_idx * num_items + trained.item_idx).sum()
        ),
        "targets in their user's history": int(np.isin(hidden, known).sum()),
    }
    wrong = {what: count for what, count in found.items() if count}
    if wrong:
        raise DataError(
            f"Expected hidden and known data apart in task '{task.name}', got {wrong}; make the "
            "split again from the dataset as it is now"
        )


def _identity_counts(dataset: Dataset) -> dict[str, int]:
    events, graph = dataset.interactions, dataset.graph
    num_relations, num_entities = len(graph.relations), graph.num_entities
    return {
        "item_idx_out_of_range": _outside(events.item_idx, dataset.num_items),
        "user_idx_out_of_range": _outside(events.user_idx, dataset.num_users),
        "triple_out_of_range": _outside(graph.head, num_entities)
        + _outside(graph.tail, num_entities)
        + _outside(graph.relation, num_relations),
        "item_entity_out_of_range": _outside(graph.item_entity, num_entities),
        "duplicate_item_ids": dataset.num_items - len(set(dataset.items.ids.tolist())),
        "duplicate_user_ids": dataset.num_users - len(set(dataset.users.ids.tolist())),
        "negative_timestamps": int((events.timestamp < 0).sum()),
        "infinite_values": int(np.isinf(events.value).sum()),
        "no_positive_events": int(not events.positive.any()),
    }


def _reported_counts(dataset: Dataset) -> dict[str, int]:
    events, graph, items = dataset.interactions, dataset.graph, dataset.items
    pairs = events.user_idx * max(dataset.num_items, 1) + events.item_idx
    touched = np.zeros(graph.num_entities, dtype=np.bool_)
    touched[graph.head] = touched[graph.tail] = True
    texts = np.char.strip((np.asarray(items.texts) + np.asarray(items.titles)).astype(str))
    active = len(np.unique(events.user_idx))
    names = [graph.entity_names, *dataset.users.attributes.values()]
    return {
        "repeated_pairs": len(pairs) - len(np.unique(pairs)),
        "missing_timestamps": 0 if dataset.has_time else len(events),
        "users_without_events": dataset.num_users - active,
        "users_without_likes": active - len(np.unique(events.user_idx[events.positive])),
        "items_without_events": dataset.num_items - len(np.unique(events.item_idx)),
        "items_without_text": int((texts == "").sum()),
        "items_without_triples": int((~touched[graph.item_entity]).sum()),
        "unknown_tokens": sum(_unknown_names(column) for column in names),
    }


def _distinct_events(events: Interactions) -> BoolArray:
    """Return which events to keep: of those equal in user, item and time, the largest value."""
    value = np.nan_to_num(events.value, nan=-np.inf)
    rows = np.lexsort((-value, events.timestamp, events.item_idx, events.user_idx))
    kept = np.ones(len(events), dtype=np.bool_)
    user, item, time = events.user_idx[rows], events.item_idx[rows], events.timestamp[rows]
    same = (user[1:] == user[:-1]) & (item[1:] == item[:-1]) & (time[1:] == time[:-1])
    kept[rows[1:][same]] = False
    return kept


def _distinct_triples(graph: KnowledgeGraph) -> BoolArray:
    table = np.column_stack([graph.head, graph.relation, graph.tail])
    kept = np.zeros(len(table), dtype=np.bool_)
    if len(table):
        kept[np.unique(table, axis=0, return_index=True)[1]] = True
    return kept


def _outside(values: npt.NDArray[np.int64], size: int) -> int:
    return int(((values < 0) | (values >= size)).sum())


def _unknown_names(names: Strings) -> int:
    return sum(str(name).strip().lower() in _UNKNOWN for name in names)
