"""Settings of fine-tuning the text encoder; each says what it means and its unit."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class FineTuningConfig(BaseModel):
    """What the text encoder learns of a catalogue and of what users like there."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    mode: Literal["frozen", "last_n", "lora", "full"] = "frozen"
    """Which weights learn: none, those of the last layers, low-rank additions to all linear layers
    (needs peft), or all."""
    last_layers: int = Field(2, ge=1)
    """Layers that learn in mode last_n, counted from the output."""
    lora_rank: int = Field(8, ge=1)
    """Rank of the additions in mode lora."""

    adapt: Literal["off", "masked", "contrastive"] = "off"
    """What is learned first from the catalogue's own texts, by the same weights: nothing, to
    foretell words that are masked, or to find an item's description by its title."""
    adapt_steps: int = Field(200, ge=1)
    """Steps of that."""
    masked_share: float = Field(0.15, gt=0, lt=1)
    """Share of a text's word pieces to be foretold where ``adapt`` is masked."""

    objective: Literal["behaviour", "likes"] = "behaviour"
    """What is learned from events: which item's behaviour vector (normalised SVD of the likes) a
    text belongs to, or which item's text a user who likes some other texts likes too."""
    steps: int = Field(100, ge=0)
    """Steps of that; 0: the texts of the catalogue are all that is learned from."""
    texts_per_step: int = Field(128, ge=4)
    """Texts that are read with gradient in one step; each is told apart from the others."""
    history_texts: int = Field(3, ge=1)
    """Texts of a user's liked items that stand for the user in objective likes."""
    factors: int = Field(64, ge=2)
    """Length of the behaviour vectors."""
    temperature: float = Field(0.1, gt=0)
    """Cosines are divided by this before the softmax."""
    learning_rate: float = Field(5e-5, gt=0)
    """Highest learning rate of AdamW: it rises for a tenth of the steps and falls to zero."""
    head_learning_rate: float = Field(1e-3, gt=0)
    """The same for weights that are new: low-rank additions, and heads that are thrown away."""
    kept_share: float = Field(1.0, gt=0, le=1)
    """Share of the tuned weights in the written ones; the rest is the base model's."""
    max_tokens: int = Field(96, ge=4)
    """Word pieces read of each text while learning."""

    checkpoint_every_steps: int = Field(100, ge=1)
    """Steps between two checkpoints, from which a killed fit goes on."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it learns and where its texts are encoded; auto takes a CUDA device if there is one."""
    threads: int = Field(0, ge=0)
    """CPU threads of torch while learning; 0 leaves the present setting."""
    hidden_encoders: int = Field(2, ge=2)
    """Encoders for the windows of hidden items: each learned without the items of its windows."""
    seed: int = Field(0, ge=0)
    """Seed of the draws and of new weights."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mode == "frozen" and self.adapt != "off":
            raise ValueError(f"adapt: {self.adapt} needs weights that learn, got mode: frozen")
        if self.steps == 0 and self.adapt == "off" and self.mode != "frozen":
            raise ValueError("steps: 0 and adapt: off leave nothing to learn; say mode: frozen")
        return self
