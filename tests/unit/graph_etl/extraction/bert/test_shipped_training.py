"""The extractor of a shipped corpus is trained once, whoever asks at the same time or is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from graph_etl.extraction.bert.artifact import load_model
from graph_etl.fetch.cache import CACHE_DIR

pytestmark = pytest.mark.slow

# The shipped settings with a tiny encoder: what is under test is who trains, not how well.
PROGRAM = """
import sys
from graph_etl.extraction import shipped
small = {"hidden_dim": 16, "feature_dim": 4, "max_span_words": 2, "window_pieces": 64}
shipped._SETTINGS.update(encoder=sys.argv[1], epochs=1, threads=1, model=small)
print("asking", flush=True)
folder = shipped.model_folder("corpus:films", lambda what, share: print(what, flush=True))
print(f"has {folder}", flush=True)
"""
Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setenv(CACHE_DIR, str(tmp_path))
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tiny_bert)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def training(process: subprocess.Popen[str]) -> None:
    """Wait until a process trains."""
    assert line(process) == "asking"
    assert line(process).startswith("training an extractor on the films")


def rest(process: subprocess.Popen[str]) -> list[str]:
    """Wait for the end and return what a process still said."""
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return said.splitlines()


def is_waiting(process: subprocess.Popen[str]) -> bool:
    try:
        process.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        return True
    return False


def test_two_processes_at_once_train_once(start: Start) -> None:
    first = start()
    training(first)
    first.send_signal(signal.SIGSTOP)  # so that it is surely not done before the other one asks
    second = start()
    assert line(second) == "asking"
    assert is_waiting(second)
    first.send_signal(signal.SIGCONT)
    told = rest(first)[-1]
    assert rest(second) == [told]
    assert told.startswith("has ")
    load_model(Path(told.removeprefix("has ")))
    third = start()
    assert rest(third) == ["asking", told]


def test_a_killed_trainer_keeps_nobody_waiting(start: Start) -> None:
    first = start()
    training(first)
    first.send_signal(signal.SIGSTOP)
    second = start()
    assert line(second) == "asking"
    assert is_waiting(second)
    first.kill()
    said = rest(second)
    assert said[0].startswith("training an extractor on the films")
    folder = Path(said[-1].removeprefix("has "))
    load_model(folder)
    # nothing of the killed one is left beside it
    assert sorted(path.name for path in folder.parent.iterdir()) == [
        folder.name, f"{folder.name}.lock"
    ]  # fmt: skip
