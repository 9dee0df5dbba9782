"""Item tower: id, text, numbers, knowledge graph and interactions fused into one vector an item."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kgrec.models.graph_encoder import InteractionEncoder, KnowledgeEncoder
from kgrec.models.towers_config import TowersConfig

MODALITIES = ("id", "text", "numeric", "graph", "interactions")

# Log popularity spans several units, far more than a weight moves at the learning rate of vectors.
_BIAS_SCALE = 5.0


@dataclass(frozen=True)
class ItemFeatures:
    """What is known of each item besides ids and edges.

    Attributes:
        text: Shape (num_items, text_dim), float32, centred and of unit length; zero rows where
            the item has no text; text_dim 0 where text is off.
        numeric: Shape (num_items, num_numeric), float32, standardised, 0 where unknown, followed
            by one column each that is 1 where the number is known.
        warm: Shape (num_items,), bool: the item has a train interaction.
    """

    text: Tensor
    numeric: Tensor
    warm: Tensor


class ItemTower(nn.Module):
    """Gated sum of modalities: z_i = sum_m g_im * h_im, with g_i a softmax over those present.

    Modalities h_m: id embedding, projected text, projected numbers, message of the knowledge
    graph, message of the interactions; both messages of unit length, so that items with few
    neighbours are not drowned by the rest. A cold item has no id and no interactions; training
    hides both for random items, so that the others learn to carry an item alone.
    """

    text_features: Tensor
    numeric_features: Tensor
    warm: Tensor

    def __init__(
        self,
        config: TowersConfig,
        features: ItemFeatures,
        knowledge: KnowledgeEncoder | None,
        interactions: InteractionEncoder | None,
    ) -> None:
        super().__init__()
        dim = config.embedding_dim
        num_items = len(features.warm)
        self.config = config
        self.register_buffer("text_features", features.text, persistent=False)
        self.register_buffer("numeric_features", features.numeric, persistent=False)
        self.register_buffer("warm", features.warm, persistent=False)
        self.knowledge = knowledge
        self.interactions = interactions
        self.ids = nn.Parameter(torch.randn(num_items, dim) * 0.1)
        self.text = nn.Parameter(_principal_directions(features.text, dim))
        self.numbers = nn.Parameter(torch.randn(dim, features.numeric.shape[1]) * 0.1)
        self.numeric = nn.Linear(dim, dim)
        self.gate = nn.ParameterDict(
            {name: torch.zeros(dim, len(MODALITIES)) for name in MODALITIES}
        )
        self.gate_bias = nn.Parameter(torch.zeros(len(MODALITIES)))
        self.id_bias = nn.Parameter(torch.zeros(num_items))
        self.content_bias = nn.Linear(dim, 1)
        nn.init.zeros_(self.content_bias.weight)
        nn.init.zeros_(self.content_bias.bias)

    def forward(
        self, hidden: Tensor, triples_kept: Tensor, interactions_kept: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the vector and the bias of every item.

        Args:
            hidden: Shape (num_items,), bool: items to be treated as cold in this step.
            triples_kept: Shape (num_edges,), float32 mask of the knowledge graph's messages.
            interactions_kept: Shape (num_positives,), float32 mask of the user-item edges.

        Returns:
            vectors: Shape (num_items, dim), unit length.
            bias: Shape (num_items,).
        """
        known = self._known(hidden)
        ids = self.ids * known
        text, has_text = self._text()
        numeric = self._numeric()
        base = ids + text + numeric
        graph = (
            self.knowledge(base, triples_kept)
            if self.knowledge is not None
            else torch.zeros_like(base)
        )
        messages = (
            self.interactions(base + graph, interactions_kept)
            if self.interactions is not None
            else torch.zeros_like(base)
        )
        graph = nn.functional.normalize(graph, dim=1, eps=1e-6)
        messages = nn.functional.normalize(messages, dim=1, eps=1e-6)
        content = text + numeric + graph
        parts = {
            "id": (ids, known),
            "text": (text, has_text),
            "numeric": (numeric, torch.ones_like(known)),
            "graph": (graph, _nonzero(graph)),
            "interactions": (messages, _nonzero(messages) * known),
        }
        fused = self._fuse(parts)
        vectors = nn.functional.normalize(fused, dim=1, eps=1e-6)
        bias = self.id_bias * known.squeeze(1) + self.content_bias(content).squeeze(1)
        return vectors, bias * _BIAS_SCALE

    def link_loss(self, hidden: Tensor) -> Tensor:
        """Return how badly the vectors before propagation foretell triples, a scalar.

        Args:
            hidden: As in ``forward``.
        """
        if self.knowledge is None:
            return torch.zeros((), device=self.ids.device)
        base = self.ids * self._known(hidden) + self._text()[0] + self._numeric()
        return self.knowledge.link_loss(base, self.config.link_triples)

    def _known(self, hidden: Tensor) -> Tensor:
        return (self.warm & ~hidden).to(torch.float32).unsqueeze(1)

    def _numeric(self) -> Tensor:
        return torch.as_tensor(self.numeric(torch.tanh(self.numeric_features @ self.numbers.T)))

    def _fuse(self, parts: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
        logits = self.gate_bias
        for name, (part, _) in parts.items():
            logits = logits + part @ self.gate[name]
        present = torch.cat([flag for _, flag in parts.values()], dim=1)
        gates = torch.softmax(logits.masked_fill(present == 0, -1e9), dim=1)
        fused = torch.zeros_like(parts["id"][0])
        for column, (part, _) in enumerate(parts.values()):
            fused = torch.addcmul(fused, gates[:, column : column + 1], part)
        return fused

    def _text(self) -> tuple[Tensor, Tensor]:
        text = self.text_features
        has_text = (text != 0).any(dim=1, keepdim=True).to(torch.float32)
        return text @ self.text.T, has_text


def _nonzero(parts: Tensor) -> Tensor:
    return (parts.detach().abs().sum(dim=1, keepdim=True) > 0).to(torch.float32)


def _principal_directions(text: Tensor, dim: int) -> Tensor:
    """Return first weights of the text projection, shape (dim, text_dim).

    The principal directions of the catalogue's texts keep most of their cosines, so that an item
    with text alone starts where plain text similarity stands. Directions beyond the rank of the
    texts are zero.
    """
    directions = torch.zeros(dim, text.shape[1])
    if text.shape[1]:
        _, vectors = torch.linalg.eigh((text.T @ text).to(torch.float64))
        count = min(dim, text.shape[1])
        directions[:count] = vectors.flip(1)[:, :count].T.to(torch.float32)
    return directions
