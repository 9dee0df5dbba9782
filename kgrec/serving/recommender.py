"""The Recommender: answers from one published artifact at a time, takes in events and new items,
and changes to the next artifact while it answers; no training code, no database.

Any number of threads may use one. Shared between them: the model in use (replaced in one
assignment, never changed), the live events, the ledger of the forgotten and the meter (each with
a lock of its own). A call reads the model in use once, so that it answers out of one artifact.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self, Unpack

from kgrec.artifact import Artifact, artifact_id_of, load_artifact
from kgrec.artifact.scorers import ScorerTypes
from kgrec.errors import RequestError
from kgrec.events import Event
from kgrec.serving.asking import Asking
from kgrec.serving.explanations import ExplanationConfig
from kgrec.serving.feedback import Feedback
from kgrec.serving.live_state import LiveConfig, SharedConfig, UsersFrom
from kgrec.serving.metrics import Meter, Metrics
from kgrec.serving.new_items import AddedItem, make_item
from kgrec.serving.observing import EventDetails, Observed, make_event
from kgrec.serving.probe_check import check_probes
from kgrec.serving.served_model import UserId
from kgrec.serving.shelf import Shelf


class Recommender(Asking):
    """Answers out of the published artifact and what happened since.

    Ids may be given as strings or ints; answers carry strings, as in the source.

    Args:
        artifact: What answers.
        explanations: How reasons are chosen.
        state: Folder of the ledger of forgotten users and the journal of items.
        encoder: Folder or name of the encoder of the items' texts, for items that are added; None
            for the one that the artifact's towers name.
        live: How much is kept of what users did since the artifact was made.
        event_log: Folder of the log that ``observe`` appends to; opened by ``load``.
        shared: What other processes share that serve with the same folders.
    """

    def __init__(
        self,
        artifact: Artifact,
        explanations: ExplanationConfig | None = None,
        *,
        state: Path | None = None,
        encoder: str | Path | None = None,
        live: LiveConfig | None = None,
        event_log: Path | None = None,
        shared: SharedConfig | None = None,
    ) -> None:
        self._path: Path = artifact.path
        self._scorers: ScorerTypes | None = None
        self._feedback = Feedback(state, live, event_log, shared)
        self._meter = Meter()
        self._changing = threading.Lock()
        self._shelf = Shelf(artifact, self._feedback.users, explanations, state, encoder)
        self._served = self._shelf.served

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        event_log: str | Path | None = None,
        state: str | Path | None = None,
        check_probes: bool = False,
        scorers: ScorerTypes | None = None,
        explanations: ExplanationConfig | None = None,
        encoder: str | Path | None = None,
        live: LiveConfig | None = None,
        shared: SharedConfig | None = None,
    ) -> Self:
        """Return a recommender for an artifact folder or the pointer file that names one.

        Args:
            path: "runs/demo/current", or an artifact folder.
            event_log: Folder of the log that ``observe`` appends to; made where it is not there.
                Its events that the artifact does not know are taken into account.
            state: Folder that keeps who is forgotten, and items added and removed; made by the
                first of them. The nightly job is given the same one.
            check_probes: Ask the artifact's probe queries and compare the answers.
            scorers: Further scorer classes by name, where the artifact holds none of kgrec's own.
            explanations: How reasons are chosen.
            encoder: Folder or name of the encoder of the items' texts, for items that are added;
                None for the one that the artifact's towers name.
            live: How much is kept in memory of what users did since the artifact was made.
            shared: What other processes share that serve with the same folders; each must call
                ``follow`` every moment.

        Raises:
            ArtifactError: A file is absent, altered or not listed, the schema version is another,
                or a probe is answered differently.
            EventLogError: Another process writes to the log, or it is damaged.
            ServingStateError: A file of ``state`` is damaged.
        """
        artifact = load_artifact(path, scorers=scorers)
        recommender = cls(
            artifact,
            explanations,
            state=None if state is None else Path(state),
            encoder=encoder,
            live=live,
            event_log=None if event_log is None else Path(event_log),
            shared=shared,
        )
        recommender._path, recommender._scorers = Path(path), scorers
        if check_probes:
            recommender.check_probes()
        recommender._feedback.open_log(artifact)
        return recommender

    @property
    def artifact(self) -> Artifact:
        """The artifact that answers now."""
        return self._served.artifact

    @property
    def artifact_id(self) -> str:
        """Id of the artifact that answers now."""
        return self._served.artifact_id

    def observe(
        self,
        user_id: UserId | Event,
        item_id: UserId | None = None,
        **details: Unpack[EventDetails],
    ) -> Observed:
        """Append what a user did to the event log; return when it is on disk.

        The user's next answer takes it into account, an unknown user's too: what is a like is
        decided by the data set's rule. An event of an item that nobody knows yet is kept for the
        artifact that will know it, and told; refusing it would lose what the next night may use.

        Args:
            user_id: The user, or the whole event.
            item_id: The item; None with a whole event.
            details: event, value, time, event_id, context, shown, position, source, propensity,
                artifact_version, as ``make_event`` takes them.

        Raises:
            RequestError: No event log was given to ``load``, or a field is out of its range.
            EventLogError: It could not be written; it was not taken, and may be sent again.
        """
        if isinstance(user_id, Event):
            return self.observe_many([user_id])[0]
        if item_id is None:
            raise RequestError("Expected an item_id or a whole Event, got None")
        details.setdefault("artifact_version", self.artifact_id)
        return self.observe_many([make_event(user_id, item_id, **details)])[0]

    def observe_many(self, events: Sequence[Event]) -> list[Observed]:
        """Do what ``observe`` does for several events, with one write to the disk.

        Raises:
            RequestError: No event log was given to ``load``.
            EventLogError: Some could not be written; sending all again is safe.
        """
        catalogue = self._served.catalogue
        with self._meter.timed("observe"):
            observed = [
                replace(one, item_known=catalogue.row(event.item_id) is not None)
                for event, one in zip(events, self._feedback.observe(events), strict=True)
            ]
        self._meter.count("events", len(observed))
        self._meter.count("events_repeated", sum(one.repeated for one in observed))
        self._meter.count("events_refused", sum(one.offset is None for one in observed))
        self._meter.count("events_of_unknown_items", sum(not one.item_known for one in observed))
        return observed

    def forget(self, user_id: UserId) -> bool:
        """Forget a user: gone from every answer that begins after this returns.

        The user is entered, as a keyed hash, into the ledger of ``state``; loads and nightly
        builds that are given that folder leave the user out, and events that still come in under
        this id are not written. What is already stored (event log, snapshots, older artifacts)
        stays there until it is purged, and is read without the user.

        Returns:
            False where the user was forgotten before.

        Raises:
            RequestError: No ``state`` was given to ``load``.
            ServingStateError: The ledger cannot be written; nothing was forgotten.
        """
        with self._meter.timed("forget"):
            return self._feedback.forget(user_id)

    def is_forgotten(self, user_id: UserId) -> bool:
        """Return whether the user asked to be forgotten."""
        return self._feedback.is_forgotten(user_id)

    def add_item(
        self,
        item_id: UserId,
        title: str,
        text: str = "",
        *,
        triples: Sequence[tuple[str, str]] = (),
        numeric: Mapping[str, float] | None = None,
        vector: Sequence[float] = (),
    ) -> AddedItem:
        """Add an item that the artifact does not hold; the next answer may recommend it.

        Nothing is trained: candidate sources get its vectors from its content alone, and the ranker
        sees a cold item. Filters and reasons know it. It is kept in the journal of ``state`` until
        an artifact holds it. The first call takes longer, unless ``prepare_items`` was called.

        Args:
            item_id: External id; an item that was added before is replaced, one that was removed
                comes back.
            title: Shown in answers.
            text: As the data set's text fields make it; "" for the title alone.
            triples: (relation, entity), the entity by its name or id; unknown ones are made.
            numeric: Numeric column -> number.
            vector: Made as the data set's vectors of items are; () where there is none.

        Raises:
            RequestError: No ``state`` was given to ``load``, the artifact holds the item, or it
                names a relation or a column that does not exist.
            ServingStateError: It cannot be written; nothing was changed.
        """
        item = make_item(
            item_id=str(item_id),
            title=title,
            text=text,
            triples=tuple(triples),
            numeric=dict(numeric or {}),
            vector=tuple(map(float, vector)),
        )
        with self._changing, self._meter.timed("add_item"):
            told = self._shelf.add(item)
            self._served = self._shelf.served
            return told

    def prepare_items(self) -> None:
        """Make ready what ``add_item`` needs: the text encoder, and maps into the vector spaces.

        Raises:
            ConfigError: The text encoder cannot be read.
        """
        with self._changing:
            self._shelf.warm_up()

    def prepare_explanations(self) -> None:
        """Make ready what reasons are found by; otherwise the first explained answer does it, which
        takes seconds where the graph has millions of triples.
        """
        self._served.prepare_explanations()

    def remove_item(self, item_id: UserId) -> bool:
        """Take an item out of every answer that begins after this returns, and out of later ones.

        Histories still hold it: that somebody liked it stays true. It stays out until it is added
        again, also where a later artifact holds it.

        Returns:
            False where it was out before.

        Raises:
            UnknownItemError: No such item is known.
            RequestError: No ``state`` was given to ``load``.
            ServingStateError: It cannot be written; nothing was changed.
        """
        with self._changing, self._meter.timed("remove_item"):
            gone = self._shelf.remove(str(item_id))
            self._served = self._shelf.served
            return gone

    def reload(self) -> bool:
        """Change to the artifact that the path given to ``load`` names now; return whether it is
        another than before.

        Calls under way end on the artifact that they began with; none waits. What cannot be
        loaded changes nothing: the present artifact goes on answering.

        Raises:
            ArtifactError: The artifact is absent or damaged.
            ServingStateError: A file of ``state`` is damaged.
        """
        with self._changing, self._meter.timed("reload"):
            if artifact_id_of(self._path) == self.artifact_id:
                self._feedback.follow(self._shelf.base)  # another process may have forgotten users
                return False
            artifact = load_artifact(self._path, scorers=self._scorers)
            self._feedback.follow(artifact)  # before the swap: the new one may know less
            self._shelf.change_to(artifact)
            self._served = self._shelf.served
        self._meter.count("swaps")
        return True

    def follow(self) -> bool:
        """Take in what other processes did with the same folders; return whether items changed.

        Who is forgotten is known at once without it.

        Raises:
            EventLogError: The event log is damaged.
            ServingStateError: The journal of items is damaged.
        """
        self._feedback.look()
        with self._changing:
            changed = self._shelf.follow()
            self._served = self._shelf.served
        return changed

    @property
    def users_from(self) -> UsersFrom:
        """Where is kept what users did: "memory"; of processes that share it "redis", or "log"
        while Redis fails and each process answers out of its own reading of the event log.
        """
        return self._feedback.users_from

    @property
    def shared_state_faults(self) -> int:
        """How often Redis failed, was late, or had lost something."""
        return self._feedback.faults

    def metrics(self) -> Metrics:
        """Return counts and latencies since the recommender was loaded."""
        users = self._feedback.users
        return self._meter.metrics(
            {
                "items": len(self._served.catalogue),
                "items_added": len(self._shelf.changes.added),
                "items_removed": len(self._shelf.changes.removed),
                "live_users": len(users),
                "live_users_evicted": users.evicted_users,
                "forgotten_users": self._feedback.num_forgotten,
                "shared_state_faults": self.shared_state_faults,
            }
        )

    def check_probes(self) -> int:
        """Ask the artifact's probe queries again and return how many there are.

        Raises:
            ArtifactError: One is answered differently than when the artifact was made.
        """
        return check_probes(self._shelf.base)

    def close(self) -> None:
        """Close the event log, so that another process may write to it."""
        self._feedback.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
