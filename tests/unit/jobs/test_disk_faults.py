"""What a full disk looks like through each library, and what is none."""

from __future__ import annotations

import errno
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from kgrec.errors import DiskError
from kgrec.jobs.disk_faults import disk_faults_told, is_disk_fault

NUMBERS = np.random.default_rng(0).random(20_000)


@pytest.fixture
def little_room() -> Iterator[None]:
    """Let no file grow beyond 1,000 bytes: the same to a program as a disk without room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize(
    "write",
    [
        lambda file: file.write_bytes(NUMBERS.tobytes()),
        lambda file: pl.DataFrame({"a": NUMBERS}).write_parquet(file),
        lambda file: pl.DataFrame({"a": NUMBERS[:100]}).write_parquet(file),
        lambda file: save_file({"a": NUMBERS}, file),
    ],
    ids=["python", "polars", "the end of polars", "safetensors"],
)
@pytest.mark.usefixtures("little_room")
def test_a_full_disk_is_told_whoever_writes(tmp_path: Path, write: Callable[[Path], None]) -> None:
    with (
        pytest.raises(DiskError, match=r"make room on the disk and start again"),
        disk_faults_told(tmp_path),
    ):
        write(tmp_path / "file")


def test_other_errors_come_through_as_they_are(tmp_path: Path) -> None:
    for error in (FileNotFoundError(errno.ENOENT, "none"), ValueError("(os error 2)")):
        assert not is_disk_fault(error)
        with pytest.raises(type(error)), disk_faults_told(tmp_path):
            raise error
