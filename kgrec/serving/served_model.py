"""One artifact, made ready to answer: it never changes, so that an answer is of one version.

Which artifact answers, and what users do meanwhile, is for recommender.py and live_users.py.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from kgrec.artifact import Artifact
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import BoolArray, FloatArray, IntArray
from kgrec.errors import RequestError, UnknownItemError
from kgrec.models.top_items import TopItems
from kgrec.serving import capabilities
from kgrec.serving.answering import Answerer, by_score
from kgrec.serving.answers import Explanation, Recommendations
from kgrec.serving.capabilities import Ranked
from kgrec.serving.catalogue import Catalogue
from kgrec.serving.complements import Complements
from kgrec.serving.explanations import Explainer, ExplanationConfig
from kgrec.serving.filters import Filters, ItemFilter
from kgrec.serving.live_histories import PositiveRule, with_recent
from kgrec.serving.live_state import SharedState
from kgrec.serving.live_users import LiveUsers
from kgrec.serving.made_once import MadeOnce
from kgrec.serving.request_histories import (
    HistoryInput,
    RequestHistories,
    num_liked,
    stack,
    without_item,
)
from kgrec.serving.rules import RulesConfig, apply_rules

UserId = str | int


class ServedModel:
    """Answers out of one artifact; its methods are those of Recommender, which says what they do.

    Args:
        artifact: What answers.
        live: What users did since, and who is forgotten; asked anew at each request.
        explanations: How reasons are chosen.
        removed: Item ids that no answer may hold.
    """

    def __init__(
        self,
        artifact: Artifact,
        live: SharedState | None = None,
        explanations: ExplanationConfig | None = None,
        removed: frozenset[str] = frozenset(),
    ) -> None:
        self.artifact = artifact
        self.catalogue = Catalogue(artifact.items)
        self._live: SharedState = LiveUsers() if live is None else live
        self._scorer = artifact.scorer
        self._filter = ItemFilter(self.catalogue, artifact.graph)
        dataset = artifact.manifest.get("dataset", {})
        liked = (dataset.get("positive") or {}).get("events")
        self._histories = RequestHistories(
            self.catalogue, artifact.users, artifact.interactions, liked
        )
        self._rule = PositiveRule.of(dataset, self._histories.like_threshold)
        # seconds of a large graph, which answers without reasons need not wait for
        self._reasons = MadeOnce(
            lambda: Explainer(
                artifact.scorer,
                self.catalogue,
                artifact.graph,
                artifact.interactions,
                len(artifact.users.ids),
                explanations,
            )
        )
        self._complements = MadeOnce(lambda: Complements(artifact, self._explainer.co_likes))
        self._answerer = Answerer(artifact, self.catalogue, self._reasons)
        self._there, self._removed = self._all_but(removed)

    @cached_property
    def _unit_vectors(self) -> FloatArray | None:
        """Unit vectors of all items; a copy of them, made when it is first asked for."""
        return capabilities.similarity_vectors(self._scorer)

    @property
    def _explainer(self) -> Explainer:
        return self._reasons()

    @property
    def artifact_id(self) -> str:
        """Id of the artifact."""
        return self.artifact.artifact_id

    def recommend_many(
        self,
        user_ids: Sequence[UserId | None],
        histories: Sequence[HistoryInput] | None = None,
        *,
        k: int = 10,
        explain: bool = False,
        filters: Filters | None = None,
        exclude: Iterable[UserId] = (),
        now: int | None = None,
        skip_unknown: bool = False,
        rules: RulesConfig | None = None,
        debug: bool = False,
    ) -> list[Recommendations]:
        """Return the best items for each user."""
        _check_k(k)
        if histories is not None and len(histories) != len(user_ids):
            raise RequestError(
                f"Expected one history for each of {len(user_ids)} users, got {len(histories)}"
            )
        allowed = self._allowed(filters, exclude)
        batch, notes = self._asked(user_ids, histories, now, skip_unknown)
        depth = k if rules is None else max(k, rules.depth)
        ranked = self._answerer.rank(batch, depth, allowed)
        liked, answers = num_liked(batch).tolist(), []
        for place, (user, note, best) in enumerate(zip(user_ids, notes, ranked, strict=True)):
            told: dict[str, Any] = {}
            if rules is not None:
                ruled = apply_rules(rules, best, k, self)
                best, told = ruled.items, ruled.told
            known, why = liked[place] > 0, ""
            if explain or not known:
                history = batch.take(np.array([place]))
            if not known:
                why = self._why_popular(user, history, brought=histories is not None)
            items = (
                self._answerer.explained_items(history, best)
                if explain
                else self._answerer.items(best)
            )
            reason = "; ".join(filter(None, [why, note]))
            said = {"rules": told} if debug else None
            answers.append(Recommendations(items, known, self.artifact_id, reason, said))
        return answers

    def _asked(
        self,
        user_ids: Sequence[UserId | None],
        histories: Sequence[HistoryInput] | None,
        now: int | None,
        skip_unknown: bool,
    ) -> tuple[HistoryBatch, Sequence[str]]:
        """Return the histories to ask with, and what was left out of each, in words."""
        if histories is None or not len(user_ids):
            return self.histories(user_ids, now), [""] * len(user_ids)
        pairs = zip(user_ids, histories, strict=True)
        each = [self.history(user, brought, now, skip_unknown) for user, brought in pairs]
        return stack([history for history, _ in each]), [note for _, note in each]

    def histories(self, user_ids: Sequence[UserId | None], now: int | None = None) -> HistoryBatch:
        """Return the histories of users as one batch; empty ones for who is not known."""
        rows = np.array([self._user_row(user) for user in user_ids], dtype=np.int64)
        stored = self._histories.stored(rows, now)
        live = {place for place, user in enumerate(user_ids) if self._live.events_of(user)}
        if not live:
            return stored
        each = [
            self.history(user, None, now)[0] if place in live else stored.take(np.array([place]))
            for place, user in enumerate(user_ids)
        ]
        return stack(each)

    def top_rows(self, user_ids: Sequence[UserId | None], k: int) -> TopItems:
        """Return rows and scores of what ``recommend_many`` answers, without dressing it."""
        _check_k(k)
        return self._answerer.top(self.histories(user_ids), k, self._allowed())

    def pair_scores(
        self, user_ids: Sequence[UserId | None], pair_indptr: IntArray, item_rows: IntArray
    ) -> FloatArray:
        """Return scores of pairs that compare between users; item row -1 stands for no item."""
        return capabilities.comparable_scores(
            self._scorer, self.histories(user_ids), pair_indptr, item_rows
        )

    def similar(
        self,
        item_id: UserId,
        *,
        k: int = 10,
        filters: Filters | None = None,
        exclude: Iterable[UserId] = (),
    ) -> Recommendations:
        """Return the items most like one item."""
        _check_k(k)
        row = self.row_of(item_id)
        allowed = self._allowed(filters, [*exclude, item_id])
        vectors = self._unit_vectors
        if vectors is None:
            history, _ = self._histories.brought([item_id], -1, None, False)
            ranked = self._answerer.rank(history, k, allowed)[0]
        else:
            ranked = by_score(np.where(allowed, vectors @ vectors[row], -np.inf), k)
        return self._about_items(ranked, f"like {self.catalogue.title(row)}")

    def complementary(
        self,
        item_id: UserId,
        *,
        k: int = 10,
        filters: Filters | None = None,
        exclude: Iterable[UserId] = (),
    ) -> Recommendations:
        """Return the items that go with one item."""
        _check_k(k)
        row = self.row_of(item_id)
        allowed = self._allowed(filters, [*exclude, item_id])
        allowed &= ~self.catalogue.have_title_of(np.arange(len(self.catalogue)), row)
        scores = self._complements().scores(row)
        ranked = by_score(np.where(allowed & (scores > 0), scores, -np.inf), k, ("together",))
        title = self.catalogue.title(row)
        nothing = "" if ranked else ": too few people have liked it together with another"
        return self._about_items(ranked, f"goes with {title}{nothing}")

    def search(self, text: str, *, k: int = 10, filters: Filters | None = None) -> Recommendations:
        """Return the items whose titles are nearest to a text."""
        _check_k(k)
        allowed = self._allowed(filters)
        whole = allowed.all()
        found = self.catalogue.search(text, k if whole else len(self.catalogue))
        near = [(row, score) for row, score in found if allowed[row]][:k]
        return self._about_items(
            [Ranked(row, score, None, ("title",)) for row, score in near], "by title"
        )

    def explain(
        self, user_id: UserId | None, item_id: UserId, *, history: HistoryInput | None = None
    ) -> Explanation:
        """Return why an item would be recommended to a user."""
        row = self.row_of(item_id)
        asked, _ = self.history(user_id, history)
        items = np.array([row], dtype=np.int64)
        return self._explainer.explain(without_item(asked, row), items)[0]

    def row_of(self, item_id: UserId) -> int:
        """Return the item's row in the arrays."""
        row = self.catalogue.require(item_id)
        if row in self._removed:
            raise UnknownItemError(
                f"Expected an item that is there, got {item_id!r}, which was removed; add it again "
                "with add_item()"
            )
        return row

    def prepare_explanations(self) -> None:
        """Make ready what reasons are found by."""
        self._reasons()

    def history(
        self,
        user_id: UserId | None,
        history: HistoryInput | None = None,
        now: int | None = None,
        skip_unknown: bool = False,
    ) -> tuple[HistoryBatch, str]:
        """Return the history to ask with and what was left out of the request, in words."""
        row = self._user_row(user_id)
        if history is not None:
            batch, skipped = self._histories.brought(history, row, now, skip_unknown)
            return batch, f"left out unknown items {', '.join(skipped)}" if skipped else ""
        stored = self._histories.stored(np.array([row], dtype=np.int64), now)
        recent = self._live.events_of(user_id)
        if recent:
            has_time = self._histories.has_time
            stored = with_recent(stored, recent, self.catalogue, self._rule, now, has_time=has_time)
        return stored, ""

    def item_vectors(self, item_ids: Iterable[UserId] | None = None) -> FloatArray:
        """Return vectors of items, of all of them for None."""
        vectors = capabilities.item_vectors(self._scorer)
        if vectors is None:
            raise RequestError(_no_vectors(self._scorer.name))
        if item_ids is None:
            return np.array(vectors, dtype=np.float32)
        rows = np.array([self.row_of(item_id) for item_id in item_ids], dtype=np.int64)
        return np.array(vectors[rows], dtype=np.float32)

    def user_vector(
        self, user_id: UserId | None = None, *, history: HistoryInput | None = None
    ) -> FloatArray:
        """Return the user's vector in the item vectors' space."""
        asked, _ = self.history(user_id, history)
        vectors = capabilities.user_vectors(self._scorer, asked)
        if vectors is None:
            raise RequestError(_no_vectors(self._scorer.name))
        return np.array(vectors[0], dtype=np.float32)

    def without(self, removed: frozenset[str]) -> ServedModel:
        """Return the same model with other items removed; the two share all else."""
        other = copy.copy(self)
        other._there, other._removed = self._all_but(removed)
        return other

    def allowed_by(self, filters: Filters) -> BoolArray:
        """Return which items a filter allows, shape (num_items,)."""
        return self._filter.allowed(filters)

    def numbers(self, column: str) -> FloatArray:
        """Return a numeric column, shape (num_items,), NaN where unknown."""
        self._filter.allowed({column: (None, None)})  # refuses what is not there, by name
        return self.catalogue.items.numeric[column]

    def entities(self, row: int, relation: str) -> list[int]:
        """Return the entities that an item touches by a relation."""
        if relation not in self.artifact.graph.relations:
            known = ", ".join(dict.fromkeys(self.artifact.graph.relations)) or "none"
            raise RequestError(f"Expected a cap on a relation out of {known}, got {relation!r}")
        return [int(entity) for entity in self._explainer.paths.touched(row, relation)]

    def unit_vectors(self) -> FloatArray | None:
        """Return unit vectors for telling items apart, of behaviour or else of text, or None."""
        if self._unit_vectors is not None:
            return self._unit_vectors
        state = getattr(self._scorer, "state", None)
        text: FloatArray | None = None if state is None else state.arrays.get("text")
        return text

    def item_id(self, row: int) -> str:
        """Return the id of an item."""
        return self.catalogue.item_id(row)

    def _user_row(self, user_id: UserId | None) -> int:
        forgotten = user_id is not None and self._live.is_forgotten(str(user_id))
        return -1 if forgotten else self._histories.user_row(user_id)

    def _allowed(self, filters: Filters | None = None, exclude: Iterable[UserId] = ()) -> BoolArray:
        """Return which items an answer may hold; not to be written into."""
        exclude = list(exclude)
        if not filters and not exclude:
            return self._there
        return np.asarray(self._filter.allowed(filters, exclude) & self._there)

    def _all_but(self, removed: frozenset[str]) -> tuple[BoolArray, frozenset[int]]:
        """Return which items an answer may hold, and the rows of those that were removed."""
        listed = self.catalogue.items.listed
        there = np.ones(len(self.catalogue), dtype=np.bool_) if listed is None else listed.copy()
        rows = self.catalogue.rows(removed)
        there[rows] = False
        return there, frozenset(rows.tolist())

    def _about_items(self, ranked: Sequence[Ranked], reason: str) -> Recommendations:
        return Recommendations(self._answerer.items(ranked), False, self.artifact_id, reason)

    def _why_popular(self, user_id: UserId | None, history: HistoryBatch, *, brought: bool) -> str:
        if len(history.item_idx):
            return "popular items: the history holds nothing that was liked"
        if brought:
            return "popular items: the history is empty"
        if user_id is None:
            return "popular items: neither a user nor a history was given"
        forgotten = self._live.is_forgotten(str(user_id))
        if forgotten or self._histories.user_row(user_id) < 0:
            return f"popular items: the user {str(user_id)!r} is not known to this artifact"
        return f"popular items: the user {str(user_id)!r} has no train events"


def _check_k(k: int) -> None:
    if k < 1:
        raise RequestError(f"Expected k of at least 1, got {k}")


def _no_vectors(scorer: str) -> str:
    return (
        f"Expected a scorer with item and user vectors, got {scorer!r}, which has none; "
        "publish an artifact whose pipeline holds the towers"
    )
