"""The environment that kgrec leaves to the numeric libraries."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SHOW = "import os, kgrec; print(os.environ['OMP_WAIT_POLICY'], os.environ['OPENBLAS_NUM_THREADS'])"


def shown(**given: str) -> list[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ALL} | given
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


ALL = ("OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS")


def test_threads_sleep_where_nothing_else_is_said() -> None:
    policy, threads = shown()
    assert policy == "PASSIVE"
    assert 1 <= int(threads) <= max(1, (os.cpu_count() or 1) // 2)


@pytest.mark.parametrize("name", ALL)
def test_what_is_set_stays(name: str) -> None:
    assert "7" in shown(**{name: "7"})
