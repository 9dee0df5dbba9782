"""What a search leaves behind: every trial, the best settings, and what they were found on."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kgrec.errors import ConfigError
from kgrec.tuning.space import Setting

SCHEMA_VERSION = 1


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Budget(_Record):
    """How long a search runs: until the first of the two is used up."""

    max_trials: int = Field(default=30, ge=1)
    """Trials, failed ones included."""
    max_cpu_s: float = Field(default=600.0, gt=0)
    """CPU seconds of fitting and measuring; the trial under way is finished."""


class Trial(_Record):
    """One fit and its measure on validation."""

    number: int
    """Place in the search, from 0."""
    settings: dict[str, Setting]
    """The tuned settings."""
    value: float | None
    """The metric on validation; None where the model could not be fitted."""
    others: dict[str, float] = Field(default_factory=dict)
    """Further metrics on validation, never selected by."""
    cpu_s: float
    """CPU seconds of fit and measure."""
    error: str | None = None
    """Why the model could not be fitted."""


class TunedModel(_Record):
    """The outcome of one search."""

    model: str
    """Short name of the baseline."""
    best_settings: dict[str, Setting]
    """All settings that differ from the model's defaults in the best trial, fixed ones included."""
    best_value: float
    """The metric of the best trial on validation."""
    best_number: int
    """The best trial."""
    cpu_s: float
    """CPU seconds of all trials."""
    trials: tuple[Trial, ...]
    """Every trial, in order."""


class TuningRecord(_Record):
    """All searches on one split of one dataset."""

    schema_version: int = SCHEMA_VERSION
    """Version of this form."""
    dataset: str
    """Name of the dataset."""
    snapshot_id: str
    """The snapshot that the dataset came from."""
    split: str
    """Name of the split."""
    split_seed: int
    """Seed of the split."""
    split_checksum: str
    """Checksum of which event is for what."""
    slice: str
    """The slice of the validation part that was measured."""
    metric: str
    """The metric selected by."""
    seed: int
    """Seed of the search and of the models."""
    budget: Budget
    """The budget that each model had."""
    versions: dict[str, str]
    """Versions of Python and of the libraries."""
    machine: dict[str, str]
    """The machine."""
    models: dict[str, TunedModel]
    """Outcome of each entry of the search spaces."""

    def settings(self, entry: str) -> dict[str, Setting]:
        """Return the best settings of an entry.

        Raises:
            ConfigError: The entry was not tuned.
        """
        if entry not in self.models:
            raise ConfigError(
                f"Expected a tuned entry of {sorted(self.models)} (got {entry!r}) for "
                f"'{self.dataset}'; tune it with 'python -m kgrec.tuning --only {entry}'"
            )
        return dict(self.models[entry].best_settings)

    def with_models_of(self, older: TuningRecord) -> TuningRecord:
        """Return this record, with the entries of ``older`` that it lacks.

        Only where both were found on the same split with the same budget and seed; else as it is.
        """
        same = ("split_checksum", "snapshot_id", "metric", "seed", "budget")
        if any(getattr(self, name) != getattr(older, name) for name in same):
            return self
        return self.model_copy(update={"models": {**older.models, **self.models}})


def save_record(record: TuningRecord, path: Path) -> None:
    """Write the record as JSON, one trial a line; the file is whole or as it was."""
    content = record.model_dump(mode="json")
    models = content.pop("models")
    lines = [json.dumps(content, indent=1, sort_keys=True)[:-2] + ',\n "models": {']
    blocks = []
    for entry in sorted(models):
        del models[entry]["trials"]
        trials = ",\n".join(
            "    " + trial.model_dump_json(exclude_defaults=True)
            for trial in record.models[entry].trials
        )
        head = json.dumps(models[entry], sort_keys=True)[1:-1]
        blocks.append(f'  {json.dumps(entry)}: {{{head},\n   "trials": [\n{trials}]}}')
    lines.append(",\n".join(blocks) + "\n }\n}\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text("\n".join(lines), encoding="utf-8")
    os.replace(part, path)


def load_record(path: Path) -> TuningRecord:
    """Return the record written by ``save_record``.

    Raises:
        ConfigError: The file is absent, damaged or of another schema version.
    """
    remedy = "tune again with 'python -m kgrec.tuning'"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"Expected a tuning record in {path} (got {error}); {remedy}") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise ConfigError(
            f"Expected tuning schema version {SCHEMA_VERSION} (got {version}) in {path}; {remedy}"
        )
    try:
        return TuningRecord.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"Expected a tuning record in {path}; {error}; {remedy}") from error
