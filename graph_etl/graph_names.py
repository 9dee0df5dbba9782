"""How people name entities and users of a snapshot: by id, by item_id or by exact name."""

from __future__ import annotations

from functools import cached_property

import polars as pl
from rapidfuzz import fuzz, process

from graph_etl.errors import DataError
from graph_etl.snapshot import Snapshot
from graph_etl.store.records import Entity

_SHOWN = 5


class EntityNames:
    """Looks entities and users of one snapshot up."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @cached_property
    def _lowered(self) -> pl.Series:
        return self._snapshot.entities["name"].str.to_lowercase()

    def at(self, entity_idx: int) -> Entity:
        """Return the entity with this index."""
        columns = ("entity_id", "entity_type", "name")
        return Entity(*(self._snapshot.entities[name][entity_idx] for name in columns))

    def index(self, name: str | Entity) -> int:
        """Return the index of the entity that a person means.

        Args:
            name: An entity_id; else an item_id or a name, case ignored, that one entity has.

        Raises:
            DataError: None has it, or several have; the message lists them, or near names.
        """
        if isinstance(name, Entity):
            name = name.entity_id
        by_id = self._snapshot.entities.filter(entity_id=name)["entity_idx"]
        if len(by_id):
            return int(by_id[0])
        by_item = self._snapshot.items.filter(item_id=name)["entity_idx"]
        by_name = (self._lowered == name.lower()).arg_true()
        found = sorted({*by_item.to_list(), *by_name.to_list()})
        if len(found) == 1:
            return int(found[0])
        expected = f"Expected an entity_id, or the item_id or name of one entity, got '{name}': "
        if found:
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise DataError(
                f"{expected}{len(found)} entities have it; give one of the entity_ids "
                f"{_listed([self.at(index) for index in found[:_SHOWN]])}{more}"
            )
        raise DataError(f"{expected}none has it; near are {self._near(name)}")

    def find(self, name: str, limit: int) -> list[Entity]:
        """Return entities whose name contains ``name``; order as GraphStore.find says."""
        found = (
            self._snapshot.entities.with_columns(lowered=self._lowered)
            .filter(pl.col("lowered").str.contains(name.lower(), literal=True))
            .sort(
                pl.col("lowered") != name.lower(), pl.col("name").str.len_chars(), "entity_id"
            )
            .head(limit)
        )  # fmt: skip
        return [self.at(index) for index in found["entity_idx"]]

    def user_index(self, user_id: str) -> int | None:
        """Return the index of the user with this id; None where there is none."""
        found = self._snapshot.users.filter(user_id=user_id)["user_idx"]
        return int(found[0]) if len(found) else None

    def _near(self, name: str) -> str:
        """Return names that contain the asked one, else those spelled most like it."""
        found = self.find(name, _SHOWN)
        if not found:
            names = self._lowered.to_list()
            alike = process.extract(name.lower(), names, scorer=fuzz.ratio, limit=_SHOWN)
            found = [self.at(index) for _, _, index in alike]
        return _listed(found)


def _listed(entities: list[Entity]) -> str:
    return ", ".join(f"{entity.entity_id} '{entity.name}'" for entity in entities) or "none"
