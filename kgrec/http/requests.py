"""What may be asked over HTTP: one model for each request body; unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from kgrec.serving.answers import Event

_LAST_SECOND = 253_402_300_799  # the end of the year 9999
_LARGEST = 2**63 - 1
_ID_TEXT = {"type": "string", "minLength": 1, "maxLength": 256}
_ID_NUMBER = {"type": "integer", "minimum": -_LARGEST, "maximum": _LARGEST}


def _as_text(value: Any) -> Any:
    """Return an id as it stands in the source: 50 and "50" are the same."""
    return str(value) if type(value) is int and abs(value) <= _LARGEST else value


Whole = Annotated[int, Field(strict=True, ge=-_LARGEST, le=_LARGEST)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Second = Annotated[int, Field(strict=True, ge=0, le=_LAST_SECOND)]
Text = Annotated[str, StringConstraints(strict=True, max_length=1024)]
Word = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=64)]
Id = Annotated[
    str,
    BeforeValidator(_as_text),
    StringConstraints(strict=True, min_length=1, max_length=256),
    WithJsonSchema({"anyOf": [_ID_TEXT, _ID_NUMBER]}),
]
Scalar = Text | Whole | Number | None
FilterValue = Scalar | Annotated[list[Scalar], Field(max_length=100)]
Filters = Annotated[dict[Word, FilterValue], Field(max_length=20)]
Excluded = Annotated[list[Id], Field(max_length=10_000)]
K = Annotated[int, Field(strict=True, ge=1)]


class Asked(BaseModel):
    """Base of every request: immutable, unknown fields refused, no NaN and no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class HistoryEvent(Asked):
    """One event of a history that comes with the request."""

    item_id: Id
    value: Number | None = None
    """Rating or weight."""
    timestamp: Second | None = None
    """Unix seconds; either all events of a history have one or none has."""
    positive: bool | None = None
    """Whether it counts as a like; null: decided from kind and value as in training."""
    event: Word | None = None
    """Kind, as the data set names it: view, purchase; null: not told."""

    def as_event(self) -> Event:
        """Return it as the Recommender takes it."""
        return Event(self.item_id, self.value, self.timestamp, self.positive, self.event)


History = list[HistoryEvent | Id]


class Person(Asked):
    """Who asks: a user, a history that comes with the request, or both."""

    user_id: Id | None = None
    """External id; an unknown one is answered too."""
    history: History | None = None
    """Items, oldest first, in place of what is stored of the user."""

    def events(self) -> list[str | int | Event] | None:
        """Return the history as the Recommender takes it."""
        if self.history is None:
            return None
        return [e.as_event() if isinstance(e, HistoryEvent) else e for e in self.history]

    def history_ids(self) -> list[str]:
        """Return the item ids of the history."""
        return [e.item_id if isinstance(e, HistoryEvent) else e for e in self.history or ()]


class Wanted(Asked):
    """How an answer of items is to be."""

    k: K = 10
    """Items wanted; fewer come where fewer are allowed."""
    filters: Filters | None = None
    """Relation or numeric column -> what it must be: {"has_genre": "Comedy"}, {"year": [1990,
    1999]}; all must hold."""
    exclude: Excluded = []
    """Item ids to leave out."""


class WantedForPeople(Wanted):
    """How recommendations are to be."""

    explain: bool = False
    """Give the reason for each item."""
    now: Second | None = None
    """Unix seconds of the request; null for just after the last event."""
    skip_unknown: bool = False
    """Pass over items of histories that the artifact does not know; otherwise 404."""


class RecommendRequest(Person, WantedForPeople):
    """A question for one person's best items."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user_id": "42", "k": 5, "explain": True},
                {"history": ["50", {"item_id": "172", "value": 4.0}], "k": 10},
            ]
        }
    )


class RecommendManyRequest(WantedForPeople):
    """The same question for several people, asked in one batch."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"users": [{"user_id": "42"}, {"history": ["50"]}], "k": 5}]
        }
    )

    users: list[Person] = Field(min_length=1)


class ItemRequest(Wanted):
    """A question for items that are like one item, or go with it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"item_id": "50", "k": 5}]})

    item_id: Id


class SearchRequest(Asked):
    """A question for items by their titles."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "star wars", "k": 5}]})

    text: Text
    k: K = 10
    filters: Filters | None = None


class ExplainRequest(Person):
    """A question for why an item would be recommended."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "42", "item_id": "50"}]})

    item_id: Id


class VectorsRequest(Person):
    """A question for vectors: of items, or of one person."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"item_ids": ["50", "172"]}]})

    item_ids: list[Id] = Field(default=[], max_length=1000)


class ObservedEvent(Asked):
    """What a user did with an item."""

    user_id: Id
    item_id: Id
    event: Word = "interaction"
    """Kind: click, cart, purchase, rating, impression."""
    value: Number | None = None
    """Rating, duration or count."""
    time: Annotated[float, Field(ge=0, le=_LAST_SECOND, allow_inf_nan=False)] | None = None
    """UTC seconds since 1970; null for now."""
    event_id: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None
    """Tells repeats, so that sending an event again is safe; null: made up for it."""
    context: Annotated[dict[Word, Text], Field(max_length=32)] = {}
    """Circumstances by name: device, page."""
    shown: Annotated[list[Id], Field(max_length=1000)] = []
    """Items that were shown together, best first."""
    position: Annotated[int, Field(strict=True, ge=1, le=_LARGEST)] | None = None
    """Rank of the item among those shown, from 1."""
    source: Word | None = None
    """Where the item was shown."""
    propensity: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    """Probability with which the item was shown at that position."""
    artifact_version: Word | None = None
    """artifact_id of the answer that showed it; null: the one in use."""

    def details(self) -> dict[str, Any]:
        """Return everything but who and which item."""
        return self.model_dump(exclude={"user_id", "item_id"})


class ObserveRequest(Asked):
    """Events to be kept; all are on disk when the answer comes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"events": [{"user_id": "42", "item_id": "50", "event": "rating", "value": 5.0}]}
            ]
        }
    )

    events: list[ObservedEvent] = Field(min_length=1)


class ForgetRequest(Asked):
    """A user who asked to be forgotten."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "42"}]})

    user_id: Id


class AddItemRequest(Asked):
    """An item that the artifact does not hold."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "item_id": "new-1",
                    "title": "A new thing",
                    "triples": [["made_by", "Ann"]],
                    "numeric": {"year": 2026},
                }
            ]
        }
    )

    item_id: Id
    title: Annotated[str, StringConstraints(strict=True, max_length=1024)]
    text: Annotated[str, StringConstraints(strict=True, max_length=100_000)] = ""
    """As the data set's text fields make it."""
    triples: list[tuple[Word, Text]] = Field(default=[], max_length=1000)
    """(relation, entity), the entity by its name or id; unknown ones are made."""
    numeric: Annotated[dict[Word, Number | Whole], Field(max_length=100)] = {}
    """Numeric column -> number."""
    vector: list[Number | Whole] = Field(default=[], max_length=16_384)
    """Made as the data set's vectors of items are; empty where there is none."""


class RemoveItemRequest(Asked):
    """An item that is to be in no answer."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"item_id": "50"}]})

    item_id: Id
