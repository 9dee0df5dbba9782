"""What a Recommender can be asked; how the model that answers changes is for recommender.py."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Sequence

import numpy as np

from kgrec.data.histories import HistoryBatch
from kgrec.data.interactions import FloatArray
from kgrec.models.top_items import TopItems
from kgrec.serving.answers import Explanation, Recommendations
from kgrec.serving.filters import Filters
from kgrec.serving.metrics import Meter
from kgrec.serving.request_histories import HistoryInput
from kgrec.serving.rules import RulesConfig
from kgrec.serving.served_model import ServedModel, UserId


class Asking(ABC):
    """Questions to the model in use. A call reads it once, and is answered by it to the end."""

    _served: ServedModel
    _meter: Meter

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
        rules: RulesConfig | None = None,
        debug: bool = False,
    ) -> Recommendations:
        """Return the k best items for a user that the history does not hold.

        Where nothing the user liked is known (unknown user, empty history), the most popular of
        the allowed items come, with ``personalised=False`` and the reason.

        Args:
            user_id: Their train events and what they did since are the history, their profile is
                used. An unknown id is answered too.
            history: Item ids (each a like) or events, oldest first; in place of the stored ones.
            k: Items wanted; fewer come where fewer are allowed.
            explain: Give the reason for each item.
            filters: What items must be: {"has_genre": "Comedy"}, {"year": (1990, 1999)},
                {"stars": ["Al Pacino", "Robert De Niro"]} (any of these); all keys must hold.
            exclude: Item ids to leave out.
            now: Unix seconds of the request; None for just after the last event.
            skip_unknown: Pass over items of ``history`` that the artifact does not know.
            rules: What happens to the list after ranking.
            debug: Tell what each rule did, in the answer's ``debug``.

        Raises:
            UnknownItemError: ``history`` names an item that the artifact does not know.
            RequestError: k is below 1, or a filter names nothing that exists.
        """
        with self._meter.timed("recommend"):
            return self._served.recommend_many(
                [user_id],
                None if history is None else [history],
                k=k,
                explain=explain,
                filters=filters,
                exclude=exclude,
                now=now,
                skip_unknown=skip_unknown,
                rules=rules,
                debug=debug,
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
        rules: RulesConfig | None = None,
        debug: bool = False,
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
            rules: What happens to the lists after ranking.
            debug: Tell what each rule did.

        Raises:
            UnknownItemError: As in ``recommend``.
            RequestError: As in ``recommend``, or there are not as many histories as users.
        """
        with self._meter.timed("recommend_many"):
            return self._served.recommend_many(
                [None] * len(histories or ()) if user_ids is None else user_ids,
                histories,
                k=k,
                explain=explain,
                filters=filters,
                exclude=exclude,
                now=now,
                skip_unknown=skip_unknown,
                rules=rules,
                debug=debug,
            )

    def top_rows(self, user_ids: Sequence[UserId | None], *, k: int = 10) -> TopItems:
        """Return rows and scores of the items that ``recommend_many`` answers with, undressed.

        Args:
            user_ids: B users; one who is not known gets popular items.
            k: Items wanted.

        Returns:
            Shape (B, k), best first; row -1 and score -inf where there are fewer.

        Raises:
            RequestError: k is below 1.
        """
        with self._meter.timed("recommend_many"):
            return self._served.top_rows(user_ids, k)

    def score_pairs(
        self, user_ids: Sequence[UserId | None], item_ids: Sequence[UserId]
    ) -> FloatArray:
        """Return scores of pairs that compare between users, shape (n,), float32.

        Where the artifact knows dislikes it is P(like) of an item that the user does meet, else
        the ranker's probability, else the plain score. A user who is not known counts as the
        average user, an item as the average item. The history holds what it holds: a pair of
        training is judged with itself known.

        Args:
            user_ids: n users.
            item_ids: n items.
        """
        with self._meter.timed("score_pairs"):
            users, place = np.unique(np.array([str(u) for u in user_ids]), return_inverse=True)
            rows = [self._served.catalogue.row(item) for item in item_ids]
            items = np.array([-1 if row is None else row for row in rows], dtype=np.int64)
            order = np.argsort(place, kind="stable")
            indptr = np.searchsorted(place[order], np.arange(len(users) + 1)).astype(np.int64)
            out = np.empty(len(items), dtype=np.float32)
            out[order] = self._served.pair_scores(users.tolist(), indptr, items[order])
            return out

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
        with self._meter.timed("similar"):
            return self._served.similar(item_id, k=k, filters=filters, exclude=exclude)

    def complementary(
        self,
        item_id: UserId,
        *,
        k: int = 10,
        filters: Filters | None = None,
        exclude: Iterable[UserId] = (),
    ) -> Recommendations:
        """Return up to k items that go with one item: liked by the same people and after it.

        Unlike ``similar`` it looks at what people did alone, and holds back what reads the same.
        Fewer than k, or none, where too few people liked the item together with another.

        Raises:
            UnknownItemError: The artifact does not know the item.
            RequestError: k is below 1, or a filter names nothing that exists.
        """
        with self._meter.timed("complementary"):
            return self._served.complementary(item_id, k=k, filters=filters, exclude=exclude)

    def search(self, text: str, *, k: int = 10, filters: Filters | None = None) -> Recommendations:
        """Return the k items whose titles are nearest to ``text``; the score lies in 0..1.

        Raises:
            RequestError: k is below 1, or a filter names nothing that exists.
        """
        with self._meter.timed("search"):
            return self._served.search(text, k=k, filters=filters)

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
        with self._meter.timed("explain"):
            return self._served.explain(user_id, item_id, history=history)

    def row_of(self, item_id: UserId) -> int:
        """Return the item's row in the arrays of the artifact.

        Raises:
            UnknownItemError: The artifact does not know the item.
        """
        return self._served.row_of(item_id)

    def history_of(self, user_id: UserId) -> HistoryBatch:
        """Return what a user did, as a batch of one; empty for an unknown or forgotten user."""
        return self._served.history(user_id)[0]

    def item_vector(self, item_id: UserId) -> FloatArray:
        """Return the item's vector in the space that retrieval searches, shape (dim,), float32.

        Raises:
            UnknownItemError: The artifact does not know the item.
            RequestError: The artifact's scorer has no vectors.
        """
        return np.asarray(self._served.item_vectors([item_id])[0])

    def item_vectors(self, item_ids: Iterable[UserId] | None = None) -> FloatArray:
        """Return vectors of items, shape (len(item_ids), dim), float32; of all items for None.

        Raises:
            UnknownItemError: The artifact does not know an item.
            RequestError: The artifact's scorer has no vectors.
        """
        return self._served.item_vectors(item_ids)

    def user_vector(
        self, user_id: UserId | None = None, *, history: HistoryInput | None = None
    ) -> FloatArray:
        """Return the user's vector in the item vectors' space, shape (dim,), float32.

        Raises:
            UnknownItemError: ``history`` names an item that the artifact does not know.
            RequestError: The artifact's scorer has no vectors.
        """
        return self._served.user_vector(user_id, history=history)
