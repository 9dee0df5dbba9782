"""What is installed, which devices there are and which stores answer; it changes nothing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from graph_etl.errors import GraphEtlError

Status = Literal["ok", "absent", "failed"]

REQUIRED = (
    "numpy", "scipy", "polars", "pyarrow", "numba", "torch", "lightning", "torch-geometric",
    "transformers", "safetensors", "kglite", "datasketch", "rapidfuzz", "pydantic", "lightgbm",
)  # fmt: skip

_PROBE = """
import kglite
graph = kglite.KnowledgeGraph()
graph.cypher("CREATE (:Probe {id: 1})")
assert len(graph.cypher("MATCH (n:Probe) RETURN n.id")) == 1
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: "platform", "library", "device", "store", "data" or "artifact".
        name: What was looked at.
        status: "ok"; "absent" where it is optional and not there; "failed" where it must be mended.
        detail: Version, size or the remedy.
    """

    area: str
    name: str
    status: Status
    detail: str


def diagnose(artifact: Path | None = None) -> list[Finding]:
    """Return what a person would want to know before a run or a bug report.

    Args:
        artifact: A published artifact (folder or pointer) whose checksums and probe queries are
            checked as well.
    """
    findings = [
        Finding(
            "platform", "python", "ok", f"{platform.python_version()} on {platform.platform()}"
        ),
        Finding("platform", "cpu", "ok", f"{os.cpu_count()} cores"),
    ]
    findings += [_library(name) for name in REQUIRED]
    findings += [_faiss(), *_devices(), _embedded_store(), _neo4j(), *_cache()]
    if artifact is not None:
        findings.append(_artifact(artifact))
    return findings


def _library(name: str) -> Finding:
    try:
        return Finding("library", name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding("library", name, "failed", f"not installed: pip install {name}")


def _faiss() -> Finding:
    if importlib.util.find_spec("faiss") is None:
        remedy = "not installed: pip install 'kgrec[cpu]' (or 'kgrec[gpu]' with a CUDA device)"
        return Finding("library", "faiss", "failed", remedy)
    from kgrec.retrieval.faiss_module import import_faiss

    faiss = import_faiss()
    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    return Finding("library", "faiss", "ok", f"{faiss.__version__}, {gpus} GPUs visible to it")


def _devices() -> list[Finding]:
    import torch

    if not torch.cuda.is_available():
        return [Finding("device", "cuda", "absent", "no CUDA device: everything runs on the CPU")]
    names = (torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return [Finding("device", f"cuda:{index}", "ok", name) for index, name in enumerate(names)]


def _embedded_store() -> Finding:
    # in a process of its own, as every use of it: see graph_build.py
    done = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return Finding("store", "kglite", "failed", lines[-1])
    return Finding("store", "kglite", "ok", "embedded; a node was written and read")


def _neo4j() -> Finding:
    from graph_etl.neo4j_server import running_servers
    from graph_etl.store import open_store

    if not os.environ.get("NEO4J_URI") and not running_servers():
        told = "no server: NEO4J_URI is unset and no local one runs (graph-etl neo4j up)"
        return Finding("store", "neo4j", "absent", told)
    try:
        with open_store("neo4j", Path(), read_only=True) as store:
            found = store.counts().num_entities
    except GraphEtlError as error:
        return Finding("store", "neo4j", "failed", str(error))
    return Finding("store", "neo4j", "ok", f"answers; it holds {found:,} entities")


def _cache() -> list[Finding]:
    from graph_etl.fetch import RESOURCES, cache_dir, is_fetched

    folder = cache_dir()
    free = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free
    findings = [Finding("data", "cache", "ok", f"{folder}, {free / 2**30:.0f} GiB free")]
    for name in RESOURCES:
        here = is_fetched(name)
        detail = "in the cache" if here else f"not in the cache: kgrec fetch {name}"
        findings.append(Finding("data", name, "ok" if here else "absent", detail))
    return findings


def _artifact(path: Path) -> Finding:
    from kgrec.errors import KgrecError
    from kgrec.serving.recommender import Recommender

    try:
        recommender = Recommender.load(path, check_probes=True)
    except KgrecError as error:
        return Finding("artifact", str(path), "failed", str(error))
    return Finding("artifact", str(path), "ok", f"{recommender.artifact_id}, probe queries agree")
