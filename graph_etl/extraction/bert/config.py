"""Settings of the BERT extractor: what the model is, how it is trained."""

from __future__ import annotations

from pydantic import Field

from graph_etl.table_config import FrozenModel


class ModelSettings(FrozenModel):
    """What has to be known to use a model; saved with it."""

    max_span_words: int = Field(default=8, ge=1)
    """Longest mention in words (words.py says what one is)."""
    nested: bool = False
    """Whether mentions may overlap; otherwise the surer one stays."""
    window_pieces: int = Field(default=128, ge=8)
    """Sentences are read together up to so many word pieces; relations are found within."""
    sentences_apart: int | None = Field(default=None, ge=0)
    """Mentions that are further apart are not asked about; null: what the labels need, all but
    0.5 % of the relations."""
    forms_at_input: bool | None = None
    """Whether the encoder too is told what words look like (capitals, digits, what they touch);
    null: where its vocabulary has no capitals."""
    max_pieces: int = Field(default=250, ge=8)
    """A single sentence may have so many; a longer one is cut."""
    hidden_dim: int = Field(default=256, ge=1)
    """Width of the words that the classifiers see, and of their hidden layers."""
    feature_dim: int = Field(default=25, ge=1)
    """Width of the embeddings of lengths, distances and types."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout of the classifiers' inputs and hidden layers."""


class TrainConfig(FrozenModel):
    """How a model is trained."""

    encoder: str = ""
    """Folder or hub name of a BERT model; "": all-MiniLM-L6-v2, fetched once."""
    epochs: int = Field(default=20, ge=1)
    """Passes over the training documents."""
    batch_size: int = Field(default=16, ge=1)
    """Windows in a step."""
    encoder_learning_rate: float | None = Field(default=None, gt=0)
    """Peak rate of the encoder's last layer; None: by its size (smaller encoders bear more)."""
    head_learning_rate: float = Field(default=1e-3, gt=0)
    """Peak rate of everything else."""
    layer_decay: float = Field(default=0.95, gt=0, le=1)
    """Each layer below the last learns at the rate above it times this."""
    train_word_embeddings: bool = True
    """Whether the encoder's table of word pieces learns too; it is most of a small encoder."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of weight matrices; biases and norms have none."""
    warmup_fraction: float = Field(default=0.1, ge=0, le=1)
    """Share of the steps in which the rates rise; then they fall to 0 along a line."""
    gradient_clip: float = Field(default=10.0, gt=0)
    """Largest norm of a step's gradient."""
    average_decay: float = Field(default=0.99, ge=0, lt=1)
    """Of the running mean of weights that is evaluated and kept; 0: the last weights."""
    negative_spans: int = Field(default=400, ge=1)
    """At most so many spans without a mention are looked at for each window."""
    negative_pairs: int = Field(default=100, ge=1)
    """At most so many pairs without a relation for each window."""
    wrong_mentions: int = Field(default=6, ge=0)
    """At most so many mentions that the model wrongly sees go into the pairs of a window."""
    hidden_pieces: float = Field(default=0.1, ge=0, lt=1)
    """Share of word pieces that are hidden from the encoder, anew in each epoch."""
    relation_weight: float = Field(default=1.0, gt=0)
    """Weight of the relations' loss beside that of the mentions."""
    adversarial_size: float = Field(default=0.0, ge=0)
    """Length of the shift of a window's embeddings, towards where its loss rises, under which it
    is learned once more; 0: not."""
    agreement_weight: float = Field(default=0.0, ge=0)
    """Weight of how far two readings of a step, each with its own dropout, differ; 0: one."""
    teachers: tuple[str, ...] = ()
    """Folders of trained extractors whose mean decisions are learned beside the labels; they
    must have been trained without dev where dev is to choose."""
    teacher_share: float = Field(default=0.5, gt=0, le=1)
    """Share of the teachers' decisions in the loss; the rest is the labels'."""
    patience: int = Field(default=6, ge=1)
    """Epochs without a better dev F1 of triples after which training stops."""
    seed: int = 0
    """Of first weights, order, dropout and sampling."""
    threads: int = Field(default=0, ge=0)
    """Threads of the tensor library; 0: as it stands."""
    checkpoints: bool = True
    """Whether an epoch's end is written down, five times the model's size, so that a training
    that was killed goes on from there."""
    device: str = "auto"
    """"auto", "cpu" or "cuda"."""
    final_fit: bool = False
    """Whether to train again on train and dev together, with the threshold and the number of
    epochs that dev gave to the fit on train alone."""
    threshold: float | None = Field(default=None, gt=0, lt=1)
    """Threshold of relation scores, of an earlier fit; None: chosen on dev."""
    model: ModelSettings = Field(default_factory=ModelSettings)
    """What the model is; what labels and encoder need is filled in."""
