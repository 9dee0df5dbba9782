"""Training of the published networks with Lightning; what a step is and costs is theirs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

from graph_etl.lightning_runs import limited_threads, quiet_lightning
from kgrec.errors import DataError

if TYPE_CHECKING:
    from kgrec.models.baselines.neural import NeuralConfig

Batch = tuple[Tensor, ...]


class Network(nn.Module):
    """What is trained: anything with a loss of one step."""

    @abstractmethod
    def loss(self, *batch: Tensor) -> Tensor:
        """Return the loss of one step, a scalar."""


def fit_network(network: Network, steps: Iterable[Batch], config: NeuralConfig, seed: int) -> None:
    """Train ``network`` in place, on the device that the settings name; it ends on the CPU.

    Args:
        network: With its first weights.
        steps: All steps, in order.
        config: Learning rate, device and threads.
        seed: Of dropout.

    Raises:
        DataError: The loss is no longer finite.
    """
    module = _Module(network, config.learning_rate)
    accelerator = config.device
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    with quiet_lightning(), torch.random.fork_rng(enabled=True), limited_threads(config.threads):
        torch.manual_seed(seed)
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator=accelerator,
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, DataLoader(_Steps(steps), batch_size=None))
    network.to("cpu").eval()
    if module.last_loss is None or not torch.isfinite(module.last_loss):
        raise DataError(
            f"Expected a finite training loss (got {module.last_loss}); lower learning_rate "
            f"({config.learning_rate})"
        )


def ranking_loss(users: Tensor, items: Tensor, liked: Tensor, unliked: Tensor, kind: str) -> Tensor:
    """Return the mean loss of n likes.

    pairwise: -log sigmoid(u.i - u.j), BPR (Rendle et al., UAI 2009); softmax: -log of the share of
    exp(u.i) among all items.

    Args:
        users: Shape (n, dim), the vector of each like's user.
        items: Shape (num_items, dim).
        liked: Shape (n,), int64, the item of each like.
        unliked: Shape (n,), int64, an item that the user does not like.
        kind: "pairwise" or "softmax".
    """
    if kind == "softmax":
        return functional.cross_entropy(users @ items.T, liked)
    margin = (users * (items[liked] - items[unliked])).sum(dim=1)
    return -functional.logsigmoid(margin).mean()


class _Module(lightning.LightningModule):
    def __init__(self, network: Network, learning_rate: float) -> None:
        super().__init__()
        self.network = network
        self.learning_rate = learning_rate
        self.last_loss: Tensor | None = None

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.network.loss(*batch)
        self.last_loss = loss.detach()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)


class _Steps(IterableDataset[Any]):
    def __init__(self, steps: Iterable[Batch]) -> None:
        self.steps = steps

    def __iter__(self) -> Iterator[Batch]:
        yield from self.steps
