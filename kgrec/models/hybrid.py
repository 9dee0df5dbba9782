"""The two towers together: item vectors, user vectors and the loss of one training step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kgrec.models.graph_encoder import InteractionEncoder, KnowledgeEncoder
from kgrec.models.item_tower import ItemFeatures, ItemTower
from kgrec.models.losses import softmax_loss
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
    ) -> None:
        super().__init__()
        self.config = config
        self.items = ItemTower(config, features, knowledge, interactions)
        self.users = UserTower(config, profiles)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.items.ids.device

    def loss(self, step: TrainingStep) -> Tensor:
        """Return the softmax loss of a step; what a user has seen is masked.

        It runs over all items, or over the step's candidates with the logQ correction.
        """
        vectors, bias = self.items(
            step.hidden, step.triples_kept, step.interactions_kept, step.part
        )
        users = self.users(step.inputs, vectors)
        if len(step.candidates):
            vectors, bias = vectors[step.candidates], bias[step.candidates] - step.log_q
        logits = users @ (vectors / self.config.temperature).T + bias
        logits = logits.index_put(
            (step.seen_rows, step.seen_columns), torch.tensor(-1e9, device=logits.device)
        )
        loss = softmax_loss(logits, step.rows, step.columns, step.weights)
        if self.config.link_weight:
            loss = loss + self.config.link_weight * self.items.link_loss(step.hidden, step.part)
        return loss

    @torch.no_grad()
    def all_items(self) -> tuple[Tensor, Tensor]:
        """Return vectors (num_items, dim) and bias (num_items,) over the whole graph."""
        nothing_hidden = torch.zeros(len(self.items.ids), dtype=torch.bool, device=self.device)
        vectors, bias = self.items(nothing_hidden)
        return vectors, bias
