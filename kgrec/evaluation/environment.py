"""What a run ran on: commit, machine and versions, as they go into run records."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

LIBRARIES = (
    "kgrec",
    "numpy",
    "scipy",
    "polars",
    "pyarrow",
    "torch",
    "lightning",
    "torch-geometric",
    "transformers",
    "faiss-cpu",
    "faiss-gpu-cu12",
    "lightgbm",
)


def machine() -> dict[str, str]:
    """Return processor, usable cores, memory in bytes and system, "" where unknown."""
    names = os.sysconf_names
    memory = (
        str(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        if "SC_PHYS_PAGES" in names
        else ""
    )
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable is not None else os.cpu_count()
    return {
        "processor": _processor(),
        "cores": str(cores),
        "memory_bytes": memory,
        "system": f"{platform.system()} {platform.machine()}",
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
    }


def versions() -> dict[str, str]:
    """Return the version of Python and of each library of LIBRARIES that is installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_commit(folder: Path | None = None) -> str:
    """Return the commit of the checkout that holds ``folder``; "" outside of one.

    Args:
        folder: Any folder of the checkout; None for that of this package.

    Returns:
        The hexadecimal commit, with "+changes" behind it where tracked files were changed.
    """
    where = folder or Path(__file__).parent
    try:
        commit = _git(where, "rev-parse", "HEAD")
        changed = _git(where, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""  # no git here, or an installed package: the version stands in versions()
    return f"{commit}+changes" if changed else commit


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
