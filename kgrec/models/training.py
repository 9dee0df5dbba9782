"""Training of the towers with Lightning: early stopping on validation, checkpoints that resume."""

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
from kgrec.data.task import EvaluationTask
from kgrec.errors import ConfigError
from kgrec.models.fit_result import CurvePoint, FitResult, Progress
from kgrec.models.hybrid import TwoTowers
from kgrec.models.look import Look
from kgrec.models.row_updates import RowAdam, RunningMean
from kgrec.models.sampling import StepSampler, TrainingStep
from kgrec.models.top_items import top_of_scores
from kgrec.models.towers_config import TowersConfig

_LOOK_BATCH = 1024
_VALIDATION_K = 20


def fit_towers(
    model: TwoTowers,
    sampler: StepSampler,
    validation: EvaluationTask | None,
    steps: int,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Train ``model`` in place and return how it went.

    Args:
        model: Towers with their first weights.
        sampler: Source of the training steps.
        validation: Chooses the best step by NDCG@20; None trains for ``steps`` exactly.
        steps: Steps at most.
        checkpoint: File written at each look, from which a killed run goes on with the same
            numbers; removed when training ends. None: no checkpoints.
        progress: Told at each look.

    Raises:
        ConfigError: Training diverged: the loss is no longer finite.
    """
    config = model.config
    looks = _Looks(model, validation, sampler, steps, checkpoint, progress)
    with quiet_lightning(), torch.random.fork_rng(enabled=True), limited_threads(config.threads):
        trainer = lightning.Trainer(
            max_steps=steps,
            accelerator=_accelerator(config),
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            callbacks=[looks],
        )
        resumed = checkpoint if checkpoint is not None and checkpoint.is_file() else None
        data = TowersData(sampler, steps)
        trainer.fit(TowersModule(model), datamodule=data, ckpt_path=resumed, weights_only=True)
    model.load_state_dict(looks.best_weights)
    model.to("cpu").eval()
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return FitResult(looks.best_step, tuple(looks.curve))


class TowersModule(lightning.LightningModule):
    """The towers as Lightning trains them: one optimiser, one loss, a seed for each step."""

    def __init__(self, model: TwoTowers) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: TrainingStep, batch_idx: int) -> Tensor:
        """Return the loss of one step; the step's own seed draws the dropout."""
        torch.manual_seed(batch.seed)
        return self.model.loss(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam with the configured rate and L2."""
        config = self.model.config
        return RowAdam(self.parameters(), lr=config.learning_rate, weight_decay=config.l2)


class TowersData(lightning.LightningDataModule):
    """The training steps as Lightning reads them: one epoch lasts from one look to the next."""

    def __init__(self, sampler: StepSampler, steps: int) -> None:
        super().__init__()
        self.sampler = sampler
        self.steps = steps

    def train_dataloader(self) -> DataLoader[TrainingStep]:
        """Return a loader of whole steps, drawn in this process."""
        return DataLoader(_StepsUntilLook(self), batch_size=None, num_workers=0)


class _StepsUntilLook(IterableDataset[TrainingStep]):
    def __init__(self, data: TowersData) -> None:
        self.data = data

    def __iter__(self) -> Iterator[TrainingStep]:
        done = self.data.trainer.global_step if self.data.trainer is not None else 0
        until = min(done + self.data.sampler.config.eval_every_steps, self.data.steps)
        for number in range(done, until):
            yield self.data.sampler.step(number)


class _Looks(lightning.Callback):
    """Looks at validation after each epoch, keeps the best weights, stops, writes checkpoints."""

    def __init__(
        self,
        model: TwoTowers,
        validation: EvaluationTask | None,
        sampler: StepSampler,
        steps: int,
        checkpoint: Path | None,
        progress: Progress | None,
    ) -> None:
        self.model = model
        self.validation = validation
        self.sampler = sampler
        self.steps = steps
        self.checkpoint = checkpoint
        self.progress = progress
        self.curve: list[CurvePoint] = []
        self.best_step = 0
        self.best_weights: dict[str, Tensor] = {}
        self.losses: list[Tensor] = []
        self.mean = RunningMean(model, model.config.average_decay)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self.mean.to(self.model.device)
        if self.curve:  # training goes on from a checkpoint
            self._look(self.mean.weights)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.mean.before(int(trainer.global_step) + 1)

    def on_train_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        outputs = args[1]
        self.losses.append(outputs["loss"].detach())
        self.mean.after(int(trainer.global_step))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        step = int(trainer.global_step)
        loss = float(torch.stack(self.losses).mean()) if self.losses else 0.0
        self.losses = []
        if not np.isfinite(loss):
            raise ConfigError(
                f"Expected a finite training loss, got {loss} at step {step} of the towers; "
                "lower learning_rate"
            )
        best = max((point.ndcg or 0.0 for point in self.curve), default=-1.0)
        mean = self.mean.whole(step)
        look = self._look(mean)
        ndcg = None
        if look is not None and self.validation is not None:
            ndcg = validation_ndcg(look, self.validation)
        self.curve.append(CurvePoint(step, loss, ndcg))
        if ndcg is None or ndcg > best:
            self.best_step = step
            self.best_weights = {name: w.cpu().clone() for name, w in mean.items()}
        elif self._looks_since_best() >= self.model.config.patience:
            trainer.should_stop = True
        if self.checkpoint is not None:
            _save_checkpoint(trainer, self.checkpoint)
        if self.progress is not None:
            self.progress(step, self.steps, loss)

    def _look(self, mean: dict[str, Tensor]) -> Look | None:
        """Return the towers with the mean weights, where anybody asks them; the sampler may.

        Training goes on with its own weights.
        """
        of_sampler = bool(self.model.config.hard_negatives) and self.sampler.draws_candidates
        if self.validation is None and not of_sampler:
            return None
        last = _copied(self.model)
        self.model.load_state_dict(mean)
        look = Look(self.model)
        self.model.load_state_dict(last)
        if of_sampler:
            self.sampler.look = look
        return look

    def _looks_since_best(self) -> int:
        return sum(point.step > self.best_step for point in self.curve)

    def state_dict(self) -> dict[str, Any]:
        return {
            "curve": [[point.step, point.loss, point.ndcg] for point in self.curve],
            "best_step": self.best_step,
            "best_weights": self.best_weights,
            "mean_weights": self.mean.weights,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.curve = [CurvePoint(*point) for point in state_dict["curve"]]
        self.best_step = state_dict["best_step"]
        self.best_weights = state_dict["best_weights"]
        self.mean.load(state_dict["mean_weights"], self.curve[-1].step)


def _copied(model: TwoTowers) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def validation_ndcg(look: Look, task: EvaluationTask, k: int = _VALIDATION_K) -> float:
    """Return mean NDCG@k of the towers on a task (binary, ideal from the user's targets)."""
    gains = 1.0 / np.log2(np.arange(2, k + 2))
    total = 0.0
    for start in range(0, len(task), _LOOK_BATCH):
        part = task.take(np.arange(start, min(start + _LOOK_BATCH, len(task))))
        histories = part.histories
        scores = look.scores(histories).cpu().numpy()
        scores[histories.row_of_event, histories.item_idx] = -np.inf
        if task.allowed is not None:
            scores[:, ~task.allowed] = -np.inf
        found = top_of_scores(scores, k, 0, histories.user_idx).item_idx
        for row in range(len(part)):
            targets = part.targets_of(row)
            total += gains[np.isin(found[row], targets)].sum() / gains[: len(targets)].sum()
    return float(total / max(len(task), 1))


def _save_checkpoint(trainer: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_suffix(f".{os.getpid()}.new")
    trainer.save_checkpoint(staging)
    staging.replace(path)


def _accelerator(config: TowersConfig) -> str:
    if config.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return config.device
