"""Encoders tuned on behaviour, and which of them may be used for which training set.

An encoder learns from events that all training sets which use it hold, so it cannot tell any of
them what was hidden there: later events, or what users did with hidden items.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path

import polars as pl

from kgrec.data.dataset import Items
from kgrec.data.interactions import FloatArray, Interactions
from kgrec.models.scorer import TrainingData
from kgrec.models.text.encoder import TextEncoder
from kgrec.models.text.finetuning import device_of, fine_tune
from kgrec.models.text.finetuning_config import FineTuningConfig

_EVENT = ("user_idx", "item_idx", "timestamp", "positive")


class TunedText:
    """A TextSide of encoders that are tuned when they are first asked for.

    A training set that ``share`` was told of gets an encoder of the events that its group has in
    common; any other gets one of all its events.

    Args:
        model: Folder or hub name of the base model.
        items: Titles and texts of the catalogue, the same for every training set.
        config: How encoders learn.
        root: Folder of tuned encoders and of their vectors.
        max_tokens: Word pieces read of a text where vectors are made.
        progress: Called with what is being done and the share of it that is done.
    """

    def __init__(
        self,
        model: str | Path,
        items: Items,
        config: FineTuningConfig,
        root: Path,
        max_tokens: int = 128,
        progress: Callable[[str, float], None] | None = None,
    ) -> None:
        self.config, self.root = config, root
        self._model, self._items, self._max_tokens = model, items, max_tokens
        self._progress = progress or (lambda step, share: None)
        self._common: dict[str, Interactions] = {}
        self._encoders: dict[str, TextEncoder] = {}
        self._vectors: dict[str, FloatArray] = {}

    def share(self, trains: Sequence[TrainingData], *, hidden: bool = False) -> None:
        """Let ``trains`` share one encoder; where items are hidden, ``config.hidden_encoders``."""
        groups = min(self.config.hidden_encoders, len(trains)) if hidden else 1
        for number in range(groups):
            group = trains[number::groups]
            common = common_events([train.interactions for train in group])
            for train in group:
                self._common.setdefault(_key(train.interactions), common)

    def encoder_for(self, train: TrainingData) -> TextEncoder:
        """Return an encoder that learned from events of ``train`` alone."""
        events = self._events_for(train)
        key = _key(events)
        if key not in self._encoders:
            what = f"text encoder on {len(events)} events"
            self._progress(what, 0.0)
            folder = fine_tune(
                self._model,
                self._items,
                events,
                self.config,
                self.root / "encoders",
                lambda step, steps, loss: self._progress(what, step / steps),
            )
            self._encoders[key] = self._encoder(folder)
        return self._encoders[key]

    def vectors_for(self, train: TrainingData) -> FloatArray:
        """Return the vectors of that encoder, shape (num_items, dim), zeros for no text."""
        return self._encoded(self.encoder_for(train))

    def untaught_vectors(self) -> FloatArray:
        """Return the vectors of the base model."""
        return self._encoded(self._encoder(self._model))

    def _events_for(self, train: TrainingData) -> Interactions:
        return self._common.get(_key(train.interactions), train.interactions)

    def _encoder(self, model: str | Path) -> TextEncoder:
        return TextEncoder(
            model,
            self.root / "vectors",
            max_tokens=self._max_tokens,
            device=str(device_of(self.config)),
        )

    def _encoded(self, encoder: TextEncoder) -> FloatArray:
        if encoder.identity not in self._vectors:
            vectors = encoder.encode([str(text) for text in self._items.texts])
            vectors.setflags(write=False)
            self._vectors[encoder.identity] = vectors
        return self._vectors[encoder.identity]


def common_events(parts: Sequence[Interactions]) -> Interactions:
    """Return the events that stand in every part, in the order of the first."""
    tables = [
        pl.DataFrame({name: getattr(part, name) for name in _EVENT}).with_row_index()
        for part in parts
    ]
    shared = reduce(lambda left, right: left.join(right, on=_EVENT, how="semi"), tables)
    return parts[0].take(shared["index"].sort().to_numpy().astype("int64"))


def _key(events: Interactions) -> str:
    digest = hashlib.sha256()
    for name in _EVENT:
        digest.update(getattr(events, name).tobytes())
    return digest.hexdigest()
