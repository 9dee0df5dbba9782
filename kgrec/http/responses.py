"""What is answered over HTTP: one model for each response body, built from the Recommender's."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from kgrec.http.ladder import Rung
from kgrec.serving import answers


class Answered(BaseModel):
    """Base of every answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    artifact_id: str
    """The artifact that answered."""
    request_id: str
    """As in the header X-Request-ID and in the log."""


class ExplanationBody(BaseModel):
    """Why an item is recommended; see kgrec.Explanation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    kind: str
    path: list[tuple[str, str, str]] = []
    path_text: list[str] = []
    liked_item_id: str | None = None
    drop: float | None = None
    contributions: dict[str, float] = {}

    @classmethod
    def of(cls, explanation: answers.Explanation) -> Self:
        """Return the Recommender's explanation as a body."""
        return cls.model_validate(explanation.to_dict())


class ItemBody(BaseModel):
    """One item of an answer; see kgrec.Recommendation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    item_id: str
    title: str
    score: float
    probability: float | None
    rank: int
    sources: list[str]
    explanation: ExplanationBody | None = None


class ItemsAnswer(Answered):
    """Items, best first."""

    items: list[ItemBody]
    personalised: bool
    """False where the person's own history had no say."""
    reason: str
    """Why it is not personalised, or what was left out; "" otherwise."""
    served: Rung
    """Which rung of the ladder answered: see docs/how-to/serving-http.md."""

    @classmethod
    def of(cls, answer: answers.Recommendations, served: Rung, request_id: str) -> Self:
        """Return the Recommender's answer as a body."""
        values = answer.to_dict()
        return cls.model_validate({**values, "served": served, "request_id": request_id})


class ManyAnswer(Answered):
    """One answer for each person, in order; artifact_id is that of the first."""

    answers: list[ItemsAnswer]


class ExplainAnswer(Answered):
    """The reason; null where none could be found in time."""

    explanation: ExplanationBody | None
    served: Rung


class VectorsAnswer(Answered):
    """Vectors in the space that retrieval searches; null where there were none in time."""

    item_ids: list[str]
    """Whose vectors these are, in order; empty for a person's."""
    vectors: list[list[float]] | None
    """One for each item, or one of the person."""
    served: Rung


class ObservedBody(BaseModel):
    """What became of an event; see kgrec.serving.observing.Observed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_id: str
    offset: int | None
    repeated: bool
    counts: bool
    item_known: bool


class ObserveAnswer(Answered):
    """What became of each event, in order; all are on disk."""

    observed: list[ObservedBody]


class ForgetAnswer(Answered):
    """The user is in no answer from now on."""

    forgotten: Literal[True]
    newly: bool
    """False where the user was forgotten before."""


class AddItemAnswer(Answered):
    """The next answer may recommend the item; see kgrec.serving.new_items.AddedItem."""

    item_id: str
    known_entities: int
    new_entities: list[str]


class RemoveItemAnswer(Answered):
    """The item is in no answer from now on."""

    removed: Literal[True]
    newly: bool
    """False where it was out before."""


class Health(BaseModel):
    """The process is alive."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Literal["ok", "degraded"]
    """Degraded: it answers, without the Redis that it should share with other workers."""
    users_from: Literal["memory", "redis", "log"]
    """Where events of users come from: this process, Redis, or the event log while Redis fails."""


class Ready(BaseModel):
    """Whether requests are welcome, and what answers them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Literal["ready", "draining"]
    artifact_id: str


class Fault(BaseModel):
    """Why a request was not answered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error: str
    """A word for programs: unknown_item, bad_request, too_large, no_key, no_scope, too_many, ..."""
    message: str
    """What was expected, what came, and what to do."""
    request_id: str
