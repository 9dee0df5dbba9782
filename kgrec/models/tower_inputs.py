"""Towers and their fixed inputs made from TrainingData: texts, numbers, profiles, graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kgrec.data.dataset import Users
from kgrec.data.given_vectors import about_mean
from kgrec.data.strings import Strings
from kgrec.models.graph_encoder import (
    EntityNames,
    InteractionEncoder,
    KnowledgeEncoder,
    RelationalGraph,
)
from kgrec.models.hybrid import TwoTowers
from kgrec.models.item_tower import ItemFeatures
from kgrec.models.part_sampler import PartSampler
from kgrec.models.sampling import StepSampler
from kgrec.models.scorer import TrainingData
from kgrec.models.text.encoder import TextEncoder
from kgrec.models.towers_config import TowersConfig
from kgrec.models.user_tower import Profiles


@dataclass(frozen=True)
class Assembly:
    """Towers with their first weights, and what trains them.

    Attributes:
        entity_ids: The entities that hold a vector of their own, in the order of those vectors.
    """

    model: TwoTowers
    sampler: StepSampler
    profiles: Profiles
    entity_ids: npt.NDArray[np.object_]


def assemble(
    train: TrainingData, config: TowersConfig, encoder: TextEncoder | None = None
) -> Assembly:
    """Return untrained towers over ``train``; the seed of ``train`` draws the first weights.

    Args:
        train: What is learned from.
        config: Settings.
        encoder: Reads the texts; None for the one that ``config`` names.
    """
    if encoder is None and config.text_model is not None:
        encoder = TextEncoder(config.text_model, max_tokens=config.text_max_tokens)
    profiles = profiles_of(train.dataset.users, encoder)
    graph = RelationalGraph.of(train.graph, config.min_entity_degree)
    use_graph = config.graph_layers > 0 and graph.num_edges > 0
    positives = train.interactions.positives()
    with torch.random.fork_rng():
        torch.manual_seed(train.seed)
        names = None
        if config.entity_names and use_graph:
            names = entity_names(train.graph.entity_names[graph.kept_entities], encoder)
        knowledge = KnowledgeEncoder(graph, config, names) if use_graph else None
        interactions = (
            InteractionEncoder(positives, train.num_users, train.num_items)
            if config.use_interaction_graph and len(positives)
            else None
        )
        features = item_features(train, encoder)
        model = TwoTowers(
            config, features, profiles, knowledge, interactions, kinds_of(train, config)
        )
    num_edges = graph.num_edges if use_graph else 0
    parts = None
    if num_edges + len(positives) > config.sampled_above:
        likes = None if interactions is None else positives
        triples = graph if use_graph else None
        parts = PartSampler(triples, likes, train.num_users, train.num_items, config)
    sampler = StepSampler(train.interactions, train.num_items, num_edges, config, train.seed, parts)
    entity_ids = train.graph.entity_ids[graph.kept_entities if use_graph else []]
    return Assembly(model, sampler, profiles, entity_ids)


def kinds_of(train: TrainingData, config: TowersConfig) -> Tensor | None:
    """Return the codes of the kinds that the user tower tells apart, ascending; None: of none."""
    if train.interactions.kind is None or not config.event_kinds or config.sequence == "off":
        return None
    codes = np.unique(train.interactions.kind)
    return torch.from_numpy(codes[codes != 0])


def item_features(train: TrainingData, encoder: TextEncoder | None) -> ItemFeatures:
    """Return what is known of the items; text is off without an encoder."""
    items = train.dataset.items
    warm = np.zeros(train.num_items, dtype=np.bool_)
    warm[train.interactions.item_idx] = True
    return ItemFeatures(
        text=_text(items.texts, encoder),
        numeric=standardised(items.numeric.values(), train.num_items),
        warm=torch.from_numpy(warm),
        given=None if items.vectors is None else torch.from_numpy(about_mean(items.vectors)),
    )


def entity_names(names: Strings, encoder: TextEncoder | None) -> EntityNames | None:
    """Return the text vectors of entities by their names; None where text is off or none has one.

    Args:
        names: One for each entity; those that are the same are encoded once.
        encoder: Reads them.
    """
    row_of: dict[str, int] = {}
    rows = [row_of.setdefault(name, len(row_of)) for name in names.tolist()]
    vectors = _text(np.array(list(row_of), dtype=object), encoder)
    return EntityNames(vectors, torch.tensor(rows)) if vectors.shape[1] else None


def profiles_of(users: Users, encoder: TextEncoder | None) -> Profiles:
    """Return the profile table of all users, row 0 empty, row user_idx + 1 the user's."""
    num_users = len(users.ids)
    vocabulary = {
        name: sorted({str(value) for value in values} - {""})
        for name, values in users.attributes.items()
    }
    codes = np.zeros((num_users + 1, len(vocabulary)), dtype=np.int64)
    for column, (name, values) in enumerate(vocabulary.items()):
        place = {value: number + 1 for number, value in enumerate(values)}
        codes[1:, column] = [place.get(str(value), 0) for value in users.attributes[name]]
    return Profiles(
        text=_with_empty_row(_text(users.profile_texts, encoder)),
        numeric=_with_empty_row(standardised(users.numeric.values(), num_users)),
        codes=torch.from_numpy(codes),
        vocabulary=vocabulary,
    )


def standardised(columns: Iterable[npt.NDArray[np.float32]], num_rows: int) -> Tensor:
    """Return columns as features: (x - mean) / deviation, 0 for NaN, and a known-flag for each.

    Args:
        columns: Each of shape (num_rows,), NaN where unknown.
        num_rows: Rows wanted where there are no columns.

    Returns:
        Shape (num_rows, 2 * number of columns), float32; values are clipped to -5..5.
    """
    parts = []
    for column in columns:
        known = np.isfinite(column)
        mean = column[known].mean(dtype=np.float64) if known.any() else 0.0
        deviation = column[known].std(dtype=np.float64) if known.any() else 1.0
        scaled = np.where(known, (column - mean) / max(float(deviation), 1e-6), 0.0)
        parts += [np.clip(scaled, -5, 5), known]
    if not parts:
        return torch.zeros(num_rows, 0)
    return torch.from_numpy(np.stack(parts, axis=1).astype(np.float32))


def _text(texts: Strings, encoder: TextEncoder | None) -> Tensor:
    """Return text vectors, centred over the texts there are and scaled to unit length again.

    Raw sentence vectors of one catalogue share a large common part, which hides what differs.
    """
    if encoder is None or not any(str(text).strip() for text in texts):
        return torch.zeros(len(texts), 0)
    vectors = encoder.encode([str(text) for text in texts])
    known = (vectors != 0).any(axis=1)
    vectors[known] -= vectors[known].mean(axis=0)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return torch.from_numpy(vectors / np.maximum(length, 1e-9))


def _with_empty_row(table: Tensor) -> Tensor:
    return torch.cat([torch.zeros(1, table.shape[1]), table])
