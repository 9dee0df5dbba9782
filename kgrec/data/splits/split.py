"""A dataset divided into train, validation and test; test comes out through one logged call."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import polars as pl

from kgrec.data.dataset import Dataset
from kgrec.data.graph import GraphMode, KnowledgeGraph
from kgrec.data.interactions import BoolArray, Interactions
from kgrec.data.splits.config import PUBLISHED, Part, SplitConfig, SplitName
from kgrec.data.splits.cuts import Role, RoleArray, assign_roles, ordered
from kgrec.data.splits.published import published_roles
from kgrec.data.splits.tasks import make_task
from kgrec.data.splits.test_lock import OpeningLog, check_test_allowed
from kgrec.data.task import EvaluationTask
from kgrec.errors import ConfigError, DataError, TestLockError

_TRAINED: dict[str, tuple[Role, ...]] = {
    "train": (Role.TRAIN,),
    "train+val": (Role.TRAIN, Role.VAL_HISTORY, Role.VAL_TARGET),
}
_PRIMARY = {"global_time": "with_history", "cold_items": "among_cold"}


@dataclass(frozen=True)
class Split:
    """One division of a dataset.

    Attributes:
        config: Name, seed and fractions.
        dataset: Catalogue, users, texts and graph; its ``interactions`` are empty, so that what
            is held out cannot be read from it.
        details: How the cuts were made and the counts, as they go into records.
    """

    config: SplitConfig
    dataset: Dataset
    details: Mapping[str, Any]
    _events: Interactions
    _roles: RoleArray

    @property
    def name(self) -> SplitName:
        """The kind of split."""
        return self.config.name

    @property
    def seed(self) -> int:
        """The seed of its draws."""
        return self.config.seed

    @property
    def primary_slice(self) -> str:
        """The slice on which models are selected and compared first.

        "all"; for global_time "with_history", for cold_items "among_cold".
        """
        return _PRIMARY.get(self.name, "all")

    @cached_property
    def checksum(self) -> str:
        """SHA-256 over configuration, ids, events and roles."""
        # the roles tell cold_min_positives; splits made before there was such a field stay the same
        stated = self.config.model_dump_json(exclude={"cold_min_positives"})
        digest = hashlib.sha256(stated.encode())
        for ids in (self.dataset.users.ids, self.dataset.items.ids):
            digest.update("\x1f".join(ids.tolist()).encode())
        events = self._events
        for array in (events.user_idx, events.item_idx, events.timestamp, events.positive):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(self._roles.tobytes())
        return digest.hexdigest()

    def interactions(self, part: Part) -> Interactions:
        """Return the events that a model may learn from, sorted by user and time.

        Args:
            part: "train" while settings are chosen; "train+val" for the final fit.

        Raises:
            TestLockError: Any other part was asked for.
        """
        if part not in _TRAINED:
            raise TestLockError(
                f"Expected part 'train' or 'train+val', got '{part}'; test comes out through "
                "open_test alone"
            )
        return self._with_roles(*_TRAINED[part])

    def all_interactions(self) -> Interactions:
        """Return every event, test's too, for a model that is published and no more measured.

        Raises:
            TestLockError: A tuning run asked.
        """
        check_test_allowed()
        return self._events

    def graph(self, mode: GraphMode = "on", seed: int = 0) -> KnowledgeGraph:
        """Return the train-time graph: item facts only, never users, ablated by ``mode``."""
        return self.dataset.graph.ablated(mode, seed)

    def visible_dataset(self, part: Part, graph_mode: GraphMode = "on", seed: int = 0) -> Dataset:
        """Return the dataset as a model may see it: interactions of ``part``, ablated graph."""
        return replace(
            self.dataset,
            interactions=self.interactions(part),
            graph=self.graph(graph_mode, seed),
        )

    def validation(self) -> dict[str, EvaluationTask]:
        """Return the validation tasks by slice; the model asked was fitted on "train".

        Raises:
            DataError: Nobody has anything to be found in the primary slice.
        """
        known = self._with_roles(Role.TRAIN, Role.VAL_HISTORY)
        ranked = ~self._items_of(Role.TEST_TARGET) if self.name == "cold_items" else None
        return self._tasks("val", known, Role.VAL_TARGET, ranked)

    def open_test(
        self, ledger: OpeningLog, *, model: str, config_hash: str, repeat: bool = False
    ) -> dict[str, EvaluationTask]:
        """Return the test tasks by slice, after writing the opening into the ledger.

        The model asked was fitted on ``config.refit_on``.

        Args:
            ledger: An append-only log of openings.
            model: Name of what is evaluated.
            config_hash: Hash of its whole configuration, seed included.
            repeat: Open again what was opened before under the same key; logged as a repeat.

        Raises:
            TestLockError: A tuning run asked, or this key was opened before and ``repeat`` is
                False.
            DataError: Nobody has anything to be found in the primary slice.
        """
        check_test_allowed()
        ledger.record_opening(
            dataset=self.dataset.name,
            split=self.name,
            seed=self.seed,
            checksum=self.checksum,
            model=model,
            config_hash=config_hash,
            repeat=repeat,
        )
        told = _TRAINED[self.config.test_history]
        known = self._with_roles(*told, Role.TEST_HISTORY)
        before = None
        if self.config.test_history != "train+val":
            before = self._with_roles(*_TRAINED["train+val"], Role.TEST_HISTORY)
        return self._tasks("test", known, Role.TEST_TARGET, None, before)

    def describe(self) -> dict[str, Any]:
        """Return configuration, checksum and details, as they go into run records."""
        return {
            **self.config.model_dump(),
            "checksum": self.checksum,
            "primary_slice": self.primary_slice,
            "details": dict(self.details),
        }

    def _with_roles(self, *roles: Role) -> Interactions:
        return self._events.take(np.isin(self._roles, roles))

    def _items_of(self, role: Role) -> BoolArray:
        items = np.zeros(self.dataset.num_items, dtype=np.bool_)
        items[self._events.item_idx[self._roles == role]] = True
        return items

    def _tasks(
        self,
        part: str,
        known: Interactions,
        target: Role,
        ranked: BoolArray | None,
        before: Interactions | None = None,
    ) -> dict[str, EvaluationTask]:
        hidden = self._with_roles(target)
        listed = self.dataset.items.listed
        make = partial(make_task, known=known, hidden=hidden, before=before, allowed=listed)
        prefix = f"{self.name}/{part}"
        if self.name == "cold_items":
            cold = self._items_of(target)
            if listed is not None:
                cold, ranked = cold & listed, listed if ranked is None else ranked & listed
            tasks = {
                "among_all": make(f"{prefix}/among_all", allowed=ranked),
                "among_cold": make(f"{prefix}/among_cold", allowed=cold),
            }
        elif self.name == "global_time":
            task = make(f"{prefix}/all", request_time="global")
            has_history = task.histories.lengths > 0
            tasks = {
                "all": task,
                "with_history": _sliced(task, f"{prefix}/with_history", has_history),
                "without_history": _sliced(task, f"{prefix}/without_history", ~has_history),
            }
        else:
            tasks = {"all": make(f"{prefix}/all")}
        if not len(tasks[self.primary_slice]):
            raise DataError(
                f"Expected users with hidden positives in {prefix}/{self.primary_slice}, got none "
                f"among {len(hidden)} held-out events; use a looser rule for positives, another "
                "seed, or, where users have three events or fewer, 'split: global_time', which "
                "needs times"
            )
        return {name: task for name, task in tasks.items() if len(task)}


def make_split(
    dataset: Dataset,
    name: SplitName | SplitConfig,
    *,
    seed: int = 0,
    published: pl.DataFrame | None = None,
    **settings: Any,
) -> Split:
    """Return the dataset divided; the same data and configuration always give the same split.

    Args:
        dataset: All interactions, in any order.
        name: The kind of split, or a whole configuration (then no further settings).
        seed: Seed of every draw.
        published: as_published and redrawn only: columns user_id, item_id, part ("train", "val",
            "test") and, where a pair can come twice, timestamp. See ``read_published`` and
            ``published_labels``.
        **settings: Further fields of SplitConfig: val_fraction, test_fraction, ...

    Raises:
        ConfigError: ``published`` does not go with the kind of split.
        DataError: The data cannot be divided so.
    """
    config = (
        name if isinstance(name, SplitConfig) else SplitConfig(name=name, seed=seed, **settings)
    )
    config = config.resolved()
    if (published is not None) != (config.name in PUBLISHED):
        raise ConfigError(
            f"Expected a frame 'published' for the splits {', '.join(PUBLISHED)} and for no "
            f"other, got {'one' if published is not None else 'none'} for '{config.name}'; the "
            "mapping of a data set that comes divided names its parts in interactions.splits"
        )
    events = ordered(dataset.interactions, config.seed)
    if published is not None:
        roles, extra = published_roles(dataset, events, published, config)
    else:
        roles, extra = _assigned(events, config, dataset), {}
    return split_from_roles(config, dataset, events, roles, extra)


def split_from_roles(
    config: SplitConfig,
    dataset: Dataset,
    events: Interactions,
    roles: RoleArray,
    details: Mapping[str, Any],
) -> Split:
    """Return a split from events whose roles are known; ``details`` are added to its own."""
    counts = np.bincount(roles, minlength=len(Role))
    facts = {
        "order_within_user": "time" if dataset.has_time else "random by seed (no timestamps)",
        "events": {role.name.lower(): int(counts[role]) for role in Role},
        "positives": {
            role.name.lower(): int(events.positive[roles == role].sum()) for role in Role
        },
        "snapshot_id": dataset.snapshot_id,
        **details,
    }
    empty = replace(dataset, interactions=dataset.interactions.take(np.empty(0, dtype=np.int64)))
    return Split(config, empty, facts, events, roles)


def _assigned(events: Interactions, config: SplitConfig, dataset: Dataset) -> RoleArray:
    """Return each event's role; an unlisted item is none that can be held out as cold."""
    listed = dataset.items.listed
    if config.name != "cold_items" or listed is None:
        return assign_roles(events, config, dataset.has_time)
    roles = np.full(len(events), Role.TRAIN, dtype=np.int8)
    own = listed[events.item_idx]
    roles[own] = assign_roles(events.take(own), config, dataset.has_time)
    return roles


def _sliced(task: EvaluationTask, name: str, rows: BoolArray) -> EvaluationTask:
    return replace(task.take(np.flatnonzero(rows)), name=name)
