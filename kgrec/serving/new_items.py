"""Items that came and went since the artifact was made, kept in a journal until the next one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from kgrec.errors import RequestError, ServingStateError
from kgrec.serving.journal import Journal

JOURNAL = "items.journal"
_HEADER = "kgrec items 1"

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class NewItem(BaseModel):
    """An item as ``add_item`` takes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    item_id: Name
    """External id."""
    title: Annotated[str, StringConstraints(strip_whitespace=True, max_length=1024)]
    """Shown in answers, and found by search."""
    text: Annotated[str, StringConstraints(max_length=32_768)] = ""
    """As the data set's text fields make it; the title where there is none."""
    triples: tuple[tuple[Name, Name], ...] = Field(default=(), max_length=1000)
    """(relation, entity): an entity by its id or its name; one that the graph does not know is
    made."""
    numeric: Mapping[Name, Finite] = Field(default={}, max_length=256)
    """Column -> number; columns that are not given are unknown."""
    vector: Annotated[tuple[Finite, ...], Field(max_length=16_384)] = ()
    """As the data set's vectors of items are made, before any scaling; () where there is none."""


@dataclass(frozen=True)
class AddedItem:
    """What became of an item.

    Attributes:
        item_id: Its id.
        known_entities: Triples whose entity the graph knew; the others connect it to nothing yet.
        new_entities: Names of the entities that were made.
    """

    item_id: str
    known_entities: int
    new_entities: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ItemChanges:
    """The state of the journal.

    Attributes:
        added: Item id -> item, in the order in which they were added.
        removed: Ids of items that no answer may hold.
    """

    added: Mapping[str, NewItem]
    removed: frozenset[str]

    def with_item(self, item: NewItem) -> ItemChanges:
        """Return the state with an item added."""
        return ItemChanges({**self.added, item.item_id: item}, self.removed - {item.item_id})

    def without(self, item_id: str) -> ItemChanges:
        """Return the state with an item removed."""
        return ItemChanges(self.added, self.removed | {item_id})


class ItemJournal:
    """The journal of one serving folder; any process may write.

    Args:
        folder: The serving folder.

    Raises:
        ServingStateError: The journal is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._journal = Journal(folder / JOURNAL, _HEADER)
        self._stamp = (0, 0)
        self.changes = ItemChanges({}, frozenset())
        self.follow()

    def follow(self) -> ItemChanges:
        """Return the state, with what other processes wrote; cheap where they wrote nothing.

        Raises:
            ServingStateError: The journal is damaged.
        """
        stamp = self._stamp_now()
        if stamp != self._stamp:
            changes = ItemChanges({}, frozenset())
            for line in self._journal.lines():
                changes = self._read(line, changes)
            self._stamp, self.changes = stamp, changes
        return self.changes

    def add(self, item: NewItem) -> ItemChanges:
        """Write that an item came, on disk when this returns."""
        self._journal.append(json.dumps({"add": item.model_dump(mode="json")}))
        return self.follow()

    def remove(self, item_id: str) -> ItemChanges:
        """Write that an item went, on disk when this returns."""
        self._journal.append(json.dumps({"remove": item_id}))
        return self.follow()

    def _stamp_now(self) -> tuple[int, int]:
        try:
            found = self._journal.file.stat()
        except OSError:
            return (0, 0)
        return (found.st_mtime_ns, found.st_size)

    def _read(self, line: str, before: ItemChanges) -> ItemChanges:
        try:
            content = json.loads(line)
            if "remove" in content:
                return before.without(str(content["remove"]))
            return before.with_item(NewItem.model_validate(content["add"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ServingStateError(
                f"Expected an item that came or went in {self._journal.file}, got {line[:60]!r}; "
                "read it with the version of kgrec that wrote it"
            ) from error


def make_item(**fields: Any) -> NewItem:
    """Return a new item.

    Raises:
        RequestError: A field is out of its range: an empty id, a number that is not finite.
    """
    try:
        return NewItem(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RequestError(
            f"Expected an item as NewItem describes, got {first['input']!r} under '{where}': "
            f"{first['msg']}"
        ) from error
