"""What torch rankers share: scaling, training, early stopping, files. Networks lie elsewhere."""

from __future__ import annotations

import copy
import json
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save_file
from torch import nn

from kgrec.data.interactions import FloatArray, IntArray
from kgrec.errors import ArtifactError, DataError, NotFittedError
from kgrec.ranking.behaviour import Behaviour
from kgrec.ranking.onnx_model import OnnxModel, ScaledNetwork, export_onnx
from kgrec.ranking.ranker import Ranker, RankingRows
from kgrec.ranking.standardiser import Standardiser

_CONFIG, _STATE, _ONNX = "ranker.json", "ranker.safetensors", "ranker.onnx"
Inputs = tuple[npt.NDArray[Any], ...]


class TorchRankerConfig(BaseModel):
    """Training of a torch ranker."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    feature_dropout: float = Field(0.1, ge=0.0, lt=1.0)
    """Share of feature values set to their mean in training."""
    learning_rate: float = Field(3e-3, gt=0.0)
    """AdamW's step size."""
    weight_decay: float = Field(0.1, ge=0.0)
    """AdamW's decay."""
    lists_per_batch: int = Field(32, ge=1)
    """Users in a step."""
    max_epochs: int = Field(15, ge=1)
    """Passes over the lists at most."""
    patience: int = Field(3, ge=1)
    """Epochs without a better result on validation before training stops."""
    seed: int = Field(0, ge=0)
    """Seed of weights, batches and dropout."""


@dataclass(frozen=True)
class Batch:
    """The rows of one training step.

    Attributes:
        inputs: What the network is called with.
        rows: Shape (n,), int64: their places among all rows.
        group: Shape (n,), int64, 0..num_lists-1.
        num_lists: Lists in the step.
    """

    inputs: tuple[torch.Tensor, ...]
    rows: IntArray
    group: IntArray
    num_lists: int


class TorchRanker(Ranker):
    """A network over standardised features; deterministic by ``config.seed`` on CPU.

    Subclasses define ``_config_type``, ``_make_network``, ``_loss`` and ``_quality``; those whose
    network takes more than the features ``_facts_of``, ``further_inputs``, ``_further`` and
    ``_example`` too, and those with several outputs ``_score``.
    """

    further_inputs: ClassVar[tuple[str, ...]] = ()
    config: TorchRankerConfig
    _config_type: ClassVar[type[TorchRankerConfig]]
    _rows_at_a_time: ClassVar[int] = 65_536

    def __init__(self, config: TorchRankerConfig | None = None) -> None:
        self.config = config or self._config_type()
        self._network: nn.Module | None = None
        self._scaling: Standardiser | None = None
        self._facts: dict[str, int] = {}
        self._onnx: OnnxModel | None = None
        self.best_epochs: int | None = None

    @abstractmethod
    def _make_network(self, facts: dict[str, int]) -> nn.Module:
        """Return a network with fresh weights, for rows that ``facts`` describe."""

    def _prepare(self, network: nn.Module, scaled: FloatArray) -> None:
        """Set what a fresh network knows of the training features beside its weights."""

    def _facts_of(self, rows: RankingRows) -> dict[str, int]:
        """Return the sizes that the network's shapes depend on."""
        return {"features": rows.values.shape[1]}

    def _further(self, behaviour: Behaviour | None) -> Inputs:
        """Return what the network takes beside the features."""
        return ()

    def _example(self) -> Inputs:
        """Return what ``_further`` gives, for two rows of zeros."""
        return ()

    def _forward(self, scaled: FloatArray, behaviour: Behaviour | None) -> FloatArray:
        """Return what the network gives for rows of scaled features."""
        assert self._network is not None  # checked by the caller
        return np.asarray(self._network(*_tensors(scaled, *self._further(behaviour))).numpy())

    @abstractmethod
    def _loss(self, outputs: torch.Tensor, rows: RankingRows, batch: Batch) -> torch.Tensor:
        """Return the loss of a step, from what the network gives for its rows."""

    @abstractmethod
    def _quality(self, val: RankingRows) -> float:
        """Return what early stopping looks at; higher is better."""

    def _score(self, outputs: FloatArray) -> FloatArray:
        """Return the score of each row, shape (n,), from what the network gives."""
        return outputs

    def fit(self, train: RankingRows, val: RankingRows | None = None) -> Self:
        """Train by AdamW, stopping on ``val`` where it is given."""
        config = self.config
        self._check(train.values, train.behaviour)
        generator = np.random.default_rng(config.seed)
        self._onnx = None
        self._scaling = Standardiser.fit(train.values)
        scaled = self._scaling.apply(train.values)
        self._facts = self._facts_of(train)
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self._network = network = self._make_network(self._facts)
            self._prepare(network, scaled)
            optimiser = torch.optim.AdamW(
                network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
            )
            # the same course of the step size, whether it is cut short or not
            steps = config.max_epochs * -(-(len(train.indptr) - 1) // config.lists_per_batch)
            schedule = torch.optim.lr_scheduler.LambdaLR(
                optimiser, lambda step: max(0.05, 1.0 - step / max(steps, 1))
            )
            best, best_state = -np.inf, copy.deepcopy(network.state_dict())
            epochs = config.max_epochs if val is not None else self._epochs()
            for epoch in range(epochs):
                network.train()
                for batch in self._batches(train, scaled, generator):
                    loss = self._loss(network(*batch.inputs), train, batch)
                    optimiser.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                    optimiser.step()
                    schedule.step()
                if val is None:
                    continue
                quality = self._quality(val)
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

    def _batches(
        self, train: RankingRows, scaled: FloatArray, generator: np.random.Generator
    ) -> Iterator[Batch]:
        order = generator.permutation(len(train.indptr) - 1)
        for start in range(0, len(order), self.config.lists_per_batch):
            lists = order[start : start + self.config.lists_per_batch]
            lengths = np.diff(train.indptr)[lists]
            ends = np.cumsum(lengths)
            offsets = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
            rows = np.repeat(train.indptr[lists], lengths) + offsets
            group = np.repeat(np.arange(len(lists)), lengths)
            behaviour = train.behaviour and train.behaviour.take_lists(rows, lists)
            inputs = _tensors(scaled[rows], *self._further(behaviour))
            yield Batch(inputs, rows, group, len(lists))

    def outputs(self, values: FloatArray, behaviour: Behaviour | None = None) -> FloatArray:
        """Return what the network gives for each row, shape (n,) or (n, outputs), float32.

        Args:
            values: Shape (n, F).
            behaviour: Items and histories of the same rows; needed where ``reads_behaviour``.
        """
        self._check(values, behaviour)
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
            # an empty matrix makes one pass too, for the shape of its answer
            for start in range(0, max(len(values), 1), self._rows_at_a_time):
                rows = slice(start, start + self._rows_at_a_time)
                part = behaviour and behaviour.take_rows(rows)
                if self._onnx is not None:
                    parts.append(self._onnx((values[rows], *self._further(part))))
                else:
                    parts.append(self._forward(self._scaling.apply(values[rows]), part))
        if training:
            self._network.train()
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def use_onnx(self) -> Self:
        """Export the fitted network, scaling included, score by onnxruntime from now on.

        ``save`` writes the model too, and ``load`` takes it where it lies; another ``fit`` goes
        back to torch.

        Raises:
            MissingDependencyError: onnx, onnxscript or onnxruntime is not installed.
        """
        if self._network is None or self._scaling is None:
            raise NotFittedError(
                f"Expected a fitted ranker '{self.name}' to export; call fit() first"
            )
        features = np.zeros((2, self._facts["features"]), dtype=np.float32)
        scaled = ScaledNetwork(self._network, self._scaling).eval()
        example = _tensors(features, *self._example())
        names = ("features", *self.further_inputs)
        self._onnx = OnnxModel(export_onnx(scaled, example, names))
        return self

    def scores(self, values: FloatArray, behaviour: Behaviour | None = None) -> FloatArray:
        """Return the score of each row, shape (n,), float32."""
        return self._score(self.outputs(values, behaviour))

    def _check(self, values: FloatArray, behaviour: Behaviour | None) -> None:
        if not self.reads_behaviour:
            return
        if behaviour is None or len(behaviour.item_idx) != len(values):
            found = "none" if behaviour is None else f"those of {len(behaviour.item_idx)}"
            raise DataError(
                f"Expected the histories of {len(values)} rows for the ranker '{self.name}', "
                f"got {found}; make them with kgrec.ranking.behaviour.behaviour_of"
            )

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
        if self._onnx is not None:
            (folder / _ONNX).write_bytes(self._onnx.content)
        meta = {
            "config": self.config.model_dump(mode="json"),
            "best_epochs": self.best_epochs,
            "facts": self._facts,
        }
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
        tensors: dict[str, Any] = load_file(folder / _STATE)
        ranker.best_epochs = meta["best_epochs"]
        ranker._scaling = Standardiser(tensors["mean"].numpy(), tensors["deviation"].numpy())
        ranker._facts = meta.get("facts") or {"features": len(tensors["mean"])}
        network = ranker._make_network(ranker._facts)
        prefix = "network."
        network.load_state_dict(
            {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        )
        network.eval()
        ranker._network = network
        if (folder / _ONNX).is_file():
            ranker._onnx = OnnxModel((folder / _ONNX).read_bytes())
        return ranker


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread: how sums are split among several differs from run to run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _tensors(*arrays: npt.NDArray[Any]) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(array) for array in arrays)
