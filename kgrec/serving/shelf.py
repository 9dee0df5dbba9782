"""The model in use: an artifact with the items that came and without those that went."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from pathlib import Path

from kgrec.artifact import Artifact
from kgrec.data.strings import StringColumn
from kgrec.errors import RequestError
from kgrec.models.scorer import Scorer
from kgrec.serving.cold_content import Encode
from kgrec.serving.explanations import ExplanationConfig
from kgrec.serving.extension import Extension
from kgrec.serving.live_state import SharedState
from kgrec.serving.made_once import MadeOnce
from kgrec.serving.new_items import AddedItem, ItemChanges, ItemJournal, NewItem
from kgrec.serving.served_model import ServedModel
from kgrec.serving.string_rows import StringRows

_log = logging.getLogger(__name__)


class Shelf:
    """Makes the models that answer. One thread at a time.

    Args:
        artifact: What answers first.
        live: What users did since.
        explanations: How reasons are chosen.
        state: Folder of the journal of items; None: no item can come or go.
        encoder: Folder or name of the text encoder; None for the one that the artifact holds or
            names.

    Raises:
        ServingStateError: The journal is damaged.
    """

    def __init__(
        self,
        artifact: Artifact,
        live: SharedState,
        explanations: ExplanationConfig | None = None,
        state: Path | None = None,
        encoder: str | Path | None = None,
    ) -> None:
        self._live, self._explanations, self._encoder = live, explanations, encoder
        self._journal = None if state is None else ItemJournal(state)
        self._extension: Extension | None = None
        self._shown = ItemChanges({}, frozenset())
        self._take(artifact)
        self.served = self._made(artifact)

    def change_to(self, artifact: Artifact) -> None:
        """Make the model of another artifact, with the items that it does not know yet.

        An item that it cannot take, because its relation or column is gone, is left out with a
        warning: it must not keep the next artifact from answering.
        """
        before, extension, shown = self.base, self._extension, self._shown
        self._take(artifact)
        self._extension = None
        try:
            self.served = self._made(artifact)
        except BaseException:
            self._take(before)
            self._extension, self._shown = extension, shown
            raise

    def follow(self) -> bool:
        """Take in items that other processes added or removed; return whether there are any.

        Raises:
            ServingStateError: The journal is damaged.
        """
        if self._journal is None:
            return False
        changes, shown = self._journal.follow(), self._shown
        if changes == shown:
            return False
        if changes.added == shown.added:
            self.served, self._shown = self.served.without(changes.removed), changes
        else:
            self.served = self._made(self.base)
        return True

    def add(self, item: NewItem) -> AddedItem:
        """Add an item, or replace one that was added before.

        Raises:
            RequestError: There is no folder, the artifact holds the item, or it names a relation
                or a column that does not exist.
            ServingStateError: It cannot be written.
        """
        journal = self._writable()
        changes = journal.changes.with_item(item)
        if item.item_id in self._ids():
            if item.item_id not in journal.changes.removed:
                raise RequestError(
                    f"Expected an item that the artifact does not hold, got {item.item_id!r}; what "
                    "is known of it changes with the next build"
                )
            served, told = self.served.without(changes.removed), AddedItem(item.item_id, 0, ())
        else:
            artifact, every = self._extended(changes.added.values(), must_have=item.item_id)
            served = ServedModel(artifact, self._live, self._explanations, changes.removed)
            told = next(one for one in every if one.item_id == item.item_id)
        journal.add(item)  # after it was made: what is written can be loaded
        self.served, self._shown = served, changes
        return told

    def remove(self, item_id: str) -> bool:
        """Take an item out of all answers; return False where it was out before.

        Raises:
            UnknownItemError: No such item is known.
            RequestError: There is no folder.
            ServingStateError: It cannot be written.
        """
        journal = self._writable()
        if item_id in journal.changes.removed:
            return False
        self.served.catalogue.require(item_id)
        changes = journal.remove(item_id)
        self.served = self.served.without(changes.removed)
        self._shown = ItemChanges(self._shown.added, changes.removed)
        return True

    def prepare(self) -> Extension:
        """Return what adds items to the artifact, made at the first call."""
        if self._extension is None:
            self._extension = Extension(self.base, self._encode())
        return self._extension

    def warm_up(self) -> None:
        """Prepare, and load what the first item would load, by an item that nobody sees."""
        if self._extension is None:
            unseen = NewItem(item_id=uuid.uuid4().hex, title="nothing")
            self.prepare().extended([unseen])

    @property
    def changes(self) -> ItemChanges:
        """Items that came and went, those that the artifact knows by now among them."""
        return ItemChanges({}, frozenset()) if self._journal is None else self._journal.changes

    def _made(self, artifact: Artifact) -> ServedModel:
        changes = self._shown = self.changes
        artifact, _ = self._extended(changes.added.values())
        return ServedModel(artifact, self._live, self._explanations, changes.removed)

    def _extended(
        self, items: Iterable[NewItem], must_have: str = ""
    ) -> tuple[Artifact, list[AddedItem]]:
        fresh = [item for item in items if item.item_id not in self._ids()]
        if not fresh:
            return self.base, []
        extension = self.prepare()
        taken = []
        for item in fresh:
            try:
                extension.check(item)
            except RequestError as error:
                if item.item_id == must_have:
                    raise
                _log.warning("the added item %r is left out: %s", item.item_id, error)
            else:
                taken.append(item)
        return extension.extended(taken) if taken else (self.base, [])

    def _take(self, artifact: Artifact) -> None:
        self.base = artifact
        self._ids = MadeOnce(lambda: StringRows(StringColumn.of(artifact.items.ids)))

    def _writable(self) -> ItemJournal:
        if self._journal is None:
            raise RequestError(
                "Expected a folder for the journal of items, got none; name one with "
                "Recommender.load(path, state=FOLDER)"
            )
        self.follow()
        return self._journal

    def _encode(self) -> Encode | None:
        """Return the encoder of the artifact's texts, None where they are hashed words."""
        sources: dict[str, Scorer] = getattr(self.base.scorer, "sources", {})
        towers = next((one for one in sources.values() if one.name == "towers"), None)
        config = getattr(towers, "config", None)
        model = self._encoder or self.base.encoder or getattr(config, "text_model", None)
        if model is None:
            return None
        from kgrec.models.text.encoder import TextEncoder

        tokens = getattr(config, "text_max_tokens", 128)
        return TextEncoder(model, max_tokens=tokens).encode
