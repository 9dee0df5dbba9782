"""Item tower: id, text, numbers, knowledge graph and interactions fused into one vector an item."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kgrec.models.graph_encoder import InteractionEncoder, KnowledgeEncoder
from kgrec.models.graph_part import GraphPart, rows_of
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
        self,
        hidden: Tensor,
        triples_kept: Tensor | None = None,
        interactions_kept: Tensor | None = None,
        part: GraphPart | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the vector and the bias of every item, or of those that a part is asked for.

        Args:
            hidden: Shape (num_items,), bool: items to be treated as cold in this step; with a
                part, the items of the part.
            triples_kept: Shape (num_edges,), float32 mask of the knowledge graph's messages; None:
                all.
            interactions_kept: Shape (num_positives,), float32 mask of the user-item edges; None:
                all.
            part: What is propagated over; None: the whole graph.

        Returns:
            vectors: Shape (num_items, dim) or (part.num_asked, dim), unit length.
            bias: Shape (num_items,) or (part.num_asked,).
        """
        known = self._known(hidden, part)
        ids, (text, has_text), numeric = (
            self._ids(known, part),
            self._text(part),
            self._numeric(part),
        )
        base = ids + text + numeric
        graph = (
            self.knowledge(base, triples_kept, part)
            if self.knowledge is not None
            else torch.zeros_like(base)
        )
        messages = (
            self.interactions(_first(base, len(graph)) + graph, interactions_kept, part)
            if self.interactions is not None
            else torch.zeros_like(base)
        )
        asked = len(hidden) if part is None else part.num_asked
        known, ids, text, has_text, numeric, graph, messages = (
            _first(rows, asked) for rows in (known, ids, text, has_text, numeric, graph, messages)
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
        id_bias = self.id_bias if part is None else self.id_bias[part.items[:asked]]
        bias = id_bias * known.squeeze(1) + self.content_bias(content).squeeze(1)
        return vectors, bias * _BIAS_SCALE

    def link_loss(self, hidden: Tensor, part: GraphPart | None = None) -> Tensor:
        """Return how badly the vectors before propagation foretell triples, a scalar.

        Args:
            hidden: As in ``forward``.
            part: Where triples are drawn; None: in the whole graph.
        """
        if self.knowledge is None:
            return torch.zeros((), device=self.ids.device)
        ids = self._ids(self._known(hidden, part), part)
        base = ids + self._text(part)[0] + self._numeric(part)
        return self.knowledge.link_loss(base, self.config.link_triples, part)

    def _ids(self, known: Tensor, part: GraphPart | None) -> Tensor:
        return (self.ids if part is None else rows_of(self.ids, part.items)) * known

    def _known(self, hidden: Tensor, part: GraphPart | None) -> Tensor:
        warm = self.warm if part is None else self.warm[part.items]
        return (warm & ~hidden).to(torch.float32).unsqueeze(1)

    def _numeric(self, part: GraphPart | None) -> Tensor:
        numbers = self.numeric_features if part is None else self.numeric_features[part.items]
        return torch.as_tensor(self.numeric(torch.tanh(numbers @ self.numbers.T)))

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

    def _text(self, part: GraphPart | None) -> tuple[Tensor, Tensor]:
        text = self.text_features if part is None else self.text_features[part.items]
        has_text = (text != 0).any(dim=1, keepdim=True).to(torch.float32)
        return text @ self.text.T, has_text


def _first(rows: Tensor, count: int) -> Tensor:
    return rows if len(rows) == count else rows[:count]


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
