"""Reasons for recommendations: the liked item that carries one, and what the graph says of both.

The named item is found by taking liked items away and asking the scorer again, never by looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from kgrec.data.graph import KnowledgeGraph
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray, IntArray, Interactions
from kgrec.models.scorer import Scorer
from kgrec.serving.answers import Explanation
from kgrec.serving.capabilities import Contributions, contributions
from kgrec.serving.carriers import CoLikes, drops
from kgrec.serving.catalogue import Catalogue
from kgrec.serving.narration import Narrator
from kgrec.serving.paths import GraphPaths, SharedFact
from kgrec.serving.request_histories import liked_items


class ExplanationConfig(BaseModel):
    """How reasons are chosen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shortlist: int = Field(default=6, ge=1)
    """Liked items tried by deletion because people like them together with the item."""
    path_shortlist: int = Field(default=4, ge=0)
    """Further liked items tried because they share the most specific facts with the item."""
    carry_share: float = Field(default=0.5, ge=0.0, le=1.0)
    """A liked item may be named if its drop is at least this share of the largest drop."""
    generic_factor: float = Field(default=0.75, gt=0.0)
    """A fact is generic if more than this factor times sqrt(num_items) items touch its entity, or
    the entity of the median fact of its relation."""
    generic_floor: int = Field(default=5, ge=1)
    """No more than this many items never make an entity generic."""
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
        self.paths = GraphPaths(graph, self.config.generic_factor, self.config.generic_floor)

    def explain(
        self,
        history: HistoryBatch,
        items: IntArray,
        told: Sequence[Contributions] | None = None,
    ) -> list[Explanation]:
        """Return the reason for each item.

        Args:
            history: A batch of one, none of the items in it.
            items: Shape (n,), rows of the items.
            told: What each candidate source says of each item; None asks the scorer.
        """
        liked = liked_items(history)
        if len(items) == 0 or len(liked) == 0:
            return [self.popular(int(item)) for item in items]
        similarity = self.co_likes.similarity(items, liked)
        specific, tried = [], []
        for n, item in enumerate(items):
            # "you liked X" is no reason for X: catalogues hold things under two ids
            other = ~self._catalogue.have_title_of(liked, int(item))
            specific.append(self.paths.facts(liked[other], int(item), generic=False))
            tried.append(self._shortlist(liked[other], similarity[n][other], specific[n]))
        falls = drops(self._scorer, history, items, tried)
        reasons = []
        for n, item in enumerate(items):
            carriers = self._carriers(tried[n], falls[n])
            reasons.append(self._reason(int(item), carriers, specific[n]))
        if told is None:
            told = contributions(self._scorer, history, items)
        return [
            replace(reason, contributions=dict(parts))
            for reason, parts in zip(reasons, told, strict=True)
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

    def _shortlist(
        self, liked: IntArray, similarity: FloatArray, facts: Sequence[SharedFact]
    ) -> IntArray:
        near = liked[np.argsort(-similarity, kind="stable")[: self.config.shortlist]]
        told: dict[int, float] = {}
        for fact in facts:
            told[fact.liked] = told.get(fact.liked, 0.0) + fact.weight
        ranked = sorted(told, key=lambda row: (-told[row], row))[: self.config.path_shortlist]
        return np.union1d(near, np.array(ranked, dtype=np.int64)).astype(np.int64)

    def _carriers(self, tried: IntArray, falls: FloatArray) -> list[_Carrier]:
        """Return the liked items that may be named, the largest drop first; none without a drop."""
        largest = float(falls.max(initial=0.0))
        if largest <= 0.0:
            return []
        order = np.argsort(-falls, kind="stable")
        return [
            _Carrier(int(tried[place]), float(falls[place]))
            for place in order
            if falls[place] >= self.config.carry_share * largest
        ]

    def _reason(
        self, item: int, carriers: list[_Carrier], specific: list[SharedFact]
    ) -> Explanation:
        if not carriers:
            text = f"fits what you liked as a whole; {self._liked_by(item)}"
            return Explanation(text=text, kind="whole history")
        told = [carrier for carrier in carriers if any(f.liked == carrier.liked for f in specific)]
        if told:
            best = max(told, key=lambda carrier: carrier.drop * self._weight(carrier, specific))
            facts = [fact for fact in specific if fact.liked == best.liked]
            return self._with_path(best, facts, "path")
        best = carriers[0]
        rows = np.array([item], dtype=np.int64)
        named = np.array([best.liked], dtype=np.int64)
        both = int(self.co_likes.counts(rows, named)[0, 0])
        if both >= self.config.min_co_likes or specific:
            return self._follows(best, both)
        generic = self.paths.facts(named, item, generic=True)
        return (
            self._with_path(best, generic, "generic path")
            if generic
            else (self._follows(best, both))
        )

    def _weight(self, carrier: _Carrier, facts: Sequence[SharedFact]) -> float:
        weights = [fact.weight for fact in facts if fact.liked == carrier.liked]
        return sum(sorted(weights, reverse=True)[: self.config.max_names])

    def _follows(self, carrier: _Carrier, both: int) -> Explanation:
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
        )

    def _with_path(self, carrier: _Carrier, facts: Sequence[SharedFact], kind: str) -> Explanation:
        text, triples = self._narrator.tell(facts)
        return Explanation(
            text=f"you liked {self._catalogue.title(carrier.liked)}; {text}",
            kind=kind,
            path=tuple(dict.fromkeys(self._narrator.edge(triple) for triple in triples)),
            path_text=tuple(dict.fromkeys(self._narrator.edge_text(triple) for triple in triples)),
            liked_item_id=self._catalogue.item_id(carrier.liked),
            drop=carrier.drop,
        )
