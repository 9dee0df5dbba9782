"""Low-rank additions to a model's weights: the one place that uses peft."""

from __future__ import annotations

import warnings
from typing import Any

from graph_etl.errors import MissingDependencyError


def lora_of(model: Any, rank: int, task: str = "CAUSAL_LM") -> Any:
    """Return a model whose linear layers learn additions of a rank, nothing else.

    Args:
        model: Of transformers.
        rank: Of the additions.
        task: What peft calls the model's kind.

    Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021, equation 3.

    Raises:
        MissingDependencyError: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingDependencyError(
            "Expected the package peft for method lora, found none; install it with: "
            "pip install 'kgrec[tune]'"
        ) from error
    settings = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type=task)
    with warnings.catch_warnings():  # peft asks transformers by a name that is to go
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(model, settings)


def merged(model: Any) -> Any:
    """Return the model with its additions added."""
    return model.merge_and_unload()
