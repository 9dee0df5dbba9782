"""Search spaces as a person writes them in YAML: what is tuned, within which bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import optuna
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kgrec.errors import ConfigError
from kgrec.models.baselines import make_baseline

Setting = bool | int | float | str | None

SHIPPED_SPACES = Path(__file__).parent / "baselines.yaml"
"""Search spaces of the baselines that the project ships."""


class Dimension(BaseModel):
    """One tuned setting: a range (``low``, ``high``) or a list of ``choices``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    low: float | None = None
    """Smallest value, in the unit of the setting."""
    high: float | None = None
    """Largest value, in the unit of the setting."""
    whole: bool = False
    """Whole numbers only."""
    log: bool = False
    """Drawn evenly on the logarithm."""
    choices: tuple[Setting, ...] | None = None
    """The values to choose from, in place of a range."""

    @model_validator(mode="after")
    def _range_or_choices(self) -> Self:
        ranged = self.low is not None and self.high is not None
        if ranged == (self.choices is not None):
            raise ValueError("expected either low and high, or choices")
        if self.low is not None and self.high is not None:
            if self.low >= self.high:
                raise ValueError(f"expected low < high (got {self.low} and {self.high})")
            if self.log and self.low <= 0:
                raise ValueError(f"expected low > 0 for a log scale (got {self.low})")
        return self

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """Return the same as Optuna says it."""
        if self.choices is not None:
            return optuna.distributions.CategoricalDistribution(self.choices)
        low, high = self.low or 0.0, self.high or 0.0
        if self.whole:
            return optuna.distributions.IntDistribution(round(low), round(high), log=self.log)
        return optuna.distributions.FloatDistribution(low, high, log=self.log)


class SearchSpace(BaseModel):
    """What is tuned of one model."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str
    """Short name of the baseline."""
    fixed: dict[str, Setting] = Field(default_factory=dict)
    """Settings that stay as they are in every trial."""
    search: dict[str, Dimension] = Field(min_length=1)
    """Tuned settings by name."""
    start: dict[str, Setting]
    """Tuned settings of the first trial: a good guess, or the plain form of the model."""

    @model_validator(mode="after")
    def _start_names_every_dimension(self) -> Self:
        if set(self.start) != set(self.search):
            raise ValueError(
                f"expected start to name {sorted(self.search)} (got {sorted(self.start)})"
            )
        return self

    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """Return the tuned settings as Optuna says them."""
        return {name: dimension.distribution() for name, dimension in self.search.items()}


def load_spaces(path: Path) -> dict[str, SearchSpace]:
    """Return the search spaces of a YAML file by entry name.

    Raises:
        ConfigError: The file is absent, not YAML, or an entry is impossible, also when the model
            does not exist or refuses the settings of the first trial.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"Expected search spaces in {path} (got {error})") from error
    if not isinstance(content, dict) or not content:
        raise ConfigError(f"Expected one entry for each model in {path} (got {content!r})")
    return {str(entry): _space(path, str(entry), text) for entry, text in content.items()}


def _space(path: Path, entry: str, content: Any) -> SearchSpace:
    try:
        space = SearchSpace.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"Expected a search space at '{entry}' in {path}; {error}") from error
    make_baseline(space.model, {**space.fixed, **space.start})
    return space
