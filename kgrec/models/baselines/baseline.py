"""What all baselines share: a frozen config, save and load; the learning is each model's own."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.numpy import save_file

from kgrec.data.mapped_arrays import mapped_arrays
from kgrec.errors import ArtifactError, NotFittedError
from kgrec.models.scorer import Scorer

Arrays = Mapping[str, npt.NDArray[Any]]
Value = TypeVar("Value")

CONFIG_FILE = "config.json"
ARRAYS_FILE = "arrays.safetensors"


class BaselineConfig(BaseModel):
    """Settings of a baseline; each model adds its own fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Baseline(Scorer):
    """A scorer whose whole fitted state is a few arrays.

    Subclasses name their ``config_class`` and define ``fit``, ``scores``, ``state`` and
    ``restore``.
    """

    reads_graph: ClassVar[bool] = False
    config_class: ClassVar[type[BaselineConfig]]

    def __init__(self, config: BaselineConfig | None = None) -> None:
        config = self.config_class() if config is None else config
        if not isinstance(config, self.config_class):
            raise TypeError(
                f"Expected a {self.config_class.__name__} for '{self.name}' "
                f"(got {type(config).__name__}); build it with make_baseline('{self.name}', ...)"
            )
        self.config = config

    @abstractmethod
    def state(self) -> Arrays:
        """Return the fitted arrays; raises NotFittedError before ``fit``."""

    @abstractmethod
    def restore(self, arrays: Arrays) -> None:
        """Take over the arrays that ``state`` returned."""

    def save(self, folder: Path) -> None:
        """Write config.json and arrays.safetensors into ``folder`` (made if absent)."""
        arrays = {key: np.ascontiguousarray(value) for key, value in self.state().items()}
        folder.mkdir(parents=True, exist_ok=True)
        save_file(arrays, folder / ARRAYS_FILE)
        text = json.dumps(self.describe(), indent=2, sort_keys=True)
        (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the model written by ``save``, with exactly the same scores.

        Raises:
            ArtifactError: The folder is not one of this model, or is damaged.
        """
        config = read_config(folder)
        if config.get("name") != cls.name:
            raise ArtifactError(
                f"Expected a saved '{cls.name}' (got {config.get('name')!r}) in "
                f"{folder / CONFIG_FILE}; load it with load_baseline"
            )
        try:
            model = cls(cls.config_class.model_validate(config.get("config")))
            model.restore(mapped_arrays(folder / ARRAYS_FILE))
        except ValidationError as error:
            raise ArtifactError(
                f"Expected settings of '{cls.name}' in {folder / CONFIG_FILE}; {error}"
            ) from error
        except Exception as error:  # safetensors raises its own types, none of them public
            raise ArtifactError(
                f"Expected the arrays of '{cls.name}' in {folder / ARRAYS_FILE} "
                f"(got {error}); the folder is damaged: train again or restore a copy"
            ) from error
        return model

    def fitted(self, value: Value | None) -> Value:
        """Return ``value``, or raise NotFittedError where it is None."""
        if value is None:
            raise NotFittedError(
                f"Expected '{self.name}' to be fitted before it is asked; call fit or load"
            )
        return value


def read_config(folder: Path) -> dict[str, Any]:
    """Return the name and settings of a saved baseline.

    Raises:
        ArtifactError: There is no readable config.json in ``folder``.
    """
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"Expected a saved model in {folder} (got {error}); name a folder written by save"
        ) from error
    if not isinstance(config, dict):
        raise ArtifactError(f"Expected a JSON object in {path} (got {type(config).__name__})")
    return config
