"""Training of an objective with Lightning: warm-up and decay, checkpoints of what learns."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from graph_etl.lightning_runs import limited_threads, quiet_lightning
from kgrec.errors import ConfigError
from kgrec.models.fit_result import Progress
from kgrec.models.text.encoder import bfloat16_helps
from kgrec.models.text.finetuning_config import FineTuningConfig
from kgrec.models.text.objectives import Objective

_WARM_UP = 0.1


def train_objective(
    objective: Objective,
    steps: int,
    config: FineTuningConfig,
    device: torch.device,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> list[float]:
    """Train what asks for a gradient, in place; return the loss of each step.

    Args:
        objective: Draws its steps and gives their losses; it ends in evaluation mode on the CPU.
        steps: Steps.
        config: Learning rates, threads, seed.
        device: Where it learns.
        checkpoint: File from which a killed fit goes on with the same numbers, removed at the end.
        progress: Told at each checkpoint.

    Raises:
        ConfigError: A loss is no longer finite.
    """
    module = _Module(objective, steps, config)
    looks = _Looks(checkpoint, steps, progress)
    resumed = checkpoint if checkpoint is not None and checkpoint.is_file() else None
    with quiet_lightning(), torch.random.fork_rng(enabled=True), limited_threads(config.threads):
        trainer = lightning.Trainer(
            max_steps=steps,
            accelerator=device.type,
            devices=1,
            precision="bf16-mixed" if bfloat16_helps(device) else "32-true",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[looks],
        )
        loader = DataLoader(_Steps(module, steps), batch_size=None)
        trainer.fit(module, loader, ckpt_path=resumed, weights_only=True)
    objective.to("cpu").eval()
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return module.losses


class _Module(lightning.LightningModule):
    """An objective as Lightning trains it; step n has a generator of its own."""

    def __init__(self, objective: Objective, steps: int, config: FineTuningConfig) -> None:
        super().__init__()
        self.objective, self.steps, self.config = objective, steps, config
        self.losses: list[float] = []
        self.strict_loading = False  # a checkpoint holds what learns, no more

    def training_step(self, batch: int, batch_idx: int) -> Tensor:
        """Return the loss of step ``batch``."""
        self.objective.train()
        torch.manual_seed(self.config.seed + batch)
        loss = self.objective.loss(np.random.default_rng([self.config.seed, batch]))
        self.losses.append(float(loss.detach()))
        if not np.isfinite(self.losses[-1]):
            raise ConfigError(
                f"Expected a finite loss of the text encoder, got {self.losses[-1]} at step "
                f"{batch}; lower learning_rate"
            )
        return loss

    def on_train_start(self) -> None:
        """Let the objective prepare, unless it goes on from a checkpoint."""
        if not self.losses:
            self.objective.eval()
            self.objective.start(np.random.default_rng(self.config.seed))

    def configure_optimizers(self) -> Any:
        """Return AdamW with a rate for BERT's own weights and one for new ones."""
        old: list[Tensor] = []
        new: list[Tensor] = []
        for name, weight in self.objective.named_parameters():
            if weight.requires_grad:
                is_new = not name.startswith("reader.") or "lora_" in name
                (new if is_new else old).append(weight)
        rates = ((old, self.config.learning_rate), (new, self.config.head_learning_rate))
        groups = [{"params": weights, "lr": rate} for weights, rate in rates if weights]
        optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _rate(self, step: int) -> float:
        warm = max(1, int(_WARM_UP * self.steps))
        return min((step + 1) / warm, max(0.0, (self.steps - step) / max(1, self.steps - warm)))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the losses, and of the weights those that learn: the rest is the base model's."""
        learning = {name for name, weight in self.named_parameters() if weight.requires_grad}
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: state[name] for name in state if name in learning}
        checkpoint["losses"] = self.losses

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the losses over."""
        self.losses = list(checkpoint["losses"])


class _Steps(IterableDataset[int]):
    """Numbers of the steps that are left; an epoch lasts until the next checkpoint."""

    def __init__(self, module: _Module, steps: int) -> None:
        self.module, self.steps = module, steps

    def __iter__(self) -> Iterator[int]:
        done = len(self.module.losses)
        yield from range(done, min(done + self.module.config.checkpoint_every_steps, self.steps))


class _Looks(lightning.Callback):
    """Writes a checkpoint after each epoch."""

    def __init__(self, checkpoint: Path | None, steps: int, progress: Progress | None) -> None:
        self.checkpoint, self.steps, self.progress = checkpoint, steps, progress

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        step = int(trainer.global_step)
        if self.checkpoint is not None and step < self.steps:
            self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
            staging = self.checkpoint.with_suffix(f".{os.getpid()}.new")
            trainer.save_checkpoint(staging)
            staging.replace(self.checkpoint)
        if self.progress is not None:
            self.progress(step, self.steps, pl_module.losses[-1])
