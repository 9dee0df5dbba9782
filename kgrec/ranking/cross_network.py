"""A cross network over standardised features with a listwise loss: the torch ranker."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save_file
from torch import nn

from kgrec.data.interactions import FloatArray, IntArray
from kgrec.errors import ArtifactError, NotFittedError
from kgrec.ranking.ranker import Ranker, RankingRows, ndcg_of_lists
from kgrec.ranking.standardiser import Standardiser

_CONFIG, _STATE = "ranker.json", "ranker.safetensors"


class CrossNetworkConfig(BaseModel):
    """Sizes and training of the cross network."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    cross_layers: int = Field(1, ge=0)
    """Cross layers; 0 leaves the MLP alone."""
    rank: int = Field(8, ge=1)
    """Rank of each cross layer's matrix."""
    hidden: tuple[int, ...] = (32,)
    """Widths of the MLP's layers; empty together with cross_layers 0 is a linear ranker."""
    dropout: float = Field(0.3, ge=0.0, lt=1.0)
    """Dropout after each MLP layer."""
    feature_dropout: float = Field(0.1, ge=0.0, lt=1.0)
    """Share of feature values set to their mean in training."""
    binary_weight: float = Field(0.2, ge=0.0)
    """Weight of the binary cross-entropy beside the listwise loss."""
    learning_rate: float = Field(3e-3, gt=0.0)
    """AdamW's step size."""
    weight_decay: float = Field(0.1, ge=0.0)
    """AdamW's decay."""
    lists_per_batch: int = Field(32, ge=1)
    """Users in a step."""
    max_epochs: int = Field(15, ge=1)
    """Passes over the lists at most."""
    patience: int = Field(3, ge=1)
    """Epochs without a better validation NDCG@20 before training stops."""
    seed: int = Field(0, ge=0)
    """Seed of weights, batches and dropout."""


class CrossNetwork(nn.Module):
    """score = w'[x_L, MLP(x_0)] with x_{l+1} = x_0 * (U_l V_l x_l + b_l) + x_l.

    Source: Wang et al., DCN V2, WWW 2021, equation 4 (low rank), parallel form.
    """

    def __init__(self, num_features: int, config: CrossNetworkConfig) -> None:
        super().__init__()
        self.feature_dropout = config.feature_dropout
        self.down = nn.ModuleList(
            nn.Linear(num_features, config.rank, bias=False) for _ in range(config.cross_layers)
        )
        self.up = nn.ModuleList(
            nn.Linear(config.rank, num_features) for _ in range(config.cross_layers)
        )
        widths, layers = (num_features, *config.hidden), []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.GELU(), nn.Dropout(config.dropout)]
        self.deep = nn.Sequential(*layers)
        self.shallow_output = nn.Linear(num_features, 1)
        self.deep_output = nn.Linear(widths[-1], 1) if config.hidden else None
        # the network starts as a linear one; crosses and the MLP grow only where they help
        for layer in (*self.up, *([self.deep_output] if self.deep_output is not None else [])):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the scores of n rows of F standardised features, shape (n,)."""
        if self.training and self.feature_dropout:
            features = features * (torch.rand_like(features) >= self.feature_dropout)
        crossed = features
        for down, up in zip(self.down, self.up, strict=True):
            crossed = features * up(down(crossed)) + crossed
        score: torch.Tensor = self.shallow_output(crossed)
        if self.deep_output is not None:
            score = score + self.deep_output(self.deep(features))
        return score.squeeze(1)  # (n,)


def listwise_loss(
    scores: torch.Tensor, label: torch.Tensor, group: torch.Tensor, num_groups: int
) -> torch.Tensor:
    """Return the mean over lists of -sum_i y_i log softmax(s)_i / sum_i y_i.

    Args:
        scores: Shape (n,).
        label: Shape (n,), 1 or 0.
        group: Shape (n,), int64: the list of each row, 0..num_groups-1.
        num_groups: Lists; those without a positive do not count.
    """
    high = torch.full((num_groups,), -torch.inf).scatter_reduce(0, group, scores.detach(), "amax")
    exponent = torch.exp(scores - high[group])
    total = torch.zeros(num_groups).index_add(0, group, exponent)
    log_softmax = scores - high[group] - torch.log(total[group])
    positives = torch.zeros(num_groups).index_add(0, group, label)
    gain = torch.zeros(num_groups).index_add(0, group, label * log_softmax)
    counted = positives > 0
    return -(gain[counted] / positives[counted]).sum() / counted.sum().clamp(min=1)


class CrossNetworkRanker(Ranker):
    """The cross network behind the ranker contract; deterministic by ``config.seed`` on CPU."""

    name: ClassVar[str] = "cross_network"
    _config_type: ClassVar[type[CrossNetworkConfig]] = CrossNetworkConfig

    def __init__(self, config: CrossNetworkConfig | None = None) -> None:
        self.config: CrossNetworkConfig = config or self._config_type()
        self._network: CrossNetwork | None = None
        self._scaling: Standardiser | None = None
        self.best_epochs: int | None = None

    def fit(self, train: RankingRows, val: RankingRows | None = None) -> Self:
        """Train by AdamW, stopping on the NDCG@20 of ``val`` where it is given."""
        config = self.config
        generator = np.random.default_rng(config.seed)
        self._scaling = Standardiser.fit(train.values)
        values = torch.from_numpy(self._scaling.apply(train.values))
        label = torch.from_numpy(train.label)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = CrossNetwork(train.values.shape[1], config)
            optimiser = torch.optim.AdamW(
                network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
            )
            epochs = config.max_epochs if val is not None else self._epochs()
            # the same course of the step size, whether it is cut short or not
            steps = config.max_epochs * -(-(len(train.indptr) - 1) // config.lists_per_batch)
            schedule = torch.optim.lr_scheduler.LambdaLR(
                optimiser, lambda step: max(0.05, 1.0 - step / max(steps, 1))
            )
            best, best_state = -1.0, copy.deepcopy(network.state_dict())
            for epoch in range(epochs):
                network.train()
                order = generator.permutation(len(train.indptr) - 1)
                for start in range(0, len(order), config.lists_per_batch):
                    lists = order[start : start + config.lists_per_batch]
                    self._step(network, optimiser, values, label, train, lists)
                    schedule.step()
                self._network = network
                if val is None:
                    continue
                quality = float(ndcg_of_lists(val, self.scores(val.values)).mean())
                if quality > best:
                    best, self.best_epochs = quality, epoch + 1
                    best_state = copy.deepcopy(network.state_dict())
                elif epoch + 1 - (self.best_epochs or 0) >= config.patience:
                    break
        if val is not None:
            network.load_state_dict(best_state)
        network.eval()
        return self

    def _epochs(self) -> int:
        return self.best_epochs or self.config.max_epochs

    def _step(
        self,
        network: CrossNetwork,
        optimiser: torch.optim.Optimizer,
        values: torch.Tensor,
        label: torch.Tensor,
        train: RankingRows,
        lists: IntArray,
    ) -> None:
        lengths = np.diff(train.indptr)[lists]
        ends = np.cumsum(lengths)
        offsets = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
        rows = torch.from_numpy(np.repeat(train.indptr[lists], lengths) + offsets)
        group = torch.from_numpy(np.repeat(np.arange(len(lists)), lengths))
        scores = network(values[rows])
        loss = listwise_loss(scores, label[rows], group, len(lists))
        if self.config.binary_weight:
            binary = nn.functional.binary_cross_entropy_with_logits(scores, label[rows])
            loss = loss + self.config.binary_weight * binary
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()

    def scores(self, values: FloatArray) -> FloatArray:
        """Return the score of each row, shape (n,), float32."""
        if self._network is None or self._scaling is None:
            raise NotFittedError(
                f"Expected a fitted ranker '{self.name}', got one without weights; "
                "call fit() or load() first"
            )
        training = self._network.training
        if training:  # a walk over all modules, which one request would feel
            self._network.eval()
        parts = []
        with torch.no_grad():
            for start in range(0, len(values), 65_536):
                scaled = self._scaling.apply(values[start : start + 65_536])
                parts.append(self._network(torch.from_numpy(scaled)).numpy())
        if training:
            self._network.train()
        return np.concatenate([*parts, np.empty(0, dtype=np.float32)])

    def save(self, folder: Path) -> None:
        """Write weights and scaling (safetensors) and configuration (JSON)."""
        if self._network is None or self._scaling is None:
            raise NotFittedError(
                f"Expected a fitted ranker '{self.name}' to save; call fit() first"
            )
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"network.{name}": t for name, t in self._network.state_dict().items()}
        tensors["mean"] = torch.from_numpy(self._scaling.mean)
        tensors["deviation"] = torch.from_numpy(self._scaling.deviation)
        save_file(tensors, folder / _STATE)
        meta = {"config": self.config.model_dump(mode="json"), "best_epochs": self.best_epochs}
        (folder / _CONFIG).write_text(json.dumps(meta, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the ranker written by ``save``."""
        for name in (_CONFIG, _STATE):
            if not (folder / name).is_file():
                raise ArtifactError(
                    f"Expected the file {folder / name} of a ranker, found none; "
                    "train and save the pipeline again"
                )
        meta = json.loads((folder / _CONFIG).read_text())
        ranker = cls(cls._config_type.model_validate(meta["config"]))
        tensors = load_file(folder / _STATE)
        ranker.best_epochs = meta["best_epochs"]
        ranker._scaling = Standardiser(tensors["mean"].numpy(), tensors["deviation"].numpy())
        network = CrossNetwork(len(tensors["mean"]), ranker.config)
        prefix = "network."
        network.load_state_dict(
            {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        )
        network.eval()
        ranker._network = network
        return ranker
