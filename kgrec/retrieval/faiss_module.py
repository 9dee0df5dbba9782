"""The one import of FAISS, CPU or GPU build alike; whoever needs it asks here."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

from kgrec.errors import MissingDependencyError


@cache
def import_faiss() -> ModuleType:
    """Return the ``faiss`` module, of faiss-cpu or faiss-gpu.

    Raises:
        MissingDependencyError: Neither is installed; the message carries the install command.
    """
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise MissingDependencyError(
            f"Expected the library 'faiss' for the vector index, got: {error}; install it with "
            "'pip install \"kgrec[cpu]\"' (or 'pip install \"kgrec[gpu]\"' with CUDA)"
        ) from error
