"""Training of large tables, of which a step touches few rows: Adam, and the running mean.

Weights whose gradient is dense are treated as ever.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class RowAdam(torch.optim.Adam):
    """Adam that updates no more than the rows of a sparse gradient.

    Moments of the other rows stand still, as in torch.optim.SparseAdam; weight decay, as the L2 of
    Adam, reaches the rows used alone.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; ``closure`` computes the loss and the gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        sparse: list[tuple[Tensor, Tensor]] = []
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None and weight.grad.is_sparse:
                    sparse.append((weight, weight.grad))
                    self._step_rows(weight, group)
                    weight.grad = None
        super().step()
        for weight, grad in sparse:
            weight.grad = grad
        return loss

    def _step_rows(self, weight: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(weight)
            state["exp_avg_sq"] = torch.zeros_like(weight)
        state["step"] += 1
        done = float(state["step"])
        first, second = group["betas"]
        grad = weight.grad.coalesce()  # type: ignore[union-attr]
        rows = grad.indices()[0]
        values = grad.values().add(weight[rows], alpha=group["weight_decay"])
        mean = state["exp_avg"][rows].lerp_(values, 1 - first)
        square = state["exp_avg_sq"][rows].mul_(second).addcmul_(values, values, value=1 - second)
        state["exp_avg"][rows] = mean
        state["exp_avg_sq"][rows] = square
        root = square.sqrt_().div_(math.sqrt(1 - second**done)).add_(group["eps"])
        weight.index_add_(0, rows, mean.div_(root), alpha=-group["lr"] / (1 - first**done))


class RunningMean:
    """The running mean of weights: mean_t = d_t mean_(t-1) + (1 - d_t) w_t.

    d_t = min(decay, t / (t + 9)) forgets the first weights. A row without gradient stands still,
    so that its mean is known without looking at it in each step: it is brought up to date when the
    row is touched, and when ``whole`` is asked for.

    Args:
        model: Whose weights; the mean starts as they are.
        decay: In 0..1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = model
        self.decay = decay
        self.weights = {n: w.detach().clone() for n, w in model.named_parameters()}
        self._reached: dict[str, Tensor] = {}  # for tables: the step that each row's mean is of
        self._whole_at = 0
        self._log_decay = [0.0]  # of the product of d_1..d_t, by t

    def to(self, device: torch.device) -> None:
        """Move the mean to ``device``."""
        self.weights = {name: mean.to(device) for name, mean in self.weights.items()}

    def load(self, weights: dict[str, Tensor], step: int) -> None:
        """Go on from the mean as it was after ``step``."""
        self.weights = weights
        self._whole_at = step
        self._reached = {}

    @torch.no_grad()
    def before(self, step: int) -> None:
        """Bring the rows that step ``step`` is about to change up to the step before."""
        for name, weight in self.model.named_parameters():
            if weight.grad is not None and weight.grad.is_sparse:
                weight.grad = weight.grad.coalesce()
                if name not in self._reached:
                    start = torch.full((len(weight),), self._whole_at, device=weight.device)
                    self._reached[name] = start
                self._catch_up(name, weight, weight.grad.indices()[0], step - 1)

    @torch.no_grad()
    def after(self, step: int) -> None:
        """Take the weights after step ``step`` into the mean."""
        share = 1.0 - self._decay_of(step)
        for name, weight in self.model.named_parameters():
            if name not in self._reached:
                self.weights[name].lerp_(weight, share)
            elif weight.grad is not None:
                rows = weight.grad.coalesce().indices()[0]
                self.weights[name][rows] = self.weights[name][rows].lerp_(weight[rows], share)
                self._reached[name][rows] = step

    @torch.no_grad()
    def whole(self, step: int) -> dict[str, Tensor]:
        """Return the mean of all weights after step ``step``."""
        for name, weight in self.model.named_parameters():
            if name in self._reached:
                self._catch_up(name, weight, (self._reached[name] < step).nonzero()[:, 0], step)
        self._whole_at = step
        return self.weights

    def _catch_up(self, name: str, weight: Tensor, rows: Tensor, step: int) -> None:
        self._decay_of(step)
        logs = torch.tensor(self._log_decay, dtype=torch.float64, device=weight.device)
        passed = (logs[step] - logs[self._reached[name][rows]]).exp().to(weight.dtype)
        now = weight[rows]
        self.weights[name][rows] = torch.addcmul(
            now, self.weights[name][rows] - now, passed.unsqueeze(1)
        )
        self._reached[name][rows] = step

    def _decay_of(self, step: int) -> float:
        while len(self._log_decay) <= step:
            number = len(self._log_decay)
            decay = max(min(self.decay, number / (number + 9)), 1e-30)
            self._log_decay.append(self._log_decay[-1] + math.log(decay))
        return min(self.decay, step / (step + 9))
