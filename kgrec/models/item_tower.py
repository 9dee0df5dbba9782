"""Item tower: id, text, numbers, graph, interactions and vectors from outside as one vector."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kgrec.models.first_weights import principal_directions
from kgrec.models.fusion import AttentionFusion, drawn_modalities
from kgrec.models.graph_encoder import InteractionEncoder, KnowledgeEncoder
from kgrec.models.graph_part import GraphPart, rows_of
from kgrec.models.losses import contrastive_loss
from kgrec.models.towers_config import TowersConfig

Parts = dict[str, tuple[Tensor, Tensor]]
MODALITIES = ("id", "text", "numeric", "graph", "interactions")
GIVEN = "vectors"
"""The modality of vectors that the data set brings; only where it brings any."""

# Log popularity spans several units, far more than a weight moves at the learning rate of vectors.
BIAS_SCALE = 5.0


@dataclass(frozen=True)
class ItemFeatures:
    """What is known of each item besides ids and edges.

    Attributes:
        text: Shape (num_items, text_dim), float32, centred and of unit length; zero rows where
            the item has no text; text_dim 0 where text is off.
        numeric: Shape (num_items, num_numeric), float32, standardised, 0 where unknown, followed
            by one column each that is 1 where the number is known.
        warm: Shape (num_items,), bool: the item has a train interaction.
        given: Shape (num_items, D), float32, vectors made elsewhere, centred and of unit length;
            zero rows where the item has none; None: the data set brings none.
    """

    text: Tensor
    numeric: Tensor
    warm: Tensor
    given: Tensor | None = None


class ItemTower(nn.Module):
    """Gated sum of modalities: z_i = sum_m g_im * h_im, with g_i a softmax over those present.

    Modalities h_m: id embedding, projected text, projected numbers, message of the knowledge
    graph, message of the interactions, projected vectors from outside; both messages of unit
    length, so that items with few neighbours are not drowned by the rest. A cold item has no id and
    no interactions; training hides both for random items, so that the others learn to carry an item
    alone. Attention in place of the gates is fusion.py's.
    """

    text_features: Tensor
    numeric_features: Tensor
    given_features: Tensor
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
        self.text = nn.Parameter(principal_directions(features.text, dim))
        self.numbers = nn.Parameter(torch.randn(dim, features.numeric.shape[1]) * 0.1)
        self.numeric = nn.Linear(dim, dim)
        self.modalities = MODALITIES if features.given is None else (*MODALITIES, GIVEN)
        self.attention: AttentionFusion | None = None
        if config.fusion == "attention":
            self.attention = AttentionFusion(dim, len(self.modalities))
        else:
            count = len(self.modalities)
            self.gate = nn.ParameterDict(
                {name: torch.zeros(dim, count) for name in self.modalities}
            )
            self.gate_bias = nn.Parameter(torch.zeros(count))
        self.id_bias = nn.Parameter(torch.zeros(num_items))
        self.content_bias = nn.Linear(dim, 1)
        nn.init.zeros_(self.content_bias.weight)
        nn.init.zeros_(self.content_bias.bias)
        if features.given is not None:
            self.register_buffer("given_features", features.given, persistent=False)
            self.given = nn.Parameter(principal_directions(features.given, dim))

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
        return self.joined(self.parts(hidden, triples_kept, interactions_kept, part), part)

    def joined(self, parts: Parts, part: GraphPart | None = None) -> tuple[Tensor, Tensor]:
        """Return vectors and biases, as ``forward`` does, out of what ``parts`` found."""
        if self.training and self.config.modality_dropout:
            parts = self._some_of(parts)
        # content before fusion: the order of making is that of summing gradients, to the last bit
        content = parts["text"][0] + parts["numeric"][0] + parts["graph"][0]
        if GIVEN in parts:
            content = content + parts[GIVEN][0]
        vectors = nn.functional.normalize(self._fuse(parts), dim=1, eps=1e-6)
        known = parts["id"][1].squeeze(1)
        id_bias = self.id_bias if part is None else self.id_bias[part.items[: len(known)]]
        bias = id_bias * known + self.content_bias(content).squeeze(1)
        return vectors, bias * BIAS_SCALE

    def parts(
        self,
        hidden: Tensor,
        triples_kept: Tensor | None = None,
        interactions_kept: Tensor | None = None,
        part: GraphPart | None = None,
    ) -> Parts:
        """Return what each modality says of the items asked for, by name; as ``forward`` is asked.

        Each is a vector (num_asked, dim) and a flag (num_asked, 1), 0 where it says nothing.
        """
        known = self._known(hidden, part)
        ids, (text, has_text), numeric = (
            self._ids(known, part),
            self._text(part),
            self._numeric(part),
        )
        base = ids + text + numeric
        given = self._given(part)
        if given is not None:
            base = base + given[0]
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
        found = {
            "id": (ids, known),
            "text": (text, has_text),
            "numeric": (numeric, torch.ones_like(known)),
            "graph": (graph, _nonzero(graph)),
            "interactions": (messages, _nonzero(messages) * known),
        }
        if given is not None:
            found[GIVEN] = (_first(given[0], asked), _first(given[1], asked))
        return found

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
        given = self._given(part)
        if given is not None:
            base = base + given[0]
        return self.knowledge.link_loss(base, self.config.link_triples, part)

    def alignment_loss(self, parts: Parts) -> Tensor:
        """Return how badly text and graph of some items find each other, a scalar.

        Args:
            parts: What ``parts`` found; items that have both are drawn.
        """
        (text, has_text), (graph, has_graph) = parts["text"], parts["graph"]
        both = (has_text * has_graph).squeeze(1).nonzero()[:, 0]
        drawn = both[torch.randperm(len(both), device=both.device)[: self.config.alignment_items]]
        return contrastive_loss(text[drawn], graph[drawn], self.config.alignment_temperature)

    def _ids(self, known: Tensor, part: GraphPart | None) -> Tensor:
        return (self.ids if part is None else rows_of(self.ids, part.items)) * known

    def _known(self, hidden: Tensor, part: GraphPart | None) -> Tensor:
        warm = self.warm if part is None else self.warm[part.items]
        return (warm & ~hidden).to(torch.float32).unsqueeze(1)

    def _numeric(self, part: GraphPart | None) -> Tensor:
        numbers = self.numeric_features if part is None else self.numeric_features[part.items]
        return torch.as_tensor(self.numeric(torch.tanh(numbers @ self.numbers.T)))

    def _some_of(self, parts: Parts) -> Parts:
        """Return the modalities with some left out; numbers only where the catalogue has any."""
        names = [name for name in parts if name != "numeric" or self.numbers.shape[1]]
        stays = drawn_modalities(
            torch.cat([parts[name][1] for name in names], dim=1), self.config.modality_dropout
        )
        flags = dict(zip(names, stays.unsqueeze(2).unbind(dim=1), strict=True))
        return parts | {name: (parts[name][0] * flag, flag) for name, flag in flags.items()}

    def _fuse(self, parts: Parts) -> Tensor:
        if self.attention is not None:
            present = torch.cat([flag for _, flag in parts.values()], dim=1)
            return torch.as_tensor(self.attention([rows for rows, _ in parts.values()], present))
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

    def _given(self, part: GraphPart | None) -> tuple[Tensor, Tensor] | None:
        if GIVEN not in self.modalities:
            return None
        rows = self.given_features if part is None else self.given_features[part.items]
        return rows @ self.given.T, (rows != 0).any(dim=1, keepdim=True).to(torch.float32)


def _first(rows: Tensor, count: int) -> Tensor:
    return rows if len(rows) == count else rows[:count]


def _nonzero(parts: Tensor) -> Tensor:
    return (parts.detach().abs().sum(dim=1, keepdim=True) > 0).to(torch.float32)
