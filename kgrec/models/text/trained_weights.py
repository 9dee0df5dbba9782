"""Which weights of a BERT learn: the last layers, low-rank additions, or all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kgrec.errors import ConfigError
from kgrec.models.text.finetuning_config import FineTuningConfig


def made_trainable(bert: Any, config: FineTuningConfig) -> Any:
    """Return the model of which only the weights of ``config.mode`` ask for a gradient.

    Args:
        bert: Model without a head, changed in place; in mode lora it is wrapped.
        config: mode, last_layers, lora_rank.

    Raises:
        ConfigError: The model has fewer layers than ``last_layers``.
        MissingDependencyError: Mode lora without peft.
    """
    bert.requires_grad_(config.mode == "full")
    if config.mode == "lora":
        from graph_etl.extraction.llm.lora import lora_of

        return lora_of(bert, config.lora_rank, "FEATURE_EXTRACTION")
    if config.mode == "last_n":
        layers = bert.encoder.layer
        if config.last_layers > len(layers):
            raise ConfigError(
                f"Expected last_layers of at most {len(layers)}, the layers of this encoder, got "
                f"{config.last_layers}; lower it, or say mode: full"
            )
        for layer in layers[-config.last_layers :]:
            layer.requires_grad_(True)
    return bert


def without_additions(bert: Any) -> Any:
    """Return the plain model, low-rank additions added to the weights they belong to."""
    return bert.merge_and_unload() if hasattr(bert, "merge_and_unload") else bert


@torch.no_grad()
def mixed_with(bert: Any, base: dict[str, Tensor], kept_share: float) -> None:
    """Move weights back towards those of the base model: kept_share * w + (1 - kept_share) * base.

    Source: Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022, equation 1: half-way
    models keep what the base knows of what the tuning data did not show.
    """
    for name, weight in bert.state_dict().items():
        if weight.is_floating_point():
            weight.lerp_(base[name].to(weight), 1.0 - kept_share)
