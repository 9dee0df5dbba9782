"""A run of all tests in a process that cannot load all libraries stops at once and says why."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone has this limit")
@pytest.mark.parametrize("asked", [[], ["tests"]])
def test_all_tests_without_thread_local_storage_end_with_the_remedy(asked: list[str]) -> None:
    bare = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:xdist", *asked]
    done = subprocess.run(
        command, cwd=ROOT, env=bare, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "Run 'make test', or first 'export GLIBC_TUNABLES=" in done.stdout + done.stderr
