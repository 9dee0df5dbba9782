"""The command kgrec: parses, calls one library function, prints; results on stdout alone.

Exit codes: 0 done, 2 something the caller can mend (the message says how).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from graph_etl.errors import GraphEtlError
from kgrec.cli_bulk import predict_topk, recommend_all, score_pairs
from kgrec.cli_errors import user_errors as _user_errors
from kgrec.cli_forget import forget
from kgrec.cli_index import index_build, index_show, index_tune
from kgrec.cli_progress import progress as _progress
from kgrec.cli_serve import keys_app, serve
from kgrec.errors import ConfigError, KgrecError

app = typer.Typer(
    help="Knowledge-graph recommendations: train, measure, serve, explain.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
index_app = typer.Typer(help="The vector index of an artifact.", no_args_is_help=True)
index_app.command("show")(index_show)
index_app.command("build")(index_build)
index_app.command("tune")(index_tune)
app.add_typer(index_app, name="index")
app.command()(serve)
app.command()(forget)
app.command("predict-topk")(predict_topk)
app.command("score-pairs")(score_pairs)
app.add_typer(keys_app, name="keys")

_err = Console(stderr=True)
_RANGE = re.compile(r"(-?\d+(?:\.\d+)?)?\.\.(-?\d+(?:\.\d+)?)?")

ArtifactPath = Annotated[
    Path, typer.Argument(help="Pointer file (runs/demo/current) or artifact folder.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
K = Annotated[int, typer.Option("-k", help="Items wanted.")]


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="Run configuration, dataset.yaml or data folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    data: Annotated[Path | None, typer.Option(help="Folder of dataset.yaml's tables.")] = None,
    seed: Annotated[int | None, typer.Option(help="In place of the configuration's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Build the graph, train, index, measure, publish and answer."""
    from kgrec.cli_output import print_run
    from kgrec.config import load_run_config
    from kgrec.jobs import run as run_job
    from kgrec.jobs.run import summary_of

    with _user_errors(), _progress() as tell:
        loaded = load_run_config(config)
        if data is not None:
            loaded = loaded.model_copy(update={"data": data.resolve()})
        if seed is not None:
            loaded = loaded.model_copy(update={"seed": seed})
        result = run_job(loaded, out, tell)
    if as_json:
        _print_json(summary_of(result))
    else:
        print_run(result)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="Run configuration, dataset.yaml or data folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
) -> None:
    """Train and publish only: as run, without baselines, further splits and ablations."""
    from kgrec.config import AblationConfig, load_run_config
    from kgrec.jobs import run as run_job

    with _user_errors(), _progress() as tell:
        loaded = load_run_config(config).model_copy(
            update={
                "baselines": (),
                "further_splits": (),
                "ablations": AblationConfig(without_towers=False),
                "source_recall": False,
                "explained": 0,
            }
        )
        result = run_job(loaded, out, tell)
    typer.echo(str(result.artifact.path))


@app.command()
def nightly(
    config: Annotated[Path, typer.Argument(help="Nightly configuration: configs/nightly.yaml.")],
    out: Annotated[Path, typer.Option(help="Folder of all nights.")],
    data: Annotated[Path | None, typer.Option(help="Folder of dataset.yaml's tables.")] = None,
    accept_gate: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A gate that may fail this once; give a --reason."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for the log of versions.")] = "",
    as_json: AsJson = False,
) -> None:
    """Build, train, measure against the published model; publish or refuse.

    Exit codes: 0 published or unchanged, 1 refused, 2 wrong input, 3 another night is running,
    4 a fault of the program.
    """
    import traceback
    from dataclasses import asdict

    from kgrec.config import NightlyConfig, load_config
    from kgrec.jobs.nightly import nightly as nightly_job

    with _user_errors(), _progress() as tell:
        if accept_gate and not reason.strip():
            raise ConfigError("Expected a --reason with --accept-gate, got none; it is logged")
        loaded = load_config(config, NightlyConfig)
        if data is not None:
            loaded = loaded.model_copy(update={"data": data.resolve()})
        accepted = dict.fromkeys(accept_gate or [], reason)
        try:
            night = nightly_job(loaded, out, accepted=accepted, progress=tell)
        except (KgrecError, GraphEtlError):
            raise
        except Exception as error:  # Python's own code for it, 1, would read as a refusal
            traceback.print_exc()
            raise typer.Exit(4) from error
    if as_json:
        _print_json({**asdict(night), "summary": str(night.summary)})
    else:
        typer.echo(f"{night.outcome}: {night.reason}\n{night.summary.with_suffix('.md')}")
    raise typer.Exit(1 if night.outcome == "refused" else 0)


@app.command()
def fetch(
    name: Annotated[
        str | None, typer.Argument(help="One resource; all of the demo's if left out.")
    ] = None,
) -> None:
    """Download the public data and models of the demo into the cache."""
    from graph_etl.fetch import DEMO, RESOURCES
    from graph_etl.fetch import fetch as fetch_one

    with _user_errors(), _progress() as tell:
        folders = {
            key: fetch_one(key, lambda step: tell(step, 0.0))
            for key in ([name] if name else (*DEMO, "minilm"))
        }
    for key, folder in folders.items():
        typer.echo(f"{key}\t{folder}")
        _err.print(RESOURCES[key].terms, style="dim", highlight=False)


@app.command()
def evaluate(
    path: ArtifactPath,
    as_json: AsJson = False,
    open_test: Annotated[
        bool, typer.Option(help="Measure the artifact on test again; the ledger records it.")
    ] = False,
) -> None:
    """Show the measures that were recorded with an artifact."""
    from kgrec.jobs.evaluate import measure_again, stored_measures

    with _user_errors():
        found = measure_again(path) if open_test else stored_measures(path)
    if as_json:
        _print_json(found)
        return
    for table in found["tables"]:
        typer.echo(f"\n{table['title']}\n\n{table['text']}")


@app.command()
def recommend(
    path: Annotated[
        Path | None,
        typer.Argument(help="Pointer file (runs/demo/current) or artifact folder."),
    ] = None,
    user: Annotated[str | None, typer.Argument(help="User id.")] = None,
    artifact: Annotated[
        Path | None, typer.Option(help="The pointer or folder, in place of the argument.")
    ] = None,
    all_users: Annotated[
        bool, typer.Option(help="Every user of the artifact, into --out; goes on after a kill.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="File of --all-users: .parquet, .tsv or .csv.")
    ] = None,
    history: Annotated[
        str | None, typer.Option(help="Item ids, oldest first, by commas or as a JSON list.")
    ] = None,
    k: Annotated[
        int | None, typer.Option("-k", "--k", help="Items wanted: 10, for --all-users 20.")
    ] = None,
    explain: Annotated[bool, typer.Option(help="Give the reason for each item.")] = False,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="relation=name, or column=1990..1999 for a number."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recommend to a user of the artifact, to anybody by a history, or to all users."""
    from kgrec.cli_output import print_answer
    from kgrec.serving.recommender import Recommender

    with _user_errors():
        if artifact is not None and path is not None:
            path, user = artifact, str(path) if user is None else user
        path = path or artifact
        if path is None:
            raise ConfigError("Expected an artifact, got none; give it first or as --artifact")
        if all_users != (out is not None):
            raise ConfigError("Expected --all-users with --out FILE, got one without the other")
        if all_users and (user, history, filters, explain) != (None, None, None, False):
            raise ConfigError("Expected no user, --history, --filter or --explain with --all-users")
    if out is not None:
        recommend_all(path, out, 20 if k is None else k, as_json=as_json)
        return
    with _user_errors():
        if user is None and history is None:
            raise ConfigError("Expected a user id or --history, got neither")
        wanted, items = _filters(filters), _items(history)
        answer = Recommender.load(path).recommend(
            user, history=items, k=10 if k is None else k, explain=explain, filters=wanted
        )
    _print_json(answer.to_dict()) if as_json else print_answer(answer)


@app.command()
def similar(path: ArtifactPath, item: str, k: K = 10, as_json: AsJson = False) -> None:
    """Show the items most like one item."""
    from kgrec.cli_output import print_answer
    from kgrec.serving.recommender import Recommender

    with _user_errors():
        answer = Recommender.load(path).similar(item, k=k)
    _print_json(answer.to_dict()) if as_json else print_answer(answer)


@app.command()
def explain(path: ArtifactPath, user: str, item: str, as_json: AsJson = False) -> None:
    """Say why an item would be recommended to a user."""
    from kgrec.serving.recommender import Recommender

    with _user_errors():
        reason = Recommender.load(path).explain(user, item)
    _print_json(reason.to_dict()) if as_json else typer.echo(reason.text)


@app.command()
def report(path: Annotated[Path, typer.Argument(help="Run folder or its pointer.")]) -> None:
    """Show where the report of a run lies."""
    from kgrec.jobs.workspace import workspace_of

    with _user_errors():
        page = workspace_of(path).report
        if not page.is_file():
            raise ConfigError(f"Expected the report {page}, found none; run 'kgrec run' again")
    typer.echo(str(page))


@app.command()
def doctor(
    artifact: Annotated[
        Path | None, typer.Argument(help="An artifact to verify: checksums and probe queries.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what is installed, which devices there are and which stores answer."""
    from dataclasses import asdict

    from kgrec.cli_output import print_findings
    from kgrec.jobs.doctor import diagnose

    findings = diagnose(artifact)
    if as_json:
        _print_json([asdict(finding) for finding in findings])
    else:
        print_findings(findings)
    if any(finding.status == "failed" for finding in findings):
        raise typer.Exit(2)


@app.command()
def publish(
    artifact: Annotated[Path, typer.Argument(help="Artifact folder.")],
    pointer: Annotated[Path, typer.Argument(help="Pointer file, as runs/demo/current.")],
) -> None:
    """Point the pointer file at a verified artifact, in one step."""
    from kgrec.artifact import publish as publish_artifact

    with _user_errors():
        publish_artifact(artifact, pointer)
    typer.echo(f"{pointer} -> {artifact}")


@app.command()
def rollback(
    pointer: Annotated[Path, typer.Argument(help="Pointer file, as runs/demo/current.")],
) -> None:
    """Point the pointer file at the artifact that was published before."""
    from kgrec.artifact import rollback as rollback_artifact

    with _user_errors():
        folder = rollback_artifact(pointer)
    typer.echo(f"{pointer} -> {folder}")


def _filters(given: list[str] | None) -> dict[str, Any] | None:
    """Return filters by key; several values of one key mean any of them."""
    filters: dict[str, Any] = {}
    for text in given or ():
        key, separator, value = text.partition("=")
        if not separator:
            raise ConfigError(
                f"Expected --filter relation=name or column=LEAST..MOST, got '{text}'"
            )
        filters.setdefault(key.strip(), []).append(_wanted(value.strip()))
    return {key: found[0] if len(found) == 1 else found for key, found in filters.items()} or None


def _wanted(value: str) -> str | tuple[float | None, float | None]:
    ends = _RANGE.fullmatch(value)
    if ends is None:
        return value
    low, high = (None if end is None else float(end) for end in ends.groups())
    return low, high


def _items(given: str | None) -> list[str] | None:
    """Return item ids out of "a,b", or out of a JSON list where ids hold commas."""
    if given is None:
        return None
    if given.startswith("["):
        try:
            return [str(item) for item in json.loads(given)]
        except json.JSONDecodeError as error:
            raise ConfigError(
                f"Expected item ids by commas or as a JSON list in --history, got {given}: {error}"
            ) from error
    return [part.strip() for part in given.split(",") if part.strip()]


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))
