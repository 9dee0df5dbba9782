"""Each package's __init__ lists in __all__ what it offers, and offers what it lists."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(
    ".".join(path.parent.relative_to(ROOT).parts)
    for top in ("graph_etl", "kgrec")
    for path in (ROOT / top).rglob("__init__.py")
)


def names_offered_by(package: str) -> set[str]:
    """Public names that the __init__ defines; where it defines none, what it imports from below.

    An __init__ with code of its own may import names for its own use.
    """
    source = (ROOT / package.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}.")
        for alias in node.names
    }
    public = {name for name in defined if not name.startswith("_")}
    return public or {name for name in imported if not name.startswith("_")}


def test_packages_are_found():
    assert {"graph_etl", "graph_etl.store", "kgrec", "kgrec.data"} <= set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_listed_name_is_there(package):
    module = importlib.import_module(package)
    listed = getattr(module, "__all__", [])
    assert len(listed) == len(set(listed))
    missing = [name for name in listed if not hasattr(module, name)]
    assert missing == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_offered_name_is_listed(package):
    listed = set(getattr(importlib.import_module(package), "__all__", []))
    offered = names_offered_by(package)
    assert offered <= listed, f"add to __all__ of {package}: {sorted(offered - listed)}"
