"""One fit with Lightning: rates, mean weights, early stopping, checkpoints that resume."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from graph_etl.errors import ExtractionError
from graph_etl.extraction.bert.config import TrainConfig
from graph_etl.extraction.bert.encoder import bfloat16_helps
from graph_etl.extraction.bert.losses import joint_loss
from graph_etl.extraction.bert.model import JointModel
from graph_etl.extraction.bert.reading import Reader
from graph_etl.extraction.bert.threshold import DEFAULT, chosen_threshold
from graph_etl.extraction.bert.training_data import TrainingBatch, TrainingWindows
from graph_etl.extraction.gold import GoldDocument
from graph_etl.lightning_runs import limited_threads, quiet_lightning

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Epoch:
    """How an epoch ended.

    Attributes:
        number: From 1.
        loss: Mean loss of its steps.
        threshold: Best threshold of relations on dev.
        triples, entities: Strict F1 on dev with it; 0 without dev.
    """

    number: int
    loss: float
    threshold: float = DEFAULT
    triples: float = 0.0
    entities: float = 0.0


@dataclass(frozen=True, slots=True)
class Fit:
    """How a fit went.

    Attributes:
        best: The epoch whose weights were kept: the best on dev, the last one without dev.
        curve: All epochs.
    """

    best: Epoch
    curve: tuple[Epoch, ...]


def fit(
    reader: Reader,
    windows: TrainingWindows,
    dev: Sequence[GoldDocument],
    config: TrainConfig,
    checkpoint: Path,
    progress: Progress,
    stop_after: int | None = None,
    teachers: Sequence[JointModel] = (),
) -> Fit:
    """Train the reader's model in place and return how it went.

    Args:
        reader: Model with its first weights.
        windows: What is learned from.
        dev: Chooses the epoch and the threshold; empty: the last epoch counts.
        config: How.
        checkpoint: File written after each epoch; where it is there, the fit goes on from it with
            the same numbers as if it had not been cut short. It is left for the caller to remove.
        progress: Told after each epoch, in words.
        stop_after: Stop after so many epochs of the plan; None: all.
        teachers: In evaluation mode; their decisions are learned beside the labels.

    Raises:
        ExtractionError: Training diverged: the loss is no longer finite.
    """
    device = _device(config)
    looks = _Looks(reader, dev, config, checkpoint, progress, stop_after or config.epochs)
    resumed = checkpoint if checkpoint.is_file() else None
    if resumed is not None:
        kept = torch.load(resumed, map_location="cpu", weights_only=True)
        looks.load_state_dict(kept["callbacks"][looks.state_key])
    if not looks.are_done:
        module = _Module(reader, windows, config, [one.to(device) for one in teachers])
        reader.model.train()  # a pretrained encoder comes without dropout, and Lightning keeps that
        _run(module, looks, device, config, resumed)
    reader.model.load_state_dict(looks.best_weights, strict=False)
    reader.model.to("cpu").eval()
    return Fit(looks.best, tuple(looks.curve))


def _run(
    module: _Module,
    looks: _Looks,
    device: torch.device,
    config: TrainConfig,
    resumed: Path | None,
) -> None:
    precision: Any = "bf16-mixed" if bfloat16_helps(device) else "32-true"
    with quiet_lightning(), torch.random.fork_rng(enabled=True), limited_threads(config.threads):
        trainer = lightning.Trainer(
            max_epochs=config.epochs,
            accelerator=device.type,
            devices=1,
            precision=precision,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            callbacks=[looks],
        )
        trainer.fit(module, ckpt_path=resumed, weights_only=True)


class _Module(lightning.LightningModule):
    """The model as Lightning trains it."""

    def __init__(
        self,
        reader: Reader,
        windows: TrainingWindows,
        config: TrainConfig,
        teachers: Sequence[JointModel],
    ) -> None:
        super().__init__()
        self.teachers = list(teachers)  # a list, so that they are no part of what learns
        self.model = reader.model
        self.allowed = reader.labels.allowed
        self.windows = windows
        self.config = config
        table = self.model.encoder.get_input_embeddings().weight
        table.requires_grad_(config.train_word_embeddings)

    def train_dataloader(self) -> DataLoader[TrainingBatch]:
        """Return the batches of the epoch that is due."""
        return DataLoader(_Epochs(self), batch_size=None, num_workers=0)

    def transfer_batch_to_device(
        self, batch: TrainingBatch, device: torch.device, dataloader_idx: int
    ) -> TrainingBatch:
        """Return the batch on a device; labels stay where they are."""
        return replace(
            batch,
            batch=batch.batch.to(device),
            whole=batch.whole.to(device) if self.teachers else batch.whole,
            span_targets=batch.span_targets.to(device),
        )

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> Tensor:
        """Return the loss of one step; the step's own seed draws the dropout."""
        torch.manual_seed(batch.seed)
        return joint_loss(self.model, batch, self.allowed, self.config, self.teachers)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep the gradient's norm within bounds."""
        nn.utils.clip_grad_norm_(self.parameters(), self.config.gradient_clip, foreach=True)

    def configure_optimizers(self) -> Any:
        """Return AdamW with a rate for each layer, and the schedule over all steps."""
        optimizer = torch.optim.AdamW(_parameter_groups(self.model, self.config), fused=True)
        steps = self.windows.steps * self.config.epochs
        warm = max(1, round(steps * self.config.warmup_fraction))

        def share(step: int) -> float:
            return min((step + 1) / warm, max(0.0, (steps - step) / max(steps - warm, 1)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class _Epochs(IterableDataset[TrainingBatch]):
    def __init__(self, module: _Module) -> None:
        self.module = module

    def __iter__(self) -> Iterator[TrainingBatch]:
        windows = self.module.windows
        return windows.epoch(self.module.global_step // windows.steps)

    def __len__(self) -> int:
        return self.module.windows.steps


def _parameter_groups(model: Any, config: TrainConfig) -> list[dict[str, Any]]:
    """Return AdamW's groups: heads, and each layer of the encoder with its own rate."""
    layers = int(model.encoder.config.num_hidden_layers)
    top = config.encoder_learning_rate or _rate_for(model.encoder.config)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        decay = 0.0 if weight.ndim < 2 else config.weight_decay
        rate = config.head_learning_rate
        if name.startswith("encoder."):
            parts = name.split(".")
            layer = int(parts[parts.index("layer") + 1]) if "layer" in parts else -1
            rate = top * config.layer_decay ** (layers - 1 - layer)
        elif name.startswith("input_forms."):
            rate = 2 * top  # at the heads' rate it would drown what the encoder knows
        groups.setdefault((rate, decay), []).append(weight)
    return [
        {"params": weights, "lr": rate, "weight_decay": decay}
        for (rate, decay), weights in groups.items()
    ]


def _rate_for(encoder_config: Any) -> float:
    """Return the usual peak rate for an encoder of this size; measured on CoNLL04's dev part."""
    if encoder_config.hidden_size > 512:
        return 5e-5
    return 1.5e-4 if encoder_config.num_hidden_layers <= 6 else 1e-4


class _Looks(lightning.Callback):
    """Looks at dev after each epoch, keeps the best weights, stops, writes checkpoints."""

    def __init__(
        self,
        reader: Reader,
        dev: Sequence[GoldDocument],
        config: TrainConfig,
        checkpoint: Path,
        progress: Progress,
        stop_after: int,
    ) -> None:
        self.reader = reader
        self.dev = dev
        self.config = config
        self.checkpoint = checkpoint
        self.progress = progress
        self.stop_after = stop_after
        self.curve: list[Epoch] = []
        self.losses: list[Tensor] = []
        self.mean_weights: dict[str, Tensor] = {}
        self.best_weights: dict[str, Tensor] = {}

    @property
    def best(self) -> Epoch:
        """The epoch whose weights are kept."""
        if not self.dev:
            return self.curve[-1]
        return max(self.curve, key=lambda one: (one.triples, one.entities))

    @property
    def are_done(self) -> bool:
        """Whether training is at its end."""
        if not self.curve:
            return False
        last = self.curve[-1].number
        return last >= self.stop_after or last - self.best.number >= self.config.patience

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if not self.mean_weights:
            self.mean_weights = self._copied()
        device = self.reader.model.subject.device
        self.mean_weights = {name: one.to(device) for name, one in self.mean_weights.items()}

    def on_train_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        self.losses.append(args[1]["loss"].detach())
        step = int(trainer.global_step)
        decay = min(self.config.average_decay, step / (step + 9))  # forgets the first weights
        with torch.no_grad():
            trained = self._trained()
            torch._foreach_lerp_(
                [self.mean_weights[name] for name in trained], list(trained.values()), 1.0 - decay
            )

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        number = int(trainer.current_epoch) + 1
        loss = float(torch.stack(self.losses).mean())
        self.losses = []
        if not np.isfinite(loss):
            raise ExtractionError(
                f"Expected a finite training loss, got {loss} in epoch {number}; lower "
                "encoder_learning_rate and head_learning_rate"
            )
        best = self.best if self.curve else None
        self.curve.append(self._look(number, loss))
        if best is None or self.best.number == number:
            self.best_weights = {k: one.cpu().clone() for k, one in self.mean_weights.items()}
        trainer.should_stop = self.are_done
        if self.config.checkpoints:
            self._save(trainer)
        now = self.curve[-1]
        told = f"epoch {number}/{self.config.epochs}: loss {loss:.3f}"
        if self.dev:
            told += f", dev F1 triples {now.triples:.4f} entities {now.entities:.4f}"
        self.progress(told)

    def _look(self, number: int, loss: float) -> Epoch:
        """Return the epoch with what dev says of the mean weights; training keeps its own."""
        if not self.dev:
            return Epoch(number, loss)
        model = self.reader.model
        last = self._copied()
        model.load_state_dict(self.mean_weights, strict=False)
        model.eval()
        found = chosen_threshold(self.reader, self.dev)
        model.load_state_dict(last, strict=False)
        model.train()
        return Epoch(number, loss, *found)

    def _trained(self) -> dict[str, Tensor]:
        named = self.reader.model.named_parameters()
        return {name: weight for name, weight in named if weight.requires_grad}

    def _copied(self) -> dict[str, Tensor]:
        return {name: weight.detach().clone() for name, weight in self._trained().items()}

    def _save(self, trainer: Any) -> None:
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        staging = self.checkpoint.with_suffix(f".{os.getpid()}.new")
        trainer.save_checkpoint(staging)
        staging.replace(self.checkpoint)

    def state_dict(self) -> dict[str, Any]:
        return {
            "curve": [asdict(one) for one in self.curve],
            "best_weights": self.best_weights,
            "mean_weights": self.mean_weights,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.curve = [Epoch(**one) for one in state_dict["curve"]]
        self.best_weights = state_dict["best_weights"]
        self.mean_weights = state_dict["mean_weights"]


def _device(config: TrainConfig) -> torch.device:
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.device)
