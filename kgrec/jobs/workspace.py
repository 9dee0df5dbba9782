"""Where a run keeps what: the layout of its folder, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kgrec.errors import ConfigError


@dataclass(frozen=True)
class Workspace:
    """The folder of one run.

    Attributes:
        root: The folder; everything else lies below it.
    """

    root: Path

    @property
    def graph(self) -> Path:
        """What graph_etl builds: snapshots and the embedded store."""
        return self.root / "graph"

    @property
    def snapshot(self) -> Path:
        """Pointer to the published snapshot."""
        return self.graph / "snapshots" / "current"

    @property
    def artifacts(self) -> Path:
        """All artifacts of this run."""
        return self.root / "artifacts"

    @property
    def current(self) -> Path:
        """Pointer to the published artifact."""
        return self.root / "current"

    @property
    def records(self) -> Path:
        """Run records, one for each model and split."""
        return self.root / "records"

    @property
    def tuning(self) -> Path:
        """Records and journals of the search for settings."""
        return self.root / "tuning"

    @property
    def ledger(self) -> Path:
        """Openings of the test part."""
        return self.root / "test-ledger.jsonl"

    @property
    def nights(self) -> Path:
        """Journal, lock and summaries of nightly jobs."""
        return self.root / "nights"

    @property
    def taken_events(self) -> Path:
        """Events of the log, as nights took them in."""
        return self.nights / "events"

    @property
    def night_rows(self) -> Path:
        """Rows of the rankers, kept while a night lasts."""
        return self.nights / "rows"

    @property
    def text(self) -> Path:
        """Tuned text encoders and their vectors, kept while a job lasts."""
        return self.root / "text"

    @property
    def summary(self) -> Path:
        """What the run found, as JSON."""
        return self.root / "run.json"

    @property
    def report(self) -> Path:
        """What the run found, as a page."""
        return self.root / "report.html"

    def prepare(self) -> None:
        """Make the folder.

        Raises:
            ConfigError: A file is in the way.
        """
        if self.root.exists() and not self.root.is_dir():
            raise ConfigError(f"Expected a folder to write the run to, got the file {self.root}")
        self.root.mkdir(parents=True, exist_ok=True)


def workspace_of(path: Path) -> Workspace:
    """Return the workspace that a pointer, an artifact folder or a run folder belongs to.

    Raises:
        ConfigError: No run lies there.
    """
    for folder in (path, path.parent, path.parent.parent):
        if (folder / "run.json").is_file():
            return Workspace(folder)
    raise ConfigError(
        f"Expected {path} to be a run folder, its pointer 'current' or one of its artifacts, found "
        "no run.json near it; make one with 'kgrec run'"
    )
