"""Fine-tuning a causal language model to answer in the compact form, the loss on the answer alone.

A killed training goes on from its last checkpoint. Reading and writing models is the business of
tuned_model.py, examples that of tuning_examples.py.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch.nn.functional import cross_entropy

from graph_etl.errors import ExtractionError
from graph_etl.extraction.bert.encoder import bfloat16_helps
from graph_etl.extraction.llm.lora import lora_of, merged
from graph_etl.extraction.llm.tuning_checkpoint import load_checkpoint, save_checkpoint
from graph_etl.extraction.llm.tuning_examples import Batch, Example, batches
from graph_etl.table_config import FrozenModel

Progress = Callable[[str], None]


class TuneConfig(FrozenModel):
    """How a language model is fine-tuned."""

    method: Literal["full", "lora"] = "full"
    """full: all weights learn; lora: low-rank additions to them, merged at the end."""
    epochs: int = Field(default=4, ge=1)
    """Times that every example is seen."""
    learning_rate: float = Field(default=3e-4, gt=0)
    """At its peak, after the warm-up; it falls as a cosine to a tenth."""
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps in which the rate rises."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW."""
    batch_examples: int = Field(default=8, ge=1)
    """Examples a step."""
    max_tokens: int = Field(default=512, ge=32)
    """Longer examples are left out."""
    rows_at_once: int = Field(default=4, ge=1)
    """Examples whose activations are held in memory together."""
    frozen_layers: int = Field(default=0, ge=0)
    """Lowest layers, and with them the embeddings, that do not learn in method full: less memory
    and time."""
    lora_rank: int = Field(default=16, ge=1)
    """Rank of the additions."""
    checkpoint_steps: int = Field(default=50, ge=1)
    """Steps between checkpoints."""
    seed: int = 0
    """Of order and initial values."""


def tune(
    model: Any,
    examples: Sequence[Example],
    config: TuneConfig,
    work: Path,
    *,
    pad_id: int,
    progress: Progress = lambda _: None,
    after_epoch: Callable[[int, Any], None] = lambda epoch, model: None,
) -> Any:
    """Return the tuned model; ``model`` itself is changed.

    Matrices are multiplied in bfloat16 where the hardware can, on the device that the model is on;
    weights and their updates stay in float32.

    Args:
        model: A causal language model of transformers, float32.
        examples: What it learns.
        config: How.
        work: Folder for the checkpoint; the caller removes it at the end.
        pad_id: Token id that fills batches.
        progress: Told in words how far it is.
        after_epoch: Called with the number of each whole epoch and the model as it is.

    Raises:
        ExtractionError: The loss is no number any more.
    """
    torch.manual_seed(config.seed)
    if config.method == "lora":
        learner = lora_of(model, config.lora_rank)
    else:
        learner = model
        _freeze(model, config.frozen_layers)
    weights = {name: one for name, one in learner.named_parameters() if one.requires_grad}
    optimizer = torch.optim.AdamW(
        weights.values(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    steps_each = math.ceil(len(examples) / config.batch_examples)
    steps = steps_each * config.epochs
    identity = _identity(examples, config)
    step = load_checkpoint(work, identity, weights, optimizer)
    learner.train()
    for epoch in range(step // steps_each, config.epochs):
        rng = np.random.default_rng((config.seed, epoch))
        running: list[float] = []
        for number, batch in enumerate(batches(examples, config.batch_examples, pad_id, rng)):
            if epoch * steps_each + number < step:
                continue
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * _rate(step, steps, config.warmup_share)
            running.append(_step(learner, batch, optimizer, config.rows_at_once))
            step += 1
            if not math.isfinite(running[-1]):
                raise ExtractionError(
                    f"Expected a loss, got {running[-1]} at step {step}; lower learning_rate "
                    f"({config.learning_rate:g})"
                )
            if step % config.checkpoint_steps == 0 or step == steps:
                save_checkpoint(work, identity, step, weights, optimizer)
                loss = sum(running[-50:]) / len(running[-50:])
                progress(f"step {step} of {steps}: loss {loss:.3f}")
        after_epoch(epoch + 1, learner)
    return merged(learner) if config.method == "lora" else learner


def answer_loss(model: Any, batch: Batch) -> torch.Tensor:
    """Return the sum of the cross-entropy over the answers' tokens. Shape ().

    Logits are computed for those positions alone: over a vocabulary of 49,152 they cost more than
    the layers where the prompt is long.
    """
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    device = plain.device
    ids, mask, learned = (one.to(device) for one in (batch.ids, batch.mask, batch.learned))
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16_helps(device)):
        states = plain.model(input_ids=ids, attention_mask=mask).last_hidden_state
        logits = plain.lm_head(states[learned.roll(-1, dims=1)])  # position t foretells t + 1
    return cross_entropy(logits.float(), ids[learned], reduction="sum")


@torch.no_grad()
def mean_loss(model: Any, examples: Sequence[Example], pad_id: int, rows: int = 8) -> float:
    """Return the mean cross-entropy a token of the answers of examples.

    Args:
        model: The model; it is left in training mode.
        examples: At least one.
        pad_id: Token id that fills batches.
        rows: Examples at a time.
    """
    model.eval()
    total, tokens = 0.0, 0
    for batch in batches(examples, rows, pad_id, np.random.default_rng(0)):
        total += float(answer_loss(model, batch))
        tokens += int(batch.learned.sum())
    model.train()
    return total / tokens


def _step(model: Any, batch: Batch, optimizer: torch.optim.Optimizer, rows_at_once: int) -> float:
    """Learn one batch; return its mean loss a token."""
    tokens = int(batch.learned.sum())
    total = 0.0
    for rows in batch.split(rows_at_once):
        loss = answer_loss(model, rows) / tokens
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return total


def _freeze(model: Any, layers: int) -> None:
    if layers:
        for part in (model.get_input_embeddings(), *model.model.layers[:layers]):
            part.requires_grad_(False)


def _rate(step: int, steps: int, warmup_share: float) -> float:
    """Return the share of the peak rate at a step: a line up, then a cosine down to a tenth."""
    warmup = warmup_share * steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(steps - warmup, 1)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))


def _identity(examples: Sequence[Example], config: TuneConfig) -> str:
    digest = hashlib.sha256(config.model_dump_json().encode())
    for one in examples:
        digest.update(json.dumps([one.ids, one.answer_from]).encode())
    return digest.hexdigest()
