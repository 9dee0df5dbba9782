"""What the Recommender answers: frozen values that print well and turn into plain JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Event:
    """One event of a history that comes with the request.

    Attributes:
        item_id: External id.
        value: Rating or weight, None where the event has none.
        timestamp: Unix seconds, None where unknown; either all events of a history have one or
            none has.
        positive: Whether it counts as a like; None: decided from ``value`` as in training, a like
            where there is no value.
        event: Kind, as the data set names it (view, purchase); None where it is not told. A kind
            that the data set's rule does not like is no like.
    """

    item_id: str | int
    value: float | None = None
    timestamp: int | None = None
    positive: bool | None = None
    event: str | None = None


class Edge(NamedTuple):
    """One triple of the train-time graph, by entity ids."""

    head: str
    relation: str
    tail: str


@dataclass(frozen=True)
class Explanation:
    """Why an item is recommended.

    Attributes:
        text: The reason in words.
        kind: "path" (specific facts of the graph), "follows" (the liked item it follows from),
            "generic path" (facts that many items share), "whole history" (no single liked item
            carries it) or "popular".
        path: Edges of the train-time graph from the liked item to the item; empty without a path.
        path_text: The same edges in words, one each.
        liked_item_id: The liked item the reason names, None without one.
        drop: How much the item's score falls when that liked item leaves the history.
        contributions: Candidate source -> how many standard deviations its score for the item
            lies above the mean of its best items; empty where the scorer does not tell.
    """

    text: str
    kind: str
    path: tuple[Edge, ...] = ()
    path_text: tuple[str, ...] = ()
    liked_item_id: str | None = None
    drop: float | None = None
    contributions: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        values = asdict(self)
        values["path"] = [list(edge) for edge in self.path]
        values["path_text"] = list(self.path_text)
        return values


@dataclass(frozen=True)
class Recommendation:
    """One item of an answer.

    Attributes:
        item_id: External id, as in the source.
        title: The item's title.
        score: Higher is better; comparable within one answer only.
        probability: Calibrated probability of a like, None where the scorer has none.
        rank: 1-based.
        sources: Names of the candidate sources that found it.
        explanation: The reason, None where none was asked for.
    """

    item_id: str
    title: str
    score: float
    probability: float | None
    rank: int
    sources: tuple[str, ...] = ()
    explanation: Explanation | None = None

    def __str__(self) -> str:
        chance = "" if self.probability is None else f"  {self.probability:.0%}"
        reason = "" if self.explanation is None else f"  ({self.explanation.text})"
        number = "" if self.title == self.item_id else f" [{self.item_id}]"
        return f"{self.rank:>3}. {self.title}{number}{chance}{reason}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        values = {**self.__dict__, "sources": list(self.sources)}
        values["explanation"] = None if self.explanation is None else self.explanation.to_dict()
        return values


@dataclass(frozen=True)
class Recommendations:
    """An answer: items, best first. Iterates and indexes as the sequence of its items.

    Attributes:
        items: Best first.
        personalised: False where the user's own history had no say.
        artifact_id: The artifact that answered.
        reason: Why it is not personalised, or what was left out of the request; "" otherwise.
        debug: What each rule did, where it was asked for; None otherwise.
    """

    items: tuple[Recommendation, ...]
    personalised: bool
    artifact_id: str
    reason: str = ""
    debug: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[Recommendation]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> Recommendation:
        return self.items[place]

    def __repr__(self) -> str:
        head = "personalised" if self.personalised else "not personalised"
        note = f": {self.reason}" if self.reason else ""
        lines = [f"{len(self.items)} recommendations, {head}{note} ({self.artifact_id})"]
        return "\n".join([*lines, *map(str, self.items)])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; ``debug`` only where there is one."""
        values = {**self.__dict__, "items": [item.to_dict() for item in self.items]}
        if self.debug is None:
            del values["debug"]
        return values
