"""The encoder in ONNX Runtime, in place of torch's: onnx, onnxscript and onnxruntime enter here.

Faster in float32 where a processor has no bfloat16 products; where it has, torch is faster
(docs/how-to/extraction-bert.md). Words, heads and decoding stay in torch.
"""

from __future__ import annotations

import importlib
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graph_etl.errors import MissingDependencyError
from graph_etl.fetch import cache_dir

_INPUTS = ("inputs_embeds", "attention_mask")
_LONGEST = 512


@dataclass(frozen=True, slots=True)
class EncoderOutput:
    """What an encoder of transformers gives, as far as it is used here.

    Attributes:
        last_hidden_state: float32 (B, P, H).
    """

    last_hidden_state: Tensor


class OnnxEncoder(nn.Module):
    """Stands in for the encoder of a JointModel, on the CPU, with as many threads as torch has.

    Args:
        encoder: The BERT whose place it takes.
        file: Its ONNX form, as ``exported`` writes it.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
    """

    def __init__(self, encoder: Any, file: Path) -> None:
        super().__init__()
        runtime = _imported("onnxruntime")
        self.config = encoder.config
        self.embeddings = encoder.get_input_embeddings()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = ["CPUExecutionProvider"]
        self._session = runtime.InferenceSession(str(file), options, providers=providers)

    def get_input_embeddings(self) -> nn.Module:
        """Return the table of word pieces."""
        table: nn.Module = self.embeddings
        return table

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor) -> EncoderOutput:
        """Return the hidden states (B, P, H) of embedded pieces (B, P, H) and attention (B, P)."""
        given = (inputs_embeds.float().numpy(), attention_mask.numpy())
        [hidden] = self._session.run(None, dict(zip(_INPUTS, given, strict=True)))
        return EncoderOutput(torch.from_numpy(hidden))


def onnx_encoder(encoder: Any, name: str) -> OnnxEncoder:
    """Return an encoder's stand-in; its ONNX form is made once and kept in the cache.

    Args:
        encoder: A BERT on the CPU.
        name: What its weights are called: a digest.

    Raises:
        MissingDependencyError: A library is not installed.
    """
    file = cache_dir() / "onnx" / f"{name}-torch-{torch.__version__}.onnx"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        staging = file.with_name(f".{os.getpid()}.{file.name}")
        exported(encoder, staging)
        staging.replace(file)
    return OnnxEncoder(encoder, file)


def exported(encoder: Any, file: Path) -> None:
    """Write an encoder as one ONNX file, for any number of windows and pieces.

    Raises:
        MissingDependencyError: onnx or onnxscript is not installed.
    """
    for name in ("onnx", "onnxscript"):
        _imported(name)
    example = (torch.zeros(3, 17, encoder.config.hidden_size), torch.ones(3, 17, dtype=torch.int64))
    size = torch.export.Dim("size", min=1)
    length = torch.export.Dim("length", min=2, max=_LONGEST)
    with _quiet():
        torch.onnx.export(
            _HiddenStates(encoder).eval(),
            example,
            file,
            input_names=list(_INPUTS),
            dynamic_shapes={name: {0: size, 1: length} for name in _INPUTS},
            dynamo=True,
            external_data=False,
            verbose=False,
        )


class _HiddenStates(nn.Module):
    """An encoder as a function of two tensors."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor) -> Tensor:
        found = self.encoder(inputs_embeds=inputs_embeds, attention_mask=attention_mask)
        hidden: Tensor = found.last_hidden_state
        return hidden


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from talking of itself and of libraries that are not used here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"Expected the library {name} for the runtime 'onnx', found none; install it with: "
            "pip install \"kgrec[onnx]\", or take the runtime 'torch'"
        ) from error
