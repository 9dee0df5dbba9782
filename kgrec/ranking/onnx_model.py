"""Torch networks as ONNX models and their running; onnx and onnxruntime enter here alone."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from kgrec.data.interactions import FloatArray
from kgrec.errors import MissingDependencyError
from kgrec.ranking.standardiser import CLIP, Standardiser

_OUTPUT = "output"


@cache
def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"Expected the library '{name}' for rankers as ONNX, found none; install it with "
            "'pip install \"kgrec[onnx]\"', or set the pipeline's ranker_runtime to 'torch'"
        ) from error


def check_onnx_installed() -> None:
    """Raise MissingDependencyError where a library for export or for running is missing."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        _imported(name)


class ScaledNetwork(nn.Module):
    """A network with its scaling, so that an exported model takes features as they are."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, network: nn.Module, scaling: Standardiser) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.from_numpy(scaling.mean))
        self.register_buffer("scale", torch.from_numpy(scaling.scale))

    def forward(self, features: torch.Tensor, *further: torch.Tensor) -> torch.Tensor:
        """Return what the network gives for n rows of features as the pipeline makes them."""
        scaled = ((features - self.mean) * self.scale).clamp(-CLIP, CLIP)
        found: torch.Tensor = self.network(scaled, *further)
        return found


class OnnxModel:
    """One ONNX model in an onnxruntime session of one thread.

    Args:
        content: The model's bytes, as they stand in its file.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
    """

    def __init__(self, content: bytes) -> None:
        runtime = _imported("onnxruntime")
        options = runtime.SessionOptions()
        # lists are short: a second thread costs more than it gives, and sums depend on threads
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.content = content
        self._session = runtime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        self._names = [given.name for given in self._session.get_inputs()]

    def __call__(self, inputs: Sequence[npt.NDArray[Any]]) -> FloatArray:
        """Return the output for arrays in the order of the exported network's arguments."""
        found = self._session.run([_OUTPUT], dict(zip(self._names, inputs, strict=True)))
        return np.asarray(found[0])


def export_onnx(network: nn.Module, example: Sequence[torch.Tensor], names: Sequence[str]) -> bytes:
    """Return a network in eval mode as an ONNX model.

    Args:
        network: Its forward takes ``(first, *further)`` inputs and returns one tensor.
        example: An input each, two rows at least: the first axis of every input may have any length
            when the model is run, the others are fixed.
        names: The inputs' names in the model; its output is called "output".

    Raises:
        MissingDependencyError: onnx or onnxscript is not installed.
    """
    for name in ("onnx", "onnxscript"):
        _imported(name)
    free = {0: torch.export.Dim.DYNAMIC}
    further = tuple(free for _ in example[1:])
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            network,
            tuple(example),
            dynamo=True,
            verbose=False,
            input_names=list(names),
            output_names=[_OUTPUT],
            dynamic_shapes=(free, further) if further else (free,),
        )
    assert program is not None  # what the exporter returns with dynamo=True
    content: bytes = program.model_proto.SerializeToString()
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from talking of libraries that we do not use, and of its own insides."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch 2.11 calls deprecated functions of its own
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
