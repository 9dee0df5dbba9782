"""The command graph-etl extract evaluate: engines and cascades on labelled texts, side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

from graph_etl.cli_output import AsJson, explained, print_record
from graph_etl.cli_tables import stdout
from graph_etl.errors import ConfigError

_VIEWS = [(kind, view) for kind in ("entities", "triples") for view in ("strict", "boundaries")]


@explained
def evaluate(
    gold: Annotated[Path, typer.Option(help="Labelled documents.")],
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENGINE[=MODEL]",
            help="gazetteer, bert=FOLDER, llm=MODEL; several are put side by side. Default: bert, "
            "or what --config configures.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder of a trained extractor, or the name of a language model; several, or one "
            "several times, give mean and spread."
        ),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(help="graph_schema.yaml; default: types and patterns of config or labels."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="A dataset.yaml (or a folder with one), whose cascade is measured too; or YAML "
            "with fields of the engines, below their names (or of llm alone)."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder that the table paths of a dataset.yaml are in.")
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(help="Names for the gazetteer: a build, a snapshot, or a table of them."),
    ] = None,
    runs: Annotated[
        int, typer.Option(min=1, help="Ask each engine so often, to see whether it says the same.")
    ] = 1,
    record: Annotated[
        Path | None, typer.Option(help="Write what was done and found into this JSON file.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page that shows every text with its verdicts."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure engines on labelled texts: precision, recall, F1, stability, cost, speed."""
    from graph_etl.extraction.comparison import compared
    from graph_etl.extraction.evaluation import circumstances
    from graph_etl.extraction.gold import read_gold
    from graph_etl.tables import shipped_or

    labelled = shipped_or(gold)
    documents = read_gold(labelled)
    candidates, whitelist = _candidates(documents, engine, model, schema, config, data, names, runs)
    console = Console(stderr=True)
    found, said = compared(
        documents,
        candidates,
        schema=whitelist,
        progress=lambda told: console.print(told, markup=False, highlight=False),
    )
    if len(candidates) == 1:
        found["summary"] = found["engines"][0]["summary"]
        _add_trainings(found["runs"], model or [])
    found |= circumstances([labelled])
    if record is not None:
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(found, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    if html is not None:
        from graph_etl.extraction.page import evaluation_page, shown_engines

        page = evaluation_page(labelled.name, documents, shown_engines(found["runs"], said))
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(page, encoding="utf-8")
    print_record(found, _print_evaluation, as_json)


def _candidates(
    documents: Any,
    engines: list[str] | None,
    models: list[str] | None,
    schema_file: Path | None,
    config: Path | None,
    data: Path | None,
    names: Path | None,
    runs: int,
) -> tuple[list[Any], Any]:
    """Return what is measured, and the schema that answers are validated against."""
    from graph_etl.extraction.comparison import Candidate
    from graph_etl.extraction.documents import extraction_schema
    from graph_etl.extraction.engine_names import engine_configs
    from graph_etl.extraction.gold import schema_of_gold
    from graph_etl.extraction.known_names import NOTHING, read_known
    from graph_etl.extraction.stages import opened, opened_cascade
    from graph_etl.graph_schema import load_graph_schema
    from graph_etl.tables import shipped_or

    given: Any = None
    if config and _is_dataset(config):
        from graph_etl.dataset_texts import dataset_texts

        given = dataset_texts(config, data)
    whitelist = load_graph_schema(shipped_or(schema_file)) if schema_file else None
    if given is not None:
        whitelist = whitelist or extraction_schema(given.section)
    asked = whitelist or schema_of_gold(documents)
    known = read_known(names) if names else given.known if given else NOTHING
    console = Console(stderr=True)

    def tell(told: str, share: float) -> None:
        console.print(told, markup=False, highlight=False)

    named = engines or ([] if given else ["bert"])
    settings = None if given else config
    candidates: list[Any] = []
    for said, configs in zip(named, engine_configs(named, models or (), settings), strict=True):
        opens = [partial(opened, one, asked, known, tell) for one in configs]
        candidates.append(Candidate(_name_of(said), tuple(opens * runs)))
    if given is not None:
        cascade = partial(opened_cascade, given.section, asked, known, tell)
        candidates.append(Candidate("cascade", (cascade,) * runs, given.section.limits))
    if any(one.startswith("gazetteer") for one in named) and known is NOTHING:
        raise ConfigError(
            "Expected names for the gazetteer, got none; give --names (a build, a snapshot or a "
            "table) or a dataset.yaml as --config"
        )
    return candidates, whitelist


def _is_dataset(path: Path) -> bool:
    """Whether a path is a folder of tables or a dataset.yaml, not settings of engines."""
    if path.is_dir():
        return True
    try:
        fields = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"Expected YAML at {path}, got: {error}") from error
    return isinstance(fields, dict) and bool({"extraction", "extends", "interactions"} & {*fields})


def _name_of(said: str) -> str:
    """Return how a table calls an engine; of a folder its last part alone."""
    name, _, model = said.partition("=")
    return f"{name} {Path(model).name}" if model else name


def _add_trainings(runs: list[dict[str, Any]], models: list[str]) -> None:
    for run, folder in zip(runs, models, strict=False):
        training = Path(folder) / "training.json"
        if training.is_file():
            run["training"] = json.loads(training.read_text(encoding="utf-8"))


def _print_evaluation(record: dict[str, Any]) -> None:
    console = stdout()
    rows = record["engines"]
    table = Table(title=f"{record['documents']} texts: precision / recall / F1 in per cent (95 %)")
    table.add_column("what")
    table.add_column("type")
    table.add_column("labelled", justify="right")
    for row in rows:
        table.add_column(row["name"], justify="right")
    for kind, view in _VIEWS:
        tables = [row["scores"][kind][view] for row in rows]
        names = dict.fromkeys(name for one in tables for name in one)
        for name in names if view == "strict" else ("all",):
            true = next(one[name]["true"] for one in tables if name in one)
            cells = [_cell(one[name]) if name in one else "-" for one in tables]
            table.add_row(f"{kind}, {view}", name, f"{true:.0f}", *cells)
    table.add_section()
    for what in ("texts/s", "sentences/s", "cost of 1,000 texts", "runs", "runs agree (F1)"):
        table.add_row(what, "", "", *(_told(row, record, what) for row in rows))
    console.print(table)
    for row in rows:
        for name, value in row["summary"].items():
            told = ", ".join(f"{key} {number:.4f}" for key, number in value.items())
            console.print(f"{row['name']}: {name}: {told}", markup=False, highlight=False)


def _cell(counts: Mapping[str, Any]) -> str:
    told = " / ".join(f"{counts[name] * 100:.1f}" for name in ("precision", "recall", "f1"))
    interval = counts.get("f1_interval_95")
    return f"{told} ({interval[0] * 100:.1f}-{interval[1] * 100:.1f})" if interval else told


def _told(row: Mapping[str, Any], record: Mapping[str, Any], what: str) -> str:
    if what == "texts/s":
        return f"{row['texts_per_s']:,.1f}"
    if what == "runs":
        return str(row["runs"])
    if what == "sentences/s":
        own = [one for one in record["runs"] if one["name"].startswith(row["name"])]
        return f"{own[0]['sentences_per_s']:,.1f}"
    if what == "cost of 1,000 texts":
        cost = row["cost_per_1000_texts"]
        asked = "no prices" if row["requests"] else "no requests"
        return asked if cost is None else f"{cost['amount']:,.4g} {cost['currency']}"
    stability = row["stability"]
    if stability is None:
        return "run once"
    return ", ".join(f"{kind} {value * 100:.1f}" for kind, value in stability.items())
