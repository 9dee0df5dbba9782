"""The two towers together: item vectors, user vectors and the loss of one training step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kgrec.models.graph_encoder import InteractionEncoder, KnowledgeEncoder
from kgrec.models.graph_part import GraphPart
from kgrec.models.item_tower import BIAS_SCALE, ItemFeatures, ItemTower
from kgrec.models.losses import Targets, dislike_loss, softmax_loss
from kgrec.models.sampling import TrainingStep
from kgrec.models.towers_config import TowersConfig
from kgrec.models.user_tower import Profiles, UserTower


class TwoTowers(nn.Module):
    """score(u, i) = cos(user_u, item_i) / temperature + bias_i."""

    def __init__(
        self,
        config: TowersConfig,
        features: ItemFeatures,
        profiles: Profiles,
        knowledge: KnowledgeEncoder | None,
        interactions: InteractionEncoder | None,
        event_kinds: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.items = ItemTower(config, features, knowledge, interactions)
        self.users = UserTower(config, profiles, event_kinds)
        self.met: MetHead | None = None
        if config.met_weight:
            self.met = MetHead(config.embedding_dim, len(features.warm))

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.items.ids.device

    def loss(self, step: TrainingStep) -> Tensor:
        """Return the softmax loss of a step; what a user has seen is masked.

        It runs over all items, or over the step's candidates with the logQ correction. Beside it
        stands whatever else the settings weigh: what the teacher says, dislikes, what is met,
        triples, and text with graph.
        """
        config = self.config
        parts = self.items.parts(step.hidden, step.triples_kept, step.interactions_kept, step.part)
        vectors, bias = self.items.joined(parts, step.part)
        users = self.users(step.inputs, vectors)
        if len(step.candidates):
            vectors, bias = vectors[step.candidates], bias[step.candidates] - step.log_q
        scaled = vectors / config.temperature
        logits = _masked(users @ scaled.T + bias, step)
        loss = softmax_loss(logits, step.rows, step.columns, step.weights)
        if step.lessons is not None:
            told = step.lessons
            said = softmax_loss(logits, told.rows, told.columns, told.weights)
            loss = loss + config.teacher_weight * said
        if step.disliked is not None:
            likes = (step.rows, step.columns)
            loss = loss + config.dislike_weight * dislike_loss(logits, likes, step.disliked)
        if step.met is not None and self.met is not None:
            loss = loss + config.met_weight * self.met.loss(users, scaled, step, step.met)
        if config.link_weight:
            loss = loss + config.link_weight * self.items.link_loss(step.hidden, step.part)
        if config.alignment_weight:
            loss = loss + config.alignment_weight * self.items.alignment_loss(parts)
        return loss

    @torch.no_grad()
    def all_items(self) -> tuple[Tensor, Tensor]:
        """Return vectors (num_items, dim) and bias (num_items,) over the whole graph."""
        nothing_hidden = torch.zeros(len(self.items.ids), dtype=torch.bool, device=self.device)
        vectors, bias = self.items(nothing_hidden)
        return vectors, bias


class MetHead(nn.Module):
    """Foretells what a user meets at all: met(u, i) = (M u) . item_i / temperature + b_i.

    It shares both towers and has a map of users and biases of its own, so that what is met and not
    liked does not have to be near. It serves training alone.
    """

    def __init__(self, dim: int, num_items: int) -> None:
        super().__init__()
        self.map = nn.Parameter(torch.eye(dim))
        self.bias = nn.Parameter(torch.zeros(num_items))

    def loss(self, users: Tensor, scaled: Tensor, step: TrainingStep, met: Targets) -> Tensor:
        """Return the softmax loss of what was met, as that of likes is made.

        Args:
            users: Shape (B, dim).
            scaled: Shape (num_candidates, dim), vectors of the candidates over the temperature.
            step: Whose candidates they are.
            met: What was met.
        """
        bias = _asked(self.bias, step.part) * BIAS_SCALE
        if len(step.candidates):
            bias = bias[step.candidates] - step.log_q
        users = nn.functional.normalize(users @ self.map.T, dim=1, eps=1e-6)
        logits = _masked(users @ scaled.T + bias, step)
        return softmax_loss(logits, met.rows, met.columns, met.weights)


def _asked(biases: Tensor, part: GraphPart | None) -> Tensor:
    return biases if part is None else biases[part.items[: part.num_asked]]


def _masked(logits: Tensor, step: TrainingStep) -> Tensor:
    """Return the logits with what a user has seen at the bottom."""
    bottom = torch.tensor(-1e9, device=logits.device)
    return logits.index_put((step.seen_rows, step.seen_columns), bottom)
