"""The commands graph-etl extract: train, tune-llm, retry; run and evaluate have own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import ValidationError
from rich.console import Console

from graph_etl.cli_evaluate import evaluate
from graph_etl.cli_extract_run import run
from graph_etl.cli_output import AsJson, explained, print_record
from graph_etl.cli_tables import printable
from graph_etl.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="Extract entities and relations from texts.")

Schema = Annotated[
    Path | None,
    typer.Option(help="graph_schema.yaml; default: the types and patterns of the labels."),
]


@app.command()
@explained
def train(
    train: Annotated[Path, typer.Option(help="Labelled documents to learn from.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write the extractor to.")],
    dev: Annotated[
        Path | None,
        typer.Option(help="Labelled documents that choose epoch and threshold; default: a tenth."),
    ] = None,
    schema: Schema = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML with settings of training; options override it.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Folder or hub name of a BERT; default all-MiniLM-L6-v2.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the documents.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything drawn.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads.")] = None,
    final_fit: Annotated[
        bool,
        typer.Option("--final-fit", help="Train again on train and dev; the threshold stays."),
    ] = False,
    threshold: Annotated[
        float | None, typer.Option(help="Threshold of an earlier fit, in place of dev's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a BERT on labelled documents; started again after a kill, it goes on."""
    from graph_etl.extraction.bert import train_extractor
    from graph_etl.extraction.gold import read_gold
    from graph_etl.graph_schema import load_graph_schema

    given = {
        "encoder": encoder,
        "epochs": epochs,
        "seed": seed,
        "threads": threads,
        "threshold": threshold,
        "final_fit": final_fit or None,
    }
    settings = _train_config(config, {k: value for k, value in given.items() if value is not None})
    console = Console(stderr=True)
    folder = train_extractor(
        read_gold(train),
        read_gold(dev) if dev else [],
        settings,
        out,
        schema=load_graph_schema(schema) if schema else None,
        progress=lambda told: console.print(told, markup=False, highlight=False),
    )
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    print_record({"folder": str(folder), **record}, _print_training, as_json)


app.command()(run)
app.command()(evaluate)


def _train_config(path: Path | None, given: dict[str, Any]) -> Any:
    from graph_etl.extraction.bert.config import TrainConfig

    try:
        written = yaml.safe_load(path.read_bytes()) if path else None
        return TrainConfig.model_validate({**(written or {}), **given})
    except (OSError, yaml.YAMLError, ValidationError, TypeError) as error:
        raise ConfigError(
            f"Expected settings of training in {path or 'the options'}, got: {error}"
        ) from error


@app.command("tune-llm")
@explained
def tune_llm(
    train: Annotated[
        list[Path], typer.Option(help="Labelled documents to learn from; may be repeated.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write the model to.")],
    dev: Annotated[
        Path | None, typer.Option(help="Labelled documents whose loss is told after each epoch.")
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(help="GGUF or folder of a chat model; default SmolLM2-135M-Instruct."),
    ] = None,
    schema: Schema = None,
    config: Annotated[Path | None, typer.Option(help="YAML with settings of tuning.")] = None,
    method: Annotated[
        str | None, typer.Option(help="full: all weights learn; lora: low-rank additions.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the documents.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything drawn.")] = None,
    each_epoch: Annotated[
        bool, typer.Option("--each-epoch", help="Keep a GGUF of each epoch, to measure them all.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a language model on labelled documents; started again after a kill, it goes on."""
    from graph_etl.extraction.gold import read_gold
    from graph_etl.extraction.llm.tuning import TuneConfig
    from graph_etl.extraction.llm.tuning_run import tune_llm as tune
    from graph_etl.graph_schema import load_graph_schema

    given = {"method": method, "epochs": epochs, "seed": seed}
    try:
        written = (yaml.safe_load(config.read_bytes()) if config else None) or {}
        settings = TuneConfig.model_validate(
            {**written, **{name: value for name, value in given.items() if value is not None}}
        )
    except (OSError, yaml.YAMLError, ValidationError, TypeError) as error:
        raise ConfigError(
            f"Expected settings of tuning in {config or 'the options'}, got: {error}"
        ) from error
    console = Console(stderr=True)
    record = tune(
        [one for path in train for one in read_gold(path)],
        read_gold(dev) if dev else [],
        settings,
        out,
        base=base,
        schema=load_graph_schema(schema) if schema else None,
        each_epoch=each_epoch,
        progress=lambda told: console.print(told, markup=False, highlight=False),
    )
    print_record({"folder": str(out), **record}, _print_tuning, as_json)


@app.command()
@explained
def retry(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that 'build' wrote.")],
    doc: Annotated[
        list[str] | None, typer.Option(help="A document alone; may be repeated. Default: all.")
    ] = None,
    list_only: Annotated[
        bool, typer.Option("--list", help="Show the dead letters and change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let texts without a good answer be asked about again by the next build."""
    from dataclasses import asdict

    from graph_etl.extraction.build_step import LEDGER
    from graph_etl.extraction.ledger import Ledger

    if not (folder / LEDGER).is_file():
        raise ConfigError(
            f"Expected the answers of an extraction in {folder / LEDGER}, found none; name the "
            "folder of a build whose dataset.yaml has the section 'extraction'"
        )
    with Ledger(folder / LEDGER) as ledger:
        wanted = [one for one in ledger.dead_letters() if not doc or one.doc_id in doc]
        retried = 0 if list_only else ledger.retry(doc)
    record = {"retried": retried, "dead_letters": [asdict(one) for one in wanted]}
    print_record(record, _print_dead_letters, as_json)


def _print_dead_letters(record: dict[str, Any]) -> None:
    for one in record["dead_letters"]:
        typer.echo(
            f"{printable(one['doc_id'])}  {one['engine']}  {one['attempts']} attempts  "
            f"{one['kind']}: {printable(one['told'])}"
        )
    typer.echo(
        f"{len(record['dead_letters'])} dead letters; {record['retried']} are asked about again "
        "by the next build"
    )


def _print_tuning(record: dict[str, Any]) -> None:
    console = Console()
    for row in record["dev_loss"]:
        console.print(f"epoch {row['epoch']}: loss {row['loss']:.4f} on dev", highlight=False)
    console.print(f"{record['folder']}: {record['seconds']:.0f} s", markup=False, highlight=False)


def _print_training(record: dict[str, Any]) -> None:
    console = Console()
    for name, fit in record["fits"].items():
        best = fit["best"]
        console.print(
            f"fit on {name}: epoch {best['number']} of {len(fit['curve'])}, loss {best['loss']:.3f}"
            + (f", dev F1 of triples {best['triples']:.4f}" if best["triples"] else "")
        )
    console.print(f"{record['folder']}: {record['seconds']:.0f} s", markup=False)
