"""The state of a training on disk: weights and moments in safetensors, whole or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

_NAME = "checkpoint.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq")


def save_checkpoint(
    work: Path,
    identity: str,
    step: int,
    weights: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write where a training stands after a step.

    Args:
        work: Folder; made where it is not there.
        identity: Digest of what is trained on, and how.
        step: Steps done.
        weights: What learns, by name.
        optimizer: AdamW over exactly these.
    """
    work.mkdir(parents=True, exist_ok=True)
    tensors = {f"weight.{name}": one.detach() for name, one in weights.items()}
    for name, one in weights.items():
        state = optimizer.state[one]
        tensors |= {f"{moment}.{name}": state[moment] for moment in _MOMENTS}
    part = work / f"{_NAME}.part"
    told = {"identity": identity, "step": json.dumps(step)}
    save_file({name: one.contiguous() for name, one in tensors.items()}, part, metadata=told)
    part.replace(work / _NAME)


def load_checkpoint(
    work: Path,
    identity: str,
    weights: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> int:
    """Bring weights and optimizer to the checkpoint; return its step, 0 where there is none.

    A checkpoint of another training, or a damaged one, counts as none.
    """
    try:
        with safe_open(work / _NAME, framework="pt") as held:
            told = held.metadata() or {}
            if told.get("identity") != identity:
                return 0
            step = int(json.loads(told["step"]))
            with torch.no_grad():
                for name, one in weights.items():
                    one.copy_(held.get_tensor(f"weight.{name}"))
                    optimizer.state[one] = {
                        "step": torch.tensor(float(step)),
                        **{
                            moment: held.get_tensor(f"{moment}.{name}").to(one.device)
                            for moment in _MOMENTS
                        },
                    }
            return step
    except (OSError, SafetensorError):
        return 0
