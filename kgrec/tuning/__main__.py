"""python -m kgrec.tuning SNAPSHOT: tunes the baselines and writes configs/tuned/<dataset>.json."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from graph_etl.errors import GraphEtlError
from graph_etl.snapshot import load_snapshot
from kgrec.data.dataset import dataset_from_snapshot
from kgrec.data.splits import SplitConfig, make_split, published_labels
from kgrec.data.splits.config import PUBLISHED
from kgrec.errors import ConfigError, KgrecError
from kgrec.tuning.record import Budget, Trial, load_record, save_record
from kgrec.tuning.search import METRIC, tune_all
from kgrec.tuning.space import SHIPPED_SPACES, load_spaces


def main(
    snapshot: Annotated[Path, typer.Argument(help="Snapshot folder or pointer file.")],
    out: Annotated[Path, typer.Option(help="Folder of the record.")] = Path("configs/tuned"),
    spaces: Annotated[Path, typer.Option(help="Search spaces.")] = SHIPPED_SPACES,
    only: Annotated[list[str] | None, typer.Option(help="Entries to tune; default all.")] = None,
    split: Annotated[str, typer.Option(help="Name of the split.")] = "per_user_time",
    seed: Annotated[int, typer.Option(help="Seed of split, search and models.")] = 0,
    trials: Annotated[int, typer.Option(help="Trials for each model.")] = 30,
    cpu_s: Annotated[float, typer.Option(help="CPU seconds for each model.")] = 600.0,
    journals: Annotated[
        Path | None, typer.Option(help="Folder of journals; a stopped search goes on from it.")
    ] = None,
) -> None:
    """Tune each baseline on validation with the same budget."""
    try:
        chosen = load_spaces(spaces)
        missing = sorted(set(only or ()) - set(chosen))
        if missing:
            raise ConfigError(f"Expected entries of {sorted(chosen)} (got {missing}) in {spaces}")
        read = load_snapshot(snapshot)
        dataset = dataset_from_snapshot(read)
        config = SplitConfig.model_validate({"name": split, "seed": seed})
        labels = published_labels(read) if config.name in PUBLISHED else None
        record = tune_all(
            make_split(dataset, config, published=labels),
            {entry: space for entry, space in chosen.items() if not only or entry in only},
            Budget(max_trials=trials, max_cpu_s=cpu_s),
            seed=seed,
            journal_folder=journals,
            progress=_progress,
        )
        path = out / f"{dataset.name}.json"
        if path.exists():
            record = record.with_models_of(load_record(path))
        save_record(record, path)
    except (KgrecError, GraphEtlError, ValidationError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    for entry, tuned in sorted(record.models.items(), key=lambda row: -row[1].best_value):
        typer.echo(f"{entry:<16} {METRIC} {tuned.best_value:.4f}  {tuned.best_settings}")
    typer.echo(str(path))


def _progress(entry: str, trial: Trial) -> None:
    value = "failed" if trial.value is None else f"{trial.value:.4f}"
    typer.echo(f"{entry} {trial.number} {value} {trial.cpu_s:.1f} s {trial.settings}", err=True)


if __name__ == "__main__":
    typer.run(main)
