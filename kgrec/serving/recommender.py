"""The Recommender: loads one artifact and answers from it; no training code, no database.

Everything it holds is read-only after loading, so that any number of threads may ask at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from kgrec.artifact import Artifact, load_artifact
from kgrec.artifact.probes import difference
from kgrec.artifact.scorers import ScorerTypes
from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray
from kgrec.errors import ArtifactError, RequestError
from kgrec.serving import capabilities
from kgrec.serving.answering import Answerer, by_score
from kgrec.serving.answers import Explanation, Recommendations
from kgrec.serving.capabilities import Ranked
from kgrec.serving.catalogue import Catalogue
from kgrec.serving.explanations import Explainer, ExplanationConfig
from kgrec.serving.filters import Filters, ItemFilter
from kgrec.serving.request_histories import (
    HistoryInput,
    RequestHistories,
    liked_items,
    without_item,
)

UserId = str | int


class Recommender:
    """Answers out of one artifact.

    Ids may be given as strings or ints; answers carry strings, as in the source.

    Attributes:
        artifact: What answers.
    """

    def __init__(self, artifact: Artifact, explanations: ExplanationConfig | None = None) -> None:
        self.artifact = artifact
        self._scorer = artifact.scorer
        self._catalogue = Catalogue(artifact.items)
        self._filter = ItemFilter(self._catalogue, artifact.graph)
        self._histories = RequestHistories(self._catalogue, artifact.users, artifact.interactions)
        self._explainer = Explainer(
            artifact.scorer,
            self._catalogue,
            artifact.graph,
            artifact.interactions,
            len(artifact.users.ids),
            explanations,
        )
        self._unit_vectors = capabilities.similarity_vectors(self._scorer)
        self._answerer = Answerer(artifact, self._catalogue, self._explainer)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        check_probes: bool = False,
        scorers: ScorerTypes | None = None,
        explanations: ExplanationConfig | None = None,
    ) -> Self:
        """Return a recommender for an artifact folder or the pointer file that names one.

        Args:
            path: "runs/demo/current", or an artifact folder.
            check_probes: Ask the artifact's probe queries and compare the answers.
            scorers: Further scorer classes by name, where the artifact holds none of kgrec's own.
            explanations: How reasons are chosen.

        Raises:
            ArtifactError: A file is absent, altered or not listed, the schema version is another,
                or a probe is answered differently.
        """
        recommender = cls(load_artifact(path, scorers=scorers), explanations)
        if check_probes:
            recommender.check_probes()
        return recommender

    @property
    def artifact_id(self) -> str:
        """Id of the artifact that answers."""
        return self.artifact.artifact_id

    def recommend(
        self,
        user_id: UserId | None = None,
        *,
        history: HistoryInput | None = None,
        k: int = 10,
        explain: bool = False,
        filters: Filters | None = None,
        exclude: Iterable[UserId] = (),
        now: int | None = None,
        skip_unknown: bool = False,
    ) -> Recommendations:
        """Return the k best items for a user that the history does not hold.

        Where nothing the user liked is known (unknown user, empty history), the most popular of
        the allowed items come, with ``personalised=False`` and the reason.

        Args:
            user_id: A user of the artifact; their train events are the history, their profile is
                used. An unknown id is answered too.
            history: Item ids (each a like) or events, oldest first; in place of the stored ones.
            k: Items wanted; fewer come where fewer are allowed.
            explain: Give the reason for each item.
            filters: What items must be: {"has_genre": "Comedy"}, {"year": (1990, 1999)},
                {"stars": ["Al Pacino", "Robert De Niro"]} (any of these); all keys must hold.
            exclude: Item ids to leave out.
            now: Unix seconds of the request; None for just after the last event.
            skip_unknown: Pass over items of ``history`` that the artifact does not know.

        Raises:
            UnknownItemError: ``history`` names an item that the artifact does not know.
            RequestError: k is below 1, or a filter names nothing that exists.
        """
        histories = None if history is None else [history]
        return self.recommend_many(
            [user_id],
            histories=histories,
            k=k,
            explain=explain,
            filters=filters,
            exclude=exclude,
            now=now,
            skip_unknown=skip_unknown,
        )[0]

    def recommend_many(
        self,
        user_ids: Sequence[UserId | None] | None = None,
        *,
        histories: Sequence[HistoryInput] | None = None,
        k: int = 10,
        explain: bool = False,
        filters: Filters | None = None,
        exclude: Iterable[UserId] = (),
        now: int | None = None,
        skip_unknown: bool = False,
    ) -> list[Recommendations]:
        """Return what ``recommend`` returns for each user, asked in one batch.

        Args:
            user_ids: Users; None where ``histories`` alone say who asks.
            histories: One history for each user, in place of the stored ones.
            k: As in ``recommend``; so are the others, the same for all users.
            explain: Give the reason for each item.
            filters: What items must be.
            exclude: Item ids to leave out.
            now: Unix seconds of the request.
            skip_unknown: Pass over unknown items of histories.

        Raises:
            UnknownItemError: As in ``recommend``.
            RequestError: As in ``recommend``, or there are not as many histories as users.
        """
        _check_k(k)
        if user_ids is None:
            user_ids = [None] * len(histories or ())
        if histories is not None and len(histories) != len(user_ids):
            raise RequestError(
                f"Expected one history for each of {len(user_ids)} users, got {len(histories)}"
            )
        allowed = self._filter.allowed(filters, exclude)
        asked = [
            self._history(user, None if histories is None else histories[n], now, skip_unknown)
            for n, user in enumerate(user_ids)
        ]
        ranked = self._answerer.rank([history for history, _ in asked], k, allowed)
        answers = []
        for user, (history, note), best in zip(user_ids, asked, ranked, strict=True):
            known = len(liked_items(history)) > 0
            why = "" if known else self._why_popular(user, history, brought=histories is not None)
            items = (
                self._answerer.explained_items(history, best)
                if explain
                else (self._answerer.items(best))
            )
            reason = "; ".join(filter(None, [why, note]))
            answers.append(Recommendations(items, known, self.artifact_id, reason))
        return answers

    def similar(
        self,
        item_id: UserId,
        *,
        k: int = 10,
        filters: Filters | None = None,
        exclude: Iterable[UserId] = (),
    ) -> Recommendations:
        """Return the k items most like one item, itself left out.

        By the cosine of item vectors where the scorer has them; else the best items for somebody
        whose whole history is a like of this item.

        Raises:
            UnknownItemError: The artifact does not know the item.
            RequestError: k is below 1, or a filter names nothing that exists.
        """
        _check_k(k)
        row = self._catalogue.require(item_id)
        allowed = self._filter.allowed(filters, exclude)
        allowed[row] = False
        vectors = self._unit_vectors
        if vectors is None:
            history, _ = self._histories.brought([item_id], -1, None, False)
            ranked = self._answerer.rank([history], k, allowed)[0]
        else:
            ranked = by_score(np.where(allowed, vectors @ vectors[row], -np.inf), k)
        items = self._answerer.items(ranked)
        return Recommendations(items, False, self.artifact_id, f"like {self._catalogue.title(row)}")

    def search(self, text: str, *, k: int = 10) -> Recommendations:
        """Return the k items whose titles are nearest to ``text``; the score lies in 0..1."""
        _check_k(k)
        found = self._catalogue.search(text, k)
        ranked = [Ranked(row, score, None, ("title",), {}) for row, score in found]
        return Recommendations(self._answerer.items(ranked), False, self.artifact_id, "by title")

    def explain(
        self,
        user_id: UserId | None,
        item_id: UserId,
        *,
        history: HistoryInput | None = None,
    ) -> Explanation:
        """Return why an item would be recommended to a user.

        An item that the user already has is explained as if it were new to them.

        Raises:
            UnknownItemError: The artifact does not know the item, or one of ``history``.
        """
        row = self._catalogue.require(item_id)
        asked, _ = self._history(user_id, history, None, False)
        items = np.array([row], dtype=np.int64)
        return self._explainer.explain(without_item(asked, row), items)[0]

    def row_of(self, item_id: UserId) -> int:
        """Return the item's row in the arrays of the artifact.

        Raises:
            UnknownItemError: The artifact does not know the item.
        """
        return self._catalogue.require(item_id)

    def history_of(self, user_id: UserId) -> HistoryBatch:
        """Return the train events of a user as a batch of one; empty for an unknown user."""
        return self._histories.stored(self._histories.user_row(user_id))

    def item_vector(self, item_id: UserId) -> FloatArray:
        """Return the item's vector in the space that retrieval searches, shape (dim,), float32.

        Raises:
            UnknownItemError: The artifact does not know the item.
            RequestError: The artifact's scorer has no vectors.
        """
        row = self._catalogue.require(item_id)
        vectors = capabilities.item_vectors(self._scorer)
        if vectors is None:
            raise RequestError(_no_vectors(self._scorer.name))
        return np.array(vectors[row], dtype=np.float32)

    def user_vector(
        self, user_id: UserId | None = None, *, history: HistoryInput | None = None
    ) -> FloatArray:
        """Return the user's vector in the item vectors' space, shape (dim,), float32.

        Raises:
            UnknownItemError: ``history`` names an item that the artifact does not know.
            RequestError: The artifact's scorer has no vectors.
        """
        asked, _ = self._history(user_id, history, None, False)
        vectors = capabilities.user_vectors(self._scorer, asked)
        if vectors is None:
            raise RequestError(_no_vectors(self._scorer.name))
        return np.array(vectors[0], dtype=np.float32)

    def check_probes(self) -> int:
        """Ask the artifact's probe queries again and return how many there are.

        Raises:
            ArtifactError: One is answered differently than when the artifact was made.
        """
        probes: list[dict[str, Any]] = self.artifact.manifest["probes"]
        for number, probe in enumerate(probes, start=1):
            history = self._histories.stored(int(probe["user_idx"]))
            fault = difference(probe, self._scorer.top(history, int(probe["k"])), 0)
            if fault:
                raise ArtifactError(
                    f"Expected probe {number} of {len(probes)} in {self.artifact.path} to be "
                    f"answered as when it was made, got {fault}; compare the versions in its "
                    "manifest.json with those installed ('kgrec doctor')"
                )
        return len(probes)

    def _history(
        self, user_id: UserId | None, history: HistoryInput | None, now: int | None, skip: bool
    ) -> tuple[HistoryBatch, str]:
        """Return the history to ask with and what was left out of the request, in words."""
        row = self._histories.user_row(user_id)
        if history is None:
            return self._histories.stored(row, now), ""
        batch, skipped = self._histories.brought(history, row, now, skip)
        return batch, f"left out unknown items {', '.join(skipped)}" if skipped else ""

    def _why_popular(self, user_id: UserId | None, history: HistoryBatch, *, brought: bool) -> str:
        if len(history.item_idx):
            return "popular items: the history holds nothing that was liked"
        if brought:
            return "popular items: the history is empty"
        if user_id is None:
            return "popular items: neither a user nor a history was given"
        if self._histories.user_row(user_id) < 0:
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
