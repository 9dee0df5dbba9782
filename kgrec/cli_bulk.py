"""kgrec's commands that answer many users at once, file to file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kgrec.cli_errors import user_errors
from kgrec.cli_progress import progress

if TYPE_CHECKING:
    from kgrec.jobs.bulk import ScoredPairs, TopLists

Artifact = Annotated[
    Path, typer.Option("--artifact", help="Pointer file (runs/demo/current) or artifact folder.")
]
Out = Annotated[Path, typer.Option("--out", help="File to write: .parquet, .tsv or .csv.")]
K = Annotated[int, typer.Option("-k", "--k", help="Items wanted.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def predict_topk(
    artifact: Artifact,
    users: Annotated[Path, typer.Option(help="Parquet, TSV, CSV, or one user id a line.")],
    out: Out,
    k: K = 20,
    user_column: Annotated[str, typer.Option(help="Column of the ids.")] = "user_id",
    as_json: AsJson = False,
) -> None:
    """Write the best items of chosen users; what they have met is left out."""
    from kgrec.jobs import bulk

    with user_errors(), progress() as tell:
        found = bulk.predict_topk(artifact, users, out, k, user_column, tell)
    tell_lists(found, as_json=as_json)


def score_pairs(
    artifact: Artifact,
    pairs: Annotated[Path, typer.Option(help="Parquet, TSV or CSV with user_id and item_id.")],
    out: Out,
    user_column: Annotated[str, typer.Option(help="Column of the user ids.")] = "user_id",
    item_column: Annotated[str, typer.Option(help="Column of the item ids.")] = "item_id",
    as_json: AsJson = False,
) -> None:
    """Write a score of each pair that compares between users: a calibrated probability."""
    from kgrec.jobs import bulk

    with user_errors(), progress() as tell:
        found = bulk.score_pairs(artifact, pairs, out, user_column, item_column, tell)
    if as_json:
        _print_json(found)
        return
    typer.echo(f"{found.out}: {found.pairs:,} pairs by {found.artifact_id}\nscore: {found.kind}")
    typer.echo(
        f"scored as the average user: {found.unknown_users:,} pairs of unknown users\n"
        f"scored as the average item: {found.unknown_items:,} pairs of unknown items"
    )


def recommend_all(artifact: Path, out: Path, k: int, *, as_json: bool) -> None:
    """Write the best items of every user of an artifact; goes on after a kill."""
    from kgrec.jobs import bulk

    with user_errors(), progress() as tell:
        found = bulk.recommend_all(artifact, out, k, tell)
    tell_lists(found, as_json=as_json)


def tell_lists(found: TopLists, *, as_json: bool) -> None:
    """Print what was written, and who got popular items."""
    if as_json:
        _print_json(found)
        return
    typer.echo(f"{found.out}: {found.rows:,} rows of {found.users:,} users by {found.artifact_id}")
    typer.echo(
        f"popular items: {found.unknown_users:,} unknown users, "
        f"{found.users_without_likes:,} without a like"
    )
    if found.parts_kept:
        typer.echo(f"went on after {found.parts_kept:,} finished parts")


def _print_json(found: TopLists | ScoredPairs) -> None:
    typer.echo(json.dumps({**asdict(found), "out": str(found.out)}, indent=1))
