"""Settings of the two towers and of their training."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class TowersConfig(BaseModel):
    """Settings of TowersScorer; each field says what it means and its unit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedding_dim: int = Field(64, ge=2)
    """Dimensions of item and user vectors, the one that carries the item bias not counted."""
    temperature: float = Field(0.2, gt=0)
    """Cosine similarities are divided by this before the softmax."""

    text_model: str | None = None
    """Folder or hub name of a BERT encoder for item texts and profiles; null: text is off."""
    text_max_tokens: int = Field(128, ge=4)
    """Word pieces of a text that the encoder reads."""

    graph_layers: int = Field(2, ge=0)
    """Layers of propagation over the knowledge graph; 0 turns it off."""
    graph_rule: Literal["scaled", "attention", "basis"] = "scaled"
    """What a triple's message is: scaled by the relation, weighed by attention as well, or
    multiplied by the relation's matrix, a mixture of ``graph_bases`` ones."""
    graph_bases: int = Field(4, ge=1)
    """Matrices that the rule "basis" mixes."""
    link_weight: float = Field(0.0, ge=0)
    """Weight of foretelling triples beside foretelling likes; 0: the graph is only propagated."""
    link_triples: int = Field(1024, ge=2)
    """Triples drawn in a step to be foretold, each among the others' ends."""
    min_entity_degree: int = Field(2, ge=1)
    """Entities with fewer triples, items apart, are left out of propagation."""
    entity_names: bool = False
    """Whether the names of entities are read too, by ``text_model``: what no event has touched yet
    is then known by its name; nothing where text is off."""
    use_interaction_graph: bool = True
    """Whether items also hear from items that the same train users liked."""
    sampled_above: int = Field(10_000_000, ge=0)
    """Messages of the graph, two a triple, and likes together above which a step propagates over a
    drawn part of them."""
    neighbours: int = Field(5, ge=1)
    """Neighbours drawn for each node of such a part; more rank better and take longer."""

    fusion: Literal["gated", "attention"] = "gated"
    """How what is known of an item becomes one vector: a gated sum, or attention among the parts
    that are there."""
    modality_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of an item's parts (id, text, graph and so on) left out at random in each step; one
    always stays."""

    sequence: Literal["attention", "gru", "off"] = "attention"
    """How the recent events are read: attention from the last one, a GRU, or not at all."""
    max_sequence: int = Field(20, ge=1)
    """Most recent events that the sequence part reads."""
    event_kinds: bool = True
    """Whether the sequence part reads of what kind an event was (view, purchase), where the train
    events are of several."""
    decay_positions: tuple[float, ...] = (3.0, 15.0)
    """Decayed means of the history, in events: weight exp(-events since / this)."""
    decay_seconds: tuple[float, ...] = (3600.0, 2592000.0)
    """Decayed means of the history, in seconds before the last event."""
    use_profile: bool = True
    """Whether profile text, attributes and numbers of known users are read."""

    teacher: str | None = None
    """Baseline that the towers also learn from: fitted on the same train events, it says what it
    would recommend after each step's histories. An entry of the search spaces or a short name;
    null: none."""
    teacher_settings: dict[str, Any] = Field(default_factory=dict)
    """Its settings that differ from the run's tuned ones, else from its defaults."""
    teacher_weight: float = Field(1.0, gt=0)
    """Weight of what the teacher says beside what users did."""
    teacher_temperature: float = Field(1.0, gt=0)
    """The teacher's scores are divided by this before their softmax, in standard deviations among
    a user's ``teacher_items``."""
    teacher_items: int = Field(50, ge=1)
    """Best items of the teacher that a user is taught; nothing is said of the others."""
    teacher_folds: int = Field(1, ge=1)
    """Above 1: as many teachers, each fitted without one fold of the users, whom it teaches; it
    then tells nothing that it learned from the very user."""
    alignment_weight: float = Field(0.0, ge=0)
    """Weight of bringing text and graph of an item together beside foretelling likes; 0: off."""
    alignment_temperature: float = Field(0.1, gt=0)
    """Cosines of text and graph are divided by this before their softmax."""
    alignment_items: int = Field(256, ge=2)
    """Items drawn in a step for it, of those with text and graph."""
    met_weight: float = Field(0.0, ge=0)
    """Weight of foretelling what users meet at all, low ratings too, by a head of its own; 0: only
    likes are foretold."""
    dislike_weight: float = Field(0.0, ge=0)
    """Weight of ranking what a user rated low below what the same user liked; 0: low ratings are
    wrong answers like all others."""
    hard_negatives: int = Field(0, ge=0)
    """Items that each user of a step adds to the sampled softmax: those that the towers of the last
    look rank highest for them; 0: none. The exact softmax holds all items anyway."""

    warm_start_steps: int = Field(60, ge=1)
    """Training steps at most where training starts from the weights of an earlier model."""
    steps: int = Field(600, ge=1)
    """Training steps at most."""
    users_per_step: int = Field(300, ge=1)
    """Users in one training step."""
    learning_rate: float = Field(5e-3, gt=0)
    """Learning rate of Adam."""
    l2: float = Field(1e-4, ge=0)
    """Weight of the squared norm of the embeddings used, per step, as Adam's L2."""
    edge_dropout: float = Field(0.3, ge=0, lt=1)
    """Share of graph messages left out at random in each step."""
    hidden_items: float = Field(0.2, ge=0, lt=1)
    """Share of items treated as cold in each step: no id, no interactions."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout on the inputs of the user tower."""
    random_cut_share: float = Field(0.3, ge=0, le=1)
    """Share of users whose targets are a random part of their history, not its end."""
    max_softmax_items: int = Field(30000, ge=1)
    """Catalogues up to this size get the exact softmax, larger ones the sampled one."""
    sampled_items: int = Field(4096, ge=1)
    """Uniform negatives a step of the sampled softmax, beside the in-batch ones."""
    average_decay: float = Field(0.95, ge=0, lt=1)
    """Decay, a step, of the running mean of the weights that is used in place of the last ones."""
    eval_every_steps: int = Field(20, ge=1)
    """Steps between two looks at validation, and between two checkpoints."""
    patience: int = Field(4, ge=1)
    """Looks at validation without a new best before training stops."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where training runs; auto takes a CUDA device where there is one."""
    threads: int = Field(0, ge=0)
    """CPU threads of torch while fitting; 0 leaves the present setting."""
