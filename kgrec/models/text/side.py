"""Text vectors of a catalogue: one array, or, where the encoder learned, those that may be used.

Free of torch, so that everything that reads texts can import it; tuned.py has the encoders.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from kgrec.data.interactions import FloatArray
from kgrec.models.scorer import TrainingData

if TYPE_CHECKING:
    from kgrec.models.text.encoder import TextEncoder


class TextSide(Protocol):
    """Encoders that learned from events, each used only where those events may be known."""

    def share(self, trains: Sequence[TrainingData], *, hidden: bool = False) -> None:
        """Let training sets that are about to be asked about share encoders, to learn fewer.

        Args:
            trains: Cut out of the same events.
            hidden: Whether each leaves out other items, not later events.
        """

    def encoder_for(self, train: TrainingData) -> TextEncoder:
        """Return an encoder that learned from events of ``train`` alone."""

    def vectors_for(self, train: TrainingData) -> FloatArray:
        """Return its vectors of all items' texts, shape (num_items, dim), zeros for no text."""

    def untaught_vectors(self) -> FloatArray:
        """Return the vectors of the encoder that learned from no events."""


TextVectors: TypeAlias = FloatArray | TextSide


def side_of(given: TextVectors | None) -> TextSide | None:
    """Return what has encoders that learned; None for an array, or nothing."""
    return None if given is None or isinstance(given, np.ndarray) else given


def vectors_of(given: TextVectors | None, train: TrainingData) -> FloatArray | None:
    """Return the text vectors that a model of ``train`` may use, shape (num_items, dim), or None.

    Args:
        given: An array is the same for every training set; None: there are none.
        train: What the model is fitted on.
    """
    return given if given is None or isinstance(given, np.ndarray) else given.vectors_for(train)


def untaught(given: TextVectors | None) -> FloatArray | None:
    """Return vectors that know of no event, for models that hold out events of their own."""
    return given if given is None or isinstance(given, np.ndarray) else given.untaught_vectors()


def share_encoders(
    given: TextVectors | None, trains: Sequence[TrainingData], *, hidden: bool = False
) -> None:
    """Tell a TextSide which training sets come; nothing to do for an array."""
    side = side_of(given)
    if side is not None:
        side.share(trains, hidden=hidden)


def learned_encoder(given: TextVectors | None, train: TrainingData) -> Path | None:
    """Return the folder of the encoder that learned from ``train``; None where none learned."""
    side = side_of(given)
    return None if side is None else Path(side.encoder_for(train).model)
