"""A made catalogue for timings: clustered tastes, a long tail of popularity, a graph of ten triples
and more an item. It says nothing of quality.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kgrec.data.dataset import Dataset, Items, Users
from kgrec.data.graph import KnowledgeGraph
from kgrec.data.interactions import Interactions
from kgrec.models.scorer import TrainingData

COLD_SHARE = 0.02
YEAR_S = 31_536_000
# relation, triples an item, entities for each item (below 1) or in all
RELATIONS = (
    ("has_genre", 2, 40),
    ("directed_by", 1, 0.1),
    ("stars", 4, 0.3),
    ("has_keyword", 4, 5000),
    ("made_in", 1, 60),
    ("written_by", 1, 0.15),
)
Ints = npt.NDArray[np.int64]


Relations = tuple[tuple[str, int, float], ...]


def make_training_data(
    num_items: int,
    num_users: int,
    length: int = 50,
    seed: int = 0,
    relations: Relations = RELATIONS,
) -> TrainingData:
    """Return train events of users with about ``length`` likes each, and what is known of items.

    Args:
        num_items: Items, of which COLD_SHARE have no events.
        num_users: Users; each has two or three of the clusters that items stand in.
        length: Median number of a user's events; a tenth of the users has exactly so many.
        seed: Seed of all draws.
        relations: Name, triples an item, and entities for each item (below 1) or in all.
    """
    rng = np.random.default_rng(seed)
    num_clusters = max(8, num_items // 500)
    cluster = rng.integers(num_clusters, size=num_items)
    graph = _graph(cluster, num_clusters, rng, relations)
    events = _events(cluster, num_clusters, num_users, length, rng)
    words = np.array([f"word{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}" for n in range(600)])
    said = words[(cluster[:, None] * 7 + rng.integers(30, size=(num_items, 6))) % len(words)]
    ids = np.array([f"item-{item}" for item in range(num_items)], dtype=object)
    country = np.array([f"country {n}" for n in range(20)], dtype=object)
    dataset = Dataset(
        name=f"made-{num_items}",
        snapshot_id="made",
        items=Items(
            ids=ids,
            titles=np.array([f"Title {n} of {said[n][0]}" for n in range(num_items)], dtype=object),
            texts=np.array([" ".join(row) for row in said], dtype=object),
            numeric={"year": rng.integers(1950, 2025, num_items).astype(np.float32)},
        ),
        users=Users(
            ids=np.array([f"user-{user}" for user in range(num_users)], dtype=object),
            profile_texts=np.full(num_users, "", dtype=object),
            attributes={"country": country[rng.integers(20, size=num_users)]},
            numeric={"age": rng.integers(16, 80, num_users).astype(np.float32)},
        ),
        graph=graph.ablated("off", 0),
        interactions=events.take(np.arange(0)),
        has_time=True,
        details={},
    )
    return TrainingData(dataset, events, graph, seed)


def _graph(
    cluster: Ints, num_clusters: int, rng: np.random.Generator, relations: Relations
) -> KnowledgeGraph:
    """Return triples whose entities are mostly those of the item's cluster."""
    num_items = len(cluster)
    heads, kinds, tails, types = [], [], [], ["item"] * num_items
    start = num_items
    for kind, (name, triples, count) in enumerate(relations):
        size = int(count if count >= 1 else max(count * num_items, num_clusters))
        # few entities are met often: the square of a uniform draw leans to the first ones
        near = (rng.random((num_items, triples)) ** 2 * max(size // num_clusters, 3)).astype(int)
        entity = (cluster[:, None] * max(size // num_clusters, 1) + near) % size
        stray = rng.random(entity.shape) < 0.2
        entity = np.where(stray, rng.integers(size, size=entity.shape), entity)
        pairs = np.unique(np.arange(num_items)[:, None] * size + entity)
        heads.append(pairs // size)
        tails.append(pairs % size + start)
        kinds.append(np.full(len(pairs), kind))
        types += [name] * size
        start += size
    names = np.array([f"entity {n}" for n in range(start)], dtype=object)
    return KnowledgeGraph(
        entity_ids=names,
        entity_types=np.array(types, dtype=object),
        entity_names=names,
        relations=tuple(name for name, _, _ in relations),
        phrases=tuple(name.replace("_", " ") for name, _, _ in relations),
        head=np.concatenate(heads),
        relation=np.concatenate(kinds),
        tail=np.concatenate(tails),
        item_entity=np.arange(num_items),
    )


def _events(
    cluster: Ints, num_clusters: int, num_users: int, length: int, rng: np.random.Generator
) -> Interactions:
    num_items = len(cluster)
    worth = rng.permutation(np.arange(1, num_items + 1) ** -0.6)  # popularity falls slowly
    worth[rng.random(num_items) < COLD_SHARE] = 0.0
    order = np.argsort(cluster, kind="stable")
    bounds = np.searchsorted(cluster[order], np.arange(num_clusters + 1))
    reached = np.concatenate([[0.0], np.cumsum(worth[order])])
    lengths = np.clip(rng.lognormal(np.log(length), 0.5, num_users), 5, 400).astype(np.int64)
    lengths[::10] = length
    user = np.repeat(np.arange(num_users), (lengths * 1.5).astype(np.int64) + 5)
    favourite = rng.integers(num_clusters, size=(num_users, 3))
    chosen = favourite[user, rng.integers(3, size=len(user))]
    anywhere = rng.random(len(user)) < 0.25
    low = np.where(anywhere, 0.0, reached[bounds[chosen]])
    high = np.where(anywhere, reached[-1], reached[bounds[chosen + 1]])
    place = np.searchsorted(reached, low + (high - low) * rng.random(len(user)), side="right") - 1
    pairs = rng.permutation(np.unique(user * num_items + order[np.minimum(place, num_items - 1)]))
    pairs = pairs[np.argsort(pairs // num_items, kind="stable")]
    user, item = pairs // num_items, pairs % num_items
    first = np.searchsorted(user, np.arange(num_users))
    kept = np.arange(len(user)) - first[user] < lengths[user]
    user, item = user[kept], item[kept]
    return Interactions(
        user_idx=user,
        item_idx=item,
        value=np.ones(len(user), dtype=np.float32),
        timestamp=1_600_000_000 + rng.integers(0, 3 * YEAR_S, len(user)),
        positive=np.ones(len(user), dtype=np.bool_),
    ).sorted(0)
