"""Training steps that look like serving: histories cut in two, the later likes as targets."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, IntArray, Interactions
from kgrec.models.graph_part import GraphPart
from kgrec.models.losses import Targets, log_inclusion
from kgrec.models.part_sampler import PartSampler
from kgrec.models.propagation import dropped
from kgrec.models.towers_config import TowersConfig
from kgrec.models.user_tower import UserInputs

if TYPE_CHECKING:
    from kgrec.models.look import Look
    from kgrec.models.teacher import Lessons, Teacher


@dataclass(frozen=True)
class TrainingStep:
    """One step's users, what they are asked for, and what is hidden in it.

    Attributes:
        inputs: B users with the part of their history that comes before the targets.
        candidates: Shape (C,), int64, ascending: the items of the sampled softmax; shape (0,)
            where the softmax is over all items. With a part, places among its items.
        log_q: Shape (C,), float32: log of the probability that each is a candidate.
        seen_rows, seen_columns: Shape (n,), int64: events in the inputs that are candidates;
            masked in the softmax. A column is a place in ``candidates``, or an item_idx.
        rows, columns: Shape (num_targets,), int64: user row and column of each target.
        weights: Shape (num_targets,), float32: n_u^-0.5, with n_u the targets of the user.
        interactions_kept: Shape (num_positives,), float32: 0 for the targets' own edges, for what
            comes after them, and for edges dropped at random; None with a part.
        triples_kept: Shape (num_edges,), float32; None with a part.
        hidden: Shape (num_items,), bool: items to be treated as cold.
        seed: For dropout inside the towers.
        part: What is propagated over; None: the whole graph. The step's items are then numbered
            as in the part.
        lessons: What the teacher would recommend, weights summing to 1 in each row; None: there is
            no teacher.
        met: What users met, likes among it; weighted as likes are. None: not asked for.
        disliked: What they met and rated low; None: not asked for.
    """

    inputs: UserInputs
    candidates: Tensor
    log_q: Tensor
    seen_rows: Tensor
    seen_columns: Tensor
    rows: Tensor
    columns: Tensor
    weights: Tensor
    interactions_kept: Tensor | None
    triples_kept: Tensor | None
    hidden: Tensor
    seed: int
    part: GraphPart | None = None
    lessons: Targets | None = None
    met: Targets | None = None
    disliked: Targets | None = None

    def to(self, device: torch.device, **_: object) -> TrainingStep:
        """Return the step on ``device``."""
        moved = {
            item.name: getattr(self, item.name).to(device)
            for item in fields(self)
            if item.name != "seed" and getattr(self, item.name) is not None
        }
        return replace(self, **moved)


class StepSampler:
    """Draws training steps; step n is the same whenever it is asked for, so that runs resume.

    Args:
        interactions: The train events.
        num_items: Items of the catalogue.
        num_edges: Messages of the graph.
        config: Settings.
        seed: Of all draws.
        parts: Draws what a step propagates over; None: each does over everything. With it, every
            user comes once before any comes again.

    Attributes:
        teacher: Says what it would recommend after each step's histories; None: nobody does.
        look: The towers of the last look, whose best items are candidates where
            ``config.hard_negatives`` says so; None before the first look.
    """

    def __init__(
        self,
        interactions: Interactions,
        num_items: int,
        num_edges: int,
        config: TowersConfig,
        seed: int,
        parts: PartSampler | None = None,
    ) -> None:
        self.interactions = interactions
        self.num_items = num_items
        self.num_edges = num_edges
        self.config = config
        self.seed = seed
        self.parts = parts
        self.teacher: Teacher | None = None
        self.look: Look | None = None
        self.positive_place = np.cumsum(interactions.positive) - 1  # event -> number of positive
        likes = np.bincount(interactions.user_idx[interactions.positive])
        self.users = np.flatnonzero(likes >= 2)
        self.asks_of_all = config.met_weight > 0 or config.dislike_weight > 0
        asked = interactions.item_idx[interactions.positive | self.asks_of_all]
        self.share = np.bincount(asked, minlength=num_items) / max(len(asked), 1)

    @property
    def draws_candidates(self) -> bool:
        """Whether the softmax is over drawn candidates."""
        return self.num_items > self.config.max_softmax_items

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every user comes once, where steps propagate over parts."""
        return -(-len(self.users) // self.config.users_per_step)

    def step(self, number: int) -> TrainingStep:
        """Return training step ``number``."""
        generator = np.random.default_rng([self.seed, number])
        users = self._users(number, generator)
        events = _events_of(self.interactions, users)
        target, known = self._cut(events, generator)
        left_out = self.positive_place[events.number[~known & events.positive]]
        kept = None
        if self.parts is None:
            num_likes = int(self.interactions.positive.sum())
            kept = dropped(num_likes, self.config.edge_dropout, generator)
            kept[torch.from_numpy(left_out)] = 0.0
        histories = _histories(self.interactions, users, events, known)
        lessons = None if self.teacher is None else self.teacher.lessons(histories)
        asked_for = events.item_idx[~known if self.asks_of_all else target]
        candidates, log_q = self._candidates(asked_for, self._sure(histories, lessons), generator)
        rows = events.row[target]
        columns = _columns(events.item_idx[target], candidates)
        seen_columns = _columns(events.item_idx[known], candidates)
        seen = seen_columns >= 0
        met, disliked = self._further_targets(events, known, candidates)
        num_items, num_asked = self.num_items, self.num_items
        triples_kept, part, places = None, None, candidates
        if self.parts is None:
            triples_kept = dropped(self.num_edges, self.config.edge_dropout, generator)
        else:
            asked = np.arange(num_items)
            if len(candidates):
                asked = np.union1d(candidates, histories.item_idx)
            part = self.parts.around(asked, left_out, int(generator.integers(2**61)))
            num_items, num_asked = len(part.items), len(asked)
            places = np.searchsorted(asked, candidates)
            histories = replace(histories, item_idx=np.searchsorted(asked, histories.item_idx))
        return TrainingStep(
            inputs=UserInputs.of(histories, num_asked, self.config, differentiable=True),
            candidates=torch.from_numpy(places),
            log_q=log_q,
            seen_rows=torch.from_numpy(events.row[known][seen]),
            seen_columns=torch.from_numpy(seen_columns[seen]),
            rows=torch.from_numpy(rows),
            columns=torch.from_numpy(columns),
            weights=_weights(rows, len(users)),
            interactions_kept=kept,
            triples_kept=triples_kept,
            hidden=torch.from_numpy(generator.random(num_items) < self.config.hidden_items),
            seed=int(generator.integers(2**31)),
            part=part,
            lessons=None if lessons is None else _taught(lessons, candidates),
            met=met,
            disliked=disliked,
        )

    def _users(self, number: int, generator: np.random.Generator) -> IntArray:
        """Return the users of a step, ascending."""
        size = min(self.config.users_per_step, len(self.users))
        if self.parts is None:
            return np.sort(generator.choice(self.users, size=size, replace=False))
        epoch, place = divmod(number, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch, 1]).permutation(self.users)
        return np.sort(order[place * size : (place + 1) * size])

    def _candidates(
        self, targets: IntArray, sure: IntArray, generator: np.random.Generator
    ) -> tuple[IntArray, Tensor]:
        """Return the candidates and log q of each, 0 for the ``sure`` ones."""
        if not self.draws_candidates:
            return np.empty(0, dtype=np.int64), torch.empty(0)
        draws = min(self.config.sampled_items, self.num_items)
        uniform = generator.choice(self.num_items, size=draws, replace=False)
        candidates = np.union1d(np.union1d(uniform, targets), sure)
        in_batch = torch.from_numpy((len(targets) * self.share[candidates]).astype(np.float32))
        log_q = log_inclusion(draws / self.num_items, in_batch)
        log_q[torch.from_numpy(np.isin(candidates, sure))] = 0.0
        return candidates, log_q

    def _sure(self, histories: HistoryBatch, lessons: Lessons | None) -> IntArray:
        """Return items that are candidates whatever is drawn: taught ones and hard negatives.

        Users and their histories decide about them before anything is drawn, hence they are there
        with probability 1.
        """
        taught = np.empty(0, dtype=np.int64) if lessons is None else lessons.item_idx
        if self.look is None or not self.draws_candidates:
            return taught
        return np.union1d(taught, self.look.best(histories, self.config.hard_negatives))

    def _further_targets(
        self, events: _Events, known: BoolArray, candidates: IntArray
    ) -> tuple[Targets | None, Targets | None]:
        """Return what was met and what was disliked, each None where it is not asked for.

        What stands in the history is not met anew: its logits are masked.
        """
        pairs = events.row * self.num_items + events.item_idx
        later = ~known & ~np.isin(pairs, pairs[known])

        def of(chosen: BoolArray) -> Targets:
            rows = events.row[chosen]
            columns = torch.from_numpy(_columns(events.item_idx[chosen], candidates))
            return Targets(torch.from_numpy(rows), columns, _weights(rows, len(events.length)))

        return (
            of(later) if self.config.met_weight else None,
            of(later & ~events.positive) if self.config.dislike_weight else None,
        )

    def _cut(self, events: _Events, generator: np.random.Generator) -> tuple[BoolArray, BoolArray]:
        """Return which events are targets and which are known, disjoint; the rest is left out."""
        size = len(events.length)
        last_like = np.zeros(size, dtype=np.int64)
        np.maximum.at(last_like, events.row[events.positive], events.place[events.positive])
        cut = np.floor(generator.random(size) * (last_like + 1)).astype(np.int64)
        known = events.place < cut[events.row]
        at_random = generator.random(size) < self.config.random_cut_share
        share = generator.uniform(0.1, 0.5, size)
        drawn = generator.random(len(events.row)) >= share[events.row]
        asked = np.bincount(events.row[~drawn & events.positive], minlength=size) > 0
        known = np.where((at_random & asked)[events.row], drawn, known)
        return ~known & events.positive, known


def _columns(items: IntArray, candidates: IntArray) -> IntArray:
    """Return the place of each item among the candidates (all items where empty), else -1."""
    if not len(candidates):
        return items
    place = np.minimum(np.searchsorted(candidates, items), len(candidates) - 1)
    return np.where(candidates[place] == items, place, -1)


def _weights(rows: IntArray, num_rows: int) -> Tensor:
    """Return n^-0.5 for each target, with n the targets of its row."""
    counts = np.bincount(rows, minlength=num_rows)
    return torch.from_numpy((counts[rows] ** -0.5).astype(np.float32))


def _taught(lessons: Lessons, candidates: IntArray) -> Targets:
    columns = _columns(lessons.item_idx, candidates)
    return Targets(*(torch.from_numpy(a) for a in (lessons.row, columns, lessons.share)))


@dataclass(frozen=True)
class _Events:
    """Events of chosen users: row in the batch, place in the user's history, number in train."""

    row: IntArray
    place: IntArray
    number: IntArray
    item_idx: IntArray
    positive: BoolArray
    length: IntArray


def _events_of(interactions: Interactions, users: IntArray) -> _Events:
    start = np.searchsorted(interactions.user_idx, users, side="left")
    stop = np.searchsorted(interactions.user_idx, users, side="right")
    length = stop - start
    row = np.repeat(np.arange(len(users)), length)
    first = np.concatenate([[0], np.cumsum(length)[:-1]])
    place = np.arange(len(row)) - first[row]
    number = start[row] + place
    return _Events(
        row, place, number, interactions.item_idx[number], interactions.positive[number], length
    )


def _histories(
    interactions: Interactions, users: IntArray, events: _Events, known: BoolArray
) -> HistoryBatch:
    lengths = np.bincount(events.row[known], minlength=len(users))
    part = interactions.take(events.number[known])
    return HistoryBatch(
        user_idx=users,
        indptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        item_idx=part.item_idx,
        value=part.value,
        timestamp=part.timestamp,
        positive=part.positive,
        now=np.zeros(len(users), dtype=np.int64),
        kind=part.kind,
    )
