"""Reasons for recommendations: the liked item that carries one, and what the graph says of both.

The named item is found by taking liked items away and scoring again, never by looks. That is done
in a quick way (changes.py); deletion_test.py, which asks everything anew, judges whether the named
item is the right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from kgrec.data.graph import KnowledgeGraph
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, IntArray, Interactions
from kgrec.models.scorer import Scorer
from kgrec.serving.answers import Explanation
from kgrec.serving.capabilities import Ranked
from kgrec.serving.carriers import CoLikes
from kgrec.serving.catalogue import Catalogue
from kgrec.serving.changes import Changes
from kgrec.serving.narration import Narrator
from kgrec.serving.paths import Facts, GraphPaths, SharedFact
from kgrec.serving.request_histories import liked_items


class ExplanationConfig(BaseModel):
    """How reasons are chosen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shortlist: int = Field(default=3, ge=1)
    """Liked items tried by deletion because they speak most for the item: by what the sources add
    up, where they do, else by how many people like both."""
    path_shortlist: int = Field(default=1, ge=0)
    """Further liked items tried because they share the most specific facts with the item."""
    recent_half_life: float = Field(default=30.0, gt=0.0)
    """Later events after which a liked item stands half as high by its facts, and by who likes
    both: what was liked lately carries more."""
    carry_share: float = Field(default=0.6, ge=0.0, le=1.0)
    """A liked item may be named if its drop is at least this share of the largest drop."""
    generic_factor: float = Field(default=0.75, gt=0.0)
    """A fact is generic if more than this factor times sqrt(num_items) items touch its entity, or
    the entity of the median fact of its relation."""
    generic_floor: int = Field(default=5, ge=1)
    """No more than this many items never make an entity generic."""
    common_share: float = Field(default=0.5, gt=0.0, le=1.0)
    """A generic fact about more than this share of all items is no reason at all."""
    min_co_likes: int = Field(default=3, ge=1)
    """Users who must have liked both items before the text says so."""
    max_names: int = Field(default=2, ge=1)
    """Entities named in one reason, for each way they relate."""
    max_groups: int = Field(default=2, ge=1)
    """Ways of relating named in one reason."""


@dataclass(frozen=True)
class _Carrier:
    """A liked item with how much the candidate's score falls without it."""

    liked: int
    drop: float


class Explainer:
    """Gives the reason for each recommended item of one history."""

    def __init__(
        self,
        scorer: Scorer,
        catalogue: Catalogue,
        graph: KnowledgeGraph,
        interactions: Interactions,
        num_users: int,
        config: ExplanationConfig | None = None,
    ) -> None:
        self.config = config or ExplanationConfig()
        self.co_likes = CoLikes(interactions, num_users, len(catalogue))
        # "popular" is said of the tenth of the items that most people like
        self._popular_from = max(1.0, float(np.quantile(self.co_likes.likes, 0.9)))
        self._scorer = scorer
        self._catalogue = catalogue
        self._narrator = Narrator(graph, self.config.max_names, self.config.max_groups)
        self.paths = GraphPaths(
            graph, self.config.generic_factor, self.config.generic_floor, self.config.common_share
        )

    def explain(
        self, history: HistoryBatch, items: IntArray, ranked: Sequence[Ranked] | None = None
    ) -> list[Explanation]:
        """Return the reason for each item.

        Args:
            history: A batch of one, none of the items in it.
            items: Shape (n,), rows of the items.
            ranked: The same items as the scorer ranked them; None asks it.
        """
        liked = liked_items(history)
        if len(items) == 0 or len(liked) == 0:
            return [self.popular(int(item)) for item in items]
        changes = Changes(self._scorer, history, items, ranked)
        recency = self._recency(history, liked)
        near = changes.weights(liked)
        if near is None:
            near = self.co_likes.similarity(items, liked) * recency
        # "you liked X" is no reason for X: catalogues hold things under two ids
        other = ~self._catalogue.same_titles(items, liked)
        near = np.where(other, near, -np.inf)
        edges = self.paths.edges(liked)
        specific, tried = [], []
        for n, item in enumerate(items):
            facts = self.paths.ways(edges, other[n], int(item), generic=False)
            specific.append(facts)
            tried.append(self._shortlist(liked, near[n], facts, recency))
        falls = changes.drops(tried)
        carriers = [self._carriers(*one) for one in zip(tried, falls, strict=True)]
        both = self._both(items, carriers)
        told = changes.contributions()
        return [
            self._reason(int(item), carriers[n], specific[n], both[n], dict(told[n]))
            for n, item in enumerate(items)
        ]

    def popular(self, item: int) -> Explanation:
        """Return the reason for an item that no history led to."""
        text = self._liked_by(item)
        if self.co_likes.likes[item] >= self._popular_from:
            text = f"popular: {text}"
        return Explanation(text=text, kind="popular")

    def _liked_by(self, item: int) -> str:
        count = int(self.co_likes.likes[item])
        if count == 0:
            return "new: nobody has liked it yet"
        return "1 person liked it" if count == 1 else f"{count:,} people liked it"

    def _recency(self, history: HistoryBatch, liked: IntArray) -> FloatArray:
        """Return how much lately liked items count, shape (len(liked),), 1 for the last event."""
        last = np.zeros(len(liked), dtype=np.int64)
        places = np.flatnonzero(history.positive)
        last[np.searchsorted(liked, history.item_idx[places])] = places  # the newest comes last
        later = len(history.item_idx) - 1 - last
        return np.asarray(0.5 ** (later / self.config.recent_half_life), dtype=np.float32)

    def _shortlist(
        self, liked: IntArray, near: FloatArray, facts: Facts, recency: FloatArray
    ) -> IntArray:
        """Return which liked items are tried: those nearest, and those that share most."""
        place = np.searchsorted(liked, facts.liked)
        told = np.bincount(place, weights=facts.weight, minlength=len(liked)) * recency
        by_likes = np.argsort(-near, kind="stable")[: self.config.shortlist]
        by_facts = np.argsort(-told, kind="stable")[: self.config.path_shortlist]
        chosen = np.zeros(len(liked), dtype=np.bool_)
        chosen[by_likes[near[by_likes] > -np.inf]] = True
        chosen[by_facts[told[by_facts] > 0.0]] = True
        return liked[chosen]

    def _carriers(self, tried: IntArray, falls: FloatArray) -> list[_Carrier]:
        """Return the liked items that may be named, the largest drop first; none without a drop."""
        largest = float(falls.max(initial=0.0))
        if largest <= 0.0:
            return []
        least = self.config.carry_share * largest
        found = zip(tried.tolist(), falls.tolist(), strict=True)
        kept = [_Carrier(liked, drop) for liked, drop in found if drop >= least]
        return sorted(kept, key=lambda carrier: -carrier.drop)

    def _both(self, items: IntArray, carriers: Sequence[Sequence[_Carrier]]) -> list[int]:
        """Return how many users liked each item and its first carrier; 0 where it has none."""
        first = np.array([own[0].liked if own else -1 for own in carriers], dtype=np.int64)
        liked, place = np.unique(np.maximum(first, 0), return_inverse=True)
        counts = self.co_likes.counts(items, liked)[np.arange(len(items)), place]
        return [int(count) for count in np.where(first >= 0, counts, 0)]

    def _reason(
        self,
        item: int,
        carriers: Sequence[_Carrier],
        specific: Facts,
        both: int,
        contributions: dict[str, float],
    ) -> Explanation:
        if not carriers:
            text = f"fits what you liked as a whole; {self._liked_by(item)}"
            return Explanation(text=text, kind="whole history", contributions=contributions)
        joined = set(specific.liked.tolist())
        told = [carrier for carrier in carriers if carrier.liked in joined]
        if told:
            best = max(told, key=lambda carrier: carrier.drop * self._weight(carrier, specific))
            return self._with_path(best, specific.of(best.liked), "path", contributions)
        best = carriers[0]
        if both < self.config.min_co_likes and not len(specific):
            generic = self.paths.facts(np.array([best.liked]), item, generic=True)
            if generic:
                return self._with_path(best, generic, "generic path", contributions)
        return self._follows(best, both, contributions)

    def _weight(self, carrier: _Carrier, facts: Facts) -> float:
        weights = facts.weight[facts.liked == carrier.liked]  # the largest first
        return float(weights[: self.config.max_names].sum())

    def _follows(
        self, carrier: _Carrier, both: int, contributions: dict[str, float]
    ) -> Explanation:
        title = self._catalogue.title(carrier.liked)
        text = f"because you liked {title}"
        if both >= self.config.min_co_likes:
            fans = int(self.co_likes.likes[carrier.liked])
            text += f": {both:,} of {fans:,} people who liked it liked this too"
        return Explanation(
            text=text,
            kind="follows",
            liked_item_id=self._catalogue.item_id(carrier.liked),
            drop=carrier.drop,
            contributions=contributions,
        )

    def _with_path(
        self,
        carrier: _Carrier,
        facts: Sequence[SharedFact],
        kind: str,
        contributions: dict[str, float],
    ) -> Explanation:
        text, triples = self._narrator.tell(facts)
        return Explanation(
            text=f"you liked {self._catalogue.title(carrier.liked)}; {text}",
            kind=kind,
            path=tuple(dict.fromkeys(self._narrator.edge(triple) for triple in triples)),
            path_text=tuple(dict.fromkeys(self._narrator.edge_text(triple) for triple in triples)),
            liked_item_id=self._catalogue.item_id(carrier.liked),
            drop=carrier.drop,
            contributions=contributions,
        )
